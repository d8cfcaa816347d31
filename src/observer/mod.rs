//! Seen from outside while load runs: the machine, the repository, the generator itself,
//! PostgreSQL.
//!
//! Observers only look: they change nothing and have no say in a verdict.

mod environment;
mod generator;
mod machine;
pub mod postgres;
mod repository;

pub use self::{environment::environment, generator::ProcessClock};
