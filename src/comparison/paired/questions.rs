//! What is asked of a trial: each relative limit of each variant, and the effect that answers it.

use std::ops::Range;

use super::{
    Pairing,
    decision::{Label, Levels, size},
    effect::{Asked, Effect},
    units::{self, units},
};
use crate::{
    comparison::{evidence::fewest_for_quantile, judge::scale_of},
    metric::{Measure, Statistic},
    run::{Conduct, MOST_VARIANTS, Unit, hash},
    stats::{Scale, events::events_p_beyond},
    threshold::{Limit, Threshold},
};

/// Fewer operations than this on either side are not compared; quantiles need more.
const FEWEST_OPERATIONS: u64 = 20;

/// Failures that differ at this level forbid to call anything improved.
const FAILURES_DIFFER: f64 = 0.05;

/// One limit of one variant.
pub(super) struct Question<'a> {
    pub(super) variant: usize,
    pub(super) threshold: &'a Threshold,
}

/// What a look says of a question: the effect on each limit's own scale.
pub(super) struct Answer {
    pub(super) warning: Option<Side>,
    pub(super) critical: Option<Side>,
}

/// A limit and the effect that is held against it, or why there is none.
pub(super) type Side = (Limit, Result<Effect, String>);

/// Every relative limit on what slices tell of, for every variant.
pub(super) fn questions<'a>(trial: &Pairing<'a>) -> Vec<Question<'a>> {
    let of_slices = |threshold: &&Threshold| {
        let relative = [threshold.warning, threshold.critical]
            .into_iter()
            .flatten()
            .any(|limit| limit.is_relative());
        relative && !threshold.metric.measure.is_exact()
    };
    let variants = 1..trial.variants.len().min(MOST_VARIANTS);
    let questions = variants.flat_map(|variant| {
        let asked = trial.thresholds.iter().filter(of_slices);
        asked.map(move |threshold| Question { variant, threshold })
    });
    questions.collect()
}

/// Where a question stands among all thresholds of all variants.
pub(super) fn place(trial: &Pairing<'_>, question: &Question<'_>) -> usize {
    let at = trial
        .thresholds
        .iter()
        .position(|known| std::ptr::eq(known, question.threshold));
    (question.variant - 1) * trial.thresholds.len() + at.unwrap_or(0)
}

