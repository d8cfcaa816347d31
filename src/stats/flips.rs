//! The sign-flip test: it needs no normal distribution, only that the
//! observations are as likely to lie above zero as below.

use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// Up to so many observations every combination of signs is tried; for more, as many are drawn as there would be.
const EXACT: u32 = 16;

/// The one-sided p value of the hypothesis "the observations lie symmetrically about zero, or below it".
///
/// The share of the combinations of signs whose sum is at least the one
/// observed (Fisher, The Design of Experiments, 1935, section 21). For more than
/// 16 observations (hits + 1)/(draws + 1) of 65,535 random combinations, which
/// is a valid p value too (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010).
/// 1 where there are no observations or one is not finite.
pub fn sign_flip(observations: &[f64], seed: u64) -> f64 {
    if observations.iter().any(|value| !value.is_finite()) {
        return 1.0;
    }
    let observed: f64 = observations.iter().sum();
    // Equal sums may differ in their last bits, as their terms come in different signs.
    let enough = observed - 1e-12 * observations.iter().map(|value| value.abs()).sum::<f64>();
    share_of_signs(observations.len(), EXACT, seed, |signs| {
        let words = observations.chunks(64).zip(signs);
        words.map(|(some, &signs)| flipped(some, signs)).sum::<f64>() >= enough
    })
}

/// The sum of up to 64 observations, those with a bit set counted negatively.
fn flipped(observations: &[f64], signs: u64) -> f64 {
    let signed = |(at, value): (usize, &f64)| if signs >> at & 1 == 1 { -value } else { *value };
    observations.iter().enumerate().map(signed).sum()
}

/// The share of combinations of signs, one bit per unit in words of 64, that
/// `reaches` what was observed.
///
/// For up to `exact` units of all of them; else of 2^`exact` − 1 random ones and the one observed.
pub(super) fn share_of_signs(units: usize, exact: u32, seed: u64, mut reaches: impl FnMut(&[u64]) -> bool) -> f64 {
    if units <= exact as usize {
        let all = 1_u64 << units;
        let hits = (0..all).filter(|&signs| reaches(&[signs])).count();
        return hits as f64 / all as f64;
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut words = vec![0; units.div_ceil(64)];
    let all = 1_u64 << exact;
    let hits = (1..all).filter(|_| {
        words.fill_with(|| rng.next_u64());
        reaches(&words)
    });
    (hits.count() as f64 + 1.0) / all as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn p_values_agree_with_an_independent_implementation() {
        let few = [1.2, -0.3, 0.8, 0.5, -0.1, 0.9, 0.4, 1.1];
        // scipy.stats.permutation_test((x,), sum, permutation_type='samples', alternative='greater', n_resamples=inf)
        assert_eq!(sign_flip(&few, 1), 0.019_531_25);
        let other: Vec<f64> = few.iter().map(|x| -x).collect();
        assert!(sign_flip(&other, 1) > 0.98);
        assert_eq!(sign_flip(&[1.0; 10], 1), 1.0 / 1_024.0);
        assert_eq!(sign_flip(&[0.0; 10], 1), 1.0);
        assert_eq!(sign_flip(&[], 1), 1.0);
        assert_eq!(sign_flip(&[1.0, f64::NAN], 1), 1.0);
    }

    #[test]
    fn drawn_p_values_are_near_the_exact_ones() {
        // Of 20 equal distances k are negative: P(X ≤ k) of the binomial with 20 trials of ½.
        for (negative, exact) in [(3, 1_351.0 / 1_048_576.0), (6, 60_460.0 / 1_048_576.0)] {
            let values: Vec<f64> = (0..20).map(|at| if at < negative { -1.0 } else { 1.0 }).collect();
            let p = sign_flip(&values, 7);
            let deviation = (exact * (1.0 - exact) / 65_536.0_f64).sqrt();
            assert!((p - exact).abs() < 5.0 * deviation, "{negative}: {p} {exact}");
        }
        assert_eq!(sign_flip(&[1.0; 100], 7), 1.0 / 65_536.0);
    }

    proptest! {
        #[test]
        fn a_p_value_depends_on_neither_scale_nor_order(
            values in prop::collection::vec(-1.0_f64..1.0, 1..14), scale in 0.001_f64..1000.0, by in 0_usize..14,
        ) {
            let p = sign_flip(&values, 1);
            prop_assert!(p > 0.0 && p <= 1.0);
            let mut other: Vec<f64> = values.iter().map(|x| x * scale).collect();
            other.rotate_left(by % values.len());
            prop_assert_eq!(sign_flip(&other, 2), p);
            other.iter_mut().for_each(|x| *x += 0.5 * scale);
            prop_assert!(sign_flip(&other, 2) <= p);
        }
    }
}
