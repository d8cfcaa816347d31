//! Baselines as files: found, accepted, added to, listed. Knows nothing of what makes a run good.
//!
//! Of two that accept at once the later one in the series wins: the whole run is
//! only written by whoever's change is the last of the series at that moment.
//! Nobody's record and nobody's line in the log is lost.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    Acceptance, Baseline, BaselineError, BaselineSummary, Baselines, FORMAT, Key, LARGEST, LONGEST_NAME, Record,
    Series, is_safe,
    place::{LOG, Place},
    series::LARGEST_SERIES,
    slug,
};
use crate::run::{self, Run};

impl Baselines {
    /// The baselines of a directory, or of an object store (`s3://bucket/prefix`), whose
    /// credentials are among the variables.
    ///
    /// # Errors
    /// When there is no such kind of store, or this program was built without any.
    pub fn at(location: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, BaselineError> {
        let place = Place::at(location, variables)?;
        Ok(Self { place })
    }

    /// What people call the place.
    pub fn location(&self) -> PathBuf {
        self.place.shown("")
    }

    /// The baseline of a scenario under a name; `None` when none was accepted.
    ///
    /// # Errors
    /// When the name is none, or there is a file that is not a whole baseline of this scenario.
    pub fn find(&self, scenario: &str, name: &str) -> Result<Option<Baseline>, BaselineError> {
        let path = path(scenario, name)?;
        let Some(baseline) = self.read(&path)? else {
            return Ok(None);
        };
        if baseline.run.scenario != scenario {
            let reason = format!("it belongs to the scenario \"{}\"", baseline.run.scenario);
            return Err(BaselineError::Malformed {
                path: self.place.shown(&path),
                reason,
            });
        }
        let since = self.series(scenario, name)?.since(&baseline.run.id).to_vec();
        Ok(Some(Baseline { since, ..baseline }))
    }

    /// All runs that were accepted or added under a name; none where there are none.
    ///
    /// # Errors
    /// When the name is none, or the file is damaged.
    pub fn series(&self, scenario: &str, name: &str) -> Result<Series, BaselineError> {
        let path = series_path(scenario, name)?;
        let bytes = self.place.read(&path, LARGEST_SERIES)?;
        self.parsed(&path, bytes, scenario)
    }

    /// Accepts a run under a name, as a change: a new set begins with it. `record` is what the
    /// series keeps of it. Returns what people call the file written.
    ///
    /// # Errors
    /// When the name is none, the run is partial or measured nothing, or the files cannot be written.
    pub fn accept(
        &self,
        run: &Run,
        record: Record,
        name: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<PathBuf, BaselineError> {
        let path = path(&run.scenario, name)?;
        is_whole(run)?;
        let baseline = Baseline {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            accepted: now,
            reason: reason.map(str::to_owned),
            run: run.clone(),
            since: Vec::new(),
        };
        let shown = self.place.shown(&path);
        let json = serde_json::to_vec(&baseline).map_err(|error| malformed(&shown, &error))?;
        if json.len() as u64 > LARGEST {
            return Err(BaselineError::TooLarge {
                id: run.id.clone(),
                size: json.len(),
            });
        }
        let accepted = Some(Acceptance {
            at: now,
            reason: baseline.reason.clone(),
        });
        self.extend(&run.scenario, name, &mut |series| {
            series.push(Record {
                accepted: accepted.clone(),
                ..record.clone()
            });
            Ok(())
        })?;
        self.place.update(&path, LARGEST, &mut |_| {
            let series = self.series(&run.scenario, name)?;
            let last = series.records.iter().rfind(|record| record.accepted.is_some());
            Ok(last.is_some_and(|last| last.run == run.id).then(|| json.clone()))
        })?;
        let log = path.replace(path.rsplit('/').next().unwrap_or_default(), LOG);
        self.place.note(&log, &line(&baseline))?;
        Ok(shown)
    }

    /// Adds a run to the set of the baseline that was accepted; gives the number of runs in it now.
    ///
    /// # Errors
    /// When there is no baseline, the run is not like it or in the series already, or the file cannot be written.
    pub fn add(&self, run: &Run, record: &Record, name: &str) -> Result<usize, BaselineError> {
        is_whole(run)?;
        let Some(baseline) = self.find(&run.scenario, name)? else {
            return Err(BaselineError::NothingToAddTo { name: name.to_owned() });
        };
        let differences = record.key.other_work(&Key::of(&baseline.run));
        if !differences.is_empty() {
            return Err(BaselineError::OtherWork {
                id: run.id.clone(),
                differences: differences.join(", "),
            });
        }
        let mut runs = 0;
        self.extend(&run.scenario, name, &mut |series| {
            if series.has(&run.id) || baseline.run.id == run.id {
                return Err(BaselineError::Known { id: run.id.clone() });
            }
            if !series.has(&baseline.run.id) {
                // Accepted by a program that kept no series, or the series was deleted.
                series.push(Record {
                    accepted: Some(Acceptance {
                        at: baseline.accepted,
                        reason: baseline.reason.clone(),
                    }),
                    ..Record::of(&baseline.run)
                });
            }
            let last = series.records.iter().rfind(|record| record.accepted.is_some());
            if last.is_some_and(|last| last.run != baseline.run.id) {
                return Err(BaselineError::Overtaken { id: run.id.clone() });
            }
            series.push(record.clone());
            runs = series.since(&baseline.run.id).len();
            Ok(())
        })?;
        Ok(runs)
    }

    /// All baselines, sorted by path. A bad file is listed as bad. No directory: none.
    ///
    /// # Errors
    /// When the directory is there but cannot be read.
    pub fn list(&self) -> Result<Vec<BaselineSummary>, BaselineError> {
        let paths = self.place.list()?;
        let baselines = paths.into_iter().filter(|path| path.ends_with(".json"));
        let summary = |path: String| {
            let content = match self.read(&path) {
                Ok(baseline) => self.with_series(&path, baseline?).map(Into::into),
                Err(error) => Err(error),
            };
            let path = self.place.shown(&path);
            Some(BaselineSummary { path, content })
        };
        Ok(baselines.filter_map(summary).collect())
    }

    /// The baseline of a file with the runs since; the name is the file's, for copies.
    fn with_series(&self, path: &str, baseline: Baseline) -> Result<Baseline, BaselineError> {
        let series = path.trim_end_matches(".json").to_owned() + SERIES_ENDING;
        let bytes = self.place.read(&series, LARGEST_SERIES)?;
        let series = self.parsed(&series, bytes, &baseline.run.scenario)?;
        let since = series.since(&baseline.run.id).to_vec();
        Ok(Baseline { since, ..baseline })
    }

    /// Changes the series under a name, as one step for everybody else.
    fn extend(
        &self,
        scenario: &str,
        name: &str,
        change: &mut dyn FnMut(&mut Series) -> Result<(), BaselineError>,
    ) -> Result<(), BaselineError> {
        let path = series_path(scenario, name)?;
        self.place.update(&path, LARGEST_SERIES, &mut |bytes| {
            let mut series = self.parsed(&path, bytes, scenario)?;
            change(&mut series)?;
            let text = series
                .text(scenario)
                .map_err(|error| malformed(&self.place.shown(&path), &error))?;
            Ok(Some(text.into_bytes()))
        })
    }

    fn parsed(&self, path: &str, bytes: Option<Vec<u8>>, scenario: &str) -> Result<Series, BaselineError> {
        let series = bytes.map(|bytes| Series::parse(&bytes, scenario)).transpose();
        let series = series.map_err(|reason| BaselineError::Series {
            path: self.place.shown(path),
            reason,
        })?;
        Ok(series.unwrap_or_default())
    }

    /// The baseline in a file; `None` when there is no such file.
    fn read(&self, path: &str) -> Result<Option<Baseline>, BaselineError> {
        let Some(bytes) = self.place.read(path, LARGEST)? else {
            return Ok(None);
        };
        let path = self.place.shown(path);

        #[derive(serde::Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| malformed(&path, &error))?;
        if head.format != FORMAT {
            let reason = format!("it has the format \"{}\"; this program reads \"{FORMAT}\"", head.format);
            return Err(BaselineError::Malformed { path, reason });
        }
        let baseline: Baseline = serde_json::from_slice(&bytes).map_err(|error| malformed(&path, &error))?;
        if baseline.run.format != run::FORMAT {
            let found = &baseline.run.format;
            let reason = format!(
                "its run has the format \"{found}\"; this program reads \"{}\"",
                run::FORMAT
            );
            return Err(BaselineError::Malformed { path, reason });
        }
        Ok(Some(baseline))
    }
}

/// What a name of a baseline becomes for its series.
const SERIES_ENDING: &str = ".runs.jsonl";

pub(super) fn path(scenario: &str, name: &str) -> Result<String, BaselineError> {
    named(scenario, name, ".json")
}

pub(super) fn series_path(scenario: &str, name: &str) -> Result<String, BaselineError> {
    named(scenario, name, SERIES_ENDING)
}

fn named(scenario: &str, name: &str, ending: &str) -> Result<String, BaselineError> {
    if !is_safe(name) {
        return Err(BaselineError::Name {
            name: name.chars().take(LONGEST_NAME + 1).collect(),
        });
    }
    Ok(format!("{}/{name}{ending}", slug(scenario)))
}

fn malformed(path: &Path, error: &serde_json::Error) -> BaselineError {
    BaselineError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Only a run to the end, of which something worked, can be a reference.
fn is_whole(run: &Run) -> Result<(), BaselineError> {
    if let Some(reason) = &run.partial {
        return Err(BaselineError::Partial {
            id: run.id.clone(),
            reason: reason.clone(),
        });
    }
    if run.steps.iter().all(|step| step.completed() == 0) {
        return Err(BaselineError::Empty { id: run.id.clone() });
    }
    Ok(())
}

/// The line about an acceptance: time, name, run, commit, reason, between tabs.
fn line(baseline: &Baseline) -> String {
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
    format!(
        "{accepted}\t{name}\t{}\t{}\t{}\n",
        plain(&run.id),
        plain(run.environment.commit.as_deref().unwrap_or("-")),
        plain(reason.as_deref().unwrap_or("-")),
    )
}
