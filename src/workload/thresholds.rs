//! The `[[threshold]]`s of a scenario → limits on metrics.

use std::ops::Range;

use super::compile::Compiler;
use crate::{
    metric::{self, Better, Measure, Metric},
    scenario::{self, At, Scenario, Text},
    threshold::{Limit, Source, Threshold},
};

/// The limits of variants where a scenario has none: metric, warning and critical.
const USUAL: [(&str, &str, &str); 3] = [
    ("mean", "+3% and 20us", "+10% and 20us"),
    ("p99", "+10% and 20us", "+25% and 20us"),
    ("error_rate", "+0.1pp", "+1pp"),
];

impl Compiler<'_> {
    /// Compiles all thresholds; `steps` are the names of all steps, those with problems included.
    pub(super) fn thresholds(&mut self, scenario: &Scenario, steps: &[String], text: &Text) -> Vec<Threshold> {
        let searches = scenario.load.as_ref().is_none_or(|load| load.value.search.is_some());
        if scenario.threshold.is_empty() && !scenario.variant.is_empty() {
            return self.usual(text);
        }
        let mut thresholds = Vec::new();
        for written in &scenario.threshold {
            let line = 1 + text.toml[..text.toml.floor_char_boundary(written.start)]
                .matches('\n')
                .count();
            let source = Source {
                file: text.path.clone(),
                line,
            };
            thresholds.extend(self.threshold(written, steps, searches, source));
        }
        thresholds
    }

    /// Who compares variants and sets no limit wants to know all the same whether one got worse.
    fn usual(&mut self, text: &Text) -> Vec<Threshold> {
        let limits = USUAL.iter().filter_map(|(metric, warning, critical)| {
            let metric = metric::find(metric)?;
            Some(Threshold {
                step: None,
                metric,
                warning: Limit::parse(warning, metric).ok(),
                critical: Limit::parse(critical, metric).ok(),
                source: Source {
                    file: text.path.clone(),
                    line: 1,
                },
            })
        });
        limits.collect()
    }

    fn threshold(
        &mut self,
        written: &At<scenario::Threshold>,
        steps: &[String],
        searches: bool,
        source: Source,
    ) -> Option<Threshold> {
        let scenario::Threshold {
            step,
            metric,
            warning,
            critical,
        } = &written.value;
        self.limited_step(step.as_ref(), steps);
        if warning.is_none() && critical.is_none() {
            let help = Some("write for example warning = \"+5%\" and critical = \"+10%\"".into());
            self.problems.add_missing(
                written.span(),
                "a threshold without a limit",
                "neither `warning` nor `critical`",
                help,
            );
        }
        let name = metric.as_ref();
        let metric = self.metric(written.span(), name)?;
        if let (Measure::HighestRate, Some(name), false) = (metric.measure, name, searches) {
            let help = Some("add for example search = { from = \"100/s\", to = \"10000/s\" } to [load]".into());
            self.problem(
                name,
                "the highest rate is found by a search only",
                "without `search`",
                help,
            );
        }
        if metric.measure.is_of_run()
            && let Some(step) = step
        {
            let title = format!("{} is a figure of the whole run", metric.name);
            self.problem(step, title, "leave `step` out", None);
        }
        Some(Threshold {
            step: step.as_ref().map(|step| step.value.clone()),
            metric,
            warning: self.limit(warning.as_ref(), metric),
            critical: self.limit(critical.as_ref(), metric),
            source,
        })
        .inspect(|threshold| self.check_order(threshold, warning.as_ref()))
    }

    pub(super) fn limited_step(&mut self, step: Option<&At<String>>, steps: &[String]) {
        if let Some(step) = step.filter(|step| !steps.contains(&step.value)) {
            let title = format!("no step is called \"{}\"", step.value);
            let help = Some(format!("steps: {}", steps.join(", ")));
            self.problem(step, title, "unknown step", help);
        }
    }

    /// The metric of that name, which `place` must have.
    pub(super) fn metric(&mut self, place: Range<usize>, name: Option<&At<String>>) -> Option<&'static Metric> {
        let Some(name) = name else {
            let help = Some("write for example metric = \"p95\"".into());
            self.problems
                .add_missing(place, "a limit without a metric", "`metric` is missing", help);
            return None;
        };
        let found = metric::find(&name.value);
        if found.is_none() {
            let known: Vec<_> = metric::METRICS.iter().map(|metric| metric.name).collect();
            let title = format!("no metric is called \"{}\"", name.value);
            let help = Some(format!("metrics: {}", known.join(", ")));
            self.problem(name, title, "unknown metric", help);
        }
        found
    }

    fn limit(&mut self, at: Option<&At<String>>, metric: &'static Metric) -> Option<Limit> {
        self.quantity(at?, "limit", |text| Limit::parse(text, metric))
    }

    /// A warning that lies beyond the critical limit could never be given.
    fn check_order(&mut self, threshold: &Threshold, warning: Option<&At<String>>) {
        let (Some(first), Some(last), Some(at)) = (threshold.warning, threshold.critical, warning) else {
            return;
        };
        let beyond = match (first, last) {
            (Limit::Absolute { value: first, .. }, Limit::Absolute { value: last, .. }) => {
                if threshold.metric.better == Better::Lower {
                    first > last
                } else {
                    first < last
                }
            }
            (Limit::Relative { change: first, .. }, Limit::Relative { change: last, .. })
            | (Limit::Points(first), Limit::Points(last)) => first > last,
            _ => false,
        };
        if beyond {
            let label = format!("{first} is worse than the critical {last}");
            self.problem(at, "a warning that comes too late", label, None);
        }
    }
}
