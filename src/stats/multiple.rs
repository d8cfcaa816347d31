//! Several hypotheses at once: p values adjusted for having looked at all of them.

/// Adjusted p values that keep the chance of *any* false rejection: those at
/// most α are rejected at α (Holm, Scandinavian Journal of Statistics 6, 1979).
///
/// In the order given; of the i-th smallest of m it is the largest of
/// (m − j + 1)·p₍ⱼ₎ for j ≤ i, at most 1.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, at) in ascending(p).into_iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[at]).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

/// Adjusted p values that keep the expected share of false ones among the
/// rejections (Benjamini & Hochberg, Journal of the Royal Statistical Society B 57, 1995).
///
/// In the order given; of the i-th smallest of m it is the smallest of m/j·p₍ⱼ₎ for j ≥ i, at most 1.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p.len()];
    let mut smallest = 1.0_f64;
    for (rank, at) in ascending(p).into_iter().enumerate().rev() {
        smallest = smallest.min(p.len() as f64 / (rank as f64 + 1.0) * p[at]);
        adjusted[at] = smallest;
    }
    adjusted
}

/// The positions of the values, the smallest first.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agree(values: &[f64], expected: &[f64]) {
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{values:?} {expected}");
        }
    }

    #[test]
    fn adjusted_values_are_those_of_the_papers() {
        // R: p.adjust(c(.01, .04, .03, .005, .5), "holm"); scipy.stats.false_discovery_control for the other.
        let p = [0.01, 0.04, 0.03, 0.005, 0.5];
        agree(&holm(&p), &[0.04, 0.09, 0.09, 0.025, 0.5]);
        agree(&benjamini_hochberg(&p), &[0.025, 0.05, 0.05, 0.025, 0.5]);
        // The example of Benjamini & Hochberg (1995), section 3: Holm rejects three of 15 at 5 %, they reject four.
        let trial = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let rejected = |adjusted: Vec<f64>| adjusted.into_iter().filter(|p| *p <= 0.05).count();
        assert_eq!(rejected(holm(&trial)), 3);
        assert_eq!(rejected(benjamini_hochberg(&trial)), 4);
        assert!(holm(&[]).is_empty() && benjamini_hochberg(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn adjusting_only_raises_and_keeps_the_order(p in prop::collection::vec(0.0_f64..=1.0, 1..12)) {
            let (strict, mild) = (holm(&p), benjamini_hochberg(&p));
            for i in 0..p.len() {
                prop_assert!(p[i] <= mild[i] && mild[i] <= strict[i] + 1e-12 && strict[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || (strict[i] <= strict[j] && mild[i] <= mild[j]));
                }
            }
        }
    }
}
