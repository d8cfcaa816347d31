//! Variants of one run beside their reference.

use super::{
    Finding, Judgement, Verdict, carried,
    evidence::{Evidence, Role},
    judge::Judge,
};
use crate::{
    run::{Run, StatementPlan},
    units::format_count,
};

/// More are not in any run that loadgate made.
const MOST_VARIANTS: usize = 16;

/// What the thresholds say of every variant but the first, and what the reader must know besides.
pub(super) fn judge(run: &Run) -> (Vec<Judgement>, Vec<String>) {
    let Some((name, reference)) = run.variants.first().zip(run.of_variant(0)) else {
        return (Vec::new(), Vec::new());
    };
    let mut judgements = Vec::new();
    for (index, variant) in run.variants.iter().enumerate().take(MOST_VARIANTS).skip(1) {
        let Some(candidate) = run.of_variant(index) else {
            continue;
        };
        let mut judge = Judge {
            candidate: Evidence::new(&candidate, Role::Candidate),
            reference: Some(Evidence::new(&reference, Role::Reference)),
            epochs: Some((&reference, &candidate)),
            set: None,
            other_machine: false,
            baseline: format!("\"{}\"", name.name),
        };
        let judged = run.thresholds.iter().map(|threshold| judge.judge(threshold));
        judgements.extend(judged.map(|judgement| Judgement {
            id: format!("{}@{}", judgement.id, variant.name),
            reason: format!("{}: {}", variant.name, judgement.reason),
            variant: Some(variant.name.clone()),
            ..judgement
        }));
    }
    (judgements, Vec::new())
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

/// A plan of another shape that looks at this many times as many pages,
const MANY_TIMES: u64 = 2;

/// and at no fewer than this, is a worse one.
const MANY_PAGES: u64 = 100;

/// Statements that a variant has performed by a worse plan.
pub(super) fn worse_plans(run: &Run) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((first, before)) = run.variants.first().zip(run.of_variant(0)) else {
        return findings;
    };
    for (index, variant) in run.variants.iter().enumerate().take(MOST_VARIANTS).skip(1) {
        let Some(now) = run.of_variant(index) else { continue };
        for (at, step) in now.steps.iter().enumerate() {
            let known = before.steps.iter().position(|known| known.name == step.name);
            let plans = |run: &'_ Run, at: usize| -> Vec<StatementPlan> {
                let counted = run.census.as_ref().and_then(|census| census.step(at));
                counted.map_or_else(Vec::new, |counted| counted.plans.clone())
            };
            let earlier = known.map_or_else(Vec::new, |known| plans(&before, known));
            for (was, is) in earlier.iter().zip(plans(&now, at)) {
                let worse = is.plan.buffers() >= MANY_PAGES.max(was.plan.buffers().saturating_mul(MANY_TIMES));
                if worse && was.sql == is.sql && was.plan.shape != is.plan.shape {
                    let [few, many] = [&was.plan, &is.plan].map(|plan| format_count(plan.buffers() as f64));
                    findings.push(Finding {
                        verdict: Verdict::Critical,
                        text: format!(
                            "{}: the plan of {} became worse than in \"{}\": {many} buffers, was {few}; {}",
                            variant.name,
                            step.name,
                            first.name,
                            was.plan.differences(&is.plan).join("; "),
                        ),
                    });
                }
            }
        }
    }
    findings
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
