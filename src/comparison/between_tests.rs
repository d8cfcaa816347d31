//! Runs beside sets of runs: known and unknown spread, other machines, outliers.

use insta::assert_snapshot;
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution as _, Normal};

use super::*;
use crate::{
    baseline::{
        Record,
        testing::{Shape, accepted},
    },
    metric,
};

const LIMITS: (Option<&str>, &str, &str, &str) = (Some("list orders"), "p50", "+5%", "+10%");

fn run(luck: u64, times: f64) -> Run {
    let mut shape = Shape {
        luck,
        seconds: 60,
        thresholds: vec![LIMITS],
        ..Shape::default()
    };
    shape.steps[0].1 *= times;
    shape.run()
}

/// A baseline of runs a day apart whose p50 differs by these factors from the accepted one's.
fn set(factors: &[f64]) -> Baseline {
    let run = run(1, 1.0);
    let mut since = vec![Record::of(&run)];
    for (day, factor) in (1..).zip(factors) {
        let mut record = since[0].clone();
        record.run = format!("added{day}");
        record.started = run.started + jiff::SignedDuration::from_hours(24 * day);
        for figures in &mut record.figures {
            figures.values.iter_mut().for_each(|(_, value)| *value *= factor);
        }
        since.push(record);
    }
    Baseline { since, ..accepted(run) }
}

fn judged(times: f64, baseline: &Baseline) -> Comparison {
    compare(&run(2, times), Some(baseline), &Options::default())
}

/// Nine more runs that differ by about 2 %.
const CALM: [f64; 9] = [1.02, 0.99, 1.0, 1.03, 0.97, 1.01, 0.98, 1.0, 1.02];

#[test]
fn beside_a_single_run_only_gross_changes_are_critical() {
    let baseline = set(&[]);
    assert_eq!(judged(2.0, &baseline).verdict, Verdict::Critical);
    assert_eq!(judged(0.9, &baseline).verdict, Verdict::Pass);
    let comparison = judged(1.25, &baseline);
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.sentence, @"inconclusive: list orders p50 response time is 23 % slower than the baseline (33.5 ms, was 27.2 ms; interval +17…+30 %; limit +10%): runs differ from one another by an assumed 10 % while the baseline has 1 of the 8 sessions that tell, so this may be luck; add runs to the baseline (`loadgate baseline add RUN`) or measure both as variants of one run");
    assert!(comparison.notes[0].contains("1 of the 8 sessions"));
}

#[test]
fn a_known_spread_decides_both_ways() {
    let baseline = set(&CALM);
    let slower = judged(1.25, &baseline);
    assert_eq!(slower.verdict, Verdict::Critical);
    assert_snapshot!(slower.sentence, @"critical: list orders p50 response time is 23 % slower than the baseline (33.5 ms, was 27.3 ms; interval +17…+30 %; limit +10%)");
    let [lower, upper] = slower.judgements[0].interval.unwrap();
    assert!(upper - lower > 0.1, "{lower} {upper}");
    let same = judged(1.0, &baseline);
    assert_eq!((same.verdict, same.notes.len()), (Verdict::Pass, 0), "{:?}", same.notes);
    let reference = same.baseline.unwrap();
    assert_eq!((reference.runs.len(), reference.sessions), (10, 10));
}

#[test]
fn what_the_spread_hides_is_inconclusive() {
    let wild = [1.2, 0.85, 1.1, 0.9, 1.25, 0.8, 1.05, 0.95, 1.15];
    let comparison = judged(1.25, &set(&wild));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.sentence, @"inconclusive: list orders p50 response time is 21 % slower than the baseline (33.5 ms, was 27.6 ms; interval -15…+73 %; limit +10%): too uncertain to tell; the runs of the baseline differ from one another by 15 %; measure both as variants of one run, or widen the limit");
    assert_eq!(judged(3.0, &set(&wild)).verdict, Verdict::Critical);
}

#[test]
fn the_change_is_from_the_centre_of_the_runs() {
    // The accepted run was lucky: the nine since are 20 % slower.
    let baseline = set(&CALM.map(|factor| 1.2 * factor));
    let comparison = judged(1.2, &baseline);
    assert_ne!(comparison.verdict, Verdict::Critical);
    let judgement = &comparison.judgements[0];
    let [lower, upper] = judgement.interval.unwrap();
    let change = judgement.change.unwrap();
    assert!(
        change.abs() < 0.08 && lower < change && change < upper,
        "{lower} {change} {upper}"
    );
    assert!(judgement.reference.unwrap() > 1.1 * baseline.run.value(LIMITS.0, judgement.metric).unwrap());
}

