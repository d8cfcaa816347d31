//! A realistic run and comparison for the tests of this module.

use std::collections::BTreeMap;

use rand::{SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, LogNormal};

use crate::{
    comparison::{Check, Comparison, Judgement, Reference, Verdict},
    metric,
    run::{
        Accounting, Environment, ErrorCount, FORMAT, Fingerprint, Generator, Interval, Latency, Load, Model, Run,
        ScenarioText, Step, StepErrors, StepInterval, Target, UsageOverTime, UsageSample,
    },
    sample::ErrorClass,
    threshold::{Limit, Source, Threshold},
};

const STEPS: [(&str, &str, &str, f64, u64); 4] = [
    ("pay", "http", "shop", 21.0, 60),
    ("list orders", "http", "shop", 6.0, 120),
    ("order by id", "postgres", "db", 1.2, 120),
    ("refresh stock", "sqlite", "local", 0.35, 40),
];

/// The candidate: `pay` is slower than in [`baseline`] and has a few failures.
pub(super) fn run() -> Run {
    build(7, 1.41)
}

/// The run it is compared with.
pub(super) fn baseline() -> Run {
    let mut run = build(8, 1.0);
    run.id = "01JC8XK2M3N4P5Q6R7S8T9V0W1".into();
    run
}

/// A run in which nothing was measured.
pub(super) fn empty() -> Run {
    let mut run = run();
    run.intervals.clear();
    run.usage.clear();
    run.accounting = Accounting::default();
    run.send_lag = Latency::new();
    for step in &mut run.steps {
        (step.response_time, step.service_time) = Default::default();
        step.connect = Latency::new();
        step.errors.clear();
    }
    run
}

/// A comparison as the judge would make it of [`run`] and [`baseline`].
pub(super) fn comparison() -> Comparison {
    let (critical, warning) = (Some(Verdict::Critical), Some(Verdict::Warning));
    let (unsure, fine) = (Some(Verdict::Inconclusive), Some(Verdict::Pass));
    let (now, before) = (run(), baseline());
    let judge =
        |step, metric, verdict, spread, limits| judgement([&before, &now], step, metric, verdict, spread, limits);
    let pay = judge("pay", "p99", critical, 0.08, ["+10%", "+20%"]);
    let orders = judge("list orders", "p95", warning, 0.04, ["+10%", "+25%"]);
    let stock = judge("refresh stock", "p95", unsure, 0.13, ["+10%", "+25%"]);
    let order = judge("order by id", "p95", fine, 0.02, ["+10%", "+25%"]);
    let absolute = judge("pay", "p95", fine, 0.1, ["150ms", "250ms"]);
    Comparison {
        verdict: Verdict::Critical,
        sentence: "critical: pay p99 response time is 26 % slower than the baseline (170 ms, limit +20%)".into(),
        reasons: vec![pay.reason.clone(), orders.reason.clone()],
        notes: vec!["The repository had uncommitted changes.".into()],
        checks: vec![
            check("send-lag", "send lag p99 0.4 ms, at most 5 ms", true),
            check("accounting", "every scheduled flow is accounted for", true),
        ],
        baseline: Some(Reference {
            name: "default".into(),
            run_id: before.id.clone(),
            started: "2026-11-18T09:00:00Z".parse().unwrap(),
            commit: Some("4f2c1e0aa".into()),
            branch: Some("main".into()),
            fingerprint: now.fingerprint.clone(),
            comparable: true,
            runs: vec![before.id.clone()],
            sessions: 1,
            differences: vec![],
        }),
        judgements: vec![pay, orders, stock, order, absolute],
        shown: Vec::new(),
        claims: Vec::new(),
    }
}

