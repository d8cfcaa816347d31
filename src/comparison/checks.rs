//! Could the measurement be believed at all? Knows nothing of limits.

use super::{Check, Reference, sentence};
use crate::{
    baseline::{Baseline, Key},
    metric::{self, Measure, Span},
    run::{Accounting, ErrorCount, MOST_VARIANTS, Model, Run, Step},
    threshold::{Limit, Threshold},
    units::{format_ns, format_share, group_thousands},
};

/// Send lag up to this is always allowed (ns).
const ALLOWED_LAG_NS: f64 = 1e6;

/// Send lag up to this share of the response time that is judged is allowed.
const ALLOWED_LAG_SHARE: f64 = 0.10;

/// The generator must leave the rest of its cores idle.
const ALLOWED_CPU_SHARE: f64 = 0.80;

/// The control group of the generator may be stopped for this share of the time.
const ALLOWED_THROTTLING: f64 = 0.01;

/// Of the files and sockets that the system allows, this share may be open.
const ALLOWED_FILES_SHARE: f64 = 0.95;

/// So much of the users' time may be neither operation nor pause.
const ALLOWED_USER_TIME: f64 = 0.10;

/// What loadgate itself may need between two operations of a user: it weighs only where operations are very short.
const OVERHEAD_PER_OPERATION_S: f64 = 20e-6;

/// A shorter window has no averages to speak of.
const SHORTEST_AVERAGE_S: f64 = 1.0;

/// Of less time than this the share of the CPU says nothing: it begins and ends with work that is no load.
const SHORTEST_SHARE_S: f64 = 0.1;

/// Waiting for a CPU for this share of the time is worth a word.
const NOTED_PRESSURE: f64 = 0.25;

/// A host that gives this share of the CPU time to others is worth a word.
const NOTED_STEAL: f64 = 0.02;

