//! One figure of a run, cut into units of time.

use std::rc::Rc;

use super::Pool;

/// What is needed to compute one figure from any weighting of a run's units.
#[derive(Debug, Clone)]
pub enum Series {
    /// A quantile of pooled values.
    Quantile {
        /// Between 0 and 1.
        q: f64,
        /// The values of every unit.
        pool: Rc<Pool>,
    },
    /// A ratio of totals, [numerator, denominator] per unit: a mean is a sum
    /// over a count, throughput a count over seconds, an error rate a count
    /// over a count.
    Ratio(Vec<[f64; 2]>),
}

impl Series {
    /// Number of units.
    pub fn units(&self) -> usize {
        match self {
            Self::Quantile { pool, .. } => pool.units(),
            Self::Ratio(units) => units.len(),
        }
    }

    /// The figure when unit `i` counts `weights[i]` times; `None` where nothing is left to compute it from.
    pub fn value(&self, weights: &[u32]) -> Option<f64> {
        match self {
            Self::Quantile { q, pool } => pool.quantile(*q, weights),
            Self::Ratio(units) => {
                let mut totals = [0.0, 0.0];
                for (unit, &weight) in units.iter().zip(weights) {
                    totals[0] += unit[0] * f64::from(weight);
                    totals[1] += unit[1] * f64::from(weight);
                }
                (totals[1] > 0.0).then(|| totals[0] / totals[1])
            }
        }
    }
}
