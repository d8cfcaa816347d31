//! The load that was asked for, what became of it, and what the generator used for it.

use serde::{Deserialize, Serialize};

/// The load profile as asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Who decides when the next flow starts.
    pub model: Model,
    /// Flow starts per second; open model only.
    pub rate: Option<f64>,
    /// Concurrent users; closed model only.
    pub users: Option<usize>,
    /// Whether stages shape the load; rate and users are then the highest there are.
    #[serde(default)]
    pub staged: bool,
    /// Sessions (sets of connections) that were open.
    pub sessions: usize,
    /// Asked-for length of the measured window; `None` when bounded by a count.
    pub duration_s: Option<f64>,
    /// Asked-for number of passes; `None` when bounded by time.
    pub iterations: Option<u64>,
    /// Load before the measured window, left out of every figure.
    pub warm_up_s: f64,
    /// How long operations in flight may take to finish after the window.
    pub drain_s: f64,
}

/// Open: arrivals by a schedule. Closed: users who wait for their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Arrivals by a schedule.
    Open,
    /// Users who wait for their answers.
    Closed,
}

/// What became of every flow start that was due in the measured window.
///
/// `scheduled = completed + failed + dropped + unfinished`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Accounting {
    /// Flow starts that were due.
    pub scheduled: u64,
    /// Flows whose every step completed.
    pub completed: u64,
    /// Flows that ended at a failed step.
    pub failed: u64,
    /// Due, and could not be started.
    pub dropped: u64,
    /// Started, not ended when the drain ended.
    pub unfinished: u64,
}

impl Accounting {
    /// Whether every scheduled start is accounted for.
    pub fn adds_up(&self) -> bool {
        self.scheduled == self.completed + self.failed + self.dropped + self.unfinished
    }
}

/// What the load generator itself used during the measured window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Generator {
    /// CPU time of the process in seconds.
    pub cpu_s: f64,
    /// Wall time in seconds.
    pub wall_s: f64,
    /// Cores that it may use.
    pub cores: usize,
    /// Share of the machine's CPU time that its host gave to others.
    #[serde(default)]
    pub steal_share: Option<f64>,
    /// Share of the time in which something on the machine waited for a CPU (Linux PSI).
    #[serde(default)]
    pub pressure_share: Option<f64>,
    /// Share of the time in which the generator's control group was not allowed to run.
    #[serde(default)]
    pub throttled_share: Option<f64>,
    /// Files and sockets open at the end of the window.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// How many it may open.
    #[serde(default)]
    pub open_files_limit: Option<u64>,
    /// The most due flow starts that waited for a session at once.
    #[serde(default)]
    pub queue_max: Option<u64>,
    /// The most flows that were under way at once.
    #[serde(default)]
    pub in_flight_max: Option<u64>,
    /// Time that the users of the closed model were there, summed over all users, in seconds.
    #[serde(default)]
    pub users_present_s: Option<f64>,
    /// Of it, what they spent on pauses, thinking and waiting for the throttle.
    #[serde(default)]
    pub users_waited_s: Option<f64>,
    /// Virtual users whose own setup failed, so that they took no part.
    #[serde(default)]
    pub failed_users: u64,
}

impl Generator {
    /// Share of its cores that the generator used, 0 to 1.
    pub fn cpu_share(&self) -> Option<f64> {
        (self.wall_s > 0.0 && self.cores > 0).then(|| self.cpu_s / self.wall_s / self.cores as f64)
    }
}
