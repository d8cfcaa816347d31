//! What was seen from outside while load ran, as tables.

use std::collections::BTreeMap;

use super::words::{self, NAME, SENTENCE, printable};
use crate::{
    run::{Activity, Resources, Run},
    units,
};

/// Waits and counters that are shown of a database.
const MOST: usize = 12;

/// Events that are shown of a database.
const MOST_EVENTS: usize = 50;

/// What a target's processes used, over all windows.
pub(super) struct UsedRow {
    /// `shop`, `after: shop`.
    pub(super) target: String,
    /// CPU time, share of one core, memory.
    pub(super) figures: [String; 3],
}

/// The targets that loadgate started, in the order of the run.
pub(super) fn used(run: &Run) -> Vec<UsedRow> {
    let mut rows: Vec<(String, Resources)> = Vec::new();
    for used in &run.resources {
        let name = words::label(used.variant.as_deref(), &used.target);
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => {
                sum.cpu_s += used.cpu_s;
                sum.loaded_s += used.loaded_s;
                sum.memory_bytes = sum.memory_bytes.max(used.memory_bytes);
            }
            None => rows.push((name, used.clone())),
        }
    }
    let row = |(target, used): (String, Resources)| UsedRow {
        target,
        figures: [
            words::seconds(used.cpu_s),
            units::format_share(used.cpu_s / used.loaded_s.max(f64::MIN_POSITIVE)),
            format!(
                "{} MiB",
                units::significant(used.memory_bytes as f64 / f64::from(1 << 20))
            ),
        ],
    };
    rows.into_iter().map(row).collect()
}

/// What one database did.
pub(super) struct SeenRow {
    /// `db`, `after: db`.
    pub(super) target: String,
    /// What its sessions waited for, with shares of the samples.
    pub(super) waits: String,
    /// What its counters gained.
    pub(super) counters: String,
    /// What counters of the log gained, which the whole server has in common.
    pub(super) log: String,
    /// Checkpoints and what else happened, each with its time.
    pub(super) events: Vec<String>,
}

/// The databases that were watched.
pub(super) fn seen(run: &Run) -> Vec<SeenRow> {
    let row = |seen: &crate::run::TargetActivity| SeenRow {
        target: words::label(seen.variant.as_deref(), &seen.target),
        waits: waits(&seen.activity),
        counters: counters(&seen.activity.database),
        log: counters(&seen.activity.wal),
        events: events(&seen.activity),
    };
    run.activity.iter().map(row).collect()
}

fn waits(activity: &Activity) -> String {
    let mut waits: Vec<(&String, u64)> = activity.waits.iter().map(|(name, count)| (name, *count)).collect();
    waits.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let all = waits.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
    let share = |(name, count): &(&String, u64)| format!("{} {}", printable(name, NAME), words::part(*count, all));
    let shown: Vec<String> = waits.iter().take(MOST).map(share).collect();
    if shown.is_empty() {
        "no session was seen at work".to_owned()
    } else {
        shown.join(", ")
    }
}

fn counters(all: &BTreeMap<String, i64>) -> String {
    let gained = all.iter().filter(|(_, gained)| **gained != 0);
    let shown: Vec<String> = gained
        .map(|(name, gained)| format!("{} {}", printable(name, NAME), units::group_thousands(*gained)))
        .collect();
    shown.join(", ")
}

fn events(activity: &Activity) -> Vec<String> {
    let event = |event: &crate::run::Event| {
        let what = printable(&event.what, SENTENCE);
        format!("at {}: {what}", words::seconds(event.at_s))
    };
    let mut events: Vec<String> = activity.events.iter().take(MOST_EVENTS).map(event).collect();
    let more = activity.events.len().saturating_sub(MOST_EVENTS);
    if more > 0 {
        events.push(format!("and {} more", words::count(more as u64)));
    }
    events.extend(activity.unavailable.iter().map(|why| printable(why, SENTENCE)));
    events
}
