//! `10-load-response`: p99 of the response time against the rate achieved, one
//! point per rate that a search tried. Where the curve turns upwards is the knee.

use super::{
    Picture, Scene, axis,
    axis::Axis,
    canvas::{Canvas, Dash, Point, Stroke, Text, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    metric::Statistic,
    report::words,
    run::{Search, TriedRate},
    units,
};

const CURVE: Stroke = Stroke::solid(theme::CANDIDATE, 3.0);

/// Draws the chart; empty for a run that searched nothing.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let mut tried: Vec<(Point, &TriedRate)> = scene
        .run
        .search
        .iter()
        .flat_map(|search| &search.rates)
        .filter_map(|tried| Some(((tried.achieved, tried.p99_ns?), tried)))
        .collect();
    tried.sort_by(|a, b| a.1.rate.total_cmp(&b.1.rate));
    let title = title(scene.run.search.as_ref());
    let what = [
        "p99 response time of all steps at each rate tried".to_owned(),
        words::counted(tried.len() as u64, "rate", "rates"),
    ];
    let legend = vec![
        Key::new(Mark::Dot(theme::CANDIDATE), "held"),
        Key::new(Mark::Line(Stroke::solid(theme::FAILURE, 3.0)), "did not hold (crosses)"),
    ];
    let frame = scene.frame(title.clone(), &what, legend);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, x_axis(&tried), y_axis(scene, &tried));
        if tried.is_empty() {
            frame::nothing(canvas, &plot, format);
        }
        limits(canvas, scene, &plot, format);
        let curve: Vec<Point> = tried.iter().map(|((x, y), _)| plot.at(*x, *y)).collect();
        canvas.line(&curve, CURVE);
        for ((x, y), tried) in &tried {
            mark(canvas, plot.at(*x, *y), tried.held);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

fn title(search: Option<&Search>) -> String {
    let Some(search) = search else {
        return "No rate was searched for".into();
    };
    let rate = |rate: f64| format!("{}/s", words::count(rate.round() as u64));
    let broke = search
        .rates
        .iter()
        .filter(|tried| !tried.held)
        .min_by(|a, b| a.rate.total_cmp(&b.rate));
    match (search.highest_rate, broke) {
        (Some(held), Some(broke)) => {
            let p99 = broke
                .p99_ns
                .map_or_else(String::new, |p99| format!(" (p99 {})", units::format_ns(p99)));
            format!(
                "The limits hold up to {}; {} did not hold{p99}",
                rate(held),
                rate(broke.rate)
            )
        }
        (Some(held), None) => format!("The limits hold up to {}, the highest rate that was tried", rate(held)),
        (None, _) => "No rate held".into(),
    }
}

fn x_axis(tried: &[(Point, &TriedRate)]) -> Axis {
    let highest = tried.iter().map(|((x, _), _)| *x).fold(0.0, f64::max);
    Axis {
        title: "achieved: flows per second".into(),
        ..axis::rate(highest)
    }
}

fn y_axis(scene: &Scene<'_>, tried: &[(Point, &TriedRate)]) -> Axis {
    let values = || tried.iter().map(|((_, y), _)| *y);
    let (highest, lowest) = (values().fold(0.0, f64::max), values().fold(f64::INFINITY, f64::min));
    let limits = scene.limits().into_iter().filter(|(statistic, ..)| is_p99(*statistic));
    let highest = limits
        .map(|(_, value, _)| value)
        .filter(|value| *value < 3.0 * highest)
        .fold(highest, f64::max);
    let mut sorted: Vec<f64> = values().collect();
    sorted.sort_by(f64::total_cmp);
    let typical = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let axis = axis::latency(typical, lowest, highest);
    Axis {
        title: format!("p99, {}", axis.title),
        ..axis
    }
}

/// Limits on p99, where the scenario has any.
fn limits(canvas: &mut Canvas<'_>, scene: &Scene<'_>, plot: &Plot, format: Format) {
    for (statistic, value, verdict) in scene.limits() {
        if !is_p99(statistic) || value > plot.y.scale.high() {
            continue;
        }
        let (_, y) = plot.at(0.0, value);
        let stroke = Stroke::solid(theme::verdict(verdict), 2.0).with(Dash::Dashed);
        canvas.line(&[(plot.left, y), (plot.right, y)], stroke);
        let label = format!("p99 limit {}", units::format_ns(value));
        let style = Text::new(format.tick(), theme::MUTED);
        canvas.text(&label, (plot.left + 8.0, y - style.size * 0.7), style);
    }
}

fn is_p99(statistic: Statistic) -> bool {
    statistic == Statistic::Quantile(0.99)
}

/// A dot for a rate that held, a cross for one that did not.
fn mark(canvas: &mut Canvas<'_>, (x, y): Point, held: bool) {
    const SIZE: f64 = 8.0;
    if held {
        canvas.dot((x, y), SIZE, theme::CANDIDATE);
        return;
    }
    let stroke = Stroke::solid(theme::FAILURE, 4.0);
    canvas.line(&[(x - SIZE, y - SIZE), (x + SIZE, y + SIZE)], stroke);
    canvas.line(&[(x - SIZE, y + SIZE), (x + SIZE, y - SIZE)], stroke);
}
