//! Trials of a scenario against itself, as they are kept beside its baselines.
//!
//! One file per class of machine and per kind of trouble that was injected.
//! What they say of the machine is [`crate::comparison::calibration`].

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BaselineError, Baselines, slug};
use crate::run::{self, Fingerprint, MachineClass};

/// The format this program writes. Another one is refused.
const FORMAT: &str = "loadgate.calibration/1";

/// A larger file is not read: thousands of trials take less.
const LARGEST: u64 = 64 << 20;

/// Trials of a scenario against itself on one class of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// `loadgate.calibration/1`.
    pub format: String,
    /// Name of the scenario.
    pub scenario: String,
    /// What it did.
    pub fingerprint: Fingerprint,
    /// On what.
    pub machine: MachineClass,
    /// Trouble that was put into the copy on purpose: `slower=5%`.
    pub injected: Option<String>,
    /// All trials, in the order of time.
    pub trials: Vec<CalibrationTrial>,
}

/// One trial of a scenario against itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationTrial {
    /// Id of the run.
    pub run: String,
    /// When its load began (UTC).
    pub started: Timestamp,
    /// Its seed.
    pub seed: u64,
    /// The verdict: `pass`, `warning`, `critical`, `inconclusive`, `invalid`.
    pub verdict: String,
    /// The sentence of the verdict.
    pub sentence: String,
    /// Whether something was critical and was not confirmed.
    pub unconfirmed: bool,
    /// Epochs after which the verdict stood, without those of a confirmation.
    pub epochs: u32,
    /// Recorded load of both sides in these epochs, in seconds.
    pub load_s: f64,
    /// What was judged.
    pub metrics: Vec<CalibrationMetric>,
    /// How much two instances differ in the logarithm of the mean service time: a variance, by chance also below zero.
    pub instance_variance: Option<f64>,
    /// What other rules say of the same slices.
    pub other_rules: OtherRules,
}

/// One metric of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationMetric {
    /// Of the judgement, without scenario and variant: `all:response_time:mean`.
    pub id: String,
    /// Its verdict.
    pub verdict: Option<String>,
    /// The logarithm of candidate over reference, turned so that more is worse; a difference for rates judged in points.
    pub change: f64,
    /// Its standard error, and the error's degrees of freedom; none where few events were counted exactly.
    pub error: Option<[f64; 2]>,
    /// How much worse is a warning, on the same scale.
    pub warning: Option<f64>,
}

/// Alarms of rules that are in use elsewhere, on the same slices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OtherRules {
    /// The reference's first half beside the candidate's second half, as if one run had followed the other:
    /// mean or p99 more than 10 % worse.
    pub ten_per_cent: bool,
    /// The same halves, Welch's test on the means of slices: p below 5 %, and worse.
    pub welch: bool,
    /// The first ten pairs: mean over standard error (population variance) beyond 2, and worse.
    pub paired: bool,
}

impl Calibration {
    /// Without trials yet.
    pub fn new(scenario: &str, fingerprint: Fingerprint, machine: MachineClass, injected: Option<String>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            scenario: scenario.to_owned(),
            fingerprint,
            machine,
            injected,
            trials: Vec::new(),
        }
    }
}

impl Baselines {
    /// The trials of a scenario against itself on that class of machine; `None` without any.
    ///
    /// # Errors
    /// When there is a file that is not whole.
    pub fn calibration(
        &self,
        scenario: &str,
        machine: &MachineClass,
        injected: Option<&str>,
    ) -> Result<Option<Calibration>, BaselineError> {
        let path = calibration_path(scenario, machine, injected);
        let Some(bytes) = self.place.read(&path, LARGEST)? else {
            return Ok(None);
        };
        let malformed = |reason: String| BaselineError::Malformed {
            path: self.place.shown(&path),
            reason,
        };
        let calibration: Calibration = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if calibration.format != FORMAT {
            let found = &calibration.format;
            return Err(malformed(format!(
                "it has the format \"{found}\"; this program reads \"{FORMAT}\""
            )));
        }
        Ok(Some(calibration))
    }

    /// Stores them in place of what was there. Returns what people call the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_calibration(&self, calibration: &Calibration) -> Result<PathBuf, BaselineError> {
        let Calibration {
            scenario,
            machine,
            injected,
            ..
        } = calibration;
        let path = calibration_path(scenario, machine, injected.as_deref());
        let shown = self.place.shown(&path);
        let json = serde_json::to_vec_pretty(calibration).map_err(|error| BaselineError::Malformed {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        self.place.update(&path, LARGEST, &mut |_| Ok(Some(json.clone())))?;
        Ok(shown)
    }
}

/// By class of machine and kind of trouble.
fn calibration_path(scenario: &str, machine: &MachineClass, injected: Option<&str>) -> String {
    let class = &run::hash(format!("{machine:?}").as_bytes())[..8];
    let injected = injected.map_or_else(String::new, |injected| {
        // A trouble of the generator keeps a name that is read easily.
        format!("-{}", slug(&injected.replace(['=', '%'], "-")))
    });
    format!(
        "{}/calibration/{class}{}.json",
        slug(scenario),
        injected.trim_end_matches('-')
    )
}
