//! What surrounds the data of every chart: title, subtitle, legend, axes, footer.
//!
//! The title is a sentence with the finding; nothing here overflows the
//! picture, however long the names are.

use plotters::style::{RGBColor, text_anchor::HPos};

use super::{
    axis::Axis,
    canvas::{Canvas, Dash, Point, Stroke, Text},
    theme::{self, Format},
};
use crate::{comparison::Verdict, report::words};

/// The words around a chart.
pub(super) struct Frame {
    /// A sentence with the finding.
    pub(super) title: String,
    /// What was measured, for how long, beside what.
    pub(super) subtitle: String,
    /// Run and version.
    pub(super) footer: String,
    /// The answer, where there is one.
    pub(super) verdict: Option<Verdict>,
    /// What each kind of line means.
    pub(super) legend: Vec<Key>,
}

/// One entry of a legend.
pub(super) struct Key {
    /// How it looks.
    pub(super) sample: Mark,
    /// What it means.
    pub(super) label: String,
}

/// How a series looks.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// A line.
    Line(Stroke),
    /// A filled area.
    Area(RGBColor),
    /// Separate dots.
    Dot(RGBColor),
    /// The shape of a verdict.
    Verdict(Verdict),
}

impl Key {
    /// An entry for a mark.
    pub(super) fn new(sample: Mark, label: impl Into<String>) -> Self {
        Self {
            sample,
            label: label.into(),
        }
    }
}

/// The rectangle of the data, with its axes.
pub(super) struct Plot {
    /// Left, top, right, bottom in pixels.
    pub(super) left: f64,
    /// Upper edge.
    pub(super) top: f64,
    /// Right edge.
    pub(super) right: f64,
    /// Lower edge.
    pub(super) bottom: f64,
    /// From left to right.
    pub(super) x: Axis,
    /// From bottom to top.
    pub(super) y: Axis,
}

impl Plot {
    /// The place of a pair of values.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        (
            self.left + (self.right - self.left) * self.x.scale.share(x),
            self.bottom - (self.bottom - self.top) * self.y.scale.share(y),
        )
    }
}

