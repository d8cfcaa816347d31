//! The real program against real targets: what is asked for arrives, is
//! measured and accounted for, and every failure has its class.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod databases;
mod observer;
mod persistence;
mod postgres;
mod profiles;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod targets;
