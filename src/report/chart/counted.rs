//! `13-counted`: what an operation costs in things that are counted, before and after.

use super::{
    Picture, Scene, axis,
    canvas::{Canvas, Stroke, Text, paint},
    frame::{Key, Mark},
    lines::{Line, Lines},
    theme::{self, Format},
};
use crate::{
    metric::{METRICS, Measure},
    report::{
        counted::{plan_differences, steps_by_name},
        words::{self, NAME, printable},
    },
    units,
};

/// More lines than this are left to the table.
const MOST_ROWS: usize = 16;

/// What is counted as nothing stands so far below the smallest count that is none.
const BELOW: f64 = 5.0;

/// A counter of a step that differs: the middle of what both takings found.
struct Row {
    step: String,
    counter: &'static str,
    before: f64,
    now: f64,
}

impl Row {
    /// How far apart they are, whichever is larger.
    fn factor(&self) -> f64 {
        let (low, high) = (self.before.min(self.now), self.before.max(self.now));
        high / low
    }

    fn figures(&self) -> String {
        let [before, now] = [self.before, self.now].map(units::format_count);
        format!("{before} → {now}")
    }
}

/// Whether anything was counted that differs.
pub(super) fn any(scene: &Scene<'_>) -> bool {
    !rows(scene).is_empty()
}

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let all = rows(scene);
    let shown = &all[..all.len().min(MOST_ROWS)];
    let title = title(&all);
    let mut what = vec![format!(
        "counted per operation by one client, beside {}, log scale",
        scene.reference()
    )];
    if all.len() > shown.len() {
        what.push(format!("the largest {} of {}", shown.len(), all.len()));
    }
    let legend = vec![
        Key::new(Mark::Dot(theme::BASELINE), scene.reference()),
        Key::new(Mark::Dot(theme::CANDIDATE), scene.candidate()),
    ];
    let frame = scene.frame(title.clone(), &what, legend);
    let counts = || {
        let counts = shown.iter().flat_map(|row| [row.before, row.now]);
        counts.filter(|count| *count > 0.0)
    };
    let highest = counts().fold(f64::MIN_POSITIVE, f64::max);
    let smallest = counts().fold(highest, f64::min);
    let mut lowest = smallest;
    let nothing = shown.iter().any(|row| row.before == 0.0 || row.now == 0.0);
    if nothing {
        lowest /= BELOW;
    }
    let elements = paint(format.size(), |canvas| {
        let room = frame.surround(canvas, format);
        let texts = shown
            .iter()
            .map(|row| [format!("{} · {}", row.step, row.counter), row.figures()]);
        let mut axis = axis::number_log(lowest, highest);
        if nothing {
            axis.begin_at_nothing(smallest);
        }
        let lines = Lines::new(format, room, axis, texts.collect());
        lines.grid(canvas);
        for (line, row) in lines.draw(canvas).into_iter().zip(shown) {
            dumbbell(canvas, &lines, line, row);
        }
        plans(canvas, scene, format, (lines.bottom + format.tick() * 2.5, room.1));
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// From what was to what is.
fn dumbbell(canvas: &mut Canvas<'_>, lines: &Lines, line: Line, row: &Row) {
    let [before, now] = [row.before, row.now].map(|count| (lines.x(count), line.y));
    let radius = (lines.step() * 0.2).min(11.0);
    canvas.line(&[before, now], Stroke::solid(theme::AXIS, 3.0));
    canvas.dot(before, radius, theme::BASELINE);
    canvas.dot(now, radius, theme::CANDIDATE);
}

/// In what room is left: how the plans of statements changed.
fn plans(canvas: &mut Canvas<'_>, scene: &Scene<'_>, format: Format, (top, bottom): (f64, f64)) {
    let style = Text::new(format.label(), theme::INK);
    let (margin, (width, _)) = (format.margin(), format.size());
    let mut y = top + style.size;
    for difference in scene
        .baseline
        .iter()
        .flat_map(|baseline| plan_differences(baseline, scene.run))
    {
        if y + style.size > bottom {
            return;
        }
        canvas.text(&style.fit(&difference, width - 2.0 * margin), (margin, y), style);
        y += style.size * 1.5;
    }
}

/// What differs, the farthest apart first.
fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let Some(baseline) = scene.baseline else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    for name in steps_by_name(scene.run) {
        for metric in METRICS {
            let Measure::Counter(counter) = metric.measure else {
                continue;
            };
            let [Some(before), Some(now)] = [baseline, scene.run].map(|run| run.count(Some(name), counter)) else {
                continue;
            };
            // Where the takings of one overlap those of the other, nobody knows of a difference.
            if before[0] > now[1] || now[0] > before[1] {
                let [before, now] = [before, now].map(|[low, high]| f64::midpoint(low, high));
                rows.push(Row {
                    step: printable(name, NAME),
                    counter: metric.title,
                    before,
                    now,
                });
            }
        }
    }
    rows.sort_by(|a, b| b.factor().total_cmp(&a.factor()));
    rows
}

fn title(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return "No count differs".into();
    };
    let more = match rows.len() - 1 {
        0 => String::new(),
        more => format!(
            ", and {}",
            words::counted(more as u64, "other count differs", "other counts differ")
        ),
    };
    format!("{}: {} {}{more}", first.step, first.counter, first.figures())
}
