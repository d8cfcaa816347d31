//! `03-shift`: by how much each quantile of the response time differs from the reference.
//!
//! Both windows are cut into blocks; how the quantiles of the blocks vary says
//! how certain a difference is (batch means: Schmeiser 1982). That is the noise
//! within the runs; what differs from run to run is for the verdict to know.

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Point, Stroke, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    run::{Latency, quantile, total},
    stats::Located,
    units::{self, Unit},
};

/// Points of the curve per factor of ten on the x axis.
const POINTS_PER_DECADE: f64 = 40.0;

/// A quantile is compared where so many operations lie beyond it on either side.
const SUPPORT: f64 = 10.0;

/// Blocks on each side that an interval takes.
const LEAST_BLOCKS: usize = 3;

/// One quantile.
struct Difference {
    /// 1/(1−p).
    x: f64,
    /// Nanoseconds; above zero is slower.
    value: f64,
    interval: Option<[f64; 2]>,
}

/// Draws the chart; empty without a reference.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let candidate = scene.latency(scene.run);
    let reference = scene.baseline.map(|run| scene.latency(run)).unwrap_or_default();
    let differences = differences(scene, &candidate, &reference);
    let title = title(scene, &differences);
    let legend = vec![
        Key::new(Mark::Line(Stroke::solid(theme::CANDIDATE, 4.0)), "difference"),
        Key::new(
            Mark::Area(theme::SHADE),
            "95 % interval of each quantile by itself, from the blocks of both runs",
        ),
    ];
    let what = format!("difference to {} at each quantile", scene.reference());
    let frame = scene.frame(title.clone(), &[what, scene.operations()], legend);
    let elements = paint(format.size(), |canvas| {
        let x_axis = axis::percentile(candidate.count().min(reference.count()));
        let plot = frame.draw(canvas, format, x_axis, y_axis(&differences));
        if differences.is_empty() {
            frame::nothing(canvas, &plot, format);
        }
        for band in bands(&plot, &differences) {
            canvas.polygon(&band, theme::SHADE, 1.0);
        }
        let zero = [plot.at(1.0, 0.0), plot.at(f64::MAX, 0.0)];
        canvas.line(&zero, Stroke::solid(theme::AXIS, 2.0));
        let curve: Vec<Point> = differences.iter().map(|at| plot.at(at.x, at.value)).collect();
        canvas.line(&curve, Stroke::solid(theme::CANDIDATE, 4.0));
    });
    Picture {
        title,
        elements,
        format,
    }
}

fn differences(scene: &Scene<'_>, candidate: &Latency, reference: &Latency) -> Vec<Difference> {
    let supported = candidate.count().min(reference.count()) as f64 / SUPPORT;
    if supported < 1.0 {
        return Vec::new();
    }
    let last = (supported.log10() * POINTS_PER_DECADE).floor() as i32;
    let places = (0..=last).map(|n| 10f64.powf(f64::from(n) / POINTS_PER_DECADE));
    let at = |x: f64| {
        let q = 1.0 - 1.0 / x;
        let value = candidate.quantile(q)? - reference.quantile(q)?;
        Some(Difference {
            x,
            value,
            interval: interval(scene, x, value),
        })
    };
    places.filter_map(at).collect()
}

/// None where a block is too small to have that quantile.
fn interval(scene: &Scene<'_>, x: f64, value: f64) -> Option<[f64; 2]> {
    let sides = [&scene.timeline.blocks, &scene.baseline_timeline.blocks];
    let mut variance = 0.0;
    let mut freedom = f64::INFINITY;
    for blocks in sides {
        let enough = blocks.len() >= LEAST_BLOCKS && blocks.iter().all(|block| total(block) as f64 >= x);
        if !enough {
            return None;
        }
        let count = blocks.len() as f64;
        // Of the smallest, not of none at all.
        let q = (1.0 - 1.0 / x).max(f64::MIN_POSITIVE);
        let values = || {
            blocks
                .iter()
                .filter_map(|block| quantile(block, q))
                .map(|value| value as f64)
        };
        let mean = values().sum::<f64>() / count;
        let spread = values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        variance += spread / count;
        freedom = freedom.min(count - 1.0);
    }
    let located = Located {
        estimate: value,
        error: variance.sqrt(),
        freedom,
    };
    let interval = located.interval();
    // Blocks that agree to the last digit of their histograms leave nothing to be uncertain of.
    Some(if variance > 0.0 { interval } else { [value; 2] })
}

fn title(scene: &Scene<'_>, differences: &[Difference]) -> String {
    let at = |x: f64| {
        differences
            .iter()
            .rfind(|at| at.x <= x * 1.01)
            .filter(|at| at.x >= x * 0.9)
    };
    let said = |difference: &Difference| {
        let by = units::format_ns(difference.value.abs());
        match difference.value {
            value if value > 0.0 => format!("{by} slower"),
            value if value < 0.0 => format!("{by} faster"),
            _ => "the same".into(),
        }
    };
    let parts = [("half of the operations", 2.0), ("p90", 10.0), ("p99", 100.0)];
    let parts = parts
        .iter()
        .filter_map(|(name, x)| Some(format!("{name} {}", said(at(*x)?))));
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => "No two response times could be compared".into(),
        false => format!("{}: {}", scene.subject(), parts.join(", ")),
    }
}

fn y_axis(differences: &[Difference]) -> Axis {
    let ends = || {
        differences
            .iter()
            .flat_map(|at| at.interval.unwrap_or([at.value; 2]).into_iter().chain([at.value]))
    };
    let (low, high) = (ends().fold(0.0, f64::min), ends().fold(0.0, f64::max));
    // Nothing differs: a scale of microseconds all the same.
    let high = if low == 0.0 && high == 0.0 { 1e3 } else { high };
    Axis {
        title: "faster below zero, slower above".into(),
        ..axis::between(low, high, Unit::Ns)
    }
}

/// The outline of each stretch of neighbours that have an interval.
fn bands(plot: &Plot, differences: &[Difference]) -> Vec<Vec<Point>> {
    let pieces = differences
        .split(|at| at.interval.is_none())
        .filter(|piece| piece.len() > 1);
    let outline = |piece: &[Difference]| {
        let edge = |end: usize| move |at: &Difference| Some(plot.at(at.x, at.interval?[end]));
        let upper = piece.iter().filter_map(edge(1));
        let lower = piece.iter().rev().filter_map(edge(0));
        upper.chain(lower).collect()
    };
    pieces.map(outline).collect()
}
