//! A series in units of its own noise, without its spikes; and how much a change in it weighs.

use super::{SHORTEST, median};

/// Points on each side that a running median looks at: spikes of up to so many points vanish.
const NEIGHBOURS: usize = 3;

/// Values are cut off so many deviations away from the running median (winsorised).
const FARTHEST: f64 = 4.0;

/// A single point counts as no more than so many σ of [`Steadied::restlessness`].
const WILDEST: f64 = 60.0;

/// A change is looked at over so many points on each side, as far as its segments reach.
const WINDOWS: [usize; 3] = [12, 24, 48];

/// A window is taken to be no quieter than this, in σ: a dozen points may agree by chance.
const QUIETEST: f64 = 0.5;

/// In units of σ, beyond which distance from the median makes no difference any more.
const BOUND: f64 = 1e6;

/// For normal values: standard deviation over median, and over mean, of the absolute deviations.
const BY_MEDIAN: f64 = 1.482_602_218_505_602;
const BY_MEAN: f64 = 1.253_314_137_315_500_3;

/// A series in units of σ about its median, its spikes cut down.
pub(super) struct Steadied {
    values: Vec<f64>,
    /// How far single points are from their neighbours, spikes included, in σ:
    /// (Σ min(|x − running median|, 60)³ / n)^⅓. The cube lets spikes count for
    /// more than their number, the bound keeps a lone one from hiding all changes.
    restlessness: f64,
}

impl Steadied {
    /// `None` for a series too short to have a change, for a constant one, and for one with values
    /// that are not finite.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 2 * SHORTEST || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let largest = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
        // Below one, nothing that is computed from now on can overflow.
        let small: Vec<f64> = values
            .iter()
            .map(|value| value / largest.max(f64::MIN_POSITIVE))
            .collect();
        let centres = running_median(&small);
        let off: Vec<f64> = small
            .iter()
            .zip(&centres)
            .map(|(value, centre)| value - centre)
            .collect();
        let farthest = FARTHEST * deviation(&off);
        let calm: Vec<f64> = centres
            .iter()
            .zip(&off)
            .map(|(centre, off)| centre + off.clamp(-farthest, farthest))
            .collect();
        let steps: Vec<f64> = calm.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let sigma = deviation(&steps) / std::f64::consts::SQRT_2;
        if sigma <= 0.0 {
            return None;
        }
        let middle = median(&calm);
        let cubes: f64 = off.iter().map(|off| (off.abs() / sigma).min(WILDEST).powi(3)).sum();
        Some(Self {
            values: calm
                .iter()
                .map(|value| ((value - middle) / sigma).clamp(-BOUND, BOUND))
                .collect(),
            restlessness: (cubes / off.len() as f64).cbrt().max(QUIETEST),
        })
    }

    /// In units of σ.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    /// How much a change at `at` weighs between segments that begin at `from` and end at `to`.
    ///
    /// The mean, over [`WINDOWS`], of Welch's t (Biometrika 34, 1947) times the
    /// difference of medians over the restlessness. No level of significance
    /// goes with it: the points are neither independent nor normal.
    pub(super) fn weight(&self, from: usize, at: usize, to: usize) -> f64 {
        let weights = WINDOWS.map(|window| {
            let before = &self.values[from.max(at.saturating_sub(window))..at];
            let after = &self.values[at..to.min(at + window)];
            welch(before, after) * (median(before) - median(after)).abs() / self.restlessness
        });
        weights.iter().sum::<f64>() / WINDOWS.len() as f64
    }
}

/// |mean₁ − mean₂| / √(v₁/n₁ + v₂/n₂), with variances of at least [`QUIETEST`]².
fn welch(before: &[f64], after: &[f64]) -> f64 {
    let [(mean, error), (other, other_error)] = [before, after].map(|values| {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, (squares / (n - 1.0)).max(QUIETEST * QUIETEST) / n)
    });
    (mean - other).abs() / (error + other_error).sqrt()
}

/// The median of each point and its neighbours, fewer at the ends.
fn running_median(values: &[f64]) -> Vec<f64> {
    (0..values.len())
        .map(|at| median(&values[at.saturating_sub(NEIGHBOURS)..values.len().min(at + NEIGHBOURS + 1)]))
        .collect()
}

/// Standard deviation about zero by the median of the absolute values; where half of them are zero, by their mean.
fn deviation(values: &[f64]) -> f64 {
    let absolute: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    let middle = median(&absolute);
    if middle > 0.0 {
        return BY_MEDIAN * middle;
    }
    BY_MEAN * absolute.iter().sum::<f64>() / absolute.len() as f64
}
