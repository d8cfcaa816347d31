//! Charts: a closed set of pictures, one file each, as PNG and as inline SVG.
//!
//! plotters draws an SVG on a fine grid, resvg renders it with the embedded
//! font: the same picture on every machine. What is drawn comes from the run;
//! what is said about better or worse comes from the comparison.

mod axis;
mod canvas;
mod frame;
mod latency_time;
mod percentiles;
mod png;
mod theme;
mod throughput;

use self::frame::{Frame, Key};
pub(super) use self::{
    png::PngError,
    theme::{FONT_BOLD, FONT_REGULAR, Format, dark_css},
};
use super::{
    timeline::{self, Column},
    words::{self, NAME, printable},
};
use crate::{
    comparison::{Comparison, Judgement, Verdict},
    metric::{Measure, Span, Statistic},
    run::{Latency, Run},
    threshold::Limit,
    units,
};

/// More columns than this are merged: they would be narrower than a line.
pub(super) const MOST_COLUMNS: usize = 300;

/// The charts there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chart {
    /// Response time by percentile.
    Percentiles,
    /// Response time over time.
    LatencyTime,
    /// Load asked, sent, answered.
    Throughput,
}

impl Chart {
    /// All of them, in the order of reports.
    pub(super) const ALL: [Self; 3] = [Self::Percentiles, Self::LatencyTime, Self::Throughput];

    /// Name of the file, without extension.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Percentiles => "02-percentiles",
            Self::LatencyTime => "05-latency-time",
            Self::Throughput => "06-throughput",
        }
    }
}

/// A picture.
pub(super) struct Picture {
    /// The finding in one sentence.
    pub(super) title: String,
    /// The elements of its SVG, without the root.
    elements: String,
    format: Format,
}

impl Picture {
    /// As PNG.
    ///
    /// # Errors
    /// When the picture cannot be rendered.
    pub(super) fn png(&self) -> Result<Vec<u8>, PngError> {
        let (width, height) = self.format.size();
        png::render(
            &format!("{}{}</svg>", self.root(""), self.elements),
            width as u32,
            height as u32,
        )
    }

    /// As an element of a page; `title` must be escaped.
    pub(super) fn inline(&self, escaped_title: &str) -> String {
        format!(
            "{}<title>{escaped_title}</title>\n{}</svg>",
            self.root(" role=\"img\""),
            self.elements
        )
    }

    fn root(&self, attributes: &str) -> String {
        let (width, height) = self.format.size();
        let (width, height) = (width * canvas::GRID, height * canvas::GRID);
        // Round joins: noisy lines would have spikes.
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"{attributes}>\n"
        )
    }
}

/// What the charts of a report are about.
pub(super) struct Scene<'a> {
    run: &'a Run,
    baseline: Option<&'a Run>,
    comparison: &'a Comparison,
    /// The worst finding about response times, if any is a warning or worse.
    finding: Option<&'a Judgement>,
    /// The step that the latency charts show; `None` means all together.
    pub(super) step: Option<&'a str>,
    columns: Vec<Column>,
    baseline_columns: Vec<Column>,
}

impl<'a> Scene<'a> {
    /// Chooses what to show: the step of the worst finding, else all steps together.
    pub(super) fn new(run: &'a Run, comparison: &'a Comparison, baseline: Option<&'a Run>) -> Self {
        let finding = comparison
            .judgements
            .iter()
            .find(|judgement| is_finding(judgement));
        let only = match run.steps.as_slice() {
            [only] => Some(only.name.as_str()),
            _ => None,
        };
        let known = |name: &&str| run.steps.iter().any(|step| step.name == *name);
        let step = finding
            .and_then(|judgement| judgement.step.as_deref())
            .filter(known)
            .or(only);
        let columns = timeline::columns(run, step, MOST_COLUMNS);
        let baseline_columns = baseline
            .map(|run| timeline::columns(run, step, MOST_COLUMNS))
            .unwrap_or_default();
        Self {
            run,
            baseline,
            comparison,
            finding,
            step,
            columns,
            baseline_columns,
        }
    }

    /// Draws a chart.
    pub(super) fn draw(&self, chart: Chart, format: Format) -> Picture {
        match chart {
            Chart::Percentiles => percentiles::draw(self, format),
            Chart::LatencyTime => latency_time::draw(self, format),
            Chart::Throughput => throughput::draw(self, format),
        }
    }

