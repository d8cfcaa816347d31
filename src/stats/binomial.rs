//! Exact bounds from the binomial distribution: of a share, and of the ranks between which a quantile lies.

use super::{
    Bounds, TAIL,
    beta::{beta_quantile, incomplete_beta},
};

/// Clopper–Pearson bounds of a share after `hits` in `trials`; `None` without trials.
///
/// They hold with *at least* 95 % (Clopper & Pearson, Biometrika 26, 1934).
pub fn share_bounds(hits: u64, trials: u64) -> Option<Bounds> {
    share_bounds_at(hits, trials, TAIL)
}

/// The same with another probability on each side than 2.5 %.
pub fn share_bounds_at(hits: u64, trials: u64, tail: f64) -> Option<Bounds> {
    if trials == 0 || hits > trials {
        return None;
    }
    let (hits, misses) = (hits as f64, (trials - hits) as f64);
    let lower = if hits == 0.0 {
        0.0
    } else {
        beta_quantile(tail, hits, misses + 1.0)
    };
    let upper = if misses == 0.0 {
        1.0
    } else {
        beta_quantile(1.0 - tail, hits + 1.0, misses)
    };
    Some([lower, upper])
}

/// The ranks (from 1) of the order statistics that bound the `q`-quantile of `n` independent values.
///
/// `None` on a side where not even the extreme value is a bound at 97.5 %.
/// (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.)
pub fn quantile_ranks(q: f64, n: u64) -> [Option<u64>; 2] {
    // P(X < rank) grows with the rank: both bounds are found by bisection.
    let first = |enough: f64| partition_point(n + 1, |rank| at_most(rank, n, q) < enough);
    // The largest rank with P(X < rank) ≤ TAIL, X the number of values below the quantile.
    let lower = partition_point(n + 1, |below| at_most(below, n, q) <= TAIL);
    // The smallest rank with P(X < rank) ≥ 1 − TAIL.
    let upper = first(1.0 - TAIL) + 1;
    [(lower >= 1).then_some(lower), (upper <= n).then_some(upper)]
}

/// How many of `0..end` come before the first for which `before` is false.
fn partition_point(end: u64, before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// P(X ≤ k) for X binomial with `n` trials of probability `p`.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        1.0
    } else {
        incomplete_beta((n - k) as f64, k as f64 + 1.0, 1.0 - p)
    }
}

#[cfg(test)]
mod tests {
    use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF};

    use super::*;

    #[test]
    fn bounds_of_shares_agree_with_an_independent_implementation() {
        for (hits, trials) in [
            (0, 10),
            (0, 4_000),
            (1, 50),
            (7, 50),
            (50, 50),
            (123, 45_678),
            (500_000, 1_000_000),
        ] {
            let [lower, upper] = share_bounds(hits, trials).unwrap();
            let (h, m) = (hits as f64, (trials - hits) as f64);
            if hits > 0 {
                let cdf = Beta::new(h, m + 1.0).unwrap().cdf(lower);
                assert!((cdf - TAIL).abs() < 1e-6, "{hits}/{trials}: {cdf}");
            }
            if hits < trials {
                let cdf = Beta::new(h + 1.0, m).unwrap().cdf(upper);
                assert!((cdf - (1.0 - TAIL)).abs() < 1e-6, "{hits}/{trials}: {cdf}");
            }
        }
        // The rule of three, with 3.69 for a two-sided 95 %.
        assert!((share_bounds(0, 4_000).unwrap()[1] - 3.69 / 4_000.0).abs() < 1e-5);
        assert_eq!(share_bounds(0, 0), None);
        assert_eq!(share_bounds(3, 2), None);
    }

    #[test]
    fn ranks_are_the_tightest_that_hold() {
        for (q, n) in [
            (0.5, 20),
            (0.95, 400),
            (0.99, 400),
            (0.99, 100_000),
            (0.5, 5),
            (0.999, 20_000),
        ] {
            let below = |rank: u64| {
                if rank == 0 {
                    0.0
                } else {
                    Binomial::new(q, n).unwrap().cdf(rank - 1)
                }
            };
            let [lower, upper] = quantile_ranks(q, n);
            if let Some(rank) = lower {
                assert!(below(rank) <= TAIL && below(rank + 1) > TAIL, "{q} {n}: {rank}");
            }
            if let Some(rank) = upper {
                assert!(
                    below(rank) >= 1.0 - TAIL && below(rank - 1) < 1.0 - TAIL,
                    "{q} {n}: {rank}"
                );
            }
        }
    }

    #[test]
    fn a_far_quantile_of_few_values_has_no_upper_bound() {
        assert_eq!(quantile_ranks(0.99, 367)[1], None);
        assert_eq!(quantile_ranks(0.99, 368)[1], Some(368));
        assert_eq!(quantile_ranks(0.5, 5), [None, None]);
        assert_eq!(quantile_ranks(0.5, 0), [None, None]);
    }
}
