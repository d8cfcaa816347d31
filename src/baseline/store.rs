//! Baselines as files: found, accepted, listed. Knows nothing of what makes a run good.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    Baseline, BaselineError, BaselineSummary, Baselines, FORMAT, LARGEST, LONGEST_NAME, is_safe,
    slug,
};
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
        Ok(self
            .directory
            .join(slug(scenario))
            .join(format!("{name}.json")))
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
    let head: Head =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    if head.format != FORMAT {
        return Err(malformed(format!(
            "it has the format \"{}\"; this program reads \"{FORMAT}\"",
            head.format
        )));
    }
    let baseline: Baseline =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
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
<<<<<<< HEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{DEFAULT_NAME, testing::Shape};

    fn now() -> Timestamp {
        "2026-02-03T04:05:06Z".parse().unwrap()
    }

    fn fixture() -> (tempfile::TempDir, Baselines, Run) {
        let directory = tempfile::tempdir().unwrap();
        let baselines = Baselines {
            directory: directory.path().join("baselines"),
        };
        (directory, baselines, Shape::default().run())
    }

    #[test]
    fn an_accepted_run_is_found_again_and_noted() {
        let (_guard, baselines, run) = fixture();
        assert!(baselines.find(&run.scenario, DEFAULT_NAME).unwrap().is_none());
        baselines.accept(&run, DEFAULT_NAME, None, now()).unwrap();
        let path = baselines.accept(&run, DEFAULT_NAME, Some("new\nindex"), now()).unwrap();

        let found = baselines.find(&run.scenario, DEFAULT_NAME).unwrap().unwrap();
        assert_eq!((found.accepted, found.reason.as_deref()), (now(), Some("new\nindex")));
        assert_eq!(
            serde_json::to_string(&found.run).unwrap(),
            serde_json::to_string(&run).unwrap()
        );
        let log = fs::read_to_string(path.with_file_name("accepted.log")).unwrap();
        let line = format!("2026-02-03T04:05:06Z\tdefault\t{}\tabc123\t", run.id);
        assert_eq!(log, format!("{line}-\n{line}new index\n"));
    }

    #[test]
    fn a_file_cut_in_half_is_an_error_that_names_it_and_the_mend() {
        let (_guard, baselines, run) = fixture();
        let path = baselines.accept(&run, DEFAULT_NAME, None, now()).unwrap();
        let whole = fs::read(&path).unwrap();
        for bad in [
            &whole[..whole.len() / 2],
            b"",
            b"[]",
            b"\xff\xfe",
            b"{\"format\":\"loadgate.baseline/2\"}",
        ] {
            fs::write(&path, bad).unwrap();
            let message = baselines.find(&run.scenario, DEFAULT_NAME).unwrap_err().to_string();
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            assert!(
                message.contains("accept a run again") && message.contains("delete the file"),
                "{message}"
            );
        }
        let text = String::from_utf8(whole).unwrap().replace(run::FORMAT, "loadgate.run/9");
        fs::write(&path, text).unwrap();
        assert!(
            baselines
                .find(&run.scenario, DEFAULT_NAME)
                .unwrap_err()
                .to_string()
                .contains("loadgate.run/9")
        );
    }

    #[test]
    fn what_is_no_file_or_too_large_is_an_error() {
        let (_guard, baselines, run) = fixture();
        let path = baselines.path(&run.scenario, "odd").unwrap();
        fs::create_dir_all(&path).unwrap();
        assert!(
            baselines
                .find(&run.scenario, "odd")
                .unwrap_err()
                .to_string()
                .contains("no file")
        );
        fs::remove_dir(&path).unwrap();
        // Sparse: takes no room, and only its first bytes are read before the limit speaks.
        let file = fs::File::create(&path).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert!(fs::metadata(&path).unwrap().len() > LARGEST);
        let error = run::read_bounded(&path, 1_000)
            .map_err(BaselineError::Unreadable)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("larger than 1000 bytes") && error.contains("accept a run again"),
            "{error}"
        );
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        let (_guard, baselines, run) = fixture();
        for name in ["", "..", "../x", "a/b", "A", "ä", ".hidden", "a\0", &"a".repeat(65)] {
            let refused = baselines.accept(&run, name, None, now());
            assert!(matches!(refused, Err(BaselineError::Name { .. })), "{name}");
            assert!(
                matches!(baselines.find("x", name), Err(BaselineError::Name { .. })),
                "{name}"
            );
        }
        assert!(!baselines.directory.exists());
        let odd = Run {
            scenario: "../../outside".into(),
            ..run
        };
        assert!(
            baselines
                .accept(&odd, "a", None, now())
                .unwrap()
                .starts_with(&baselines.directory)
        );
        assert!(baselines.find("../../outside", "a").unwrap().is_some());
    }

    #[test]
    fn a_partial_or_empty_run_is_no_baseline() {
        let (_guard, baselines, run) = fixture();
        let partial = Run {
            partial: Some("interrupted after 3 s".into()),
            ..run.clone()
        };
        let message = baselines
            .accept(&partial, DEFAULT_NAME, None, now())
            .unwrap_err()
            .to_string();
        assert!(message.contains("interrupted after 3 s"), "{message}");
        let empty = Run {
            steps: Vec::new(),
            ..run
        };
        assert!(matches!(
            baselines.accept(&empty, DEFAULT_NAME, None, now()),
            Err(BaselineError::Empty { .. })
        ));
        assert!(!baselines.directory.exists());
    }

    #[test]
    fn an_unwritable_directory_says_that_nothing_was_accepted() {
        let (guard, _, run) = fixture();
        fs::write(guard.path().join("file"), "").unwrap();
        let baselines = Baselines {
            directory: guard.path().join("file"),
        };
        let message = baselines
            .accept(&run, DEFAULT_NAME, None, now())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("not accepted") && message.contains("file"),
            "{message}"
        );
    }

    #[test]
    fn a_list_shows_bad_files_as_bad() {
        let (_guard, baselines, run) = fixture();
        assert!(baselines.list().unwrap().is_empty());
        baselines.accept(&run, "b", Some("why"), now()).unwrap();
        let bad = baselines.accept(&run, "a", None, now()).unwrap();
        fs::write(&bad, "{").unwrap();
        let list = baselines.list().unwrap();
        assert_eq!(list.len(), 2);
        assert!(list[0].path == bad && list[0].content.is_err());
        let summary = list[1].content.as_ref().unwrap();
        assert_eq!(
            (
                summary.name.as_str(),
                summary.scenario.as_str(),
                summary.reason.as_deref()
            ),
            ("b", "shop", Some("why"))
        );
    }

    #[test]
    fn a_baseline_of_another_scenario_is_not_taken() {
        let (_guard, baselines, run) = fixture();
        let path = baselines.accept(&run, DEFAULT_NAME, None, now()).unwrap();
        let other = baselines.path("other", DEFAULT_NAME).unwrap();
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::copy(path, other).unwrap();
        assert!(
            baselines
                .find("other", DEFAULT_NAME)
                .unwrap_err()
                .to_string()
                .contains("scenario \"shop\"")
        );
=======
>>>>>>> judge
    }
}
