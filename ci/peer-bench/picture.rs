//! The ratios as one picture: a dot and a range for each, and the line at 1.
//!
//! It looks as loadgate's charts do and is rendered with their fonts, so it is
//! the same on every machine.

use std::{fmt::Write as _, sync::Arc};

use resvg::{
    tiny_skia::{Color, Pixmap, Transform},
    usvg::{Options, Tree, fontdb},
};

use super::{
    Failed,
    cases::Case,
    measure::Spread,
    report::{self, Findings},
};

const FONTS: [&[u8]; 2] = [
    include_bytes!("../../assets/fonts/inter-400Regular-subset.ttf"),
    include_bytes!("../../assets/fonts/inter-600SemiBold-subset.ttf"),
];

// The colours of src/report/chart/theme.rs.
const INK: &str = "#1B1F24";
const MUTED: &str = "#57606A";
const GRID: &str = "#E1E4E8";
const AXIS: &str = "#8C959F";
const CPU: &str = "#0072B2";
const RATE: &str = "#767677";

const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 48.0;
const ROW: f64 = 46.0;
const GROUP: f64 = 62.0;
const TITLE: f64 = 36.0;
const LABEL: f64 = 23.0;
const TICK: f64 = 21.0;

/// Titles are broken at so many characters: that many fit in bold.
const TITLE_CHARACTERS: usize = 78;

/// A column of ratios.
struct Panel {
    title: &'static str,
    /// What lies left and right of 1.
    sides: [&'static str; 2],
    colour: &'static str,
    left: f64,
    right: f64,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "CPU per operation",
        sides: ["loadgate takes less", "loadgate takes more"],
        colour: CPU,
        left: 420.0,
        right: 790.0,
    },
    Panel {
        title: "Throughput",
        sides: ["loadgate does less", "loadgate does more"],
        colour: RATE,
        left: 1010.0,
        right: 1380.0,
    },
];

/// The picture as PNG.
pub(crate) fn png(findings: &Findings) -> Result<Vec<u8>, Failed> {
    let (svg, height) = svg(findings);
    let mut fonts = fontdb::Database::new();
    for font in FONTS {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(font)));
    }
    let options = Options {
        font_family: "Inter".into(),
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(&svg, &options)?;
    let mut pixmap = Pixmap::new(WIDTH as u32, height as u32).ok_or("a picture without size")?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
    Ok(pixmap.encode_png()?)
}

fn svg(findings: &Findings) -> (String, f64) {
    let cases: Vec<&Case> = findings.cases.iter().filter(|case| !case.duels.is_empty()).collect();
    let mut drawing = Drawing(String::new());
    let mut y = heading(&mut drawing, findings);
    let top = y + 92.0;
    let rows: usize = cases.iter().map(|case| case.duels.len()).sum();
    let bottom = top + cases.len() as f64 * GROUP + rows as f64 * ROW + 8.0;
    let scale = Scale::over(&cases);
    for panel in &PANELS {
        axes(&mut drawing, panel, &scale, top, bottom);
    }
    y = top;
    for case in cases {
        drawing.text((MARGIN, y + 34.0), (LABEL, INK, true), "start", &case.title);
        y += GROUP;
        for duel in &case.duels {
            let label = if case.own {
                format!("{} / {}", duel.ours, duel.theirs)
            } else {
                format!("/ {}", duel.theirs)
            };
            drawing.text((PANELS[0].left - 30.0, y + 7.0), (TICK, INK, false), "end", &label);
            dot(&mut drawing, &PANELS[0], &scale, duel.cpu_ratio(), y);
            match report::of_asked(duel) {
                Some(text) => drawing.text((PANELS[1].right + 24.0, y + 7.0), (TICK, MUTED, false), "start", &text),
                None => dot(&mut drawing, &PANELS[1], &scale, duel.rate_ratio(), y),
            }
            y += ROW;
        }
    }
    let height = bottom + 96.0;
    footer(&mut drawing, findings, height);
    let root =
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Inter\">");
    (root + &drawing.0 + "</svg>", height)
}

/// Title and subtitle; where they end.
fn heading(drawing: &mut Drawing, findings: &Findings) -> f64 {
    let mut y = MARGIN + TITLE;
    for line in wrap(&report::finding(&findings.cases), TITLE_CHARACTERS) {
        drawing.text((MARGIN, y), (TITLE, INK, true), "start", &line);
        y += TITLE * 1.25;
    }
    let extent = findings.extent;
    let what = format!(
        "Ratios, loadgate / peer: median and range of {} pairs of runs in turns · client on one core, server on another",
        extent.pairs
    );
    drawing.text((MARGIN, y), (LABEL, MUTED, false), "start", &what);
    y + 24.0
}

