//! How well a pool does, by four figures. The limits are those that people set alerts to.

use std::time::Duration;

use crate::run::{Health, PoolSample};

/// From this utilisation on a pool is close to its end.
const BUSY: f64 = 0.85;

/// Who waits longer than this waits long.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// So does who has waited for this share of the time after which waits are given up.
const LONG_SHARE: u32 = 10;

/// Fewer than these succeed in a pool that is degraded, and in one that is critical.
const FEW_SUCCEED: f64 = 0.99;
const TOO_FEW_SUCCEED: f64 = 0.8;

/// The health of a pool by a sample of it.
pub(super) fn health(sample: &PoolSample, acquire_timeout: Duration) -> Health {
    let success = sample.success.unwrap_or(1.0);
    let long = LONG_WAIT.min(acquire_timeout / LONG_SHARE).as_secs_f64();
    if success < TOO_FEW_SUCCEED || sample.timeouts > 0 {
        Health::Critical
    } else if sample.utilization >= BUSY || sample.longest_wait_s > long || success < FEW_SUCCEED {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(utilization: f64, success: Option<f64>, longest_wait_s: f64, timeouts: u64) -> PoolSample {
        PoolSample {
            at_s: 1.0,
            used: 1,
            free: 1,
            waiting: 0,
            utilization,
            success,
            timeouts,
            longest_wait_s,
            health: Health::Healthy,
        }
    }

    #[test]
    fn each_figure_alone_can_spoil_the_health() {
        for (sample, expected) in [
            (sample(0.84, Some(0.99), 1.0, 0), Health::Healthy),
            (sample(0.84, None, 1.0, 0), Health::Healthy),
            (sample(0.85, Some(0.99), 1.0, 0), Health::Degraded),
            (sample(0.84, Some(0.98), 1.0, 0), Health::Degraded),
            (sample(0.84, Some(0.99), 1.001, 0), Health::Degraded),
            (sample(0.84, Some(0.79), 1.0, 0), Health::Critical),
            (sample(0.84, Some(0.99), 1.0, 1), Health::Critical),
        ] {
            assert_eq!(health(&sample, Duration::from_secs(30)), expected, "{sample:?}");
        }
        // A tenth of a short timeout is long already.
        let waited = sample(0.1, None, 0.3, 0);
        assert_eq!(health(&waited, Duration::from_secs(2)), Health::Degraded);
    }
}
