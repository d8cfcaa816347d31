//! Calibrations from trials made up here.

use super::*;
use crate::{
    baseline::{Calibration, CalibrationMetric, CalibrationTrial, OtherRules},
    run::{Fingerprint, MachineClass},
};

fn calibration(trials: Vec<CalibrationTrial>) -> Calibration {
    let fingerprint = Fingerprint {
        flows: String::new(),
        data: String::new(),
        load: String::new(),
        seed: 1,
    };
    let machine = MachineClass {
        cpu: "x86_64 test".into(),
        cores: 2,
        memory_gib: 8,
    };
    Calibration {
        trials,
        ..Calibration::new("shop", fingerprint, machine, None)
    }
}

/// A trial whose mean changed by so many standard errors of 1 %.
fn trial(t: f64, verdict: &str) -> CalibrationTrial {
    CalibrationTrial {
        run: "01RUN".into(),
        started: jiff::Timestamp::UNIX_EPOCH,
        seed: 1,
        verdict: verdict.into(),
        sentence: String::new(),
        unconfirmed: false,
        epochs: 24,
        load_s: 60.0,
        metrics: vec![CalibrationMetric {
            id: "all:response_time:mean".into(),
            verdict: Some(verdict.into()),
            change: 0.01 * t,
            error: Some([0.01, 20.0]),
            warning: Some(0.03_f64.ln_1p()),
        }],
        instance_variance: Some(1e-4),
        other_rules: OtherRules {
            ten_per_cent: false,
            welch: t > 1.0,
            paired: t > 1.5,
        },
    }
}

#[test]
fn what_never_happened_in_a_hundred_trials_happens_at_most_so_often() {
    let trials = (0..100).map(|at| trial(f64::from(at % 3) - 1.0, "pass")).collect();
    let summary = summary(&calibration(trials), 20.0);
    let critical = summary.verdicts["critical"];
    assert_eq!((critical.count, critical.of, critical.at_least), (0, 100, 0.0));
    // 1 − .05^(1/100)
    assert!(
        (critical.at_most - 0.029_513_049_607_402_3).abs() < 1e-6,
        "{critical:?}"
    );
    assert!((summary.alarms_per_month[1] - 600.0 * critical.at_most).abs() < 1e-9);
    let pass = summary.verdicts["pass"];
    assert!(pass.at_most > 0.999 && pass.at_least > 0.97);
    assert!((summary.instance_spread.unwrap() - 0.01).abs() < 1e-12);
}

#[test]
fn the_smallest_effect_falls_with_the_root_of_the_load_down_to_the_margin() {
    let trials = (0..20).map(|at| trial(f64::from(at % 3) - 1.0, "pass")).collect();
    let summary = summary(&calibration(trials), 20.0);
    let [short, middle, long] = summary.metrics[0].smallest_effects.unwrap();
    // 1 % with 60 s is 1.41 % with 30 s: t(.99; 20) = 2.528, z(.9) = 1.2816.
    assert!((short - (2.528 + 1.2816) * 0.014_142).abs() < 1e-4, "{short}");
    assert!(short > middle && middle > long && long > 0.03_f64.ln_1p());
}

#[test]
fn errors_are_inflated_only_by_what_many_trials_prove() {
    let few = calibration((0..99).map(|_| trial(4.0, "pass")).collect());
    assert_eq!(inflation(&few), None);
    // Five of two hundred lie at 5.7 errors, where 2.845 would be far out.
    let far = |at: u32| if at < 5 { 5.69 } else { 0.5 };
    let many = calibration((0..200).map(|at| trial(far(at), "pass")).collect());
    assert!((inflation(&many).unwrap() - 2.0).abs() < 1e-2);
    let calm = calibration((0..200).map(|_| trial(0.5, "pass")).collect());
    assert_eq!(inflation(&calm), Some(1.0));
    let injected = Calibration {
        injected: Some("slower=5%".into()),
        ..many
    };
    assert_eq!(inflation(&injected), None);
}

#[test]
fn invalid_trials_count_as_such_and_teach_nothing() {
    let mut trials: Vec<_> = (0..10).map(|_| trial(0.0, "pass")).collect();
    trials.push(trial(50.0, "invalid"));
    let summary = summary(&calibration(trials), 20.0);
    assert_eq!(summary.verdicts["invalid"].count, 1);
    assert_eq!(summary.metrics[0].spread, 0.0);
}