#[test]
fn runs_of_one_afternoon_do_not_make_the_spread_known() {
    let mut baseline = set(&CALM);
    let first = baseline.since[0].started;
    for (minutes, record) in (0..).zip(&mut baseline.since) {
        record.started = first + jiff::SignedDuration::from_mins(minutes);
    }
    let comparison = judged(1.25, &baseline);
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert!(
        comparison.notes[0].contains("1 of the 8 sessions"),
        "{:?}",
        comparison.notes
    );
}

#[test]
fn an_outlier_is_told_and_counts() {
    let mut factors = CALM;
    factors[4] = 2.0;
    let comparison = judged(1.25, &set(&factors));
    assert_eq!(comparison.verdict, Verdict::Inconclusive);
    assert_snapshot!(comparison.notes.join("\n"), @"In list orders p50 response time some runs of the baseline lie apart: added5. They count.");
}

#[test]
fn runs_of_the_own_machine_are_taken_where_there_are_some() {
    let mut baseline = set(&CALM);
    baseline.run.environment.cores = 64;
    baseline.since[0].key.machine.cores = 64;
    let comparison = judged(2.0, &baseline);
    assert_eq!(comparison.verdict, Verdict::Critical);
    assert_eq!(comparison.baseline.unwrap().sessions, 9);
    assert!(comparison.notes.is_empty(), "{:?}", comparison.notes);
    baseline.since.truncate(1);
    let comparison = judged(2.0, &baseline);
    assert_eq!(comparison.verdict, Verdict::Warning);
    assert!(
        comparison.notes[0].contains("Variants of one run"),
        "{:?}",
        comparison.notes
    );
}

#[test]
fn another_major_version_of_a_target_is_not_compared() {
    let target = |version: &str| crate::run::Target {
        name: "db".into(),
        variant: None,
        build: None,
        kind: "postgres".into(),
        address: "127.0.0.1".into(),
        version: Some(version.into()),
        database: None,
        command: None,
        died: false,
        members: Vec::new(),
    };
    let mut baseline = set(&[]);
    baseline.run.targets = vec![target("PostgreSQL 16.4")];
    baseline.since.clear();
    let mut candidate = run(2, 3.0);
    candidate.targets = vec![target("PostgreSQL 17.1")];
    let comparison = compare(&candidate, Some(&baseline), &Options::default());
    assert_eq!(
        (comparison.verdict, comparison.judgements[0].verdict),
        (Verdict::Pass, None)
    );
    assert!(
        comparison.notes[0].contains("db: postgres 17, was 16"),
        "{:?}",
        comparison.notes
    );
    candidate.targets = vec![target("PostgreSQL 16.9")];
    assert_eq!(
        compare(&candidate, Some(&baseline), &Options::default()).verdict,
        Verdict::Critical
    );
}

#[test]
fn a_rate_is_worse_when_it_falls() {
    let throughput = |rate| {
        Shape {
            rate,
            luck: rate,
            thresholds: vec![(Some("pay"), "throughput", "+5%", "+10%")],
            ..Shape::default()
        }
        .run()
    };
    let mut baseline = set(&CALM);
    baseline.run = Run {
        id: baseline.run.id.clone(),
        ..throughput(50)
    };
    let verdict = |rate| compare(&throughput(rate), Some(&baseline), &Options::default());
    assert_eq!(verdict(35).verdict, Verdict::Critical);
    assert_snapshot!(verdict(35).sentence, @"critical: pay throughput is 30 % lower than the baseline (35/s, was 50.1/s; interval +27…+33 %; limit +10%)");
    assert_eq!(verdict(60).verdict, Verdict::Pass);
}

/// Of a thousand sets of runs that differ by 5 %, and a run of the same kind beside each.
#[test]
fn the_bounds_fail_as_rarely_as_they_say() {
    let p50 = metric::find("p50").unwrap();
    let template = Record::of(&run(1, 1.0));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let luck = Normal::new(0.0, 0.05).unwrap();
    let mut baseline = set(&[0.0; 11]);
    let (mut above, mut below, mut outside) = (0, 0, 0);
    for _ in 0..1_000 {
        for record in &mut baseline.since {
            let value: f64 = luck.sample(&mut rng);
            record.figures[0].values.insert("p50".into(), 1e7 * value.exp());
        }
        let set = baseline.set("candidate", &template.key);
        let value: f64 = luck.sample(&mut rng);
        let between = between::Between::new(&set, None, p50, 1e7 * value.exp()).unwrap();
        let ([alarm, ruled_out], [lower, upper]) = (between.bounds(), between.interval());
        above += u32::from(alarm > 0.0);
        below += u32::from(ruled_out < 0.0);
        outside += u32::from(lower > 0.0 || upper < 0.0);
    }
    // Nominal: 10, 50 and 50.
    assert!((2..=20).contains(&above), "{above}");
    assert!((30..=75).contains(&below), "{below}");
    assert!((30..=75).contains(&outside), "{outside}");
}
