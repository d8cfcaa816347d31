//! The highest rate at which the limits hold: the first rate is doubled until
//! something breaks, then the gap between the highest rate that held and the
//! lowest that did not is halved until it is small enough.
//!
//! Each rate is a whole load with warm-up, window and drain, judged like any
//! run. It holds when every absolute limit holds, the target carried the load,
//! and response times did not keep growing.

use super::{Setting, measure};
use crate::{
    comparison::{self, Comparison, Judgement, Options, Verdict},
    executor::{Event, Plan, WorkerError},
    metric::{self, Better},
    run::{Run, Search as Searched, TriedRate},
    threshold::{Limit, Threshold},
    workload::{Profile, Rates, Search},
};

/// Response times that grow by more than this factor from the begin to the end of a window are not steady,
const STEADY_FACTOR: f64 = 1.5;

/// unless the growth is smaller than this (ns).
const STEADY_FLOOR_NS: f64 = 2e6;

/// What came of one rate.
struct Tried {
    run: Run,
    entry: TriedRate,
    /// The generator was at fault, so the rate says nothing of the target.
    invalid: bool,
}

/// Tries rates until the highest that holds is known; the run of it, or of the lowest if none held.
pub(super) async fn search(
    plan: &Plan,
    search: Search,
    setting: &Setting,
    on_event: &mut dyn FnMut(Event),
) -> Result<Run, WorkerError> {
    let mut rates = Vec::new();
    let (mut best, mut first): (Option<Run>, Option<Run>) = (None, None);
    let mut course = Course::new(search);
    while let Some(rate) = course.next() {
        on_event(Event::Trying(rate));
        let Tried { run, entry, invalid } = attempt(plan, rate, setting, on_event).await?;
        if setting.interrupt.stop.is_cancelled() {
            course.interrupted();
            first.get_or_insert(run);
            break;
        }
        course.learn(rate, entry.held, invalid);
        if entry.held {
            best = Some(run);
        } else {
            first.get_or_insert(run);
        }
        rates.push(entry);
    }
    let highest_rate = course.held;
    // One of both is there: at least one rate was tried.
    let Some(run) = best.or(first) else {
        return Err(WorkerError::Died);
    };
    Ok(Run {
        search: Some(Searched {
            highest_rate,
            ended: course.ended(),
            rates,
        }),
        thresholds: plan.workload().thresholds.clone(),
        partial: course.interrupted.then(|| "interrupted while searching".to_owned()),
        ..run
    })
}

async fn attempt(
    plan: &Plan,
    rate: f64,
    setting: &Setting,
    on_event: &mut dyn FnMut(Event),
) -> Result<Tried, WorkerError> {
    let mut plan = plan.clone();
    if let Profile::Open { rates, .. } = &mut plan.load.profile {
        *rates = Rates::constant(rate);
    }
    let run = measure(&plan, setting, on_event).await?;
    let run = Run {
        thresholds: run.thresholds.iter().filter_map(absolute).collect(),
        ..run
    };
    let comparison = comparison::compare(&run, None, &Options::default());
    let reason = match comparison.verdict {
        Verdict::Critical | Verdict::Invalid => comparison.reasons.first().cloned(),
        _ => broken(&comparison).or_else(|| unsteady(&run)),
    };
    let value = |name: &str| metric::find(name).and_then(|metric| run.value(None, metric));
    let ended = run.accounting.completed + run.accounting.failed;
    let entry = TriedRate {
        rate,
        achieved: ended as f64 / run.duration_s.max(f64::MIN_POSITIVE),
        p50_ns: value("p50"),
        p99_ns: value("p99"),
        held: reason.is_none(),
        reason,
    };
    Ok(Tried {
        invalid: comparison.verdict == Verdict::Invalid,
        run,
        entry,
    })
}

/// The absolute limits of a threshold, which are those that a single rate can be judged by.
/// A warning becomes what must hold where there is no critical limit.
fn absolute(threshold: &Threshold) -> Option<Threshold> {
    let absolute = |limit: Option<Limit>| limit.filter(|limit| !limit.is_relative());
    let critical = absolute(threshold.critical).or(absolute(threshold.warning))?;
    (threshold.metric.name != "highest_rate").then(|| Threshold {
        warning: None,
        critical: Some(critical),
        ..threshold.clone()
    })
}

/// The first limit that the measured value itself breaks; a search is too short at
/// each rate to ask for more certainty than the value.
fn broken(comparison: &Comparison) -> Option<String> {
    let breaks = |judgement: &&Judgement| match (judgement.candidate, judgement.critical) {
        (Some(value), Some(Limit::Absolute { value: limit, .. })) => match judgement.better {
            Better::Lower => value > limit,
            Better::Higher => value < limit,
        },
        _ => true,
    };
    comparison
        .judgements
        .iter()
        .find(breaks)
        .map(|judgement| judgement.reason.clone())
}

