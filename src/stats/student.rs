//! Student's t, for any degrees of freedom that are not whole numbers too.
//!
//! Its elementary functions are those of `libm`: the same bits on every platform.

use libm::erfc;

use super::beta::incomplete_beta;

/// P(T > t) for Student's t; with infinite `freedom` for the normal distribution.
///
/// By the incomplete beta function (Abramowitz & Stegun 26.7.1).
pub(super) fn above(t: f64, freedom: f64) -> f64 {
    if freedom.is_infinite() {
        return 0.5 * erfc(t * std::f64::consts::FRAC_1_SQRT_2);
    }
    let beyond = 0.5 * incomplete_beta(0.5 * freedom, 0.5, freedom / (freedom + t * t));
    if t > 0.0 { beyond } else { 1.0 - beyond }
}

/// The t for which P(T > t) is `alpha`, by bisection to the last bit; infinite where `alpha` is not between 0 and 1.
pub(super) fn critical(alpha: f64, freedom: f64) -> f64 {
    if alpha > 0.5 {
        return -critical(1.0 - alpha, freedom);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while above(high, freedom) > alpha {
        low = high;
        high *= 2.0;
    }
    if alpha <= 0.0 {
        return f64::INFINITY;
    }
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if above(middle, freedom) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_agree_with_an_independent_implementation() {
        // python -c "from scipy.stats import t; print(repr(t.sf(value, freedom)))", SciPy 1.17.1
        for (t, freedom, expected) in [
            (2.0, 5.0, 0.050_969_739_414_929_174),
            (-1.5, 7.3, 0.912_218_453_598_457),
            (4.2, 2.0, 0.026_141_633_473_149_586),
            (12.0, 19.0, 1.295_447_318_611_098_3e-10),
            (0.0, 3.0, 0.5),
            (31.6, 2.0, 0.000_499_970_126_839_973_5),
            // norm.sf(2.5)
            (2.5, f64::INFINITY, 0.006_209_665_325_776_132),
        ] {
            let value = above(t, freedom);
            assert!(
                (value / expected - 1.0).abs() < 1e-9,
                "{t} {freedom}: {value} {expected}"
            );
        }
    }

    #[test]
    fn critical_values_agree_with_an_independent_implementation() {
        // python -c "from scipy.stats import t; print(repr(t.isf(alpha, freedom)))", SciPy 1.17.1
        for (alpha, freedom, expected) in [
            (0.025, 19.0, 2.093_024_054_408_31),
            (0.0005, 2.0, 31.599_054_576_443_62),
            (0.006_5, 12.4, 2.897_459_668_786_957_4),
            (0.975, 5.0, -2.570_581_835_636_314_6),
            // norm.isf(.0005)
            (0.0005, f64::INFINITY, 3.290_526_731_491_894_5),
        ] {
            let value = critical(alpha, freedom);
            assert!(
                (value / expected - 1.0).abs() < 1e-9,
                "{alpha} {freedom}: {value} {expected}"
            );
        }
        assert_eq!(critical(0.0, 5.0), f64::INFINITY);
        assert_eq!(critical(1.0, 5.0), f64::NEG_INFINITY);
        assert!(critical(0.5, 5.0).abs() < 1e-9);
    }
}
