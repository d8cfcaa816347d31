//! Bad files, arguments and surroundings: a clear message and the exit code of
//! the table, before any load, and never a panic.

use std::{fs, path::Path};

use crate::support::program::loadgate;

/// A scenario on a target that nothing listens on.
const UNREACHABLE: &str = r#"name = "test"
[target.api]
http = "http://127.0.0.1:1"
[load]
rate = "10/s"
duration = "5s"
[[flow]]
name = "main"
step = [{ get = "/" }]
"#;

/// Everything the program says, with the name of the directory left out.
#[track_caller]
fn told(directory: &Path, arguments: &[&str], code: i32) -> String {
    let output = loadgate(directory, arguments).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!told.contains("panicked"), "{told}");
    told.replace(directory.to_str().unwrap(), "DIR")
}

/// What is said of a file with this content by the verbs that read it.
#[track_caller]
fn of_file(content: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scenario.toml"), content).unwrap();
    let run = told(directory.path(), &["run", "scenario.toml"], 2);
    assert_eq!(run, told(directory.path(), &["check", "scenario.toml"], 2));
    assert!(!directory.path().join("reports").exists(), "nothing is written");
    run
}

#[track_caller]
fn of_scenario(scenario: &str, arguments: &[&str], code: i32) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    told(directory.path(), &[&["run", "scenario.toml"], arguments].concat(), code)
}

#[track_caller]
fn of_arguments(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    told(directory.path(), arguments, 2)
}

#[test]
fn a_scenario_of_ten_megabytes_is_refused() {
    insta::assert_snapshot!(of_file("# filler\n".repeat((10 << 20) / 9).as_bytes()));
}

#[test]
fn a_file_that_is_no_utf8_is_refused_with_the_line() {
    insta::assert_snapshot!(of_file(b"name = \"x\"\n# caf\xe9\n"));
}

#[test]
fn a_picture_is_no_scenario() {
    insta::assert_snapshot!(of_file(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    insta::assert_snapshot!(of_arguments(&["run", "absent.toml"]));
}

#[test]
fn a_directory_is_no_scenario() {
    insta::assert_snapshot!(of_arguments(&["check", "."]));
}

#[test]
fn an_out_that_cannot_be_written_costs_no_run() {
    insta::assert_snapshot!(of_scenario(UNREACHABLE, &["--out", "scenario.toml/below"], 2));
}

#[test]
fn a_set_that_makes_no_sense_says_why() {
    let told: Vec<_> = [
        "load",
        "=5",
        "load..rate=5/s",
        "name.x=1",
        "flow.buy.weight=1",
        "flow.main=1",
        "load.rate=0/s",
    ]
    .iter()
    .map(|set| of_scenario(UNREACHABLE, &["--set", set], 2))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_target_that_cannot_be_reached_is_no_answer() {
    insta::assert_snapshot!(of_scenario(UNREACHABLE, &[], 4));
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let scenario = UNREACHABLE
        .replace("http = \"http://127.0.0.1:1\"", "sqlite = \"absent.db\"")
        .replace("get = \"/\"", "sql = \"SELECT 1\"");
    insta::assert_snapshot!(of_scenario(&scenario, &[], 4));
}

#[test]
fn sql_that_does_not_prepare_is_the_scenarios_fault() {
    let directory = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(directory.path().join("test.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    let scenario = UNREACHABLE
        .replace("http = \"http://127.0.0.1:1\"", "sqlite = \"test.db\"")
        .replace("get = \"/\"", "sql = \"SELECT y FROM t\"");
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    insta::assert_snapshot!(told(directory.path(), &["run", "scenario.toml"], 2));
}

#[test]
fn a_process_that_cannot_be_started_is_no_answer() {
    let with = |start: &str| {
        let scenario = UNREACHABLE.replace(
            "http = \"http://127.0.0.1:1\"",
            &format!("http = \"http://127.0.0.1:{{port}}\"\nstart = \"{start}\"\nready_timeout = \"20s\""),
        );
        of_scenario(&scenario, &[], 4)
    };
    let told = [
        with("/absent/program --in {dir}"),
        with("sh -c 'echo broken >&2; exit 7'"),
    ];
    insta::with_settings!({ filters => [(r"--dir \S+", "--dir DIR`")] }, {
        insta::with_settings!({ filters => [(r"--in [^`]+", "--in RUN_DIR")] }, {
        insta::assert_snapshot!(told.join("\n"));
    });
    });
}

#[test]
fn a_setup_that_fails_is_no_answer() {
    let scenario = format!(
        "{}\n[[setup]]\nname = \"log in\"\nget = \"/api/users/0\"\n",
        UNREACHABLE.replace(
            "http = \"http://127.0.0.1:1\"",
            "http = \"http://127.0.0.1:{port}\"\nstart = \"loadgate demo --listen 127.0.0.1:{port}\"\nready = \"/api/health\""
        )
    );
    insta::assert_snapshot!(of_scenario(&scenario, &[], 4));
}

#[test]
fn an_unknown_verb_is_told_with_those_near() {
    insta::assert_snapshot!(of_arguments(&["rnu", "scenario.toml"]));
}

#[test]
fn no_requests_at_all_are_no_load() {
    insta::assert_snapshot!(of_arguments(&["http", "http://127.0.0.1:1", "-n", "0"]));
}

#[test]
fn one_liners_say_what_is_wrong_with_them() {
    let told: Vec<_> = [
        &["http", "http://"][..],
        &["http", "ftp://h/"],
        &["http", "http://h/a b"],
        &["http", "127.0.0.1:1", "-d", "soon"],
        &["http", "127.0.0.1:1", "-r", "0"],
        &["http", "127.0.0.1:1", "--header", "novalue"],
        &["http", "127.0.0.1:1", "--limit", "p42<1ms"],
        &["sql", "mysql://h/d", "SELECT 1"],
        &["sql", "x.db", "SELECT $1"],
        &["sql", "x.db", "SELECT $1", "--param", "normal:1"],
    ]
    .iter()
    .map(|arguments| of_arguments(arguments))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_run_that_is_none_is_told() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("run.json"), "{\"format\": \"loadgate.run/1\", ").unwrap();
    let told: Vec<_> = [
        &["compare", "absent"][..],
        &["compare", "."],
        &["report", "."],
        &["baseline", "accept", "."],
    ]
    .iter()
    .map(|arguments| told(directory.path(), arguments, 2))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}
