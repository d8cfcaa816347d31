//! Did the target take the load it was offered? What it could not take is a
//! finding about the target, whether or not a limit was set on it.

use crate::{
    metric::Measure,
    run::{Model, Run},
    units::{format_share, group_thousands},
};

/// A smaller share of flow starts may be missed.
const ALLOWED_MISSED_SHARE: f64 = 0.01;

/// What is due in so short a time may still wait when the window ends: that is no overload.
const ALLOWED_BACKLOG_S: f64 = 0.1;

/// What the target could not take, one sentence each; critical.
pub(super) fn findings(run: &Run) -> Vec<String> {
    let aborted = run
        .aborted
        .as_ref()
        .map(|why| format!("aborted after {:.0} s: {why}", run.duration_s));
    let nothing_held = run.search.as_ref().filter(|search| search.highest_rate.is_none());
    let nothing_held = nothing_held.and_then(|search| {
        let lowest = search.rates.first()?;
        let reason = lowest.reason.as_deref().unwrap_or("a limit was broken");
        Some(format!("no rate held, not even {:.0}/s: {reason}", lowest.rate))
    });
    // Each variant is asked for itself.
    let missed = run.variants.is_empty().then(|| missed(run)).flatten();
    aborted.into_iter().chain(nothing_held).chain(missed).collect()
}

/// In the open model: flow starts that were due and found neither session nor time.
pub(super) fn missed(run: &Run) -> Option<String> {
    let limited = run
        .thresholds
        .iter()
        .any(|threshold| threshold.metric.measure == Measure::DroppedRate);
    let accounting = &run.accounting;
    if run.load.model != Model::Open || limited || accounting.scheduled == 0 {
        return None;
    }
    let share = accounting.dropped as f64 / accounting.scheduled as f64;
    let backlog = run.load.rate.unwrap_or(0.0) * ALLOWED_BACKLOG_S;
    (share >= ALLOWED_MISSED_SHARE && accounting.dropped as f64 > backlog).then(|| {
        format!(
            "the target could not carry the load: {} of {} flow starts that were due found no free session ({}); \
             lower the rate, allow more than {} in flight, or limit dropped_rate if that is meant",
            count(accounting.dropped),
            count(accounting.scheduled),
            format_share(share),
            run.load.sessions,
        )
    })
}

fn count(n: u64) -> String {
    group_thousands(i64::try_from(n).unwrap_or(i64::MAX))
}