/// The effects at these epochs.
pub(super) fn answer(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> Answer {
    let Question { threshold, .. } = question;
    let relative = |limit: Option<Limit>| limit.filter(Limit::is_relative);
    let (warning, critical) = (relative(threshold.warning), relative(threshold.critical));
    let effect = |limit: Limit| (limit, estimate(trial, question, scale_of(limit), epochs));
    let first = critical.map(effect);
    // Resampling takes its time: where both limits are of one kind it is done once.
    let second = warning.map(|limit| match &first {
        Some((known, effect)) if scale_of(*known) == scale_of(limit) => (limit, effect.clone()),
        _ => effect(limit),
    });
    Answer {
        warning: second,
        critical: first,
    }
}

fn estimate(trial: &Pairing<'_>, question: &Question<'_>, scale: Scale, epochs: &Range<u32>) -> Result<Effect, String> {
    let Question { variant, threshold } = question;
    let steps = steps(trial, question);
    // Processes are started with an epoch: what they use is known by epoch only.
    let by_epoch = threshold.metric.measure == Measure::CpuPerOperation;
    let conduct = Conduct {
        unit: if by_epoch { Unit::Epoch } else { trial.conduct.unit },
        ..trial.conduct.clone()
    };
    let trial = Pairing {
        conduct: &conduct,
        ..*trial
    };
    let units = units(&trial, *variant, epochs);
    enough(&units, &steps, threshold)?;
    let shared_luck = match conduct.unit {
        Unit::Epoch => 0.0,
        // The same two instances all the time: they differ by a luck of their own.
        Unit::Pair => 2.0 * conduct.instance_spread.powi(2),
    };
    let asked = Asked {
        metric: threshold.metric,
        scale,
        steps,
        cpu_ns: &|epoch| cpu_ns(&trial, [0, *variant], epoch),
        seed: seed(&trial, question, epochs),
        wider: [conduct.inflation.max(1.0), shared_luck],
    };
    asked.of(&units)
}

/// Too few operations for a comparison are told as such.
fn enough(units: &[units::Unit<'_>], steps: &[Vec<usize>; 2], threshold: &Threshold) -> Result<(), String> {
    let counts = units
        .iter()
        .map(|unit| unit.totals(steps, |step| [0.0, step.started() as f64]));
    let counts = counts.fold([0.0; 2], |sum, unit| {
        [sum[0] + unit.reference[1], sum[1] + unit.candidate[1]]
    });
    let needed = match threshold.metric.measure {
        Measure::Latency(_, Statistic::Quantile(q)) => fewest_for_quantile(q).max(FEWEST_OPERATIONS),
        _ => FEWEST_OPERATIONS,
    };
    let [before, now] = counts;
    (before.min(now) >= needed as f64).then_some(()).ok_or_else(|| {
        format!("too few samples: {now} operations, {before} of the reference; a comparison needs {needed} of each")
    })
}

/// Indices of the steps that a question is about, of the reference and of the candidate.
fn steps(trial: &Pairing<'_>, question: &Question<'_>) -> [Vec<usize>; 2] {
    [0, question.variant].map(|variant| {
        let own = trial
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.variant == variant);
        let meant = own.filter(|(_, step)| {
            question
                .threshold
                .step
                .as_ref()
                .is_none_or(|wanted| *wanted == step.name)
        });
        meant.map(|(index, _)| index).collect()
    })
}

/// The CPU time of both variants' own targets in the recorded part of an epoch.
fn cpu_ns(trial: &Pairing<'_>, variants: [usize; 2], epoch: u32) -> Option<[f64; 2]> {
    let used = |variant: usize| {
        let slices = trial.intervals.iter().filter_map(|interval| interval.slice);
        let own = slices.filter(|slice| slice.epoch == epoch && slice.variant == variant);
        let recorded_s: f64 = own.map(|slice| slice.length_s).sum();
        let name = trial.variants.get(variant)?;
        let used = trial
            .resources
            .iter()
            .filter(|used| used.epoch == epoch && used.variant.as_ref() == Some(name));
        used.map(|used| used.cpu_s * 1e9 * recorded_s / used.loaded_s)
            .reduce(|sum, more| sum + more)
    };
    Some([used(variants[0])?, used(variants[1])?])
}

/// Whether the shares of failed operations differ, in whatever direction.
pub(super) fn failures_differ(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> bool {
    let steps = steps(trial, question);
    let mut counts = [[0_u64; 2]; 2];
    for unit in units(trial, question.variant, epochs) {
        let totals = unit.totals(&steps, |step| [step.missed() as f64, step.started() as f64]);
        for (sum, side) in counts.iter_mut().zip([totals.reference, totals.candidate]) {
            sum[0] = sum[0].saturating_add(side[0] as u64);
            sum[1] = sum[1].saturating_add(side[1] as u64);
        }
    }
    let [reference, candidate] = counts;
    let either = events_p_beyond(reference, candidate, 0.0).min(events_p_beyond(candidate, reference, 0.0));
    2.0 * either <= FAILURES_DIFFER
}

/// From stored data only: the same question at the same look draws the same numbers.
fn seed(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> u64 {
    let Question { variant, threshold } = question;
    let about = format!(
        "{} {variant} {:?} {} {epochs:?}",
        trial.seed, threshold.step, threshold.metric.name
    );
    u64::from_str_radix(&hash(about.as_bytes())[..16], 16).unwrap_or(trial.seed)
}

impl Answer {
    pub(super) fn any(&self) -> Option<&Effect> {
        let sides = [&self.critical, &self.warning];
        sides.into_iter().flatten().find_map(|(_, effect)| effect.as_ref().ok())
    }

    /// The milder limit, which a critical change must certainly exceed.
    pub(super) fn below(&self) -> f64 {
        match (&self.warning, &self.critical) {
            (Some((warning, Ok(effect))), Some((critical, _))) if scale_of(*warning) == scale_of(*critical) => {
                // With its floor the milder limit may be the larger one.
                size(*warning, effect).min(size(*critical, effect))
            }
            _ => 0.0,
        }
    }

    /// What a pass says besides: every limit must be out of the question.
    pub(super) fn label(&self, levels: Levels, better: bool) -> Option<Label> {
        let sides: Option<Vec<(f64, &Effect)>> = [&self.critical, &self.warning]
            .into_iter()
            .flatten()
            .map(|(limit, effect)| effect.as_ref().ok().map(|effect| (size(*limit, effect), effect)))
            .collect();
        let sides = sides?;
        let least = sides.iter().map(|(size, _)| *size).fold(f64::INFINITY, f64::min);
        let ruled_out = sides.iter().all(|(size, effect)| effect.upper(levels.pass) < *size);
        match () {
            () if better && ruled_out && sides.iter().all(|(_, effect)| effect.change() <= -least) => {
                Some(Label::Improved)
            }
            () if ruled_out => Some(Label::NoChange),
            () => None,
        }
    }
}
