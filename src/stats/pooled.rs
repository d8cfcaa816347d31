//! Quantiles of pooled histograms, and their change: far quantiles need the
//! values of all units together.

use std::rc::Rc;

use libm::log;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::{
    Dependence, Located, Pool,
    bootstrap::{FEWEST_UNITS, REPLICATES, draw},
    flips::share_of_signs,
    harrell_davis::HarrellDavis,
    mean::squares,
};

/// Up to so many units all swaps are tried; for more, as many are drawn as there would be.
const EXACT_SWAPS: u32 = 12;

/// The histograms of both variants, unit by unit in the order of time.
///
/// A quantile is that of Harrell and Davis.
#[derive(Debug, Clone)]
pub struct PooledPair {
    /// The units of the reference, then those of the candidate.
    pool: Rc<Pool>,
    units: usize,
}

impl PooledPair {
    /// From [reference, candidate] of every unit, as (value, count).
    pub fn new(units: Vec<[Vec<(u64, u64)>; 2]>) -> Self {
        let count = units.len();
        let (references, candidates): (Vec<_>, Vec<_>) = units.into_iter().map(|[r, c]| (r, c)).unzip();
        let histograms: Vec<_> = references.into_iter().chain(candidates).collect();
        Self {
            pool: Pool::new(&histograms),
            units: count,
        }
    }

    /// The `q`-quantiles of reference and candidate; `None` where one has no values, or `q` is
    /// not between 0 and 1.
    pub fn quantiles(&self, q: f64) -> Option<[f64; 2]> {
        let sides = self.sides(&vec![1; self.units]);
        self.at(&self.weights(q)?, &sides)
    }

