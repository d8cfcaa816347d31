//! One run of a scenario against itself → what is kept of it.

use super::others;
use crate::{
    baseline::{CalibrationMetric, CalibrationTrial},
    comparison::{Comparison, Label, Verdict, paired},
    run::{Interval, Run},
    stats::{mean, variance},
};

/// What is kept of a run whose last variant is a copy of its first.
pub fn trial(run: &Run, comparison: &Comparison) -> CalibrationTrial {
    let stored = paired::Stored::new(run);
    let pairing = stored.pairing(run);
    let (studied, epochs) = paired::study(&pairing);
    let metrics = studied.into_iter().map(|studied| {
        let threshold = studied.threshold;
        let step = threshold.step.as_deref();
        let judged = comparison.judgements.iter();
        let judged =
            judged.filter(|judgement| judgement.step.as_deref() == step && judgement.metric == threshold.metric);
        let verdict = judged.filter_map(|judgement| judgement.verdict).max();
        CalibrationMetric {
            id: format!("{}:{}", step.unwrap_or("all"), threshold.metric.id()),
            verdict: verdict.map(|verdict| verdict.word().to_owned()),
            change: studied.change,
            error: studied.error,
            warning: studied.warning,
        }
    });
    let first_stage: Vec<&Interval> = run
        .intervals
        .iter()
        .filter(|interval| interval.slice.is_some_and(|slice| slice.epoch < epochs))
        .collect();
    let slices = first_stage.iter().filter_map(|interval| interval.slice);
    CalibrationTrial {
        run: run.id.clone(),
        started: run.started,
        seed: run.seed,
        verdict: comparison.verdict.word().to_owned(),
        sentence: comparison.sentence.clone(),
        unconfirmed: comparison
            .judgements
            .iter()
            .any(|judgement| judgement.label == Some(Label::Unconfirmed)),
        epochs,
        load_s: slices.map(|slice| slice.length_s).sum(),
        metrics: metrics.collect(),
        // Of trials whose conditions failed nothing is learnt.
        instance_variance: (comparison.verdict != Verdict::Invalid)
            .then(|| instance_variance(&pairing, epochs))
            .flatten(),
        other_rules: others::rules(&first_stage),
    }
}

/// The variance of what a fresh instance adds to the logarithm of the mean service time.
///
/// One-way analysis of variance with epochs as groups and pairs of slices in them (Searle, Casella &
/// McCulloch, Variance Components, 1992, section 3.6): the variance of the epochs' means less what pairs
/// explain of it, halved because both sides have an instance of their own. `None` with one pair in an epoch.
fn instance_variance(trial: &paired::Pairing<'_>, epochs: u32) -> Option<f64> {
    let mut groups: std::collections::BTreeMap<u32, Vec<f64>> = std::collections::BTreeMap::new();
    for (epoch, change) in paired::changes_by_round(trial, 1) {
        if epoch < epochs {
            groups.entry(epoch).or_default().push(change);
        }
    }
    let groups: Vec<Vec<f64>> = groups.into_values().filter(|group| group.len() > 1).collect();
    let pairs = groups.iter().map(Vec::len).sum::<usize>();
    if groups.len() < 2 {
        return None;
    }
    let means: Vec<f64> = groups.iter().map(|group| mean(group)).collect();
    let within: f64 = groups
        .iter()
        .zip(&means)
        .flat_map(|(group, mean)| group.iter().map(move |value| (value - mean).powi(2)))
        .sum::<f64>()
        / (pairs - groups.len()) as f64;
    let between = variance(&means)?;
    let per_group = pairs as f64 / groups.len() as f64;
    Some((between - within / per_group) / 2.0)
}
