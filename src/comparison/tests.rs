//! The rules of judging, each on a run made for it.

use insta::assert_snapshot;

use super::*;
use crate::{
    baseline::{
        Baseline,
        testing::{Shape, accepted},
    },
    run::{self, Latency, Model, Target},
};

type Limits = (Option<&'static str>, &'static str, &'static str, &'static str);

const P95: Limits = (Some("list orders"), "p95", "+5%", "+10%");

fn shape(luck: u64, thresholds: &[Limits]) -> Shape {
    Shape {
        luck,
        thresholds: thresholds.to_vec(),
        ..Shape::default()
    }
}

/// As many times slower at the first step.
fn slower(times: f64, shape: Shape) -> Shape {
    let mut steps = shape.steps.clone();
    steps[0].1 *= times;
    Shape { steps, ..shape }
}

fn judged(run: &Run, baseline: Option<&Baseline>) -> Comparison {
    compare(run, baseline, &Options::default())
}

/// The comparison of two shapes of the same scenario.
#[expect(clippy::needless_pass_by_value, reason = "shapes are made in place")]
fn beside(candidate: Shape, reference: Shape) -> Comparison {
    judged(&candidate.run(), Some(&accepted(reference.run())))
}

#[test]
fn twice_as_slow_is_critical_and_says_everything() {
    let comparison = beside(slower(2.0, shape(2, &[P95])), shape(1, &[]));
    assert_eq!(comparison.verdict, Verdict::Critical);
    assert_snapshot!(comparison.sentence, @"critical: list orders p95 response time is 92 % slower than the baseline (129 ms, was 67.4 ms; interval +83…+99 %; limit +10%)");
    let judgement = &comparison.judgements[0];
    assert_eq!(judgement.id, "shop/list orders:response_time:p95");
    let (change, [lower, upper]) = (judgement.change.unwrap(), judgement.interval.unwrap());
    assert!(
        lower < change && change < upper && lower > 0.5 && upper < 1.5,
        "{lower} {change} {upper}"
    );
    assert_eq!(comparison.reasons, std::slice::from_ref(&judgement.reason));
}

#[test]
fn the_same_distribution_raises_no_alarm() {
    let limits = [
        (Some("list orders"), "p50", "+5%", "+10%"),
        (Some("list orders"), "p95", "+5%", "+10%"),
        (None, "mean", "+5%", "+10%"),
        (None, "error_rate", "+0.5pp", "+1pp"),
        (Some("pay"), "throughput", "+5%", "+10%"),
    ];
    let (mut critical, mut warning, mut judged) = (0, 0, 0);
    for pair in 0..40 {
        let shape = |luck| Shape {
            failures: 5,
            ..shape(luck, &limits)
        };
        for judgement in beside(shape(1_000 + 2 * pair), shape(1_001 + 2 * pair)).judgements {
            let [lower, upper] = judgement.interval.unwrap();
            assert!(lower <= judgement.change.unwrap() && judgement.change.unwrap() <= upper);
            critical += u32::from(judgement.verdict == Some(Verdict::Critical));
            warning += u32::from(judgement.verdict == Some(Verdict::Warning));
            judged += 1;
        }
    }
    assert_eq!((critical, judged), (0, 200));
    assert!(warning <= 4, "{warning} warnings of {judged}");
}

#[test]
fn a_regression_of_100_per_cent_is_always_found_and_one_of_half_the_limit_never_critical() {
    for pair in 0..10 {
        let reference = || shape(3_001 + 2 * pair, &[]);
        let candidate = |times| {
            slower(
                times,
                shape(3_000 + 2 * pair, &[(Some("list orders"), "p50", "+10%", "+50%")]),
            )
        };
        assert_eq!(beside(candidate(2.0), reference()).verdict, Verdict::Critical);
        assert_ne!(beside(candidate(1.25), reference()).verdict, Verdict::Critical);
    }
}

