//! Charts: a closed set of pictures, one file each, as PNG and as inline SVG.
//!
//! plotters draws an SVG on a fine grid, resvg renders it with the embedded
//! font: the same picture on every machine. What is drawn comes from the run;
//! what is said about better or worse comes from the comparison.

mod axis;
mod canvas;
mod counted;
mod distribution;
mod errors;
mod frame;
mod gate;
mod heatmap;
pub(super) mod history;
mod latency_time;
mod lines;
mod load_response;
mod percentiles;
mod png;
mod resources;
mod shift;
mod theme;
mod throughput;

use self::frame::{Frame, Key};
pub use self::png::PngError;
pub(super) use self::theme::{FONT_BOLD, FONT_REGULAR, Format, dark_css};
use super::{
    timeline::{Timeline, timeline},
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
    /// What changed, and whether it is real.
    Gate,
    /// Response time by percentile.
    Percentiles,
    /// The difference at each percentile.
    Shift,
    /// Counts of response times over time.
    Heatmap,
    /// Response time over time.
    LatencyTime,
    /// Load asked, sent, answered.
    Throughput,
    /// How often each response time occurred.
    Distribution,
    /// What failed, over time.
    Errors,
    /// What generator and targets used, over time.
    Resources,
    /// Response time by achieved rate, of a search.
    LoadResponse,
    /// What operations cost in things that are counted.
    Counted,
}

impl Chart {
    /// All, in the order of reports.
    const ALL: [Self; 11] = [
        Self::Gate,
        Self::Percentiles,
        Self::Shift,
        Self::Heatmap,
        Self::LatencyTime,
        Self::Throughput,
        Self::Distribution,
        Self::Errors,
        Self::Resources,
        Self::LoadResponse,
        Self::Counted,
    ];

    /// Path of the file inside a report's directory.
    pub(super) fn path(self) -> String {
        format!("charts/{}.png", self.name())
    }

    /// Name of the file, without extension.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gate => "01-gate",
            Self::Percentiles => "02-percentiles",
            Self::Shift => "03-shift",
            Self::Heatmap => "04-heatmap",
            Self::LatencyTime => "05-latency-time",
            Self::Throughput => "06-throughput",
            Self::Distribution => "07-distribution",
            Self::Errors => "08-errors",
            Self::Resources => "09-resources",
            Self::LoadResponse => "10-load-response",
            Self::Counted => "13-counted",
        }
    }
}

/// A picture.
pub(super) struct Picture {
    /// The finding in one sentence.
    pub(super) title: String,
    /// The elements of its SVG, without the root; safe to put into a page.
    pub(super) elements: String,
    /// The shape it was drawn for.
    format: Format,
}

impl Picture {
    /// As PNG.
    ///
    /// # Errors
    /// When the picture cannot be rendered.
    pub(super) fn png(&self) -> Result<Vec<u8>, PngError> {
        let (width, height) = self.format.size();
        // Round joins: noisy lines would have spikes.
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{}\" stroke-linejoin=\"round\" stroke-linecap=\"round\">{}</svg>",
            self.view_box(),
            self.elements
        );
        png::render(&svg, width as u32, height as u32)
    }

    /// The `viewBox` of its elements.
    pub(super) fn view_box(&self) -> String {
        let (width, height) = self.format.size();
        format!("0 0 {} {}", width * canvas::GRID, height * canvas::GRID)
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
    /// The run over time.
    pub(super) timeline: Timeline,
    baseline_timeline: Timeline,
    /// Names of reference and candidate, where these are variants.
    variants: Option<[String; 2]>,
}

impl<'a> Scene<'a> {
    /// Chooses what to show: the step of the worst finding, else all steps together.
    pub(super) fn new(run: &'a Run, comparison: &'a Comparison, baseline: Option<&'a Run>) -> Self {
        let finding = comparison.judgements.iter().find(|judgement| is_finding(judgement));
        let only = match run.steps.as_slice() {
            [only] => Some(only.name.as_str()),
            _ => None,
        };
        let known = |name: &&str| run.steps.iter().any(|step| step.name == *name);
        let step = finding
            .and_then(|judgement| judgement.step.as_deref())
            .filter(known)
            .or(only);
        Self {
            run,
            baseline,
            comparison,
            finding,
            step,
            timeline: timeline(run, step, MOST_COLUMNS),
            baseline_timeline: baseline
                .map(|run| timeline(run, step, MOST_COLUMNS))
                .unwrap_or_default(),
            variants: None,
        }
    }

    /// The same for two variants of one run.
    pub(super) fn between(self, names: [&str; 2]) -> Self {
        let names = names.map(|name| printable(name, NAME));
        Self {
            variants: Some(names),
            ..self
        }
    }

