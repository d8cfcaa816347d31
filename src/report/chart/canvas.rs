//! A drawing surface in the pixels of the finished picture.
//!
//! plotters' SVG backend knows whole coordinates only, so everything is drawn
//! on a grid four times as fine. It knows no dashes either: they are many
//! short lines here. This module knows nothing of what is drawn.

use plotters::{
    backend::{DrawingBackend as _, SVGBackend},
    style::{
        Color as _, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::theme::{self, FAMILY};

/// Steps of the grid per pixel.
pub(super) const GRID: f64 = 4.0;

/// plotters divides font sizes by this before it writes them.
const PLOTTERS_FONT_SCALE: f64 = 1.24;

/// A place in pixels from the upper left corner.
pub(super) type Point = (f64, f64);

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke {
    /// Its colour.
    pub(super) colour: RGBColor,
    /// Its width in pixels.
    pub(super) width: f64,
    /// Its rhythm.
    pub(super) dash: Dash,
}

/// The rhythm of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dash {
    /// Unbroken.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
}

impl Dash {
    /// Lengths drawn and left out, in pixels.
    fn rhythm(self) -> Option<(f64, f64)> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some((13.0, 9.0)),
            Self::Dotted => Some((0.5, 7.5)),
        }
    }
}

impl Stroke {
    /// An unbroken line.
    pub(super) const fn solid(colour: RGBColor, width: f64) -> Self {
        Self {
            colour,
            width,
            dash: Dash::Solid,
        }
    }

    /// The same line in another rhythm.
    pub(super) const fn with(self, dash: Dash) -> Self {
        Self { dash, ..self }
    }
}

/// How text is set; it is centred on its place vertically.
#[derive(Clone, Copy)]
pub(super) struct Text {
    /// Height of the em square in pixels.
    pub(super) size: f64,
    /// Its colour.
    pub(super) colour: RGBColor,
    /// Whether it is bold.
    pub(super) bold: bool,
    /// Which part of it lies at the place.
    pub(super) anchor: HPos,
}

impl Text {
    /// Regular text that starts at its place.
    pub(super) const fn new(size: f64, colour: RGBColor) -> Self {
        Self {
            size,
            colour,
            bold: false,
            anchor: HPos::Left,
        }
    }

    /// The same in bold.
    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same, centred on its place or ending there.
    pub(super) const fn at(self, anchor: HPos) -> Self {
        Self { anchor, ..self }
    }

    fn font(self) -> FontDesc<'static> {
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        FontDesc::new(FontFamily::Name(FAMILY), self.size * GRID * PLOTTERS_FONT_SCALE, style)
    }

    /// Width of a text in pixels.
    pub(super) fn width(self, text: &str) -> f64 {
        theme::register_fonts();
        let guess = || text.chars().count() as f64 * self.size * 0.6;
        self.font()
            .layout_box(text)
            .map_or_else(|_| guess(), |((left, _), (right, _))| f64::from(right - left) / GRID)
    }

    /// The text, cut with an ellipsis where it would be wider than `width` pixels.
    pub(super) fn fit(self, text: &str, width: f64) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let shorter = format!("{}…", kept.iter().collect::<String>().trim_end());
            if self.width(&shorter) <= width {
                return shorter;
            }
        }
        String::new()
    }

    /// The text in at most `most` lines of at most `width` pixels, broken between words but not
    /// between a number and its unit.
    pub(super) fn wrap(self, text: &str, width: f64, most: usize) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            match words.last_mut() {
                Some(number) if number.ends_with(|c: char| c.is_ascii_digit()) => {
                    *number = format!("{number} {word}");
                }
                _ => words.push(word.to_owned()),
            }
        }
        let mut lines: Vec<String> = Vec::new();
        for word in words {
            match lines.last_mut() {
                Some(line) if self.width(&format!("{line} {word}")) <= width => {
                    *line = format!("{line} {word}");
                }
                _ => lines.push(word),
            }
        }
        if lines.len() > most {
            let rest = lines.split_off(most.saturating_sub(1)).join(" ");
            lines.push(rest);
        }
        lines.iter().map(|line| self.fit(line, width)).collect()
    }
}

