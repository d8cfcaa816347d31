//! Baselines as sets of runs, and histories, with the real program. No load: the
//! runs are variations of the one that is committed as a sample.

use std::{fs, path::Path, process::Output};

use crate::support::program::Desk;
use jiff::SignedDuration;
use loadgate::run::{self, Encoded, Latency, Run};
use serde_json::Value;

const SERIES: &str = "reports/baselines/quickstart/default.runs.jsonl";

fn sample() -> Run {
    run::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/sample")).unwrap()
}

fn times(latency: &Latency, factor: f64) -> Latency {
    let mut scaled = Latency::new();
    for value in latency.hdr.iter_recorded() {
        for _ in 0..value.count_at_value() {
            scaled.record((value.value_iterated_to() as f64 * factor) as u64);
        }
    }
    scaled
}

/// The sample's run so many days later, as many times slower, in `runs/<id>`.
fn put(desk: &Desk, id: &str, day: i64, factor: f64, change: impl Fn(&mut Run)) {
    let mut run = sample();
    run.id = id.to_owned();
    run.started += SignedDuration::from_hours(24 * day);
    run.environment.commit = Some(format!("{id}0123456789"));
    for step in &mut run.steps {
        for span in [&mut step.response_time, &mut step.service_time] {
            span.completed = times(&span.completed, factor);
        }
    }
    for step in run.intervals.iter_mut().flat_map(|interval| &mut interval.steps) {
        let scaled = |encoded: &Encoded| {
            let whole = Latency {
                hdr: encoded.decode().unwrap(),
                ..Latency::new()
            };
            times(&whole, factor).encode()
        };
        (step.response_time, step.service_time) = (scaled(&step.response_time), scaled(&step.service_time));
        step.response_sum_ns = (step.response_sum_ns as f64 * factor) as u64;
        step.service_sum_ns = (step.service_sum_ns as f64 * factor) as u64;
    }
    change(&mut run);
    run::save(&run, &desk.path().join("runs").join(id).join(run::FILE_NAME)).unwrap();
}

fn unchanged(_: &mut Run) {}

