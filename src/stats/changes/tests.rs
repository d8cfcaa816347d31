//! What holds for every series, and what for a few made by hand. Labelled ones are in `tests/program/changes.rs`.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::{Change, changes};

/// Normal noise (a sum of twelve uniforms) with a standard deviation of one.
fn noise(seed: u64, length: usize) -> Vec<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..length)
        .map(|_| (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0)
        .collect()
}

/// Noise on a level that rises by `height` at each of `steps`.
fn stairs(seed: u64, length: usize, steps: &[usize], height: f64) -> Vec<f64> {
    let level = |at: usize| steps.iter().filter(|step| **step <= at).count() as f64 * height;
    noise(seed, length)
        .iter()
        .enumerate()
        .map(|(at, value)| 100.0 + level(at) + value)
        .collect()
}

fn places(values: &[f64]) -> Vec<usize> {
    changes(values).iter().map(|change| change.at).collect()
}

#[test]
fn a_step_is_told_with_both_levels() {
    let values: Vec<f64> = [vec![10.0; 40], vec![12.0; 30]].concat();
    let step = Change {
        at: 40,
        before: 10.0,
        after: 12.0,
    };
    assert_eq!(changes(&values), [step]);
}

#[test]
fn what_has_no_change_has_none() {
    for values in [
        &[][..],
        &[1.0],
        &[1.0, 9.0],
        &[1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0],
    ] {
        assert_eq!(changes(values), [], "{values:?}");
    }
    for constant in [0.0, -3.0, 1e-308, f64::MAX] {
        assert_eq!(changes(&[constant; 200]), [], "{constant}");
    }
}

#[test]
fn values_that_are_not_finite_have_no_answer() {
    for bad in [f64::NAN, f64::INFINITY] {
        let mut values = stairs(1, 60, &[30], 20.0);
        values[7] = bad;
        assert_eq!(changes(&values), []);
    }
}

#[test]
fn zero_negative_huge_and_tiny_values_are_like_others() {
    let values = stairs(5, 120, &[60], 6.0);
    let expected = places(&values);
    assert_eq!(expected.len(), 1);
    for (shift, scale) in [(-100.0, 1.0), (-200.0, -3.0), (0.0, 1e305), (0.0, 1e-300)] {
        let moved: Vec<f64> = values.iter().map(|value| (value + shift) * scale).collect();
        assert_eq!(places(&moved), expected, "({shift}, {scale})");
    }
    let extremes = [vec![-f64::MAX; 20], vec![f64::MAX; 20]].concat();
    let change = Change {
        at: 20,
        before: -f64::MAX,
        after: f64::MAX,
    };
    assert_eq!(changes(&extremes), [change]);
}

#[test]
fn a_level_that_comes_back_changed_twice() {
    let mut values = stairs(3, 200, &[], 0.0);
    values[80..110].iter_mut().for_each(|value| *value += 5.0);
    assert_eq!(places(&values), [80, 110]);
}

#[test]
fn counts_that_are_mostly_the_same_do_not_alarm() {
    let quantised = |seed| {
        noise(seed, 400)
            .iter()
            .map(|value| f64::from(*value > 1.0))
            .collect::<Vec<_>>()
    };
    let alarmed = (0..50).filter(|seed| !changes(&quantised(*seed)).is_empty()).count();
    assert!(alarmed <= 1, "{alarmed} of 50");
    let mut stepped = quantised(1);
    stepped[200..].iter_mut().for_each(|value| *value += 3.0);
    assert_eq!(places(&stepped), [200]);
}

#[test]
fn pure_noise_hardly_ever_alarms() {
    let alarmed = (0..200).filter(|seed| !changes(&noise(*seed, 400)).is_empty()).count();
    assert!(alarmed <= 2, "{alarmed} of 200");
}

#[test]
fn a_hundred_thousand_points_are_no_matter() {
    let steps: Vec<usize> = (1..100).map(|step| step * 1_000).collect();
    let values = stairs(9, 100_000, &steps, 5.0);
    let begun = Instant::now();
    let found = places(&values);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for step in steps {
        assert!(found.iter().any(|at| at.abs_diff(step) <= 2), "{step} is missing");
    }
}

proptest! {
    #[test]
    fn shift_scale_and_sign_move_nothing(
        seed: u64, length in 40_usize..300, height in 0.0..8.0, shift in -1e3..1e3, scale in 1e-3..1e3_f64, flip: bool,
    ) {
        let values = stairs(seed, length, &[length / 3, length / 2], height);
        let scale = if flip { -scale } else { scale };
        let moved: Vec<f64> = values.iter().map(|value| (value + shift) * scale).collect();
        prop_assert_eq!(places(&moved), places(&values));
    }

    #[test]
    fn backwards_the_changes_are_mirrored(seed: u64, length in 40_usize..300, height in 0.0..8.0) {
        let values = stairs(seed, length, &[length / 3, length / 2], height);
        let backwards: Vec<f64> = values.iter().rev().copied().collect();
        let mirrored: Vec<usize> = places(&backwards).iter().rev().map(|at| length - at).collect();
        prop_assert_eq!(mirrored, places(&values));
    }

    #[test]
    fn a_lone_spike_is_no_change(
        level in -1e6..1e6, spike in -1e9..1e9, length in 12_usize..200, at: prop::sample::Index,
    ) {
        let mut values = vec![level; length];
        values[at.index(length)] = spike;
        prop_assert_eq!(changes(&values), []);
    }

    #[test]
    fn a_clear_step_is_found_where_it_is(seed: u64, before in 20_usize..150, after in 20_usize..150) {
        let found = places(&stairs(seed, before + after, &[before], 5.0));
        prop_assert!(found.iter().any(|at| at.abs_diff(before) <= 2), "{before}: {found:?}");
    }

    #[test]
    fn any_numbers_give_places_in_order(values in prop::collection::vec(prop::num::f64::ANY, 0..80)) {
        let found = places(&values);
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(found.iter().all(|at| (1..values.len()).contains(at)));
    }
}
