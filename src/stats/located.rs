//! An estimate with what is known of its error, and what can be said with it.

use super::{Bounds, TAIL, student};

/// An estimate whose error follows Student's t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    /// The estimate; on the logarithmic scale for ratios.
    pub estimate: f64,
    /// Its standard error, serial dependence included.
    pub error: f64,
    /// Degrees of freedom of the standard error; infinite where it is known.
    pub freedom: f64,
}

impl Located {
    /// The one-sided p value of the hypothesis "the true value is at most `null`":
    /// P(T > (estimate − null) / error).
    ///
    /// An error of zero is never evidence: a p value of 1.
    pub fn p_above(&self, null: f64) -> f64 {
        if self.is_evidence() && !null.is_nan() {
            student::above((self.estimate - null) / self.error, self.freedom)
        } else {
            1.0
        }
    }

    /// The true value lies below this with confidence 1 − `alpha`; infinite where the error is zero.
    pub fn upper(&self, alpha: f64) -> f64 {
        if self.is_evidence() {
            self.estimate + student::critical(alpha, self.freedom) * self.error
        } else {
            f64::INFINITY
        }
    }

    /// The true value lies above this with confidence 1 − `alpha`; infinite where the error is zero.
    pub fn lower(&self, alpha: f64) -> f64 {
        if self.is_evidence() {
            self.estimate - student::critical(alpha, self.freedom) * self.error
        } else {
            f64::NEG_INFINITY
        }
    }

    /// The two-sided interval of 95 %.
    pub fn interval(&self) -> Bounds {
        [self.lower(TAIL), self.upper(TAIL)]
    }

    /// With an error of `factor` · √(error² + `variance`): a factor learnt from
    /// trials of a variant against itself, and the variance of what the
    /// observations share and so cannot show (the luck of their two instances).
    #[must_use]
    pub fn widened(self, factor: f64, variance: f64) -> Self {
        Self {
            error: factor * (self.error * self.error + variance).sqrt(),
            ..self
        }
    }

    fn is_evidence(&self) -> bool {
        self.estimate.is_finite() && self.error.is_finite() && self.error > 0.0 && self.freedom > 0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn located(estimate: f64, error: f64, freedom: f64) -> Located {
        Located {
            estimate,
            error,
            freedom,
        }
    }

    #[test]
    fn the_interval_is_the_one_of_the_tables() {
        // t(0.975; 4) = 2.776445
        let [lower, upper] = located(3.0, 0.5, 4.0).interval();
        assert!((lower - (3.0 - 0.5 * 2.776_445)).abs() < 1e-6, "{lower}");
        assert!((upper - (3.0 + 0.5 * 2.776_445)).abs() < 1e-6, "{upper}");
    }

    #[test]
    fn an_error_of_zero_is_never_evidence() {
        for nothing in [
            located(3.0, 0.0, 9.0),
            located(3.0, f64::NAN, 9.0),
            located(f64::INFINITY, 1.0, 9.0),
        ] {
            assert_eq!(nothing.p_above(0.0), 1.0);
            assert_eq!(nothing.interval(), [f64::NEG_INFINITY, f64::INFINITY]);
        }
        assert!(located(3.0, 0.0, 9.0).widened(1.0, 0.01).p_above(0.0) < 1e-6);
    }

    #[test]
    fn widening_adds_variances() {
        let wide = located(1.0, 0.3, 9.0).widened(2.0, 0.16);
        assert!((wide.error - 1.0).abs() < 1e-12);
        assert_eq!((wide.estimate, wide.freedom), (1.0, 9.0));
    }

    proptest! {
        #[test]
        fn bounds_and_p_values_say_the_same(
            estimate in -2.0_f64..2.0, error in 0.01_f64..2.0, freedom in 2.0_f64..60.0, alpha in 0.0001_f64..0.4,
        ) {
            let located = located(estimate, error, freedom);
            prop_assert!((located.p_above(located.lower(alpha)) - alpha).abs() < 1e-9);
            prop_assert!((located.upper(alpha) + located.lower(alpha) - 2.0 * estimate).abs() < 1e-9);
        }

        #[test]
        fn bounds_are_wider_the_surer_they_have_to_be(
            estimate in -2.0_f64..2.0, error in 0.01_f64..2.0, freedom in 2.0_f64..60.0, alpha in 0.0001_f64..0.4,
        ) {
            let located = located(estimate, error, freedom);
            prop_assert!(located.upper(alpha) > located.upper(alpha * 1.1));
            prop_assert!(located.lower(alpha) < located.lower(alpha * 1.1));
            let p = located.p_above(0.0);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!(located.p_above(0.1) >= p);
        }
    }
}
