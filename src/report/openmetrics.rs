//! `metrics.txt`: the figures of a run as OpenMetrics text, for GitLab and whatever scrapes.
//!
//! The format is OpenMetrics 1.0. GitLab compares two files as text, by name
//! and labels: so only names that are the same in the next run, and decimals
//! of a fixed number. What is unknown is absent, never 0.

use super::{
    document::{Document, LatencyEntry, StepEntry},
    words::{self, distinct},
};

/// Writes all families; none is interleaved with another.
pub(super) fn render(document: &Document) -> String {
    let mut out = Exposition {
        text: String::new(),
        head: String::new(),
        scenario: distinct(&document.run.scenario),
    };
    outcome(&mut out, document);
    flows(&mut out, document);
    operations(&mut out, document);
    summary(
        &mut out,
        document,
        "response",
        "From when operations were due to their end.",
        |step| &step.response_time,
    );
    summary(
        &mut out,
        document,
        "service",
        "From the start of operations to their end.",
        |step| &step.service_time,
    );
    counted(&mut out, document);
    out.text.push_str("# EOF\n");
    out.text
}

/// The verdict, the exit code, and what was measured.
fn outcome(out: &mut Exposition, document: &Document) {
    out.family("loadgate_run", "info", "What was run.");
    let labels = [
        ("fingerprint", document.run.fingerprint.as_str()),
        ("loadgate", document.loadgate),
    ];
    out.sample("loadgate_run_info", &labels, "1");
    out.family("loadgate_verdict", "stateset", "The worst of all findings.");
    for verdict in words::VERDICTS.into_iter().flatten() {
        let is = u8::from(verdict == document.verdict);
        out.sample(
            "loadgate_verdict",
            &[("loadgate_verdict", verdict.word())],
            &is.to_string(),
        );
    }
    out.family(
        "loadgate_exit_code",
        "gauge",
        "The exit code that goes with the verdict.",
    );
    out.sample("loadgate_exit_code", &[], &document.exit_code.to_string());
    out.family("loadgate_duration_seconds", "gauge", "Length of the measured window.");
    out.sample(
        "loadgate_duration_seconds",
        &[],
        &format!("{:.3}", document.run.duration_s),
    );
}

/// What became of every flow that was due.
fn flows(out: &mut Exposition, document: &Document) {
    let validity = &document.validity;
    out.family(
        "loadgate_flows",
        "counter",
        "Flow starts that were due, by what became of them.",
    );
    for (outcome, count) in [
        ("completed", validity.completed),
        ("failed", validity.failed),
        ("dropped", validity.dropped),
        ("unfinished", validity.unfinished),
    ] {
        out.sample("loadgate_flows_total", &[("outcome", outcome)], &count.to_string());
    }
}

/// Operations by outcome, and failures by class.
fn operations(out: &mut Exposition, document: &Document) {
    out.family(
        "loadgate_operations",
        "counter",
        "Operations that were started, by outcome.",
    );
    for step in &document.steps {
        for (outcome, count) in [
            ("completed", step.completed),
            ("failed", step.failed),
            ("unfinished", step.unfinished),
        ] {
            out.of_step(
                "loadgate_operations_total",
                step,
                Some(("outcome", outcome)),
                &count.to_string(),
            );
        }
    }
    out.family(
        "loadgate_errors",
        "counter",
        "Operations that failed, by class of error.",
    );
    for step in &document.steps {
        for (class, count) in &step.errors {
            out.of_step(
                "loadgate_errors_total",
                step,
                Some(("class", class)),
                &count.to_string(),
            );
        }
    }
}

/// One span of time of every step.
fn summary(
    out: &mut Exposition,
    document: &Document,
    span: &str,
    help: &str,
    of: impl Fn(&StepEntry) -> &LatencyEntry,
) {
    let name = format!("loadgate_{span}_time_seconds");
    out.family(&name, "summary", help);
    for step in &document.steps {
        let latency = of(step);
        for (quantile, value) in [
            ("0.5", latency.p50),
            ("0.9", latency.p90),
            ("0.95", latency.p95),
            ("0.99", latency.p99),
            ("0.999", latency.p999),
            ("1", latency.max),
        ] {
            if let Some(value) = value {
                out.of_step(&name, step, Some(("quantile", quantile)), &seconds(value));
            }
        }
        out.of_step(
            &format!("{name}_sum"),
            step,
            None,
            &seconds(latency.sum.unwrap_or_default()),
        );
        out.of_step(&format!("{name}_count"), step, None, &latency.count.to_string());
    }
}

/// What was counted per operation before the load; where two counts differ, the larger.
fn counted(out: &mut Exposition, document: &Document) {
    out.family(
        "loadgate_counted",
        "gauge",
        "What was counted per operation before the load; the larger of two counts.",
    );
    for step in &document.steps {
        for (counter, count) in &step.counters {
            out.of_step(
                "loadgate_counted",
                step,
                Some(("counter", counter)),
                &format!("{:.3}", count.high),
            );
        }
    }
}

/// Microseconds of the document as seconds, to the nanosecond.
fn seconds(micros: f64) -> String {
    format!("{:.9}", micros / 1e6)
}

