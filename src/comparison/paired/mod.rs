//! Variants of one run beside each other: from slices to what is certain.
//!
//! ```text
//! units      slices that share their luck → one observation
//! effect     units → a change, its error and its p values
//! questions  each limit of each variant → the effect that answers it
//! decision   where a limit stands, and by which figures
//! looks      decisions at each look, over all limits together
//! balance    were both sides treated alike?
//! ```
//!
//! The rules are those of sequential tests: how often and how strictly is
//! looked was planned before the load and stands in [`Conduct`]. The trial asks
//! [`next`] whether to go on; judging the stored run later takes the same looks
//! and comes to the same end.

mod balance;
mod decision;
mod effect;
mod looks;
mod questions;
#[cfg(test)]
mod tests;
mod units;

pub use self::decision::Label;
pub(super) use self::{
    balance::{changes_by_round, checks, notes},
    decision::Decision,
    looks::{decide, epochs, study},
};
use crate::{
    run::{Conduct, Interval, Resources, Run, Step, Unit},
    threshold::Threshold,
};

/// What of a trial is needed to judge its variants: of a stored run, or of one that still goes on.
#[derive(Debug, Clone, Copy)]
pub struct Pairing<'a> {
    /// The limits.
    pub thresholds: &'a [Threshold],
    /// Names of the variants, the reference first.
    pub variants: &'a [String],
    /// All steps of all variants, by their indices.
    pub steps: &'a [StepOf],
    /// The slices so far.
    pub intervals: &'a [Interval],
    /// What targets used, epoch by epoch.
    pub resources: &'a [Resources],
    /// How it was planned.
    pub conduct: &'a Conduct,
    /// The seed of the run.
    pub seed: u64,
}

/// A step as variants are compared by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOf {
    /// Index of its variant.
    pub variant: usize,
    /// Its name, the same in all variants that have it.
    pub name: String,
}

/// What a trial is to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing stands yet: more epochs, where there are some left.
    GoOn,
    /// Every limit is decided.
    Stop,
    /// A critical finding wants to be confirmed by fresh epochs.
    Confirm,
}

/// Whether a trial needs more load after so many of its epochs.
pub fn next(trial: &Pairing<'_>, epochs: u32) -> Next {
    looks::next(trial, epochs)
}

/// What of a stored run a [`Pairing`] borrows.
pub(super) struct Stored {
    names: Vec<String>,
    steps: Vec<StepOf>,
    pub(super) conduct: Conduct,
}

impl Stored {
    pub(super) fn new(run: &Run) -> Self {
        let epochs = epochs(&run.intervals, None);
        // A run from before trials were planned was looked at once, at its end.
        let unplanned = || Conduct {
            unit: Unit::Epoch,
            epochs,
            looks: vec![epochs],
            inflation: 1.0,
            instance_spread: 0.0,
            plan: String::new(),
            confirmation: None,
        };
        let variant = |step: &Step| {
            run.variants
                .iter()
                .position(|variant| Some(&variant.name) == step.variant.as_ref())
        };
        let steps = run.steps.iter().map(|step| StepOf {
            // Of no variant: not in any run that loadgate made.
            variant: variant(step).unwrap_or(usize::MAX),
            name: step.name.clone(),
        });
        Self {
            names: run.variants.iter().map(|variant| variant.name.clone()).collect(),
            steps: steps.collect(),
            conduct: run
                .conduct
                .clone()
                .filter(Conduct::is_possible)
                .unwrap_or_else(unplanned),
        }
    }

    pub(super) fn pairing<'a>(&'a self, run: &'a Run) -> Pairing<'a> {
        Pairing {
            thresholds: &run.thresholds,
            variants: &self.names,
            steps: &self.steps,
            intervals: &run.intervals,
            resources: &run.resources,
            conduct: &self.conduct,
            seed: run.seed,
        }
    }
}

impl Pairing<'_> {
    fn unit(&self) -> Unit {
        self.conduct.unit
    }
}
