//! Claims beside what was measured, as a table and as entries of `report.json`.

use super::{
    document::ClaimEntry,
    words::{self, NAME, SENTENCE, UNKNOWN, printable},
};
use crate::{
    claim::Claimed,
    comparison::{Comparison, Held},
    units,
};

/// What the table says above its columns.
pub(super) const HEADER: [&str; 5] = ["claim", "about", "claimed", "measured (95 %)", "so it is"];

/// One entry per claim.
pub(super) fn entries(comparison: &Comparison) -> Vec<ClaimEntry> {
    let entry = |held: &Held| {
        let (claimed, is_change) = match held.claim.value {
            Claimed::Change { value, .. } => (value, true),
            Claimed::Value { value, .. } => (value, false),
        };
        ClaimEntry {
            text: held.claim.text.clone(),
            source: held.claim.source.clone(),
            variant: held.claim.variant.clone(),
            step: held.claim.step.clone(),
            metric: held.claim.metric.name,
            is_change,
            claimed,
            reference: held.reference,
            value: held.measured,
            measured: held.figure,
            interval: held.interval,
            outcome: held.outcome,
        }
    };
    comparison.claims.iter().map(entry).collect()
}

/// The cells of each claim, as [`HEADER`] says.
pub(super) fn rows(comparison: &Comparison) -> Vec<[String; 5]> {
    comparison.claims.iter().map(row).collect()
}

fn row(held: &Held) -> [String; 5] {
    let claim = &held.claim;
    let source = claim.source.as_ref();
    let source = source.map_or_else(String::new, |source| format!(" ({})", printable(source, NAME)));
    let step = claim.step.as_deref().unwrap_or("all steps");
    let about = words::label(claim.variant.as_deref(), step);
    let format = |value: f64| match claim.value {
        Claimed::Change { .. } => units::format_change(value),
        Claimed::Value { .. } => claim.metric.unit.format(value),
    };
    let claimed = match claim.value {
        Claimed::Change { value, .. } | Claimed::Value { value, .. } => format(value),
    };
    let measured = match (held.figure, held.interval) {
        (Some(figure), Some([low, high])) if low < high => match claim.value {
            Claimed::Change { .. } => words::change_within(figure, [low, high]),
            Claimed::Value { .. } => format!("{} ({} … {})", format(figure), format(low), format(high)),
        },
        (Some(figure), _) => format(figure),
        (None, _) => UNKNOWN.to_owned(),
    };
    [
        format!("{}{source}", printable(&claim.text, SENTENCE / 2)),
        format!("{about}: {}", claim.metric.title),
        claimed,
        measured,
        held.outcome.words().to_owned(),
    ]
}