impl Frame {
    /// Draws all that surrounds the data and says where the data go.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, format: Format, x: Axis, y: Axis) -> Plot {
        let [plot] = self.panels(canvas, format, &x, [y]);
        plot
    }

    /// The same for several plots below each other, over the same `x`.
    pub(super) fn panels<const N: usize>(
        &self,
        canvas: &mut Canvas<'_>,
        format: Format,
        x: &Axis,
        ys: [Axis; N],
    ) -> [Plot; N] {
        let (below_legend, _) = self.surround(canvas, format);
        let (width, height) = format.size();
        let (margin, tick) = (format.margin(), format.tick());
        let labels = Text::new(tick, theme::MUTED);
        let all = ys.iter().flat_map(|y| &y.ticks);
        let widest = all.map(|tick| labels.width(&tick.label)).fold(0.0, f64::max);
        let (top, bottom) = (below_legend + tick * 2.0, height - margin - tick * 4.4);
        // Between two plots: the labels of the upper one's ticks, the lower one's title.
        let gap = tick * 4.2;
        let panel = (bottom - top - gap * (N - 1) as f64) / N as f64;
        let mut at = 0;
        ys.map(|y| {
            let last = at + 1 == N;
            let top = top + (panel + gap) * at as f64;
            at += 1;
            let title = if last { x.title.clone() } else { String::new() };
            let plot = Plot {
                left: margin + widest + 14.0,
                top,
                right: width - margin - tick,
                bottom: top + panel,
                x: Axis { title, ..x.clone() },
                y,
            };
            axes(canvas, &plot, labels);
            plot
        })
    }

    /// Draws title, legend and footer; gives the upper and the lower edge of what is between.
    pub(super) fn surround(&self, canvas: &mut Canvas<'_>, format: Format) -> (f64, f64) {
        let below_head = self.head(canvas, format);
        let below_legend = self.legend(canvas, format, below_head);
        self.foot(canvas, format);
        let (_, height) = format.size();
        (below_legend, height - format.margin() - format.tick() * 1.4)
    }

    /// Title and subtitle; gives the lower edge.
    fn head(&self, canvas: &mut Canvas<'_>, format: Format) -> f64 {
        let (width, _) = format.size();
        let margin = format.margin();
        let (title, label) = (
            Text::new(format.title(), theme::INK).bold(),
            Text::new(format.label(), theme::MUTED),
        );
        let most = if format == Format::Wide { 2 } else { 3 };
        let mut y = margin + title.size * 0.5;
        for line in title.wrap(&self.title, width - 2.0 * margin, most) {
            canvas.text(&line, (margin, y), title);
            y += title.size * 1.25;
        }
        for line in label.wrap(&self.subtitle, width - 2.0 * margin, 2) {
            canvas.text(&line, (margin, y), label);
            y += label.size * 1.4;
        }
        y
    }

    /// The legend, in as many rows as it needs; gives the lower edge.
    fn legend(&self, canvas: &mut Canvas<'_>, format: Format, top: f64) -> f64 {
        const SAMPLE: f64 = 46.0;
        let (width, _) = format.size();
        let margin = format.margin();
        let style = Text::new(format.label(), theme::INK);
        let (mut x, mut y) = (margin, top + style.size * 0.6);
        for key in &self.legend {
            let label = style.fit(&key.label, width - 2.0 * margin - SAMPLE - 10.0);
            let needed = SAMPLE + 10.0 + style.width(&label);
            if x > margin && x + needed > width - margin {
                (x, y) = (margin, y + style.size * 1.5);
            }
            sample(canvas, key.sample, (x, y), SAMPLE);
            canvas.text(&label, (x + SAMPLE + 10.0, y), style);
            x += needed + 34.0;
        }
        y + style.size * 0.6
    }

    /// Run, version and verdict at the lower edge.
    fn foot(&self, canvas: &mut Canvas<'_>, format: Format) {
        let (width, height) = format.size();
        let (margin, style) = (format.margin(), Text::new(format.tick(), theme::MUTED));
        let y = height - margin - style.size * 0.4;
        let word = self.verdict.map_or("", |verdict| words::word(Some(verdict)));
        let word_width = style.bold().width(word);
        canvas.text(
            word,
            (width - margin, y),
            Text::new(style.size, theme::INK).bold().at(HPos::Right),
        );
        if let Some(verdict) = self.verdict {
            let place = (width - margin - word_width - style.size * 0.8, y);
            verdict_shape(canvas, verdict, place, style.size * 0.42);
        }
        let room = width - 2.0 * margin - word_width - style.size * 2.4;
        canvas.text(&style.fit(&self.footer, room), (margin, y), style);
    }
}

fn sample(canvas: &mut Canvas<'_>, mark: Mark, (x, y): Point, width: f64) {
    match mark {
        Mark::Line(stroke) => canvas.line(&[(x, y), (x + width, y)], stroke),
        Mark::Area(colour) => canvas.rectangle((x, y - 9.0), (x + width, y + 9.0), colour),
        Mark::Dot(colour) => canvas.dot((x + width / 2.0, y), 5.0, colour),
        Mark::Verdict(verdict) => verdict_shape(canvas, verdict, (x + width / 2.0, y), 9.0),
    }
}

/// ● ▲ ■ ◆, drawn, since the font has no such letters.
pub(super) fn verdict_shape(canvas: &mut Canvas<'_>, verdict: Verdict, (x, y): Point, radius: f64) {
    let colour = theme::verdict(verdict);
    let r = radius;
    match verdict {
        Verdict::Pass => canvas.dot((x, y), r, colour),
        Verdict::Warning => canvas.polygon(
            &[(x, y - r), (x + r * 1.1, y + r * 0.85), (x - r * 1.1, y + r * 0.85)],
            colour,
            1.0,
        ),
        Verdict::Critical | Verdict::Invalid => {
            canvas.rectangle((x - r, y - r), (x + r, y + r), colour);
        }
        Verdict::Inconclusive => {
            canvas.polygon(
                &[(x, y - r * 1.2), (x + r * 1.2, y), (x, y + r * 1.2), (x - r * 1.2, y)],
                colour,
                1.0,
            );
        }
    }
}

