//! `loadgate changes`: where a series from a CSV file changed for good; exits 0.
//!
//! Knows of no run: any series will do.

mod series;

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use self::series::Series;
use super::{
    args::{ChangesArgs, Format},
    exit::{Exit, Failure},
    print::Console,
};
use crate::{
    stats::changes::{Change, changes},
    units,
};

/// Longer texts of the column `index` are cut in tables, in characters.
const LONGEST_INDEX: usize = 48;

/// Performs the verb.
pub(super) fn changes_of(args: &ChangesArgs, console: &Console) -> Result<Exit, Failure> {
    let series = series::read(&args.file).map_err(Failure::usage)?;
    let found = changes(&series.values);
    console.result(&match args.format {
        Format::Json => as_json(&series, &found),
        Format::Text => as_text(&args.file, &series, &found),
    });
    Ok(Exit::Pass)
}

fn as_json(series: &Series, found: &[Change]) -> String {
    let entries: Vec<Value> = found
        .iter()
        .map(|change| {
            json!({
                "index": index(&series.indices[change.at]),
                "before": change.before,
                "after": change.after,
                "change": relative(change),
            })
        })
        .collect();
    json!({ "changes": entries }).to_string()
}

/// A number where the text is just how that number is written; `007` stays a text.
fn index(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

/// Relative to the level before; `None` where that is zero or too small to divide by.
fn relative(change: &Change) -> Option<f64> {
    let relative = change.after / change.before - 1.0;
    relative.is_finite().then_some(relative)
}

fn as_text(file: &Path, series: &Series, found: &[Change]) -> String {
    let points = units::group_thousands(i64::try_from(series.values.len()).unwrap_or(i64::MAX));
    if found.is_empty() {
        return format!("no change in {}, {points} points", file.display());
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["index", "before", "after", "change"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for change in found {
        table.add_row([
            shown(&series.indices[change.at]),
            figure(change.before),
            figure(change.after),
            relative(change).map_or_else(|| "–".into(), units::format_change),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let noun = if found.len() == 1 { "change" } else { "changes" };
    format!(
        "{}\n\n{} {noun} in {}, {points} points",
        lines.join("\n"),
        found.len(),
        file.display()
    )
}

/// Text from the file, without characters that steer the display.
fn shown(text: &str) -> String {
    text.chars().flat_map(char::escape_debug).take(LONGEST_INDEX).collect()
}

/// As figures are shown elsewhere; with an exponent where those would be all zeros.
fn figure(value: f64) -> String {
    if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        units::significant(value)
    } else {
        format!("{value:.2e}")
    }
}
