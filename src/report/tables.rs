//! The tables of a report as text, made from the [`Document`].
//!
//! The terminal and the page take their cells from here, so that no two
//! renderings show different figures. Cells are safe to show: names pass
//! through [`words::printable`].

use super::{
    document::{Document, LatencyEntry},
    words::{self, NAME, SENTENCE, UNKNOWN, printable},
};
use crate::{
    comparison::{Comparison, Shown, Verdict},
    run::{Cache, Search, TriedRate},
    units,
};

/// One threshold as shown.
pub(super) struct GateRow {
    /// `pay`, or `all steps`.
    pub(super) step: String,
    /// `p99 response time`.
    pub(super) metric: &'static str,
    /// Value of the baseline.
    pub(super) baseline: String,
    /// Value of this run.
    pub(super) now: String,
    /// Change with its interval.
    pub(super) change: String,
    /// Warning and critical limit.
    pub(super) limit: String,
    /// The answer.
    pub(super) verdict: Option<Verdict>,
    /// Its shape.
    pub(super) shape: char,
    /// Its word.
    pub(super) word: &'static str,
    /// What it says besides: `no change`.
    pub(super) label: Option<&'static str>,
    /// The finding in one sentence.
    pub(super) reason: String,
    /// `perf/checkout.toml:31`.
    pub(super) source: String,
}

/// The thresholds, worst first.
pub(super) fn gates(comparison: &Comparison) -> Vec<GateRow> {
    let row = |judgement: &crate::comparison::Judgement| {
        let value = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| judgement.unit.format(value));
        GateRow {
            step: words::judged(judgement),
            metric: judgement.metric.title,
            baseline: value(judgement.reference),
            now: value(judgement.candidate),
            change: words::change(judgement),
            limit: words::limits(judgement),
            verdict: judgement.verdict,
            shape: words::shape(judgement.verdict),
            word: words::word(judgement.verdict),
            label: words::label_of(judgement),
            reason: printable(&judgement.reason, SENTENCE),
            source: format!("{}:{}", printable(&judgement.source.file, NAME), judgement.source.line),
        }
    };
    comparison.judgements.iter().map(row).collect()
}

/// A change that no limit is about, as shown.
pub(super) struct ShownRow {
    /// `after: pay`.
    pub(super) step: String,
    /// `p50 response time`.
    pub(super) metric: &'static str,
    /// Value of the reference, and of the variant.
    pub(super) values: [String; 2],
    /// Change with its interval.
    pub(super) change: String,
    /// Whether it stands out among all that are shown.
    pub(super) stands_out: bool,
}

/// The changes that no limit is about, those that stand out first.
pub(super) fn shown(comparison: &Comparison) -> Vec<ShownRow> {
    let row = |shown: &Shown| ShownRow {
        step: words::label(Some(&shown.variant), &shown.step),
        metric: shown.metric.title,
        values: shown
            .values
            .map(|value| value.map_or(UNKNOWN.to_owned(), |value| shown.metric.unit.format(value))),
        change: words::change_within(shown.change, shown.interval),
        stands_out: shown.stands_out,
    };
    let mut rows: Vec<ShownRow> = comparison.shown.iter().map(row).collect();
    rows.sort_by_key(|row| !row.stands_out);
    rows
}

/// What one cache did, as shown.
pub(super) struct CacheRow {
    /// `session`, or `after: session`.
    pub(super) step: String,
    /// `78.2 %`.
    pub(super) ratio: String,
    /// Hits, misses, evictions, expirations, invalidations, stale reads.
    pub(super) counts: [String; 6],
}

/// What the caches in front of steps did.
pub(super) fn caches(document: &Document) -> Vec<CacheRow> {
    let row = |cache: &Cache| {
        let counts = [
            cache.hits,
            cache.misses,
            cache.evictions,
            cache.expirations,
            cache.invalidations,
            cache.stale_reads,
        ];
        CacheRow {
            step: words::label(cache.variant.as_deref(), &cache.step),
            ratio: cache
                .hit_ratio()
                .map_or(UNKNOWN.to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio)),
            counts: counts.map(words::count),
        }
    };
    document.caches.iter().map(row).collect()
}

/// One rate that a search tried, as shown.
pub(super) struct RateRow {
    /// What was asked for.
    pub(super) rate: String,
    /// What came of it.
    pub(super) achieved: String,
    /// Median response time.
    pub(super) p50: String,
    /// p99 of the response time.
    pub(super) p99: String,
    /// Whether it held.
    pub(super) held: bool,
    /// Why not.
    pub(super) reason: String,
}

/// The rates of a search, in the order in which they were tried.
pub(super) fn rates(search: &Search) -> Vec<RateRow> {
    let time = |ns: Option<f64>| ns.map_or(UNKNOWN.to_owned(), units::format_ns);
    let rate = |rate: f64| format!("{}/s", units::significant(rate));
    let row = |tried: &TriedRate| RateRow {
        rate: rate(tried.rate),
        achieved: rate(tried.achieved),
        p50: time(tried.p50_ns),
        p99: time(tried.p99_ns),
        held: tried.held,
        reason: tried
            .reason
            .as_deref()
            .map_or_else(String::new, |reason| printable(reason, SENTENCE)),
    };
    search.rates.iter().map(row).collect()
}

