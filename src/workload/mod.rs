//! Scenario → Workload: compiled, checked, immutable.