fn call(desk: &Desk, arguments: &[&str]) -> Output {
    let output = desk.loadgate(arguments).output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{output:?}");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it printed, where it exits like this.
#[track_caller]
fn told(desk: &Desk, code: i32, arguments: &[&str]) -> String {
    let output = call(desk, arguments);
    let all = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
    all
}

/// The records of the series.
fn records(desk: &Desk) -> Vec<Value> {
    let text = fs::read_to_string(desk.path().join(SERIES)).unwrap();
    text.lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// An accepted run and so many more, a day apart and about 2 % from each other.
fn with_set(more: i64) -> Desk {
    let desk = Desk::new();
    put(&desk, "first", 0, 1.0, unchanged);
    told(&desk, 0, &["baseline", "accept", "runs/first", "--reason", "the first"]);
    for day in 1..=more {
        let id = format!("day{day}");
        put(&desk, &id, day, 1.0 + 0.02 * ((day % 3) as f64 - 1.0), unchanged);
        let text = told(&desk, 0, &["baseline", "add", &format!("runs/{id}")]);
        assert!(text.contains(&format!("{} runs", day + 1)), "{text}");
    }
    desk
}

#[test]
fn a_single_baseline_passes_its_like_and_fails_what_is_much_slower() {
    let desk = with_set(0);
    put(&desk, "same", 1, 1.0, unchanged);
    put(&desk, "slow", 1, 3.0, unchanged);
    let same = told(&desk, 0, &["compare", "runs/same"]);
    assert!(same.contains("1 of the 8 sessions"), "{same}");
    let slow = told(&desk, 3, &["compare", "runs/slow"]);
    assert!(slow.contains("200 % slower than the baseline"), "{slow}");
    assert_eq!(told(&desk, 3, &["compare", "runs/slow"]), slow);
}

#[test]
fn a_set_of_ten_knows_its_spread_and_shows_it() {
    let desk = with_set(9);
    put(&desk, "same", 11, 1.0, unchanged);
    put(&desk, "slow", 11, 3.0, unchanged);
    let same = told(&desk, 0, &["compare", "runs/same"]);
    assert!(
        same.contains("10 runs in 10 sessions") && !same.contains("of the 8 sessions"),
        "{same}"
    );
    told(&desk, 3, &["compare", "runs/slow"]);
    let report: Value = serde_json::from_str(&told(&desk, 0, &["compare", "runs/same", "--format", "json"])).unwrap();
    assert_eq!(report["baseline"]["ids"].as_array().unwrap().len(), 10);
    assert_eq!(report["baseline"]["sessions"], 10);
    let list = told(&desk, 0, &["baseline", "list"]);
    let row = list.lines().find(|line| line.contains("quickstart")).unwrap();
    assert!(row.contains("  10    10        the first"), "{list}");
    let show = told(&desk, 0, &["baseline", "show", "quickstart"]);
    assert!(
        show.contains("10 runs in 10 sessions") && show.contains("spread"),
        "{show}"
    );
    assert!(show.contains("1.7 %"), "{show}");
}

#[test]
fn only_what_passes_on_the_main_branch_is_added() {
    let desk = with_set(1);
    let before = records(&desk).len();
    put(&desk, "topic", 2, 1.0, |run| {
        run.environment.branch = Some("topic".into());
    });
    put(&desk, "detached", 2, 1.0, |run| run.environment.branch = None);
    put(&desk, "slow", 2, 3.0, unchanged);
    put(&desk, "other", 2, 1.0, |run| run.fingerprint.load = "other".into());
    put(&desk, "partial", 2, 1.0, |run| run.partial = Some("interrupted".into()));
    for (id, why) in [
        ("topic", "of the branch topic, not of main or master; --branch"),
        ("detached", "branch is not known"),
        ("slow", "critical: "),
        ("other", "did other work than the baseline (different: load)"),
        ("partial", "partial"),
        ("day1", "already"),
        ("first", "already"),
    ] {
        let refused = told(&desk, 2, &["baseline", "add", &format!("runs/{id}")]);
        assert!(refused.contains(why), "{id}: {refused}");
    }
    assert_eq!(records(&desk).len(), before);
    told(&desk, 0, &["baseline", "add", "runs/topic", "--branch", "topic"]);
    assert_eq!(records(&desk).len(), before + 1);
    let none = Desk::new();
    put(&none, "first", 0, 1.0, unchanged);
    let refused = told(&none, 2, &["baseline", "add", "runs/first"]);
    assert!(refused.contains("accept one first"), "{refused}");
}

#[test]
fn an_accepted_change_begins_a_new_set_and_is_noted() {
    let desk = with_set(9);
    put(&desk, "slower", 11, 3.0, unchanged);
    told(&desk, 3, &["compare", "runs/slower"]);
    told(
        &desk,
        0,
        &["baseline", "accept", "runs/slower", "--reason", "encrypts now"],
    );
    let again = told(&desk, 0, &["compare", "runs/slower"]);
    assert!(again.contains("1 of the 8 sessions"), "{again}");
    let kept = records(&desk);
    let last = kept.last().unwrap();
    assert_eq!((kept.len(), &last["accepted"]["reason"]), (11, &"encrypts now".into()));
    assert_eq!(last["verdict"], "critical");
    let log = fs::read_to_string(desk.path().join("reports/baselines/quickstart/accepted.log")).unwrap();
    assert_eq!(log.lines().count(), 2);
    assert!(log.ends_with("\tslower\tslower0123456789\tencrypts now\n"), "{log}");
}

#[test]
fn beside_another_machine_a_time_is_never_critical() {
    let desk = with_set(9);
    put(&desk, "slow", 11, 3.0, |run| run.environment.cores = 64);
    let text = told(&desk, 0, &["compare", "runs/slow"]);
    assert!(
        text.contains("another class of machine: measure both as variants of one run"),
        "{text}"
    );
    // A run there can be added, and is then what is compared with there.
    put(&desk, "there", 12, 3.0, |run| run.environment.cores = 64);
    told(&desk, 0, &["baseline", "add", "runs/there"]);
    let text = told(&desk, 0, &["compare", "runs/slow"]);
    assert!(text.contains("1 of the 8 sessions"), "{text}");
    put(&desk, "slower", 13, 9.0, |run| run.environment.cores = 64);
    told(&desk, 3, &["compare", "runs/slower"]);
    told(&desk, 2, &["baseline", "add", "runs/slower"]);
}

#[test]
fn a_damaged_series_is_told_with_its_line_and_its_mend() {
    let desk = with_set(2);
    let file = desk.path().join(SERIES);
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    for arguments in [
        &["compare", "runs/day1"][..],
        &["baseline", "accept", "runs/day1"],
        &["baseline", "add", "runs/day1"],
        &["history", "quickstart"],
    ] {
        let text = told(&desk, 2, arguments);
        assert!(
            text.contains("default.runs.jsonl: not a whole series of runs: line 4: ") && text.contains("delete it"),
            "{arguments:?}: {text}"
        );
    }
    assert!(told(&desk, 0, &["baseline", "list"]).contains("line 4"));
    fs::remove_file(&file).unwrap();
    let text = told(&desk, 0, &["compare", "runs/day1"]);
    assert!(text.contains("1 of the 8 sessions"), "{text}");
    assert!(told(&desk, 0, &["baseline", "add", "runs/day1"]).contains("2 runs"));
}

#[test]
fn eight_programs_that_accept_at_once_lose_nothing() {
    let desk = Desk::new();
    let ids: Vec<String> = (1..=8).map(|n| format!("run{n}")).collect();
    for id in &ids {
        put(&desk, id, 0, 1.0, unchanged);
    }
    let accept = |id: &String| {
        desk.loadgate(&["baseline", "accept", &format!("runs/{id}"), "--reason", id])
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = ids.iter().map(accept).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let kept: Vec<String> = records(&desk)
        .iter()
        .map(|record| record["run"].as_str().unwrap().to_owned())
        .collect();
    let mut sorted = kept.clone();
    sorted.sort();
    assert_eq!(sorted, ids);
    let directory = desk.path().join("reports/baselines/quickstart");
    let whole: Value = serde_json::from_slice(&fs::read(directory.join("default.json")).unwrap()).unwrap();
    assert_eq!(whole["run"]["id"].as_str(), kept.last().map(String::as_str));
    let log = fs::read_to_string(directory.join("accepted.log")).unwrap();
    assert_eq!(log.lines().count(), 8);
    assert!(ids.iter().all(|id| log.contains(&format!("\t{id}\n"))), "{log}");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["accepted.log", "default.json", "default.runs.jsonl"]);
}

#[test]
fn a_baseline_from_before_there_were_series_is_still_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/sample");
    let (run, baselines) = (root.to_str().unwrap(), root.join("baselines"));
    let desk = Desk::new();
    let text = told(&desk, 3, &["compare", run, "--baselines", baselines.to_str().unwrap()]);
    assert!(text.contains("1 of the 8 sessions"), "{text}");
    let url = format!("file://{}", baselines.display());
    told(&desk, 3, &["compare", run, "--baselines", &url]);
    assert!(told(&desk, 0, &["history", "quickstart", "--baselines", &url]).contains("1 run "));
}

#[cfg(not(feature = "object-store"))]
#[test]
fn without_object_stores_a_url_says_how_to_build_with_them() {
    let desk = with_set(0);
    let text = told(
        &desk,
        2,
        &[
            "compare",
            "runs/first",
            "--baselines",
            "s3://me:secret@bucket/x?sig=secret",
        ],
    );
    assert!(
        text.contains("--features object-store") && !text.contains("secret"),
        "{text}"
    );
}

#[cfg(feature = "object-store")]
#[test]
fn an_object_store_that_does_not_answer_is_told_without_secrets() {
    let desk = with_set(0);
    let mut command = desk.loadgate(&["compare", "runs/first", "--baselines", "s3://bucket/x"]);
    let output = command
        .env("AWS_ENDPOINT", "http://127.0.0.1:9")
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "me")
        .env("AWS_SECRET_ACCESS_KEY", "verysecret")
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("s3://bucket/x/quickstart/default.json") && !text.contains("verysecret"),
        "{text}"
    );
}

