//! The waist of the hourglass: the immutable, storable result of one trial.
//!
//! Everything above produces a [`Run`], everything below reads one; they meet
//! in a file, so judging and reporting need no target and no clock. The format
//! is `loadgate.run/1`: JSON, additive within the major, histograms as HDR V2.
//! This module knows how a run is laid out and stored, not how it came about
//! nor whether it is good.

mod activity;
mod census;
mod environment;
mod fingerprint;
mod latency;
mod plan;
mod resources;
mod statements;
mod store;
mod variant;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    activity::{Activity, Event, TargetActivity},
    census::{Census, Count, Growth, StatementCensus, StatementPlan, StepCensus},
    environment::{Environment, MachineClass},
    fingerprint::{Fingerprint, hash},
    latency::{Encoded, HIGHEST_NS, Latency, LatencyByOutcome},
    plan::{Plan, PlanNode},
    resources::Resources,
    statements::StatementCounts,
    store::{FILE_NAME, StoreError, load, read_bounded, save, write_atomically},
    variant::{Build, Difference, Equivalence, Slice, Variant},
};
use crate::{
    metric::{Counter, Measure, Metric, Span, Statistic},
    sample::ErrorClass,
    threshold::Threshold,
};

/// The format this program writes. Another major is refused.
pub const FORMAT: &str = "loadgate.run/1";

/// The result of one trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// [`FORMAT`].
    pub format: String,
    /// The version of loadgate that measured.
    pub loadgate: String,
    /// A ULID: unique, sorts by time.
    pub id: String,
    /// Name of the scenario.
    pub scenario: String,
    /// When the measured window began (UTC).
    pub started: Timestamp,
    /// Labels given with `--label`.
    pub labels: BTreeMap<String, String>,
    /// The seed of everything random in it.
    pub seed: u64,
    /// What makes two runs comparable.
    pub fingerprint: Fingerprint,
    /// The scenario as resolved (`--set` applied, secrets masked) and where it came from.
    pub source: ScenarioText,
    /// The limits it is to be judged by.
    pub thresholds: Vec<Threshold>,
    /// The load that was asked for.
    pub load: Load,
    /// Length of the measured window in seconds, without warm-up and drain.
    pub duration_s: f64,
    /// Flow starts: what was scheduled and what became of it.
    pub accounting: Accounting,
    /// One entry per measured step, in the order of the scenario.
    pub steps: Vec<Step>,
    /// The timeline, one entry per second of the measured window (and of the drain).
    pub intervals: Vec<Interval>,
    /// How late flows were dispatched after they were due; empty in the closed model.
    pub send_lag: Latency,
    /// What the generator itself used.
    pub generator: Generator,
    /// Where it was measured.
    pub environment: Environment,
    /// The systems under test.
    pub targets: Vec<Target>,
    /// Why the run is not whole, when it is not: an interrupt or an abort.
    pub partial: Option<String>,
    /// Why load ended before its time, when a condition of the scenario ended it.
    #[serde(default)]
    pub aborted: Option<String>,
    /// The rates that a search tried; all other figures are then those of the highest rate that held, or of the lowest.
    #[serde(default)]
    pub search: Option<Search>,
    /// The ways in which the work was done, the reference first; empty where there was one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Whether they gave the same answers; where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivalence: Option<Equivalence>,
    /// What was counted before the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// What the targets used that loadgate started, by window of load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resources>,
    /// What PostgreSQL was seen doing while load ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<TargetActivity>,
    /// What went wrong around the load: a managed process that died, a teardown that failed.
    pub incidents: Vec<String>,
}

/// A scenario's text and origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioText {
    /// Path as the user gave it, or the command line of a one-liner.
    pub path: String,
    /// The TOML text with `--set` applied and secrets masked.
    pub text: String,
}

/// The load profile as asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Who decides when the next flow starts.
    pub model: Model,
    /// Flow starts per second; open model only.
    pub rate: Option<f64>,
    /// Concurrent users; closed model only.
    pub users: Option<usize>,
    /// Whether stages shape the load; rate and users are then the highest there are.
    #[serde(default)]
    pub staged: bool,
    /// Sessions (sets of connections) that were open.
    pub sessions: usize,
    /// Asked-for length of the measured window; `None` when bounded by a count.
    pub duration_s: Option<f64>,
    /// Asked-for number of passes; `None` when bounded by time.
    pub iterations: Option<u64>,
    /// Load before the measured window, left out of every figure.
    pub warm_up_s: f64,
    /// How long operations in flight may take to finish after the window.
    pub drain_s: f64,
}