/// A comparison without a baseline.
pub(super) fn alone() -> Comparison {
    let mut comparison = comparison();
    comparison.verdict = Verdict::Pass;
    comparison.sentence = "pass: no limit is broken; relative limits were not judged".into();
    comparison.reasons.clear();
    comparison.notes =
        vec!["There is no baseline; accept this run with: loadgate baseline accept reports/runs/x".into()];
    comparison.baseline = None;
    for judgement in &mut comparison.judgements {
        (judgement.reference, judgement.change, judgement.interval) = (None, None, None);
        let absolute = judgement.critical.is_some_and(|limit| !limit.is_relative());
        judgement.verdict = absolute.then_some(Verdict::Pass);
    }
    comparison
}

/// Gives every name and message of a run and a comparison the same text.
pub(super) fn rename(run: &mut Run, comparison: &mut Comparison, text: &str) {
    run.scenario = text.into();
    run.source = ScenarioText {
        path: text.into(),
        text: text.into(),
    };
    run.labels = BTreeMap::from([(text.into(), text.into())]);
    run.partial = Some(text.into());
    run.incidents = vec![text.into()];
    for target in &mut run.targets {
        (target.name, target.address, target.version) = (text.into(), text.into(), Some(text.into()));
    }
    for used in run.usage.iter_mut().filter(|used| used.target.is_some()) {
        used.target = Some(text.into());
    }
    for (at, step) in run.steps.iter_mut().enumerate() {
        (step.name, step.flow, step.target) = (format!("{text}{at}"), text.into(), text.into());
        for error in &mut step.errors {
            error.example = Some(text.into());
        }
    }
    let environment = &mut run.environment;
    (environment.commit, environment.branch) = (Some(text.into()), Some(text.into()));
    comparison.sentence = text.into();
    comparison.reasons = vec![text.into()];
    comparison.notes = vec![text.into()];
    if let Some(baseline) = &mut comparison.baseline {
        (baseline.name, baseline.run_id) = (text.into(), text.into());
        (baseline.commit, baseline.branch) = (Some(text.into()), Some(text.into()));
    }
    for check in &mut comparison.checks {
        (check.id, check.text) = (text.into(), text.into());
    }
    for judgement in &mut comparison.judgements {
        (judgement.step, judgement.reason, judgement.id) = (Some(format!("{text}0")), text.into(), text.into());
        judgement.source.file = text.into();
    }
}

fn judgement(
    [before, now]: [&Run; 2],
    step: &str,
    name: &str,
    verdict: Option<Verdict>,
    spread: f64,
    [warning, critical]: [&str; 2],
) -> Judgement {
    let metric = metric::find(name).unwrap();
    let (candidate, reference) = (now.value(Some(step), metric), before.value(Some(step), metric));
    let change = candidate
        .zip(reference)
        .map(|(candidate, reference)| candidate / reference - 1.0);
    Judgement {
        id: format!("{step}:{}", metric.id()),
        step: Some(step.into()),
        variant: None,
        metric,
        unit: metric.unit,
        better: metric.better,
        reference,
        candidate,
        change,
        interval: change.map(|change| [change - spread, change + spread]),
        warning: Some(Limit::parse(warning, metric).unwrap()),
        critical: Some(Limit::parse(critical, metric).unwrap()),
        label: None,
        verdict,
        reason: format!("{step} {name} changed (limits {warning}, {critical})"),
        source: Source {
            file: "perf/checkout.toml".into(),
            line: 31,
        },
    }
}

fn check(id: &str, text: &str, ok: bool) -> Check {
    Check {
        id: id.into(),
        text: text.into(),
        ok,
        value: None,
        limit: None,
    }
}

