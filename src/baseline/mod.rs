//! Runs accepted as the reference for a scenario.
//!
//! One JSON file per scenario and name under `reports/baselines/`, meant to be
//! committed. This module finds, accepts and lists them; what a run is worth
//! beside its baseline is [`crate::comparison`].

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::run::Run;

/// A run accepted as reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Baseline {
    /// `loadgate.baseline/1`.
    pub format: String,
    /// The name it was accepted under.
    pub name: String,
    /// When it was accepted (UTC).
    pub accepted: Timestamp,
    /// Why, in the words of who accepted it.
    pub reason: Option<String>,
    /// The run itself.
    pub run: Run,
}

/// The directory of baselines.
#[derive(Debug, Clone)]
pub struct Baselines {
    /// `reports/baselines` or what `--baselines` says.
    pub directory: PathBuf,
}