/// Open: arrivals by a schedule. Closed: users who wait for their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Arrivals by a schedule.
    Open,
    /// Users who wait for their answers.
    Closed,
}

/// What became of every flow start that was due in the measured window.
///
/// `scheduled = completed + failed + dropped + unfinished`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accounting {
    /// Flow starts that were due.
    pub scheduled: u64,
    /// Flows whose every step completed.
    pub completed: u64,
    /// Flows that ended at a failed step.
    pub failed: u64,
    /// Due, and could not be started.
    pub dropped: u64,
    /// Started, not ended when the drain ended.
    pub unfinished: u64,
}

impl Accounting {
    /// Whether every scheduled start is accounted for.
    pub fn adds_up(&self) -> bool {
        self.scheduled == self.completed + self.failed + self.dropped + self.unfinished
    }
}

/// What was measured of one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Name from the scenario, unique in its variant.
    pub name: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The flow it belongs to.
    pub flow: String,
    /// `http`, `sqlite`, `postgres`.
    pub protocol: String,
    /// Name of the target.
    pub target: String,
    /// From due to end, by outcome.
    pub response_time: LatencyByOutcome,
    /// From start to end, by outcome.
    pub service_time: LatencyByOutcome,
    /// Time to make a connection, where an operation had to make one.
    pub connect: Latency,
    /// The handshake of TLS, where an operation had to make a connection.
    #[serde(default)]
    pub tls: Latency,
    /// From sending the request to the head of the answer; HTTP only.
    #[serde(default)]
    pub first_byte: Latency,
    /// From the head of the answer to its end; HTTP only.
    #[serde(default)]
    pub body: Latency,
    /// Failures by class, most frequent first.
    pub errors: Vec<ErrorCount>,
}

/// How often one class of error happened at one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The class with its code.
    pub class: ErrorClass,
    /// How often.
    pub count: u64,
    /// The first message seen, secrets masked, at most 300 characters.
    pub example: Option<String>,
    /// Seconds since the start of the window, first occurrence.
    pub first_s: f64,
    /// Seconds since the start of the window, last occurrence.
    pub last_s: f64,
}

/// One second of the timeline, in which its operations ended; in a run with variants
/// one slice, in which its operations were due, and several may begin in a second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Interval {
    /// Second since the start of the window, from 0.
    pub k: u64,
    /// Flow starts due in this second.
    pub planned: u64,
    /// Flows started in this second.
    pub sent: u64,
    /// Flow starts due in this second that were dropped.
    pub dropped: u64,
    /// Flows that ended well in this second.
    pub completed: u64,
    /// Flows that ended at a failed step in this second.
    pub failed: u64,
    /// Steps that had operations in this second.
    pub steps: Vec<StepInterval>,
    /// In a run with variants: the slice that it is, instead of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

/// A search for the highest rate at which the absolute limits of the scenario hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The highest rate that held, flow starts per second; `None` when none did.
    pub highest_rate: Option<f64>,
    /// Why the search ended.
    pub ended: String,
    /// In the order in which they were tried.
    pub rates: Vec<TriedRate>,
}

/// One rate that a search tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriedRate {
    /// Flow starts per second that were asked for.
    pub rate: f64,
    /// Flows per second that ended.
    pub achieved: f64,
    /// Median response time over all steps, nanoseconds.
    pub p50_ns: Option<f64>,
    /// p99 of the response time over all steps, nanoseconds.
    pub p99_ns: Option<f64>,
    /// Whether the limits held and the load was carried steadily.
    pub held: bool,
    /// What did not hold, where that is so.
    pub reason: Option<String>,
}

/// What one step did in one second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepInterval {
    /// Index into [`Run::steps`].
    pub step: usize,
    /// Operations that completed.
    pub completed: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Sum of the response times in nanoseconds, exact.
    pub response_sum_ns: u64,
    /// Response times of completed and failed operations.
    pub response_time: Encoded,
    /// Sum of the service times in nanoseconds, exact.
    pub service_sum_ns: u64,
    /// Service times of completed and failed operations.
    pub service_time: Encoded,
}

