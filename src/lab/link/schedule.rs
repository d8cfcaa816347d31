//! What a link is like at which moment, by its faults: pure.

use std::time::Duration;

use crate::workload::{Fault, FaultKind};

/// Whether anything gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Gate {
    /// Everything.
    #[default]
    Open,
    /// Nothing, and who tries is told so.
    Refusing,
    /// Nothing, and nobody is told.
    Swallowing,
}

/// What a link is like for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Condition {
    pub(super) gate: Gate,
    /// The round trip that it adds.
    pub(super) delay: Duration,
    /// How often all connections have been reset so far.
    pub(super) resets: usize,
}

impl Condition {
    /// What it is without any fault.
    pub(super) fn sound(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// What it is at that moment of the timeline. Of several faults the one counts that began last.
    pub(super) fn at(faults: &[Fault], moment: Duration, delay: Duration) -> Self {
        let mut condition = Self::sound(delay);
        let mut begun: Vec<&Fault> = faults.iter().filter(|fault| fault.at <= moment).collect();
        begun.sort_by_key(|fault| fault.at);
        for fault in begun {
            let lasts = moment < fault.at + fault.lasting;
            match fault.kind {
                FaultKind::Reset => condition.resets += 1,
                FaultKind::Refuse if lasts => condition.gate = Gate::Refusing,
                FaultKind::Blackhole if lasts => condition.gate = Gate::Swallowing,
                FaultKind::Delay(other) if lasts => condition.delay = other,
                _ => {}
            }
        }
        condition
    }
}

/// The next moment after this one at which something begins or ends.
pub(super) fn next_change(faults: &[Fault], after: Duration) -> Option<Duration> {
    let moments = faults.iter().flat_map(|fault| [fault.at, fault.at + fault.lasting]);
    moments.filter(|moment| *moment > after).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(5);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fault(at: u64, lasting: u64, kind: FaultKind) -> Fault {
        Fault {
            at: seconds(at),
            lasting: seconds(lasting),
            kind,
        }
    }

    #[test]
    fn faults_begin_and_end_at_their_moments() {
        let faults = [
            fault(5, 5, FaultKind::Blackhole),
            fault(7, 1, FaultKind::Delay(seconds(1))),
            fault(8, 0, FaultKind::Reset),
            fault(9, 4, FaultKind::Refuse),
        ];
        let at = |moment| {
            let Condition { gate, delay, resets } = Condition::at(&faults, seconds(moment), DELAY);
            (gate, delay, resets)
        };
        assert_eq!(at(4), (Gate::Open, DELAY, 0));
        assert_eq!(at(5), (Gate::Swallowing, DELAY, 0));
        assert_eq!(at(7), (Gate::Swallowing, seconds(1), 0));
        assert_eq!(at(8), (Gate::Swallowing, DELAY, 1));
        assert_eq!(at(9), (Gate::Refusing, DELAY, 1));
        assert_eq!(at(13), (Gate::Open, DELAY, 1));
        let mut changes = Vec::new();
        while let Some(next) = next_change(&faults, changes.last().copied().unwrap_or_default()) {
            changes.push(next);
        }
        assert_eq!(changes, [5, 7, 8, 9, 10, 13].map(seconds));
        assert_eq!(next_change(&[], Duration::ZERO), None);
    }
}
