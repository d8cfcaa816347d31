//! Runs accepted as the reference for a scenario, and the series of runs around them.
//!
//! Small files per scenario and name under `reports/baselines/`, meant to be
//! committed, or in an object store. This module finds, accepts and lists them;
//! what a run is worth beside its baseline is [`crate::comparison`].
//!
//! ```text
//! reports/baselines/
//!   checkout/              the scenario's name, see [`slug`]
//!     default.json         the run that was accepted last, whole
//!     default.runs.jsonl   the series: a record of every run accepted or added
//!     accepted.log         one line per acceptance: time, name, run, commit, reason
//! ```
//!
//! The *set* of a baseline is the accepted run with those added since: how much
//! they differ from each other is what a single run cannot know.
//!
//! ```text
//! place    a directory or an object store
//! record   what a series keeps of a run; what makes two runs comparable
//! series   records as text
//! set      sessions, spread, outliers
//! found    runs that lie in directories of reports
//! store    find, accept, add, list
//! ```

mod calibration;
mod error;
mod found;
mod place;
mod record;
mod series;
mod set;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
pub(crate) mod testing;

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::place::Place;
pub use self::{
    calibration::{Calibration, CalibrationMetric, CalibrationTrial, OtherRules},
    error::BaselineError,
    found::found_runs,
    record::{Acceptance, Key, Record, StepFigures, TargetKey},
    series::{SERIES_FORMAT, Series},
    set::{MOST_SESSIONS, SESSION_HOURS, Set, Spread},
};
use crate::run::{self, Run};

/// The format this program writes. Another one is refused.
pub const FORMAT: &str = "loadgate.baseline/1";

/// The name of a baseline when none is given.
pub const DEFAULT_NAME: &str = "default";

/// A larger baseline is neither read nor written: 512 MiB.
const LARGEST: u64 = 512 << 20;

/// The longest name of a baseline, and the longest part of a scenario's name in its [`slug`].
const LONGEST_NAME: usize = 64;

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
    /// From the series: its record and those of the runs added since. Empty where no series is kept.
    #[serde(skip)]
    pub since: Vec<Record>,
}

/// All baselines of a place: `reports/baselines` or what `--baselines` says.
#[derive(Debug, Clone)]
pub struct Baselines {
    place: Place,
}

/// One baseline as a list shows it.
#[derive(Debug)]
pub struct BaselineSummary {
    /// Its file.
    pub path: PathBuf,
    /// What it holds, or why it cannot be used.
    pub content: Result<Summary, BaselineError>,
}

/// What a list says of a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// Name of the baseline.
    pub name: String,
    /// When it was accepted (UTC).
    pub accepted: Timestamp,
    /// Why, in the words of who accepted it.
    pub reason: Option<String>,
    /// Id of the run.
    pub run_id: String,
    /// When the run started (UTC).
    pub started: Timestamp,
    /// The run's commit, where known.
    pub commit: Option<String>,
    /// How many runs its set has, on any machine.
    pub runs: usize,
    /// How many sessions they make on the machine of the accepted run.
    pub sessions: usize,
}

impl From<Baseline> for Summary {
    fn from(baseline: Baseline) -> Self {
        let sessions = baseline.set("", &Key::of(&baseline.run)).sessions();
        let Baseline {
            name,
            accepted,
            reason,
            run,
            since,
            ..
        } = baseline;
        let Run {
            scenario,
            id: run_id,
            started,
            environment,
            ..
        } = run;
        Self {
            scenario,
            name,
            accepted,
            reason,
            run_id,
            started,
            commit: environment.commit,
            runs: since.len().max(1),
            sessions,
        }
    }
}

/// The directory name of a scenario.
///
/// A name that is safe as it stands (small letters, digits, `.`, `_`, `-`, not
/// starting with a dot, at most 64 characters) stands for itself. Any other
/// has its other characters replaced by `-` and eight digits of its SHA-256
/// put behind, so that `Größe 1` and `Größe 2` keep apart.
pub fn slug(scenario: &str) -> String {
    if is_safe(scenario) {
        return scenario.to_owned();
    }
    let safe = |c: char| {
        if is_safe_char(c.to_ascii_lowercase()) {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let readable: String = scenario.chars().take(LONGEST_NAME).map(safe).collect();
    let readable = readable.trim_matches(['.', '-']);
    let digest = &run::hash(scenario.as_bytes())[..8];
    if readable.is_empty() {
        digest.to_owned()
    } else {
        format!("{readable}-{digest}")
    }
}

/// Whether a name can be a file's without surprises.
fn is_safe(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_safe_char)
}

fn is_safe_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_safe_and_keeps_names_apart() {
        assert_eq!(slug("quickstart"), "quickstart");
        assert_eq!(slug("checkout_v1.2"), "checkout_v1.2");
        let odd = [
            "../../etc",
            "..",
            "",
            "Größe 1",
            "Größe 2",
            "Checkout",
            "a/b",
            "a b",
            "\0",
            &"x".repeat(500),
        ];
        let slugs: std::collections::BTreeSet<String> = odd.iter().map(|name| slug(name)).collect();
        assert_eq!(slugs.len(), odd.len());
        for slug in slugs {
            assert!(
                slug.chars().all(is_safe_char) && !slug.starts_with('.') && slug.len() <= 80,
                "{slug}"
            );
        }
    }
}