/// What the load generator itself used during the measured window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of the process in seconds.
    pub cpu_s: f64,
    /// Wall time in seconds.
    pub wall_s: f64,
    /// Cores that it may use.
    pub cores: usize,
    /// Share of the machine's CPU time that its host gave to others.
    #[serde(default)]
    pub steal_share: Option<f64>,
    /// Share of the time in which something on the machine waited for a CPU (Linux PSI).
    #[serde(default)]
    pub pressure_share: Option<f64>,
    /// Share of the time in which the generator's control group was not allowed to run.
    #[serde(default)]
    pub throttled_share: Option<f64>,
    /// Files and sockets open at the end of the window.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// How many it may open.
    #[serde(default)]
    pub open_files_limit: Option<u64>,
    /// The most due flow starts that waited for a session at once.
    #[serde(default)]
    pub queue_max: Option<u64>,
    /// The most flows that were under way at once.
    #[serde(default)]
    pub in_flight_max: Option<u64>,
    /// Time that the users of the closed model were there, summed over all users, in seconds.
    #[serde(default)]
    pub users_present_s: Option<f64>,
    /// Of it, what they spent on pauses, thinking and waiting for the throttle.
    #[serde(default)]
    pub users_waited_s: Option<f64>,
    /// Virtual users whose own setup failed, so that they took no part.
    #[serde(default)]
    pub failed_users: u64,
}

impl Generator {
    /// Share of its cores that the generator used, 0 to 1.
    pub fn cpu_share(&self) -> Option<f64> {
        (self.wall_s > 0.0 && self.cores > 0).then(|| self.cpu_s / self.wall_s / self.cores as f64)
    }
}

/// A system under test as it presented itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Name from the scenario.
    pub name: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What it was built from, where loadgate built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// `http`, `sqlite`, `postgres`.
    pub kind: String,
    /// Address without credentials.
    pub address: String,
    /// What it says it is, where it says so.
    pub version: Option<String>,
    /// The database that was made for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// The command of a managed process.
    pub command: Option<String>,
    /// Whether its process ended by itself while load ran.
    #[serde(default)]
    pub died: bool,
}

/// A database that was made for the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Database {
    /// Of a private server: `ci` or `durable`.
    pub profile: Option<String>,
    /// Name of the fixture that it was a copy of.
    pub fixture: Option<String>,
    /// The fixture's scale.
    pub scale: Option<i64>,
    /// Settings that differed from those a server is built with, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Extensions in it, with versions.
    #[serde(default)]
    pub extensions: Vec<String>,
}

impl Step {
    fn is_labelled(&self, label: &str) -> bool {
        match &self.variant {
            Some(variant) => label
                .strip_prefix(variant.as_str())
                .and_then(|rest| rest.strip_prefix(": "))
                .is_some_and(|name| name == self.name),
            None => self.name == label,
        }
    }

    /// What people call it: with its variant, where there are several.
    pub fn label(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{variant}: {}", self.name),
            None => self.name.clone(),
        }
    }

    /// Operations that ended: completed and failed.
    pub fn count(&self) -> u64 {
        self.completed() + self.failed()
    }

    /// Operations that ended as expected.
    pub fn completed(&self) -> u64 {
        self.service_time.completed.count()
    }

    /// Operations that ended otherwise.
    pub fn failed(&self) -> u64 {
        self.service_time.failed.count()
    }

    /// Operations that had not ended when the drain ended.
    pub fn unfinished(&self) -> u64 {
        self.service_time.unfinished.count()
    }

    /// The latency over one span, by outcome.
    pub fn latency(&self, span: Span) -> &LatencyByOutcome {
        match span {
            Span::ResponseTime => &self.response_time,
            Span::ServiceTime => &self.service_time,
        }
    }
}

