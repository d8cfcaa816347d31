//! Estimators and intervals: pure functions over plain numbers.
//!
//! The unit of evidence is a stretch of time (a second, or a few), never the
//! single operation: neighbouring operations share a queue, a cache and a noisy
//! neighbour, so they are no independent witnesses. [`bootstrap`] resamples
//! blocks of such units; where a run is too short for that, [`binomial`] and
//! the variance of the values stand in, and the [`Estimate`] says so.
//!
//! Variants in one run are measured side by side, unit by unit, so the units'
//! changes are the observations: [`trimmed`], [`totals`] and [`pooled`] make a
//! [`Located`] of them, an estimate with its error, in which [`Dependence`]
//! counts what neighbouring units share. [`flips`] is a second witness, [`events`]
//! stands in where events are few. [`looks`] and [`multiple`] say how sure one
//! has to be when one looks more than once, [`prediction`] where a new value is
//! to be expected after earlier ones.
//!
//! What an interval from one run on each side can *not* hold is what differs
//! from run to run (layout, placement, the hour of the day). Limits must leave
//! room for that. [`changes`] looks at many runs in a row instead.
//!
//! All intervals are two-sided with 95 % confidence. Everything random comes
//! from a seed that is handed in; sums run in a fixed order. This module knows
//! nothing of runs, scenarios or limits.

mod beta;
pub mod binomial;
pub mod bootstrap;
pub mod changes;
#[cfg(test)]
mod coverage;
mod dependence;
mod estimate;
pub mod events;
pub mod flips;
mod harrell_davis;
mod located;
pub mod looks;
mod mean;
pub mod multiple;
mod pool;
pub mod pooled;
pub mod prediction;
mod series;
mod student;
pub mod totals;
pub mod trimmed;

pub use self::{
    dependence::Dependence,
    estimate::{Estimate, Scale, change_interval},
    located::Located,
    mean::{mean, mean_interval, variance},
    pool::Pool,
    series::Series,
};

/// What is left out of an interval on each side.
pub const TAIL: f64 = 0.025;

/// Lower and upper bound; may be infinite.
pub type Bounds = [f64; 2];
