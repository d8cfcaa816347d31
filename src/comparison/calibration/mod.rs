//! What trials of a scenario against itself say of the machine: how often it raises a
//! false alarm, and how small a change it can see.
//!
//! ```text
//! trial     one run against itself → what is kept of it
//! others    what rules in use elsewhere say of the same slices
//! summary   all trials → rates with bounds, spreads, smallest effects
//! ```

mod others;
mod summary;
#[cfg(test)]
mod tests;
mod trial;

pub use self::{
    summary::{Metric, Rate, Summary, inflation, summary},
    trial::trial,
};
