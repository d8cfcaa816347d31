//! Findings in words. Decides nothing.

use super::{
    Judgement, Verdict,
    paired::{Decision, Label},
};
use crate::{
    baseline::{Baseline, DEFAULT_NAME},
    metric::{Better, Metric},
    run::{Conduct, Environment, Unit as Observation},
    stats::Bounds,
    threshold::Limit,
    units::{Unit, format_change, format_count, format_share, significant},
};

/// How a run becomes the baseline.
pub(super) const HOW_TO_ACCEPT: &str = "accept a run with `loadgate baseline accept RUN_DIRECTORY`";

/// `list orders p95 response time`.
pub(super) fn subject(step: Option<&str>, metric: &Metric) -> String {
    match step {
        Some(step) => format!("{step} {}", metric.title),
        None if metric.measure.is_of_run() => metric.title.to_owned(),
        None => format!("all steps {}", metric.title),
    }
}

/// `the baseline`, with its name where it is not the default one.
pub(super) fn baseline_name(baseline: Option<&Baseline>) -> String {
    match baseline {
        Some(baseline) if baseline.name != DEFAULT_NAME => {
            format!("the baseline \"{}\"", baseline.name)
        }
        _ => "the baseline".to_owned(),
    }
}

/// `list orders p95 response time is 299 ms`.
pub(super) fn value(judgement: &Judgement) -> String {
    let subject = subject(judgement.step.as_deref(), judgement.metric);
    match judgement.candidate {
        Some(value) => format!("{subject} is {}", judgement.unit.format(value)),
        None => format!("{subject} has no value"),
    }
}

/// `list orders p95 response time is 41 % slower than the baseline (299 ms, was 212 ms; interval +33…+50 %; limit +10%)`.
pub(super) fn change(
    judgement: &Judgement,
    limit: Limit,
    change: f64,
    interval: Option<Bounds>,
    baseline: &str,
) -> String {
    let size = format_size(change.abs(), limit);
    let subject = subject(judgement.step.as_deref(), judgement.metric);
    let compared = if size.starts_with("0.0 ") || size == "0" {
        format!("as in {baseline}")
    } else {
        format!("{size} {} than {baseline}", direction(judgement, change))
    };
    let format = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), |value| judgement.unit.format(value));
    let interval = interval
        .map(|bounds| format!("; interval {}", format_interval(bounds, limit)))
        .unwrap_or_default();
    let (now, before) = (format(judgement.candidate), format(judgement.reference));
    format!("{subject} is {compared} ({now}, was {before}{interval}; limit {limit})")
}

/// `list orders p95 response time is 92.1 ms, above its limit of 80 ms (95 % bounds 88 ms to 95 ms)`.
pub(super) fn absolute(judgement: &Judgement, limit: Limit, bounds: Option<Bounds>) -> String {
    let Limit::Absolute { value: allowed, .. } = limit else {
        return value(judgement);
    };
    let candidate = judgement.candidate.unwrap_or(allowed);
    let relation = match judgement.better {
        Better::Lower if candidate > allowed => "above",
        Better::Higher if candidate < allowed => "below",
        _ => "within",
    };
    let bounds = bounds.map(|[lower, upper]| {
        let upper = if upper.is_finite() {
            judgement.unit.format(upper)
        } else {
            "unknown".to_owned()
        };
        format!(" (95 % bounds {} to {upper})", judgement.unit.format(lower))
    });
    format!(
        "{}, {relation} its limit of {limit}{}",
        value(judgement),
        bounds.unwrap_or_default()
    )
}

/// `; confirmed by 12 fresh epochs`, behind a finding that was critical at a look.
pub(super) fn confirmation(decision: Option<&Decision>, verdict: Option<Verdict>) -> String {
    let Some(decision) = decision else { return String::new() };
    match (decision.confirmation, verdict, decision.label) {
        (Some(epochs), Some(Verdict::Critical), _) => format!("; confirmed by {epochs} fresh epochs"),
        (Some(epochs), _, Some(Label::Unconfirmed)) => {
            format!(
                "; it was critical before, and {epochs} fresh epochs, of which these are the figures, did not confirm it"
            )
        }
        (None, _, Some(Label::Unconfirmed)) => {
            "; it would be critical, but the run ended before fresh epochs could confirm it".to_owned()
        }
        _ => String::new(),
    }
}

/// How the trial came to its end, for the notes.
pub(super) fn conduct(conduct: &Conduct, epochs: u32, whole: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if whole && epochs < conduct.epochs && conduct.confirmation.is_some() {
        notes.push(format!(
            "Load ended after {epochs} of {} epochs to confirm what was critical in fresh ones; what was open then stayed so.",
            conduct.epochs
        ));
    } else if whole && epochs < conduct.epochs {
        notes.push(format!(
            "The trial ended after {epochs} of {} epochs: nothing that matters was open any more.",
            conduct.epochs
        ));
    }
    if conduct.unit == Observation::Pair {
        notes.push(format!(
            "The verdict is about these two instances: loadgate did not start the targets, so what two instances of one \
             program differ by is taken as {}.",
            format_share(conduct.instance_spread)
        ));
    }
    if conduct.inflation > 1.0 {
        notes.push(format!(
            "Standard errors are multiplied by {}, as the calibration of this class of machine asks for.",
            significant(conduct.inflation)
        ));
    }
    notes
}