#[test]
fn wide_limits_pass_and_narrow_ones_on_noise_are_inconclusive() {
    let comparison = beside(shape(2, &[(Some("pay"), "p95", "+50%", "+100%")]), shape(1, &[]));
    assert_eq!(
        (comparison.verdict, comparison.sentence.as_str()),
        (Verdict::Pass, "pass: 1 of 1 limits hold")
    );
    assert!(
        comparison.reasons.is_empty()
            && comparison.notes.len() == 1
            && comparison.notes[0].contains("1 of the 8 sessions"),
        "{:?}",
        comparison.notes
    );
    let comparison = beside(shape(2, &[(Some("pay"), "p95", "", "+0.1%")]), shape(1, &[]));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.sentence, @"inconclusive: pay p95 response time is 2.6 % faster than the baseline (26.5 ms, was 27.2 ms; interval -6.4…+5.2 %; limit +0.1%): too uncertain to tell; about 9 times as much load, in this run and in the baseline, would settle it");
}

#[test]
fn a_floor_makes_a_small_change_none() {
    let limit = |text| (Some("list orders"), "p50", "", text);
    let times = |text| beside(slower(1.5, shape(2, &[limit(text)])), shape(1, &[])).verdict;
    assert_eq!(times("+10%"), Verdict::Critical);
    assert_eq!(times("+10% and 500ms"), Verdict::Pass);
}

#[test]
fn a_threshold_without_samples_never_passes() {
    let limits = [
        (Some("refund"), "p95", "", "80ms"),
        (Some("pay"), "dropped_rate", "", "1%"),
        (Some("idle"), "error_rate", "", "1%"),
        (Some("pay"), "p50", "", "1s"),
    ];
    let mut run = shape(1, &limits).run();
    let mut idle = Shape {
        rate: 0,
        ..Shape::default()
    }
    .run()
    .steps
    .remove(0);
    idle.name = "idle".into();
    run.steps.push(idle);
    let comparison = judged(&run, None);
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.reasons.join("\n"), @r#"
    refund p95 response time cannot be judged: the run has no step "refund"
    pay dropped rate cannot be judged: it is a figure of the whole run; leave out the step
    idle error rate cannot be judged: it has no samples
    "#);
}

#[test]
fn without_a_baseline_relative_limits_are_not_judged_and_it_is_said() {
    let run = shape(1, &[P95, (Some("pay"), "p95", "", "1s")]).run();
    let comparison = judged(&run, None);
    assert_eq!(comparison.verdict, Verdict::Pass);
    assert_eq!(comparison.judgements[1].verdict, None);
    assert_snapshot!(comparison.sentence, @"pass: 1 of 2 limits hold, the others are not judged; no baseline yet");
    assert_snapshot!(comparison.notes.join("\n"), @"There is no baseline yet: accept a run with `loadgate baseline accept RUN_DIRECTORY`.");
    assert_snapshot!(comparison.judgements[1].reason, @"list orders p95 response time is 67.4 ms; not judged, because there is no comparable baseline");
    assert_eq!(
        judged(&shape(1, &[P95]).run(), None).sentence,
        "pass: no limit is broken; no baseline yet"
    );
    assert_eq!(judged(&shape(1, &[]).run(), None).sentence, "pass: no limits are set");

    let required = compare(&run, None, &Options { require_baseline: true });
    assert_eq!(required.verdict, Verdict::Inconclusive);
    assert_snapshot!(required.sentence, @"inconclusive: a baseline is required and there is no comparable one; accept a run with `loadgate baseline accept RUN_DIRECTORY`");
}

#[test]
fn a_baseline_of_other_work_is_not_comparable() {
    let mut other = shape(1, &[]).run();
    other.fingerprint.load = "other".into();
    other.fingerprint.seed = 8;
    let baseline = accepted(other);
    let run = slower(3.0, shape(2, &[P95])).run();
    let comparison = judged(&run, Some(&baseline));
    assert_eq!(
        (comparison.verdict, comparison.judgements[0].verdict),
        (Verdict::Pass, None)
    );
    assert_eq!(comparison.judgements[0].reference, None);
    let reference = comparison.baseline.unwrap();
    assert_eq!(
        (reference.comparable, reference.differences),
        (false, vec!["load".to_owned(), "seed".to_owned()])
    );
    assert_snapshot!(comparison.notes.join("\n"), @"Relative limits are not judged: the baseline did other work (different: load, seed); accept a run with `loadgate baseline accept RUN_DIRECTORY`.");
    let required = compare(&run, Some(&baseline), &Options { require_baseline: true });
    assert_eq!(required.verdict, Verdict::Inconclusive);
}

