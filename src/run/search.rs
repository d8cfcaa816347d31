//! What a search for the highest rate tried.

use serde::{Deserialize, Serialize};

/// A search for the highest rate at which the absolute limits of the scenario hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The highest rate that held, flow starts per second; `None` when none did.
    pub highest_rate: Option<f64>,
    /// Why the search ended.
    pub ended: String,
    /// In the order in which they were tried.
    pub rates: Vec<TriedRate>,
}

/// One rate that a search tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriedRate {
    /// Flow starts per second that were asked for.
    pub rate: f64,
    /// Flows per second that ended.
    pub achieved: f64,
    /// Median response time over all steps, nanoseconds.
    pub p50_ns: Option<f64>,
    /// p99 of the response time over all steps, nanoseconds.
    pub p99_ns: Option<f64>,
    /// Whether the limits held and the load was carried steadily.
    pub held: bool,
    /// What did not hold, where that is so.
    pub reason: Option<String>,
}
