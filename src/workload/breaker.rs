//! The `breaker` of a target or step → when it opens, and how it tries to close.

use std::time::Duration;

use super::compile::Compiler;
use crate::scenario::{self, At, BreakerKeys};

/// The shortest window: it is kept in tenths, and a tenth has to hold something.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);

/// When a circuit breaker opens, and how it tries to close.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerLimits {
    /// It opens where the share of successes falls below this.
    pub success: f64,
    /// Over so long a time.
    pub window: Duration,
    /// Not before so many operations in that time.
    pub minimum: u64,
    /// How long it rejects everything.
    pub open: Duration,
    /// How many operations are then let through at once; all must succeed.
    pub probes: u32,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            success: 0.8,
            window: Duration::from_secs(10),
            minimum: 20,
            open: Duration::from_secs(5),
            probes: 3,
        }
    }
}

/// A circuit breaker and what it guards.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// Name of the target, or of a group of them.
    pub target: String,
    /// Name of the step whose own it is; none: it is that of the target.
    pub step: Option<String>,
    /// When it opens.
    pub limits: BreakerLimits,
}

impl Compiler<'_> {
    /// The limits of the breaker that is written; `None` where `false` is.
    pub(super) fn breaker(&mut self, at: &At<scenario::Breaker>) -> Option<BreakerLimits> {
        match &at.value {
            scenario::Breaker::Is(is) => is.then(BreakerLimits::default),
            scenario::Breaker::Keys(keys) => Some(self.breaker_limits(at, keys)),
        }
    }

    fn breaker_limits(&mut self, at: &At<scenario::Breaker>, keys: &BreakerKeys) -> BreakerLimits {
        let usual = BreakerLimits::default();
        let success = keys.success.unwrap_or(usual.success);
        if !(success > 0.0 && success <= 1.0) {
            let help = Some("0.8 opens it where more than a fifth fails".into());
            self.problem(at, "`success` is out of bounds", "must be above 0 and at most 1", help);
        }
        let window = keys.window.clone().map(|text| at.with(text));
        let window = self.timeout(window.as_ref(), usual.window);
        if window < SHORTEST_WINDOW {
            self.problem(at, "a window too short", "`window` must be 100ms at least", None);
        }
        let open = keys.open.clone().map(|text| at.with(text));
        let minimum = keys.minimum.map(|minimum| at.with(minimum));
        let probes = keys.probes.map(|probes| at.with(probes));
        BreakerLimits {
            success,
            window,
            minimum: self.integer(minimum.as_ref(), "`minimum`", 1..=1_000_000, usual.minimum as i64) as u64,
            open: self.timeout(open.as_ref(), usual.open),
            probes: self.integer(probes.as_ref(), "`probes`", 1..=1000, usual.probes.into()) as u32,
        }
    }
}
