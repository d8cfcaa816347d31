//! Seen from outside while load runs.
