//! How a trial with variants was planned, and how it came to its end.

use serde::{Deserialize, Serialize};

use super::hash;
use crate::threshold::Threshold;

/// No trial looks more often.
const MOST_LOOKS: usize = 10;

/// How a trial was planned before its load, and how it came to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conduct {
    /// What one observation is.
    pub unit: Unit,
    /// Epochs that were planned.
    pub epochs: u32,
    /// After so many epochs it was looked whether a verdict stands already; the last look is after all.
    pub looks: Vec<u32>,
    /// Standard errors are multiplied by this, from the calibration of the machine; 1 without one.
    pub inflation: f64,
    /// How much two instances of the same program differ, as a share, where instances were not started anew.
    pub instance_spread: f64,
    /// SHA-256 of all above, of limits and seed, taken before the load.
    pub plan: String,
    /// The first of the epochs that were to confirm a critical finding, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<u32>,
}

/// What one observation of a trial is: everything that shares its luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Fresh instances of all variants with several slices.
    Epoch,
    /// One slice of each variant, where loadgate does not start the targets.
    Pair,
}

impl Conduct {
    /// Whether looks follow each other, and are as few as any trial takes: files can hold anything.
    pub fn is_possible(&self) -> bool {
        (1..=MOST_LOOKS).contains(&self.looks.len()) && self.looks.is_sorted_by(|a, b| a < b)
    }

    /// The plan as it stands, to be compared with [`Conduct::plan`].
    pub fn hash(&self, thresholds: &[Threshold], seed: u64) -> String {
        let Self {
            unit,
            epochs,
            looks,
            inflation,
            instance_spread,
            ..
        } = self;
        let limits: Vec<String> = thresholds
            .iter()
            .map(|threshold| {
                let written = |limit: Option<crate::threshold::Limit>| limit.map(|limit| limit.to_string());
                let (warning, critical) = (written(threshold.warning), written(threshold.critical));
                format!(
                    "{:?} {} {warning:?} {critical:?}",
                    threshold.step, threshold.metric.name
                )
            })
            .collect();
        hash(format!("{unit:?} {epochs} {looks:?} {inflation:?} {instance_spread:?} {limits:?} {seed}").as_bytes())
    }
}
