//! `04-heatmap`: how many operations took how long, second by second.
//!
//! Lines hide modes, pauses and outliers that a heat map shows (B. Gregg,
//! "Visualizing System Latency", 2010). The colour is the logarithm of the
//! count; no operation is no colour.

use super::{
    Picture, Scene,
    axis::{self, Axis},
    canvas::{Canvas, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format, HEAT},
};
use crate::{
    report::{
        timeline::{Cells, Column, bounds_of},
        words,
    },
    units,
};

/// More columns than this make the page heavy, not clearer.
const MOST_WIDE: usize = 150;
const MOST_NARROW: usize = 60;

/// Some columns of the timeline in one.
struct Stretch {
    from_s: f64,
    to_s: f64,
    cells: Cells,
    failed: u64,
}

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let most = match format {
        Format::Wide => MOST_WIDE,
        Format::Narrow => MOST_NARROW,
    };
    let stretches = stretches(&scene.timeline.columns, most);
    let highest = stretches.iter().flat_map(|stretch| &stretch.cells);
    let highest = highest.map(|(_, count)| *count).max().unwrap_or(0);
    let title = title(scene);
    let what = [
        "response times over time; the darker, the more operations".to_owned(),
        scene.operations(),
    ];
    let frame = scene.frame(title.clone(), &what, legend(&stretches, highest));
    let end_s = stretches
        .last()
        .map_or(0.0, |stretch| stretch.to_s)
        .max(scene.run.duration_s);
    let elements = paint(format.size(), |canvas| {
        let plot = frame.draw(canvas, format, axis::time(end_s), y_axis(&stretches));
        frame::drain(canvas, &plot, scene.run.duration_s, end_s, format.tick());
        if highest == 0 {
            frame::nothing(canvas, &plot, format);
        }
        for stretch in &stretches {
            column(canvas, &plot, stretch, highest);
            failures(canvas, &plot, stretch, format);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

fn stretches(columns: &[Column], most: usize) -> Vec<Stretch> {
    let known: Vec<&Column> = columns.iter().filter(|column| column.known).collect();
    let together = columns.len().div_ceil(most).max(1);
    let merged = |columns: &[&Column]| {
        let mut cells: Vec<(u16, u64)> = Vec::new();
        for (cell, count) in columns.iter().flat_map(|column| &column.cells) {
            match cells.binary_search_by_key(cell, |(known, _)| *known) {
                Ok(at) => cells[at].1 = cells[at].1.saturating_add(*count),
                Err(at) => cells.insert(at, (*cell, *count)),
            }
        }
        let last = columns.last()?;
        Some(Stretch {
            from_s: columns.first()?.start_s as f64,
            to_s: last.start_s as f64 + last.width_s,
            cells,
            failed: columns
                .iter()
                .map(|column| column.failed_operations)
                .fold(0, u64::saturating_add),
        })
    };
    // Stretches that a gap divides stay apart.
    let neighbours = |a: &&Column, b: &&Column| b.start_s as f64 <= a.start_s as f64 + a.width_s.ceil();
    let unbroken = known.chunk_by(neighbours);
    unbroken
        .flat_map(|piece| piece.chunks(together))
        .filter_map(merged)
        .collect()
}

fn title(scene: &Scene<'_>) -> String {
    let latency = scene.latency(scene.run);
    let columns = scene.timeline.columns.iter();
    let slowest = columns.max_by(|a, b| a.max.unwrap_or(0.0).total_cmp(&b.max.unwrap_or(0.0)));
    let quantiles = (latency.quantile(0.05), latency.quantile(0.95));
    match (
        quantiles,
        slowest.and_then(|column| Some((column.start_s, column.max?))),
    ) {
        ((Some(low), Some(high)), Some((second, max))) => format!(
            "{}: nine in ten took {} to {}, the slowest {} at {} s",
            scene.subject(),
            units::format_ns(low),
            units::format_ns(high),
            units::format_ns(max),
            words::count(second)
        ),
        _ => "No response time was measured".into(),
    }
}

fn legend(stretches: &[Stretch], highest: u64) -> Vec<Key> {
    if highest == 0 {
        return Vec::new();
    }
    let last = HEAT.len() - 1;
    let mut keys = vec![Key::new(Mark::Area(HEAT[0]), "1 operation")];
    if highest > 1 {
        let middle = (f64::ln_1p(highest as f64) / 2.0).exp() - 1.0;
        keys.push(Key::new(
            Mark::Area(HEAT[last / 2]),
            format!("about {}", words::count(middle.round() as u64)),
        ));
        keys.push(Key::new(Mark::Area(HEAT[last]), words::count(highest)));
    }
    if stretches.iter().any(|stretch| stretch.failed > 0) {
        keys.push(Key::new(Mark::Area(theme::FAILURE), "some failed (at the upper edge)"));
    }
    keys
}

fn y_axis(stretches: &[Stretch]) -> Axis {
    let cells = || {
        stretches
            .iter()
            .flat_map(|stretch| &stretch.cells)
            .map(|(cell, _)| *cell)
    };
    match (cells().min(), cells().max()) {
        (Some(low), Some(high)) => axis::latency_log(bounds_of(low)[0], bounds_of(high)[1]),
        _ => axis::latency(0.0, 0.0, 0.0),
    }
}

/// Neighbours of one colour are one rectangle.
fn column(canvas: &mut Canvas<'_>, plot: &Plot, stretch: &Stretch, highest: u64) {
    let same =
        |(a, of_a): &(u16, u64), (b, of_b): &(u16, u64)| *b == a + 1 && level(*of_a, highest) == level(*of_b, highest);
    for piece in stretch.cells.chunk_by(same) {
        let [(low, count), .., (high, _)] = piece else {
            if let [(cell, count)] = piece {
                block(canvas, plot, stretch, [*cell, *cell], level(*count, highest));
            }
            continue;
        };
        block(canvas, plot, stretch, [*low, *high], level(*count, highest));
    }
}

fn block(canvas: &mut Canvas<'_>, plot: &Plot, stretch: &Stretch, [low, high]: [u16; 2], level: usize) {
    let upper_left = plot.at(stretch.from_s, bounds_of(high)[1]);
    let lower_right = plot.at(stretch.to_s, bounds_of(low)[0]);
    canvas.rectangle(upper_left, lower_right, HEAT[level]);
}

/// By the logarithm of a count, the highest being the last.
fn level(count: u64, highest: u64) -> usize {
    let last = HEAT.len() - 1;
    if highest <= 1 {
        return last;
    }
    let share = (count as f64).ln() / (highest as f64).ln();
    (share * last as f64).round() as usize
}

/// A mark above the data where operations failed.
fn failures(canvas: &mut Canvas<'_>, plot: &Plot, stretch: &Stretch, format: Format) {
    if stretch.failed > 0 {
        let (left, _) = plot.at(stretch.from_s, 0.0);
        let (right, _) = plot.at(stretch.to_s, 0.0);
        canvas.rectangle(
            (left, plot.top),
            (right, plot.top + format.tick() * 0.4),
            theme::FAILURE,
        );
    }
}
