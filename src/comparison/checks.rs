//! Could the measurement be believed at all? Knows nothing of limits.

use super::{Check, Reference, sentence};
use crate::{
    baseline::Baseline,
    metric::{self, Measure, Span},
    run::{Accounting, ErrorCount, Model, Run, Step},
    threshold::{Limit, Threshold},
    units::{format_ns, format_share, group_thousands},
};

/// Send lag up to this is always allowed (ns).
const ALLOWED_LAG_NS: f64 = 1e6;

/// Send lag up to this share of the response time that is judged is allowed.
const ALLOWED_LAG_SHARE: f64 = 0.10;

/// The generator must leave the rest of its cores idle.
const ALLOWED_CPU_SHARE: f64 = 0.80;

/// The preconditions of a run; those that do not apply are left out.
pub(super) fn checks(run: &Run) -> Vec<Check> {
    [
        Some(accounting(run)),
        Some(completed(run)),
        send_lag(run),
        generator_cpu(run),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the reader must know besides the verdict.
pub(super) fn notes(run: &Run, baseline: Option<&Baseline>, reference: Option<&Reference>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(why) = &run.partial {
        notes.push(format!(
            "The run is partial ({why}): what was measured until then is shown."
        ));
    }
    match (baseline, reference) {
        (Some(baseline), Some(reference)) => notes.extend(baseline_notes(run, baseline, reference)),
        _ => notes.push(format!("There is no baseline yet: {}.", sentence::HOW_TO_ACCEPT)),
    }
    if run.environment.build == "debug" {
        notes.push("This is a debug build of loadgate: build with --release before you trust its figures.".into());
    }
    if generator_is_target(run)
        && run
            .generator
            .cpu_share()
            .is_some_and(|share| share >= ALLOWED_CPU_SHARE)
    {
        notes.push(
            "SQLite runs inside loadgate, so the generator's own share of the CPU is not known and not checked.".into(),
        );
    }
    notes
}

fn baseline_notes(run: &Run, baseline: &Baseline, reference: &Reference) -> Vec<String> {
    let name = sentence::baseline_name(Some(baseline));
    let mut notes = Vec::new();
    if !reference.comparable {
        let parts = baseline.run.fingerprint.differences(&run.fingerprint).join(", ");
        notes.push(format!(
            "Relative limits are not judged: {name} did other work (different: {parts}); {}.",
            sentence::HOW_TO_ACCEPT
        ));
    }
    let machine = sentence::machine_differences(&baseline.run.environment, &run.environment);
    if !machine.is_empty() {
        notes.push(format!(
            "Another class of machine than that of {name} ({}): times beside it are never critical.",
            machine.join("; ")
        ));
    }
    if baseline.run.environment.build != run.environment.build {
        let (now, before) = (&run.environment.build, &baseline.run.environment.build);
        notes.push(format!(
            "This run is from a {now} build of loadgate, {name} from a {before} build."
        ));
    }
    notes
}

fn accounting(run: &Run) -> Check {
    let Accounting {
        scheduled,
        completed,
        failed,
        dropped,
        unfinished,
    } = run.accounting;
    // In 128 bits: a damaged file may hold counts that overflow.
    let sum: u128 = [completed, failed, dropped, unfinished]
        .into_iter()
        .map(u128::from)
        .sum();
    let ok = u128::from(scheduled) == sum;
    let parts = format!(
        "{} completed + {} failed + {} dropped + {} unfinished",
        count(completed),
        count(failed),
        count(dropped),
        count(unfinished)
    );
    let text = if ok {
        format!(
            "all {} scheduled flow starts are accounted for: {parts}",
            count(scheduled)
        )
    } else {
        format!(
            "{} flow starts were scheduled but {parts} are accounted for; the run file is damaged or loadgate has a defect",
            count(scheduled)
        )
    };
    Check {
        id: "accounting".into(),
        text,
        ok,
        value: Some(sum as f64),
        limit: Some(scheduled as f64),
    }
}

fn completed(run: &Run) -> Check {
    let total = |figure: fn(&Step) -> u64| run.steps.iter().map(figure).fold(0, u64::saturating_add);
    let (completed, failed, unfinished) = (total(Step::completed), total(Step::failed), total(Step::unfinished));
    let text = if completed > 0 {
        format!("{} operations completed", count(completed))
    } else if failed > 0 {
        format!(
            "nothing completed: {} operations failed{}",
            count(failed),
            most_often(run)
        )
    } else if unfinished > 0 {
        format!(
            "nothing completed: {} operations were still under way at the end; raise the duration or the drain time",
            count(unfinished)
        )
    } else {
        "nothing completed: no operation was started".to_owned()
    };
    Check {
        id: "completed".into(),
        text,
        ok: completed > 0,
        value: Some(completed as f64),
        limit: None,
    }
}

/// `, most often with http 503: Service Unavailable`.
fn most_often(run: &Run) -> String {
    // The first of equals, so that the order of the scenario decides.
    let errors = run.steps.iter().flat_map(|step| &step.errors).rev();
    let Some(ErrorCount { class, example, .. }) = errors.max_by_key(|error| error.count) else {
        return String::new();
    };
    match example {
        Some(example) => format!(", most often with {class}: {example}"),
        None => format!(", most often with {class}"),
    }
}

/// In the open model flows must start when they are due, or the load was not the one asked for.
///
/// How late is too late depends on what is judged: at the statistic of each
/// limit on a response time, the lag may be 10 % of what the limit is about.
/// Where no response time is judged, p99 is held against the median.
fn send_lag(run: &Run) -> Option<Check> {
    if run.load.model != Model::Open {
        return None;
    }
    let (metric, lag, limit) = run
        .thresholds
        .iter()
        .filter_map(|threshold| judged_lag(run, threshold))
        .max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2)))
        .or_else(|| default_lag(run))?;
    let (lag_text, limit_text) = (format_ns(lag), format_ns(limit));
    let ok = lag <= limit;
    let text = if ok {
        format!("flows started on time: send lag {metric} {lag_text}, at most {limit_text} allowed")
    } else {
        format!(
            "the load generator could not keep up: flows started {lag_text} late at {metric}, at most {limit_text} is allowed; lower the rate, or give loadgate more cores or a machine of its own"
        )
    };
    Some(Check {
        id: "send-lag".into(),
        text,
        ok,
        value: Some(lag),
        limit: Some(limit),
    })
}

