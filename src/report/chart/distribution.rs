//! `07-distribution`: which response times there were, as outlines of equal area.

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Dash, Point, Stroke, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{run::Latency, units};

/// Bars from the fastest to the slowest, about.
const BARS: f64 = 80.0;

/// The finest bars: a histogram of three digits tells no more apart.
const FINEST: f64 = 150.0;

/// The bars of one distribution: lower and upper bound in nanoseconds, and the share of operations.
type Bars = Vec<([f64; 2], f64)>;

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let candidate = scene.latency(scene.run);
    let reference = scene
        .baseline
        .map(|run| scene.latency(run))
        .filter(|reference| !reference.is_empty());
    let per_decade = per_decade([Some(&candidate), reference.as_ref()]);
    let now = bars(&candidate, per_decade);
    let before = reference
        .as_ref()
        .map(|reference| bars(reference, per_decade))
        .unwrap_or_default();
    let title = title(scene, &candidate, reference.as_ref());
    let mut legend = vec![Key::new(Mark::Line(NOW), scene.candidate())];
    if !before.is_empty() {
        legend.push(Key::new(
            Mark::Line(BEFORE),
            scene.reference().trim_start_matches("the "),
        ));
    }
    let what = ["how often each response time occurred".to_owned(), scene.operations()];
    let frame = scene.frame(title.clone(), &what, legend);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, x_axis(&now, &before), y_axis(&now, &before));
        if now.is_empty() {
            frame::nothing(canvas, &plot, format);
        }
        let outline = outline(&plot, &now);
        canvas.polygon(&outline, theme::CANDIDATE, 0.15);
        canvas.line(&outline, NOW);
        canvas.line(&self::outline(&plot, &before), BEFORE);
    });
    Picture {
        title,
        elements,
        format,
    }
}

const NOW: Stroke = Stroke::solid(theme::CANDIDATE, 3.5);
const BEFORE: Stroke = Stroke::solid(theme::BASELINE, 3.0).with(Dash::Dashed);

/// So many bars per factor of ten that what there is fills the picture.
fn per_decade(distributions: [Option<&Latency>; 2]) -> f64 {
    let all = || distributions.into_iter().flatten();
    let low = all().filter_map(Latency::min).fold(f64::INFINITY, f64::min).max(1.0);
    let high = all().filter_map(Latency::max).fold(0.0, f64::max);
    (BARS / (high / low).log10().max(0.1)).min(FINEST)
}

fn bars(latency: &Latency, per_decade: f64) -> Bars {
    let edge = |bar: i32| 10f64.powf(f64::from(bar) / per_decade);
    let mut bars: Vec<(i32, u64)> = Vec::new();
    for step in latency.hdr.iter_recorded() {
        let bar = ((step.value_iterated_to().max(1) as f64).log10() * per_decade) as i32;
        match bars.last_mut().filter(|(last, _)| *last == bar) {
            Some((_, count)) => *count = count.saturating_add(step.count_at_value()),
            None => bars.push((bar, step.count_at_value())),
        }
    }
    let all = latency.count() as f64;
    let share = |(bar, count): (i32, u64)| ([edge(bar), edge(bar + 1)], count as f64 / all);
    bars.into_iter().map(share).collect()
}

fn title(scene: &Scene<'_>, now: &Latency, before: Option<&Latency>) -> String {
    let middle = |latency: &Latency| Some([latency.quantile(0.25)?, latency.quantile(0.75)?].map(units::format_ns));
    match (middle(now), before.and_then(middle)) {
        (Some([low, high]), None) => format!("{}: half took between {low} and {high}", scene.subject()),
        (Some([low, high]), Some([from, to])) => format!(
            "{}: half took between {low} and {high}; {} {from} and {to}",
            scene.subject(),
            scene.reference()
        ),
        _ => "No response time was measured".into(),
    }
}

fn x_axis(now: &Bars, before: &Bars) -> Axis {
    let bounds = || now.iter().chain(before).map(|(bounds, _)| *bounds);
    let low = bounds().map(|[low, _]| low).fold(f64::INFINITY, f64::min);
    let high = bounds().map(|[_, high]| high).fold(0.0, f64::max);
    let axis = match high > 0.0 {
        true => axis::latency_log(low, high),
        false => axis::latency(0.0, 0.0, 0.0),
    };
    Axis {
        title: format!("response time, {}", axis.title),
        ..axis
    }
}

fn y_axis(now: &Bars, before: &Bars) -> Axis {
    let highest = now.iter().chain(before).map(|(_, share)| *share).fold(0.0, f64::max);
    axis::share(highest)
}

/// Along the tops of all bars, down to zero where there is none.
fn outline(plot: &Plot, bars: &Bars) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut end = None;
    for ([from, to], share) in bars {
        let gap = end.is_none_or(|end: f64| *from > end * 1.001);
        if gap {
            points.extend(end.map(|end| plot.at(end, 0.0)));
            points.push(plot.at(*from, 0.0));
        }
        points.extend([plot.at(*from, *share), plot.at(*to, *share)]);
        end = Some(*to);
    }
    points.extend(end.map(|end| plot.at(end, 0.0)));
    points
}
