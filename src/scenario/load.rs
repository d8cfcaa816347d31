//! The keys of `[load]`: how much, for how long, and what ends it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::At;

/// How much load, for how long: `rate` (open model), `users` (closed model), or a `search` for the highest rate.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Load {
    /// Open model: flow starts per second, as in `300/s`, whether or not earlier ones have ended.
    pub rate: Option<At<String>>,
    /// Spacing of arrivals in the open model: `even` (default) or `poisson`.
    pub arrivals: Option<At<String>>,
    /// Closed model: concurrent users, each waiting for its answers.
    pub users: Option<At<i64>>,
    /// Shapes the load, instead of `duration`: each stage leads in a straight line from the rate (or the users) before it to its own.
    pub stages: Option<At<Vec<At<Stage>>>>,
    /// Finds the highest rate at which the absolute limits hold; each rate is held for `duration` after `warm_up`.
    pub search: Option<At<Search>>,
    /// Closed model: how long a user waits after each pass, as in `1s`, or random.
    pub think: Option<At<Wait>>,
    /// Closed model: at most this many passes are started per second, over all users together, as in `200/s`.
    pub throttle: Option<At<String>>,
    /// Ends a hopeless run early: when one of these has been broken in every second for its time.
    #[serde(default)]
    pub abort_when: Vec<At<AbortWhen>>,
    /// Closed model: time over which the users are started. Part of the warm-up.
    pub ramp: Option<At<String>>,
    /// Closed model: number of passes over all users together, instead of `duration`.
    pub iterations: Option<At<i64>>,
    /// Length of the measured window, as in `60s`.
    pub duration: Option<At<String>>,
    /// Load before the measured window, left out of all figures. Default 0s.
    pub warm_up: Option<At<String>>,
    /// How long operations in flight may take to finish after the window. Default 10s.
    pub drain: Option<At<String>>,
    /// Open model: how many flows may be under way at once. Default 64.
    pub max_in_flight: Option<At<i64>>,
    /// Open model: how many due flows may wait for a free session before they are dropped. Default 1000.
    pub queue: Option<At<i64>>,
}

/// A stretch of load. Without `rate` and `users` the load stays as it is.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Stage {
    /// How long it takes; `0s` is a jump.
    #[schemars(required)]
    pub duration: Option<At<String>>,
    /// Open model: the rate at its end, as in `500/s`.
    pub rate: Option<At<String>>,
    /// Closed model: the number of users at its end.
    pub users: Option<At<i64>>,
}

/// A search for the highest rate at which the absolute limits of the scenario hold.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Search {
    /// The first rate, as in `100/s`; it is doubled until a limit breaks.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// No rate above this is tried.
    #[schemars(required)]
    pub to: Option<At<String>>,
    /// How close the answer is to the next rate that breaks a limit. Default 5%.
    pub precision: Option<At<String>>,
}

/// A time to wait: always the same, or random.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Wait {
    /// Always the same, as in `100ms`.
    Fixed(String),
    /// Another time each time, a function of the seed.
    Random(RandomWait),
}

/// A random time to wait: exactly one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomWait {
    /// All times between two bounds equally likely.
    pub uniform: Option<WaitBounds>,
    /// Short times likely, long ones rare, as between independent visitors; the value is the mean.
    pub exponential: Option<String>,
}

/// Two bounds of a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct WaitBounds {
    /// The shortest.
    #[schemars(required)]
    pub from: Option<String>,
    /// The longest.
    #[schemars(required)]
    pub to: Option<String>,
}

/// A condition that ends a run early, with its report.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct AbortWhen {
    /// Name of the step; without it all steps together.
    pub step: Option<At<String>>,
    /// Name of the metric, as in a threshold.
    #[schemars(required)]
    pub metric: Option<At<String>>,
    /// The absolute limit: `50%`, `2s`, `100/s`.
    #[schemars(required)]
    pub limit: Option<At<String>>,
    /// In every second of this long a time. Default 10s.
    #[serde(rename = "for")]
    pub lasting: Option<At<String>>,
}
