//! A new value beside a set of earlier ones.

use super::{Located, mean::squares};

/// Where the mean of `sessions` new values is to be expected after the values
/// of the `past`, one per session, on the logarithmic scale if their metric has a ratio.
///
/// c, the mean of the K past values, with the error s·√(1/K + 1/k) of a
/// *prediction* of the mean of k new ones, and K − 1 degrees of freedom
/// (Hahn, Technometrics 11, 1969). The standard deviation s is at least
/// `floor`; of a single value the floor is all that is known, and is taken as
/// known exactly. `None` without past values or new ones, or where a value is
/// not finite.
pub fn prediction(past: &[f64], sessions: usize, floor: f64) -> Option<Located> {
    if past.is_empty() || sessions == 0 || past.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let k = past.len() as f64;
    let (deviation, freedom) = if past.len() == 1 {
        (floor, f64::INFINITY)
    } else {
        ((squares(past) / (k - 1.0)).sqrt().max(floor), k - 1.0)
    };
    Some(Located {
        estimate: past.iter().sum::<f64>() / k,
        error: deviation * (1.0 / k + 1.0 / sessions as f64).sqrt(),
        freedom,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_is_expected_about_the_mean_of_the_past() {
        // numpy: x = [4.61, 4.65, 4.58, 4.70, 4.62]; mean(x), std(x, ddof=1) * (1/5 + 1/2)**.5
        let expected = prediction(&[4.61, 4.65, 4.58, 4.70, 4.62], 2, 0.0).unwrap();
        assert!((expected.estimate - 4.632).abs() < 1e-12);
        assert!((expected.error - 0.038_065_732_621_348_59).abs() < 1e-12);
        assert_eq!(expected.freedom, 4.0);
    }

    #[test]
    fn the_spread_is_at_least_the_floor() {
        let calm = prediction(&[4.6, 4.6, 4.6], 1, 0.1).unwrap();
        assert!((calm.error - 0.1 * (4.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let single = prediction(&[4.6], 1, 0.1).unwrap();
        assert!((single.error - 0.1 * 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(single.freedom, f64::INFINITY);
        assert!((single.upper(0.025) - (4.6 + 1.959_963_984_540_054 * single.error)).abs() < 1e-9);
        assert_eq!(prediction(&[4.6], 1, 0.0).unwrap().p_above(0.0), 1.0);
    }

    #[test]
    fn nothing_is_expected_of_nothing() {
        assert_eq!(prediction(&[], 1, 0.1), None);
        assert_eq!(prediction(&[4.6], 0, 0.1), None);
        assert_eq!(prediction(&[4.6, f64::NAN], 1, 0.1), None);
    }
}