#[test]
fn a_step_that_the_baseline_lacks_is_inconclusive() {
    let mut baseline = shape(1, &[]).run();
    baseline.steps.remove(0);
    let comparison = judged(&shape(2, &[P95]).run(), Some(&accepted(baseline)));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.sentence, @"inconclusive: list orders p95 response time is 64.6 ms: the baseline has no samples of it; accept a newer run");
}

#[test]
fn a_time_from_another_machine_is_at_most_a_warning() {
    let mut reference = Shape {
        failures: 10,
        ..shape(1, &[])
    }
    .run();
    reference.environment.cores = 16;
    let baseline = accepted(reference);
    let limits = [P95, (Some("list orders"), "error_rate", "", "+5pp")];
    let slow = slower(2.0, shape(2, &limits));
    let comparison = judged(&slow.run(), Some(&baseline));
    assert_eq!(comparison.verdict, Verdict::Warning);
    assert!(
        comparison.sentence.contains("another class of machine"),
        "{}",
        comparison.sentence
    );
    assert_snapshot!(comparison.notes.join("\n"), @"Another class of machine than that of the baseline (cores: 2, was 16): times beside it are never critical. Variants of one run answer the same question on any machine.");
    // Errors do not care about the machine, and an absolute limit asks no baseline.
    assert_eq!(
        judged(&Shape { failures: 300, ..slow }.run(), Some(&baseline)).verdict,
        Verdict::Critical
    );
    let absolute = slower(2.0, shape(2, &[(Some("list orders"), "p95", "", "80ms")]));
    assert_eq!(judged(&absolute.run(), Some(&baseline)).verdict, Verdict::Critical);
}

#[test]
fn absolute_limits_are_judged_by_their_bounds() {
    // The 95th percentile of this distribution is at 10 ms · e^1.9, about 67 ms.
    let verdict = |limit| judged(&shape(1, &[(Some("list orders"), "p95", "", limit)]).run(), None);
    assert_eq!(verdict("80ms").verdict, Verdict::Pass);
    assert_eq!(verdict("50ms").verdict, Verdict::Critical);
    assert_snapshot!(verdict("50ms").sentence, @"critical: list orders p95 response time is 67.4 ms, above its limit of 50 ms (95 % bounds 65.7 ms to 68.3 ms)");
    assert_eq!(verdict("67ms").verdict, Verdict::Inconclusive);
    assert_snapshot!(verdict("67ms").sentence, @"inconclusive: list orders p95 response time is 67.4 ms, above its limit of 67 ms (95 % bounds 65.7 ms to 68.3 ms): too uncertain to tell; about 17 times as much load would settle it");
    let throughput = |limit| judged(&shape(1, &[(Some("pay"), "throughput", "", limit)]).run(), None).verdict;
    assert_eq!(
        (throughput("45/s"), throughput("55/s")),
        (Verdict::Pass, Verdict::Critical)
    );
    let max = |limit| judged(&shape(1, &[(Some("pay"), "max", "", limit)]).run(), None);
    assert_eq!(
        (max("1s").verdict, max("10ms").verdict),
        (Verdict::Pass, Verdict::Critical)
    );
    assert!(!max("1s").judgements[0].reason.contains("bounds"));
}

#[test]
fn error_rates_have_exact_bounds() {
    let verdict = |rate, failures, limit| {
        let shape = Shape {
            rate,
            failures,
            ..shape(1, &[(Some("list orders"), "error_rate", "", limit)])
        };
        judged(&shape.run(), None).verdict
    };
    assert_eq!(verdict(200, 0, "1%"), Verdict::Pass);
    assert_eq!(verdict(5, 0, "1%"), Verdict::Inconclusive);
    assert_eq!(verdict(200, 100, "1%"), Verdict::Critical);
    assert_eq!(verdict(200, 42, "1%"), Verdict::Inconclusive);
    assert_eq!(
        (verdict(200, 0, "0%"), verdict(200, 1, "0%")),
        (Verdict::Pass, Verdict::Critical)
    );
}

