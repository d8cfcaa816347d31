//! `01-gate`: every change that a limit is about as one line (a forest plot).
//!
//! To the right is worse, whatever the metric. Each line has its own zones,
//! from its warning limit and from its critical limit on; the shape is the
//! verdict, as everywhere.

use plotters::style::text_anchor::HPos;

use super::{
    Picture, Scene, axis,
    canvas::{Canvas, Point, Stroke, Text, paint},
    finding_title,
    frame::{Key, Mark, verdict_shape},
    is_finding,
    lines::{Line, Lines},
    theme::{self, Format},
};
use crate::{
    comparison::{Judgement, Verdict},
    report::words::{self, SENTENCE, printable},
    threshold::Limit,
};

/// More lines than this are left to the table.
const MOST_ROWS: usize = 20;

/// The axis reaches so far beyond the largest limit at most: what is far worse is as bad as what is beyond it.
const BEYOND_LIMITS: f64 = 5.0;

/// The axis reaches to this change at least, either way.
const LEAST_REACH: f64 = 0.05;

/// Half the size of the arrow that points beyond the axis, in pixels.
const ARROW: f64 = 9.0;

/// A change with its interval and limits, as shares; above zero is worse.
struct Row<'a> {
    judgement: &'a Judgement,
    change: f64,
    interval: Option<[f64; 2]>,
    warning: Option<f64>,
    critical: Option<f64>,
}

/// Whether there is any change to draw.
pub(super) fn has_rows(scene: &Scene<'_>) -> bool {
    rows(scene).next().is_some()
}

