//! Changes of variants that no limit is about: shown step by step to say where
//! a change comes from. They decide nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::paired::{Pairing, StepOf, Stored, epochs, study};
use crate::{
    metric::{self, Metric},
    run::{Conduct, Interval, MOST_VARIANTS, Run, Slice},
    stats::{Located, multiple::benjamini_hochberg},
    threshold::{Limit, Source, Threshold},
};

/// What is shown of every step.
const METRICS: [&str; 2] = ["mean", "p50"];

/// Of the changes that are marked this share is expected to be none.
const FALSE_MARKS: f64 = 0.05;

/// Reports stay readable.
const MOST_STEPS: usize = 50;

/// One metric of one step of a variant, beside the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Name of the variant.
    pub variant: String,
    /// Name of the step.
    pub step: String,
    /// The metric; smaller is better.
    #[serde(deserialize_with = "crate::metric::deserialize")]
    pub metric: &'static Metric,
    /// Its value in the reference and in the variant, in nanoseconds; failed operations rank with the slowest.
    pub values: [Option<f64>; 2],
    /// How much more it is, as a share of the reference.
    pub change: f64,
    /// Its 95 % interval; of each change alone.
    pub interval: [f64; 2],
    /// Whether it stands out among all that are shown (Benjamini and Hochberg, 5 %).
    pub stands_out: bool,
}

/// The changes of all variants in all steps, but for those that a limit is about.
pub(super) fn shown(run: &Run) -> Vec<Shown> {
    let candidates = 1..run.variants.len().min(MOST_VARIANTS);
    let (mut shown, mut p) = (Vec::new(), Vec::new());
    let stored = Stored::new(run);
    for (change, chance) in candidates.flat_map(|candidate| of_candidate(run, &stored, candidate)) {
        shown.push(change);
        p.push(chance);
    }
    for (change, adjusted) in shown.iter_mut().zip(benjamini_hochberg(&p)) {
        change.stands_out = adjusted <= FALSE_MARKS;
    }
    shown
}

/// Each with the two-sided p value of "there is no change".
fn of_candidate(run: &Run, stored: &Stored, candidate: usize) -> Vec<(Shown, f64)> {
    let variant = &run.variants[candidate].name;
    let thresholds = not_limited(run, &steps_beside(run, stored, candidate));
    let effects = beside_reference(run, stored, candidate, &thresholds).into_iter();
    let shown = effects.filter_map(|effect| {
        let away = Located {
            estimate: effect.located.estimate.abs(),
            ..effect.located
        };
        let change = Shown {
            variant: variant.clone(),
            step: effect.threshold.step.clone()?,
            metric: effect.threshold.metric,
            values: effect.values.map(Some),
            change: libm::expm1(effect.located.estimate),
            interval: effect.located.interval().map(libm::expm1),
            stands_out: false,
        };
        Some((change, (2.0 * away.p_above(0.0)).min(1.0)))
    });
    shown.collect()
}

/// How much worse one variant is than the reference.
pub(super) struct Effect<'t> {
    pub(super) threshold: &'t Threshold,
    /// Of reference and variant.
    pub(super) values: [f64; 2],
    /// On the scale of the estimator: the logarithm of a ratio, or points.
    pub(super) located: Located,
}

/// What limits would be about, over all epochs at once; without those that cannot be told.
pub(super) fn beside_reference<'t>(
    run: &Run,
    stored: &Stored,
    candidate: usize,
    thresholds: &'t [Threshold],
) -> Vec<Effect<'t>> {
    if thresholds.is_empty() {
        return Vec::new();
    }
    let steps = steps_beside(run, stored, candidate);
    let slices = run.intervals.iter().filter_map(|interval| as_pair(interval, candidate));
    let intervals: Vec<Interval> = slices.collect();
    let variants = [0, candidate].map(|variant| run.variants[variant].name.clone());
    let conduct = Conduct {
        looks: vec![epochs(&intervals, None)],
        confirmation: None,
        ..stored.conduct.clone()
    };
    let pairing = Pairing {
        thresholds,
        variants: &variants,
        steps: &steps,
        intervals: &intervals,
        conduct: &conduct,
        ..stored.pairing(run)
    };
    let (studied, _) = study(&pairing);
    let known = studied.into_iter().filter_map(|studied| {
        let [error, freedom] = studied.error?;
        // What was studied borrows from the pairing; the limits outlive it.
        let threshold = thresholds.iter().find(|threshold| *threshold == studied.threshold)?;
        Some(Effect {
            threshold,
            values: studied.values,
            located: Located {
                estimate: studied.change,
                error,
                freedom,
            },
        })
    });
    known.collect()
}

fn steps_beside(run: &Run, stored: &Stored, candidate: usize) -> Vec<StepOf> {
    let pairing = stored.pairing(run);
    pairing.steps.iter().map(|step| beside(step, candidate)).collect()
}

/// As if there were no other candidates.
fn beside(step: &StepOf, candidate: usize) -> StepOf {
    StepOf {
        variant: place(step.variant, candidate).unwrap_or(usize::MAX),
        name: step.name.clone(),
    }
}

fn as_pair(interval: &Interval, candidate: usize) -> Option<Interval> {
    let slice = interval.slice?;
    Some(Interval {
        slice: Some(Slice {
            variant: place(slice.variant, candidate)?,
            ..slice
        }),
        ..interval.clone()
    })
}

fn place(variant: usize, candidate: usize) -> Option<usize> {
    match variant {
        0 => Some(0),
        other => (other == candidate).then_some(1),
    }
}

/// What is estimated like a limit would be, step by step.
fn not_limited(run: &Run, steps: &[StepOf]) -> Vec<Threshold> {
    let of = |variant: usize| -> BTreeSet<&str> {
        let own = steps.iter().filter(|step| step.variant == variant);
        own.map(|step| step.name.as_str()).collect()
    };
    let both: Vec<&str> = of(0).intersection(&of(1)).copied().collect();
    // The only step is all steps.
    let alone = both.len() == 1;
    let limited = |step: &str, metric: &Metric| {
        let mut limits = run.thresholds.iter().filter(|limit| limit.metric.name == metric.name);
        limits.any(|limit| limit.step.as_deref().map_or(alone, |limited| limited == step))
    };
    let metrics = || METRICS.iter().filter_map(|name| metric::find(name));
    let pairs = both
        .iter()
        .take(MOST_STEPS)
        .flat_map(|step| metrics().map(move |metric| (*step, metric)));
    let pairs = pairs.filter(|(step, metric)| !limited(step, metric));
    pairs
        .map(|(step, metric)| Threshold {
            step: Some(step.to_owned()),
            metric,
            warning: None,
            critical: Some(Limit::Relative {
                change: 0.0,
                floor: None,
                unit: metric.unit,
            }),
            source: Source::default(),
        })
        .collect()
}
