//! Values of many units pooled and sorted once, so that the quantile of any
//! weighting of the units is found in a short walk.

use std::rc::Rc;

/// How many places of the sorted list know the counts of every unit before them.
const MARKS: usize = 256;

/// Sparse histograms of several units, merged into one list sorted by value.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Sorted by value.
    entries: Vec<Entry>,
    /// Values per unit.
    counts: Vec<u64>,
    /// Entries between two marks.
    stride: usize,
    /// `marks[m][unit]`: values of the unit before entry `m * stride`.
    marks: Vec<Vec<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: u64,
    unit: u32,
    count: u32,
}

impl Pool {
    /// Pools the (value, count) pairs of every unit. Counts above 2³² − 1 are
    /// cut there, so that no weighted sum can overflow.
    pub fn new(units: &[Vec<(u64, u64)>]) -> Rc<Self> {
        let mut entries: Vec<Entry> = (0_u32..)
            .zip(units)
            .flat_map(|(unit, pairs)| pairs.iter().map(move |&(value, count)| (value, unit, count)))
            .map(|(value, unit, count)| Entry {
                value,
                unit,
                count: u32::try_from(count).unwrap_or(u32::MAX),
            })
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.value, entry.unit, entry.count));
        entries.dedup_by(|next, kept| {
            let same = next.value == kept.value && next.unit == kept.unit;
            if same {
                kept.count = kept.count.saturating_add(next.count);
            }
            same
        });
        let stride = entries.len() / MARKS + 1;
        let mut counts = vec![0; units.len()];
        let mut marks = Vec::with_capacity(MARKS + 1);
        for stretch in entries.chunks(stride) {
            marks.push(counts.clone());
            for entry in stretch {
                counts[entry.unit as usize] += u64::from(entry.count);
            }
        }
        Rc::new(Self {
            entries,
            counts,
            stride,
            marks,
        })
    }

    /// Number of units, with values or without.
    pub fn units(&self) -> usize {
        self.counts.len()
    }

    /// Number of values when unit `i` counts `weights[i]` times.
    pub(super) fn count(&self, weights: &[u32]) -> u64 {
        weighted(&self.counts, weights)
    }

    /// Number of values in all units.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The quantile when unit `i` counts `weights[i]` times; `None` without values.
    ///
    /// The rank is ⌈q·n⌉, as in `HdrHistogram`.
    pub fn quantile(&self, q: f64, weights: &[u32]) -> Option<f64> {
        let total = self.count(weights);
        self.value_at_rank(((q * total as f64).ceil() as u64).clamp(1, total.max(1)), weights)
    }

    /// The `rank`-th smallest value, from 1; `None` when there are fewer.
    pub fn value_at_rank(&self, rank: u64, weights: &[u32]) -> Option<f64> {
        let (value, _) = self.ascending_from(rank, weights).find(|(_, seen)| *seen >= rank)?;
        Some(value as f64)
    }

    /// The values in order, each with the number of values up to and with it,
    /// from a place on that is before the `rank`-th (from 1) but not far.
    pub(super) fn ascending_from(&self, rank: u64, weights: &[u32]) -> impl Iterator<Item = (u64, u64)> {
        let mark = self
            .marks
            .partition_point(|counts| weighted(counts, weights) < rank)
            .saturating_sub(1);
        let mut seen = self.marks.get(mark).map_or(0, |counts| weighted(counts, weights));
        let entries = self.entries.get(mark * self.stride..).unwrap_or_default();
        entries.iter().filter_map(move |entry| {
            let count = u64::from(entry.count) * u64::from(weights[entry.unit as usize]);
            seen += count;
            (count > 0).then_some((entry.value, seen))
        })
    }

    /// The variance of the values; `None` with fewer than two.
    pub fn variance(&self) -> Option<f64> {
        let n = self.total() as f64;
        let sum = |f: &dyn Fn(f64) -> f64| -> f64 {
            self.entries
                .iter()
                .map(|entry| f(entry.value as f64) * f64::from(entry.count))
                .sum()
        };
        let mean = sum(&|value| value) / n;
        (n >= 2.0).then(|| sum(&|value| (value - mean) * (value - mean)) / (n - 1.0))
    }
}

fn weighted(counts: &[u64], weights: &[u32]) -> u64 {
    counts
        .iter()
        .zip(weights)
        .map(|(count, &weight)| count * u64::from(weight))
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, by writing every value out.
    fn naive(units: &[Vec<(u64, u64)>], weights: &[u32], q: f64) -> Option<f64> {
        let mut all = Vec::new();
        for (pairs, &weight) in units.iter().zip(weights) {
            for &(value, count) in pairs {
                all.extend(std::iter::repeat_n(value, count as usize * weight as usize));
            }
        }
        all.sort_unstable();
        let rank = (q * all.len() as f64).ceil().max(1.0) as usize;
        all.get(rank - 1).map(|&value| value as f64)
    }

    proptest! {
        #[test]
        fn a_weighted_quantile_is_that_of_the_values_written_out(
            units in prop::collection::vec(prop::collection::vec((1_u64..500, 1_u64..4), 0..120), 1..8),
            seed in any::<u64>(),
            q in 0.0_f64..=1.0,
        ) {
            let weights: Vec<u32> = (0..units.len()).map(|at| (seed >> (at * 2)) as u32 % 4).collect();
            prop_assert_eq!(Pool::new(&units).quantile(q, &weights), naive(&units, &weights, q));
        }
    }

    #[test]
    fn the_variance_is_that_of_the_values() {
        let pool = Pool::new(&[vec![(2, 1), (4, 3)], vec![(5, 2), (7, 1), (9, 1)]]);
        assert_eq!(pool.total(), 8);
        assert!((pool.variance().unwrap() - 32.0 / 7.0).abs() < 1e-12);
        assert_eq!(Pool::new(&[vec![(2, 1)]]).variance(), None);
        assert_eq!(Pool::new(&[vec![]]).quantile(0.5, &[1]), None);
    }
}