/// Response times that keep growing: the queue would grow for as long as the rate is held.
fn unsteady(run: &Run) -> Option<String> {
    let window = run.duration_s.floor().max(1.0) as usize;
    let intervals = &run.intervals[..window.min(run.intervals.len())];
    let part = (intervals.len() / 3).max(1);
    let mean = |intervals: &[crate::run::Interval]| {
        let steps = || intervals.iter().flat_map(|interval| &interval.steps);
        let count: u64 = steps().map(|step| step.completed + step.failed).sum();
        let sum: u64 = steps().map(|step| step.response_sum_ns).sum();
        (count > 0).then(|| sum as f64 / count as f64)
    };
    if intervals.len() < 2 {
        return None;
    }
    let (early, late) = (mean(&intervals[..part])?, mean(&intervals[intervals.len() - part..])?);
    (late > STEADY_FACTOR * early && late > early + STEADY_FLOOR_NS).then(|| {
        format!(
            "response times kept growing: {} at the begin of the window, {} at its end",
            crate::units::format_ns(early),
            crate::units::format_ns(late)
        )
    })
}

/// Which rate to try next; knows nothing of how a rate is tried.
#[derive(Debug)]
struct Course {
    search: Search,
    /// The highest rate that held.
    held: Option<f64>,
    /// The lowest rate that did not.
    broke: Option<f64>,
    /// The lowest rate at which the generator itself was at fault.
    generator: Option<f64>,
    interrupted: bool,
}

impl Course {
    fn new(search: Search) -> Self {
        Self {
            search,
            held: None,
            broke: None,
            generator: None,
            interrupted: false,
        }
    }

    fn next(&self) -> Option<f64> {
        match (self.held, self.broke) {
            (None, None) => Some(self.search.from),
            (Some(held), None) => Some((held * 2.0).min(self.search.to)).filter(|rate| *rate > held),
            (Some(held), Some(broke)) => {
                // Whole rates read better, as long as they are far enough apart.
                let middle = (held * broke).sqrt();
                let middle = if held >= 100.0 { middle.round() } else { middle };
                (broke / held > 1.0 + self.search.precision && middle > held && middle < broke).then_some(middle)
            }
            (None, Some(_)) => None,
        }
    }

    fn learn(&mut self, rate: f64, held: bool, invalid: bool) {
        if held {
            self.held = Some(rate);
        } else {
            self.broke = Some(rate);
            if invalid {
                self.generator = Some(rate);
            }
        }
    }

    fn interrupted(&mut self) {
        self.interrupted = true;
    }

    fn ended(&self) -> String {
        match (self.held, self.broke) {
            _ if self.interrupted => "it was interrupted".into(),
            (_, Some(broke)) if self.generator == Some(broke) => {
                format!("at {broke:.0}/s the load generator itself could not keep up, so the target may take more")
            }
            (Some(_), Some(broke)) => format!("{broke:.0}/s did not hold"),
            (Some(held), None) => format!("{held:.0}/s is the highest rate it was to try, and it held"),
            (None, _) => format!("the lowest rate, {:.0}/s, did not hold", self.search.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a target that takes everything up to `capacity`; the rates tried, and the answer.
    fn rates(capacity: f64) -> (Vec<f64>, Option<f64>, String) {
        let mut course = Course::new(Search {
            from: 100.0,
            to: 10_000.0,
            precision: 0.05,
        });
        let mut tried = Vec::new();
        while let Some(rate) = course.next() {
            course.learn(rate, rate <= capacity, false);
            tried.push(rate);
            assert!(tried.len() < 30, "{tried:?}");
        }
        (tried, course.held, course.ended())
    }

    #[test]
    fn the_answer_is_below_the_capacity_and_close_to_it() {
        for capacity in [101.0, 333.0, 800.0, 4_999.0] {
            let (tried, held, _) = rates(capacity);
            let held = held.unwrap();
            assert!(
                held <= capacity && held * 1.06 > capacity,
                "{capacity}: {held} of {tried:?}"
            );
        }
    }

    #[test]
    fn what_never_holds_or_always_holds_says_so() {
        let (tried, held, ended) = rates(50.0);
        assert_eq!((tried, held), (vec![100.0], None));
        assert!(ended.contains("lowest rate, 100/s"), "{ended}");
        let (tried, held, ended) = rates(1e9);
        assert_eq!(held, Some(10_000.0));
        assert!(ended.contains("10000/s is the highest"), "{ended}");
        assert_eq!(tried.len(), 8, "{tried:?}");
    }

    #[test]
    fn a_generator_at_its_limit_is_no_limit_of_the_target() {
        let mut course = Course::new(Search {
            from: 100.0,
            to: 150.0,
            precision: 0.5,
        });
        course.learn(100.0, true, false);
        course.learn(150.0, false, true);
        assert_eq!(course.next(), None);
        assert!(course.ended().contains("load generator itself"));
    }
}