#[test]
fn points_are_differences_of_shares() {
    let limits = [(Some("list orders"), "error_rate", "+1pp", "+5pp")];
    let run = |failures| Shape {
        failures,
        ..shape(2, &limits)
    };
    let comparison = beside(
        run(200),
        Shape {
            failures: 10,
            ..shape(1, &[])
        },
    );
    assert_eq!(comparison.verdict, Verdict::Critical);
    assert_snapshot!(comparison.sentence, @"critical: list orders error rate is 19 percentage points higher than the baseline (20 %, was 1 %; interval +16.4…+21.7 points; limit +5pp)");
    let judgement = &comparison.judgements[0];
    assert!(judgement.in_points() && (judgement.change.unwrap() - 0.19).abs() < 1e-9);
    assert_eq!(beside(run(0), shape(1, &[])).verdict, Verdict::Pass);
}

#[test]
fn a_percentage_of_no_errors_has_no_meaning() {
    let run = |failures| Shape {
        failures,
        ..shape(2, &[(Some("list orders"), "error_rate", "", "+50%")])
    };
    assert_eq!(beside(run(0), shape(1, &[])).verdict, Verdict::Pass);
    let comparison = beside(run(50), shape(1, &[]));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(comparison.sentence.contains("+0.5pp"), "{}", comparison.sentence);
}

#[test]
fn less_throughput_is_worse() {
    let limit = (Some("pay"), "throughput", "", "+10%");
    let comparison = beside(
        Shape {
            rate: 30,
            ..shape(2, &[limit])
        },
        shape(1, &[]),
    );
    assert_eq!(comparison.verdict, Verdict::Critical);
    assert_snapshot!(comparison.sentence, @"critical: pay throughput is 40 % lower than the baseline (30/s, was 50/s; interval +40…+40 %; limit +10%)");
    assert_eq!(
        beside(
            Shape {
                rate: 70,
                ..shape(2, &[limit])
            },
            shape(1, &[])
        )
        .verdict,
        Verdict::Pass
    );
}

#[test]
fn a_maximum_is_compared_by_value() {
    let limit = (Some("pay"), "max", "", "+50%");
    let comparison = beside(shape(2, &[limit]), shape(1, &[]));
    assert_eq!(
        (comparison.verdict, comparison.judgements[0].interval),
        (Verdict::Pass, None)
    );
}

#[test]
fn too_few_samples_are_not_compared() {
    let few = |luck, limits: &[Limits]| Shape {
        rate: 4,
        ..shape(luck, limits)
    };
    let comparison = beside(few(2, &[(Some("pay"), "p99", "", "+10%")]), shape(1, &[]));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.sentence, @"inconclusive: pay p99 response time is 31.5 ms: too few samples: 80 operations here and 1,000 in the baseline, a comparison needs 1,000 in each");
}

