//! The beta distribution, from which the exact bounds of shares, Student's t and
//! the weights of Harrell and Davis are made.
//!
//! Its elementary functions are those of `libm`: the same bits on every platform.

use libm::{exp, log, log1p};

/// The quantile of the beta distribution, by bisection to the last bits that matter.
pub(super) fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if incomplete_beta(a, b, middle) < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function Iₓ(a, b), by its continued fraction
/// (Abramowitz & Stegun 26.5.8, evaluated with Lentz's method).
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast only on this side of the mean; beyond it, the mirror image does.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_fraction(b, a, 1.0 - x);
    }
    incomplete_beta_fraction(a, b, x)
}

fn incomplete_beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let front = exp(ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * log(x) + b * log1p(-x));
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..20_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    front * fraction / a
}

/// ½·ln 2π.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_7;

/// ln Γ(x) for x > 0: Stirling's series, with the recurrence below 10 (Abramowitz & Stegun 6.1.41).
fn ln_gamma(x: f64) -> f64 {
    let mut x = x;
    let mut below = 1.0;
    while x < 10.0 {
        below *= x;
        x += 1.0;
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square * (1.0 / 1188.0)))));
    (x - 0.5) * log(x) - x + HALF_LN_TAU + series - log(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_incomplete_beta_function_agrees_with_an_independent_implementation() {
        // python -c "from scipy.special import betainc; print(repr(betainc(a, b, x)))", SciPy 1.17.1
        for (a, b, x, expected) in [
            (2.0, 3.0, 0.4, 0.524_8),
            (0.5, 0.5, 0.1, 0.204_832_764_699_133_45),
            (11.5, 0.5, 0.9, 0.123_555_742_769_881_18),
            (1.0, 0.5, 1e-4, 5.000_125_006_250_391e-5),
            (990.0, 10.0, 0.993, 0.831_919_635_106_477_3),
            (5.5, 5.5, 0.2, 0.015_085_397_582_786_923),
            (36_000.0, 36_000.0, 0.501, 0.704_247_023_197_602_9),
        ] {
            let value = incomplete_beta(a, b, x);
            assert!((value / expected - 1.0).abs() < 1e-9, "{a} {b} {x}: {value} {expected}");
        }
    }
}
