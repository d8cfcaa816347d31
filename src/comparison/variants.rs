//! Variants of one run beside their reference.

use super::{
    Check, Finding, Judgement, Verdict, carried,
    evidence::{Evidence, Role},
    judge::Judge,
    paired, sentence,
};
use crate::{
    run::{MOST_VARIANTS, Run},
    units::format_count,
};

/// What the thresholds say of every variant but the first, and what the reader must know besides.
pub(super) fn judge(run: &Run) -> (Vec<Judgement>, Vec<String>) {
    let Some((name, reference)) = run.variants.first().zip(run.of_variant(0)) else {
        return (Vec::new(), Vec::new());
    };
    let stored = paired::Stored::new(run);
    let (decisions, epochs) = paired::decide(&stored.pairing(run));
    let mut decisions = decisions.into_iter();
    let mut judgements = Vec::new();
    for (index, variant) in run.variants.iter().enumerate().take(MOST_VARIANTS).skip(1) {
        let Some(candidate) = run.of_variant(index) else {
            continue;
        };
        let mut judge = Judge {
            candidate: Evidence::new(&candidate, Role::Candidate),
            reference: Some(Evidence::new(&reference, Role::Reference)),
            set: None,
            other_machine: false,
            baseline: format!("\"{}\"", name.name),
        };
        for (threshold, decision) in run.thresholds.iter().zip(decisions.by_ref()) {
            let judgement = judge.judge_decided(threshold, decision.as_ref());
            judgements.push(Judgement {
                id: format!("{}@{}", judgement.id, variant.name),
                reason: format!("{}: {}", variant.name, judgement.reason),
                variant: Some(variant.name.clone()),
                ..judgement
            });
        }
    }
    let mut notes = sentence::conduct(&stored.conduct, epochs, run.partial.is_none());
    notes.extend(paired::notes(&stored.pairing(run)));
    (judgements, notes)
}

/// Whether the variants were treated alike.
pub(super) fn checks(run: &Run) -> Vec<Check> {
    if run.conduct.is_none() {
        return Vec::new();
    }
    paired::checks(&paired::Stored::new(run).pairing(run))
}

/// Variants that could not take the load: what the first cannot carry is no load to compare at;
/// what only another cannot is its fault.
pub(super) fn not_carried(run: &Run) -> Vec<Finding> {
    let variants = run.variants.iter().enumerate().take(MOST_VARIANTS);
    let missed = variants.filter_map(|(index, variant)| {
        let text = carried::missed(&run.of_variant(index)?)?;
        Some(Finding {
            verdict: if index == 0 {
                Verdict::Invalid
            } else {
                Verdict::Critical
            },
            text: format!("{}: {text}", variant.name),
        })
    });
    missed.collect()
}

/// From so many queries more per record on it is one for each: what a loop does that should be a join.
const ONE_FOR_EACH: f64 = 0.9;

/// Steps whose queries grow with the records they are about.
pub(super) fn growing(run: &Run) -> Vec<String> {
    let steps = run.census.iter().flat_map(|census| &census.steps);
    let growing = steps.filter_map(|counted| {
        let growth = counted.growth.filter(|growth| growth.slope() >= ONE_FOR_EACH)?;
        let name = run.steps.get(counted.step)?.label();
        let ([few, many], [at_few, at_many]) = (growth.records, growth.queries.map(format_count));
        let slope = format_count(growth.slope());
        Some(format!(
            "{name} is N+1: {slope} queries more for each record ({at_few} for {few} records, {at_many} for {many})."
        ))
    });
    growing.collect()
}

/// Variants that answer differently do not do the same work, however fast they are.
pub(super) fn other_answers(run: &Run) -> Vec<Finding> {
    let differences = run.equivalence.iter().flat_map(|equivalence| &equivalence.differences);
    let mut told: Vec<(&str, &str)> = Vec::new();
    let mut findings = Vec::new();
    for difference in differences {
        let about = (difference.variant.as_str(), difference.step.as_str());
        if told.contains(&about) {
            continue;
        }
        told.push(about);
        findings.push(Finding {
            verdict: Verdict::Critical,
            text: format!(
                "\"{}\" answers {} otherwise than \"{}\": to {} it is {}, was {}",
                difference.variant,
                difference.step,
                run.variants.first().map_or("", |reference| &reference.name),
                difference.input,
                difference.candidate,
                difference.reference,
            ),
        });
    }
    findings
}
