//! Changes of a mean or a rate, from the totals of every unit: nothing is
//! trimmed, because what happens rarely is part of a mean.

use libm::log;

use super::{Dependence, Located, Scale, mean::squares};

/// What one unit counted of both variants, as [sum, count]: nanoseconds and
/// operations, CPU time and operations, failed and all operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Of the reference.
    pub reference: [f64; 2],
    /// Of the candidate.
    pub candidate: [f64; 2],
}

/// Of no unit.
const NOTHING: Totals = Totals {
    reference: [0.0; 2],
    candidate: [0.0; 2],
};

/// ln((Σsum/Σcount of the candidate) / (Σsum/Σcount of the reference)), over units in the order of time.
///
/// The standard error is the jackknife's (see [`pseudo_values`]), with their
/// [`Dependence`]. `None` with fewer than three units, or where one unit alone
/// holds all of a sum or of a count.
pub fn ratio_of_totals(units: &[Totals]) -> Option<Located> {
    jackknife(units, Scale::Relative)
}

/// Σsum/Σcount of the candidate − Σsum/Σcount of the reference, with an error like [`ratio_of_totals`].
///
/// Sums may be zero here. Without any event the error is zero; see
/// [`super::events`] for few of them.
pub fn difference_of_rates(units: &[Totals]) -> Option<Located> {
    jackknife(units, Scale::Difference)
}

/// What every unit contributes to the change: n·θ − (n − 1)·θ₍₋ᵢ₎, θ the change
/// over all units and θ₍₋ᵢ₎ without the i-th one (Tukey 1958; Efron & Tibshirani,
/// An Introduction to the Bootstrap, 1993, section 11.5).
///
/// They behave like independent observations of the change, if the units are
/// independent. On [`Scale::Relative`] the change is ln(candidate / reference).
/// `None` where a change does not exist or is not finite.
pub fn pseudo_values(units: &[Totals], scale: Scale) -> Option<Vec<f64>> {
    let n = units.len() as f64;
    let estimate = change(&total(units.iter()), scale)?;
    // What comes before and after each unit is added up: a subtraction would leave rounding errors where zero is due.
    let mut after = vec![NOTHING; units.len() + 1];
    for at in (0..units.len()).rev() {
        after[at] = total([&after[at + 1], &units[at]].into_iter());
    }
    let mut before = NOTHING;
    let mut values = Vec::with_capacity(units.len());
    for (unit, after) in units.iter().zip(&after[1..]) {
        let others = total([&before, after].into_iter());
        values.push(n * estimate - (n - 1.0) * change(&others, scale)?);
        before = total([&before, unit].into_iter());
    }
    Some(values)
}

fn jackknife(units: &[Totals], scale: Scale) -> Option<Located> {
    if units.len() < Dependence::FEWEST {
        return None;
    }
    let n = units.len() as f64;
    let estimate = change(&total(units.iter()), scale)?;
    let contributions = pseudo_values(units, scale)?;
    let dependence = Dependence::of(&contributions);
    Some(Located {
        estimate,
        error: dependence.inflation() * (squares(&contributions) / (n * (n - 1.0))).sqrt(),
        freedom: dependence.freedom(0),
    })
}

fn total<'a>(units: impl Iterator<Item = &'a Totals>) -> Totals {
    let mut sum = NOTHING;
    for unit in units {
        for at in 0..2 {
            sum.reference[at] += unit.reference[at];
            sum.candidate[at] += unit.candidate[at];
        }
    }
    sum
}

