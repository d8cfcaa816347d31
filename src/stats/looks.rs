//! When a run that is still going on may be judged, and how sure each look has to be.
//!
//! Whoever looks three times has three chances of a false alarm. The error
//! allowed is split over the looks, little to the early ones; by Bonferroni's
//! inequality the sum holds whatever the looks have in common.

/// Number of looks.
pub const LOOKS: usize = 3;

/// The chance of a false alarm in all looks together; also of the single look that confirms a finding.
pub const ALPHA: f64 = 0.01;

/// The chance of passing what is not to be passed, in all looks together.
pub const ALPHA_PASSING: f64 = 0.05;

/// With fewer units than this nothing can be confirmed: swaps of fewer are no evidence at [`ALPHA`] over two limits.
const FEWEST_CONFIRMING: usize = 8;

/// With fewer units no finding is critical, however clear it looks.
pub const FEWEST_UNITS_FOR_CRITICAL: usize = 12;

/// How [`ALPHA`] and [`ALPHA_PASSING`] are split.
const SHARES: [f64; LOOKS] = [0.05, 0.30, 0.65];

/// One look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// From 0.
    pub number: usize,
    /// How many units have been seen.
    pub units: usize,
}

/// After how many of the planned units to look: a third, two thirds, all, rounded up.
///
/// With fewer than three planned units some looks coincide.
pub fn looks(planned: usize) -> [usize; LOOKS] {
    [planned.div_ceil(3), (2 * planned).div_ceil(3), planned]
}

/// How many fresh units confirm a finding: half of those planned, rounded up, and no fewer than eight.
pub fn confirming(planned: usize) -> usize {
    planned.div_ceil(2).max(FEWEST_CONFIRMING)
}

/// The level at which a look rejects: .0005, .0030, .0065; 0, so never, after the last.
pub fn alpha(look: usize) -> f64 {
    share(look) * ALPHA
}

/// The level of the one-sided bound that passes: .0025, .0150, .0325; 0, so never, after the last.
pub fn alpha_passing(look: usize) -> f64 {
    share(look) * ALPHA_PASSING
}

fn share(look: usize) -> f64 {
    SHARES.get(look).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_at_thirds() {
        assert_eq!(looks(24), [8, 16, 24]);
        assert_eq!(looks(20), [7, 14, 20]);
        assert_eq!(looks(1), [1, 1, 1]);
        assert_eq!(looks(0), [0, 0, 0]);
    }

    #[test]
    fn the_levels_of_all_looks_are_together_the_one_allowed() {
        let sum = |level: fn(usize) -> f64| (0..LOOKS).map(level).sum::<f64>();
        assert!((sum(alpha) - 0.01).abs() < 1e-12);
        assert!((sum(alpha_passing) - 0.05).abs() < 1e-12);
        let near = |level: f64, expected: f64| (level - expected).abs() < 1e-12;
        assert!(near(alpha(0), 0.0005) && near(alpha(1), 0.003) && near(alpha(2), 0.0065));
        assert!(near(alpha_passing(0), 0.0025) && near(alpha_passing(1), 0.015) && near(alpha_passing(2), 0.0325));
        assert_eq!((alpha(LOOKS), alpha_passing(LOOKS)), (0.0, 0.0));
    }
}
