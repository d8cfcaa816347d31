//! Were the variants treated alike? If not, no difference between them means anything.

use std::collections::BTreeMap;

use super::Pairing;
use crate::{
    comparison::Check,
    run::Slice,
    stats::{mean_interval, trimmed::trimmed_mean, variance},
    units::{format_change, group_thousands},
};

/// The slice that comes second in a round may be this much slower or faster, whatever is in it,
const ALLOWED_ORDER_EFFECT: f64 = 0.03;

/// or more, where it is within so many standard errors.
const ORDER_ERRORS: f64 = 3.0;

/// Fewer rounds tell nothing of the order.
const FEWEST_ROUNDS: usize = 12;

/// The preconditions of comparing variants.
pub(in crate::comparison) fn checks(trial: &Pairing<'_>) -> Vec<Check> {
    [Some(plan(trial)), Some(turns(trial)), order(trial)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whoever changes the plan after the load can choose the verdict.
fn plan(trial: &Pairing<'_>) -> Check {
    let ok = trial.conduct.hash(trial.thresholds, trial.seed) == trial.conduct.plan;
    Check {
        id: "plan".into(),
        text: if ok {
            "limits, looks and seed are those of before the load".into()
        } else {
            "limits, looks or seed were changed after the load was planned; measure again with the new ones".into()
        },
        ok,
        value: None,
        limit: None,
    }
}

/// Each variant has had as many turns as every other one, except in a round that was cut short.
fn turns(trial: &Pairing<'_>) -> Check {
    let mut turns = vec![0_u64; trial.variants.len()];
    for slice in slices(trial) {
        if let Some(turns) = turns.get_mut(slice.variant) {
            *turns += 1;
        }
    }
    let most = turns.iter().copied().max().unwrap_or(0);
    let least = turns.iter().copied().min().unwrap_or(0);
    let ok = most - least <= 1;
    let count = |n: u64| group_thousands(i64::try_from(n).unwrap_or(i64::MAX));
    Check {
        id: "turns".into(),
        text: if ok {
            format!("each variant had its {} turns", count(least))
        } else {
            format!(
                "some variant had {} turns and another one {}; what they did is not comparable",
                count(least),
                count(most)
            )
        },
        ok,
        value: Some((most - least) as f64),
        limit: Some(1.0),
    }
}

/// How much slower the second slice of a round is, whatever variant it is: what the first
/// leaves behind (a queue, a warm cache, garbage) must not be charged to the second.
///
/// With d the log ratio of candidate to reference in a round, half the difference of the mean d of
/// the rounds with the candidate second and of those with it first (a crossover design's period effect:
/// Senn, Cross-over Trials in Clinical Research, 2002, section 3).
fn order(trial: &Pairing<'_>) -> Option<Check> {
    let worst = (1..trial.variants.len())
        .filter_map(|candidate| period_effect(&rounds(trial, candidate)))
        .max_by(|a, b| excess(a).total_cmp(&excess(b)))?;
    let (effect, _) = worst;
    let ok = excess(&worst) <= 1.0;
    let shown = format_change(libm::expm1(effect));
    Some(Check {
        id: "order".into(),
        text: if ok {
            format!("the order of turns does not matter: {shown} in the second slice of a round")
        } else {
            format!(
                "the order of turns matters: the second slice of a round is {shown} slower than the first; \
                 lengthen trial.lead_in, so that nothing of one variant is left when it is the next one's turn"
            )
        },
        ok,
        value: Some(effect),
        limit: Some(ALLOWED_ORDER_EFFECT),
    })
}

/// How often what is allowed goes into an effect with its error: beyond 1 both allowances are exceeded.
fn excess((effect, error): &(f64, f64)) -> f64 {
    let allowed = ALLOWED_ORDER_EFFECT.max(ORDER_ERRORS * error);
    effect.abs() / allowed
}

/// The first round of an epoch may be this much slower than its last one before a word is said,
const ALLOWED_WARMING: f64 = 0.05;

/// What the reader must know besides: instances that are not warm yet cost both sides alike, and blur what differs.
pub(in crate::comparison) fn notes(trial: &Pairing<'_>) -> Vec<String> {
    let candidates = 1..trial.variants.len();
    let colder = candidates.filter_map(|candidate| {
        let mut epochs: BTreeMap<u32, Vec<[Turn; 2]>> = BTreeMap::new();
        for ((epoch, _), pair) in pairs(trial, candidate) {
            epochs.entry(epoch).or_default().push(pair);
        }
        let changes: Vec<f64> = epochs
            .values()
            .filter_map(|rounds| Some((rounds.first()?, rounds.last().filter(|_| rounds.len() > 1)?)))
            .map(|(first, last)| {
                let mean = |pair: &[Turn; 2]| (libm::log(pair[0].mean) + libm::log(pair[1].mean)) / 2.0;
                mean(first) - mean(last)
            })
            .collect();
        let located = trimmed_mean(&changes)?;
        let beyond = located.estimate > ALLOWED_WARMING && located.estimate > ORDER_ERRORS * located.error;
        beyond.then_some(located.estimate)
    });
    let colder = colder.reduce(f64::max).map(|change| {
        format!(
            "Fresh instances are {} slower in the first round of an epoch than in its last: load.warm_up is too short for them.",
            format_change(libm::expm1(change)).trim_start_matches('+')
        )
    });
    colder.into_iter().collect()
}

/// The log ratio of mean service times in each round, and whether the candidate came second.
fn rounds(trial: &Pairing<'_>, candidate: usize) -> Vec<(f64, bool)> {
    let pairs = pairs(trial, candidate).into_values();
    pairs
        .map(|[before, now]| (libm::log(now.mean / before.mean), now.start_s > before.start_s))
        .collect()
}

/// The epoch of each round with the log ratio of mean service times in it.
pub(in crate::comparison) fn changes_by_round(
    trial: &Pairing<'_>,
    candidate: usize,
) -> impl Iterator<Item = (u32, f64)> {
    let pairs = pairs(trial, candidate).into_iter();
    pairs.map(|((epoch, _), [before, now])| (epoch, libm::log(now.mean / before.mean)))
}

/// A slice with operations.
#[derive(Clone, Copy)]
struct Turn {
    start_s: f64,
    /// Of service times, in nanoseconds.
    mean: f64,
}

/// The turns of reference and candidate, by epoch and round.
fn pairs(trial: &Pairing<'_>, candidate: usize) -> BTreeMap<(u32, u32), [Turn; 2]> {
    let mut rounds: BTreeMap<(u32, u32), [Option<Turn>; 2]> = BTreeMap::new();
    for interval in trial.intervals {
        let Some(slice) = interval
            .slice
            .filter(|slice| slice.variant == 0 || slice.variant == candidate)
        else {
            continue;
        };
        let (sum, count) = interval.steps.iter().fold((0.0, 0.0), |(sum, count), step| {
            (sum + step.service_sum_ns as f64, count + step.started() as f64)
        });
        let sides = rounds.entry((slice.epoch, slice.round)).or_default();
        sides[usize::from(slice.variant == candidate)] = (sum > 0.0).then(|| Turn {
            start_s: slice.start_s,
            mean: sum / count,
        });
    }
    let both = rounds
        .into_iter()
        .filter_map(|(round, [before, now])| Some((round, [before?, now?])));
    both.collect()
}

/// The effect of coming second and its standard error.
fn period_effect(rounds: &[(f64, bool)]) -> Option<(f64, f64)> {
    let of = |wanted: bool| -> Vec<f64> {
        rounds
            .iter()
            .filter(|(_, second)| *second == wanted)
            .map(|(change, _)| *change)
            .collect()
    };
    let (second, first) = (of(true), of(false));
    if second.len() < FEWEST_ROUNDS / 2 || first.len() < FEWEST_ROUNDS / 2 {
        return None;
    }
    let (mean_second, mean_first) = (mean_interval(&second)?.0, mean_interval(&first)?.0);
    let of_mean = |values: &[f64]| Some(variance(values)? / values.len() as f64);
    let error = (of_mean(&second)? + of_mean(&first)?).sqrt() / 2.0;
    Some(((mean_second - mean_first) / 2.0, error))
}

fn slices<'a>(trial: &Pairing<'a>) -> impl Iterator<Item = Slice> + 'a {
    trial.intervals.iter().filter_map(|interval| interval.slice)
}
