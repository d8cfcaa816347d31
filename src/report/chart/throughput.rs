//! `06-throughput`: load asked, sent and answered, in flows per second from zero.
//!
//! Planned lies behind, sent over it, completed on top: where the three agree
//! all are seen, where they part one sees which fell behind. Failed and dropped
//! are stacked at the foot.

use plotters::style::RGBColor;

use super::{
    Picture, Scene, axis,
    canvas::{Canvas, Dash, Point, Stroke, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    report::{timeline::Column, words},
    run::Model,
};

const PLANNED: Stroke = Stroke::solid(theme::BASELINE, 2.0).with(Dash::Dashed);
const SENT: Stroke = Stroke::solid(theme::LIGHT, 6.0);
const COMPLETED: Stroke = Stroke::solid(theme::DEEP, 2.5);

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let title = title(scene);
    let frame = scene.frame(
        title.clone(),
        &["load planned, sent and answered".into()],
        legend(scene),
    );
    let columns = &scene.timeline.columns;
    let end_s = columns
        .last()
        .map_or(0.0, |column| column.start_s as f64 + column.width_s)
        .max(scene.run.duration_s);
    let highest = columns
        .iter()
        .flat_map(|c| [c.planned, c.sent, c.completed, c.failed + c.dropped].map(|count| c.per_second(count)))
        .flatten()
        .fold(0.0, f64::max);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, axis::time(end_s), axis::rate(highest));
        frame::drain(canvas, &plot, scene.run.duration_s, end_s, format.tick());
        let planned = pieces(&plot, columns, |column| column.planned);
        let open = scene.run.load.model == Model::Open;
        for piece in planned.iter().filter(|_| open) {
            canvas.line(piece, PLANNED);
        }
        stairs(canvas, &plot, columns, SENT, |column| column.sent);
        stairs(canvas, &plot, columns, COMPLETED, |column| column.completed);
        area(canvas, &plot, columns, theme::DROPPED, |column| {
            column.failed + column.dropped
        });
        area(canvas, &plot, columns, theme::FAILURE, |column| column.failed);
    });
    Picture {
        title,
        elements,
        format,
    }
}

fn legend(scene: &Scene<'_>) -> Vec<Key> {
    let mut keys = Vec::new();
    if scene.run.load.model == Model::Open {
        keys.push(Key::new(Mark::Line(PLANNED), "planned"));
    }
    keys.push(Key::new(Mark::Line(SENT), "sent"));
    keys.push(Key::new(Mark::Line(COMPLETED), "completed"));
    if any(&scene.timeline.columns, |column| column.failed) {
        keys.push(Key::new(Mark::Area(theme::FAILURE), "failed"));
    }
    if any(&scene.timeline.columns, |column| column.dropped) {
        keys.push(Key::new(Mark::Area(theme::DROPPED), "dropped"));
    }
    keys
}

fn title(scene: &Scene<'_>) -> String {
    let accounting = &scene.run.accounting;
    if accounting.scheduled == 0 {
        return "No flow was due".into();
    }
    let sent = accounting.scheduled.saturating_sub(accounting.dropped);
    let mut parts = vec![format!(
        "{} of {} sent ({})",
        words::count(sent),
        words::counted(accounting.scheduled, "flow", "flows"),
        words::part(sent, accounting.scheduled)
    )];
    parts.push(format!("{} completed", words::count(accounting.completed)));
    for (count, what) in [(accounting.failed, "failed"), (accounting.unfinished, "unfinished")] {
        if count > 0 {
            parts.push(format!("{} {what}", words::count(count)));
        }
    }
    parts.join(", ")
}

fn any(columns: &[Column], count: fn(&Column) -> u64) -> bool {
    columns.iter().any(|column| count(column) > 0)
}

/// A count as stairs, in pieces between gaps.
fn pieces(plot: &Plot, columns: &[Column], count: fn(&Column) -> u64) -> Vec<Vec<Point>> {
    let mut pieces = vec![Vec::new()];
    for column in columns {
        match (column.per_second(count(column)), pieces.last_mut()) {
            (Some(rate), Some(piece)) => {
                let start = column.start_s as f64;
                piece.extend([plot.at(start, rate), plot.at(start + column.width_s, rate)]);
            }
            _ => pieces.push(Vec::new()),
        }
    }
    pieces
}

fn stairs(canvas: &mut Canvas<'_>, plot: &Plot, columns: &[Column], stroke: Stroke, count: fn(&Column) -> u64) {
    for piece in pieces(plot, columns, count) {
        canvas.line(&piece, stroke);
    }
}

/// A count as an area from zero, where it is above zero.
fn area(canvas: &mut Canvas<'_>, plot: &Plot, columns: &[Column], colour: RGBColor, count: fn(&Column) -> u64) {
    for piece in pieces(plot, columns, count) {
        for stair in piece.chunks_exact(2).filter(|stair| stair[0].1 < plot.bottom) {
            canvas.rectangle(stair[0], (stair[1].0, plot.bottom), colour);
        }
    }
}
