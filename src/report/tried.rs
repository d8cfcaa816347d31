//! How often operations were tried, and what circuit breakers did: entries of the document, and cells.

use super::{
    document::{BreakerEntry, BreakerMetrics, Document, RetryEntry, RetryMetrics},
    json::latency_entry,
    words::{self, NAME, UNKNOWN, printable},
};
use crate::{
    run::{Breaker, BreakerState, Run, Transition},
    units,
};

/// Changes of a breaker's state that are shown.
const MOST_TRANSITIONS: usize = 20;

/// The protocol of steps that are no SQL.
const HTTP: &str = "http";

/// One entry per step with a policy or a breaker.
pub(super) fn retries(run: &Run) -> Vec<RetryEntry> {
    let entries = run.retries.iter().filter_map(|tried| {
        let step = run.steps.get(tried.step)?;
        let sql = step.protocol != HTTP;
        Some(RetryEntry {
            name: step.name.clone(),
            variant: step.variant.clone(),
            target: step.target.clone(),
            attempts: tried.attempts,
            retries: tried.retries,
            recovered: tried.recovered,
            exhausted: tried.exhausted,
            attempts_by_second: by_second(run, tried.step),
            metrics: sql.then(|| RetryMetrics {
                attempt: tried.retries,
                success: tried.recovered,
                failure: tried.exhausted,
                duration: latency_entry(&step.service_time.all()),
            }),
        })
    });
    entries.collect()
}

/// Seconds in which a step was tried, and how often; of slices the second in which each began.
fn by_second(run: &Run, step: usize) -> Vec<[u64; 2]> {
    let mut seconds: Vec<[u64; 2]> = Vec::new();
    for interval in &run.intervals {
        let tried = interval.attempts.iter().filter(|tried| tried.step == step);
        for tried in tried {
            match seconds.last_mut().filter(|[second, _]| *second == interval.k) {
                Some([_, attempts]) => *attempts = attempts.saturating_add(tried.attempts),
                None => seconds.push([interval.k, tried.attempts]),
            }
        }
    }
    seconds
}

/// One entry per breaker.
pub(super) fn breakers(run: &Run) -> Vec<BreakerEntry> {
    let entry = |breaker: &Breaker| BreakerEntry {
        metrics: BreakerMetrics {
            success: breaker.success,
            failure: breaker.failure,
            rejected: breaker.rejected,
            tripped: breaker.tripped,
        },
        breaker: breaker.clone(),
    };
    run.breakers.iter().map(entry).collect()
}

/// How often one step was tried, as shown.
pub(super) struct RetryRow {
    /// Its name.
    pub(super) step: String,
    /// Tries, of them retries, operations that recovered, operations given up, tries per completed operation.
    pub(super) figures: [String; 5],
}

/// The steps with a policy or a breaker.
pub(super) fn retry_rows(document: &Document) -> Vec<RetryRow> {
    let row = |entry: &RetryEntry| {
        let same = |step: &&super::document::StepEntry| (&step.name, &step.variant) == (&entry.name, &entry.variant);
        let completed = document.steps.iter().find(same).map_or(0, |step| step.completed);
        let each = (completed > 0).then(|| units::significant(entry.attempts as f64 / completed as f64));
        let counts = [entry.attempts, entry.retries, entry.recovered, entry.exhausted].map(words::count);
        let [attempts, retries, recovered, exhausted] = counts;
        RetryRow {
            step: words::label(entry.variant.as_deref(), &entry.name),
            figures: [
                attempts,
                retries,
                recovered,
                exhausted,
                each.unwrap_or_else(|| UNKNOWN.into()),
            ],
        }
    };
    document.retries.iter().map(row).collect()
}

/// What one breaker did, as shown.
pub(super) struct BreakerRow {
    /// `db`, `after: db`, `db (store)` of a step.
    pub(super) guards: String,
    /// Successes, failures, rejected, how often it opened.
    pub(super) figures: [String; 4],
    /// When it was what: `open at 5.2 s (79 % successes)`.
    pub(super) states: String,
}

/// The breakers.
pub(super) fn breaker_rows(run: &Run) -> Vec<BreakerRow> {
    let row = |breaker: &Breaker| BreakerRow {
        guards: guards(breaker),
        figures: [breaker.success, breaker.failure, breaker.rejected, breaker.tripped].map(words::count),
        states: states(breaker),
    };
    run.breakers.iter().map(row).collect()
}

