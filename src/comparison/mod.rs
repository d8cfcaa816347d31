//! Run beside baseline → verdict. Pure: the same inputs give the same verdict.
//!
//! Everything a report says about *good or bad* is decided here and nowhere
//! else; a report only shows it.

use serde::{Deserialize, Serialize};

use crate::{
    metric::{Better, Metric},
    run::Fingerprint,
    threshold::{Limit, Source},
    units::Unit,
};

/// The answer, from best to worst: of several findings the worst decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No limit is broken.
    Pass,
    /// A warning limit is broken.
    Warning,
    /// The measurement cannot tell.
    Inconclusive,
    /// A critical limit is broken.
    Critical,
    /// The measurement's own conditions failed.
    Invalid,
}

/// Every judged metric beside its reference, and the verdict over all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The worst of the judgements and checks.
    pub verdict: Verdict,
    /// The verdict in one sentence, naming step, metric, value and limit of the worst finding.
    pub sentence: String,
    /// What made the verdict worse than pass, worst first, one sentence each.
    pub reasons: Vec<String>,
    /// What the reader must know besides: no baseline, another machine, a partial run.
    pub notes: Vec<String>,
    /// The conditions under which the measurement can be believed.
    pub checks: Vec<Check>,
    /// The baseline it was compared with.
    pub baseline: Option<Reference>,
    /// One per threshold, worst first.
    pub judgements: Vec<Judgement>,
}

/// One precondition of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name: `send-lag`, `accounting`.
    pub id: String,
    /// What was checked, with value and limit, in words.
    pub text: String,
    /// Whether it held.
    pub ok: bool,
    /// The value, where it is a number.
    pub value: Option<f64>,
    /// The limit, where it is a number.
    pub limit: Option<f64>,
}

/// The baseline of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Name of the baseline.
    pub name: String,
    /// Id of the run that was accepted.
    pub run_id: String,
    /// When that run started (UTC).
    pub started: jiff::Timestamp,
    /// Its commit and branch, where known.
    pub commit: Option<String>,
    /// See `commit`.
    pub branch: Option<String>,
    /// What it measured.
    pub fingerprint: Fingerprint,
    /// Whether relative limits were judged against it.
    pub comparable: bool,
    /// What differs from the run: parts of the fingerprint, the machine.
    pub differences: Vec<String>,
}

/// One threshold, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Stable name: `checkout/pay:response_time:p99`; `all` stands for all steps together.
    pub id: String,
    /// The step; `None` means all together.
    pub step: Option<String>,
    /// The metric.
    #[serde(deserialize_with = "crate::metric::deserialize")]
    pub metric: &'static Metric,
    /// Unit of reference, candidate and absolute limits.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// Value of the baseline.
    pub reference: Option<f64>,
    /// Value of this run.
    pub candidate: Option<f64>,
    /// Worsening relative to the reference: 0.41 is 41 % worse, whatever the direction.
    pub change: Option<f64>,
    /// 95 % interval of `change`.
    pub interval: Option<[f64; 2]>,
    /// The warning limit.
    pub warning: Option<Limit>,
    /// The critical limit.
    pub critical: Option<Limit>,
    /// `None`: a relative limit without a baseline is not judged.
    pub verdict: Option<Verdict>,
    /// The finding in one sentence.
    pub reason: String,
    /// Where the limit was written.
    pub source: Source,
}
