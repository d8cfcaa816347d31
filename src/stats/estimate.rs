//! A figure of one run with what is known of its uncertainty, and the change between two of them.

use super::{
    Bounds, Pool, Series, TAIL, binomial,
    bootstrap::{self, NORMAL, Replicates},
};

/// A figure of one run, its value and where it may lie instead.
///
/// There are two sources of doubt: the figure's replicates from resampled
/// blocks of time, and bounds that assume independent operations. Where both
/// are known the wider one counts: an outage is a cluster that only blocks
/// see, and no error at all is a certainty that only bounds correct.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// The figure itself.
    pub value: f64,
    replicates: Option<Replicates>,
    bounds: Option<Bounds>,
}

/// On what scale two figures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// `candidate / reference − 1`.
    Relative,
    /// `candidate − reference`.
    Difference,
}

impl Estimate {
    /// A figure that is a full count, or that nothing can be said about beyond its value (a maximum).
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            replicates: None,
            bounds: Some([value, value]),
        }
    }

    /// A figure that was counted more than once, and what the counts lie between.
    pub fn counted([low, high]: Bounds) -> Self {
        Self {
            value: f64::midpoint(low, high),
            replicates: None,
            bounds: Some([low, high]),
        }
    }

    /// A figure of which nothing is known but its value.
    pub fn single(value: f64) -> Self {
        Self {
            value,
            replicates: None,
            bounds: None,
        }
    }

    /// A figure whose doubt comes from resampling its series with this seed.
    pub fn resampled(value: f64, series: &Series, seed: u64) -> Self {
        Self {
            value,
            replicates: bootstrap::resample(series, seed),
            bounds: None,
        }
    }

    /// A quantile of values taken to be independent: bounded by order statistics.
    pub fn independent_quantile(value: f64, q: f64, pool: &Pool) -> Self {
        let once = vec![1; pool.units()];
        let [lower, upper] = binomial::quantile_ranks(q, pool.total());
        let at = |rank: Option<u64>| rank.and_then(|rank| pool.value_at_rank(rank, &once));
        let bounds = [at(lower).unwrap_or(0.0), at(upper).unwrap_or(f64::INFINITY)];
        Self {
            value,
            replicates: None,
            bounds: Some(bounds),
        }
    }

    /// A mean of values taken to be independent: bounded by its normal interval.
    pub fn independent_mean(value: f64, pool: &Pool) -> Self {
        let half = pool
            .variance()
            .map(|variance| NORMAL * (variance / pool.total() as f64).sqrt());
        Self {
            value,
            replicates: None,
            bounds: half.map(|half| [(value - half).max(0.0), value + half]),
        }
    }

    /// Widens it by the exact bounds of a share.
    pub fn or_share(mut self, hits: u64, trials: u64) -> Self {
        self.bounds = binomial::share_bounds(hits, trials);
        self
    }

    /// The 95 % bounds that assume independence, or are exact.
    pub fn exact_bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// The 95 % interval; `None` where the run is too short for one.
    pub fn interval(&self) -> Option<Bounds> {
        let resampled = self
            .replicates
            .as_ref()
            .and_then(|replicates| percentiles(self.value, replicates.values.clone(), replicates.stretch));
        hull(resampled, self.bounds)
    }
}

/// The 95 % interval of the change from `reference` to `candidate`; `None`
/// where one of them has no interval, or where a relative change from zero is asked for.
///
/// With replicates on both sides it is the percentile interval of their log
/// ratios (or differences); otherwise the two intervals are combined by the
/// method of variance estimates recovery (Zou & Donner, Statistics in Medicine 27, 2008).
pub fn change_interval(reference: &Estimate, candidate: &Estimate, scale: Scale) -> Option<Bounds> {
    if scale == Scale::Relative && (reference.value <= 0.0 || candidate.value < 0.0) {
        return None;
    }
    let resampled = match (&reference.replicates, &candidate.replicates) {
        (Some(r), Some(c)) => paired(reference, candidate, r, c, scale),
        _ => None,
    };
    let bounded = match (reference.bounds, candidate.bounds) {
        (Some(r), Some(c)) => combined(reference.value, candidate.value, r, c, scale),
        _ if resampled.is_none() => combined(
            reference.value,
            candidate.value,
            reference.interval()?,
            candidate.interval()?,
            scale,
        ),
        _ => None,
    };
    hull(resampled, bounded)
}

