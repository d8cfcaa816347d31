//! The real program, run as a person runs it: what it reads, what it refuses,
//! what it judges and what it leaves; and what the repository promises of itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bad_input;
mod baselines;
mod calibrate;
mod catalogue;
mod changes;
mod check;
mod ci;
mod examples;
mod layout;
mod run;
mod sample;
mod schema;
#[path = "../support/mod.rs"]
mod support;
mod terminal;
