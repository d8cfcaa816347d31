//! The form of `report.json`: the schema `loadgate.report/1` as types.
//!
//! Additive within the major: readers ignore unknown keys and refuse another
//! major. Numbers are in base units and never formatted; what is unknown is
//! `null`, never 0. This module says how the document looks; who fills it in is
//! `super::json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    comparison::{Check, Label, Outcome, Verdict},
    metric::Better,
    run::{
        Breaker, Cache, Encoded, Environment, Equivalence, Growth, Health, Link, PoolEvents, PoolLimits, PoolUse,
        Resources, StatementCensus, StatementPlan, Target, TargetActivity, Variant,
    },
    sample::ErrorClass,
    threshold::Source,
};

/// The schema this program writes.
pub const SCHEMA: &str = "loadgate.report/1";

/// `report.json`: a run and its comparison, for machines.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Document {
    /// The format and its major version; readers refuse another.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    /// The version of loadgate that wrote it.
    pub loadgate: &'static str,
    /// What was run.
    pub run: RunSummary,
    /// The worst of all findings.
    pub verdict: Verdict,
    /// The exit code that goes with the verdict.
    pub exit_code: u8,
    /// The verdict in one sentence.
    pub sentence: String,
    /// What made the verdict worse than pass, worst first.
    pub reasons: Vec<String>,
    /// What the reader must know besides.
    pub notes: Vec<String>,
    /// Whether the measurement can be believed.
    pub validity: Validity,
    /// What it was compared with; `null` without a baseline.
    pub baseline: Option<BaselineSummary>,
    /// One entry per threshold, worst first.
    pub comparisons: Vec<ComparisonEntry>,
    /// Changes of variants that no limit is about; they decide nothing.
    pub shown: Vec<ShownEntry>,
    /// Claims of the scenario beside what was measured; empty where it makes none. They decide nothing.
    pub claims: Vec<ClaimEntry>,
    /// One entry per measured step, in the order of the scenario.
    pub steps: Vec<StepEntry>,
    /// The variants, the reference first; empty where there are none.
    pub variants: Vec<Variant>,
    /// Whether the variants gave the same answers; `null` where there are none.
    pub equivalence: Option<Equivalence>,
    /// What the targets used that loadgate started, by window of load.
    pub resources: Vec<Resources>,
    /// What PostgreSQL was seen doing while load ran.
    pub activity: Vec<TargetActivity>,
    /// What passed the links between clients and targets; absent where there were none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    pub links: Vec<Link>,
    /// What the caches in front of steps did while load ran; empty where there are none.
    #[schemars(with = "Vec<BTreeMap<String, serde_json::Value>>")]
    pub caches: Vec<Cache>,
    /// How often the operations of steps with a retry policy or a breaker were tried; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<RetryEntry>,
    /// What circuit breakers did; left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakers: Vec<BreakerEntry>,
    /// The pools of connections that the load used.
    pub pools: Vec<PoolEntry>,
    /// What a search tried; `null` where there was none.
    pub search: Option<SearchEntry>,
    /// The timeline, all steps together.
    pub intervals: Intervals,
    /// Where it was measured.
    pub environment: Environment,
    /// The systems under test.
    pub targets: Vec<Target>,
    /// The files written beside this one.
    pub artifacts: Vec<Artifact>,
}

/// What was run, and when.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunSummary {
    /// A ULID.
    pub id: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Start of the measured window (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// Length of the measured window in seconds.
    pub duration_s: f64,
    /// The seed of everything random in it.
    pub seed: u64,
    /// Short name of the work it did; equal fingerprints are comparable.
    pub fingerprint: String,
    /// Commit of the repository it was started in.
    pub commit: Option<String>,
    /// Branch of that repository.
    pub branch: Option<String>,
    /// Labels given with `--label`.
    pub labels: BTreeMap<String, String>,
    /// Why the run is not whole, when it is not.
    pub partial: Option<String>,
    /// What went wrong around the load.
    pub incidents: Vec<String>,
}

/// The conditions under which the measurement can be believed. Counts are flow starts.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Validity {
    /// Whether every check held.
    pub ok: bool,
    /// Flow starts that were due.
    pub planned: u64,
    /// Flow starts that were not dropped.
    pub sent: u64,
    /// Flows whose every step completed.
    pub completed: u64,
    /// Flows that ended at a failed step.
    pub failed: u64,
    /// Due, and could not be started.
    pub dropped: u64,
    /// Started, not ended when the drain ended.
    pub unfinished: u64,
    /// How late flows were dispatched; figures are `null` in the closed model.
    pub send_lag: SendLag,
    /// Share of its cores that the generator used, 0 to 1.
    pub generator_cpu: Option<f64>,
    /// Each condition.
    pub checks: Vec<Check>,
}

