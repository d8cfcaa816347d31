//! Effects → where each limit stands: at each look, over all limits of all variants together.

use std::ops::Range;

use super::{
    Next, Pairing,
    decision::{Decision, Levels, decided, size},
    questions::{Answer, Question, Side, answer, failures_differ, place, questions},
};
use crate::{
    run::Interval,
    stats::{
        looks::{FEWEST_UNITS_FOR_CRITICAL, LOOKS, alpha, alpha_passing},
        multiple::holm,
    },
    threshold::{Limit, Threshold},
};

/// The level at which a critical finding is confirmed.
const CONFIRMING: f64 = 0.01;

pub(super) fn next(trial: &Pairing<'_>, epochs: u32) -> Next {
    let looks = &trial.conduct.looks;
    let Some(number) = looks.iter().position(|look| *look == epochs) else {
        return Next::GoOn;
    };
    let decisions = look(trial, &questions(trial), &(0..epochs), levels(number, looks.len()));
    match () {
        () if decisions.iter().any(Decision::is_critical) => Next::Confirm,
        () if number + 1 == looks.len() || is_settled(trial, &decisions) => Next::Stop,
        () => Next::GoOn,
    }
}

/// The decisions on all thresholds of all variants but the first, in that order, after all looks
/// that were taken; none on those that are not about slices. Beside them after how many epochs they stood.
pub(in crate::comparison) fn decide(trial: &Pairing<'_>) -> (Vec<Option<Decision>>, u32) {
    let questions = questions(trial);
    let (mut decisions, epochs) = first_stage(trial, &questions);
    if let Some(confirmation) = trial.conduct.confirmation {
        confirm(trial, &questions, confirmation, &mut decisions);
    }
    // A run from before trials were planned was never to be confirmed.
    if !trial.conduct.plan.is_empty() {
        let unconfirmed = decisions.iter_mut().filter(|decision| decision.confirmation.is_none());
        unconfirmed.for_each(Decision::unconfirm);
    }
    let mut decisions = questions
        .iter()
        .map(|question| place(trial, question))
        .zip(decisions)
        .peekable();
    let all = (trial.variants.len().saturating_sub(1)) * trial.thresholds.len();
    let placed = (0..all).map(|at| {
        decisions
            .next_if(|(place, _)| *place == at)
            .map(|(_, decision)| decision)
    });
    (placed.collect(), epochs)
}

/// One limit of the first candidate, as an estimator sees it.
pub(in crate::comparison) struct Studied<'a> {
    pub(in crate::comparison) threshold: &'a Threshold,
    /// Of reference and candidate.
    pub(in crate::comparison) values: [f64; 2],
    /// On the scale of the estimator: of logarithms, or points.
    pub(in crate::comparison) change: f64,
    /// Its standard error with degrees of freedom, where it has one.
    pub(in crate::comparison) error: Option<[f64; 2]>,
    /// How much worse is a warning, on the same scale.
    pub(in crate::comparison) warning: Option<f64>,
}

/// What the first stage of a trial says of its first candidate, and how many epochs that was.
pub(in crate::comparison) fn study<'a>(trial: &Pairing<'a>) -> (Vec<Studied<'a>>, u32) {
    let questions = questions(trial);
    let (_, epochs) = first_stage(trial, &questions);
    let studied = questions
        .iter()
        .filter(|question| question.variant == 1)
        .filter_map(|question| {
            let answer = answer(trial, question, &(0..epochs));
            let effect = answer.any()?;
            let (change, error) = effect.estimated();
            let warning = answer
                .warning
                .as_ref()
                .map(|(limit, _)| effect.inner(size(*limit, effect)));
            Some(Studied {
                threshold: question.threshold,
                values: effect.values,
                change,
                error,
                warning,
            })
        });
    (studied.collect(), epochs)
}

/// Whether more load would say no more that matters. To an absolute limit, and to people who set none
/// on what slices tell of, all the load matters that was asked for.
fn is_settled(trial: &Pairing<'_>, decisions: &[Decision]) -> bool {
    let limits = trial
        .thresholds
        .iter()
        .filter(|threshold| !threshold.metric.measure.is_exact());
    let mut limits = limits
        .flat_map(|threshold| [threshold.warning, threshold.critical])
        .flatten();
    limits.all(|limit: Limit| limit.is_relative())
        && !decisions.is_empty()
        && decisions.iter().all(Decision::is_settled)
}