/// A history of 20 runs: accepted at the first, 40 % slower from the twelfth, that one accepted too.
fn with_history() -> Desk {
    let desk = Desk::new();
    for day in 0..20 {
        let level = if day < 11 { 1.0 } else { 1.4 };
        let id = format!("c{day:02}");
        put(
            &desk,
            &id,
            day,
            level * (1.0 + 0.01 * ((day * 7 % 5) as f64 - 2.0)),
            unchanged,
        );
        let run = format!("runs/{id}");
        match day {
            0 => told(&desk, 0, &["baseline", "accept", &run]),
            11 => told(&desk, 0, &["baseline", "accept", &run, "--reason", "audit trail"]),
            _ => told(&desk, 0, &["baseline", "add", &run]),
        };
    }
    // Two that lie about: one of a topic branch, one on another machine.
    fs::create_dir_all(desk.path().join("reports/runs")).unwrap();
    put(&desk, "topic", 21, 1.4, |run| {
        run.environment.branch = Some("topic".into());
    });
    put(&desk, "elsewhere", 21, 1.4, |run| run.environment.cores = 64);
    let runs = desk.path().join("reports/runs/quickstart");
    fs::create_dir_all(&runs).unwrap();
    for id in ["topic", "elsewhere", "c03"] {
        fs::rename(desk.path().join("runs").join(id), runs.join(id)).unwrap();
    }
    fs::write(runs.join("topic/report.json"), "{\"verdict\":\"warning\"}").unwrap();
    desk
}

