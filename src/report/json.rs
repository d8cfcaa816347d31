//! A run and its comparison as `report.json`.
//!
//! Fills in the [`Document`]. Figures are read from the run's histograms;
//! verdicts, changes and intervals are copied from the comparison.

use std::collections::BTreeMap;

use super::{
    claims,
    document::{
        Artifact, BaselineSummary, ComparisonEntry, CounterEntry, Document, ErrorEntry, HdrEntry, Intervals,
        LatencyEntry, LimitEntry, Limits, RateEntry, RunSummary, SCHEMA, SearchEntry, SendLag, ShownEntry, StepEntry,
        Validity,
    },
    pools, timeline, tried,
};
use crate::{
    comparison::{Comparison, Judgement, Reference, Shown},
    metric::{self, Measure, Metric},
    run::{Latency, Run, Search, Step, TriedRate},
    threshold::Limit,
    units::Unit,
};

/// The document for a run, its comparison and the files written so far.
pub fn document(run: &Run, comparison: &Comparison, exit_code: u8, artifacts: Vec<Artifact>) -> Document {
    Document {
        schema: SCHEMA,
        loadgate: env!("CARGO_PKG_VERSION"),
        run: run_summary(run),
        verdict: comparison.verdict,
        exit_code,
        sentence: comparison.sentence.clone(),
        reasons: comparison.reasons.clone(),
        notes: comparison.notes.clone(),
        validity: validity(run, comparison),
        baseline: comparison.baseline.as_ref().map(baseline),
        comparisons: comparison.judgements.iter().map(comparison_entry).collect(),
        shown: comparison.shown.iter().map(shown).collect(),
        claims: claims::entries(comparison),
        steps: steps(run),
        variants: run.variants.clone(),
        equivalence: run.equivalence.clone(),
        resources: run.resources.clone(),
        activity: run.activity.clone(),
        links: run.links.clone(),
        caches: run.caches.clone(),
        retries: tried::retries(run),
        breakers: tried::breakers(run),
        pools: pools::entries(run),
        search: run.search.as_ref().map(search),
        intervals: intervals(run),
        environment: run.environment.clone(),
        targets: run.targets.clone(),
        artifacts,
    }
}

fn run_summary(run: &Run) -> RunSummary {
    RunSummary {
        id: run.id.clone(),
        scenario: run.scenario.clone(),
        started: run.started,
        duration_s: run.duration_s,
        seed: run.seed,
        fingerprint: run.fingerprint.short(),
        commit: run.environment.commit.clone(),
        branch: run.environment.branch.clone(),
        labels: run.labels.clone(),
        partial: run.partial.clone(),
        incidents: run.incidents.clone(),
    }
}

fn validity(run: &Run, comparison: &Comparison) -> Validity {
    let accounting = &run.accounting;
    let lag = &run.send_lag;
    Validity {
        ok: comparison.checks.iter().all(|check| check.ok),
        planned: accounting.scheduled,
        sent: accounting.scheduled.saturating_sub(accounting.dropped),
        completed: accounting.completed,
        failed: accounting.failed,
        dropped: accounting.dropped,
        unfinished: accounting.unfinished,
        send_lag: SendLag {
            unit: "us",
            p50: lag.quantile(0.5).map(micros),
            p99: lag.quantile(0.99).map(micros),
            max: lag.max().map(micros),
        },
        generator_cpu: run.generator.cpu_share(),
        checks: comparison.checks.clone(),
    }
}

fn baseline(reference: &Reference) -> BaselineSummary {
    BaselineSummary {
        name: reference.name.clone(),
        ids: match reference.runs.as_slice() {
            [] => vec![reference.run_id.clone()],
            runs => runs.to_vec(),
        },
        sessions: reference.sessions,
        started: reference.started,
        commit: reference.commit.clone(),
        branch: reference.branch.clone(),
        fingerprint: reference.fingerprint.short(),
        comparable: reference.comparable,
        differences: reference.differences.clone(),
    }
}

fn comparison_entry(judgement: &Judgement) -> ComparisonEntry {
    let unit = judgement.unit;
    ComparisonEntry {
        id: judgement.id.clone(),
        step: judgement.step.clone(),
        variant: judgement.variant.clone(),
        metric: judgement.metric.name,
        unit: unit_key(unit),
        better: judgement.better,
        baseline: judgement.reference.map(|value| in_unit(value, unit)),
        candidate: judgement.candidate.map(|value| in_unit(value, unit)),
        change: judgement.change,
        interval: judgement.interval,
        limits: Limits {
            warning: judgement.warning.map(limit_entry),
            critical: judgement.critical.map(limit_entry),
        },
        verdict: judgement.verdict,
        label: judgement.label,
        reason: judgement.reason.clone(),
        source: judgement.source.clone(),
    }
}

fn shown(shown: &Shown) -> ShownEntry {
    let [baseline, candidate] = shown
        .values
        .map(|value| value.map(|value| in_unit(value, shown.metric.unit)));
    ShownEntry {
        variant: shown.variant.clone(),
        step: shown.step.clone(),
        metric: shown.metric.name,
        unit: unit_key(shown.metric.unit),
        baseline,
        candidate,
        change: shown.change,
        interval: shown.interval,
        stands_out: shown.stands_out,
    }
}

fn limit_entry(limit: Limit) -> LimitEntry {
    let (kind, value, floor) = match limit {
        Limit::Absolute { value, unit } => ("absolute", in_unit(value, unit), None),
        Limit::Relative { change, floor, unit } => ("relative", change, floor.map(|floor| in_unit(floor, unit))),
        Limit::Points(points) => ("points", points, None),
        Limit::More(count) => ("more", count, None),
    };
    LimitEntry {
        kind,
        value,
        floor,
        text: limit.to_string(),
    }
}