    /// The charts that there is something to show in, in the order of reports.
    pub(super) fn charts(&self) -> impl Iterator<Item = Chart> {
        Chart::ALL.into_iter().filter(|chart| match chart {
            Chart::Gate => gate::has_rows(self),
            Chart::Shift => self.baseline.is_some(),
            Chart::Errors => errors::any(self),
            Chart::Resources => resources::any(self),
            Chart::LoadResponse => self.run.search.is_some(),
            Chart::Counted => counted::any(self),
            Chart::Percentiles | Chart::Heatmap | Chart::LatencyTime | Chart::Throughput | Chart::Distribution => true,
        })
    }

    /// Draws a chart.
    pub(super) fn draw(&self, chart: Chart, format: Format) -> Picture {
        match chart {
            Chart::Gate => gate::draw(self, format),
            Chart::Percentiles => percentiles::draw(self, format),
            Chart::Shift => shift::draw(self, format),
            Chart::Heatmap => heatmap::draw(self, format),
            Chart::LatencyTime => latency_time::draw(self, format),
            Chart::Throughput => throughput::draw(self, format),
            Chart::Distribution => distribution::draw(self, format),
            Chart::Errors => errors::draw(self, format),
            Chart::Resources => resources::draw(self, format),
            Chart::LoadResponse => load_response::draw(self, format),
            Chart::Counted => counted::draw(self, format),
        }
    }

    /// What the latency charts are about, in words.
    pub(super) fn subject(&self) -> String {
        self.step.map_or("all steps".to_owned(), |step| printable(step, NAME))
    }

    /// Response times of the subject.
    pub(super) fn latency(&self, run: &Run) -> Latency {
        let mut all = Latency::new();
        for (_, step) in run.steps_named(self.step) {
            all.add(&step.response_time.all());
        }
        all
    }

    /// Absolute limits on response times of the subject: statistic, nanoseconds, verdict when broken.
    fn limits(&self) -> Vec<(Statistic, f64, Verdict)> {
        let mut all = Vec::new();
        for threshold in self.run.thresholds.iter().filter(|t| t.step.as_deref() == self.step) {
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

    /// How many operations the latency charts show.
    fn operations(&self) -> String {
        let count = self
            .run
            .steps_named(self.step)
            .map(|(_, step)| step.count() + step.unfinished())
            .sum();
        words::counted(count, "operation", "operations")
    }

    /// The words around a chart; `what` says what it shows.
    fn frame(&self, title: String, what: &[String], legend: Vec<Key>) -> Frame {
        let run = self.run;
        let mut subtitle = what.to_vec();
        subtitle.push(words::load(&run.load));
        if run
            .load
            .duration_s
            .is_none_or(|asked| (asked - run.duration_s).abs() > 0.01 * asked)
        {
            subtitle.push(format!("measured {}", words::seconds(run.duration_s)));
        }
        subtitle.push(
            self.baseline
                .map_or("no baseline".into(), |baseline| self.baseline_name(baseline)),
        );
        let partial = if run.partial.is_some() { " · PARTIAL" } else { "" };
        let [name, id, version] = [&run.scenario, &run.id, &run.loadgate].map(|text| printable(text, NAME));
        let footer = format!("{name} · run {id} · loadgate {version}{partial}");
        Frame {
            title,
            subtitle: subtitle.join(" · "),
            footer,
            verdict: Some(self.comparison.verdict),
            legend,
        }
    }

    /// What the figures stand beside.
    pub(super) fn reference(&self) -> &str {
        self.variants
            .as_ref()
            .map_or("the baseline", |[reference, _]| reference)
    }

    /// What the figures are of.
    pub(super) fn candidate(&self) -> &str {
        self.variants.as_ref().map_or("this run", |[_, candidate]| candidate)
    }

    /// `baseline default (main 4f2c1e0aa)`.
    fn baseline_name(&self, baseline: &Run) -> String {
        if let Some(variants) = &self.variants {
            return format!("variant {} beside {}", variants[1], variants[0]);
        }
        let name = self
            .comparison
            .baseline
            .as_ref()
            .map_or(&baseline.id, |reference| &reference.name);
        let environment = &baseline.environment;
        let revision = words::revision(environment.branch.as_deref(), environment.commit.as_deref());
        let revision = revision.map(|revision| format!(" ({revision})")).unwrap_or_default();
        format!("baseline {}{revision}", printable(name, NAME))
    }
}

/// A warning or worse about a response time.
fn is_finding(judgement: &Judgement) -> bool {
    let bad = judgement
        .verdict
        .is_some_and(|verdict| verdict >= Verdict::Warning && verdict != Verdict::Inconclusive);
    bad && matches!(judgement.metric.measure, Measure::Latency(Span::ResponseTime, _))
}

/// The finding as a title: `pay p99 response time 41 % slower: 212 ms → 299 ms`.
fn finding_title(judgement: &Judgement) -> Option<String> {
    let step = judgement
        .step
        .as_deref()
        .map_or("all steps".to_owned(), |step| printable(step, NAME));
    let (title, now) = (judgement.metric.title, judgement.unit.format(judgement.candidate?));
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
            let limits = words::limits(judgement);
            format!("{step}: {title} is {now}, limit {limits}")
        }
    })
}

#[cfg(test)]
mod tests;