/// How late flows were dispatched after they were due.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SendLag {
    /// Always `us`.
    pub unit: &'static str,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

/// The baseline of the comparison.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BaselineSummary {
    /// Name it was accepted under.
    pub name: String,
    /// Ids of the runs that times are compared with, oldest first; of another machine the accepted one.
    pub ids: Vec<String>,
    /// In how many sessions these were measured; 0 where they are of another class of machine.
    pub sessions: usize,
    /// Start of its run (UTC).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// Its commit, where known.
    pub commit: Option<String>,
    /// Its branch, where known.
    pub branch: Option<String>,
    /// Short name of the work it did.
    pub fingerprint: String,
    /// Whether relative limits were judged against it.
    pub comparable: bool,
    /// What differs from the run.
    pub differences: Vec<String>,
}

/// One threshold, judged.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ComparisonEntry {
    /// Stable name: `pay:response_time:p99`; `all` stands for all steps together.
    pub id: String,
    /// The step; `null` means all together.
    pub step: Option<String>,
    /// The variant that is judged beside the first one; `null` where there are none.
    pub variant: Option<String>,
    /// Key of the metric in scenarios.
    pub metric: &'static str,
    /// Unit of `baseline`, `candidate` and absolute limits: `us`, `share`, `per_s` or `count`.
    pub unit: &'static str,
    /// Which direction is better.
    pub better: Better,
    /// Value of the baseline.
    pub baseline: Option<f64>,
    /// Value of this run.
    pub candidate: Option<f64>,
    /// Worsening relative to the baseline: 0.41 is 41 % worse, whatever the direction.
    pub change: Option<f64>,
    /// 95 % interval of `change`.
    pub interval: Option<[f64; 2]>,
    /// What it was judged by.
    pub limits: Limits,
    /// `null`: not judged, for want of a baseline.
    pub verdict: Option<Verdict>,
    /// Of variants: `no_change`, `improved` (both pass) or `unconfirmed` (a warning that was critical at first).
    pub label: Option<Label>,
    /// The finding in one sentence.
    pub reason: String,
    /// Where the limit was written.
    pub source: Source,
}

/// The two limits of a threshold.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Limits {
    /// From here a warning.
    pub warning: Option<LimitEntry>,
    /// From here critical.
    pub critical: Option<LimitEntry>,
}

/// One limit as a number and as it is written.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LimitEntry {
    /// `absolute`: in the comparison's unit; `relative`: a share of the baseline; `points`: added to a share; `more`: added to a count.
    #[schemars(extend("enum" = ["absolute", "relative", "points", "more"]))]
    pub kind: &'static str,
    /// The number.
    pub value: f64,
    /// A smaller change is none; in the comparison's unit.
    pub floor: Option<f64>,
    /// As a scenario writes it.
    pub text: String,
}

/// A change that no limit is about.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ShownEntry {
    /// Name of the variant.
    pub variant: String,
    /// Name of the step.
    pub step: String,
    /// Key of the metric in scenarios.
    pub metric: &'static str,
    /// Always `us`.
    pub unit: &'static str,
    /// Value of the reference.
    pub baseline: Option<f64>,
    /// Value of the variant.
    pub candidate: Option<f64>,
    /// How much more it is, as a share of the reference.
    pub change: f64,
    /// 95 % interval of `change`.
    pub interval: [f64; 2],
    /// Whether it stands out among all that are shown, with 5 % of such marks expected to be wrong.
    pub stands_out: bool,
}

