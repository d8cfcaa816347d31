//! The trimmed mean: where observations with a few wild ones among them lie.

use super::{Dependence, Located, mean::squares};

/// The share of the observations that is cut off on each side.
const TRIMMED: f64 = 0.1;

/// The mean without the lowest and the highest tenth of the observations, which are in the order of time.
///
/// With g = ⌊n/10⌋ and h = n − 2g, the standard error of independent
/// observations is √(S/(h·(h − 1))), S the sum of squares of the winsorised
/// observations about their mean, with h − 1 degrees of freedom (Tukey &
/// McLaughlin, Sankhyā A 25, 1963); [`Dependence`] makes both worse. `None`
/// with fewer than three observations or one that is not finite.
pub fn trimmed_mean(observations: &[f64]) -> Option<Located> {
    let n = observations.len();
    if n < Dependence::FEWEST || observations.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let cut = (n as f64 * TRIMMED).floor() as usize;
    let mut sorted = observations.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let kept = &sorted[cut..n - cut];
    let h = kept.len() as f64;
    let (lowest, highest) = (kept[0], kept[kept.len() - 1]);
    let winsorised: Vec<f64> = observations.iter().map(|value| value.clamp(lowest, highest)).collect();
    let dependence = Dependence::of(&winsorised);
    Some(Located {
        estimate: kept.iter().sum::<f64>() / h,
        error: dependence.inflation() * (squares(&winsorised) / (h * (h - 1.0))).sqrt(),
        freedom: dependence.freedom(cut),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mean_and_error_agree_with_an_independent_implementation() {
        let independent = [
            0.021, -0.034, 0.052, 0.013, 0.008, -0.012, 0.310, 0.044, -0.003, 0.027, 0.019, -0.051, 0.033, 0.002,
            0.061, -0.018, 0.024, 0.039, -0.270, 0.011, 0.016, 0.029,
        ];
        // from scipy.stats import ttest_ind, trim_mean, SciPy 1.17.1
        // t = ttest_ind(x, -x, trim=0.1, equal_var=False); print(trim_mean(x, 0.1), 2**.5 * trim_mean(x, 0.1) / t.statistic)
        let located = trimmed_mean(&independent).unwrap();
        assert!((located.estimate - 0.015_055_555_555_555_556).abs() < 1e-12);
        // The autocorrelation of the winsorised values is −.42: nothing is added, nothing taken away.
        assert!((located.error - 0.007_204_064_426_849_011).abs() < 1e-12);
        assert_eq!(located.freedom, 17.0);

        let dependent = [
            0.12, 0.19, 0.03, 0.07, -0.09, 0.03, 0.08, -0.05, -0.11, -0.1, 0.06, 0.02, 0.4, 0.09, 0.08, -0.14, 0.05,
            0.03, -0.07, 0.0, 0.1, 0.13,
        ];
        // The same error .021157811810160736, and with the autocorrelation r of mstats.winsorize(x, (2/22, 2/22)):
        // s = r + (1 + 4*r)/22; k = (1 + s)/(1 - s); print(error * k**.5, 22/k - 5)
        let located = trimmed_mean(&dependent).unwrap();
        assert!((located.estimate - 0.032_222_222_222_222_22).abs() < 1e-12);
        assert!((located.error - 0.028_944_150_091_140_028).abs() < 1e-12);
        assert!((located.freedom - 6.755_539_837_218_432).abs() < 1e-9);
    }

    #[test]
    fn a_few_wild_ones_do_not_move_it() {
        let mut values: Vec<f64> = (0..20).map(|at| f64::from(at * 7 % 20)).collect();
        let calm = trimmed_mean(&values).unwrap();
        *values.iter_mut().find(|value| **value == 19.0).unwrap() = 1e9;
        assert_eq!(trimmed_mean(&values), Some(calm));
    }

    #[test]
    fn too_few_are_not_estimated() {
        assert_eq!(trimmed_mean(&[1.0, 2.0]), None);
        assert_eq!(trimmed_mean(&[1.0, 2.0, f64::NAN]), None);
        assert_eq!(trimmed_mean(&[7.0; 9]).unwrap().error, 0.0);
    }

    proptest! {
        #[test]
        fn it_follows_shifts_scales_and_signs(
            values in prop::collection::vec(-1.0_f64..1.0, 3..60), shift in -2.0_f64..2.0, scale in 0.1_f64..10.0,
        ) {
            let located = trimmed_mean(&values).unwrap();
            let of = |f: &dyn Fn(f64) -> f64| trimmed_mean(&values.iter().map(|&x| f(x)).collect::<Vec<_>>()).unwrap();
            let same = |a: Located, estimate: f64, error: f64| {
                (a.estimate - estimate).abs() < 1e-9 && (a.error - error).abs() < 1e-9
            };
            prop_assert!(same(of(&|x| x + shift), located.estimate + shift, located.error));
            prop_assert!(same(of(&|x| x * scale), located.estimate * scale, located.error * scale));
            prop_assert!(same(of(&|x| -x), -located.estimate, located.error));
        }

        #[test]
        fn the_order_of_units_changes_nothing_but_dependence(
            values in prop::collection::vec(-1.0_f64..1.0, 3..60), by in 1_usize..60,
        ) {
            let mut other = values.clone();
            other.rotate_left(by % values.len());
            let bare = |values: &[f64]| {
                let located = trimmed_mean(values).unwrap();
                let cut = values.len() / 10;
                let mut sorted = values.to_vec();
                sorted.sort_by(f64::total_cmp);
                let (lowest, highest) = (sorted[cut], sorted[values.len() - 1 - cut]);
                let winsorised: Vec<f64> = values.iter().map(|x| x.clamp(lowest, highest)).collect();
                (located.estimate, located.error / Dependence::of(&winsorised).inflation())
            };
            let (one, other) = (bare(&values), bare(&other));
            prop_assert!((one.0 - other.0).abs() < 1e-12 && (one.1 - other.1).abs() < 1e-12);
        }
    }
}
