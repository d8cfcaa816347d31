//! `02-percentiles`: response time by percentile, the tail given room.
//!
//! x is 1/(1−p) on a logarithmic axis, so each step to the right is ten times
//! rarer. Where fewer than ten operations lie beyond, a curve is dotted.

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Canvas, Dash, Point, Stroke, Text, paint},
    finding_title,
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    metric::Statistic,
    report::words::{self, NAME, printable},
    run::Latency,
    units,
};

/// Points of a curve per factor of ten on the x axis.
const POINTS_PER_DECADE: f64 = 60.0;

/// A percentile needs this many operations beyond it to be more than anecdote.
const SUPPORT: f64 = 10.0;

/// A distribution as a line: 1/(1−p) and nanoseconds.
struct Curve {
    label: String,
    stroke: Stroke,
    points: Vec<Point>,
    count: f64,
}

impl Curve {
    fn new(label: String, stroke: Stroke, latency: &Latency) -> Option<Self> {
        if latency.is_empty() {
            return None;
        }
        let count = latency.count() as f64;
        let last = (count.log10() * POINTS_PER_DECADE).ceil() as i32;
        let places = (0..last).map(|n| 10f64.powf(f64::from(n) / POINTS_PER_DECADE));
        let slowest = latency.max().map(|max| (count, max));
        let points = places.filter_map(|x| Some((x, latency.quantile(1.0 - 1.0 / x)?)));
        let points = points.chain(slowest).collect();
        Some(Self {
            label,
            stroke,
            points,
            count,
        })
    }

    fn draw(&self, canvas: &mut Canvas<'_>, plot: &Plot) {
        let place = |&(x, y): &Point| plot.at(x, y);
        let supported = self.points.iter().filter(|(x, _)| *x <= self.count / SUPPORT).count();
        let solid: Vec<Point> = self.points[..supported].iter().map(place).collect();
        let tail: Vec<Point> = self.points[supported.saturating_sub(1)..].iter().map(place).collect();
        canvas.line(&solid, self.stroke);
        canvas.line(&tail, self.stroke.with(Dash::Dotted));
        if let Some(end) = tail.last() {
            canvas.dot(*end, self.stroke.width * 1.4, self.stroke.colour);
        }
    }
}

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let candidate = scene.latency(scene.run);
    let curves = curves(scene, &candidate);
    let title = title(scene, &candidate);
    let mut legend: Vec<Key> = curves
        .iter()
        .rev()
        .map(|curve| Key::new(Mark::Line(curve.stroke), curve.label.clone()))
        .collect();
    if !curves.is_empty() {
        let dots = Stroke::solid(theme::MUTED, 3.0).with(Dash::Dotted);
        legend.push(Key::new(Mark::Line(dots), "fewer than 10 operations beyond"));
    }
    let frame = scene.frame(
        title.clone(),
        &["response time by percentile".into(), scene.operations()],
        legend,
    );
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, x_axis(&curves), y_axis(scene, &candidate, &curves));
        if curves.is_empty() {
            frame::nothing(canvas, &plot, format);
        }
        limits(canvas, scene, &plot, format);
        for curve in &curves {
            curve.draw(canvas, &plot);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// The curves from back to front: slow other steps, the baseline, the run.
fn curves(scene: &Scene<'_>, candidate: &Latency) -> Vec<Curve> {
    let mut others: Vec<(&str, Latency)> = Vec::new();
    for step in scene
        .run
        .steps
        .iter()
        .filter(|step| Some(step.name.as_str()) != scene.step)
    {
        others.push((&step.name, step.response_time.all()));
    }
    let p99 = |latency: &Latency| latency.quantile(0.99).unwrap_or(0.0);
    others.sort_by(|a, b| p99(&b.1).total_cmp(&p99(&a.1)));
    let mut curves: Vec<Curve> = others
        .iter()
        .zip(theme::OTHERS)
        .filter_map(|((name, latency), colour)| Curve::new(printable(name, NAME), Stroke::solid(colour, 1.75), latency))
        .rev()
        .collect();
    if let Some(baseline) = scene.baseline {
        let stroke = Stroke::solid(theme::BASELINE, 3.0).with(Dash::Dashed);
        curves.extend(Curve::new(
            format!("{}, {}", scene.subject(), scene.reference().trim_start_matches("the ")),
            stroke,
            &scene.latency(baseline),
        ));
    }
    curves.extend(Curve::new(
        format!("{}, {}", scene.subject(), scene.candidate()),
        Stroke::solid(theme::CANDIDATE, 4.0),
        candidate,
    ));
    curves
}

fn title(scene: &Scene<'_>, candidate: &Latency) -> String {
    if let Some(title) = scene
        .finding
        .filter(|j| j.step.as_deref() == scene.step)
        .and_then(finding_title)
    {
        return title;
    }
    match (candidate.quantile(0.5), candidate.quantile(0.99), candidate.max()) {
        (Some(p50), Some(p99), Some(max)) => format!(
            "{}: half within {}, 99 % within {}, slowest {}",
            scene.subject(),
            units::format_ns(p50),
            units::format_ns(p99),
            units::format_ns(max)
        ),
        _ => "No response time was measured".into(),
    }
}

fn x_axis(curves: &[Curve]) -> Axis {
    axis::percentile(curves.iter().map(|curve| curve.count as u64).max().unwrap_or(0))
}

/// Reaches over all curves, and over limits that are not far above them.
fn y_axis(scene: &Scene<'_>, candidate: &Latency, curves: &[Curve]) -> Axis {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let highest = values().fold(0.0, f64::max);
    let limits = scene
        .limits()
        .into_iter()
        .map(|(_, value, _)| value)
        .filter(|value| *value < 3.0 * highest);
    // The milder of the two medians: both curves must be readable.
    let medians = scene
        .baseline
        .map(|baseline| scene.latency(baseline))
        .into_iter()
        .chain([candidate.clone()]);
    let typical = medians.filter_map(|latency| latency.quantile(0.5)).reduce(f64::min);
    axis::latency(
        typical.unwrap_or(0.0),
        values().fold(f64::INFINITY, f64::min),
        limits.fold(highest, f64::max),
    )
}

/// Absolute limits: level up to the percentile they hold for, then a tick down.
fn limits(canvas: &mut Canvas<'_>, scene: &Scene<'_>, plot: &Plot, format: Format) {
    let top = plot.y.scale.high();
    for (statistic, value, verdict) in scene.limits().into_iter().filter(|(_, value, _)| *value <= top) {
        let (name, x) = match statistic {
            Statistic::Quantile(q) => (format!("p{}", units::significant(q * 100.0)), 1.0 / (1.0 - q)),
            Statistic::Max => ("max".into(), f64::INFINITY),
            Statistic::Mean => continue,
        };
        let x = if x.is_finite() { x } else { f64::MAX };
        let (start, end) = (plot.at(1.0, value), plot.at(x, value));
        canvas.line(
            &[start, end, (end.0, end.1 + 14.0)],
            Stroke::solid(theme::verdict(verdict), 2.5),
        );
        let label = format!(
            "{name} {} limit {}",
            words::word(Some(verdict)),
            units::format_ns(value)
        );
        canvas.text(
            &label,
            (start.0 + 10.0, start.1 - format.tick() * 0.7),
            Text::new(format.tick(), theme::INK),
        );
    }
}