/// Draws the chart.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    let all: Vec<Row<'_>> = rows(scene).collect();
    let shown = &all[..all.len().min(MOST_ROWS)];
    let title = title(scene, &all);
    let mut what = vec![format!("changes beside {}", scene.reference())];
    if all.len() > shown.len() {
        what.push(format!("the worst {} of {}", shown.len(), all.len()));
    }
    let frame = scene.frame(title.clone(), &what, legend(shown));
    let elements = paint(format.size(), |canvas| {
        let room = frame.surround(canvas, format);
        let texts = shown.iter().map(|row| [name(row), figures(row)]).collect();
        let lines = Lines::new(format, room, axis::change(reach(shown)), texts);
        lines.grid(canvas);
        better_and_worse(canvas, &lines, Text::new(format.tick(), theme::MUTED));
        for (line, row) in lines.draw(canvas).into_iter().zip(shown) {
            Change { lines: &lines, row }.draw(canvas, line);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// Those with a change as a share, in the order of the comparison: worst first.
fn rows<'s>(scene: &'s Scene<'_>) -> impl Iterator<Item = Row<'s>> {
    let judgements = scene.comparison.judgements.iter();
    judgements.filter_map(|judgement| {
        let relative = !judgement.in_points() && !judgement.in_counts();
        let change = judgement.change.filter(|change| relative && change.is_finite())?;
        let limit = |limit: Option<Limit>| match limit {
            Some(Limit::Relative { change, .. }) => Some(change),
            _ => None,
        };
        let row = Row {
            judgement,
            change,
            interval: judgement.interval,
            warning: limit(judgement.warning),
            critical: limit(judgement.critical),
        };
        (row.warning.is_some() || row.critical.is_some()).then_some(row)
    })
}

fn title(scene: &Scene<'_>, rows: &[Row<'_>]) -> String {
    let verdicts = || rows.iter().filter_map(|row| row.judgement.verdict);
    let broken = |verdict: &Verdict| matches!(verdict, Verdict::Warning | Verdict::Critical | Verdict::Invalid);
    let all = words::counted(rows.len() as u64, "change", "changes");
    let worst = rows
        .iter()
        .find(|row| row.judgement.verdict.as_ref().is_some_and(broken));
    let open = verdicts().filter(|verdict| *verdict == Verdict::Inconclusive).count();
    match (worst, verdicts().filter(broken).count(), open) {
        (Some(row), 1, _) => finding(row.judgement),
        (Some(row), several, _) => {
            format!(
                "{}; {several} of {} limits are broken",
                finding(row.judgement),
                rows.len()
            )
        }
        (None, _, 0) => format!("{all} beside {}, within limits", scene.reference()),
        (None, _, open) => format!(
            "{open} of {all} beside {} cannot be told from noise yet",
            scene.reference()
        ),
    }
}

fn finding(judgement: &Judgement) -> String {
    let of_latency = is_finding(judgement).then(|| finding_title(judgement)).flatten();
    of_latency.unwrap_or_else(|| printable(&judgement.reason, SENTENCE))
}

fn legend(rows: &[Row<'_>]) -> Vec<Key> {
    let mut keys = Vec::new();
    let all = [
        Verdict::Critical,
        Verdict::Invalid,
        Verdict::Warning,
        Verdict::Inconclusive,
        Verdict::Pass,
    ];
    for verdict in all {
        if rows.iter().any(|row| row.judgement.verdict == Some(verdict)) {
            keys.push(Key::new(Mark::Verdict(verdict), words::word(Some(verdict))));
        }
    }
    if rows.iter().any(|row| row.interval.is_some()) {
        keys.push(Key::new(Mark::Line(Stroke::solid(theme::INK, 3.0)), "95 % interval"));
    }
    if rows.iter().any(|row| row.warning.is_some()) {
        keys.push(Key::new(Mark::Area(theme::WARNING_ZONE), "beyond the warning limit"));
    }
    if rows.iter().any(|row| row.critical.is_some()) {
        keys.push(Key::new(Mark::Area(theme::CRITICAL_ZONE), "beyond the critical limit"));
    }
    keys
}

/// How far the axis reaches to either side.
fn reach(rows: &[Row<'_>]) -> f64 {
    let limits = || rows.iter().flat_map(|row| [row.warning, row.critical]).flatten();
    let limit = limits().filter(|limit| limit.is_finite()).fold(0.0, f64::max);
    let changes = rows.iter().flat_map(|row| {
        let [low, high] = row.interval.unwrap_or([row.change; 2]);
        [low.abs(), high.abs(), row.change.abs()]
    });
    let farthest = changes.filter(|change| change.is_finite()).fold(0.0, f64::max);
    let most = BEYOND_LIMITS * if limit > 0.0 { limit } else { 1.0 };
    farthest.min(most).max(1.3 * limit).max(LEAST_REACH)
}

/// Which way is which.
fn better_and_worse(canvas: &mut Canvas<'_>, lines: &Lines, style: Text) {
    let (zero, below) = (lines.x(0.0), lines.bottom + style.size * 2.45);
    canvas.text("← better", (zero - style.size, below), style.at(HPos::Right));
    canvas.text("worse →", (zero + style.size, below), style);
}

/// Draws one line: its zones, its interval, and the shape of its verdict.
struct Change<'a> {
    lines: &'a Lines,
    row: &'a Row<'a>,
}

impl Change<'_> {
    fn draw(&self, canvas: &mut Canvas<'_>, line: Line) {
        let (Self { lines, row }, y) = (self, line.y);
        self.zones(canvas, (y - line.half, y + line.half));
        let zero = lines.x(0.0);
        canvas.line(
            &[(zero, line.top), (zero, line.bottom)],
            Stroke::solid(theme::AXIS, 2.0),
        );
        if let Some([low, high]) = row.interval {
            canvas.line(&[(lines.x(low), y), (lines.x(high), y)], Stroke::solid(theme::INK, 3.0));
        }
        self.outside(canvas, y);
        let radius = (lines.step() * 0.22).min(11.0);
        // What lies beyond the axis stands before the arrow that points to it.
        let inset = radius + 2.0 * ARROW;
        let x = match lines.x(row.change) {
            x if x >= lines.right => lines.right - inset,
            x if x <= lines.left => lines.left + inset,
            x => x,
        };
        match row.judgement.verdict {
            Some(verdict) => verdict_shape(canvas, verdict, (x, y), radius),
            None => canvas.dot((x, y), radius, theme::MUTED),
        }
    }

    /// From each limit on.
    fn zones(&self, canvas: &mut Canvas<'_>, (top, bottom): (f64, f64)) {
        let Self { lines, row } = self;
        let zones = [
            (row.warning, row.critical, theme::WARNING_ZONE),
            (row.critical, None, theme::CRITICAL_ZONE),
        ];
        for (from, to, colour) in zones {
            let Some(from) = from.map(|from| lines.x(from)) else {
                continue;
            };
            let to = to.map_or(lines.right, |to| lines.x(to));
            if to > from {
                canvas.rectangle((from, top), (to, bottom), colour);
            }
        }
    }

    /// What lies beyond the axis is pointed to.
    fn outside(&self, canvas: &mut Canvas<'_>, y: f64) {
        let Self { lines, row } = self;
        let reach = lines.axis.scale.high();
        let [low, high] = row.interval.unwrap_or([row.change; 2]);
        let mut arrow = |tip: f64, back: f64| {
            let wings: [Point; 3] = [(tip - back, y - ARROW * 0.8), (tip, y), (tip - back, y + ARROW * 0.8)];
            canvas.line(&wings, Stroke::solid(theme::INK, 3.0));
        };
        if high > reach {
            arrow(lines.right, ARROW);
        }
        if low < -reach {
            arrow(lines.left, -ARROW);
        }
    }
}

fn name(row: &Row<'_>) -> String {
    format!("{} · {}", words::judged(row.judgement), row.judgement.metric.title)
}

fn figures(row: &Row<'_>) -> String {
    words::change(row.judgement)
}
