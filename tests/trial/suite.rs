//! The suite: shipped experiments as tests, with one report over all.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{
    Slots, Told,
    support::{postgres::installed, program::Desk},
    with_cache,
};

/// `loadgate suite … --out out`; its `suite.json`.
fn suite(desk: &Desk, arguments: &[&str]) -> (Told, Value) {
    let mut command = desk.loadgate(&["suite", "--out", "out"]);
    command.args(arguments);
    let told = Told::by(desk, with_cache(command));
    let document = fs::read_to_string(desk.path().join("out/suite.json")).unwrap_or_default();
    (told, serde_json::from_str(&document).unwrap_or_default())
}

#[test]
fn a_test_of_the_suite_has_a_verdict_by_its_counts_and_every_claim_beside_a_figure() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let desk = Desk::new();
    let (told, document) = suite(&desk, &["memory_usage"]);
    let told = told.exits(0);
    assert_eq!(
        (&document["schema"], &document["profile"], &document["verdict"]),
        (&"loadgate.suite/1".into(), &"ci".into(), &"pass".into())
    );
    assert_eq!(document["tests"].as_array().unwrap().len(), 1);
    assert_eq!(document["tests"][0]["category"], "memory");
    let experiment = &document["experiments"][0];
    let report = fs::read_to_string(desk.path().join("out").join(experiment["report"].as_str().unwrap()));
    let report: Value = serde_json::from_str(&report.unwrap()).unwrap();
    assert_eq!(report["run"]["id"], experiment["run"]);
    // Times are shown and not judged.
    let judged = report["comparisons"].as_array().unwrap().iter();
    let judged: BTreeSet<&str> = judged.map(|entry| entry["metric"].as_str().unwrap()).collect();
    assert_eq!(judged, BTreeSet::from(["temp_blocks_per_operation"]));
    for claim in experiment["claims"].as_array().unwrap() {
        assert!(claim["measured"].is_number(), "{claim}");
    }
    let out = |name: &str| fs::read_to_string(desk.path().join("out").join(name)).unwrap();
    for text in [out("suite.md"), out("suite.html"), told.ended.stdout] {
        assert!(
            text.contains("memory_usage") && text.contains("e29-work-mem-spill"),
            "{text}"
        );
    }
    let bytes = fs::read(desk.path().join("out/suite.zip")).unwrap();
    let archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let names: BTreeSet<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    for name in [
        "suite.html",
        "suite.md",
        "suite.json",
        "e29-work-mem-spill/report.html",
        "e29-work-mem-spill/run.json",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}

#[test]
fn an_experiment_that_cannot_be_performed_is_no_pass_and_takes_no_other_with_it() {
    let _slot = Slots::one();
    let desk = Desk::new();
    let mut command = desk.loadgate(&["suite", "--out", "out", "memory_usage", "query_cache"]);
    command.env("PG_BINDIR", desk.path());
    let told = Told::by(&desk, command).exits(4);
    let document = fs::read_to_string(desk.path().join("out/suite.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["verdict"], "invalid");
    let experiments = document["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), 2);
    for experiment in experiments {
        assert_eq!(
            (&experiment["verdict"], &experiment["run"]),
            (&"invalid".into(), &Value::Null)
        );
    }
    let page = fs::read_to_string(desk.path().join("out/suite.html")).unwrap();
    assert!(page.contains("was not performed"), "{}", told.ended.printed());
}

#[test]
fn a_test_that_is_not_there_is_told_with_those_that_are() {
    let desk = Desk::new();
    let told = Told::by(&desk, desk.loadgate(&["suite", "--out", "out", "indices"])).exits(2);
    assert!(
        told.ended.stderr.contains("index_query, bulk_insert"),
        "{}",
        told.ended.printed()
    );
}