#[test]
fn a_history_is_told_as_text_json_and_picture() {
    let desk = with_history();
    let text = told(&desk, 0, &["history", "quickstart"]);
    for part in [
        "21 runs · from 2026-11-21 to 2026-12-12",
        "accepted: audit trail",
        "▲ warning",
        "topic",
        "c11012345 (2026-12-02)",
        "1 of 22 runs are not shown",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }

    let arguments = [
        "history",
        "quickstart",
        "--step",
        "get user",
        "--metric",
        "p50",
        "--format",
        "json",
    ];
    let output = call(&desk, &[&arguments[..], &["--out", "drawn"]].concat());
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&document["schema"], &document["scenario"]),
        (&"loadgate.history/1".into(), &"quickstart".into())
    );
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(
        (runs.len(), &runs[11]["accepted"]["reason"]),
        (21, &"audit trail".into())
    );
    assert_eq!((&runs[20]["id"], &runs[20]["kept"]), (&"topic".into(), &false.into()));
    let trends = document["trends"].as_array().unwrap();
    assert_eq!((trends.len(), &trends[0]["unit"]), (1, &"ns".into()));
    let point = &trends[0]["points"][0];
    assert!(
        point["interval"][0].as_f64().unwrap() < point["value"].as_f64().unwrap(),
        "{point}"
    );
    let changes = trends[0]["changes"].as_array().unwrap();
    assert_eq!((changes.len(), &changes[0]["run"]), (1, &"c11".into()));
    assert!(
        (changes[0]["change"].as_f64().unwrap() - 0.4).abs() < 0.03,
        "{changes:?}"
    );

    let png = fs::read(desk.path().join("drawn/11-history.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000);
    if let Some(look) = std::env::var_os("LOADGATE_LOOK") {
        told(&desk, 0, &["history", "quickstart", "--out", look.to_str().unwrap()]);
    }
}

#[test]
fn a_history_of_nothing_says_what_to_do() {
    let desk = Desk::with_scenario(
        "name = \"new\"\n[target.a]\nhttp = \"http://127.0.0.1:1\"\n[load]\nusers = 1\nduration = \"1s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nget = \"/\"\n",
    );
    let text = told(&desk, 0, &["history", "scenario.toml"]);
    assert!(
        text.contains("no runs of new are stored") && text.contains("loadgate baseline accept"),
        "{text}"
    );
    let output = call(&desk, &["history", "scenario.toml", "--format", "json"]);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["runs"], Value::Array(Vec::new()));
    assert!(told(&desk, 2, &["history", "nwe"]).contains("no runs of nwe are stored"));
    let desk = with_set(0);
    let unknown = told(&desk, 2, &["history", "quickstart", "--metric", "p42"]);
    assert!(
        unknown.contains("no metric is called \"p42\"; there are mean, p50"),
        "{unknown}"
    );
    let unknown = told(&desk, 2, &["history", "quickstart", "--step", "gone"]);
    assert!(
        unknown.contains("no step of a stored run is called \"gone\"; there are all, "),
        "{unknown}"
    );
}
