//! `11-history`: one panel per metric, a point per run, with what was accepted
//! and where the level changed for good.

use plotters::style::text_anchor::HPos;

use super::{
    Picture, axis,
    axis::{Axis, Scale, Tick},
    canvas::{Canvas, Dash, Stroke, Text, paint},
    frame::{self, Frame, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    comparison::history::{History, Point, Trend},
    report::{
        history::{commit, headline, title},
        words::{NAME, SENTENCE, printable},
    },
    units::{Unit, format_change},
};

/// More metrics are not drawn: their panels would be too small.
const MOST_PANELS: usize = 9;

/// More runs are not drawn, but the newest: they would touch.
const MOST_RUNS: usize = 200;

const VALUE: Stroke = Stroke::solid(theme::CANDIDATE, 1.5);
const INTERVAL: Stroke = Stroke::solid(theme::LIGHT, 2.0);
const ACCEPTED: Stroke = Stroke::solid(theme::BASELINE, 2.0).with(Dash::Dashed);
const LEVEL: Stroke = Stroke::solid(theme::FAILURE, 3.0);

/// Draws the chart.
pub(in crate::report) fn draw(history: &History, format: Format) -> Picture {
    let title = finding(history);
    let frame = Frame {
        title: title.clone(),
        subtitle: subtitle(history),
        footer: footer(history),
        verdict: history.entries.last().and_then(|entry| entry.verdict),
        legend: legend(history),
    };
    let shown = &history.trends[..history.trends.len().min(MOST_PANELS)];
    let elements = paint(format.size(), |canvas| {
        let (top, bottom) = frame.surround(canvas, format);
        for (place, trend) in panels(shown.len(), format, top, bottom).into_iter().zip(shown) {
            panel(canvas, history, trend, place, format);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// The newest change for good, of all that were found.
fn finding(history: &History) -> String {
    let shifts = history
        .trends
        .iter()
        .flat_map(|trend| trend.shifts.iter().map(move |shift| (trend, shift)));
    let newest = shifts.max_by_key(|(_, shift)| shift.at);
    let name = printable(&history.scenario, NAME);
    let Some((trend, shift)) = newest else {
        return match history.entries.len() {
            0 => format!("{name}: no run is stored"),
            _ => format!("{name}: no change for good"),
        };
    };
    let entry = &history.entries[shift.at];
    let format = |value| trend.metric.unit.format(value);
    let change = trend.worsening(shift.before, shift.after).map(format_change);
    format!(
        "{name}: {} changed for good at {}: {} → {}{}",
        self::title(trend),
        commit(entry),
        format(shift.before),
        format(shift.after),
        change.map(|change| format!(" ({change})")).unwrap_or_default()
    )
}

fn subtitle(history: &History) -> String {
    let mut parts = vec![headline(history)];
    if history.trends.len() > MOST_PANELS {
        parts.push(format!("the first {MOST_PANELS} of {} metrics", history.trends.len()));
    }
    if history.entries.len() > MOST_RUNS {
        parts.push(format!("the newest {MOST_RUNS} are drawn"));
    }
    parts.push("+ is worse".into());
    printable(&parts.join(" · "), SENTENCE)
}

fn footer(history: &History) -> String {
    let newest = history.entries.last();
    let newest = newest.map(|entry| format!("newest run {} · ", printable(&entry.run, NAME)));
    format!("{}loadgate {}", newest.unwrap_or_default(), env!("CARGO_PKG_VERSION"))
}

/// Only what there is.
fn legend(history: &History) -> Vec<Key> {
    let any = |there: bool, mark: Mark, label: &str| there.then(|| Key::new(mark, label));
    let points = || history.trends.iter().flat_map(|trend| &trend.points).flatten();
    let entries = &history.entries;
    [
        any(
            entries.iter().any(|entry| entry.kept),
            Mark::Dot(theme::CANDIDATE),
            "run of the baseline",
        ),
        any(
            entries.iter().any(|entry| !entry.kept),
            Mark::Dot(theme::BASELINE),
            "other run",
        ),
        any(
            points().any(|point| point.interval.is_some()),
            Mark::Line(INTERVAL),
            "95 % interval within the run",
        ),
        any(
            entries.iter().any(|entry| entry.accepted.is_some()),
            Mark::Line(ACCEPTED),
            "accepted change",
        ),
        any(
            history.trends.iter().any(|trend| !trend.shifts.is_empty()),
            Mark::Line(LEVEL),
            "detected levels",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Left, top, right, bottom of every panel: one column up to two panels, then two, then three.
fn panels(count: usize, format: Format, top: f64, bottom: f64) -> Vec<[f64; 4]> {
    let columns = match count {
        _ if format == Format::Narrow => 1,
        0..=2 => 1,
        3..=4 => 2,
        _ => 3,
    };
    let rows = count.div_ceil(columns).max(1);
    let (width, _) = format.size();
    let margin = format.margin();
    let (across, down) = ((width - 2.0 * margin) / columns as f64, (bottom - top) / rows as f64);
    let place = |at: usize| {
        let (left, upper) = (
            margin + across * (at % columns) as f64,
            top + down * (at / columns) as f64,
        );
        [left, upper, left + across, upper + down]
    };
    (0..count).map(place).collect()
}

fn panel(canvas: &mut Canvas<'_>, history: &History, trend: &Trend, place: [f64; 4], format: Format) {
    let [left, top, right, bottom] = place;
    let style = Text::new(format.tick() * 0.86, theme::MUTED);
    let first = history.entries.len().saturating_sub(MOST_RUNS);
    let y = y_axis(trend, first);
    let widest = y.ticks.iter().map(|tick| style.width(&tick.label)).fold(0.0, f64::max);
    let plot = Plot {
        left: left + widest + 14.0,
        top: top + style.size * 3.4,
        right: right - style.size * 2.0,
        bottom: bottom - style.size * 2.6,
        x: x_axis(history, first),
        y,
    };
    let name = Text::new(format.label(), theme::INK).bold();
    canvas.text(
        &name.fit(&title(trend), right - left - 30.0),
        (left, top + style.size * 1.2),
        name,
    );
    grid(canvas, &plot, style);
    changes(canvas, history, trend, &plot, style, first);
    let drawn = trend.points.iter().enumerate().skip(first);
    let at = |(run, point): (usize, &Option<Point>)| (*point).map(|point| plot.at(run as f64, point.value));
    frame::broken_line(canvas, drawn.clone().map(at), VALUE);
    for (run, point) in drawn {
        let Some(point) = point else { continue };
        if let Some([lower, upper]) = point.interval {
            canvas.line(&[plot.at(run as f64, lower), plot.at(run as f64, upper)], INTERVAL);
        }
        let colour = if history.entries[run].kept {
            theme::CANDIDATE
        } else {
            theme::BASELINE
        };
        let radius = if history.entries.len() - first > 60 { 3.0 } else { 5.0 };
        canvas.dot(plot.at(run as f64, point.value), radius, colour);
    }
}

/// The lines behind the data, with as many labels as there is room for.
fn grid(canvas: &mut Canvas<'_>, plot: &Plot, style: Text) {
    let mut above = f64::INFINITY;
    for tick in &plot.y.ticks {
        let (_, y) = plot.at(0.0, tick.value);
        canvas.line(&[(plot.left, y), (plot.right, y)], Stroke::solid(theme::GRID, 1.0));
        if y < above {
            canvas.text(&tick.label, (plot.left - 10.0, y), style.at(HPos::Right));
            above = y - style.size * 1.3;
        }
    }
    canvas.line(
        &[(plot.left, plot.bottom), (plot.right, plot.bottom)],
        Stroke::solid(theme::AXIS, 1.5),
    );
    let mut free = f64::NEG_INFINITY;
    for tick in &plot.x.ticks {
        let (x, _) = plot.at(tick.value, 0.0);
        let half = style.width(&tick.label) / 2.0;
        if x - half > free {
            canvas.line(
                &[(x, plot.bottom), (x, plot.bottom + 6.0)],
                Stroke::solid(theme::AXIS, 1.5),
            );
            canvas.text(&tick.label, (x, plot.bottom + style.size * 1.2), style.at(HPos::Center));
            free = x + half + style.size;
        }
    }
}

/// Accepted changes as lines across, detected ones as the levels before and after.
fn changes(canvas: &mut Canvas<'_>, history: &History, trend: &Trend, plot: &Plot, style: Text, first: usize) {
    for (run, entry) in history.entries.iter().enumerate().skip(first) {
        if entry.accepted.is_some() {
            let (x, _) = plot.at(run as f64, 0.0);
            canvas.line(&[(x, plot.top), (x, plot.bottom)], ACCEPTED);
        }
    }
    let last = history.entries.len().saturating_sub(1);
    for (number, shift) in trend.shifts.iter().enumerate() {
        let begun = number.checked_sub(1).map_or(0, |before| trend.shifts[before].at);
        let until = trend.shifts.get(number + 1).map_or(last, |next| next.at - 1);
        for (from, to, level) in [(begun, shift.at - 1, shift.before), (shift.at, until, shift.after)] {
            if to >= first {
                let from = from.max(first) as f64;
                canvas.line(&[plot.at(from, level), plot.at(to as f64, level)], LEVEL);
            }
        }
        if shift.at >= first {
            let change = trend
                .worsening(shift.before, shift.after)
                .map_or_else(|| "changed".into(), format_change);
            let label = format!("{change} at {}", commit(&history.entries[shift.at]));
            let (x, _) = plot.at(shift.at as f64, 0.0);
            let half = style.width(&label) / 2.0;
            let middle = x.clamp(plot.left + half, (plot.right - half).max(plot.left + half));
            let ink = Text::new(style.size, theme::INK);
            canvas.text(&label, (middle, plot.top - style.size * 0.7), ink.at(HPos::Center));
        }
    }
}

/// The runs in their order, by their commits; half a run of room at both ends.
fn x_axis(history: &History, first: usize) -> Axis {
    let entries = history.entries.iter().enumerate().skip(first);
    let label = |entry: &crate::comparison::history::Entry| match &entry.commit {
        Some(_) => commit(entry).chars().take(7).collect(),
        None => entry.started.strftime("%m-%d").to_string(),
    };
    Axis {
        scale: Scale::Linear {
            low: first as f64 - 0.5,
            high: history.entries.len() as f64 - 0.5,
        },
        ticks: entries
            .map(|(run, entry)| Tick {
                value: run as f64,
                label: label(entry),
            })
            .collect(),
        title: String::new(),
    }
}

/// Wide enough for all values, and for a twentieth of them: else noise would look like a mountain.
/// An interval that is far wider than the values leaves the panel.
fn y_axis(trend: &Trend, first: usize) -> Axis {
    let values = || trend.points.iter().skip(first).flatten().map(|point| point.value);
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if !low.is_finite() || high <= 0.0 {
        let most = if trend.metric.unit == Unit::Share { 0.01 } else { 1.0 };
        return axis::between(0.0, most, trend.metric.unit);
    }
    let room = (0.3 * (high - low)).max(0.05 * high.abs());
    let floor = if low >= 0.0 { (low - room).max(0.0) } else { low - room };
    axis::between(floor, high + room, trend.metric.unit)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        comparison::{
            Verdict,
            history::{Entry, Shift},
        },
        metric,
    };

    /// So many runs, a day apart, of which one was accepted and the level rose at two thirds.
    fn example(runs: usize, metrics: &[&str]) -> History {
        let rise = 2 * runs / 3;
        let entries = (0..runs).map(|at| Entry {
            run: format!("01RUN{at:021}"),
            started: "2026-01-02T03:04:05Z".parse::<jiff::Timestamp>().unwrap()
                + SignedDuration::from_hours(24 * at as i64),
            commit: Some(format!("{:07x}aa", 0x1a2_b3c4 + 0x51f3 * at)),
            branch: Some("main".into()),
            verdict: Some(Verdict::Pass),
            accepted: (at == runs / 3).then(|| crate::baseline::Acceptance {
                at: "2026-01-12T03:04:05Z".parse().unwrap(),
                reason: Some("new index".into()),
            }),
            kept: at % 7 != 3,
        });
        let trends = metrics.iter().enumerate().map(|(number, name)| {
            let metric = metric::find(name).unwrap();
            let shifted = number % 2 == 0 && runs > 12;
            let value = |at: usize| {
                let noise = ((at * 37 + number * 11) % 17) as f64 / 17.0 - 0.5;
                let level = if shifted && at >= rise { 1.22 } else { 1.0 };
                20e6 * (1.0 + number as f64) * level * (1.0 + 0.05 * noise)
            };
            let point = |at: usize| {
                let value = value(at);
                (at % 11 != 5).then_some(Point {
                    value,
                    interval: at.is_multiple_of(2).then_some([value * 0.98, value * 1.02]),
                })
            };
            Trend {
                step: (number > 0).then(|| "list orders".to_owned()),
                metric,
                points: (0..runs).map(point).collect(),
                shifts: shifted
                    .then_some(Shift {
                        at: rise,
                        before: value(0),
                        after: value(0) * 1.22,
                    })
                    .into_iter()
                    .collect(),
            }
        });
        History {
            scenario: "shop".into(),
            key: None,
            entries: entries.collect(),
            trends: trends.collect(),
            notes: Vec::new(),
        }
    }

    fn look(name: &str, history: &History) -> String {
        let picture = draw(history, Format::Wide);
        let png = picture.png().unwrap();
        if let Some(directory) = std::env::var_os("LOADGATE_LOOK") {
            let file = std::path::Path::new(&directory).join(format!("11-history-{name}.png"));
            crate::run::write_atomically(&file, &png).unwrap();
        }
        assert!(draw(history, Format::Narrow).png().is_ok());
        picture.elements
    }

    #[test]
    fn the_title_is_the_newest_change_and_every_metric_has_its_panel() {
        let history = example(30, &["p50", "p95", "mean", "p99"]);
        let svg = look("four", &history);
        for text in [
            "all steps p50",
            "list orders p99",
            "accepted change",
            "run of the baseline",
            "+22 % at",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        let title = draw(&history, Format::Wide).title;
        assert!(
            title.starts_with("shop: list orders mean changed for good at "),
            "{title}"
        );
        assert!(look("one", &example(20, &["p95"])).contains("all steps p95"));
    }

    #[test]
    fn few_many_and_no_runs_are_pictures() {
        assert!(look("nine", &example(60, &["p50"; 9])).len() < 400_000);
        assert!(look("long", &example(1_000, &["p50", "p95"])).len() < 400_000);
        assert!(look("single", &example(1, &["p50"])).contains("no change for good"));
        assert!(look("none", &example(0, &[])).contains("no run is stored"));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut history = example(20, &["p50"]);
        history.scenario = "</svg><script>".repeat(50);
        history.trends[0].step = Some("<script>\u{202e}\0".repeat(99));
        history.entries[3].commit = Some("<svg".into());
        let svg = look("hostile", &history);
        assert!(!svg.contains("<script") && !svg.contains("<svg") && !svg.contains('\u{202e}'));
    }
}
