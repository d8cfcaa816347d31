//! A run as the series of its baseline keeps it: with verdict, and intervals where they matter.

use super::{
    Verdict,
    evidence::{Evidence, Role},
};
use crate::{
    baseline::Record,
    metric::{self, Metric},
    run::Run,
};

/// What is looked at of a step that has no limits.
pub(super) const USUAL: [&str; 3] = ["p50", "p99", "error_rate"];

/// The metrics that a run is looked at by: those with limits, else a few of every step.
pub fn gauged(run: &Run) -> Vec<(Option<String>, &'static Metric)> {
    let mut all: Vec<(Option<String>, &'static Metric)> = Vec::new();
    for threshold in &run.thresholds {
        for step in meant(run, threshold.step.as_deref()) {
            let limited = (step, threshold.metric);
            if !all.contains(&limited) {
                all.push(limited);
            }
        }
    }
    if all.is_empty() {
        let usual = || USUAL.iter().filter_map(|name| metric::find(name));
        all.extend(
            run.steps
                .iter()
                .flat_map(|step| usual().map(|metric| (Some(step.label()), metric))),
        );
    }
    all
}

/// The labels of a step that a limit names: one for each variant, where there are several.
fn meant(run: &Run, step: Option<&str>) -> Vec<Option<String>> {
    let Some(name) = step else { return vec![None] };
    let named = run.steps.iter().filter(|step| step.name == name);
    named.map(|step| Some(step.label())).collect()
}

/// The record of a run, with the verdict it was given and the 95 % intervals of what it is looked at by.
pub fn record(run: &Run, verdict: Option<Verdict>) -> Record {
    let mut record = Record::of(run);
    record.verdict = verdict.map(|verdict| verdict.word().to_owned());
    // Slices of variants are no timeline of one.
    if !run.variants.is_empty() {
        return record;
    }
    let mut evidence = Evidence::new(run, Role::Reference);
    for (step, metric) in gauged(run) {
        let figures = record.figures.iter_mut().find(|figures| figures.step == step);
        let estimate = evidence.estimate(step.as_deref(), metric).ok().flatten();
        let interval = estimate.and_then(|estimate| estimate.interval());
        // JSON has no infinity.
        let finite = interval.filter(|bounds| bounds.iter().all(|bound| bound.is_finite()));
        if let (Some(figures), Some(bounds)) = (figures, finite.filter(|bounds| bounds[0] < bounds[1])) {
            figures.intervals.insert(metric.name.to_owned(), bounds);
        }
    }
    record
}
