//! The slices of a trial → units: what is one observation of a change.

use std::{collections::BTreeMap, ops::Range};

use super::Pairing;
use crate::{
    metric::Span,
    run::{Counts, Interval, Merge, StepInterval, Unit as Kind, total},
    stats::totals::Totals,
};

/// The slices of the reference and of one candidate that share their luck.
pub(super) struct Unit<'a> {
    pub(super) epoch: u32,
    /// Of the reference and of the candidate.
    pub(super) sides: [Vec<&'a Interval>; 2],
}

/// Why a slice cannot be read that contradicts itself.
const MISSED_TOO_MANY: &str = "more operations missed than there were";

/// Those of these epochs that have load on both sides, in the order of time.
pub(super) fn units<'a>(trial: &Pairing<'a>, candidate: usize, epochs: &Range<u32>) -> Vec<Unit<'a>> {
    let mut units: BTreeMap<(u32, u32), Unit<'a>> = BTreeMap::new();
    for interval in trial.intervals {
        let Some(slice) = interval.slice.filter(|slice| epochs.contains(&slice.epoch)) else {
            continue;
        };
        let side = match slice.variant {
            0 => 0,
            other if other == candidate => 1,
            _ => continue,
        };
        let round = match trial.unit() {
            Kind::Epoch => 0,
            Kind::Pair => slice.round,
        };
        let unit = units.entry((slice.epoch, round)).or_insert_with(|| Unit {
            epoch: slice.epoch,
            sides: [Vec::new(), Vec::new()],
        });
        unit.sides[side].push(interval);
    }
    let whole = units
        .into_values()
        .filter(|unit| unit.sides.iter().all(|side| !side.is_empty()));
    whole.collect()
}

impl Unit<'_> {
    /// Two sums on each side, over the slices' intervals of the steps at these indices.
    pub(super) fn totals(&self, steps: &[Vec<usize>; 2], figures: impl Fn(&StepInterval) -> [f64; 2]) -> Totals {
        let [reference, candidate] = [0, 1].map(|side| {
            let all = self.steps(side, &steps[side]);
            all.map(&figures)
                .fold([0.0; 2], |sum, next| [sum[0] + next[0], sum[1] + next[1]])
        });
        Totals { reference, candidate }
    }

    /// Recorded seconds of each side.
    pub(super) fn seconds(&self) -> [f64; 2] {
        [0, 1].map(|side| {
            let slices = self.sides[side].iter().filter_map(|interval| interval.slice);
            slices.map(|slice| slice.length_s).sum()
        })
    }

    /// The latencies of each side: of all operations, and of those that failed or did not end.
    fn latencies(&self, steps: &[Vec<usize>; 2], span: Span) -> Result<[[Counts; 2]; 2], String> {
        let mut both: [[Merge; 2]; 2] = Default::default();
        for (side, [all, missed]) in both.iter_mut().enumerate() {
            for step in self.steps(side, &steps[side]) {
                let (encoded, of_missed) = match span {
                    Span::ResponseTime => (&step.response_time, 0),
                    Span::ServiceTime => (&step.service_time, 1),
                };
                all.add(&encoded.counts()?);
                if let Some(encoded) = &step.missed {
                    missed.add(&encoded[of_missed].counts()?);
                }
            }
        }
        Ok(both.map(|side| side.map(Merge::finish)))
    }

    fn steps(&self, side: usize, wanted: &[usize]) -> impl Iterator<Item = &StepInterval> {
        let all = self.sides[side].iter().flat_map(|interval| &interval.steps);
        all.filter(|step| wanted.contains(&step.step))
    }
}

/// The latencies of both sides of every unit, for quantiles: what failed or did not end was not fast,
/// whatever it took, and ranks with the slowest operation of all.
///
/// # Errors
/// A sentence, when a slice cannot be read.
pub(super) fn ranked(units: &[Unit<'_>], steps: &[Vec<usize>; 2], span: Span) -> Result<Vec<[Counts; 2]>, String> {
    let latencies: Result<Vec<_>, String> = units.iter().map(|unit| unit.latencies(steps, span)).collect();
    let latencies = latencies?;
    let slowest = latencies.iter().flatten().filter_map(|[all, _]| all.last());
    let slowest = slowest.map(|(value, _)| *value).max().unwrap_or(0);
    let ranked = |[all, missed]: [Counts; 2]| -> Result<Counts, String> {
        let moved = (slowest, total(&missed));
        let mut missed = missed.into_iter().peekable();
        let mut rest = Counts::new();
        for (value, count) in all {
            let of_missed = missed
                .next_if(|(known, _)| *known == value)
                .map_or(0, |(_, count)| count);
            let left = count.checked_sub(of_missed).ok_or(MISSED_TOO_MANY)?;
            rest.extend((left > 0).then_some((value, left)));
        }
        if missed.next().is_some() {
            return Err(MISSED_TOO_MANY.into());
        }
        let mut ranked = Merge::default();
        ranked.add(&rest);
        if moved.1 > 0 {
            ranked.add(&[moved]);
        }
        Ok(ranked.finish())
    };
    let of_unit = |[reference, candidate]: [[Counts; 2]; 2]| Ok([ranked(reference)?, ranked(candidate)?]);
    latencies.into_iter().map(of_unit).collect()
}
