//! Baselines as files: the good, the broken and the hostile.

use std::fs;

use super::{testing::Shape, *};

fn now() -> Timestamp {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

fn fixture() -> (tempfile::TempDir, Baselines, Run) {
    let directory = tempfile::tempdir().unwrap();
    let baselines = Baselines::at(&directory.path().join("baselines"), []).unwrap();
    (directory, baselines, Shape::default().run())
}

fn accept(baselines: &Baselines, run: &Run, name: &str, reason: Option<&str>) -> Result<PathBuf, BaselineError> {
    baselines.accept(run, Record::of(run), name, reason, now())
}

/// Where the file of a baseline is.
fn file(baselines: &Baselines, scenario: &str, name: &str) -> PathBuf {
    baselines.location().join(store::path(scenario, name).unwrap())
}

#[test]
fn an_accepted_run_is_found_again_and_noted() {
    let (_guard, baselines, run) = fixture();
    assert!(baselines.find(&run.scenario, DEFAULT_NAME).unwrap().is_none());
    accept(&baselines, &run, DEFAULT_NAME, None).unwrap();
    let path = accept(&baselines, &run, DEFAULT_NAME, Some("new\nindex")).unwrap();

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
    let path = accept(&baselines, &run, DEFAULT_NAME, None).unwrap();
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
    let path = file(&baselines, &run.scenario, "odd");
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
        let refused = accept(&baselines, &run, name, None);
        assert!(matches!(refused, Err(BaselineError::Name { .. })), "{name}");
        assert!(
            matches!(baselines.find("x", name), Err(BaselineError::Name { .. })),
            "{name}"
        );
    }
    assert!(!baselines.location().exists());
    let odd = Run {
        scenario: "../../outside".into(),
        ..run
    };
    assert!(
        accept(&baselines, &odd, "a", None)
            .unwrap()
            .starts_with(baselines.location())
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
    let message = accept(&baselines, &partial, DEFAULT_NAME, None)
        .unwrap_err()
        .to_string();
    assert!(message.contains("interrupted after 3 s"), "{message}");
    let empty = Run {
        steps: Vec::new(),
        ..run
    };
    assert!(matches!(
        accept(&baselines, &empty, DEFAULT_NAME, None),
        Err(BaselineError::Empty { .. })
    ));
    assert!(!baselines.location().exists());
}

#[test]
fn an_unwritable_directory_says_that_nothing_was_accepted() {
    let (guard, _, run) = fixture();
    fs::write(guard.path().join("file"), "").unwrap();
    let baselines = Baselines::at(&guard.path().join("file"), []).unwrap();
    let message = accept(&baselines, &run, DEFAULT_NAME, None).unwrap_err().to_string();
    assert!(
        message.contains("not accepted") && message.contains("file"),
        "{message}"
    );
}

#[test]
fn a_list_shows_bad_files_as_bad() {
    let (_guard, baselines, run) = fixture();
    assert!(baselines.list().unwrap().is_empty());
    accept(&baselines, &run, "b", Some("why")).unwrap();
    let bad = accept(&baselines, &run, "a", None).unwrap();
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
    let path = accept(&baselines, &run, DEFAULT_NAME, None).unwrap();
    let other = file(&baselines, "other", DEFAULT_NAME);
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(path, other).unwrap();
    assert!(
        baselines
            .find("other", DEFAULT_NAME)
            .unwrap_err()
            .to_string()
            .contains("scenario \"shop\"")
    );
}

#[test]
fn runs_are_added_to_the_set_once_and_only_to_the_last_accepted() {
    let (_guard, baselines, run) = fixture();
    let next = Run {
        id: "next".into(),
        ..run.clone()
    };
    let add = |run: &Run| baselines.add(run, &Record::of(run), DEFAULT_NAME);
    assert!(matches!(add(&next), Err(BaselineError::NothingToAddTo { .. })));
    accept(&baselines, &run, DEFAULT_NAME, None).unwrap();
    assert!(matches!(add(&run), Err(BaselineError::Known { .. })));
    assert_eq!(add(&next).unwrap(), 2);
    assert!(matches!(add(&next), Err(BaselineError::Known { .. })));
    let found = baselines.find(&run.scenario, DEFAULT_NAME).unwrap().unwrap();
    assert_eq!(
        found.since.iter().map(|record| record.run.as_str()).collect::<Vec<_>>(),
        [run.id.as_str(), "next"]
    );

    // Somebody is in the middle of accepting: the series has it, the whole run is still the old one.
    let place = file(&baselines, &run.scenario, DEFAULT_NAME);
    let old = fs::read(&place).unwrap();
    let change = Run {
        id: "change".into(),
        ..run.clone()
    };
    accept(&baselines, &change, DEFAULT_NAME, None).unwrap();
    fs::write(&place, old).unwrap();
    let late = Run {
        id: "late".into(),
        ..run.clone()
    };
    assert!(matches!(add(&late), Err(BaselineError::Overtaken { .. })));
    let found = baselines.find(&run.scenario, DEFAULT_NAME).unwrap().unwrap();
    assert_eq!((found.run.id, found.since.len()), (run.id, 2));
}

#[test]
fn a_baseline_without_a_series_gets_one_with_the_first_run_that_is_added() {
    let (_guard, baselines, run) = fixture();
    accept(&baselines, &run, DEFAULT_NAME, Some("old")).unwrap();
    let series = baselines
        .location()
        .join(store::series_path(&run.scenario, DEFAULT_NAME).unwrap());
    fs::remove_file(&series).unwrap();
    assert!(
        baselines
            .find(&run.scenario, DEFAULT_NAME)
            .unwrap()
            .unwrap()
            .since
            .is_empty()
    );
    let next = Run {
        id: "next".into(),
        ..run.clone()
    };
    assert_eq!(baselines.add(&next, &Record::of(&next), DEFAULT_NAME).unwrap(), 2);
    let kept = baselines.series(&run.scenario, DEFAULT_NAME).unwrap().records;
    assert_eq!(kept[0].accepted.as_ref().unwrap().reason.as_deref(), Some("old"));
}