/// A picture in the making.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// Draws a picture and gives the elements of its SVG, without the root.
pub(super) fn paint(size: (f64, f64), draw: impl FnOnce(&mut Canvas<'_>)) -> String {
    theme::register_fonts();
    let mut svg = String::new();
    let mut canvas = Canvas {
        backend: SVGBackend::with_string(&mut svg, (step(size.0) as u32, step(size.1) as u32)),
    };
    draw(&mut canvas);
    settle(canvas.backend.present());
    drop(canvas);
    let elements = svg.split_once(">\n").map_or("", |(_, rest)| rest);
    elements.trim_end().trim_end_matches("</svg>").to_owned()
}

/// Writing to memory cannot fail, and every font in use is registered.
#[expect(clippy::needless_pass_by_value, reason = "it ends the result")]
fn settle<E>(drawn: Result<(), E>) {
    debug_assert!(drawn.is_ok());
}

fn step(pixels: f64) -> i32 {
    (pixels * GRID).round() as i32
}

fn steps((x, y): Point) -> (i32, i32) {
    (step(x), step(y))
}

impl Canvas<'_> {
    /// A line through points.
    pub(super) fn line(&mut self, points: &[Point], stroke: Stroke) {
        if points.len() < 2 {
            return;
        }
        let style = ShapeStyle {
            color: stroke.colour.to_rgba(),
            filled: false,
            stroke_width: step(stroke.width) as u32,
        };
        match stroke.dash.rhythm() {
            None => settle(self.backend.draw_path(points.iter().copied().map(steps), &style)),
            Some(rhythm) => {
                for dash in dashes(points, rhythm) {
                    settle(self.backend.draw_path(dash.into_iter().map(steps), &style));
                }
            }
        }
    }

    /// A filled polygon.
    pub(super) fn polygon(&mut self, points: &[Point], colour: RGBColor, opacity: f64) {
        let style = colour.mix(opacity).filled();
        settle(self.backend.fill_polygon(points.iter().copied().map(steps), &style));
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&mut self, upper_left: Point, lower_right: Point, colour: RGBColor) {
        settle(
            self.backend
                .draw_rect(steps(upper_left), steps(lower_right), &colour.filled(), true),
        );
    }

    /// A filled circle.
    pub(super) fn dot(&mut self, centre: Point, radius: f64, colour: RGBColor) {
        settle(
            self.backend
                .draw_circle(steps(centre), step(radius) as u32, &colour.filled(), true),
        );
    }

    /// One line of text.
    pub(super) fn text(&mut self, text: &str, at: Point, style: Text) {
        let font = TextStyle::from(style.font())
            .color(&style.colour)
            .pos(Pos::new(style.anchor, VPos::Center));
        settle(self.backend.draw_text(text, &font, steps(at)));
    }
}

/// Cuts a line into dashes of a length, with gaps of a length.
fn dashes(points: &[Point], (on, off): (f64, f64)) -> Vec<Vec<Point>> {
    let mut all = Vec::new();
    let mut current = vec![points[0]];
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let at = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            if drawing {
                current.push(at);
                all.push(std::mem::take(&mut current));
            } else {
                current = vec![at];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - done;
        if drawing {
            current.push(to);
        }
    }
    if drawing && current.len() > 1 {
        all.push(current);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_keep_their_rhythm_around_corners() {
        let dashes = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)], (6.0, 2.0));
        assert_eq!(dashes[0], [(0.0, 0.0), (6.0, 0.0)]);
        assert_eq!(dashes[1], [(8.0, 0.0), (10.0, 0.0), (10.0, 4.0)]);
        assert_eq!(dashes[2], [(10.0, 6.0), (10.0, 10.0)]);
    }

    #[test]
    fn text_is_wrapped_and_cut_to_its_width() {
        let style = Text::new(20.0, theme::INK);
        let lines = style.wrap("one two three four five six seven", 120.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'), "{lines:?}");
        assert!(lines.iter().all(|line| style.width(line) <= 120.0));
        assert!(style.fit(&"x".repeat(500), 100.0).ends_with('…'));
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let svg = paint((10.0, 10.0), |canvas| {
            canvas.text("<script>&\"", (0.0, 0.0), Text::new(5.0, theme::INK));
        });
        assert!(svg.contains("&lt;script&gt;&amp;"), "{svg}");
        assert!(!svg.contains("<svg") && !svg.contains("</svg>"));
    }
}