/// The phases of one step, as shown.
pub(super) struct PhaseRow {
    /// The step.
    pub(super) step: String,
    /// `acquire`, `connect`, `TLS`, `first byte`, `body`, `execute`, `fetch`.
    pub(super) phase: &'static str,
    /// How many operations had it.
    pub(super) count: String,
    /// Its p50, p95, p99 and max.
    pub(super) times: [String; 4],
}

/// The phases that were measured.
pub(super) fn phases(document: &Document) -> Vec<PhaseRow> {
    let mut rows = Vec::new();
    for step in &document.steps {
        for (phase, latency) in [
            ("acquire", &step.acquire),
            ("connect", &step.connect),
            ("TLS", &step.tls),
            ("first byte", &step.first_byte),
            ("body", &step.body),
            ("execute", &step.execute),
            ("fetch", &step.fetch),
        ] {
            if latency.count > 0 {
                rows.push(PhaseRow {
                    step: words::label(step.variant.as_deref(), &step.name),
                    phase,
                    count: words::count(latency.count),
                    times: [latency.p50, latency.p95, latency.p99, latency.max].map(micros),
                });
            }
        }
    }
    rows
}

/// One step as shown.
pub(super) struct StepRow {
    /// Its name.
    pub(super) name: String,
    /// `http · shop`.
    pub(super) target: String,
    /// Operations that ended.
    pub(super) count: String,
    /// Operations that failed.
    pub(super) failed: String,
    /// Whether any failed.
    pub(super) has_errors: bool,
    /// Operations under way when the drain ended.
    pub(super) unfinished: String,
    /// Completed per second.
    pub(super) throughput: String,
    /// From due to end.
    pub(super) response: LatencyCells,
    /// From start to end.
    pub(super) service: LatencyCells,
}

/// The steps in the order of the scenario.
pub(super) fn steps(document: &Document) -> Vec<StepRow> {
    let row = |step: &super::document::StepEntry| StepRow {
        name: words::label(step.variant.as_deref(), &step.name),
        target: format!("{} · {}", step.protocol, printable(&step.target, NAME)),
        count: words::count(step.count),
        failed: words::count(step.failed),
        has_errors: step.failed > 0,
        unfinished: words::count(step.unfinished),
        throughput: step.throughput_per_s.map_or(UNKNOWN.to_owned(), units::significant),
        response: LatencyCells::new(&step.response_time),
        service: LatencyCells::new(&step.service_time),
    };
    document.steps.iter().map(row).collect()
}

/// The figures of a latency as shown.
pub(super) struct LatencyCells {
    /// Arithmetic mean.
    pub(super) mean: String,
    /// Median.
    pub(super) p50: String,
    /// 90th percentile.
    pub(super) p90: String,
    /// 95th percentile.
    pub(super) p95: String,
    /// 99th percentile.
    pub(super) p99: String,
    /// 99.9th percentile.
    pub(super) p999: String,
    /// Largest.
    pub(super) max: String,
}

impl LatencyCells {
    fn new(latency: &LatencyEntry) -> Self {
        Self {
            mean: micros(latency.mean),
            p50: micros(latency.p50),
            p90: micros(latency.p90),
            p95: micros(latency.p95),
            p99: micros(latency.p99),
            p999: micros(latency.p999),
            max: micros(latency.max),
        }
    }
}

/// One class of error at one step as shown.
pub(super) struct ErrorRow {
    /// The step.
    pub(super) step: String,
    /// The class with its code.
    pub(super) class: String,
    /// How often.
    pub(super) count: String,
    /// First and last occurrence.
    pub(super) when: String,
    /// The first message seen.
    pub(super) example: String,
}

/// All classes of error, most frequent first.
pub(super) fn errors(document: &Document) -> Vec<ErrorRow> {
    let mut all: Vec<_> = document
        .steps
        .iter()
        .flat_map(|step| step.errors_detail.iter().map(move |e| (step, e)))
        .collect();
    all.sort_by_key(|(_, error)| std::cmp::Reverse(error.count));
    all.into_iter()
        .map(|(step, error)| ErrorRow {
            step: words::label(step.variant.as_deref(), &step.name),
            class: error.class.to_string(),
            count: words::count(error.count),
            when: format!("{} … {}", words::seconds(error.first_s), words::seconds(error.last_s)),
            example: error
                .example
                .as_deref()
                .map_or(UNKNOWN.to_owned(), |text| printable(text, 300)),
        })
        .collect()
}

/// How the load was applied, in phrases.
pub(super) fn load(document: &Document) -> Vec<String> {
    let validity = &document.validity;
    let mut phrases = vec![format!(
        "{} of {} sent ({})",
        words::count(validity.sent),
        words::counted(validity.planned, "flow", "flows"),
        words::part(validity.sent, validity.planned)
    )];
    if validity.failed > 0 {
        phrases.push(format!("{} failed", words::count(validity.failed)));
    }
    phrases.push(format!("{} dropped", words::count(validity.dropped)));
    phrases.push(format!("{} unfinished", words::count(validity.unfinished)));
    if validity.send_lag.p99.is_some() {
        phrases.push(format!("send lag p99 {}", micros(validity.send_lag.p99)));
    }
    if let Some(share) = validity.generator_cpu {
        phrases.push(format!("generator CPU {}", units::format_share(share)));
    }
    phrases
}

/// Microseconds of the document as people read them.
pub(super) fn micros(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), |us| units::format_ns(us * 1000.0))
}
