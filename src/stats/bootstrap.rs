//! Resampling blocks of neighbouring units.
//!
//! A circular block bootstrap (Politis & Romano 1992): blocks of consecutive
//! units, wrapping at the end of the run, are drawn with replacement until the
//! run's length is reached. Blocks keep short stretches of trouble together,
//! so the spread of the replicates holds what neighbouring seconds share. A
//! block never crosses from one run into another, because each run is
//! resampled by itself.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::Series;

/// Replicates per run.
pub const REPLICATES: usize = 2_000;

/// With fewer units that hold samples there is nothing to resample.
pub const FEWEST_UNITS: usize = 5;

/// More units than this are merged with their neighbours first: an hour costs no more than two minutes.
pub const MOST_UNITS: u64 = 120;

/// A figure as it came out of every resampled run.
#[derive(Debug, Clone)]
pub struct Replicates {
    /// One per replicate that had samples, in the order drawn.
    pub values: Vec<f64>,
    /// See [`stretch`].
    pub stretch: f64,
}

/// Resamples a series; `None` where most replicates have nothing to compute the figure from.
pub fn resample(series: &Series, seed: u64) -> Option<Replicates> {
    let units = series.units();
    if units < FEWEST_UNITS {
        return None;
    }
    let block = block_length(units);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut weights = vec![0; units];
    let mut values = Vec::with_capacity(REPLICATES);
    for _ in 0..REPLICATES {
        draw(&mut weights, block, &mut rng);
        values.extend(series.value(&weights));
    }
    (values.len() * 2 > REPLICATES).then(|| Replicates {
        values,
        stretch: stretch(units, block),
    })
}

/// Fills in how often every unit was drawn.
pub(super) fn draw(weights: &mut [u32], block: usize, rng: &mut Xoshiro256PlusPlus) {
    let units = weights.len();
    weights.fill(0);
    let mut drawn = 0;
    while drawn < units {
        let start = rng.random_range(0..units as u64) as usize;
        let length = block.min(units - drawn);
        for offset in 0..length {
            weights[(start + offset) % units] += 1;
        }
        drawn += length;
    }
}

/// The length of a block: the cube root of the number of units, rounded (5 for
/// 120 units, 3 for 20), the rate at which the error of a block bootstrap's
/// variance is smallest (Künsch 1989).
pub fn block_length(units: usize) -> usize {
    // Integers: the rounded cube root is the first b with (b + ½)³ > n.
    (1..).find(|b| (2 * b + 1_usize).pow(3) > 8 * units).unwrap_or(1)
}

/// By how much a percentile interval must be stretched about the estimate.
///
/// Percentile intervals are too narrow for few units, for two reasons: blocks
/// vary about the mean *of this run*, which takes away the share b/n of the
/// variance; and the variance is itself estimated, so the normal's 1.96 should
/// be Student's t. (Hesterberg, The American Statistician 69, 2015, for single
/// units; the degrees of freedom of overlapping blocks, 3n/2b, follow from
/// their variance in Künsch 1989.)
pub fn stretch(units: usize, block: usize) -> f64 {
    let (n, b) = (units as f64, block as f64);
    let freedom = (1.5 * n / b - 1.0).clamp(2.0, n - 1.0);
    student_t(freedom) / NORMAL / (1.0 - b / n).sqrt()
}

/// The 97.5 % quantile of the normal distribution.
pub const NORMAL: f64 = 1.959_963_984_540_054;

/// The 97.5 % quantile of Student's t by its expansion about the normal
/// (Abramowitz & Stegun 26.7.5): within 0.3 % from three degrees of freedom.
pub fn student_t(freedom: f64) -> f64 {
    let z = NORMAL;
    let powers = |coefficients: &[f64]| coefficients.iter().rev().fold(0.0, |sum, c| sum * z * z + c) * z;
    z + powers(&[1.0, 1.0]) / (4.0 * freedom)
        + powers(&[3.0, 16.0, 5.0]) / (96.0 * freedom.powi(2))
        + powers(&[-15.0, 17.0, 19.0, 3.0]) / (384.0 * freedom.powi(3))
        + powers(&[-945.0, -1920.0, 1482.0, 776.0, 79.0]) / (92_160.0 * freedom.powi(4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::distribution::{ContinuousCDF, StudentsT};

    use super::*;

    #[test]
    fn blocks_grow_with_the_cube_root() {
        let lengths: Vec<usize> = [5, 10, 20, 40, 60, 120].into_iter().map(block_length).collect();
        assert_eq!(lengths, [2, 2, 3, 3, 4, 5]);
    }

    #[test]
    fn students_t_agrees_with_an_independent_implementation() {
        for freedom in [2.75, 4.0, 9.0, 30.0, 200.0] {
            let expected = StudentsT::new(0.0, 1.0, freedom).unwrap().inverse_cdf(0.975);
            assert!(
                (student_t(freedom) / expected - 1.0).abs() < 0.005,
                "{freedom}: {} {expected}",
                student_t(freedom)
            );
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_replicates_and_another_does_not() {
        let series = Series::Ratio((0..20).map(|at| [f64::from(at * at % 7), 1.0]).collect());
        let values = |seed| resample(&series, seed).unwrap().values;
        assert_eq!(values(1), values(1));
        assert_ne!(values(1), values(2));
    }

    #[test]
    fn too_few_units_are_not_resampled() {
        assert!(resample(&Series::Ratio(vec![[1.0, 1.0]; 4]), 1).is_none());
        assert!(resample(&Series::Ratio(vec![[0.0, 0.0]; 9]), 1).is_none());
    }

    proptest! {
        #[test]
        fn every_replicate_is_as_long_as_the_run(units in 5_usize..200, seed in any::<u64>()) {
            let mut weights = vec![0; units];
            draw(&mut weights, block_length(units), &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            prop_assert_eq!(weights.iter().sum::<u32>() as usize, units);
        }
    }
}