/// The preconditions of a run; those that do not apply are left out.
pub(super) fn checks(run: &Run) -> Vec<Check> {
    [
        Some(accounting(run)),
        Some(completed(run)),
        send_lag(run),
        generator_cpu(run),
        throttling(run),
        open_files(run),
        users_busy(run),
        users_there(run),
        slices_filled(run),
        targets_alive(run),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Of the whole run; of the first variant that does not add up, where the whole does.
fn accounting(run: &Run) -> Check {
    let whole = accounted(&run.accounting, "");
    if !whole.ok {
        return whole;
    }
    let variants = run.variants.iter().take(MOST_VARIANTS);
    let mut variants = variants.map(|variant| accounted(&variant.accounting, &format!("{}: ", variant.name)));
    variants.find(|check| !check.ok).unwrap_or(whole)
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
        _ if run.variants.is_empty() => notes.push(format!("There is no baseline yet: {}.", sentence::HOW_TO_ACCEPT)),
        _ => {}
    }
    if run.environment.build == "debug" {
        notes.push("This is a debug build of loadgate: build with --release before you trust its figures.".into());
    }
    if let Some(pressure) = run
        .generator
        .pressure_share
        .filter(|pressure| *pressure >= NOTED_PRESSURE)
    {
        notes.push(format!(
            "Something on the machine waited for a CPU for {} of the time (pressure): generator and target share too few cores.",
            format_share(pressure)
        ));
    }
    if let Some(steal) = run.generator.steal_share.filter(|steal| *steal >= NOTED_STEAL) {
        notes.push(format!(
            "The host gave {} of the CPU time to other machines (steal): times are longer than on a quiet host.",
            format_share(steal)
        ));
    }
    if let (Some(search), Some(_)) = (&run.search, run.search.as_ref().and_then(|search| search.highest_rate)) {
        notes.push(format!(
            "All figures are those of the highest rate that held. The search ended: {}.",
            search.ended
        ));
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
        let parts = Key::of(run).other_work(&Key::of(&baseline.run)).join(", ");
        notes.push(format!(
            "Relative limits are not judged: {name} did other work (different: {parts}); {}.",
            sentence::HOW_TO_ACCEPT
        ));
    }
    let machine = sentence::machine_differences(&baseline.run.environment, &run.environment);
    if !machine.is_empty() && reference.sessions == 0 {
        notes.push(format!(
            "Another class of machine than that of {name} ({}): times beside it are never critical. \
             Variants of one run answer the same question on any machine.",
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

/// Flow starts of the run, or of whom it names.
fn accounted(accounting: &Accounting, name: &str) -> Check {
    let Accounting {
        scheduled,
        completed,
        failed,
        dropped,
        unfinished,
    } = *accounting;
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
            "{name}all {} scheduled flow starts are accounted for: {parts}",
            count(scheduled)
        )
    } else {
        format!(
            "{name}{} flow starts were scheduled but {parts} are accounted for; the run file is damaged or loadgate has a defect",
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
            Limit::Relative { .. } | Limit::Points(_) | Limit::More(_) => None,
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
    if generator_is_target(run) || run.duration_s < SHORTEST_SHARE_S {
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

/// A control group that may not run for some of the time delays every operation by as much.
fn throttling(run: &Run) -> Option<Check> {
    let share = run.generator.throttled_share?;
    let ok = share < ALLOWED_THROTTLING;
    let (stopped, allowed) = (format_share(share), format_share(ALLOWED_THROTTLING));
    let text = if ok {
        format!(
            "the load generator was allowed to run: throttled for {stopped} of the time, less than the {allowed} allowed"
        )
    } else {
        format!(
            "the load generator was throttled by its control group for {stopped} of the time, less than {allowed} is allowed; raise its CPU limit or lower the load"
        )
    };
    Some(Check {
        id: "throttling".into(),
        text,
        ok,
        value: Some(share),
        limit: Some(ALLOWED_THROTTLING),
    })
}

fn open_files(run: &Run) -> Option<Check> {
    let (open, limit) = (run.generator.open_files?, run.generator.open_files_limit?);
    let allowed = limit as f64 * ALLOWED_FILES_SHARE;
    let ok = (open as f64) < allowed;
    let (open_text, limit_text) = (count(open), count(limit));
    let text = if ok {
        format!("{open_text} files and sockets were open, of {limit_text} allowed by the system")
    } else {
        format!(
            "the load generator ran out of files and sockets: {open_text} were open, {limit_text} are allowed; raise it with ulimit -n, or use fewer users"
        )
    };
    Some(Check {
        id: "open-files".into(),
        text,
        ok,
        value: Some(open as f64),
        limit: Some(allowed),
    })
}

/// The operational law N = X·(R + Z) (Denning and Buzen 1978) for a closed system: what users
/// spent on operations and on waiting makes up the time in which they were there.
fn users_busy(run: &Run) -> Option<Check> {
    let (present, waited) = (run.generator.users_present_s?, run.generator.users_waited_s?);
    // A law of averages says nothing of an instant, nor of work whose waiting is done inside loadgate.
    if present <= 0.0 || run.duration_s < SHORTEST_AVERAGE_S || generator_is_target(run) {
        return None;
    }
    let (sum_ns, operations) = run.steps.iter().fold((0_u64, 0_u64), |(sum, count), step| {
        let all = step.response_time.all();
        (sum.saturating_add(all.sum_ns), count.saturating_add(all.count()))
    });
    let spent = sum_ns as f64 / 1e9 + waited;
    let allowed = ALLOWED_USER_TIME * present + OVERHEAD_PER_OPERATION_S * operations as f64;
    let (share, ok) = (spent / present, (present - spent).abs() <= allowed);
    let spent_text = format_share(share);
    let text = if ok {
        format!("users spent {spent_text} of their time on operations and pauses: N = X·(R + Z) holds")
    } else {
        format!(
            "the load generator was the bottleneck: users spent {spent_text} of their time on operations and pauses, N = X·(R + Z) does not hold within {}; use fewer users, or give loadgate more cores",
            format_share(ALLOWED_USER_TIME)
        )
    };
    Some(Check {
        id: "users-busy".into(),
        text,
        ok,
        value: Some(share),
        limit: Some(1.0 - ALLOWED_USER_TIME),
    })
}

fn users_there(run: &Run) -> Option<Check> {
    let failed = run.generator.failed_users;
    (failed > 0).then(|| Check {
        id: "users-there".into(),
        text: format!(
            "user_setup failed {} times, so the load was not the one asked for; see what it says with --once",
            count(failed)
        ),
        ok: false,
        value: Some(failed as f64),
        limit: Some(0.0),
    })
}

/// A slice without an operation says nothing of its variant, and its time counts all the same.
fn slices_filled(run: &Run) -> Option<Check> {
    let slices: Vec<_> = run
        .intervals
        .iter()
        .filter(|interval| interval.slice.is_some())
        .collect();
    let empty = slices.iter().filter(|slice| slice.steps.is_empty()).count();
    let (all, text) = (count(slices.len() as u64), count(empty as u64));
    (!slices.is_empty()).then(|| Check {
        id: "slices-filled".into(),
        text: if empty == 0 {
            format!("each of {all} slices of load holds operations")
        } else {
            format!(
                "{text} of {all} slices of load hold no operation: they are too short for operations as long as these; \
                 lengthen trial.slice and trial.lead_in"
            )
        },
        ok: empty == 0,
        value: Some(empty as f64),
        limit: Some(0.0),
    })
}

fn targets_alive(run: &Run) -> Option<Check> {
    let died = run.targets.iter().find(|target| target.died)?;
    Some(Check {
        id: "targets-alive".into(),
        text: format!(
            "the process of target \"{}\" ended while load ran; its last words are in the notes",
            died.name
        ),
        ok: false,
        value: None,
        limit: None,
    })
}

/// SQLite does its work on threads of this very process, so its CPU time looks like the generator's.
fn generator_is_target(run: &Run) -> bool {
    run.targets.iter().any(|target| target.kind == "sqlite")
}

fn count(n: u64) -> String {
    group_thousands(i64::try_from(n).unwrap_or(i64::MAX))
}