#[test]
fn a_run_of_two_seconds_assumes_independence_and_says_so() {
    let limits = [
        (Some("pay"), "p95", "", "500ms"),
        (None, "mean", "", "+100%"),
        (None, "throughput", "", "1/s"),
    ];
    let short = |luck| Shape {
        seconds: 2,
        rate: 400,
        ..shape(luck, &limits)
    };
    let comparison = beside(short(2), short(1));
    let verdicts: Vec<_> = comparison
        .judgements
        .iter()
        .map(|j| (j.metric.name, j.verdict.unwrap()))
        .collect();
    let expected = [
        ("throughput", Verdict::Inconclusive),
        ("p95", Verdict::Pass),
        ("mean", Verdict::Pass),
    ];
    assert_eq!(verdicts, expected);
    assert_snapshot!(comparison.notes.join("\n"), @r"
    Too few seconds or samples to resample: the interval of all steps mean response time, pay p95 response time takes operations as independent of each other and may be too narrow.
    How much runs differ from one another is not known yet: the baseline has 1 of the 8 sessions that it takes (runs within 4 hours are one). Until then passing is about this run alone, and only a change far beyond an assumed 10 % is critical. `loadgate baseline add RUN` adds runs.
    ");
    assert_snapshot!(comparison.sentence, @"inconclusive: all steps throughput is 800/s: the measurement is too short for an interval, which takes at least 5 seconds with samples");
}

#[test]
fn a_partial_run_never_passes_but_can_be_critical() {
    let partial = |shape: Shape| Run {
        partial: Some("interrupted after 20 s".into()),
        ..shape.run()
    };
    let baseline = accepted(shape(1, &[]).run());
    let limit = (Some("list orders"), "p95", "+50%", "+100%");
    let comparison = judged(&partial(shape(2, &[limit])), Some(&baseline));
    assert_eq!(
        (comparison.verdict, comparison.judgements[0].verdict),
        (Verdict::Inconclusive, Some(Verdict::Pass))
    );
    assert_snapshot!(comparison.sentence, @"inconclusive: the run is partial (interrupted after 20 s), so it cannot pass; run it again to the end");
    assert_snapshot!(comparison.notes.join("\n"), @r"
    The run is partial (interrupted after 20 s): what was measured until then is shown.
    How much runs differ from one another is not known yet: the baseline has 1 of the 8 sessions that it takes (runs within 4 hours are one). Until then passing is about this run alone, and only a change far beyond an assumed 10 % is critical. `loadgate baseline add RUN` adds runs.
    ");
    assert_eq!(
        judged(&partial(slower(4.0, shape(2, &[limit]))), Some(&baseline)).verdict,
        Verdict::Critical
    );
}

#[test]
fn a_debug_build_is_noted() {
    let mut run = shape(1, &[]).run();
    run.environment.build = "debug".into();
    let comparison = judged(&run, Some(&accepted(shape(2, &[]).run())));
    assert_snapshot!(comparison.notes.join("\n"), @r"
    This run is from a debug build of loadgate, the baseline from a release build.
    This is a debug build of loadgate: build with --release before you trust its figures.
    ");
}

#[test]
fn when_nothing_completed_the_run_is_invalid_and_names_the_error() {
    let comparison = judged(
        &Shape {
            failures: 1_000,
            steps: vec![("pay", 4.0)],
            ..shape(1, &[(None, "p95", "", "1s")])
        }
        .run(),
        None,
    );
    assert_eq!(comparison.verdict, Verdict::Invalid);
    assert_snapshot!(comparison.sentence, @"invalid: nothing completed: 1,000 operations failed, most often with http 503: 503 Service Unavailable");
    let nothing = judged(
        &Shape {
            rate: 0,
            ..shape(1, &[])
        }
        .run(),
        None,
    );
    assert_eq!(nothing.sentence, "invalid: nothing completed: no operation was started");
}

#[test]
fn a_generator_that_fell_behind_makes_the_run_invalid() {
    let late = |ns| {
        let mut run = shape(1, &[]).run();
        let mut lag = Latency::new();
        (0..100).for_each(|_| lag.record(ns));
        run.send_lag = lag;
        run
    };
    // 10 % of a median response time of 17 ms.
    assert_eq!(judged(&late(1_200_000), None).verdict, Verdict::Pass);
    let comparison = judged(&late(30_000_000), None);
    assert_eq!(comparison.verdict, Verdict::Invalid);
    assert_snapshot!(comparison.sentence, @"invalid: the load generator could not keep up: flows started 30 ms late at p99, at most 1.73 ms is allowed; lower the rate, or give loadgate more cores or a machine of its own");
    let mut closed = late(30_000_000);
    closed.load.model = Model::Closed;
    assert_eq!(judged(&closed, None).verdict, Verdict::Pass);
}

#[test]
fn a_generator_without_idle_cores_makes_the_run_invalid() {
    let mut run = shape(1, &[]).run();
    run.generator.cpu_s = 36.0;
    assert_snapshot!(judged(&run, None).sentence, @"invalid: the load generator was the bottleneck: it used 90 % of its cores, less than 80 % is allowed; lower the rate, or give loadgate more cores");
    // SQLite works inside the generator's process.
    run.targets = vec![Target {
        name: "db".into(),
        variant: None,
        build: None,
        kind: "sqlite".into(),
        address: "shop.db".into(),
        version: None,
        command: None,
        died: false,
        members: Vec::new(),
        database: None,
    }];
    let comparison = judged(&run, None);
    assert_eq!(comparison.verdict, Verdict::Pass);
    assert!(comparison.notes.iter().any(|note| note.contains("SQLite runs inside")));
}

#[test]
fn accounting_that_does_not_add_up_makes_the_run_invalid() {
    let mut run = shape(1, &[]).run();
    run.accounting.dropped = u64::MAX;
    let comparison = judged(&run, None);
    assert_eq!(comparison.verdict, Verdict::Invalid);
    assert!(
        comparison
            .sentence
            .starts_with("invalid: 2,000 flow starts were scheduled"),
        "{}",
        comparison.sentence
    );
}

#[test]
fn judgements_come_worst_first_with_ids_of_their_own() {
    let limits = [
        (Some("pay"), "p95", "", "10s"),
        (Some("list orders"), "p95", "", "1ms"),
        (Some("list orders"), "p95", "", "+1000%"),
        (None, "service_p99", "1ms", ""),
    ];
    let comparison = beside(shape(2, &limits), shape(1, &[]));
    let found: Vec<_> = comparison
        .judgements
        .iter()
        .map(|j| format!("{} {}", j.id, j.verdict.unwrap().word()))
        .collect();
    assert_snapshot!(found.join("\n"), @r"
    shop/list orders:response_time:p95 critical
    shop/all:service_time:p99 warning
    shop/pay:response_time:p95 pass
    shop/list orders:response_time:p95#2 pass
    ");
    assert_eq!(comparison.reasons.len(), 2);
}

#[test]
fn judging_again_from_the_stored_file_gives_the_same_comparison() {
    let limits = [
        P95,
        (None, "mean", "+5%", "+10%"),
        (None, "error_rate", "+0.1pp", ""),
        (Some("pay"), "p50", "", "10ms"),
    ];
    let run = Shape {
        failures: 7,
        ..shape(2, &limits)
    }
    .run();
    let baseline = accepted(shape(1, &[]).run());
    let directory = tempfile::tempdir().unwrap();
    run::save(&run, &directory.path().join(run::FILE_NAME)).unwrap();
    let stored = run::load(directory.path()).unwrap();
    let baseline_again: Baseline = serde_json::from_str(&serde_json::to_string(&baseline).unwrap()).unwrap();

    let first = serde_json::to_string(&judged(&run, Some(&baseline))).unwrap();
    assert_eq!(
        serde_json::to_string(&judged(&stored, Some(&baseline_again))).unwrap(),
        first
    );
    let read: Comparison = serde_json::from_str(&first).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), first);
}

#[test]
fn a_run_beside_itself_has_not_changed_and_is_not_certain_of_it() {
    let comparison = beside(shape(1, &[P95]), shape(1, &[]));
    let [lower, upper] = comparison.judgements[0].interval.unwrap();
    assert_eq!(comparison.judgements[0].change, Some(0.0));
    assert!(lower < -0.01 && upper > 0.01, "{lower} {upper}");
}

#[test]
fn a_variant_whose_flow_starts_do_not_add_up_makes_the_run_invalid() {
    let mut run = shape(1, &[]).run();
    let variant = |name: &str, completed| run::Variant {
        name: name.to_owned(),
        accounting: run::Accounting {
            scheduled: 10,
            completed,
            failed: 1,
            unfinished: 1,
            ..run::Accounting::default()
        },
        loaded_s: 1.0,
    };
    let accounting = |comparison: &Comparison| -> Check {
        let found = comparison.checks.iter().find(|check| check.id == "accounting");
        found.unwrap().clone()
    };
    run.variants = vec![variant("before", 8), variant("after", 8)];
    assert!(accounting(&judged(&run, None)).ok);
    run.variants[1] = variant("after", 7);
    let comparison = judged(&run, None);
    let check = accounting(&comparison);
    assert!(
        !check.ok
            && check
                .text
                .starts_with("after: 10 flow starts were scheduled but 7 completed"),
        "{check:?}"
    );
    assert_eq!(comparison.verdict, Verdict::Invalid);
}
