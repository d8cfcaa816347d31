//! Renderings of a [`Run`] and its [`Comparison`]: JSON, text, charts, a page.
//!
//! A report decides nothing. Figures for display are read from the run's
//! histograms; verdicts, changes and intervals are the comparison's. The
//! formats are a closed set, one file each:
//!
//! ```text
//! document  the form of report.json, as types
//! json      run + comparison → document
//! tables    document → cells, shared by text and page
//! text      the summary for a terminal
//! chart     the pictures, as PNG and SVG
//! html      the page
//! history   runs in a row, as text and JSON
//! ```

mod calibration;
mod chart;
mod counted;
pub mod document;
#[cfg(test)]
mod example;
mod history;
mod html;
mod json;
mod links;
mod pools;
mod seen;
mod tables;
mod text;
mod timeline;
mod tried;
mod words;

use std::path::{Path, PathBuf};

pub use self::{
    chart::PngError,
    history::{history_json, history_text},
    json::document,
};
use self::{
    chart::{Chart, Format, Scene},
    document::Artifact,
};
use crate::{
    baseline::Calibration,
    comparison::{Comparison, calibration::Summary, history::History},
    run::{self, Run, StoreError},
};

/// The name of the document inside a report's directory.
pub const DOCUMENT: &str = "report.json";

/// The name of the page inside a report's directory.
pub const PAGE: &str = "report.html";

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error("the report could not be written: {0}; give another directory with --out")]
    Write(#[from] StoreError),
    /// A chart could not be rendered.
    #[error("{chart}: {source}")]
    Chart {
        /// Which one.
        chart: &'static str,
        /// Why.
        source: PngError,
    },
    /// The page could not be filled in.
    #[error("{PAGE}: {0}")]
    Page(#[from] askama::Error),
    /// The document could not be serialised.
    #[error("{DOCUMENT}: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes every file of a report into a directory, each whole or not at all; gives their paths.
///
/// `report.json` comes last, so that where it stands the others do too.
///
/// # Errors
/// When a file cannot be rendered or written.
pub fn write(
    out: &Path,
    run: &Run,
    comparison: &Comparison,
    baseline: Option<&Run>,
    exit_code: u8,
) -> Result<Vec<PathBuf>, ReportError> {
    // The charts of variants show one beside the reference.
    let views = views(run, comparison);
    let (shown, beside) = match &views {
        Some((_, [reference, candidate])) => (candidate, Some(reference)),
        None => (run, baseline),
    };
    let scene = Scene::new(shown, comparison, beside);
    let scene = match &views {
        Some((names, _)) => scene.between(*names),
        None => scene,
    };
    let mut files = Files {
        out,
        artifacts: Vec::new(),
    };
    for chart in Chart::of(run) {
        let png = scene.draw(chart, Format::Wide).png();
        let png = png.map_err(|source| ReportError::Chart {
            chart: chart.name(),
            source,
        })?;
        files.write(&format!("charts/{}.png", chart.name()), &png)?;
    }
    let document = json::document(run, comparison, exit_code, files.artifacts.clone());
    let page = html::render(run, comparison, [Some(shown), beside], &document, &scene)?;
    files.write(PAGE, page.as_bytes())?;
    let document = document::Document {
        artifacts: files.artifacts.clone(),
        ..document
    };
    files.write(DOCUMENT, (serde_json::to_string(&document)? + "\n").as_bytes())?;
    Ok(files
        .artifacts
        .iter()
        .map(|artifact| out.join(&artifact.path))
        .collect())
}

/// The content of `report.json` where no files are written.
///
/// # Errors
/// When it cannot be serialised.
pub fn json_text(run: &Run, comparison: &Comparison, exit_code: u8) -> Result<String, ReportError> {
    Ok(serde_json::to_string(&json::document(run, comparison, exit_code, vec![]))? + "\n")
}

/// What a calibration says, for a terminal of `width` columns.
pub fn calibration(calibration: &Calibration, summary: &Summary, runs_per_day: u32, width: u16) -> String {
    self::calibration::render(calibration, summary, runs_per_day, width)
}

/// The summary for a terminal of `width` columns; its last line is the verdict.
///
/// `report` is the page to point to. Escape codes only with `colour`.
pub fn text(
    run: &Run,
    comparison: &Comparison,
    exit_code: u8,
    report: Option<&Path>,
    colour: bool,
    width: u16,
) -> String {
    let document = json::document(run, comparison, exit_code, vec![]);
    text::render(run, comparison, &document, report, colour, width)
}

/// Name of the chart of a history inside of a directory.
pub const HISTORY_CHART: &str = "11-history.png";

/// Writes the chart of a history into a directory; gives its path.
///
/// # Errors
/// When it cannot be rendered or written.
pub fn write_history(out: &Path, history: &History) -> Result<PathBuf, ReportError> {
    let png = chart::history::draw(history, Format::Wide).png();
    let png = png.map_err(|source| ReportError::Chart {
        chart: HISTORY_CHART,
        source,
    })?;
    let path = out.join(HISTORY_CHART);
    run::write_atomically(&path, &png)?;
    Ok(path)
}

/// The reference and the variant that is shown beside it, with their names: that of the worst finding, else the last.
fn views<'r>(run: &'r Run, comparison: &Comparison) -> Option<([&'r str; 2], [Run; 2])> {
    let worst = comparison
        .judgements
        .iter()
        .find_map(|judgement| judgement.variant.as_deref());
    let found = run
        .variants
        .iter()
        .position(|variant| Some(variant.name.as_str()) == worst);
    let shown = found.or(run.variants.len().checked_sub(1))?;
    let names = [&run.variants[0].name, &run.variants[shown].name].map(String::as_str);
    Some((names, [run.of_variant(0)?, run.of_variant(shown)?]))
}

/// The files written so far.
struct Files<'a> {
    out: &'a Path,
    artifacts: Vec<Artifact>,
}

impl Files<'_> {
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), StoreError> {
        run::write_atomically(&self.out.join(path), bytes)?;
        self.artifacts.push(Artifact {
            path: path.into(),
            sha256: run::hash(bytes),
            bytes: bytes.len() as u64,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
