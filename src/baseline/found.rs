//! Runs that lie in directories of reports and in no series: read newest first, within bounds.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::run::{self, Run};

/// No more runs than this are read.
const MOST_RUNS: usize = 100;

/// A larger run is left out: 64 MiB.
const LARGEST_RUN: u64 = 64 << 20;

/// No more is read in all: 1 GiB.
const LARGEST_SUM: u64 = 1 << 30;

/// A larger report tells no verdict: 64 MiB.
const LARGEST_REPORT: u64 = 64 << 20;

/// Hands every whole run that lies in a directory of `directory`, and whose id is not known, to
/// `keep`, newest first, with the verdict of the report beside it. Gives what the reader must know:
/// what was left out and why.
pub fn found_runs(directory: &Path, known: &BTreeSet<String>, keep: &mut dyn FnMut(&Run, Option<&str>)) -> Vec<String> {
    let mut notes = Vec::new();
    let mut read = 0;
    let files = newest_first(directory);
    if files.len() > MOST_RUNS {
        notes.push(format!(
            "Of {} runs in {} the newest {MOST_RUNS} were looked at.",
            files.len(),
            directory.display()
        ));
    }
    for file in files.iter().take(MOST_RUNS) {
        read += fs::metadata(file).map_or(0, |metadata| metadata.len());
        if read > LARGEST_SUM {
            notes.push(format!("Runs older than {} were not read: too much.", file.display()));
            break;
        }
        match whole(file, known) {
            Ok(Some(run)) => keep(&run, verdict_beside(file).as_deref()),
            Ok(None) => {}
            Err(why) => notes.push(format!("Left out: {why}.")),
        }
    }
    notes
}

/// The run of a file; `None` when it is known, or partial.
fn whole(file: &Path, known: &BTreeSet<String>) -> Result<Option<Run>, String> {
    #[derive(Deserialize)]
    struct Head {
        id: String,
    }
    let bytes = run::read_bounded(file, LARGEST_RUN).map_err(|error| error.to_string())?;
    let head: Result<Head, _> = serde_json::from_slice(&bytes);
    if head.is_ok_and(|head| known.contains(&head.id)) {
        return Ok(None);
    }
    let run = run::load(file).map_err(|error| error.to_string())?;
    Ok(run.partial.is_none().then_some(run))
}

/// The word in the report that lies beside a run, where there is one.
fn verdict_beside(file: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Report {
        verdict: String,
    }
    let bytes = run::read_bounded(&file.with_file_name("report.json"), LARGEST_REPORT).ok()?;
    Some(serde_json::from_slice::<Report>(&bytes).ok()?.verdict)
}

/// The files of runs, by the names of their directories, which begin with the time. A run that is
/// under way has none yet.
fn newest_first(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path().join(run::FILE_NAME))
        .filter(|file| file.is_file())
        .collect();
    files.sort();
    files.reverse();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::testing::Shape;

    fn small(luck: u64) -> Run {
        Shape {
            luck,
            seconds: 1,
            rate: 5,
            ..Shape::default()
        }
        .run()
    }

    #[test]
    fn whole_and_unknown_runs_are_found_newest_first_and_the_rest_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let save = |name: &str, run: &Run| run::save(run, &directory.path().join(name).join(run::FILE_NAME)).unwrap();
        save("20260101T000000Z-aaaaaa", &small(1));
        save("20260102T000000Z-bbbbbb", &small(2));
        save("20260103T000000Z-cccccc", &small(3));
        let partial = Run {
            partial: Some("interrupted".into()),
            ..small(4)
        };
        save("20260104T000000Z-dddddd", &partial);
        fs::create_dir(directory.path().join("20260105T000000Z-eeeeee")).unwrap();
        let broken = directory.path().join("20260106T000000Z-ffffff");
        fs::create_dir(&broken).unwrap();
        fs::write(broken.join(run::FILE_NAME), "{").unwrap();
        fs::write(
            directory.path().join("20260103T000000Z-cccccc/report.json"),
            "{\"verdict\":\"warning\",\"more\":1}",
        )
        .unwrap();

        let known = BTreeSet::from([small(2).id]);
        let mut found = Vec::new();
        let notes = found_runs(directory.path(), &known, &mut |run, verdict| {
            found.push((run.id.clone(), verdict.map(str::to_owned)));
        });
        assert_eq!(found, [(small(3).id, Some("warning".into())), (small(1).id, None)]);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("20260106T000000Z-ffffff"), "{notes:?}");
        let nowhere = found_runs(&directory.path().join("gone"), &known, &mut |_, _| unreachable!());
        assert!(nowhere.is_empty());
    }
}
