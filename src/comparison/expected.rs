//! Where a new value is to be expected beside a set of earlier ones.

use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

use crate::stats::{Bounds, TAIL};

/// An estimate whose error follows Student's t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Located {
    /// The estimate, on the logarithmic scale.
    pub(super) estimate: f64,
    /// Its standard error.
    pub(super) error: f64,
    /// Degrees of freedom; infinite where the error is known.
    pub(super) freedom: f64,
}

/// c ± t·s·√(1/K + 1/k): the mean of K past values with the error of a *prediction*
/// of the mean of `sessions` new ones (Hahn, Technometrics 11, 1969), s at least `floor`.
pub(super) fn prediction(past: &[f64], sessions: usize, floor: f64) -> Option<Located> {
    let k = past.len() as f64;
    if past.is_empty() || sessions == 0 {
        return None;
    }
    let estimate = past.iter().sum::<f64>() / k;
    let squares: f64 = past.iter().map(|value| (value - estimate).powi(2)).sum();
    let deviation = if past.len() > 1 {
        (squares / (k - 1.0)).sqrt()
    } else {
        0.0
    };
    Some(Located {
        estimate,
        error: deviation.max(floor) * (1.0 / k + 1.0 / sessions as f64).sqrt(),
        freedom: if past.len() > 1 { k - 1.0 } else { f64::INFINITY },
    })
}

impl Located {
    pub(super) fn upper(&self, alpha: f64) -> f64 {
        self.estimate + self.quantile(1.0 - alpha) * self.error
    }

    pub(super) fn lower(&self, alpha: f64) -> f64 {
        self.estimate - self.quantile(1.0 - alpha) * self.error
    }

    pub(super) fn interval(&self) -> Bounds {
        [self.lower(TAIL), self.upper(TAIL)]
    }

    fn quantile(&self, share: f64) -> f64 {
        if self.freedom.is_infinite() {
            return Normal::standard().inverse_cdf(share);
        }
        StudentsT::new(0.0, 1.0, self.freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(share))
    }
}
