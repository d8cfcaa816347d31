//! Which variant is loaded when: a pure function of the seed and the number of the epoch.
//!
//! A slice is a stretch of load on one variant: first a lead-in that is not
//! recorded, while what the slice before left in flight ends and queues fill;
//! then the recorded part. Slices follow each other without a gap, so the gate
//! between them is the clock, and nobody waits for anybody. In every round
//! each variant has one slice, in an order drawn anew for each round.

use std::time::Duration;

use rand::seq::SliceRandom as _;

use crate::workload::stream;

/// The stream of random numbers that orders the slices of a round.
const ORDER: u64 = 0x736c_6963;

/// Passes of one round are numbered from a multiple of this.
const PASSES_PER_ROUND: u64 = 1_000_000;

/// How an epoch is cut into slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlicePlan {
    /// How many variants take turns.
    pub variants: usize,
    /// Rounds of an epoch.
    pub rounds: u32,
    /// What is recorded of a slice.
    pub length: Duration,
    /// What is not, before it.
    pub lead_in: Duration,
    /// Load on each variant before the first round.
    pub warm_up: Duration,
    /// Whether variants that share a store must not perform the same passes.
    pub shared: bool,
    /// The first pass of a warm-up, and how far the next one's is from it.
    pub warm_up_passes: [u64; 2],
}

/// A stretch of load on one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Index of the variant.
    pub variant: usize,
    /// Round within the trial, counted on over its epochs; `None` for a warm-up.
    pub round: Option<u32>,
    /// Its begin, from that of the epoch's load.
    pub begin: Duration,
    /// From its begin to the begin of what is recorded.
    pub lead_in: Duration,
    /// From there to its end; nothing of a warm-up is recorded.
    pub length: Duration,
    /// The number of its first pass.
    pub first_pass: u64,
}

impl Slice {
    /// Its end, which is the begin of the next.
    pub fn end(&self) -> Duration {
        self.begin + self.lead_in + self.length
    }
}

/// The slices of one epoch, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slices {
    list: Vec<Slice>,
    /// How many slices earlier epochs had.
    before: u64,
}

impl Slices {
    /// Those of epoch number `epoch`, from 0.
    pub fn of_epoch(plan: &SlicePlan, seed: u64, epoch: u32) -> Self {
        let warm_ups = (!plan.warm_up.is_zero()).then_some(None);
        let rounds = (0..plan.rounds).map(|round| Some(epoch * plan.rounds + round));
        let mut list: Vec<Slice> = Vec::new();
        for round in warm_ups.into_iter().chain(rounds) {
            // The order of a warm-up is drawn beyond those of all rounds.
            let number = u64::from(round.unwrap_or(u32::MAX - epoch));
            let mut order: Vec<usize> = (0..plan.variants).collect();
            order.shuffle(&mut stream(seed, ORDER, number));
            for variant in order {
                let begin = list.last().map_or(Duration::ZERO, Slice::end);
                let warms_up = round.is_none();
                list.push(Slice {
                    variant,
                    round,
                    begin,
                    lead_in: if warms_up { plan.warm_up } else { plan.lead_in },
                    length: if warms_up { Duration::ZERO } else { plan.length },
                    first_pass: match round {
                        Some(round) => plan.first_pass(u64::from(round), variant),
                        None => plan.warm_up_pass(u64::from(epoch), variant),
                    },
                });
            }
        }
        let each = list.len() as u64;
        Self {
            list,
            before: u64::from(epoch) * each,
        }
    }

    /// All of them.
    pub fn list(&self) -> &[Slice] {
        &self.list
    }

    /// From the begin of the first to the end of the last.
    pub fn length(&self) -> Duration {
        self.list.last().map_or(Duration::ZERO, Slice::end)
    }

    /// How long each variant is loaded in a window of that length, what is not recorded included.
    pub fn by_variant(&self, variants: usize, window: Duration) -> Vec<Duration> {
        let mut lengths = vec![Duration::ZERO; variants];
        for slice in &self.list {
            lengths[slice.variant] += slice.end().min(window).saturating_sub(slice.begin);
        }
        lengths
    }

    /// The slice at a time since the begin of the load, and its index; `None` past the last.
    pub fn at(&self, since: Duration) -> Option<(usize, &Slice)> {
        let after = self.list.partition_point(|slice| slice.begin <= since);
        let index = after.checked_sub(1)?;
        let slice = self.list.get(index)?;
        (since < slice.end()).then_some((index, slice))
    }

    /// The number within the trial of the slice that records at that time; `None` during a lead-in.
    pub fn recording(&self, since: Duration) -> Option<u64> {
        let (index, slice) = self.at(since)?;
        (since >= slice.begin + slice.lead_in).then_some(self.before + index as u64)
    }

    /// Their numbers within the trial.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Slice)> {
        (self.before..).zip(&self.list)
    }
}

impl SlicePlan {
    /// No two warm-ups perform the same passes, on whatever store.
    fn warm_up_pass(&self, epoch: u64, variant: usize) -> u64 {
        let [first, stride] = self.warm_up_passes;
        first + stride * (epoch * self.variants as u64 + variant as u64)
    }

    /// All variants of a round perform the same passes, unless they share a store.
    fn first_pass(&self, round: u64, variant: usize) -> u64 {
        let share = if self.shared {
            PASSES_PER_ROUND / self.variants as u64
        } else {
            0
        };
        round * PASSES_PER_ROUND + share * variant as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: SlicePlan = SlicePlan {
        variants: 2,
        rounds: 4,
        length: Duration::from_millis(250),
        lead_in: Duration::from_millis(100),
        warm_up: Duration::from_millis(500),
        shared: false,
        warm_up_passes: [1_000_000_000, 100_000],
    };

    #[test]
    fn every_variant_has_a_slice_in_every_round_and_orders_differ() {
        let mut orders = std::collections::BTreeSet::new();
        for epoch in 0..4 {
            let slices = Slices::of_epoch(&PLAN, 7, epoch);
            assert_eq!(slices, Slices::of_epoch(&PLAN, 7, epoch));
            assert_eq!(slices.list().len(), 10);
            assert_eq!(slices.length(), Duration::from_millis(1000 + 8 * 350));
            for round in slices.list().chunks(2) {
                assert_eq!(round[0].round, round[1].round);
                let warms_up = round[0].round.is_none();
                assert_eq!(round[0].first_pass == round[1].first_pass, !warms_up);
                assert_eq!(round[0].first_pass >= 1_000_000_000, warms_up);
                assert_eq!(round[0].variant + round[1].variant, 1);
                orders.insert(round[0].variant);
            }
        }
        assert_eq!(orders.len(), 2);
    }

    #[test]
    fn only_what_is_after_the_lead_in_is_recorded() {
        let slices = Slices::of_epoch(&PLAN, 7, 1);
        let at = |ms| slices.recording(Duration::from_millis(ms));
        assert_eq!((at(0), at(999), at(1000), at(1099)), (None, None, None, None));
        // Ten slices were in the epoch before, two warm this one up.
        assert_eq!(
            (at(1100), at(1349), at(1350), at(1450)),
            (Some(12), Some(12), None, Some(13))
        );
        assert_eq!(at(1000 + 8 * 350), None);
        assert_eq!(slices.at(Duration::from_secs(60)), None);
    }

    #[test]
    fn variants_that_share_a_store_perform_other_passes() {
        let slices = Slices::of_epoch(&SlicePlan { shared: true, ..PLAN }, 7, 0);
        let round = &slices.list()[2..4];
        assert_eq!(round[0].first_pass.abs_diff(round[1].first_pass), PASSES_PER_ROUND / 2);
    }
}
