//! Few events among many trials: exact tests and bounds that need no units.
//!
//! They take every trial to be independent of the others. Events that come in
//! clusters do not fit; see [`super::totals`] for those.

use super::{Bounds, beta::incomplete_beta, binomial::share_bounds_at, estimate::recovered};

/// The one-sided p value of the hypothesis "the candidate's rate is at most the
/// reference's", from [events, trials] of both.
///
/// Given the number of events in both, at equal rates those of the candidate
/// are binomial with its share of the trials (Przyborowski & Wilenski,
/// Biometrika 31, 1940). 1 where a side has no trials or more events than trials.
pub fn events_p(reference: [u64; 2], candidate: [u64; 2]) -> f64 {
    if [reference, candidate]
        .iter()
        .any(|[events, trials]| *trials == 0 || events > trials)
        || candidate[0] == 0
    {
        return 1.0;
    }
    let share = candidate[1] as f64 / (candidate[1] as f64 + reference[1] as f64);
    // P(X ≥ c) for X binomial with r + c trials.
    incomplete_beta(candidate[0] as f64, reference[0] as f64 + 1.0, share)
}

/// Bounds of the candidate's rate − the reference's, from [events, trials] of both, each exceeded with a
/// probability of about `tail`.
///
/// The bounds of the two rates (Clopper & Pearson 1934) combined by the method of
/// variance estimates recovery (Zou & Donner, Statistics in Medicine 27, 2008).
/// −1 and 1 where a side has no trials or more events than trials.
pub fn events_difference(reference: [u64; 2], candidate: [u64; 2], tail: f64) -> Bounds {
    let bounds = |[events, trials]: [u64; 2]| share_bounds_at(events, trials, tail);
    let rate = |[events, trials]: [u64; 2]| events as f64 / trials as f64;
    match (bounds(reference), bounds(candidate)) {
        (Some(r), Some(c)) => recovered(rate(reference), rate(candidate), r, c),
        _ => [-1.0, 1.0],
    }
}

/// The one-sided p value of "the candidate's rate is at most the reference's and `margin` more",
/// from [events, trials] of both.
///
/// The larger of [`events_p`] and of the binomial tail of the candidate's events at the reference's
/// observed rate plus the margin: the first bounds what the second takes as known.
pub fn events_p_beyond(reference: [u64; 2], candidate: [u64; 2], margin: f64) -> f64 {
    let equal = events_p(reference, candidate);
    if margin <= 0.0 || equal >= 1.0 {
        return equal;
    }
    let allowed = (reference[0] as f64 / reference[1] as f64 + margin).min(1.0);
    // P(X ≥ c) for X binomial with the candidate's trials.
    let beyond = incomplete_beta(candidate[0] as f64, (candidate[1] - candidate[0]) as f64 + 1.0, allowed);
    equal.max(beyond)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::TAIL;

    #[test]
    fn p_values_and_bounds_agree_with_an_independent_implementation() {
        // from scipy.stats import binomtest; binomtest(9, 12, 1000/2900, alternative='greater').pvalue, SciPy 1.17.1
        assert!((events_p([3, 1_900], [9, 1_000]) - 0.005_005_556_816_916_589_5).abs() < 1e-12);
        assert!((events_p([0, 700], [3, 700]) - 0.125).abs() < 1e-12);
        // binomtest(k, n).proportion_ci(method='exact'), and Zou and Donner's formula by hand
        let [lower, upper] = events_difference([2, 900], [11, 1_000], TAIL);
        assert!((lower - 0.000_800_226_270_856_952_6).abs() < 1e-9, "{lower}");
        assert!((upper - 0.017_593_455_665_408_812).abs() < 1e-9, "{upper}");
    }

    #[test]
    fn a_margin_asks_for_more_evidence() {
        // p = 3/1900 + .001; sum(comb(1000, k) * p**k * (1-p)**(1000-k) for k in range(9, 200)): far below events_p
        let beyond = events_p_beyond([3, 1_900], [9, 1_000], 0.001);
        let tail = 0.0013821072726786733;
        assert!(
            (beyond - f64::max(tail, events_p([3, 1_900], [9, 1_000]))).abs() < 1e-12,
            "{beyond}"
        );
        assert!(events_p_beyond([3, 1_900], [9, 1_000], 0.005) > 0.05);
        assert_eq!(
            events_p_beyond([3, 1_900], [9, 1_000], 0.0),
            events_p([3, 1_900], [9, 1_000])
        );
        assert_eq!(events_p_beyond([0, 100], [0, 100], 0.01), 1.0);
    }

    #[test]
    fn nothing_is_no_evidence() {
        assert_eq!(events_p([0, 100], [0, 100]), 1.0);
        assert_eq!(events_p([0, 0], [5, 100]), 1.0);
        assert_eq!(events_p([0, 100], [5, 4]), 1.0);
        assert_eq!(events_difference([0, 0], [5, 100], TAIL), [-1.0, 1.0]);
        let [lower, upper] = events_difference([0, 1_000], [0, 1_000], TAIL);
        assert!(lower < -0.003 && upper > 0.003);
    }

    proptest! {
        #[test]
        fn more_events_are_more_evidence(
            trials in 50_u64..5_000, reference in 0_u64..40, candidate in 0_u64..40,
        ) {
            let p = events_p([reference, trials], [candidate, trials]);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!(events_p([reference, trials], [candidate + 1, trials]) < p);
            prop_assert!(events_p([reference + 1, trials], [candidate, trials]) >= p);
            let ([a, b], [c, d]) = (
                events_difference([reference, trials], [candidate, trials], TAIL),
                events_difference([candidate, trials], [reference, trials], TAIL),
            );
            prop_assert!((a + d).abs() < 1e-12 && (b + c).abs() < 1e-12 && a <= b);
        }
    }
}