/// The looks as the trial took them, up to the one that ended it.
fn first_stage(trial: &Pairing<'_>, questions: &[Question<'_>]) -> (Vec<Decision>, u32) {
    let looks = &trial.conduct.looks;
    let loaded = epochs(trial.intervals, trial.conduct.confirmation);
    for (number, end) in looks.iter().enumerate().filter(|(_, end)| **end <= loaded) {
        let decisions = look(trial, questions, &(0..*end), levels(number, looks.len()));
        let ends = decisions.iter().any(Decision::is_critical) || is_settled(trial, &decisions);
        if ends || *end == loaded {
            return (decisions, *end);
        }
    }
    // Interrupted between two looks: the next one comes early.
    let taken = looks.iter().filter(|end| **end <= loaded).count();
    (look(trial, questions, &(0..loaded), levels(taken, taken + 1)), loaded)
}

/// Fresh epochs decide whether what was critical is so; their estimate is the one that is told,
/// because the first one was chosen for being large.
fn confirm(trial: &Pairing<'_>, questions: &[Question<'_>], begin: u32, decisions: &mut [Decision]) {
    let end = epochs(trial.intervals, None);
    let critical: Vec<usize> = (0..questions.len()).filter(|at| decisions[*at].is_critical()).collect();
    let asked: Vec<Question<'_>> = critical.iter().map(|at| Question { ..questions[*at] }).collect();
    let levels = Levels {
        reject: CONFIRMING,
        pass: CONFIRMING,
        fewest: 0,
    };
    if end <= begin {
        return;
    }
    for (at, second) in critical.into_iter().zip(look(trial, &asked, &(begin..end), levels)) {
        let first = &mut decisions[at];
        if !second.is_critical() {
            first.unconfirm();
        }
        first.tell(second);
        first.confirmation = Some(end - begin);
    }
}

/// Epochs with load, up to the one with that number.
pub(in crate::comparison) fn epochs(intervals: &[Interval], before: Option<u32>) -> u32 {
    let loaded = intervals.iter().filter_map(|interval| interval.slice);
    let loaded = loaded.map(|slice| slice.epoch.saturating_add(1)).max().unwrap_or(0);
    before.map_or(loaded, |before| loaded.min(before))
}

/// What is spent at a look; the last one has all that is left.
fn levels(number: usize, looks: usize) -> Levels {
    let last = number + 1 >= looks;
    let spent = |level: fn(usize) -> f64| match last {
        true => (number.min(LOOKS - 1)..LOOKS).map(level).sum(),
        false => level(number),
    };
    Levels {
        reject: spent(alpha),
        pass: spent(alpha_passing),
        fewest: FEWEST_UNITS_FOR_CRITICAL,
    }
}

/// One look at these epochs.
fn look(trial: &Pairing<'_>, questions: &[Question<'_>], epochs: &Range<u32>, levels: Levels) -> Vec<Decision> {
    let answers: Vec<Answer> = questions
        .iter()
        .map(|question| answer(trial, question, epochs))
        .collect();
    // Three families of hypotheses: not worse, worse by no more than a warning, not better.
    let adjusted = |p: &dyn Fn(&Answer) -> Option<f64>| {
        let asked: Vec<(usize, f64)> = answers
            .iter()
            .enumerate()
            .filter_map(|(at, answer)| Some((at, p(answer)?)))
            .collect();
        let values: Vec<f64> = asked.iter().map(|(_, p)| *p).collect();
        let mut all = vec![1.0; answers.len()];
        for ((at, _), p) in asked.iter().zip(holm(&values)) {
            all[*at] = p;
        }
        all
    };
    let worse = adjusted(&|answer| Some(answer.any()?.p_beyond(0.0)));
    let critical = adjusted(&|answer| {
        let (_, effect) = answer.critical.as_ref()?;
        Some(effect.as_ref().ok()?.p_beyond(answer.below()))
    });
    let better = adjusted(&|answer| Some(answer.any()?.p_better()));
    let failures = questions
        .iter()
        .map(|question| failures_differ(trial, question, epochs));
    let decisions = answers
        .iter()
        .zip(failures)
        .enumerate()
        .map(|(at, (answer, failures_differ))| {
            let enough = answer.any().is_some_and(|effect| effect.units >= levels.fewest);
            let decide = |side: &Option<Side>, certain: bool, below: f64| {
                let (limit, effect) = side.as_ref()?;
                Some(decided(*limit, effect, certain, below, levels))
            };
            let decision = Decision {
                critical: decide(
                    &answer.critical,
                    enough && critical[at] <= levels.reject,
                    answer.below(),
                ),
                warning: decide(&answer.warning, worse[at] <= levels.reject, 0.0),
                label: None,
                confirmation: None,
            };
            let label = answer.label(levels, better[at] <= levels.reject && !failures_differ);
            Decision {
                label: label.filter(|_| !decision.is_broken()),
                ..decision
            }
        });
    decisions.collect()
}
