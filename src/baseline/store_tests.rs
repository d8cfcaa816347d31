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