/// Name of the statistic, the lag at it, and the lag allowed there.
fn judged_lag(run: &Run, threshold: &Threshold) -> Option<(&'static str, f64, f64)> {
    let Measure::Latency(Span::ResponseTime, statistic) = threshold.metric.measure else {
        return None;
    };
    let absolute = [threshold.warning, threshold.critical]
        .into_iter()
        .flatten()
        .filter_map(|limit| match limit {
            Limit::Absolute { value, .. } => Some(value),
            Limit::Relative { .. } | Limit::Points(_) => None,
        })
        .reduce(f64::min);
    let about = absolute.or_else(|| run.value(threshold.step.as_deref(), threshold.metric))?;
    let lag = run.send_lag.statistic(statistic)?;
    Some((threshold.metric.name, lag, allowed_lag(about)))
}

fn default_lag(run: &Run) -> Option<(&'static str, f64, f64)> {
    let median = run.value(None, metric::find("p50")?);
    Some(("p99", run.send_lag.quantile(0.99)?, allowed_lag(median.unwrap_or(0.0))))
}

fn allowed_lag(response_time: f64) -> f64 {
    ALLOWED_LAG_NS.max(ALLOWED_LAG_SHARE * response_time)
}

fn generator_cpu(run: &Run) -> Option<Check> {
    if generator_is_target(run) {
        return None;
    }
    let share = run.generator.cpu_share()?;
    let ok = share < ALLOWED_CPU_SHARE;
    let (used, allowed) = (format_share(share), format_share(ALLOWED_CPU_SHARE));
    let text = if ok {
        format!("the load generator used {used} of its cores, less than the {allowed} allowed")
    } else {
        let less = if run.load.model == Model::Open {
            "lower the rate"
        } else {
            "use fewer users"
        };
        format!(
            "the load generator was the bottleneck: it used {used} of its cores, less than {allowed} is allowed; {less}, or give loadgate more cores"
        )
    };
    Some(Check {
        id: "generator-cpu".into(),
        text,
        ok,
        value: Some(share),
        limit: Some(ALLOWED_CPU_SHARE),
    })
}

/// SQLite does its work on threads of this very process, so its CPU time looks like the generator's.
fn generator_is_target(run: &Run) -> bool {
    run.targets.iter().any(|target| target.kind == "sqlite")
}

fn count(n: u64) -> String {
    group_thousands(i64::try_from(n).unwrap_or(i64::MAX))
}