fn search(search: &Search) -> SearchEntry {
    let rate = |tried: &TriedRate| RateEntry {
        rate_per_s: tried.rate,
        achieved_per_s: tried.achieved,
        unit: "us",
        p50: tried.p50_ns.map(micros),
        p99: tried.p99_ns.map(micros),
        held: tried.held,
        reason: tried.reason.clone(),
    };
    SearchEntry {
        highest_rate_per_s: search.highest_rate,
        ended: search.ended.clone(),
        rates: search.rates.iter().map(rate).collect(),
    }
}

/// The steps of all variants; each figure is of the time in which its variant was loaded.
fn steps(run: &Run) -> Vec<StepEntry> {
    if run.variants.is_empty() {
        let steps = run.steps.iter().enumerate();
        return steps.map(|(index, step)| step_entry(run, index, step)).collect();
    }
    let mut entries = Vec::new();
    for (index, variant) in run.variants.iter().enumerate() {
        let Some(view) = run.of_variant(index) else { continue };
        entries.extend(view.steps.iter().enumerate().map(|(index, step)| StepEntry {
            variant: Some(variant.name.clone()),
            ..step_entry(&view, index, step)
        }));
    }
    entries
}

/// The counters that there are.
fn counters(run: &Run, step: &Step) -> BTreeMap<&'static str, CounterEntry> {
    let entry = |metric: &'static Metric| {
        let Measure::Counter(counter) = metric.measure else {
            return None;
        };
        let [low, high] = run.count(Some(&step.name), counter)?;
        let exact = low == high;
        Some((metric.name, CounterEntry { low, high, exact }))
    };
    metric::METRICS.iter().filter_map(entry).collect()
}

fn step_entry(run: &Run, index: usize, step: &Step) -> StepEntry {
    let mut errors = BTreeMap::new();
    for error in &step.errors {
        *errors.entry(error.class.to_string()).or_insert(0) += error.count;
    }
    let census = run.census.as_ref().and_then(|census| census.step(index));
    // The same two phases, called as people call them who speak of HTTP and of SQL.
    let phases = [latency_entry(&step.first_byte), latency_entry(&step.body)];
    let none = || latency_entry(&Latency::new());
    let ([first_byte, body], [execute, fetch]) = match step.protocol.as_str() {
        "http" => (phases, [none(), none()]),
        _ => ([none(), none()], phases),
    };
    StepEntry {
        name: step.name.clone(),
        variant: None,
        flow: step.flow.clone(),
        protocol: step.protocol.clone(),
        target: step.target.clone(),
        count: step.count(),
        completed: step.completed(),
        failed: step.failed(),
        unfinished: step.unfinished(),
        errors,
        errors_detail: step
            .errors
            .iter()
            .map(|error| ErrorEntry {
                class: error.class,
                count: error.count,
                example: error.example.clone(),
                first_s: error.first_s,
                last_s: error.last_s,
            })
            .collect(),
        throughput_per_s: metric::find("throughput").and_then(|metric| run.value(Some(&step.name), metric)),
        response_time: latency_entry(&step.response_time.all()),
        service_time: latency_entry(&step.service_time.all()),
        acquire: latency_entry(&step.acquire),
        connect: latency_entry(&step.connect),
        tls: latency_entry(&step.tls),
        first_byte,
        body,
        execute,
        fetch,
        counters: counters(run, step),
        statements: census.map_or_else(Vec::new, |census| census.statements.clone()),
        plans: census.map_or_else(Vec::new, |census| census.plans.clone()),
        growth: census.and_then(|census| census.growth),
    }
}

/// A latency as figures in microseconds and as a histogram.
pub(super) fn latency_entry(latency: &Latency) -> LatencyEntry {
    let at = |q| latency.quantile(q).map(micros);
    LatencyEntry {
        unit: "us",
        count: latency.count(),
        sum: (!latency.is_empty()).then(|| micros(latency.sum_ns as f64)),
        min: latency.min().map(micros),
        mean: latency.mean().map(micros),
        p50: at(0.5),
        p90: at(0.9),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        max: latency.max().map(micros),
        hdr: HdrEntry {
            encoding: "V2+deflate+base64",
            unit: "ns",
            lowest: latency.hdr.low(),
            highest: latency.hdr.high(),
            digits: latency.hdr.sigfig(),
            data: latency.encode(),
        },
    }
}

fn intervals(run: &Run) -> Intervals {
    let time = |ns: f64| serde_json::Number::from_f64(micros(ns));
    let row = |column: timeline::Column| {
        let count = |value: u64| Some(value.into());
        [
            count(column.start_s),
            count(column.planned),
            count(column.sent),
            count(column.completed),
            count(column.failed),
            count(column.dropped),
            column.p50.and_then(time),
            column.p95.and_then(time),
            column.p99.and_then(time),
            column.max.and_then(time),
        ]
    };
    Intervals {
        width_s: 1,
        columns: [
            "k",
            "planned",
            "sent",
            "completed",
            "failed",
            "dropped",
            "p50",
            "p95",
            "p99",
            "max",
        ],
        rows: timeline::timeline(run, None, usize::MAX)
            .columns
            .into_iter()
            .filter(|column| column.known)
            .map(row)
            .collect(),
    }
}

fn micros(ns: f64) -> f64 {
    ns / 1000.0
}

/// The name of a unit in the document.
fn unit_key(unit: Unit) -> &'static str {
    match unit {
        Unit::Ns => "us",
        Unit::Share => "share",
        Unit::PerSecond => "per_s",
        Unit::Count => "count",
    }
}

/// A value of a run in the document's unit.
fn in_unit(value: f64, unit: Unit) -> f64 {
    if unit == Unit::Ns { micros(value) } else { value }
}