/// What was measured of one step.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StepEntry {
    /// Name from the scenario.
    pub name: String,
    /// Name of its variant; `null` where there are none.
    pub variant: Option<String>,
    /// The flow it belongs to.
    pub flow: String,
    /// `http`, `sqlite`, `postgres`.
    pub protocol: String,
    /// Name of the target.
    pub target: String,
    /// Operations that ended: completed and failed.
    pub count: u64,
    /// Operations that ended as expected.
    pub completed: u64,
    /// Operations that ended otherwise.
    pub failed: u64,
    /// Operations under way when the drain ended.
    pub unfinished: u64,
    /// Failures by class.
    pub errors: BTreeMap<String, u64>,
    /// Failures by class with an example each, most frequent first.
    pub errors_detail: Vec<ErrorEntry>,
    /// Completed operations per second of the measured window.
    pub throughput_per_s: Option<f64>,
    /// From due to end, every operation that was started.
    pub response_time: LatencyEntry,
    /// From start to end, every operation that was started.
    pub service_time: LatencyEntry,
    /// Time to get a connection of the pool, without making one; where there is a pool.
    pub acquire: LatencyEntry,
    /// Time to make a connection, where an operation had to make one.
    pub connect: LatencyEntry,
    /// The handshake of TLS, where an operation had to make a connection.
    pub tls: LatencyEntry,
    /// From sending the request to the head of the answer; HTTP only.
    pub first_byte: LatencyEntry,
    /// From the head of the answer to its end; HTTP only.
    pub body: LatencyEntry,
    /// From sending its statements to the first messages of their answers; PostgreSQL only.
    pub execute: LatencyEntry,
    /// From the first messages of the answers to their ends; PostgreSQL only.
    pub fetch: LatencyEntry,
    /// What was counted per operation before the load, by metric.
    pub counters: BTreeMap<&'static str, CounterEntry>,
    /// What its databases executed for it, where that was counted.
    pub statements: Vec<StatementCensus>,
    /// How its databases performed the scenario's own statements, where that was asked.
    pub plans: Vec<StatementPlan>,
    /// Its queries at two sizes; `null` where only one was counted.
    pub growth: Option<Growth>,
}

/// A figure that was counted twice, per operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CounterEntry {
    /// The smaller of both counts.
    pub low: f64,
    /// The larger of both counts.
    pub high: f64,
    /// Whether both agree.
    pub exact: bool,
}

impl StepEntry {
    /// What people call it: with its variant, where there are several.
    pub fn label(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{variant}: {}", self.name),
            None => self.name.clone(),
        }
    }
}

/// How often the operations of one step were tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RetryEntry {
    /// Name of the step.
    pub name: String,
    /// Name of its variant; `null` where there are none.
    pub variant: Option<String>,
    /// Name of the target.
    pub target: String,
    /// All tries that went to the target.
    pub attempts: u64,
    /// Those that were not the first of their operation.
    pub retries: u64,
    /// Operations that completed after a retry.
    pub recovered: u64,
    /// Operations that failed at their last try.
    pub exhausted: u64,
    /// Second and tries that began in it, where there were any.
    pub attempts_by_second: Vec<[u64; 2]>,
    /// The same by other names; `null` for HTTP.
    pub metrics: Option<RetryMetrics>,
}

/// Retries of a database by the names of their metrics.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RetryMetrics {
    /// Retries.
    #[serde(rename = "database.retry.attempt")]
    pub attempt: u64,
    /// Operations that completed after a retry.
    #[serde(rename = "database.retry.success")]
    pub success: u64,
    /// Operations that failed at their last try.
    #[serde(rename = "database.retry.failure")]
    pub failure: u64,
    /// From the start of the first try to the end of the last, waits included.
    #[serde(rename = "database.operation.duration")]
    pub duration: LatencyEntry,
}

/// What one circuit breaker did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BreakerEntry {
    /// Its target and step, its counts and every change of its state.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub breaker: Breaker,
    /// Its counts by other names.
    pub metrics: BreakerMetrics,
}

/// The counts of a breaker by the names of their metrics.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BreakerMetrics {
    /// Tries that it let through and that the target answered.
    #[serde(rename = "circuit_breaker.success")]
    pub success: u64,
    /// Tries that it let through and that failed.
    #[serde(rename = "circuit_breaker.failure")]
    pub failure: u64,
    /// Tries that it did not let through.
    #[serde(rename = "circuit_breaker.rejected")]
    pub rejected: u64,
    /// How often it opened after it had been closed.
    #[serde(rename = "circuit_breaker.tripped")]
    pub tripped: u64,
}

/// A claim beside what was measured.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ClaimEntry {
    /// What was claimed, in its own words.
    pub text: String,
    /// Where.
    pub source: Option<String>,
    /// Name of the variant that it is about; `null` where there is but one or none.
    pub variant: Option<String>,
    /// Name of the step; `null` for all together.
    pub step: Option<String>,
    /// Name of the metric.
    pub metric: &'static str,
    /// Whether `claimed` and `measured` are changes as shares of the reference (−0.6 is 60 % less), or values.
    pub is_change: bool,
    /// What was claimed; values in the base unit of the metric.
    pub claimed: f64,
    /// Value of the reference.
    pub reference: Option<f64>,
    /// Value of what the claim is about.
    pub value: Option<f64>,
    /// What it was held against.
    pub measured: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// The answer.
    pub outcome: Outcome,
}

