//! How well a pool does, by four figures. The limits are those that people set alerts to.

use std::time::Duration;

use crate::run::Health;

/// From this utilisation on a pool is close to its end.
const BUSY: f64 = 0.85;

/// Who waits longer than this waits long.
const LONG_WAIT: Duration = Duration::from_secs(1);

/// So does who has waited for this share of the time after which waits are given up.
const LONG_SHARE: u32 = 10;

/// Fewer than these succeed in a pool that is degraded, and in one that is critical.
const FEW_SUCCEED: f64 = 0.99;
const TOO_FEW_SUCCEED: f64 = 0.8;

/// What is known of a pool in a second.
pub(super) struct Figures {
    /// Connections in use of those that there may be.
    pub(super) utilization: f64,
    /// Operations that ended well of those that ended; `None` where none did.
    pub(super) success: Option<f64>,
    pub(super) longest_wait: Duration,
    /// Waits that were given up.
    pub(super) timeouts: u64,
}

/// The health that these figures amount to.
pub(super) fn health(figures: &Figures, acquire_timeout: Duration) -> Health {
    let success = figures.success.unwrap_or(1.0);
    let long = LONG_WAIT.min(acquire_timeout / LONG_SHARE);
    if success < TOO_FEW_SUCCEED || figures.timeouts > 0 {
        Health::Critical
    } else if figures.utilization >= BUSY || figures.longest_wait > long || success < FEW_SUCCEED {
        Health::Degraded
    } else {
        Health::Healthy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_alone_can_spoil_the_health() {
        let fine = || Figures {
            utilization: 0.84,
            success: Some(0.99),
            longest_wait: Duration::from_secs(1),
            timeouts: 0,
        };
        let of = |figures: &Figures| health(figures, Duration::from_secs(30));
        assert_eq!(of(&fine()), Health::Healthy);
        for (figures, expected) in [
            (
                Figures {
                    utilization: 0.85,
                    ..fine()
                },
                Health::Degraded,
            ),
            (
                Figures {
                    success: Some(0.98),
                    ..fine()
                },
                Health::Degraded,
            ),
            (
                Figures {
                    longest_wait: Duration::from_millis(1001),
                    ..fine()
                },
                Health::Degraded,
            ),
            (
                Figures {
                    success: Some(0.79),
                    ..fine()
                },
                Health::Critical,
            ),
            (Figures { timeouts: 1, ..fine() }, Health::Critical),
            (
                Figures {
                    success: None,
                    ..fine()
                },
                Health::Healthy,
            ),
        ] {
            assert_eq!(of(&figures), expected);
        }
        // A tenth of a short timeout is long already.
        let waited = Figures {
            longest_wait: Duration::from_millis(300),
            ..fine()
        };
        assert_eq!(health(&waited, Duration::from_secs(2)), Health::Degraded);
    }
}
