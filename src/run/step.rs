//! What was measured of steps, in all and second by second.

use serde::{Deserialize, Serialize};

use super::{Encoded, Latency, LatencyByOutcome, Slice, StepAttempts};
use crate::{metric::Span, sample::ErrorClass};

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
    /// Time to get a connection of the pool, without making one; where there is a pool.
    #[serde(default)]
    pub acquire: Latency,
    /// Time to make a connection, where an operation had to make one.
    pub connect: Latency,
    /// The handshake of TLS, where an operation had to make a connection.
    #[serde(default)]
    pub tls: Latency,
    /// From sending the request to the head of the answer; of SQL what its execution took.
    #[serde(default)]
    pub first_byte: Latency,
    /// From the head of the answer to its end; of SQL what fetching it took.
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
    /// Flows started in this second that had not ended when the drain ended.
    #[serde(default)]
    pub unfinished: u64,
    /// Steps that had operations in this second.
    pub steps: Vec<StepInterval>,
    /// How often steps with a retry policy or a breaker were tried in this second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<StepAttempts>,
    /// What failed in this second, by step and class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<StepErrors>,
    /// In a run with variants: the slice that it is, instead of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

/// How often one step failed in one way in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepErrors {
    /// Index into [`super::Run::steps`].
    pub step: usize,
    /// The class with its code.
    pub class: ErrorClass,
    /// Operations that failed so.
    pub count: u64,
}

/// What one step did in one second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepInterval {
    /// Index into [`super::Run::steps`].
    pub step: usize,
    /// Operations that completed.
    pub completed: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Operations still under way when the drain ended.
    #[serde(default)]
    pub unfinished: u64,
    /// Sum of the response times in nanoseconds, exact.
    pub response_sum_ns: u64,
    /// Response times of all operations; of unfinished ones what they had reached.
    pub response_time: Encoded,
    /// Sum of the service times in nanoseconds, exact.
    pub service_sum_ns: u64,
    /// Service times of all operations; of unfinished ones what they had reached.
    pub service_time: Encoded,
    /// Response and service times of the failed and unfinished ones alone; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<[Encoded; 2]>,
}

impl StepInterval {
    /// Operations that failed or did not end.
    pub fn missed(&self) -> u64 {
        self.failed.saturating_add(self.unfinished)
    }

    /// All operations.
    pub fn started(&self) -> u64 {
        self.completed.saturating_add(self.missed())
    }
}

impl Step {
    pub(super) fn is_labelled(&self, label: &str) -> bool {
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