fn guards(breaker: &Breaker) -> String {
    let target = words::label(breaker.variant.as_deref(), &breaker.target);
    match &breaker.step {
        Some(step) => format!("{target} ({})", printable(step, NAME)),
        None => target,
    }
}

fn states(breaker: &Breaker) -> String {
    let state = |transition: &Transition| {
        let ratio = transition.success_ratio.filter(|_| transition.to == BreakerState::Open);
        let ratio = ratio.map_or_else(String::new, |ratio| {
            format!(" ({} successes)", units::format_share(ratio))
        });
        format!("{} at {}{ratio}", transition.to.word(), words::seconds(transition.at_s))
    };
    let mut states: Vec<String> = breaker.transitions.iter().take(MOST_TRANSITIONS).map(state).collect();
    let unshown = breaker.transitions.len().saturating_sub(MOST_TRANSITIONS) as u64;
    let more = breaker.unlisted.saturating_add(unshown);
    if more > 0 {
        states.push(format!("and {} more", words::count(more)));
    }
    match states.is_empty() {
        true => "always closed".into(),
        false => states.join(", "),
    }
}

/// What breakers did on the timeline: when, and in words.
pub(super) fn events(run: &Run) -> Vec<(f64, String)> {
    let of = |breaker: &Breaker| {
        let guards = guards(breaker);
        let event = move |transition: &Transition| (transition.at_s, format!("{guards} {}", transition.to.word()));
        breaker.transitions.iter().map(event).collect::<Vec<_>>()
    };
    run.breakers.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::{example, json},
        run::{Retries, StepAttempts},
    };

    fn tried() -> Run {
        let mut run = example::run();
        run.retries = vec![Retries {
            step: 2,
            attempts: 2600,
            retries: 197,
            recovered: 180,
            exhausted: 5,
        }];
        for interval in &mut run.intervals {
            interval.attempts.push(StepAttempts { step: 2, attempts: 130 });
        }
        let change = |at_s, from, to, success_ratio| Transition {
            at_s,
            from,
            to,
            success_ratio,
        };
        use BreakerState::{Closed, HalfOpen, Open};
        run.breakers = vec![Breaker {
            target: "db".into(),
            success: 2300,
            failure: 41,
            rejected: 480,
            tripped: 1,
            transitions: vec![
                change(5.21, Closed, Open, Some(0.79)),
                change(10.21, Open, HalfOpen, None),
                change(10.23, HalfOpen, Closed, Some(1.0)),
            ],
            ..Breaker::default()
        }];
        run
    }

    #[test]
    fn the_document_has_the_counts_under_both_names() {
        let run = tried();
        let document = json::document(&run, &example::alone(), 0, vec![]);
        let json = serde_json::to_value(&document).unwrap();
        let retries = &json["retries"][0];
        assert_eq!(
            (&retries["name"], &retries["attempts"]),
            (&"order by id".into(), &2600.into())
        );
        assert_eq!(retries["metrics"]["database.retry.attempt"], 197);
        assert_eq!(retries["metrics"]["database.retry.success"], 180);
        assert_eq!(retries["metrics"]["database.retry.failure"], 5);
        assert_eq!(
            retries["metrics"]["database.operation.duration"]["p50"],
            json["steps"][2]["service_time"]["p50"]
        );
        assert_eq!(retries["attempts_by_second"][1], serde_json::json!([1, 130]));
        let breaker = &json["breakers"][0];
        assert_eq!((&breaker["target"], &breaker["rejected"]), (&"db".into(), &480.into()));
        assert_eq!(breaker["metrics"]["circuit_breaker.tripped"], 1);
        assert_eq!(breaker["transitions"][0]["to"], "open");
    }

    #[test]
    fn rows_say_when_a_breaker_was_what() {
        let run = tried();
        let rows = breaker_rows(&run);
        assert_eq!(rows[0].guards, "db");
        assert_eq!(
            rows[0].states,
            "open at 5.21 s (79 % successes), half-open at 10.2 s, closed at 10.2 s"
        );
        let document = json::document(&run, &example::alone(), 0, vec![]);
        let row = &retry_rows(&document)[0];
        assert_eq!((row.step.as_str(), row.figures[0].as_str()), ("order by id", "2,600"));
    }

    #[test]
    fn a_run_without_policies_says_nothing_of_them() {
        let document = json::document(&example::run(), &example::alone(), 0, vec![]);
        let json = serde_json::to_value(&document).unwrap();
        assert!(json.get("retries").is_none() && json.get("breakers").is_none());
    }
}