/// The percentile interval of the replicates' changes, drawn independently and so paired by their order.
fn paired(reference: &Estimate, candidate: &Estimate, r: &Replicates, c: &Replicates, scale: Scale) -> Option<Bounds> {
    let stretch = r.stretch.max(c.stretch);
    let pairs = r.values.iter().zip(&c.values);
    match scale {
        Scale::Difference => percentiles(
            candidate.value - reference.value,
            pairs.map(|(r, c)| c - r).collect(),
            stretch,
        ),
        // A ratio of zero has no logarithm to stretch about; the bounds must speak.
        Scale::Relative if candidate.value == 0.0 => None,
        Scale::Relative => {
            let ratios = pairs.filter(|(r, _)| **r > 0.0).map(|(r, c)| (c / r).ln()).collect();
            percentiles((candidate.value / reference.value).ln(), ratios, stretch).map(|bounds| bounds.map(f64::exp_m1))
        }
    }
}

/// The percentile interval, stretched about the estimate, which it always contains.
fn percentiles(estimate: f64, mut values: Vec<f64>, stretch: f64) -> Option<Bounds> {
    values.sort_unstable_by(f64::total_cmp);
    let cut = (values.len() as f64 * TAIL).floor() as usize;
    let lower = *values.get(cut)?;
    let upper = *values.get(values.len() - 1 - cut)?;
    Some([
        estimate - stretch * (estimate - lower).max(0.0),
        estimate + stretch * (upper - estimate).max(0.0),
    ])
}

fn combined(reference: f64, candidate: f64, r: Bounds, c: Bounds, scale: Scale) -> Option<Bounds> {
    match scale {
        Scale::Difference => Some(recovered(reference, candidate, r, c)),
        Scale::Relative if candidate == 0.0 => (r[0] > 0.0).then(|| [-1.0, c[1] / r[0] - 1.0]),
        Scale::Relative => {
            let logs = recovered(reference.ln(), candidate.ln(), r.map(f64::ln), c.map(f64::ln));
            Some(logs.map(f64::exp_m1))
        }
    }
}

pub(super) fn recovered(reference: f64, candidate: f64, r: Bounds, c: Bounds) -> Bounds {
    let difference = candidate - reference;
    [
        difference - (candidate - c[0]).hypot(r[1] - reference),
        difference + (c[1] - candidate).hypot(reference - r[0]),
    ]
}

