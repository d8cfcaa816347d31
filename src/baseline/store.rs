//! Baselines as files: found, accepted, listed. Knows nothing of what makes a run good.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{Baseline, BaselineError, BaselineSummary, Baselines, FORMAT, LARGEST, LONGEST_NAME, is_safe, slug};
use crate::run::{self, Run};

impl Baselines {
    /// The baseline of a scenario under a name; `None` when none was accepted.
    ///
    /// # Errors
    /// When the name is none, or there is a file that is not a whole baseline of this scenario.
    pub fn find(&self, scenario: &str, name: &str) -> Result<Option<Baseline>, BaselineError> {
        let path = self.path(scenario, name)?;
        let Some(baseline) = read(&path)? else {
            return Ok(None);
        };
        if baseline.run.scenario != scenario {
            let reason = format!("it belongs to the scenario \"{}\"", baseline.run.scenario);
            return Err(BaselineError::Malformed { path, reason });
        }
        Ok(Some(baseline))
    }

    /// Accepts a run under a name, in place of the one before, and notes it in `accepted.log`.
    /// Returns the file written.
    ///
    /// # Errors
    /// When the name is none, the run is partial or measured nothing, or the file cannot be written.
    pub fn accept(
        &self,
        run: &Run,
        name: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<PathBuf, BaselineError> {
        let path = self.path(&run.scenario, name)?;
        if let Some(reason) = &run.partial {
            return Err(BaselineError::Partial {
                id: run.id.clone(),
                reason: reason.clone(),
            });
        }
        if run.steps.iter().all(|step| step.completed() == 0) {
            return Err(BaselineError::Empty { id: run.id.clone() });
        }
        let baseline = Baseline {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            accepted: now,
            reason: reason.map(str::to_owned),
            run: run.clone(),
        };
        let malformed = |error: serde_json::Error| BaselineError::Malformed {
            path: path.clone(),
            reason: error.to_string(),
        };
        let json = serde_json::to_vec(&baseline).map_err(malformed)?;
        if json.len() as u64 > LARGEST {
            return Err(BaselineError::TooLarge {
                id: run.id.clone(),
                size: json.len(),
            });
        }
        run::write_atomically(&path, &json).map_err(BaselineError::Unwritable)?;
        note(&path.with_file_name("accepted.log"), &baseline)?;
        Ok(path)
    }

    /// All baselines, sorted by path. A bad file is listed as bad. No directory: none.
    ///
    /// # Errors
    /// When the directory is there but cannot be read.
    pub fn list(&self) -> Result<Vec<BaselineSummary>, BaselineError> {
        let mut paths = Vec::new();
        for directory in entries(&self.directory)? {
            if directory.is_dir() {
                paths.extend(
                    entries(&directory)?
                        .into_iter()
                        .filter(|path| path.extension().is_some_and(|x| x == "json")),
                );
            }
        }
        paths.sort();
        let summary = |path: PathBuf| match read(&path) {
            Ok(baseline) => baseline.map(|baseline| BaselineSummary {
                path,
                content: Ok(baseline.into()),
            }),
            Err(error) => Some(BaselineSummary {
                path,
                content: Err(error),
            }),
        };
        Ok(paths.into_iter().filter_map(summary).collect())
    }

    pub(super) fn path(&self, scenario: &str, name: &str) -> Result<PathBuf, BaselineError> {
        if !is_safe(name) {
            return Err(BaselineError::Name {
                name: name.chars().take(LONGEST_NAME + 1).collect(),
            });
        }
        Ok(self.directory.join(slug(scenario)).join(format!("{name}.json")))
    }
}

/// The baseline in a file; `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Baseline>, BaselineError> {
    let malformed = |reason: String| BaselineError::Malformed {
        path: path.to_owned(),
        reason,
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => return Err(malformed("it is no file".into())),
        _ => {}
    }
    let bytes = run::read_bounded(path, LARGEST).map_err(BaselineError::Unreadable)?;

    #[derive(serde::Deserialize)]
    struct Head {
        format: String,
    }
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if head.format != FORMAT {
        return Err(malformed(format!(
            "it has the format \"{}\"; this program reads \"{FORMAT}\"",
            head.format
        )));
    }
    let baseline: Baseline = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if baseline.run.format != run::FORMAT {
        let found = &baseline.run.format;
        return Err(malformed(format!(
            "its run has the format \"{found}\"; this program reads \"{}\"",
            run::FORMAT
        )));
    }
    Ok(Some(baseline))
}

/// Appends the line about an acceptance: time, name, run, commit, reason, between tabs.
fn note(path: &Path, baseline: &Baseline) -> Result<(), BaselineError> {
    let plain = |text: &str| {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect::<String>()
    };
    let Baseline {
        name,
        accepted,
        reason,
        run,
        ..
    } = baseline;
    let line = format!(
        "{accepted}\t{name}\t{}\t{}\t{}\n",
        plain(&run.id),
        plain(run.environment.commit.as_deref().unwrap_or("-")),
        plain(reason.as_deref().unwrap_or("-")),
    );
    let appended = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut log| log.write_all(line.as_bytes()));
    appended.map_err(|source| BaselineError::Log {
        path: path.to_owned(),
        source,
    })
}

/// The paths in a directory; none when there is no such directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, BaselineError> {
    let failed = |source| BaselineError::Directory {
        path: directory.to_owned(),
        source,
    };
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
    }
}
