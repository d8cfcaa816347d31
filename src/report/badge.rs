//! `badge.json`: the verdict as an endpoint of shields.io.
//!
//! The form is that of <https://shields.io/badges/endpoint-badge>.

use super::{
    document::Document,
    words::{self, NAME, printable},
};
use crate::comparison::Verdict;

/// The verdict with the scenario's name, on one line.
pub(super) fn render(document: &Document) -> String {
    let badge = serde_json::json!({
        "schemaVersion": 1,
        "label": format!("loadgate {}", printable(&document.run.scenario, NAME)),
        "message": words::word(Some(document.verdict)),
        "color": colour(document.verdict),
    });
    format!("{badge}\n")
}

/// As in charts: told apart with the common deficiencies of colour vision, and beside a word.
fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "#009E73",
        Verdict::Warning => "#E69F00",
        Verdict::Inconclusive => "#CC79A7",
        Verdict::Critical | Verdict::Invalid => "#D55E00",
    }
}
