//! Lines below each other over one axis, each with a name to its left and figures to its right.

use plotters::style::text_anchor::HPos;

use super::{
    axis::Axis,
    canvas::{Canvas, Stroke, Text},
    theme::{self, Format},
};

/// Where the lines go, and what is written beside them.
pub(super) struct Lines {
    /// From left to right.
    pub(super) axis: Axis,
    /// Left end of the axis, in pixels.
    pub(super) left: f64,
    /// Right end.
    pub(super) right: f64,
    /// Lower edge of the last line.
    pub(super) bottom: f64,
    top: f64,
    format: Format,
    /// Name and figures of each.
    texts: Vec<[String; 2]>,
    /// Room for both beside the lines; in narrow pictures they stand above.
    sides: Option<[f64; 2]>,
}

/// Where one line goes.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// Its upper edge.
    pub(super) top: f64,
    /// Its lower edge.
    pub(super) bottom: f64,
    /// The middle of what is drawn.
    pub(super) y: f64,
    /// Half the height of what is drawn.
    pub(super) half: f64,
}

impl Lines {
    /// Between an upper and a lower edge.
    pub(super) fn new(format: Format, (top, bottom): (f64, f64), axis: Axis, texts: Vec<[String; 2]>) -> Self {
        let ((width, _), margin, tick) = (format.size(), format.margin(), format.tick());
        let style = Text::new(tick, theme::INK);
        let widest = |side: usize, most: f64| {
            let widths = texts.iter().map(|texts| style.width(&texts[side]));
            widths.fold(0.0, f64::max).min(most)
        };
        let sides = (format == Format::Wide).then(|| [widest(0, 480.0), widest(1, 360.0)]);
        let [names, numbers] = sides.map_or([0.0; 2], |sides| sides.map(|side| side + tick));
        let (top, bottom) = (top + tick, bottom - tick * 3.4);
        let most = if sides.is_some() { 76.0 } else { 90.0 };
        let step = ((bottom - top) / texts.len().max(1) as f64).min(most);
        Self {
            axis,
            left: margin + names,
            right: width - margin - numbers,
            bottom: top + step * texts.len() as f64,
            top,
            format,
            texts,
            sides,
        }
    }

    /// Height of a line.
    pub(super) fn step(&self) -> f64 {
        (self.bottom - self.top) / self.texts.len().max(1) as f64
    }

    /// The place of a value.
    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.axis.scale.share(value)
    }

    /// The grid with its labels.
    pub(super) fn grid(&self, canvas: &mut Canvas<'_>) {
        let style = Text::new(self.format.tick(), theme::MUTED);
        let mut first_free = f64::NEG_INFINITY;
        for tick in &self.axis.ticks {
            let x = self.x(tick.value);
            let half = style.width(&tick.label) / 2.0;
            canvas.line(&[(x, self.top), (x, self.bottom)], Stroke::solid(theme::GRID, 1.0));
            if x - half > first_free {
                canvas.text(&tick.label, (x, self.bottom + style.size * 1.1), style.at(HPos::Center));
                first_free = x + half + style.size * 0.35;
            }
        }
    }

    /// Writes names and figures; gives the places of the lines, in order.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>) -> Vec<Line> {
        let texts = self.texts.iter().enumerate();
        texts.map(|(number, texts)| self.line(canvas, number, texts)).collect()
    }

    fn line(&self, canvas: &mut Canvas<'_>, number: usize, [name, figures]: &[String; 2]) -> Line {
        let (step, format) = (self.step(), self.format);
        let top = self.top + step * number as f64;
        let style = Text::new(format.tick().min(step * 0.62), theme::INK);
        let (y, half) = match self.sides {
            Some([names, numbers]) => {
                let y = top + step / 2.0;
                canvas.text(&style.fit(name, names), (format.margin(), y), style);
                let figures = style.fit(figures, numbers);
                canvas.text(&figures, (self.right + format.tick(), y), style);
                (y, step * 0.36)
            }
            None => {
                let (small, y) = (Text::new(style.size * 0.9, theme::INK), top + step * 0.28);
                let room = self.right - self.left - small.width(figures) - format.tick();
                canvas.text(&small.fit(name, room), (self.left, y), small);
                canvas.text(figures, (self.right, y), small.at(HPos::Right));
                (top + step * 0.72, step * 0.2)
            }
        };
        let bottom = top + step;
        Line { top, bottom, y, half }
    }
}
