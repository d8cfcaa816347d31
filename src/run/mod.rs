//! The waist of the hourglass: the immutable, storable result of one trial.
//!
//! Everything above produces a [`Run`], everything below reads one; they meet
//! in a file, so judging and reporting need no target and no clock. The format
//! is `loadgate.run/1`: JSON, additive within the major, histograms as HDR V2.
//! This module knows how a run is laid out and stored, not how it came about
//! nor whether it is good.

mod activity;
mod cache;
mod census;
mod conduct;
mod environment;
mod fingerprint;
mod latency;
mod link;
mod load;
mod persistence;
mod plan;
mod pool;
mod resources;
mod search;
mod sparse;
mod statements;
mod step;
mod store;
mod target;
mod values;
mod variant;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    activity::{Activity, Event, TargetActivity},
    cache::Cache,
    census::{Census, Count, Growth, StatementCensus, StatementPlan, StepCensus},
    conduct::{Conduct, Unit},
    environment::{Environment, MachineClass},
    fingerprint::{Fingerprint, hash},
    latency::{Encoded, HIGHEST_NS, Latency, LatencyByOutcome},
    link::{Link, LinkConnection, LinkFault, Traffic, Wire},
    load::{Accounting, Generator, Load, Model},
    persistence::{Breaker, BreakerState, Retries, StepAttempts, Transition},
    plan::{Plan, PlanNode},
    pool::{Health, Pool, PoolEvents, PoolLimits, PoolSample, PoolUse},
    resources::{Resources, UsageOverTime, UsageSample},
    search::{Search, TriedRate},
    sparse::{Counts, Merge, quantile, total},
    statements::StatementCounts,
    step::{ErrorCount, Interval, Step, StepErrors, StepInterval},
    store::{FILE_NAME, StoreError, load, read_bounded, save, write_atomically},
    target::{Database, Member, Target},
    variant::{Build, Difference, Equivalence, MOST_VARIANTS, Slice, Variant},
};
use crate::{claim::Claim, threshold::Threshold};

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
    /// What was claimed of the work, to be held against what is measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
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
    /// How they were planned to be measured beside each other; where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conduct: Option<Conduct>,
    /// Whether they gave the same answers; where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivalence: Option<Equivalence>,
    /// What was counted before the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// What the targets used that loadgate started, by window of load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resources>,
    /// What these and the generator used over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<UsageOverTime>,
    /// What PostgreSQL was seen doing while load ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<TargetActivity>,
    /// What passed the links between clients and targets, where there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// How often the operations of steps with a retry policy or a breaker were tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<Retries>,
    /// What circuit breakers did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<Breaker>,
    /// What the caches in front of steps did while load ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<Cache>,
    /// What pools of connections did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    /// What a rollback did not take back, and how to: on databases that outlast the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_behind: Vec<String>,
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
