//! Rules that are in use elsewhere, on the same slices. They decide nothing here: they
//! show what a gate with them would have said.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::{
    baseline::OtherRules,
    run::{Interval, Latency},
    stats::{mean, variance},
};

/// What one run against one run calls worse.
const TEN_PER_CENT: f64 = 1.10;

/// What Welch's test calls significant.
const SIGNIFICANT: f64 = 0.05;

/// The critical value that does without a table of Student's t, and the number of pairs it is used on.
const TWO: f64 = 2.0;
const PAIRS: usize = 10;

/// What they say of a reference (variant 0) and a copy of it (variant 1).
pub(super) fn rules(slices: &[&Interval]) -> OtherRules {
    let side = |variant: usize| -> Vec<&Interval> {
        let own = slices
            .iter()
            .filter(|interval| interval.slice.is_some_and(|slice| slice.variant == variant));
        own.copied().collect()
    };
    let (reference, candidate) = (side(0), side(1));
    let half = reference.len().min(candidate.len()) / 2;
    // Not interleaved: first the one, then the other.
    let (first, second) = (&reference[..half], &candidate[candidate.len() - half..]);
    OtherRules {
        ten_per_cent: ten_per_cent(first, second).unwrap_or(false),
        welch: welch(&means(first), &means(second)).unwrap_or(false),
        paired: paired(&means(&reference), &means(&candidate)).unwrap_or(false),
    }
}

fn ten_per_cent(first: &[&Interval], second: &[&Interval]) -> Option<bool> {
    let (before, now) = (all(first)?, all(second)?);
    let worse = |before: Option<f64>, now: Option<f64>| Some(now? > TEN_PER_CENT * before?);
    Some(worse(before.mean(), now.mean())? || worse(before.quantile(0.99), now.quantile(0.99))?)
}

/// Welch, "The generalization of Student's problem", Biometrika 34 (1947), two-sided as it is mostly used.
fn welch(first: &[f64], second: &[f64]) -> Option<bool> {
    let ((mean_first, error_first), (mean_second, error_second)) = (mean_error(first)?, mean_error(second)?);
    let sum = error_first + error_second;
    if sum <= 0.0 {
        return None;
    }
    let freedom = sum.powi(2)
        / (error_first.powi(2) / (first.len() as f64 - 1.0) + error_second.powi(2) / (second.len() as f64 - 1.0));
    let t = (mean_second - mean_first) / sum.sqrt();
    let p = 2.0 * StudentsT::new(0.0, 1.0, freedom).ok()?.sf(t.abs());
    Some(p < SIGNIFICANT && t > 0.0)
}

fn paired(reference: &[f64], candidate: &[f64]) -> Option<bool> {
    let changes: Vec<f64> = reference
        .iter()
        .zip(candidate)
        .take(PAIRS)
        .map(|(before, now)| now / before - 1.0)
        .collect();
    let n = changes.len() as f64;
    if changes.len() < 3 {
        return None;
    }
    let mean = mean(&changes);
    let variance = changes.iter().map(|change| (change - mean).powi(2)).sum::<f64>() / n;
    Some(variance > 0.0 && mean / (variance / n).sqrt() > TWO)
}

/// The mean and the square of its standard error.
fn mean_error(values: &[f64]) -> Option<(f64, f64)> {
    Some((mean(values), variance(values)? / values.len() as f64))
}

/// The mean response time of each slice that holds operations.
fn means(slices: &[&Interval]) -> Vec<f64> {
    let means = slices.iter().filter_map(|slice| {
        let (sum, count) = slice.steps.iter().fold((0.0, 0.0), |(sum, count), step| {
            (sum + step.response_sum_ns as f64, count + step.started() as f64)
        });
        (count > 0.0).then(|| sum / count)
    });
    means.collect()
}

fn all(slices: &[&Interval]) -> Option<Latency> {
    let mut all = Latency::new();
    for step in slices.iter().flat_map(|slice| &slice.steps) {
        all.hdr.add(&step.response_time.decode().ok()?).ok()?;
        all.sum_ns = all.sum_ns.saturating_add(step.response_sum_ns);
    }
    Some(all)
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn welch_is_the_one_of_the_books() {
        // scipy.stats.ttest_ind([1,2,3,4,5], [3,4,5,6,8], equal_var=False).pvalue = 0.0696…
        assert_eq!(
            welch(&[1.0, 2.0, 3.0, 4.0, 5.0], &[3.0, 4.0, 5.0, 6.0, 8.0]),
            Some(false)
        );
        // … [3.5,4.5,5.5,6.5,8.5] 0.0330…
        assert_eq!(
            welch(&[1.0, 2.0, 3.0, 4.0, 5.0], &[3.5, 4.5, 5.5, 6.5, 8.5]),
            Some(true)
        );
        assert_eq!(
            welch(&[3.5, 4.5, 5.5, 6.5, 8.5], &[1.0, 2.0, 3.0, 4.0, 5.0]),
            Some(false)
        );
        assert_eq!(welch(&[1.0], &[2.0]), None);
    }

    #[test]
    fn pairs_need_only_agree() {
        let reference = [100.0; 10];
        let mut candidate = [101.0, 100.5, 101.5, 100.8, 101.2, 100.9, 101.1, 100.7, 101.3, 100.6];
        assert_eq!(paired(&reference, &candidate), Some(true));
        candidate[0] = 70.0;
        assert_eq!(paired(&reference, &candidate), Some(false));
    }
}
