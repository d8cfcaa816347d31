//! What integration tests stand on: a real PostgreSQL of their own, and the
//! program run as a person runs it.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod certificates;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod web;
