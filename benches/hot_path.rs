//! What loadgate itself costs per operation, piece by piece: `cargo bench`.
//!
//! Recording a sample has a budget of 60 ns. Nothing here opens a socket; what
//! a whole operation costs beside other tools is for `ci/peers` to say.

#![allow(
    missing_docs,
    clippy::expect_used,
    reason = "the functions are criterion's; a bench fails by panicking"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use loadgate::{
    executor::Schedule,
    recorder::{Collector, Recorder},
    run::Latency,
    sample::{Outcome, Phases, Sample},
    scenario,
    workload::{self, Arrivals, Encoding, Rates, Template, Values, Workload},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::{Distribution as _, LogNormal};

/// So many different latencies take turns; a power of two, so that choosing one costs nothing.
const LATENCIES: usize = 1 << 14;

/// Operations of one second, the busiest a core gets.
const PER_SECOND: u64 = 50_000;

/// From one operation to the next.
const GAP: Duration = Duration::from_nanos(1_000_000_000 / PER_SECOND);

/// Buffers are made when first needed; after so many seconds they go round.
const WARM_SECONDS: u64 = 8;

criterion_group!(benches, record, render, schedule, merge);
criterion_main!(benches);

/// Latencies as services have them: a median of 400 µs, a long tail, one seed.
fn latencies() -> Vec<Duration> {
    let distribution = LogNormal::new(400e-6_f64.ln(), 0.7).expect("constant parameters");
    let mut random = StdRng::seed_from_u64(7);
    (0..LATENCIES)
        .map(|_| Duration::from_secs_f64(distribution.sample(&mut random)))
        .collect()
}

fn record(criterion: &mut Criterion) {
    let bare = |_: Duration| Phases::default();
    let with_phases = |took: Duration| Phases {
        first_byte: Some(took / 10 * 9),
        body: Some(took / 10),
        ..Phases::default()
    };
    let mut group = criterion.benchmark_group("record a sample");
    group.bench_function("bare", |bencher| bencher.iter_custom(|times| recorded(times, bare)));
    group.bench_function("with first byte and body", |bencher| {
        bencher.iter_custom(|times| recorded(times, with_phases));
    });
    group.finish();
}

/// How long it took to record so many samples, handing over the seconds that passed meanwhile.
///
/// What the collector does with them is another thread's work, so the clock stands still for it.
fn recorded(times: u64, phases: impl Fn(Duration) -> Phases) -> Duration {
    let samples: Vec<(Duration, Phases)> = latencies().into_iter().map(|took| (took, phases(took))).collect();
    let mut collector = Collector::new(1);
    let mut recorder = collector.recorder();
    let mut elapsed = Duration::ZERO;
    let warm = WARM_SECONDS * PER_SECOND;
    let mut done = 0;
    while done < warm + times {
        let until = (done + PER_SECOND).min(warm + times);
        let began = Instant::now();
        for number in done..until {
            record_one(&mut recorder, &samples, number);
        }
        if done >= warm {
            elapsed += began.elapsed();
        }
        done = until;
        collector.receive_all();
    }
    recorder.finish();
    elapsed
}

fn record_one(recorder: &mut Recorder, samples: &[(Duration, Phases)], number: u64) {
    let (took, phases) = &samples[number as usize & (LATENCIES - 1)];
    let start = Duration::from_nanos(GAP.as_nanos() as u64 * number);
    let sample = Sample {
        step: 0,
        due: start,
        start,
        end: start + *took,
        outcome: Outcome::Completed,
    };
    recorder.record(sample.end.as_secs(), black_box(&sample), black_box(phases));
}

fn render(criterion: &mut Criterion) {
    let workload = compiled();
    // The only variable of the workload, so the first.
    let mut find = |name: &str| (name == "user").then_some(0);
    let template = Template::compile("/orders?user={{ user }}&state=open", Encoding::Url, &mut find)
        .expect("the template is right");
    let mut values = Values::new(&workload);
    let mut out = String::new();
    let mut pass = 0;
    criterion.bench_function("render a template, its value drawn", |bencher| {
        bencher.iter(|| {
            pass += 1;
            values.begin(pass, &[]);
            out.clear();
            template.render(&mut values, &mut out);
            black_box(out.len())
        });
    });
}

fn compiled() -> Workload {
    let toml = r#"
        name = "template"
        [target.shop]
        http = "http://127.0.0.1:1"
        [load]
        users = 1
        duration = "1s"
        [data.user]
        uniform = { from = 1, to = 100_000 }
        [[flow]]
        name = "main"
        [[flow.step]]
        get = "/orders?user={{ user }}&state=open"
    "#;
    let text = scenario::Text {
        path: "template.toml".into(),
        toml: toml.into(),
    };
    let loaded = scenario::parse(text, &[]).expect("the scenario is right");
    workload::compile(loaded, &|_| None).expect("the scenario is right")
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one step of a schedule");
    for (name, spacing) in [("even", Arrivals::Even), ("poisson", Arrivals::Poisson)] {
        // A window that no bench reaches the end of.
        let mut arrivals = Schedule::new(&Rates::constant(50_000.0), spacing, 7, Duration::from_hours(24 * 365));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(arrivals.next())));
    }
    group.finish();
}

fn merge(criterion: &mut Criterion) {
    let filled = |seed: u64| {
        let mut random = StdRng::seed_from_u64(seed);
        let all = latencies();
        let mut latency = Latency::new();
        for _ in 0..50_000 {
            let took = all[random.random_range(0..all.len())];
            latency.record(took.as_nanos() as u64);
        }
        latency
    };
    let (total, second) = (filled(1), filled(2));
    criterion.bench_function("merge a histogram", |bencher| {
        bencher.iter_batched_ref(
            || total.clone(),
            |total| total.add(black_box(&second)),
            BatchSize::LargeInput,
        );
    });
}
