//! How every chart looks: colours, sizes, strokes, fonts.
//!
//! Colours are of the Okabe–Ito palette, which people with the common colour
//! deficiencies can tell apart. [`DARK`] says what each becomes on a dark page.

use plotters::style::{FontStyle, RGBColor, register_font};

use crate::comparison::Verdict;

/// The regular font, a subset of Inter.
pub(crate) const FONT_REGULAR: &[u8] = include_bytes!("../../../assets/fonts/inter-400Regular-subset.ttf");
/// The bold font, a subset of Inter SemiBold.
pub(crate) const FONT_BOLD: &[u8] = include_bytes!("../../../assets/fonts/inter-600SemiBold-subset.ttf");
/// The family of both.
pub(super) const FAMILY: &str = "Inter";

/// Titles and labels.
pub(super) const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
/// Subtitles, ticks, footer.
pub(super) const MUTED: RGBColor = RGBColor(0x57, 0x60, 0x6A);
/// Grid lines.
pub(super) const GRID: RGBColor = RGBColor(0xE1, 0xE4, 0xE8);
/// The lines of axes.
pub(super) const AXIS: RGBColor = RGBColor(0x8C, 0x95, 0x9F);
/// Filled areas behind the lines.
pub(super) const SHADE: RGBColor = RGBColor(0xEC, 0xEF, 0xF3);
/// This run.
pub(super) const CANDIDATE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// What it is compared with.
pub(super) const BASELINE: RGBColor = RGBColor(0x76, 0x76, 0x77);
/// The lightest of an ordered family of lines.
pub(super) const LIGHT: RGBColor = RGBColor(0x56, 0xB4, 0xE9);
/// The darkest of an ordered family of lines.
pub(super) const DEEP: RGBColor = RGBColor(0x00, 0x36, 0x5C);
/// Failures.
pub(super) const FAILURE: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
/// Dropped starts.
pub(super) const DROPPED: RGBColor = RGBColor(0xCC, 0x79, 0xA7);
/// Thin lines that accompany the main one, told apart.
pub(super) const OTHERS: [RGBColor; 3] = [
    RGBColor(0x8A, 0x5A, 0x2B),
    RGBColor(0x00, 0x8F, 0x8C),
    RGBColor(0x8D, 0x63, 0xB8),
];

/// Beyond a warning limit.
pub(super) const WARNING_ZONE: RGBColor = RGBColor(0xFB, 0xEF, 0xD0);
/// Beyond a critical limit.
pub(super) const CRITICAL_ZONE: RGBColor = RGBColor(0xF8, 0xDC, 0xC8);
/// From few to many, in the manner of cividis: told apart by everybody, and in grey.
pub(super) const HEAT: [RGBColor; 7] = [
    RGBColor(0xF6, 0xE6, 0x7A),
    RGBColor(0xDC, 0xC8, 0x6C),
    RGBColor(0xB6, 0xA8, 0x72),
    RGBColor(0x8E, 0x89, 0x79),
    RGBColor(0x66, 0x6C, 0x7A),
    RGBColor(0x3A, 0x50, 0x77),
    RGBColor(0x00, 0x2A, 0x5C),
];

const PASS: RGBColor = RGBColor(0x00, 0x9E, 0x73);
const WARNING: RGBColor = RGBColor(0xE6, 0x9F, 0x00);

/// What each colour becomes on a dark page.
pub(super) const DARK: [(RGBColor, &str); 25] = [
    (INK, "#E6EDF3"),
    (MUTED, "#9DA7B3"),
    (GRID, "#2B323B"),
    (AXIS, "#6B7683"),
    (SHADE, "#20262E"),
    (CANDIDATE, "#5CB8EE"),
    (BASELINE, "#A3A9B0"),
    (LIGHT, "#2F83B5"),
    (DEEP, "#D6EEFC"),
    (FAILURE, "#FF8A3D"),
    (DROPPED, "#E3A5C6"),
    (OTHERS[0], "#D9A46E"),
    (OTHERS[1], "#4FC7C3"),
    (OTHERS[2], "#BE9BE6"),
    (PASS, "#2FC79B"),
    (WARNING, "#F2B632"),
    (WARNING_ZONE, "#3D3416"),
    (CRITICAL_ZONE, "#47291A"),
    (HEAT[0], "#1E3A66"),
    (HEAT[1], "#3C4F6C"),
    (HEAT[2], "#5C6570"),
    (HEAT[3], "#7F7D79"),
    (HEAT[4], "#A69E74"),
    (HEAT[5], "#D2C360"),
    (HEAT[6], "#FDE945"),
];

/// The colour of a verdict's shape.
pub(super) fn verdict(verdict: Verdict) -> RGBColor {
    match verdict {
        Verdict::Pass => PASS,
        Verdict::Warning => WARNING,
        Verdict::Inconclusive => DROPPED,
        Verdict::Critical | Verdict::Invalid => FAILURE,
    }
}

/// A colour as CSS writes it and as it stands in the SVG: `#0072B2`.
pub(super) fn css(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// The rules that give inline charts their colours on a dark page.
pub(crate) fn dark_css() -> String {
    DARK.iter()
        .map(|(light, dark)| {
            let light = css(*light);
            format!(".chart [fill=\"{light}\"]{{fill:{dark}}}.chart [stroke=\"{light}\"]{{stroke:{dark}}}\n")
        })
        .collect()
}

/// Makes the embedded fonts known to plotters, which measures text with them.
pub(super) fn register_fonts() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let regular = register_font(FAMILY, FontStyle::Normal, FONT_REGULAR);
        let bold = register_font(FAMILY, FontStyle::Bold, FONT_BOLD);
        debug_assert!(regular.is_ok() && bold.is_ok());
    });
}

/// The shape of a picture: for wide pages and PNGs, or for narrow screens.
///
/// Sizes are in the pixels of the finished picture; narrow ones are scaled
/// down less, so that their text stays legible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// 1600 × 900.
    Wide,
    /// 640 × 720.
    Narrow,
}

impl Format {
    /// Width and height.
    pub(super) fn size(self) -> (f64, f64) {
        match self {
            Self::Wide => (1600.0, 900.0),
            Self::Narrow => (640.0, 720.0),
        }
    }

    /// The margin around everything.
    pub(super) fn margin(self) -> f64 {
        match self {
            Self::Wide => 48.0,
            Self::Narrow => 16.0,
        }
    }

    /// Size of the title.
    pub(super) fn title(self) -> f64 {
        match self {
            Self::Wide => 36.0,
            Self::Narrow => 28.0,
        }
    }

    /// Size of subtitle and legend.
    pub(super) fn label(self) -> f64 {
        match self {
            Self::Wide => 23.0,
            Self::Narrow => 20.0,
        }
    }

    /// Size of ticks and footer.
    pub(super) fn tick(self) -> f64 {
        match self {
            Self::Wide => 21.0,
            Self::Narrow => 19.0,
        }
    }
}