impl Run {
    /// The steps that something is about: the one with that label, or all.
    pub fn steps_named<'a>(&'a self, step: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Step)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, s)| step.is_none_or(|label| s.is_labelled(label)))
    }

    /// What was measured of one variant, as if it had been alone: its slices are then the whole timeline.
    pub fn of_variant(&self, index: usize) -> Option<Self> {
        let variant = self.variants.get(index)?;
        let own: Vec<usize> = (0..self.steps.len())
            .filter(|step| self.steps[*step].variant.as_deref() == Some(variant.name.as_str()))
            .collect();
        let steps = own.iter().map(|step| Step {
            variant: None,
            ..self.steps[*step].clone()
        });
        Some(Self {
            steps: steps.collect(),
            intervals: variant::intervals(&self.intervals, index, &own),
            accounting: variant.accounting,
            duration_s: variant.loaded_s,
            variants: Vec::new(),
            census: self.census.as_ref().map(|census| census.of(&own)),
            resources: self
                .resources
                .iter()
                .filter(|used| used.variant.as_ref() == Some(&variant.name))
                .cloned()
                .collect(),
            ..self.clone()
        })
    }

    /// CPU time of the targets per operation in nanoseconds, over all epochs or in one.
    ///
    /// Of what was used in an epoch with slices only the share counts that was recorded.
    pub fn cpu_per_operation(&self, epoch: Option<u32>) -> Option<f64> {
        let wanted = |of: u32| epoch.is_none_or(|epoch| epoch == of);
        let mut operations = 0;
        let mut recorded_s: BTreeMap<u32, f64> = BTreeMap::new();
        for interval in &self.intervals {
            if interval.slice.is_some_and(|slice| !wanted(slice.epoch)) {
                continue;
            }
            operations += interval
                .steps
                .iter()
                .map(|step| step.completed + step.failed)
                .sum::<u64>();
            if let Some(slice) = interval.slice {
                *recorded_s.entry(slice.epoch).or_default() += slice.length_s;
            }
        }
        let used = self.resources.iter().filter(|used| wanted(used.epoch));
        let cpu_s = used.map(|used| {
            let recorded_s = recorded_s.get(&used.epoch).copied();
            used.cpu_s * recorded_s.map_or(1.0, |recorded_s| recorded_s / used.loaded_s)
        });
        let cpu_s = cpu_s.reduce(|sum, cpu_s| sum + cpu_s)?;
        (operations > 0).then(|| cpu_s * 1e9 / operations as f64)
    }

    /// A counter per operation, of one step or of all together, with what it lies between where the takings disagree.
    pub fn count(&self, step: Option<&str>, counter: Counter) -> Option<[f64; 2]> {
        let census = self.census.as_ref()?;
        let steps: Vec<&StepCensus> = self
            .steps_named(step)
            .filter_map(|(index, _)| census.step(index))
            .collect();
        if counter == Counter::QueriesPerRecord {
            let slopes = steps.iter().filter_map(|step| Some(step.growth?.slope()));
            return slopes.reduce(f64::max).map(|slope| [slope, slope]);
        }
        let operations: u64 = steps.iter().map(|step| step.operations).sum();
        let counts: Option<Vec<Count>> = steps.iter().map(|step| step.counts.get(&counter).copied()).collect();
        let counts = counts.filter(|counts| !counts.is_empty() && operations > 0)?;
        let sum = |taking: fn(&Count) -> u64| counts.iter().map(taking).sum::<u64>() as f64 / operations as f64;
        let (first, second) = (sum(|count| count.first), sum(|count| count.second));
        Some([first.min(second), first.max(second)])
    }

    /// The value of a metric, in its base unit, for one step or for all steps together.
    ///
    /// `None` where there is nothing to compute it from: no such step, no samples.
    /// Latencies cover every operation that was started: completed, failed and,
    /// with what they had reached, unfinished.
    pub fn value(&self, step: Option<&str>, metric: &Metric) -> Option<f64> {
        match metric.measure {
            Measure::Latency(span, statistic) => {
                let mut all = Latency::new();
                for (_, step) in self.steps_named(step) {
                    all.add(&step.latency(span).all());
                }
                all.statistic(statistic)
            }
            Measure::ErrorRate => {
                let (bad, all) = self.steps_named(step).fold((0, 0), |(bad, all), (_, s)| {
                    let missed = s.failed() + s.unfinished();
                    (bad + missed, all + s.completed() + missed)
                });
                (all > 0).then(|| bad as f64 / all as f64)
            }
            Measure::Throughput => {
                let completed: u64 = self.steps_named(step).map(|(_, s)| s.completed()).sum();
                let any = self.steps_named(step).any(|(_, s)| s.count() + s.unfinished() > 0);
                (any && self.duration_s > 0.0).then(|| completed as f64 / self.duration_s)
            }
            measure if measure.is_of_run() && step.is_some() => None,
            Measure::DroppedRate => {
                let Accounting { scheduled, dropped, .. } = self.accounting;
                (scheduled > 0).then(|| dropped as f64 / scheduled as f64)
            }
            Measure::HighestRate => self.search.as_ref()?.highest_rate,
            Measure::CpuPerOperation => self.cpu_per_operation(None),
            Measure::Counter(counter) => self.count(step, counter).map(|[low, high]| f64::midpoint(low, high)),
        }
    }
}

/// The value of a statistic, in nanoseconds; `None` without samples.
impl Latency {
    /// See [`Statistic`].
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Mean => self.mean(),
            Statistic::Quantile(q) => self.quantile(q),
            Statistic::Max => self.max(),
        }
    }
}