/// Grid, ticks and titles of both axes.
fn axes(canvas: &mut Canvas<'_>, plot: &Plot, style: Text) {
    let Plot {
        left,
        top,
        right,
        bottom,
        ..
    } = *plot;
    let mut lowest_free = f64::INFINITY;
    for tick in &plot.y.ticks {
        let (_, y) = plot.at(0.0, tick.value);
        canvas.line(&[(left, y), (right, y)], Stroke::solid(theme::GRID, 1.0));
        if y + style.size * 0.6 < lowest_free {
            canvas.text(&tick.label, (left - 12.0, y), style.at(HPos::Right));
            lowest_free = y - style.size * 0.6;
        }
    }
    let mut first_free = f64::NEG_INFINITY;
    for tick in &plot.x.ticks {
        let (x, _) = plot.at(tick.value, 0.0);
        let half = style.width(&tick.label) / 2.0;
        canvas.line(&[(x, bottom), (x, bottom + 7.0)], Stroke::solid(theme::AXIS, 1.5));
        if x - half > first_free {
            canvas.line(&[(x, top), (x, bottom)], Stroke::solid(theme::GRID, 1.0));
            canvas.text(&tick.label, (x, bottom + style.size * 1.1), style.at(HPos::Center));
            first_free = x + half + style.size * 0.35;
        }
    }
    canvas.line(&[(left, bottom), (right, bottom)], Stroke::solid(theme::AXIS, 1.5));
    canvas.text(&plot.y.title, (left, top - style.size * 0.9), style);
    let title = style.fit(&plot.x.title, right - left);
    canvas.text(
        &title,
        ((left + right) / 2.0, bottom + style.size * 2.45),
        style.at(HPos::Center),
    );
}

/// A line that may have gaps; a point that stands alone is drawn as a dot.
pub(super) fn broken_line(canvas: &mut Canvas<'_>, points: impl IntoIterator<Item = Option<Point>>, stroke: Stroke) {
    let mut piece = Vec::new();
    for point in points.into_iter().chain([None]) {
        match point {
            Some(point) => piece.push(point),
            None => {
                if let [alone] = piece[..] {
                    canvas.dot(alone, stroke.width * 1.2, stroke.colour);
                }
                canvas.line(&piece, stroke);
                piece.clear();
            }
        }
    }
}

/// Marks the time after the measured window, when nothing new is started.
pub(super) fn drain(canvas: &mut Canvas<'_>, plot: &Plot, from_s: f64, to_s: f64, size: f64) {
    if to_s - from_s < 0.5 {
        return;
    }
    let (left, _) = plot.at(from_s, 0.0);
    let (right, _) = plot.at(to_s, 0.0);
    canvas.rectangle((left, plot.top), (right, plot.bottom), theme::SHADE);
    canvas.line(
        &[(left, plot.top), (left, plot.bottom)],
        Stroke::solid(theme::AXIS, 1.5).with(Dash::Dashed),
    );
    canvas.text(
        "drain",
        (right, plot.top - size * 0.9),
        Text::new(size, theme::MUTED).at(HPos::Right),
    );
}

/// Says in the place of the data that there are none.
pub(super) fn nothing(canvas: &mut Canvas<'_>, plot: &Plot, format: Format) {
    let style = Text::new(format.label(), theme::MUTED).at(HPos::Center);
    let middle = (
        (plot.left + plot.right) / 2.0,
        (plot.top + plot.bottom) / 2.0 - style.size,
    );
    canvas.text("no operation was measured", middle, style);
}