/// How much more load would tell, in words.
pub(super) fn more_load(times: f64, both: bool) -> String {
    let place = if both { ", in this run and in the baseline," } else { "" };
    match times {
        x if x <= 2.0 => format!("about twice as much load{place} would settle it"),
        x if x <= 100.0 => format!("about {:.0} times as much load{place} would settle it", x.ceil()),
        x if x.is_finite() => "it lies too close to the limit for more load to settle it".to_owned(),
        _ => "there are too few samples to bound it; run longer or with more load".to_owned(),
    }
}

/// The sentence when nothing is worse than pass.
pub(super) fn pass(judgements: &[Judgement], has_baseline: bool) -> String {
    let held = judgements
        .iter()
        .filter(|judgement| judgement.verdict == Some(Verdict::Pass))
        .count();
    let missing = if has_baseline {
        "the baseline is not comparable"
    } else {
        "no baseline yet"
    };
    match (judgements.len(), held) {
        (0, _) => "pass: no limits are set".to_owned(),
        (all, held) if all == held => format!("pass: {held} of {all} limits hold"),
        (_, 0) => format!("pass: no limit is broken; {missing}"),
        (all, held) => {
            format!("pass: {held} of {all} limits hold, the others are not judged; {missing}")
        }
    }
}

/// What differs between two machines' classes: `cores: 2, was 4`.
pub(super) fn machine_differences(reference: &Environment, candidate: &Environment) -> Vec<String> {
    let (before, now) = (reference.machine_class(), candidate.machine_class());
    let differs = |differs: bool, text: String| differs.then_some(text);
    [
        differs(before.cpu != now.cpu, format!("CPU: {}, was {}", now.cpu, before.cpu)),
        differs(
            before.cores != now.cores,
            format!("cores: {}, was {}", now.cores, before.cores),
        ),
        differs(
            before.memory_gib != now.memory_gib,
            format!("memory: {} GiB, was {} GiB", now.memory_gib, before.memory_gib),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The comparative that fits: a positive change is worse.
fn direction(judgement: &Judgement, change: f64) -> &'static str {
    let worse = change > 0.0;
    match (judgement.unit, judgement.better) {
        (Unit::Ns, _) if worse => "slower",
        (Unit::Ns, _) => "faster",
        (_, Better::Lower) if worse => "higher",
        (_, Better::Higher) if !worse => "higher",
        _ => "lower",
    }
}

/// `41 %`, `0.8 points`, `1`, without a sign.
fn format_size(change: f64, limit: Limit) -> String {
    match limit {
        Limit::Points(_) => match significant(change * 100.0) {
            text if text == "0" => "0.0 points".to_owned(),
            text => format!("{text} percentage points"),
        },
        Limit::More(_) => format_count(change),
        Limit::Absolute { .. } | Limit::Relative { .. } => format_change(change).trim_start_matches('+').to_owned(),
    }
}

/// `+33…+50 %`, `-0.1…+0.9 points`.
fn format_interval([lower, upper]: Bounds, limit: Limit) -> String {
    let signed = |value: f64, text: String| format!("{}{text}", if value < 0.0 { "" } else { "+" });
    match limit {
        Limit::Points(_) => {
            let bound = |value: f64| signed(value, significant(value * 100.0));
            format!("{}…{} points", bound(lower), bound(upper))
        }
        Limit::More(_) => {
            let bound = |value: f64| signed(value, format_count(value));
            format!("{}…{}", bound(lower), bound(upper))
        }
        Limit::Absolute { .. } | Limit::Relative { .. } => {
            let bound = |value: f64| match format_change(value).trim_end_matches(" %") {
                "-0.0" | "+0.0" => "0.0".to_owned(),
                text => text.to_owned(),
            };
            format!("{}…{} %", bound(lower), bound(upper))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_loads_in_words() {
        let relative = Limit::Relative {
            change: 0.1,
            floor: None,
            unit: Unit::Ns,
        };
        assert_eq!(format_interval([0.33, 0.5], relative), "+33…+50 %");
        assert_eq!(format_interval([-0.021, 0.145], relative), "-2.1…+14 %");
        assert_eq!(format_interval([-0.0001, 0.0], relative), "0.0…0.0 %");
        assert_eq!(
            format_interval([-0.001, 0.0095], Limit::Points(0.01)),
            "-0.1…+0.95 points"
        );
        assert_eq!(format_interval([-1.0, 2.5], Limit::More(0.0)), "-1…+2.5");
        assert_eq!(more_load(1.2, false), "about twice as much load would settle it");
        assert_eq!(
            more_load(4.2, true),
            "about 5 times as much load, in this run and in the baseline, would settle it"
        );
        assert!(more_load(1e4, false).contains("too close"));
        assert!(more_load(f64::INFINITY, false).contains("too few samples"));
        assert!(more_load(f64::NAN, false).contains("too few samples"));
    }
}
