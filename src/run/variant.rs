//! A run with variants: which there were, when each was loaded, and how their answers compared.

use serde::{Deserialize, Serialize};

use super::{Accounting, Breaker, Interval, StepAttempts, StepErrors, StepInterval, Transition};

/// No run has more: they would take no turns in a time that anybody waits for.
pub const MOST_VARIANTS: usize = 16;

/// One of several ways in which the work was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Variant {
    /// Name from the scenario; the first is the reference.
    pub name: String,
    /// Its flow starts.
    pub accounting: Accounting,
    /// How long its load was recorded, in seconds.
    pub loaded_s: f64,
}

/// A stretch of load on one variant, of which an interval tells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// Fresh instances of all variants, numbered from 0.
    pub epoch: u32,
    /// One slice of each variant, numbered on over all epochs.
    pub round: u32,
    /// Index into [`super::Run::variants`].
    pub variant: usize,
    /// Where its recorded part begins, in seconds of load.
    pub start_s: f64,
    /// How long it was recorded, in seconds.
    pub length_s: f64,
}

/// What a managed process was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Build {
    /// The revision as written: `main`.
    pub revision: String,
    /// Its commit.
    pub commit: String,
    /// First line of the commit's message.
    pub subject: String,
}

/// Whether the variants gave the same answers to the same inputs, before any load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Equivalence {
    /// Answers that were compared, per pair of variants.
    pub compared: u64,
    /// Where they differed; the first few of each step.
    pub differences: Vec<Difference>,
    /// Steps that could not be compared, and why.
    pub notes: Vec<String>,
}

/// An input on which a variant gave another answer than the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Difference {
    /// Name of the variant.
    pub variant: String,
    /// Name of the step.
    pub step: String,
    /// Number of the pass, with which the input can be made again.
    pub pass: u64,
    /// What was asked, secrets masked.
    pub input: String,
    /// What the reference answered, shortened.
    pub reference: String,
    /// What the variant answered, shortened.
    pub candidate: String,
}

/// The slices of one variant on a timeline of their own, with the steps at these indices only.
pub(super) fn intervals(all: &[Interval], variant: usize, own: &[usize]) -> Vec<Interval> {
    let mut loaded_s = 0.0;
    let mut intervals = Vec::new();
    for interval in all {
        let Some(slice) = interval.slice.filter(|slice| slice.variant == variant) else {
            continue;
        };
        let renumbered = |step: usize| own.iter().position(|own| *own == step);
        let steps = interval.steps.iter().filter_map(|step| {
            Some(StepInterval {
                step: renumbered(step.step)?,
                ..step.clone()
            })
        });
        let attempts = interval.attempts.iter().filter_map(|tried| {
            Some(StepAttempts {
                step: renumbered(tried.step)?,
                ..*tried
            })
        });
        let errors = interval.errors.iter().filter_map(|failed| {
            Some(StepErrors {
                step: renumbered(failed.step)?,
                ..*failed
            })
        });
        intervals.push(Interval {
            k: loaded_s as u64,
            steps: steps.collect(),
            attempts: attempts.collect(),
            errors: errors.collect(),
            ..interval.clone()
        });
        loaded_s += slice.length_s;
    }
    intervals
}

/// What a breaker of one variant did, on the timeline of the slices of that variant.
pub(super) fn breaker(all: &[Interval], variant: usize, breaker: &Breaker) -> Breaker {
    let slices = || all.iter().filter_map(|interval| interval.slice);
    let own = || slices().filter(|slice| slice.variant == variant);
    // A damaged file may hold lengths below zero, at which `clamp` panics.
    let loaded = |at_s: f64| {
        own()
            .map(|slice| (at_s - slice.start_s).max(0.0).min(slice.length_s))
            .sum()
    };
    let moved = |transition: &Transition| Transition {
        at_s: loaded(transition.at_s),
        ..*transition
    };
    Breaker {
        transitions: breaker.transitions.iter().map(moved).collect(),
        ..breaker.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::BreakerState;

    #[test]
    fn a_breaker_has_the_time_for_which_its_variant_was_loaded() {
        let slice = |variant, start_s| Interval {
            slice: Some(Slice {
                epoch: 0,
                round: 0,
                variant,
                start_s,
                length_s: 1.0,
            }),
            ..Interval::default()
        };
        let all = [slice(0, 0.5), slice(1, 2.0), slice(0, 3.5)];
        let change = |at_s| Transition {
            at_s,
            from: BreakerState::Closed,
            to: BreakerState::Open,
            success_ratio: None,
        };
        let known = Breaker {
            transitions: [0.0, 1.0, 2.5, 4.0, 9.0].map(change).to_vec(),
            ..Breaker::default()
        };
        let own = breaker(&all, 0, &known).transitions;
        let times: Vec<f64> = own.iter().map(|transition| transition.at_s).collect();
        assert_eq!(times, [0.0, 0.5, 1.0, 1.5, 2.0]);
    }
}
