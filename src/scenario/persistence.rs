//! The keys of retry policies and circuit breakers, which targets and steps have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a failed operation is tried again, and after how long.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Retry {
    /// `default`, `database`, `transaction`, or `none`.
    Policy(String),
    /// A policy with values of its own.
    Keys(RetryKeys),
}

/// A retry policy; what is left out is as `policy` has it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RetryKeys {
    /// `default` (5 tries, from 1s to 30s), `database` (3, 500ms, 5s) or `transaction` (5, 100ms, 2s).
    pub policy: Option<String>,
    /// How often an operation is tried in all, 1 to 100.
    pub attempts: Option<i64>,
    /// The wait before the second try, without jitter; `0s`: at once.
    pub base: Option<String>,
    /// The longest wait.
    pub max: Option<String>,
    /// How many times as long each further wait is, 1 to 100. Default 2.
    pub multiplier: Option<f64>,
    /// What chance does to a wait: `full` (default), `equal`, `decorrelated` or `none`.
    pub jitter: Option<String>,
    /// What is tried again: SQLSTATEs (`40001`, or `40` for a class), classes of errors as reports print them (`connect`, `timeout`, `http 503`).
    pub on: Option<Vec<String>>,
}

/// When operations are rejected because most of them fail.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Breaker {
    /// Whether there is one, with its usual values.
    Is(bool),
    /// One with values of its own.
    Keys(BreakerKeys),
}

/// A circuit breaker; what is left out is as usual.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct BreakerKeys {
    /// It opens where the share of successes falls below this, above 0 and up to 1. Default 0.8.
    pub success: Option<f64>,
    /// Over so long a time. Default 10s.
    pub window: Option<String>,
    /// It does not open before so many operations in that time. Default 20.
    pub minimum: Option<i64>,
    /// How long it rejects everything. Default 5s.
    pub open: Option<String>,
    /// How many operations are then let through at once to try; all must succeed. Default 3.
    pub probes: Option<i64>,
}
