//! Renderings of a [`Run`] and its [`Comparison`]: for people, for programs, for CI.
//!
//! A report decides nothing. Figures for display are read from the run's
//! histograms; verdicts, changes and intervals are the comparison's. The
//! formats are a closed set, one file each:
//!
//! ```text
//! document  the form of report.json, as types
//! json      run + comparison → document
//! claims    claims beside what was measured
//! tables    document → cells, shared by text and page
//! text      the summary for a terminal
//! chart     the pictures, as PNG and SVG
//! html      the page, as one file and as one of several
//! summary   what a reviewer must see, as Markdown
//! junit     limits as test cases
//! ci        annotations of GitHub, outputs for later steps
//! openmetrics, hlog, badge   figures for GitLab, the HdrHistogram tools, shields.io
//! bundle    all of it in one archive
//! suite     several runs as one document
//! files     which of them stand in a directory, in which order
//! schema    the JSON Schema of report.json
//! history   runs in a row, as text and JSON
//! ```

mod badge;
mod bundle;
mod calibration;
mod chart;
mod ci;
mod claims;
mod counted;
pub mod document;
#[cfg(test)]
mod example;
mod files;
mod history;
mod hlog;
mod html;
mod json;
mod junit;
mod links;
mod openmetrics;
mod pools;
mod schema;
mod seen;
mod suite;
mod summary;
mod tables;
mod text;
mod timeline;
mod tried;
mod words;

use std::path::{Path, PathBuf};

use self::chart::Format;
pub use self::{
    chart::PngError,
    ci::{github_annotations, outputs as ci_outputs},
    files::write,
    history::{history_json, history_text},
    json::document,
    schema::json_schema,
    suite::{Part, SUITE_PAGE, SUITE_SCHEMA, Suite, suite_json, suite_text, write_suite},
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
    /// Another file could not be rendered.
    #[error("{file}: {reason}")]
    Render {
        /// Which one.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// The document could not be serialised.
    #[error("{DOCUMENT}: {0}")]
    Json(#[from] serde_json::Error),
}

/// The content of `report.json` where no files are written.
///
/// # Errors
/// When it cannot be serialised.
pub fn json_text(run: &Run, comparison: &Comparison, exit_code: u8) -> Result<String, ReportError> {
    Ok(serde_json::to_string(&json::document(run, comparison, exit_code, vec![]))? + "\n")
}

/// The content of `summary.md`.
pub fn summary_text(run: &Run, comparison: &Comparison, exit_code: u8) -> String {
    summary::render(run, comparison, &json::document(run, comparison, exit_code, vec![]))
}

/// What a calibration says, for a terminal of `width` columns.
pub fn calibration(calibration: &Calibration, summary: &Summary, runs_per_day: u32, width: u16) -> String {
    self::calibration::render(calibration, summary, runs_per_day, width)
}

/// What a terminal shows.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Whether it shows colours.
    pub colour: bool,
    /// Its columns.
    pub width: u16,
    /// How much of the result is wanted.
    pub detail: Detail,
}

/// How much of a result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The verdict alone.
    Verdict,
    /// What matters.
    Usual,
    /// Limits that hold too.
    All,
}

/// The summary for a terminal; its last line is the verdict. `report` is the page to point to.
pub fn text(run: &Run, comparison: &Comparison, exit_code: u8, report: Option<&Path>, terminal: Terminal) -> String {
    let document = json::document(run, comparison, exit_code, vec![]);
    text::render(run, comparison, &document, report, terminal)
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

#[cfg(test)]
mod tests;
