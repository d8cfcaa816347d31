//! When operations start.
