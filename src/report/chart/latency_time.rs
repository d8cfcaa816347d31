//! `05-latency-time`: percentiles of the response time per second of the run.

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Canvas, Dash, Stroke, Text, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    metric::Statistic,
    report::{timeline::Column, tried, words},
    units,
};

/// A figure of every column, and how its line looks.
struct Series {
    label: &'static str,
    stroke: Stroke,
    value: fn(&Column) -> Option<f64>,
}

const LINES: [Series; 3] = [
    Series {
        label: "p50",
        stroke: Stroke::solid(theme::LIGHT, 3.0),
        value: |column| column.p50,
    },
    Series {
        label: "p95",
        stroke: Stroke::solid(theme::CANDIDATE, 3.0),
        value: |column| column.p95,
    },
    Series {
        label: "p99",
        stroke: Stroke::solid(theme::DEEP, 4.0),
        value: |column| column.p99,
    },
];

const BASELINE_P99: Stroke = Stroke::solid(theme::BASELINE, 2.5).with(Dash::Dashed);

/// Something that happened at a moment.
const EVENT: Stroke = Stroke::solid(theme::MUTED, 1.5).with(Dash::Dashed);

/// More of them would hide the lines.
const MOST_EVENTS: usize = 40;

/// Characters of an event that are shown.
const LONGEST_EVENT: usize = 40;

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let title = title(scene);
    let frame = scene.frame(title.clone(), &[per(scene), scene.operations()], legend(scene));
    let end_s = end_s(scene);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, axis::time(end_s), y_axis(scene));
        frame::drain(canvas, &plot, scene.run.duration_s, end_s, format.tick());
        if scene.timeline.columns.iter().all(|column| column.max.is_none()) {
            frame::nothing(canvas, &plot, format);
        }
        limits(canvas, scene, &plot, format);
        events(canvas, scene, &plot, format);
        line(
            canvas,
            &plot,
            &scene.baseline_timeline.columns,
            BASELINE_P99,
            |column| column.p99,
        );
        for column in &scene.timeline.columns {
            if let Some(max) = column.max {
                canvas.dot(plot.at(column.middle_s(), max), 4.0, theme::MUTED);
            }
        }
        for series in &LINES {
            line(canvas, &plot, &scene.timeline.columns, series.stroke, series.value);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// The last second that this run knows of; the baseline is cut there.
fn end_s(scene: &Scene<'_>) -> f64 {
    let last = scene
        .timeline
        .columns
        .last()
        .map_or(0.0, |column| column.start_s as f64 + column.width_s);
    last.max(scene.run.duration_s)
}

fn line(canvas: &mut Canvas<'_>, plot: &Plot, columns: &[Column], stroke: Stroke, value: fn(&Column) -> Option<f64>) {
    let end = plot.x.scale.high();
    let within = columns.iter().filter(|column| column.middle_s() <= end);
    let points = within.map(|column| value(column).map(|value| plot.at(column.middle_s(), value)));
    frame::broken_line(canvas, points, stroke);
}

fn legend(scene: &Scene<'_>) -> Vec<Key> {
    let mut keys = vec![Key::new(Mark::Dot(theme::MUTED), "max")];
    keys.extend(
        LINES
            .iter()
            .rev()
            .map(|series| Key::new(Mark::Line(series.stroke), series.label)),
    );
    if scene.baseline.is_some() {
        keys.push(Key::new(
            Mark::Line(BASELINE_P99),
            format!("p99 of {}", scene.reference()),
        ));
    }
    keys
}

fn title(scene: &Scene<'_>) -> String {
    let known: Vec<(f64, &Column)> = scene
        .timeline
        .columns
        .iter()
        .filter_map(|column| Some((column.p99?, column)))
        .collect();
    let worst = known.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    let best = known.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    let subject = scene.subject();
    let (Some((low, _)), Some((high, column))) = (best, worst) else {
        return "No response time was measured".into();
    };
    let (low, high) = (units::format_ns(*low), units::format_ns(*high));
    if low == high {
        return format!("{subject}: p99 was {high} throughout");
    }
    let second = words::count(column.start_s);
    format!("{subject}: p99 between {low} and {high}, highest at {second} s")
}

/// `response time per second`, or per so many seconds where columns were merged.
fn per(scene: &Scene<'_>) -> String {
    match scene
        .timeline
        .columns
        .first()
        .map(|column| column.width_s.ceil() as u64)
    {
        Some(width) if width > 1 => format!("response time per {width} seconds"),
        _ => "response time per second".into(),
    }
}

fn y_axis(scene: &Scene<'_>) -> Axis {
    let run = || scene.timeline.columns.iter();
    let baseline = scene.baseline_timeline.columns.iter().filter_map(|column| column.p99);
    let highest = run()
        .filter_map(|column| column.max)
        .chain(baseline)
        .fold(0.0, f64::max);
    let lowest = run().filter_map(|column| column.p50).fold(f64::INFINITY, f64::min);
    let mut medians: Vec<f64> = run().filter_map(|column| column.p50).collect();
    medians.sort_by(f64::total_cmp);
    let typical = medians.get(medians.len() / 2).copied().unwrap_or(0.0);
    let limits = scene
        .limits()
        .into_iter()
        .map(|(_, value, _)| value)
        .filter(|value| *value < 3.0 * highest);
    axis::latency(typical, lowest, limits.fold(highest, f64::max))
}

/// What breakers did, and PostgreSQL besides the load, each kind named where it came first.
fn events(canvas: &mut Canvas<'_>, scene: &Scene<'_>, plot: &Plot, format: Format) {
    let end = plot.x.scale.high();
    let seen = scene.run.activity.iter().flat_map(|seen| &seen.activity.events);
    let seen = seen.map(|event| (event.at_s, event.what.clone()));
    let all = tried::events(scene.run).into_iter().chain(seen);
    let within = all.filter(|(at_s, _)| (0.0..=end).contains(at_s));
    let mut named: Vec<String> = Vec::new();
    for (at_s, what) in within.take(MOST_EVENTS) {
        let (bottom, top) = (plot.at(at_s, 0.0), plot.at(at_s, f64::MAX));
        canvas.line(&[bottom, top], EVENT);
        if !named.contains(&what) {
            // One below the other, so that neighbours stay readable.
            let row = named.len() as f64 * format.tick() * 1.3;
            let label = words::printable(&what, LONGEST_EVENT);
            let place = (top.0 + 6.0, top.1 + format.tick() + row);
            canvas.text(&label, place, Text::new(format.tick(), theme::MUTED));
            named.push(what);
        }
    }
}

/// Absolute limits on a figure that is drawn, across the whole width.
fn limits(canvas: &mut Canvas<'_>, scene: &Scene<'_>, plot: &Plot, format: Format) {
    let top = plot.y.scale.high();
    for (statistic, value, verdict) in scene.limits().into_iter().filter(|(_, value, _)| *value <= top) {
        let name = match statistic {
            Statistic::Quantile(q) => format!("p{}", units::significant(q * 100.0)),
            Statistic::Max => "max".into(),
            Statistic::Mean => continue,
        };
        let (left, right) = (plot.at(0.0, value), plot.at(f64::MAX, value));
        canvas.line(&[left, right], Stroke::solid(theme::verdict(verdict), 2.5));
        let label = format!(
            "{name} {} limit {}",
            words::word(Some(verdict)),
            units::format_ns(value)
        );
        canvas.text(
            &label,
            (left.0 + 10.0, left.1 - format.tick() * 0.7),
            Text::new(format.tick(), theme::INK),
        );
    }
}