    /// ln(candidate / reference) of the `q`-quantiles, with the standard error of a bootstrap over units.
    ///
    /// Units are drawn one by one with both their histograms (Efron & Tibshirani,
    /// An Introduction to the Bootstrap, 1993), 2,000 times; the variance of the
    /// replicates is multiplied by n/(n − 1), which makes it that of a mean of n
    /// units. What neighbouring units share comes from the [`Dependence`] of the
    /// jackknife's pseudo-values, as for every other estimate: blocks of two or
    /// three among some twenty units would hold only a part of it.
    ///
    /// `None` with fewer than five units, and where the change is infinite in
    /// any replicate: zeros, no values. Its error is then unknown.
    pub fn change(&self, q: f64, seed: u64) -> Option<Located> {
        if self.units < FEWEST_UNITS {
            return None;
        }
        let weights = self.weights(q)?;
        let change = |times: &[u32]| {
            self.log_ratio(&weights, &self.sides(times))
                .filter(|change| change.is_finite())
        };
        let n = self.units as f64;
        let mut times = vec![1; self.units];
        let estimate = change(&times)?;
        let mut contributions = Vec::with_capacity(self.units);
        for left_out in 0..self.units {
            times[left_out] = 0;
            contributions.push(n * estimate - (n - 1.0) * change(&times)?);
            times[left_out] = 1;
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut replicates = Vec::with_capacity(REPLICATES);
        for _ in 0..REPLICATES {
            draw(&mut times, 1, &mut rng);
            replicates.push(change(&times)?);
        }
        let variance = squares(&replicates) / (REPLICATES as f64 - 1.0) * n / (n - 1.0);
        let dependence = Dependence::of(&contributions);
        Some(Located {
            estimate,
            error: dependence.inflation() * variance.sqrt(),
            freedom: dependence.freedom(0),
        })
    }

    /// The one-sided p value of the hypothesis "which histogram of a unit is the
    /// candidate's makes no difference": the share of all swaps within units that
    /// raise the ratio of the `q`-quantiles as far as the one observed.
    ///
    /// And beside it the share of those that raise it no further, for the opposite question.
    ///
    /// All swaps for up to 12 units, else (hits + 1)/(draws + 1) of 4,095 random
    /// ones (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010). `None`
    /// where there is no quantile.
    pub fn permutation(&self, q: f64, seed: u64) -> Option<[f64; 2]> {
        let once = vec![1; self.units];
        let sides = self.sides(&once);
        // The same weights for both, whatever was swapped: half of all values.
        let either = HarrellDavis::new(q, self.pool.total().div_ceil(2))?;
        let weights = [either.clone(), either];
        let observed = self.log_ratio(&weights, &sides)?;
        // Sums of the same values in another order may differ in their last bits.
        let enough = observed - 1e-12;
        let mut swapped = sides;
        let mut no_more = 0_u32;
        let worse = share_of_signs(self.units, EXACT_SWAPS, seed, |signs| {
            for unit in 0..self.units {
                let swap = (signs[unit / 64] >> (unit % 64) & 1) as u32;
                for (side, own) in swapped.iter_mut().zip([1 - swap, swap]) {
                    side[unit] = own;
                    side[self.units + unit] = 1 - own;
                }
            }
            // A side that a swap leaves empty tells nothing against the hypothesis.
            let change = self.log_ratio(&weights, &swapped);
            no_more += u32::from(change.is_none_or(|change| change <= observed + 1e-12));
            change.is_none_or(|change| change >= enough)
        });
        let (all, own) = match self.units <= EXACT_SWAPS as usize {
            true => (1_u64 << self.units, 0.0),
            // The one observed is not among those that are drawn.
            false => (1_u64 << EXACT_SWAPS, 1.0),
        };
        Some([worse, (f64::from(no_more) + own) / all as f64])
    }

    fn weights(&self, q: f64) -> Option<[HarrellDavis; 2]> {
        let [reference, candidate] = self.sides(&vec![1; self.units]);
        Some([
            HarrellDavis::new(q, self.pool.count(&reference))?,
            HarrellDavis::new(q, self.pool.count(&candidate))?,
        ])
    }

    /// How often each histogram counts for reference and candidate when unit `i` is taken `times[i]` times.
    fn sides(&self, times: &[u32]) -> [Vec<u32>; 2] {
        let none = vec![0; self.units];
        [[times, &none].concat(), [&none, times].concat()]
    }

    /// The logarithm of candidate / reference; 0 for equals, even if both are zero or infinite.
    fn log_ratio(&self, weights: &[HarrellDavis; 2], sides: &[Vec<u32>; 2]) -> Option<f64> {
        let [reference, candidate] = self.at(weights, sides)?;
        let equal = reference.total_cmp(&candidate).is_eq();
        Some(if equal { 0.0 } else { log(candidate) - log(reference) })
    }

    fn at(&self, weights: &[HarrellDavis; 2], sides: &[Vec<u32>; 2]) -> Option<[f64; 2]> {
        Some([
            quantile(&self.pool, &weights[0], &sides[0])?,
            quantile(&self.pool, &weights[1], &sides[1])?,
        ])
    }
}

/// The mean of the values with the weights of their ranks; `None` without values.
fn quantile(pool: &Pool, weights: &HarrellDavis, times: &[u32]) -> Option<f64> {
    let total = pool.count(times);
    if total == 0 {
        return None;
    }
    let first = (weights.start() * total as f64) as u64;
    let (mut sum, mut before) = (0.0, 0.0);
    for (value, seen) in pool.ascending_from(first.max(1), times) {
        let up_to = weights.up_to(seen as f64 / total as f64);
        sum += value as f64 * (up_to - before);
        before = up_to;
        if before >= 1.0 {
            break;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn once(values: &[u64]) -> Vec<(u64, u64)> {
        values.iter().map(|&value| (value, 1)).collect()
    }

    /// `units` of 40 log-uniform values, each unit with its own luck; the candidate's times `ratio`.
    fn units(seed: u64, units: usize, ratio: f64) -> Vec<[Vec<(u64, u64)>; 2]> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut histogram = |scale: f64| -> Vec<(u64, u64)> {
            let luck = 1.0 + 0.1 * (rng.random::<f64>() - 0.5);
            (0..40)
                .map(|_| ((scale * luck * (2.0 * rng.random::<f64>()).exp()) as u64, 1))
                .collect()
        };
        (0..units).map(|_| [histogram(1e6), histogram(ratio * 1e6)]).collect()
    }

    #[test]
    fn quantiles_agree_with_an_independent_implementation() {
        // python -c "from scipy.stats.mstats import hdquantiles; print(hdquantiles(x, q))", SciPy 1.17.1.
        // The first x is the self-awareness data of Dana (1990), whose median Wilcox gives as 271.7.
        let dana = [
            77, 87, 88, 114, 151, 210, 219, 246, 253, 262, 296, 299, 306, 376, 428, 515, 666, 1_310, 2_611,
        ];
        let squares: Vec<u64> = (1..=2_000).map(|x| x * x).collect();
        // Cut over two units, as what is pooled has no order.
        let pair = PooledPair::new(vec![
            [once(&dana[..7]), once(&squares[1_000..])],
            [once(&dana[7..]), once(&squares[..1_000])],
        ]);
        for (q, of_dana, of_squares) in [
            (0.1, Some(93.304_823_672_049_75), None),
            (0.5, Some(271.721_200_549_089_13), Some(1_001_499.833_833_832_9)),
            (0.9, Some(1_367.915_356_286_319), Some(3_241_980.153_513_154)),
            (0.99, None, Some(3_922_400.113_553_113_3)),
            (0.999, None, Some(3_993_993.804_427_895)),
        ] {
            let [first, second] = pair.quantiles(q).unwrap();
            for (value, expected) in [(first, of_dana), (second, of_squares)] {
                let expected = expected.unwrap_or(value);
                assert!((value / expected - 1.0).abs() < 1e-9, "{q}: {value} {expected}");
            }
        }
    }

    #[test]
    fn counts_are_values_written_out() {
        let counted = vec![(3, 2), (7, 1), (9, 3)];
        let pair = PooledPair::new(vec![[counted, once(&[3, 3, 7, 9, 9, 9])]]);
        for q in [0.1, 0.5, 0.9] {
            let [a, b] = pair.quantiles(q).unwrap();
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn without_values_there_is_nothing_to_say() {
        let empty = PooledPair::new(Vec::new());
        assert_eq!(empty.quantiles(0.5), None);
        assert_eq!(empty.change(0.5, 1), None);
        assert_eq!(empty.permutation(0.5, 1), None);
        assert_eq!(PooledPair::new(units(1, 8, 1.0)).change(1.0, 1), None);
        assert_eq!(PooledPair::new(units(1, 4, 1.0)).change(0.5, 1), None);
    }

    /// Of 12 units of 40 values. With NumPy's `default_rng(1)` and SciPy 1.17.1, x as below and hd = mstats.hdquantiles:
    /// `f = lambda y: log(hd(y[:,1].ravel(), [.9])[0] / hd(y[:,0].ravel(), [.9])[0]); print(f(x))`
    /// `print(std([f(x[rng.integers(0, 12, 12)]) for _ in range(20000)], ddof=1) * (12/11)**.5)`
    /// and the share of all 4,096 swaps `y` of x's sides within units for which f(y) ≥ f(x).
    #[test]
    fn changes_agree_with_an_independent_implementation() {
        let value = |unit: u64, side: u64, at: u64| {
            let scattered = (at * at * 7_919 + unit * 104_729 * (side + 1) + side * 50_021) % 500_009;
            (1_000_000 + scattered + unit * (37 + 4 * side) % 11 * 20_000, 1)
        };
        let histogram = |unit, side| (0..40).map(|at| value(unit, side, at)).collect();
        let pair = PooledPair::new((0..12).map(|unit| [histogram(unit, 0), histogram(unit, 1)]).collect());
        let located = pair.change(0.9, 1).unwrap();
        assert!((located.estimate - 0.007_487_234_617_939_907).abs() < 1e-9);
        // The pseudo-values have the autocorrelation −.34. The deviation of an error from 2,000 replicates is 1.6 %.
        assert!((located.error / 0.014_930 - 1.0).abs() < 0.05, "{located:?}");
        assert_eq!(located.freedom, 11.0);
        assert_eq!(pair.permutation(0.9, 1).map(|p| p[0]), Some(0.312_744_140_625));
    }

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        let covered = (0..60).filter(|&seed| {
            let [lower, upper] = PooledPair::new(units(seed, 24, 1.2))
                .change(0.9, seed)
                .unwrap()
                .interval();
            lower <= 1.2_f64.ln() && 1.2_f64.ln() <= upper
        });
        // 95 % of 60 is 57; five standard deviations below is 48.6.
        assert!(covered.count() >= 49);
    }

    #[test]
    fn swaps_within_units_tell_a_change_from_none() {
        assert_eq!(
            PooledPair::new(units(1, 8, 1.5)).permutation(0.9, 1).map(|p| p[0]),
            Some(1.0 / 256.0)
        );
        assert_eq!(
            PooledPair::new(units(1, 24, 1.5)).permutation(0.9, 1).map(|p| p[0]),
            Some(1.0 / 4_096.0)
        );
        assert!(PooledPair::new(units(1, 24, 1.0 / 1.5)).permutation(0.9, 1).unwrap()[0] > 0.99);
        // The opposite question, of the same swaps.
        assert_eq!(
            PooledPair::new(units(1, 8, 1.0 / 1.5))
                .permutation(0.9, 1)
                .map(|p| p[1]),
            Some(1.0 / 256.0)
        );
        let same: Vec<f64> = (0..60)
            .map(|seed| PooledPair::new(units(seed, 8, 1.0)).permutation(0.9, seed).unwrap()[0])
            .collect();
        // Uniform: 15 of 60 are expected below .25, with a deviation of 3.4.
        let low = same.iter().filter(|p| **p <= 0.25).count();
        assert!((1..=30).contains(&low), "{low}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bits() {
        let pair = PooledPair::new(units(1, 20, 1.1));
        assert_eq!(pair.change(0.99, 5), pair.change(0.99, 5));
        assert_ne!(pair.change(0.99, 5), pair.change(0.99, 6));
        assert_eq!(pair.permutation(0.99, 5), pair.permutation(0.99, 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn the_unit_of_time_and_the_order_of_variants_are_only_names(seed in any::<u64>(), scale in 2_u64..1_000) {
            let pair = units(seed, 6, 1.1);
            let change = |of: &dyn Fn(u64) -> u64, turned: bool| {
                let mapped = pair.iter().map(|sides| {
                    let mut sides = sides.clone().map(|side| side.into_iter().map(|(v, c)| (of(v), c)).collect());
                    if turned {
                        sides.reverse();
                    }
                    sides
                });
                PooledPair::new(mapped.collect()).change(0.9, seed).unwrap()
            };
            let (plain, scaled, turned) = (change(&|v| v, false), change(&|v| v * scale, false), change(&|v| v, true));
            prop_assert!((plain.estimate - scaled.estimate).abs() < 1e-9 && (plain.error - scaled.error).abs() < 1e-9);
            prop_assert!((plain.estimate + turned.estimate).abs() < 1e-9 && (plain.error - turned.error).abs() < 1e-9);
        }
    }
}