/// A pool of connections.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PoolEntry {
    /// Name of the target.
    pub target: String,
    /// Name of its variant; `null` where there are none.
    pub variant: Option<String>,
    /// Name of the flow that had it to itself; `null` where all flows shared it.
    pub flow: Option<String>,
    /// What it was held to.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub limits: PoolLimits,
    /// The worst of all samples.
    #[serde(flatten)]
    pub worst: PoolGauges,
    /// The least of three shares, 0 to 1: operations that ended well, waits that did not time out, connections without a fault.
    pub health_score: Option<f64>,
    /// What became of those who asked it in the measured window.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub window: PoolUse,
    /// How often what happened in it, from its first connection to its last.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub events: PoolEvents,
    /// How long operations waited for a connection, without making one.
    pub acquire: LatencyEntry,
    /// What the rows hold, in order.
    pub columns: [&'static str; 9],
    /// One row per second of the measured window; of a long run, fewer.
    pub samples: Vec<[serde_json::Value; 9]>,
}

/// A pool at its worst moments; `null` where nobody looked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PoolGauges {
    /// The most connections in use.
    #[serde(rename = "database.pool.connections.used")]
    pub used: Option<u64>,
    /// The fewest connections that were open and idle.
    #[serde(rename = "database.pool.connections.free")]
    pub free: Option<u64>,
    /// The most operations that waited for a connection.
    #[serde(rename = "database.pool.connections.waiting")]
    pub waiting: Option<u64>,
    /// The highest share of all allowed connections in use, 0 to 1.
    #[serde(rename = "database.pool.utilization")]
    pub utilization: Option<f64>,
    /// The worst health.
    #[serde(rename = "database.pool.health")]
    #[schemars(with = "String", extend("enum" = ["healthy", "degraded", "critical"]))]
    pub health: Health,
}

/// A search for the highest rate at which the absolute limits hold.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SearchEntry {
    /// The highest rate that held, flow starts per second; `null` when none did.
    pub highest_rate_per_s: Option<f64>,
    /// Why the search ended.
    pub ended: String,
    /// In the order in which they were tried.
    pub rates: Vec<RateEntry>,
}

/// One rate that a search tried.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RateEntry {
    /// Flow starts per second that were asked for.
    pub rate_per_s: f64,
    /// Flows per second that ended.
    pub achieved_per_s: f64,
    /// Always `us`.
    pub unit: &'static str,
    /// Median response time over all steps.
    pub p50: Option<f64>,
    /// p99 of the response time over all steps.
    pub p99: Option<f64>,
    /// Whether it held.
    pub held: bool,
    /// What did not hold.
    pub reason: Option<String>,
}

/// One class of error at one step.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ErrorEntry {
    /// The class with its code.
    #[schemars(with = "String")]
    pub class: ErrorClass,
    /// How often.
    pub count: u64,
    /// The first message seen.
    pub example: Option<String>,
    /// Seconds since the start of the window, first occurrence.
    pub first_s: f64,
    /// Seconds since the start of the window, last occurrence.
    pub last_s: f64,
}

/// A distribution of times: its figures, and all of it. Figures are `null` without samples.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LatencyEntry {
    /// Unit of the figures, always `us`.
    pub unit: &'static str,
    /// How many values.
    pub count: u64,
    /// All values together, exact.
    pub sum: Option<f64>,
    /// Smallest.
    pub min: Option<f64>,
    /// Arithmetic mean, from an exact sum.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// The histogram.
    pub hdr: HdrEntry,
}

/// An HDR histogram as text.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HdrEntry {
    /// Always `V2+deflate+base64`.
    pub encoding: &'static str,
    /// Unit of its values, always `ns`.
    pub unit: &'static str,
    /// Smallest value told apart from 0.
    pub lowest: u64,
    /// Largest value.
    pub highest: u64,
    /// Significant digits.
    pub digits: u8,
    /// The encoded histogram.
    #[schemars(with = "String")]
    pub data: Encoded,
}

/// The timeline, all steps together, in rows.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Intervals {
    /// Length of an interval in seconds.
    pub width_s: u64,
    /// What the rows hold, in order. Counts are flows; times are response times in microseconds.
    pub columns: [&'static str; 10],
    /// One row per interval; `null` where nothing ended.
    #[schemars(with = "Vec<[Option<f64>; 10]>")]
    pub rows: Vec<[Option<serde_json::Number>; 10]>,
}

/// A file written beside the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Artifact {
    /// Path relative to the document.
    pub path: String,
    /// SHA-256 of its content, lower-case hex.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}