/// The text so far, and the label that all samples have.
struct Exposition {
    text: String,
    /// Of the family that begins with the next sample: one without any is left out.
    head: String,
    scenario: String,
}

impl Exposition {
    /// Begins a family of samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.head = format!("# TYPE {name} {kind}\n");
        if name.ends_with("_seconds") {
            self.head.push_str(&format!("# UNIT {name} seconds\n"));
        }
        self.head.push_str(&format!("# HELP {name} {help}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        let all = [("scenario", self.scenario.as_str())];
        let labels: Vec<String> = all
            .iter()
            .chain(labels)
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        self.text.push_str(&std::mem::take(&mut self.head));
        self.text.push_str(&format!("{name}{{{}}} {value}\n", labels.join(",")));
    }

    fn of_step(&mut self, name: &str, step: &StepEntry, more: Option<(&str, &str)>, value: &str) {
        let variant = step.variant.as_deref().map(distinct);
        let own = distinct(&step.name);
        let labels = variant.iter().map(|variant| ("variant", variant.as_str()));
        let labels: Vec<_> = labels.chain([("step", own.as_str())]).chain(more).collect();
        self.sample(name, &labels, value);
    }
}

/// A label's text as the format wants it; line ends have gone before.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::report::{example, json};

    /// One sample: name, labels, value.
    type Sample = (String, BTreeMap<String, String>, String);

    /// Reads labels by the grammar of OpenMetrics: `name="text",…` with `\\`, `\"` and `\n`.
    fn labels(mut text: &str) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        while !text.is_empty() {
            let (name, rest) = text.split_once("=\"").unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
            let (mut value, mut chars) = (String::new(), rest.char_indices());
            let end = loop {
                match chars.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('"' | '\\') => c,
                        c => panic!("\\{c}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
            text = rest[end + 1..].strip_prefix(',').unwrap_or(&rest[end + 1..]);
        }
        labels
    }

    /// Reads all samples, and holds the text to the rules of the format.
    pub(in crate::report) fn parsed(text: &str) -> Vec<Sample> {
        let body = text.strip_suffix("# EOF\n").unwrap();
        let (mut families, mut samples) = (BTreeMap::new(), Vec::<Sample>::new());
        let mut family = String::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    families.insert(name.to_owned(), kind.to_owned()).is_none(),
                    "{name} is interleaved"
                );
                family = name.to_owned();
                continue;
            }
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.split(' ');
                assert!(
                    ["UNIT", "HELP"].contains(&words.next().unwrap()) && words.next() == Some(&family),
                    "{line}"
                );
                continue;
            }
            let (name, rest) = line.split_once('{').unwrap();
            let (inner, value) = rest.rsplit_once("} ").unwrap();
            let suffixes: &[&str] = match families[&family].as_str() {
                "counter" => &["_total"],
                "info" => &["_info"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            assert!(
                suffixes.iter().any(|suffix| *name == format!("{family}{suffix}")),
                "{line}"
            );
            assert!(value.parse::<f64>().unwrap().is_finite());
            samples.push((name.to_owned(), labels(inner), value.to_owned()));
        }
        let series: BTreeSet<_> = samples.iter().map(|(name, labels, _)| (name, labels)).collect();
        assert_eq!(series.len(), samples.len(), "a series stands twice");
        samples
    }

    #[test]
    fn the_samples_are_the_runs_figures() {
        let run = example::run();
        let document = json::document(&run, &example::comparison(), 3, vec![]);
        let samples = parsed(&render(&document));
        let value = |name: &str, wanted: &[(&str, &str)]| {
            let found = samples
                .iter()
                .find(|(found, labels, _)| found == name && wanted.iter().all(|(label, text)| labels[*label] == *text));
            found.unwrap().2.clone()
        };
        let pay = ("step", "pay");
        let all = run.steps[0].response_time.all();
        let p99 = value("loadgate_response_time_seconds", &[pay, ("quantile", "0.99")]);
        assert_eq!(p99, format!("{:.9}", all.quantile(0.99).unwrap() / 1e9));
        let sum: f64 = value("loadgate_response_time_seconds_sum", &[pay]).parse().unwrap();
        assert!((sum - all.sum_ns as f64 / 1e9).abs() < 1e-8);
        assert_eq!(
            value("loadgate_response_time_seconds_count", &[pay]),
            all.count().to_string()
        );
        assert_eq!(value("loadgate_operations_total", &[pay, ("outcome", "failed")]), "22");
        assert_eq!(value("loadgate_errors_total", &[pay, ("class", "http 503")]), "22");
        assert_eq!(value("loadgate_verdict", &[("loadgate_verdict", "critical")]), "1");
        assert_eq!(value("loadgate_verdict", &[("loadgate_verdict", "pass")]), "0");
        assert_eq!(value("loadgate_exit_code", &[("scenario", "checkout")]), "3");
    }

    #[test]
    fn the_unknown_is_absent() {
        let text = render(&json::document(&example::empty(), &example::alone(), 0, vec![]));
        let samples = parsed(&text);
        assert!(!text.contains("quantile="));
        assert!(
            samples
                .iter()
                .any(|(name, ..)| name == "loadgate_service_time_seconds_count")
        );
    }
}