    /// What the latency charts are about, in words.
    fn subject(&self) -> String {
        self.step
            .map_or("all steps".to_owned(), |step| printable(step, NAME))
    }

    /// Response times of the subject.
    fn latency(&self, run: &Run) -> Latency {
        let mut all = Latency::new();
        for (_, step) in run.steps_named(self.step) {
            all.add(&step.response_time.all());
        }
        all
    }

    /// Absolute limits on response times of the subject: statistic, nanoseconds, verdict when broken.
    fn limits(&self) -> Vec<(Statistic, f64, Verdict)> {
        let mut all = Vec::new();
        for threshold in self
            .run
            .thresholds
            .iter()
            .filter(|t| t.step.as_deref() == self.step)
        {
            let Measure::Latency(Span::ResponseTime, statistic) = threshold.metric.measure else {
                continue;
            };
            for (limit, verdict) in [
                (threshold.warning, Verdict::Warning),
                (threshold.critical, Verdict::Critical),
            ] {
                if let Some(Limit::Absolute { value, .. }) = limit {
                    all.push((statistic, value, verdict));
                }
            }
        }
        all
    }

    /// The words around a chart.
    fn frame(&self, title: String, what: &str, legend: Vec<Key>) -> Frame {
        let run = self.run;
        let operations: u64 = run
            .steps_named(self.step)
            .map(|(_, step)| step.count() + step.unfinished())
            .sum();
        let mut subtitle = vec![
            what.to_owned(),
            words::counted(operations, "operation", "operations"),
            words::seconds(run.duration_s),
            words::load(&run.load),
        ];
        subtitle.push(match self.baseline {
            Some(baseline) => format!("baseline {}", self.baseline_name(baseline)),
            None => "no baseline".into(),
        });
        let partial = if run.partial.is_some() {
            " · PARTIAL"
        } else {
            ""
        };
        let name = printable(&run.scenario, NAME);
        let footer = format!(
            "{name} · run {} · loadgate {}{partial}",
            short(&run.id),
            printable(&run.loadgate, NAME)
        );
        Frame {
            title,
            subtitle: subtitle.join(" · "),
            footer,
            verdict: self.comparison.verdict,
            legend,
        }
    }

    /// `default (01JC8XK2, main 4f2c1e0aa)`.
    fn baseline_name(&self, baseline: &Run) -> String {
        let environment = &baseline.environment;
        let revision =
            words::revision(environment.branch.as_deref(), environment.commit.as_deref());
        let name = self
            .comparison
            .baseline
            .as_ref()
            .map(|reference| printable(&reference.name, NAME) + " ")
            .unwrap_or_default();
        let revision = revision
            .map(|revision| format!(", {revision}"))
            .unwrap_or_default();
        format!("{name}({}{revision})", short(&baseline.id))
    }
}

/// A warning or worse about a response time.
fn is_finding(judgement: &Judgement) -> bool {
    let bad = judgement
        .verdict
        .is_some_and(|verdict| verdict >= Verdict::Warning && verdict != Verdict::Inconclusive);
    bad && matches!(
        judgement.metric.measure,
        Measure::Latency(Span::ResponseTime, _)
    )
}

/// The finding as a title: `pay p99 response time 41 % slower: 212 ms → 299 ms`.
fn finding_title(judgement: &Judgement) -> Option<String> {
    let step = judgement
        .step
        .as_deref()
        .map_or("all steps".to_owned(), |step| printable(step, NAME));
    let (title, now) = (
        judgement.metric.title,
        judgement.unit.format(judgement.candidate?),
    );
    Some(match (judgement.change, judgement.reference) {
        (Some(change), Some(reference)) => {
            let much = units::format_change(change.abs());
            let way = if change < 0.0 { "faster" } else { "slower" };
            format!(
                "{step}: {title} {} {way}, {} → {now}",
                much.trim_start_matches('+'),
                judgement.unit.format(reference)
            )
        }
        _ => {
            let limits = words::limits(judgement.warning.as_ref(), judgement.critical.as_ref());
            format!("{step}: {title} is {now}, limit {limits}")
        }
    })
}

/// The part of a ULID that tells runs apart at a glance.
fn short(id: &str) -> String {
    printable(id, NAME).chars().take(26).collect()
}

#[cfg(test)]
mod tests;