fn change(totals: &Totals, scale: Scale) -> Option<f64> {
    let [reference, candidate] = [totals.reference, totals.candidate].map(|[sum, count]| sum / count);
    let change = match scale {
        Scale::Relative if reference > 0.0 && candidate > 0.0 => log(candidate / reference),
        Scale::Relative => return None,
        Scale::Difference => candidate - reference,
    };
    change.is_finite().then_some(change)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units() -> Vec<Totals> {
        let reference = [
            [812.0, 8.0],
            [1010.0, 9.0],
            [655.0, 7.0],
            [990.0, 10.0],
            [1240.0, 12.0],
            [530.0, 5.0],
        ];
        let candidate = [
            [905.0, 8.0],
            [1130.0, 9.0],
            [640.0, 7.0],
            [1105.0, 10.0],
            [1381.0, 12.0],
            [577.0, 5.0],
        ];
        reference
            .into_iter()
            .zip(candidate)
            .map(|(reference, candidate)| Totals { reference, candidate })
            .collect()
    }

    fn agree(values: &[f64], expected: &[f64]) {
        assert_eq!(values.len(), expected.len());
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-9, "{values:?} {expected}");
        }
    }

    /// For r and c, arrays of the units above, with NumPy 2:
    /// `f = lambda r, c: log(c[:,0].sum()/c[:,1].sum() / (r[:,0].sum()/r[:,1].sum()))`, and with − for /;
    /// `p = [6*f(r, c) - 5*f(delete(r, i, 0), delete(c, i, 0)) for i in range(6)]; print(p, f(r, c), std(p, ddof=1)/6**.5)`
    #[test]
    fn changes_agree_with_an_independent_implementation() {
        agree(
            &pseudo_values(&units(), Scale::Relative).unwrap(),
            &[
                0.107_185_841_555_663_41,
                0.116_664_404_526_248_21,
                0.014_607_803_957_835_23,
                0.113_212_638_054_047_8,
                0.116_973_076_540_342_22,
                0.087_773_429_833_009_29,
            ],
        );
        // The autocorrelation of these is −.35.
        let ratio = ratio_of_totals(&units()).unwrap();
        agree(
            &[ratio.estimate, ratio.error, ratio.freedom],
            &[0.091_361_902_261_822_4, 0.016_244_729_574_646_566, 5.0],
        );
        let difference = difference_of_rates(&units()).unwrap();
        agree(
            &[difference.estimate, difference.error, difference.freedom],
            &[9.823_529_411_764_71, 2.004_095_302_655_496, 5.0],
        );
    }

    #[test]
    fn dependence_of_the_units_is_in_the_error() {
        let mut sorted = units();
        sorted.sort_by(|a, b| (a.candidate[0] / a.reference[0]).total_cmp(&(b.candidate[0] / b.reference[0])));
        let (ratio, seen) = (
            ratio_of_totals(&sorted).unwrap(),
            pseudo_values(&sorted, Scale::Relative).unwrap(),
        );
        let dependence = Dependence::of(&seen);
        assert!(dependence.rho > 0.1, "{dependence:?}");
        agree(&[ratio.error], &[0.016_244_729_574_646_566 * dependence.inflation()]);
        assert_eq!(ratio.freedom, dependence.freedom(0));
    }

    #[test]
    fn what_does_not_exist_is_not_estimated() {
        let mut without = units();
        without.truncate(2);
        assert_eq!(ratio_of_totals(&without), None);
        // All of a sum in one unit.
        let failed = |events| Totals {
            reference: [events, 100.0],
            candidate: [1.0, 100.0],
        };
        let once = [failed(0.0), failed(3.0), failed(0.0), failed(0.0)];
        assert_eq!(ratio_of_totals(&once), None);
        let difference = difference_of_rates(&once).unwrap();
        assert!((difference.estimate - (0.01 - 0.0075)).abs() < 1e-12);
        let empty = Totals {
            reference: [0.0; 2],
            candidate: [0.0; 2],
        };
        assert_eq!(difference_of_rates(&[empty; 5]), None);
        let mut with_empty = units();
        with_empty.push(empty);
        let estimate = |units: &[Totals]| ratio_of_totals(units).unwrap().estimate;
        assert!((estimate(&with_empty) - estimate(&units())).abs() < 1e-12);
    }

    fn any_units() -> impl Strategy<Value = Vec<Totals>> {
        let side = || (1.0_f64..100.0, 1.0_f64..50.0).prop_map(|(mean, count)| [mean * count, count]);
        prop::collection::vec(
            (side(), side()).prop_map(|(reference, candidate)| Totals { reference, candidate }),
            3..40,
        )
    }

    proptest! {
        #[test]
        fn variants_in_the_other_order_turn_the_sign(units in any_units()) {
            let turned: Vec<_> = units
                .iter()
                .map(|unit| Totals { reference: unit.candidate, candidate: unit.reference })
                .collect();
            for estimate in [ratio_of_totals, difference_of_rates] {
                let (one, other) = (estimate(&units).unwrap(), estimate(&turned).unwrap());
                prop_assert!((one.estimate + other.estimate).abs() < 1e-9);
                prop_assert!((one.error - other.error).abs() < 1e-9 * (1.0 + one.error));
            }
        }

        #[test]
        fn the_unit_of_the_sums_cancels_in_a_ratio_and_stays_in_a_difference(
            units in any_units(), scale in 0.01_f64..100.0, twice in 1.0_f64..3.0,
        ) {
            let times = |[sum, count]: [f64; 2], by: f64| [sum * by, count];
            let scaled = |reference: f64, candidate: f64| -> Vec<Totals> {
                units
                    .iter()
                    .map(|unit| Totals {
                        reference: times(unit.reference, reference),
                        candidate: times(unit.candidate, candidate),
                    })
                    .collect()
            };
            let ratio = ratio_of_totals(&units).unwrap();
            let moved = ratio_of_totals(&scaled(scale, scale * twice)).unwrap();
            prop_assert!((moved.estimate - ratio.estimate - twice.ln()).abs() < 1e-9);
            prop_assert!((moved.error - ratio.error).abs() < 1e-9);
            let (one, other) = (difference_of_rates(&units).unwrap(), difference_of_rates(&scaled(scale, scale)).unwrap());
            prop_assert!((other.estimate - scale * one.estimate).abs() < 1e-9 * scale.max(1.0) * 100.0);
            prop_assert!((other.error - scale * one.error).abs() < 1e-9 * scale.max(1.0) * 100.0);
        }

        #[test]
        fn the_order_of_units_changes_nothing_but_dependence(units in any_units(), by in 1_usize..40) {
            let mut other = units.clone();
            other.rotate_left(by % units.len());
            let bare = |units: &[Totals]| {
                let located = ratio_of_totals(units).unwrap();
                let inflation = Dependence::of(&pseudo_values(units, Scale::Relative).unwrap()).inflation();
                (located.estimate, located.error / inflation)
            };
            let (one, other) = (bare(&units), bare(&other));
            prop_assert!((one.0 - other.0).abs() < 1e-9 && (one.1 - other.1).abs() < 1e-9);
        }
    }
}