/// The smallest interval that holds both; one alone where the other is unknown.
fn hull(a: Option<Bounds>, b: Option<Bounds>) -> Option<Bounds> {
    match (a, b) {
        (Some(a), Some(b)) => Some([a[0].min(b[0]), a[1].max(b[1])]),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

    use super::*;

    /// `units` seconds of `rate` log-uniform latencies around `scale`, every second with its own luck.
    fn seconds(seed: u64, units: usize, rate: usize, scale: f64) -> Vec<Vec<(u64, u64)>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (0..units)
            .map(|_| {
                let luck = 1.0 + 0.1 * (rng.random::<f64>() - 0.5);
                (0..rate)
                    .map(|_| ((scale * luck * (2.0 * rng.random::<f64>()).exp()) as u64, 1))
                    .collect()
            })
            .collect()
    }

    fn median(seed: u64, units: usize, scale: f64) -> Estimate {
        let pool = Pool::new(&seconds(seed, units, 50, scale));
        let value = pool.quantile(0.5, &vec![1; units]).unwrap();
        Estimate::resampled(value, &Series::Quantile { q: 0.5, pool }, seed)
    }

    #[test]
    fn the_interval_of_a_change_covers_the_truth_about_as_often_as_it_says() {
        for units in [6, 20] {
            let mut covered = 0;
            for trial in 0..200 {
                let (reference, candidate) = (median(2 * trial, units, 1e6), median(2 * trial + 1, units, 1.2e6));
                let [lower, upper] = change_interval(&reference, &candidate, Scale::Relative).unwrap();
                covered += u32::from(lower <= 0.2 && 0.2 <= upper);
            }
            // 95 % of 200 is 190; five standard deviations below is 175.
            assert!(covered >= 180, "{units} units: {covered} of 200");
        }
    }

    #[test]
    fn the_interval_of_one_run_covers_the_truth_about_as_often_as_it_says() {
        let truth = 1e6 * 1.0_f64.exp();
        let covered = (0..200).filter(|&trial| {
            let [lower, upper] = median(trial, 20, 1e6).interval().unwrap();
            lower <= truth && truth <= upper
        });
        assert!(covered.count() >= 180);
    }

    #[test]
    fn twice_as_slow_is_found_and_is_about_100_per_cent() {
        let [lower, upper] = change_interval(&median(1, 20, 1e6), &median(2, 20, 2e6), Scale::Relative).unwrap();
        assert!(
            0.7 < lower && lower < 1.0 && 1.0 < upper && upper < 1.4,
            "{lower} {upper}"
        );
    }

    #[test]
    fn bounds_of_independent_values_cover_too() {
        let truth = 1e6 * 1.8_f64.exp();
        let covered = (0..200).filter(|&trial| {
            // One unit has one luck, so none: its spread would be no fault of the bounds.
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(trial);
            let values = (0..300)
                .map(|_| ((1e6 * (2.0 * rng.random::<f64>()).exp()) as u64, 1))
                .collect();
            let pool = Pool::new(&[values]);
            let value = pool.quantile(0.9, &[1]).unwrap();
            let [lower, upper] = Estimate::independent_quantile(value, 0.9, &pool).interval().unwrap();
            lower <= truth && truth <= upper
        });
        assert!(covered.count() >= 180);
    }

    #[test]
    fn no_error_at_all_is_not_certainty() {
        let none = |trials| Estimate::exact(0.0).or_share(0, trials);
        let [lower, upper] = change_interval(&none(1_000), &none(1_000), Scale::Difference).unwrap();
        assert!(lower < -0.003 && upper > 0.003);
        assert_eq!(change_interval(&none(1_000), &none(1_000), Scale::Relative), None);
    }

    #[test]
    fn a_share_that_falls_to_zero_has_a_relative_change() {
        let some = Estimate::exact(0.02).or_share(20, 1_000);
        let none = Estimate::exact(0.0).or_share(0, 1_000);
        let [lower, upper] = change_interval(&some, &none, Scale::Relative).unwrap();
        assert_eq!(lower, -1.0);
        assert!((-1.0..0.0).contains(&upper), "{upper}");
    }

    #[test]
    fn the_wider_of_two_sources_counts() {
        // All errors in one second: only the blocks know that they came together.
        let units = (0..20).map(|at| [if at == 7 { 100.0 } else { 0.0 }, 100.0]).collect();
        let estimate = Estimate::resampled(0.05, &Series::Ratio(units), 3).or_share(100, 2_000);
        let exact = estimate.exact_bounds().unwrap();
        let both = estimate.interval().unwrap();
        assert!(both[1] > 2.0 * exact[1], "{both:?} {exact:?}");
    }

    #[test]
    fn exact_figures_change_exactly() {
        let change = change_interval(&Estimate::exact(200.0), &Estimate::exact(300.0), Scale::Relative).unwrap();
        assert!((change[0] - 0.5).abs() < 1e-12 && (change[1] - 0.5).abs() < 1e-12);
    }
}