fn build(seed: u64, slower: f64) -> Run {
    let mut run = Run {
        format: FORMAT.into(),
        loadgate: "0.1.0".into(),
        id: "01JD5Z3X8Y7W6V5T4S3R2Q1P0N".into(),
        scenario: "checkout".into(),
        started: "2026-11-21T09:14:00Z".parse().unwrap(),
        labels: BTreeMap::from([("runner".into(), "ci-2".into())]),
        seed,
        fingerprint: Fingerprint {
            flows: "a".into(),
            data: "b".into(),
            load: "c".into(),
            seed: 7,
        },
        source: ScenarioText {
            path: "perf/checkout.toml".into(),
            text: "name = \"checkout\"\nseed = 7\n".into(),
        },
        thresholds: thresholds(),
        claims: Vec::new(),
        load: Load {
            model: Model::Open,
            rate: Some(180.0),
            users: None,
            staged: false,
            sessions: 40,
            duration_s: Some(20.0),
            iterations: None,
            warm_up_s: 5.0,
            drain_s: 5.0,
        },
        duration_s: 20.0,
        accounting: Accounting::default(),
        steps: STEPS
            .iter()
            .map(|(name, protocol, target, ..)| step(name, protocol, target))
            .collect(),
        intervals: Vec::new(),
        send_lag: Latency::new(),
        generator: Generator {
            cpu_s: 12.4,
            wall_s: 20.0,
            cores: 2,
            ..Generator::default()
        },
        environment: environment(),
        targets: vec![
            target("shop", "http", "http://127.0.0.1:8080", None),
            target(
                "db",
                "postgres",
                "postgres://app@127.0.0.1:5432/shop",
                Some("PostgreSQL 17.2"),
            ),
            target("local", "sqlite", "stock.db", Some("SQLite 3.50")),
        ],
        partial: None,
        aborted: None,
        search: None,
        variants: Vec::new(),
        conduct: None,
        equivalence: None,
        census: None,
        resources: Vec::new(),
        usage: usage(),
        caches: Vec::new(),
        activity: Vec::new(),
        links: Vec::new(),
        retries: Vec::new(),
        breakers: Vec::new(),
        pools: Vec::new(),
        left_behind: Vec::new(),
        incidents: vec![],
    };
    let mut rng = SmallRng::seed_from_u64(seed);
    for k in 0..21 {
        second(&mut run, k, slower, &mut rng);
    }
    run
}

/// The generator calm, the shop slower from the second in which it answers late.
fn usage() -> Vec<UsageOverTime> {
    let series = |target: Option<&str>, cores: fn(f64) -> f64, memory: fn(f64) -> f64| UsageOverTime {
        target: target.map(str::to_owned),
        variant: None,
        samples: (1..=20)
            .map(f64::from)
            .map(|at_s| UsageSample {
                at_s,
                cpu_s: cores(at_s),
                memory_bytes: (memory(at_s) * 1_048_576.0) as u64,
            })
            .collect(),
    };
    vec![
        series(None, |at_s| 0.31 + 0.02 * (at_s * 1.7).sin(), |_| 38.0),
        series(
            Some("shop"),
            |at_s| {
                if (12.0..14.0).contains(&at_s) {
                    1.6
                } else {
                    0.7 + 0.05 * (at_s * 2.3).cos()
                }
            },
            |at_s| 90.0 + 4.0 * at_s,
        ),
    ]
}

/// Fills one second of the run; the last one is the drain.
fn second(run: &mut Run, k: u64, slower: f64, rng: &mut SmallRng) {
    let drain = k == 20;
    let mut interval = Interval {
        k,
        planned: 180,
        sent: 180,
        completed: 176,
        failed: 2,
        ..Interval::default()
    };
    if k == 12 {
        (interval.sent, interval.completed, interval.dropped, interval.failed) = (171, 140, 9, 22);
    }
    if drain {
        (interval.planned, interval.sent, interval.completed, interval.failed) = (0, 0, 9, 0);
    }
    for (at, (name, _, _, median_ms, per_second)) in STEPS.iter().enumerate() {
        let slower = match *name {
            "pay" => slower,
            "list orders" => slower.powf(0.5),
            _ => 1.0,
        };
        let median_ns = median_ms * 1e6 * slower * if k == 12 { 2.4 } else { 1.0 };
        let count = if drain { 3 } else { *per_second };
        let failed = if at == 0 && k > 8 && !drain { 2 } else { 0 };
        if failed > 0 {
            let class = ErrorClass::Status(503);
            interval.errors.push(StepErrors {
                step: at,
                class,
                count: failed,
            });
        }
        interval
            .steps
            .push(step_second(run, at, k, median_ns, count, failed, rng));
    }
    let accounting = &mut run.accounting;
    accounting.scheduled += interval.planned;
    accounting.completed += interval.completed;
    accounting.failed += interval.failed;
    accounting.dropped += interval.dropped;
    let ended = accounting.completed + accounting.failed + accounting.dropped;
    accounting.unfinished = if drain { accounting.scheduled - ended } else { 0 };
    run.intervals.push(interval);
}

