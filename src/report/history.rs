//! A history as text and as JSON. Decides nothing.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::words::{self, NAME, SENTENCE, UNKNOWN, printable};
use crate::{
    comparison::history::{Entry, History, Trend},
    units::format_change,
};

/// The form of the JSON; additive within the major.
const SCHEMA: &str = "loadgate.history/1";

/// So many runs are listed as text, the newest.
const MOST_RUNS: usize = 30;

/// So many metrics have a column in the list of runs, the first.
const MOST_COLUMNS: usize = 3;

/// The history for a terminal.
pub fn history_text(history: &History) -> String {
    let mut parts = vec![headline(history), trends(history), runs(history)];
    parts.extend(history.notes.iter().map(|note| printable(note, SENTENCE)));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// The history for programs.
pub fn history_json(history: &History) -> String {
    let machine = history.key.as_ref().map(|key| &key.machine);
    let targets = history.key.iter().flat_map(|key| &key.targets);
    let targets = targets.map(|target| json!({ "name": target.name, "kind": target.kind, "major": target.major }));
    json!({
        "schema": SCHEMA,
        "scenario": history.scenario,
        "fingerprint": history.key.as_ref().map(|key| key.fingerprint.short()),
        "machine": machine,
        "targets": targets.collect::<Vec<Value>>(),
        "runs": history.entries.iter().map(run).collect::<Vec<Value>>(),
        "trends": history.trends.iter().map(|trend| self::trend(history, trend)).collect::<Vec<Value>>(),
        "notes": history.notes,
    })
    .to_string()
}

fn run(entry: &Entry) -> Value {
    let accepted = entry.accepted.as_ref();
    json!({
        "id": entry.run,
        "started": entry.started.to_string(),
        "commit": entry.commit,
        "branch": entry.branch,
        "verdict": entry.verdict.map(|verdict| verdict.word()),
        "accepted": accepted.map(|accepted| json!({ "at": accepted.at.to_string(), "reason": accepted.reason })),
        "kept": entry.kept,
    })
}

/// Values in the metric's base unit, which is told.
fn trend(history: &History, trend: &Trend) -> Value {
    let points = trend.points.iter().zip(&history.entries).filter_map(|(point, entry)| {
        let point = (*point)?;
        Some(json!({ "run": entry.run, "value": point.value, "interval": point.interval }))
    });
    let changes = trend.shifts.iter().map(|shift| {
        json!({
            "run": history.entries[shift.at].run,
            "before": shift.before,
            "after": shift.after,
            "change": trend.worsening(shift.before, shift.after),
        })
    });
    json!({
        "step": trend.step,
        "metric": trend.metric.name,
        "unit": trend.metric.unit,
        "better": trend.metric.better,
        "points": points.collect::<Vec<Value>>(),
        "changes": changes.collect::<Vec<Value>>(),
    })
}

/// `checkout · 14 runs from 2026-01-03 to 2026-02-01 · x86_64 AMD EPYC 7B13, 2 cores`.
pub(super) fn headline(history: &History) -> String {
    let mut parts = vec![
        printable(&history.scenario, NAME),
        words::counted(history.entries.len() as u64, "run", "runs"),
    ];
    if let (Some(first), Some(last)) = (history.entries.first(), history.entries.last()) {
        let day = |entry: &Entry| entry.started.strftime("%Y-%m-%d").to_string();
        if day(first) == day(last) {
            parts.push(format!("on {}", day(first)));
        } else {
            parts.push(format!("from {} to {}", day(first), day(last)));
        }
    }
    if let Some(key) = &history.key {
        let cores = words::counted(key.machine.cores as u64, "core", "cores");
        parts.push(format!("{}, {cores}", printable(&key.machine.cpu, NAME)));
    }
    parts.join(" · ")
}

/// What a trend is called: `pay p95`.
pub(super) fn title(trend: &Trend) -> String {
    let step = trend
        .step
        .as_deref()
        .map_or_else(|| "all steps".into(), |step| printable(step, NAME));
    format!("{step} {}", trend.metric.name)
}

/// A row per metric: from the first value to the newest, and what changed between.
fn trends(history: &History) -> String {
    if history.trends.is_empty() {
        return "no run has a value of what was asked for".into();
    }
    let mut table = plain(
        &[
            "step",
            "metric",
            "runs",
            "first",
            "newest",
            "change",
            "changed for good",
        ],
        2..6,
    );
    for trend in &history.trends {
        let first = trend.points.iter().flatten().next().map(|point| point.value);
        let format = |value: Option<f64>| value.map_or_else(|| UNKNOWN.into(), |value| trend.metric.unit.format(value));
        let change = first
            .zip(trend.newest())
            .and_then(|(first, newest)| trend.worsening(first, newest));
        let shifts = trend.shifts.iter().map(|shift| {
            let entry = &history.entries[shift.at];
            let change = trend.worsening(shift.before, shift.after);
            format!(
                "{} at {} ({})",
                change.map_or_else(|| UNKNOWN.into(), format_change),
                commit(entry),
                entry.started.strftime("%Y-%m-%d")
            )
        });
        table.add_row([
            trend
                .step
                .as_deref()
                .map_or_else(|| "all steps".into(), |step| printable(step, NAME)),
            trend.metric.name.to_owned(),
            trend.points.iter().flatten().count().to_string(),
            format(first),
            format(trend.newest()),
            change.map_or_else(|| UNKNOWN.into(), format_change),
            shifts.collect::<Vec<_>>().join(", "),
        ]);
    }
    let worse = "change: + is worse, whatever the metric's direction";
    format!("{}\n{worse}", lines(&table))
}

/// A row per run, the newest last.
fn runs(history: &History) -> String {
    let columns = &history.trends[..history.trends.len().min(MOST_COLUMNS)];
    let mut head: Vec<String> = ["started", "commit", "branch", "verdict"].map(str::to_owned).to_vec();
    head.extend(columns.iter().map(title));
    head.push(String::new());
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut table = plain(&head, 4..4 + columns.len());
    let first = history.entries.len().saturating_sub(MOST_RUNS);
    for (at, entry) in history.entries.iter().enumerate().skip(first) {
        let mut row = vec![
            entry.started.strftime("%Y-%m-%d %H:%M").to_string(),
            commit(entry),
            entry
                .branch
                .as_deref()
                .map_or_else(|| UNKNOWN.into(), |branch| printable(branch, NAME)),
            words::mark(entry.verdict),
        ];
        row.extend(columns.iter().map(|trend| match trend.points[at] {
            Some(point) => trend.metric.unit.format(point.value),
            None => UNKNOWN.into(),
        }));
        row.push(remarks(history, at));
        table.add_row(row);
    }
    let older = match first {
        0 => String::new(),
        _ => format!("\n{} older runs are in --format json", words::count(first as u64)),
    };
    lines(&table) + &older
}

/// What happened at a run: accepted, changed for good.
fn remarks(history: &History, at: usize) -> String {
    let entry = &history.entries[at];
    let accepted = entry.accepted.as_ref().map(|accepted| match &accepted.reason {
        Some(reason) => format!("accepted: {}", printable(reason, NAME)),
        None => "accepted".into(),
    });
    let shifted = history.trends.iter().filter_map(|trend| {
        let shift = trend.shifts.iter().find(|shift| shift.at == at)?;
        let change = trend.worsening(shift.before, shift.after).map(format_change);
        Some(format!(
            "{} {}",
            title(trend),
            change.unwrap_or_else(|| "changed".into())
        ))
    });
    let all: Vec<String> = accepted.into_iter().chain(shifted).collect();
    all.join(", ")
}

/// The beginning of a commit.
pub(super) fn commit(entry: &Entry) -> String {
    let commit = entry.commit.as_deref().map(|commit| printable(commit, NAME));
    commit.map_or_else(|| UNKNOWN.into(), |commit| commit.chars().take(9).collect())
}

/// A table without lines, with columns of figures to the right.
fn plain(head: &[&str], figures: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    for column in table.column_iter_mut().skip(figures.start).take(figures.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn lines(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
