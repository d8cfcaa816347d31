//! What neighbouring observations share, and how much less they are worth for it.

use super::mean::squares;

/// The serial dependence assumed of a series of observations, on the safe side of the one seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dependence {
    /// ρ*, between 0 and 0.9.
    pub rho: f64,
    /// Number of observations.
    pub units: usize,
}

impl Dependence {
    /// With fewer observations their spread says nothing.
    pub const FEWEST: usize = 3;

    /// ρ* = ρ̂ + (1 + 4·max(ρ̂, 0))/n, cut to 0…0.9, with ρ̂ the first
    /// autocorrelation of `n` observations in the order of time.
    ///
    /// The second term undoes the bias −(1 + 4ρ)/n of ρ̂ (Marriott & Pope,
    /// Biometrika 41, 1954; Kendall, ibid.). Observations that do not vary
    /// have ρ̂ = 0.
    pub fn of(observations: &[f64]) -> Self {
        let n = observations.len() as f64;
        let mean = observations.iter().sum::<f64>() / n;
        let squares = squares(observations);
        let products: f64 = observations.windows(2).map(|x| (x[0] - mean) * (x[1] - mean)).sum();
        let seen = if squares > 0.0 { products / squares } else { 0.0 };
        Self {
            rho: (seen + (1.0 + 4.0 * seen.max(0.0)) / n).clamp(0.0, 0.9),
            units: observations.len(),
        }
    }

    /// By what a standard error of independent observations is multiplied:
    /// √((1 + ρ*)/(1 − ρ*)), as for an autoregressive process of the first order.
    pub fn inflation(&self) -> f64 {
        ((1.0 + self.rho) / (1.0 - self.rho)).sqrt()
    }

    /// Degrees of freedom n·(1 − ρ*)/(1 + ρ*) − 2g − 1, at least 2, with `g` observations trimmed on each side.
    pub fn freedom(&self, trimmed_per_side: usize) -> f64 {
        let worth = self.units as f64 * (1.0 - self.rho) / (1.0 + self.rho);
        (worth - 2.0 * trimmed_per_side as f64 - 1.0).max(2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_formula_says() {
        // r of 1…10 is .7 (Box, Jenkins & Reinsel, Time Series Analysis, give it for a straight line): .7 + 3.8/10.
        let line: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!(Dependence::of(&line).rho, 0.9);
        // Deviations 1, 1, −1, −1 repeated: 20 − 1 products of which 10 are 1 and 9 are −1: r = 1/20.
        let pairs: Vec<f64> = (0..20).map(|at| if at % 4 < 2 { 1.0 } else { -1.0 }).collect();
        let dependence = Dependence::of(&pairs);
        let rho = 0.05 + 1.2 / 20.0;
        assert!((dependence.rho - rho).abs() < 1e-12);
        assert!((dependence.inflation().powi(2) - (1.0 + rho) / (1.0 - rho)).abs() < 1e-12);
        assert!((dependence.freedom(2) - (20.0 * (1.0 - rho) / (1.0 + rho) - 5.0)).abs() < 1e-12);
        assert_eq!(dependence.freedom(9), 2.0);
    }

    #[test]
    fn what_alternates_is_taken_as_independent() {
        let alternating: Vec<f64> = (0..20).map(|at| f64::from(at % 2)).collect();
        let dependence = Dependence::of(&alternating);
        assert_eq!((dependence.rho, dependence.inflation()), (0.0, 1.0));
        assert_eq!(dependence.freedom(0), 19.0);
        assert_eq!(Dependence::of(&[3.0; 20]).rho, 0.05);
    }
}
