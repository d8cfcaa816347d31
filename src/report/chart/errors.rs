//! `08-errors`: which operations failed, by class, over time.

use plotters::style::RGBColor;

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Canvas, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    report::{timeline::Column, words},
    sample::ErrorClass,
};

/// The colours of the most frequent classes; all others are one.
const COLOURS: [RGBColor; 6] = [
    theme::FAILURE,
    theme::DROPPED,
    theme::OTHERS[0],
    theme::OTHERS[1],
    theme::OTHERS[2],
    theme::LIGHT,
];

/// Whether it is known when operations failed.
pub(super) fn any(scene: &Scene<'_>) -> bool {
    scene.timeline.columns.iter().any(|column| !column.errors.is_empty())
}

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let columns = &scene.timeline.columns;
    let classes = classes(columns);
    let named: Vec<ErrorClass> = classes.iter().take(COLOURS.len()).map(|(class, _)| *class).collect();
    let title = title(scene, &classes);
    let mut legend: Vec<Key> = named
        .iter()
        .zip(COLOURS)
        .map(|(class, colour)| Key::new(Mark::Area(colour), class.to_string()))
        .collect();
    if classes.len() > named.len() {
        legend.push(Key::new(Mark::Area(theme::MUTED), "other"));
    }
    let frame = scene.frame(
        title.clone(),
        &["failed operations of all steps, by class".to_owned()],
        legend,
    );
    let end = |column: &Column| column.start_s as f64 + column.width_s;
    let end_s = columns.last().map_or(0.0, end).max(scene.run.duration_s);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, axis::time(end_s), y_axis(columns));
        frame::drain(canvas, &plot, scene.run.duration_s, end_s, format.tick());
        for column in columns {
            stack(canvas, &plot, column, &named);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// All classes with their counts, most frequent first.
fn classes(columns: &[Column]) -> Vec<(ErrorClass, u64)> {
    let mut classes: Vec<(ErrorClass, u64)> = Vec::new();
    for (class, count) in columns.iter().flat_map(|column| &column.errors) {
        match classes.iter_mut().find(|(known, _)| known == class) {
            Some((_, all)) => *all = all.saturating_add(*count),
            None => classes.push((*class, *count)),
        }
    }
    classes.sort_by_key(|(class, count)| (std::cmp::Reverse(*count), *class));
    classes
}

fn title(scene: &Scene<'_>, classes: &[(ErrorClass, u64)]) -> String {
    let failed = classes.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
    let all = scene
        .run
        .steps
        .iter()
        .map(|step| step.count())
        .fold(0, u64::saturating_add);
    let Some((worst, most)) = classes.first() else {
        return "No operation failed".into();
    };
    let failed_of = format!(
        "{} of {} failed ({})",
        words::count(failed),
        words::counted(all, "operation", "operations"),
        words::part(failed, all)
    );
    match classes.len() {
        1 => format!("{failed_of}: {worst}"),
        _ => format!("{failed_of}, most often {worst} ({})", words::count(*most)),
    }
}

fn y_axis(columns: &[Column]) -> Axis {
    let all = |column: &Column| {
        let failed = column
            .errors
            .iter()
            .map(|(_, count)| *count)
            .fold(0, u64::saturating_add);
        column.per_second(failed)
    };
    let highest = columns.iter().filter_map(all).fold(0.0, f64::max);
    Axis {
        title: "failed operations per second".into(),
        ..axis::rate(highest)
    }
}

/// One class upon the other, the most frequent at the foot.
fn stack(canvas: &mut Canvas<'_>, plot: &Plot, column: &Column, named: &[ErrorClass]) {
    let count_of = |wanted: &dyn Fn(ErrorClass) -> bool| {
        let counts = column.errors.iter().filter(|(class, _)| wanted(*class));
        counts.map(|(_, count)| *count).fold(0, u64::saturating_add)
    };
    let known = named.iter().zip(COLOURS);
    let mut parts: Vec<(u64, RGBColor)> = known
        .map(|(class, colour)| (count_of(&|other| other == *class), colour))
        .collect();
    parts.push((count_of(&|class| !named.contains(&class)), theme::MUTED));
    let (start, end) = (column.start_s as f64, column.start_s as f64 + column.width_s);
    let mut below = 0_u64;
    for (count, colour) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let above = below.saturating_add(count);
        let (Some(low), Some(high)) = (column.per_second(below), column.per_second(above)) else {
            return;
        };
        canvas.rectangle(plot.at(start, high), plot.at(end, low), colour);
        below = above;
    }
}