/// Performs `count` operations of a step in a second, the first `failed` of them in vain.
fn step_second(
    run: &mut Run,
    at: usize,
    k: u64,
    median_ns: f64,
    count: u64,
    failed: u64,
    rng: &mut SmallRng,
) -> StepInterval {
    let times = LogNormal::new(median_ns.ln(), 0.55).unwrap();
    let (mut response, mut service) = (Latency::new(), Latency::new());
    let mut missed = [Latency::new(), Latency::new()];
    let step = &mut run.steps[at];
    for n in 0..count {
        let ns = times.sample(rng) as u64;
        let due = ns + if k == 12 { ns / 2 } else { 40_000 };
        response.record(due);
        service.record(ns);
        run.send_lag.record(ns / 100);
        let (responses, services) = (&mut step.response_time, &mut step.service_time);
        if n < failed {
            responses.failed.record(due);
            services.failed.record(ns);
            missed[0].record(due);
            missed[1].record(ns);
        } else {
            responses.completed.record(due);
            services.completed.record(ns);
        }
    }
    if failed > 0 {
        count_errors(step, k, failed);
    }
    StepInterval {
        step: at,
        completed: count - failed,
        failed,
        unfinished: 0,
        response_sum_ns: response.sum_ns,
        response_time: response.encode(),
        service_sum_ns: service.sum_ns,
        service_time: service.encode(),
        missed: (failed > 0).then(|| missed.map(|latency| latency.encode())),
    }
}

fn count_errors(step: &mut Step, k: u64, failed: u64) {
    if step.errors.is_empty() {
        step.errors.push(ErrorCount {
            class: ErrorClass::Status(503),
            count: 0,
            example: Some("503 Service Unavailable: {\"error\":\"pool exhausted\"}".into()),
            first_s: k as f64 + 0.2,
            last_s: 0.0,
        });
    }
    step.errors[0].count += failed;
    step.errors[0].last_s = k as f64 + 0.8;
}

fn step(name: &str, protocol: &str, target: &str) -> Step {
    Step {
        name: name.into(),
        variant: None,
        flow: "buy".into(),
        protocol: protocol.into(),
        target: target.into(),
        response_time: Default::default(),
        service_time: Default::default(),
        acquire: Latency::new(),
        connect: Latency::new(),
        tls: Latency::new(),
        first_byte: Latency::new(),
        body: Latency::new(),
        errors: vec![],
    }
}

fn target(name: &str, kind: &str, address: &str, version: Option<&str>) -> Target {
    let version = version.map(str::to_owned);
    Target {
        name: name.into(),
        variant: None,
        build: None,
        kind: kind.into(),
        address: address.into(),
        version,
        command: None,
        died: false,
        members: Vec::new(),
        database: None,
    }
}

fn thresholds() -> Vec<Threshold> {
    let metric = metric::find("p95").unwrap();
    vec![Threshold {
        step: Some("pay".into()),
        metric,
        warning: Some(Limit::parse("150ms", metric).unwrap()),
        critical: Some(Limit::parse("250ms", metric).unwrap()),
        source: Source::default(),
    }]
}

fn environment() -> Environment {
    Environment {
        os: Some("Debian GNU/Linux 12".into()),
        kernel: Some("6.1.0-18".into()),
        arch: "x86_64".into(),
        cpu: Some("AMD EPYC 7B13".into()),
        cores: 2,
        memory_bytes: Some(8 << 30),
        build: "release".into(),
        commit: Some("9b1d3c7f20aa".into()),
        branch: Some("faster-pay".into()),
        dirty: Some(true),
        ci: None,
    }
}
