//! The mean of a few observations and the interval it lies in.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::{Bounds, TAIL};

/// The mean and its 95 % interval by Student's t; no interval for a single observation.
///
/// Student, "The probable error of a mean", Biometrika 6 (1908): the observations
/// are taken to be independent and about normal. `None` for none at all.
pub fn mean_interval(observations: &[f64]) -> Option<(f64, Option<Bounds>)> {
    let n = observations.len() as f64;
    if observations.is_empty() || observations.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mean = observations.iter().sum::<f64>() / n;
    let squares = squares(observations);
    let interval = StudentsT::new(0.0, 1.0, n - 1.0).ok().map(|distribution| {
        let half = distribution.inverse_cdf(1.0 - TAIL) * (squares / (n - 1.0) / n).sqrt();
        [mean - half, mean + half]
    });
    Some((mean, interval))
}

/// The arithmetic mean; not a number for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The variance that the values are a sample of; `None` for fewer than two.
pub fn variance(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| squares(values) / (values.len() as f64 - 1.0))
}

/// The sum of squares about the mean.
pub(super) fn squares(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean) * (value - mean)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_one_of_the_tables() {
        // t(0.975; 4) = 2.776445; the deviation of 1…5 is sqrt(2.5).
        let (mean, interval) = mean_interval(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let half = 2.776_445 * (2.5_f64 / 5.0).sqrt();
        let [lower, upper] = interval.unwrap();
        assert!((mean - 3.0).abs() < 1e-12);
        assert!((upper - mean - half).abs() < 1e-5 && (mean - lower - half).abs() < 1e-5);
        assert_eq!(mean_interval(&[7.0]), Some((7.0, None)));
        assert_eq!(mean_interval(&[]), None);
        assert_eq!(mean_interval(&[1.0, f64::NAN]), None);
    }
}
