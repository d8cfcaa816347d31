//! Estimators and intervals: pure functions.
