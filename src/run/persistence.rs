//! How often operations were tried, and what circuit breakers did.

use serde::{Deserialize, Serialize};

/// How often the operations of a step with a retry policy or a breaker were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retries {
    /// Index into [`super::Run::steps`].
    pub step: usize,
    /// All tries that went to the target, those of unfinished operations too.
    pub attempts: u64,
    /// Those that were not the first of their operation.
    pub retries: u64,
    /// Operations that completed after a retry.
    pub recovered: u64,
    /// Operations that failed at their last try.
    pub exhausted: u64,
}

/// How often a step was tried in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepAttempts {
    /// Index into [`super::Run::steps`].
    pub step: usize,
    /// Tries that began in it.
    pub attempts: u64,
}

/// What a circuit breaker did in the measured window, lead-ins of slices included.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// Name of the variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Name of the target it guards.
    pub target: String,
    /// Name of the step, where it guards only that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Tries that it let through and that the target answered, be it that the caller was wrong.
    pub success: u64,
    /// Tries that it let through and that failed.
    pub failure: u64,
    /// Tries that it did not let through.
    pub rejected: u64,
    /// How often it opened after it had been closed.
    pub tripped: u64,
    /// Every change of its state, in order; the first thousand.
    pub transitions: Vec<Transition>,
    /// How many more there were.
    #[serde(default)]
    pub unlisted: u64,
}

/// A change of a breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Seconds since the start of the window; with variants, of load.
    pub at_s: f64,
    /// The state before.
    pub from: BreakerState,
    /// The state after.
    pub to: BreakerState,
    /// The share of successes that decided; `None` where time did.
    pub success_ratio: Option<f64>,
}

/// What a breaker does with what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// A few pass, to see whether it may close.
    HalfOpen,
}

impl BreakerState {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    /// No run lists more changes of a breaker's state.
    pub const MOST_TRANSITIONS: usize = 1000;

    /// Adds what its successor did, which began when load had lasted for `before_s` seconds.
    pub fn add(&mut self, later: Self, before_s: f64) {
        self.success += later.success;
        self.failure += later.failure;
        self.rejected += later.rejected;
        self.tripped += later.tripped;
        self.unlisted += later.unlisted;
        for transition in later.transitions {
            self.push(Transition {
                at_s: before_s + transition.at_s,
                ..transition
            });
        }
    }

    /// Adds a change of its state, while there is room.
    pub fn push(&mut self, transition: Transition) {
        match self.transitions.len() < Self::MOST_TRANSITIONS {
            true => self.transitions.push(transition),
            false => self.unlisted += 1,
        }
    }
}