fn footer(drawing: &mut Drawing, findings: &Findings, height: f64) {
    let machine = &findings.machine;
    let text = format!(
        "{} · {} cores · Linux {} · {} · {}",
        machine.processor,
        machine.cores,
        machine.kernel,
        findings.loadgate,
        findings.began.strftime("%Y-%m-%d")
    );
    drawing.text((MARGIN, height - 28.0), (TICK, MUTED, false), "start", &text);
}

fn axes(drawing: &mut Drawing, panel: &Panel, scale: &Scale, top: f64, bottom: f64) {
    let middle = scale.x(panel, 1.0);
    drawing.text(
        (panel.left, top - 56.0),
        (LABEL, panel.colour, true),
        "start",
        panel.title,
    );
    for (side, x, anchor) in [(0, middle - 12.0, "end"), (1, middle + 12.0, "start")] {
        drawing.text((x, top - 16.0), (TICK - 3.0, MUTED, false), anchor, panel.sides[side]);
    }
    for tick in scale.ticks() {
        let x = scale.x(panel, tick);
        let (colour, width) = if tick == 1.0 { (AXIS, 3.0) } else { (GRID, 1.5) };
        drawing.line((x, top), (x, bottom), colour, width);
        drawing.text((x, bottom + 28.0), (TICK, MUTED, false), "middle", &format!("{tick}"));
    }
}

fn dot(drawing: &mut Drawing, panel: &Panel, scale: &Scale, ratio: Spread, y: f64) {
    let [min, middle, max] = [ratio.min, ratio.median, ratio.max].map(|value| scale.x(panel, value));
    drawing.line((min, y), (max, y), panel.colour, 3.0);
    for end in [min, max] {
        drawing.line((end, y - 12.0), (end, y + 12.0), panel.colour, 2.0);
    }
    let _ = write!(
        drawing.0,
        "<circle cx=\"{middle:.1}\" cy=\"{y:.1}\" r=\"7\" fill=\"{}\" stroke=\"white\" stroke-width=\"1\"/>",
        panel.colour
    );
    let x = panel.right + 24.0;
    drawing.text(
        (x, y + 7.0),
        (TICK, INK, true),
        "start",
        &format!("{:.2}", ratio.median),
    );
    let range = format!("{:.2}–{:.2}", ratio.min, ratio.max);
    drawing.text((x + 60.0, y + 7.0), (TICK, MUTED, false), "start", &range);
}

/// Ratios on a logarithmic axis, so that twice and half are equally far from 1.
struct Scale {
    /// Powers of two.
    low: i32,
    high: i32,
}

impl Scale {
    /// One for both panels, so that they can be compared.
    fn over(cases: &[&Case]) -> Self {
        let mut scale = Self { low: -1, high: 1 };
        for duel in cases.iter().flat_map(|case| &case.duels) {
            let cpu = duel.cpu_ratio();
            let rate = if duel.asked.is_some() { cpu } else { duel.rate_ratio() };
            scale.low = scale.low.min(cpu.min.min(rate.min).log2().floor() as i32);
            scale.high = scale.high.max(cpu.max.max(rate.max).log2().ceil() as i32);
        }
        scale
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low..=self.high).map(|power| f64::from(power).exp2())
    }

    fn x(&self, panel: &Panel, ratio: f64) -> f64 {
        let share = (ratio.log2() - f64::from(self.low)) / f64::from(self.high - self.low);
        panel.left + share * (panel.right - panel.left)
    }
}

/// Elements of an SVG.
struct Drawing(String);

impl Drawing {
    fn text(&mut self, (x, y): (f64, f64), (size, colour, bold): (f64, &str, bool), anchor: &str, text: &str) {
        let weight = if bold { " font-weight=\"bold\"" } else { "" };
        let _ = write!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
            escape(text)
        );
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str, width: f64) {
        let _ = write!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-linecap=\"round\"/>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Lines of at most so many characters, broken between words.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{case, duel};

    #[test]
    fn one_is_on_its_line_and_every_range_within_the_panel() {
        let wide = case("http", false, vec![duel("wrk", &[1.1, 5.3]), duel("hey", &[0.3])]);
        let scale = Scale::over(&[&wide]);
        assert_eq!(
            scale.ticks().collect::<Vec<_>>(),
            [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
        );
        let panel = &PANELS[0];
        assert_eq!(scale.x(panel, 1.0), f64::midpoint(panel.left, panel.right));
        assert_eq!(scale.x(panel, 0.125), panel.left);
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    }
}
