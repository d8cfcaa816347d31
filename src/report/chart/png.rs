//! SVG → PNG with the embedded fonts only, so that a picture is the same on every machine.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Color, Pixmap, Transform},
    usvg::{Options, Tree, fontdb},
};

use super::{
    canvas,
    theme::{FAMILY, FONT_BOLD, FONT_REGULAR},
};

/// Why a picture could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The SVG was not understood.
    #[error("the chart is no valid SVG: {0}")]
    Svg(#[from] resvg::usvg::Error),
    /// The picture could not be held or encoded.
    #[error("the chart could not be encoded as PNG: {0}")]
    Encode(String),
}

/// Renders an SVG that is drawn on the fine grid, on white.
pub(super) fn render(svg: &str, width: u32, height: u32) -> Result<Vec<u8>, PngError> {
    let tree = Tree::from_str(svg, &options())?;
    let mut pixmap =
        Pixmap::new(width, height).ok_or_else(|| PngError::Encode(format!("no picture of {width} × {height}")))?;
    pixmap.fill(Color::WHITE);
    let scale = 1.0 / canvas::GRID as f32;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| PngError::Encode(error.to_string()))
}

fn options() -> Options<'static> {
    let mut fonts = fontdb::Database::new();
    for font in [FONT_REGULAR, FONT_BOLD] {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(font)));
    }
    fonts.set_sans_serif_family(FAMILY);
    Options {
        font_family: FAMILY.into(),
        fontdb: Arc::new(fonts),
        ..Options::default()
    }
}
