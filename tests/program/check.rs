//! `loadgate check` and `run --once` with the real program: what ships is right,
//! and what is wrong is told, all of it, each with its place.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

fn loadgate(directory: &Path, arguments: &[&str]) -> Output {
    crate::support::program::loadgate(directory, arguments)
        .output()
        .unwrap()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(repository().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_scenario_passes_the_check() {
    // Examples name files of their user's by these variables.
    let files = tempfile::tempdir().unwrap();
    let variables = ["CA", "CERT", "KEY"].map(|name| (name, files.path().join(name)));
    for (_, path) in &variables {
        fs::write(path, "").unwrap();
    }
    for file in [toml_files("scenarios"), toml_files("scenarios/examples")].concat() {
        let output = crate::support::program::loadgate(repository(), &["check", file.to_str().unwrap()])
            .envs(variables.clone())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {told}", file.display());
    }
}

/// Performs each flow of a shipped scenario once against the demo that it starts.
#[track_caller]
fn performs(scenario: &str, shown: &[&str]) {
    let path = repository().join("scenarios").join(scenario);
    let elsewhere = tempfile::tempdir().unwrap();
    let output = loadgate(elsewhere.path(), &["run", "--once", path.to_str().unwrap()]);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    for text in shown {
        assert!(out.contains(text), "{text} is not in:\n{out}");
    }
    assert_eq!(
        fs::read_dir(elsewhere.path()).unwrap().count(),
        0,
        "--once writes nothing"
    );
}

#[test]
fn the_closed_example_is_performed() {
    performs(
        "examples/closed.toml",
        &["GET /api/users/", "pause 20 ms", "GET /api/sessions/"],
    );
}

#[test]
fn the_csv_example_is_performed() {
    performs(
        "examples/csv-feed.toml",
        &["GET /api/users/17", "\"user_id\":17,\"kind\":\"travel\""],
    );
}

#[test]
fn the_transaction_example_is_performed() {
    performs(
        "examples/transaction.toml",
        &["INSERT INTO emissions", "1 changed", "1 rows"],
    );
}

#[test]
fn the_example_of_saved_values_is_performed() {
    performs(
        "examples/save-and-expect.toml",
        &["saved email = \"user", "saved found = "],
    );
}

#[test]
fn the_example_of_setup_and_teardown_is_performed() {
    performs(
        "examples/setup-teardown.toml",
        &["> $2 = 50000", "GET /api/users/10001"],
    );
}

#[test]
fn the_example_of_repeats_is_performed() {
    performs("examples/repeat.toml", &["repeat 3 times, shown once", "?n="]);
}

#[test]
fn the_quickstart_is_performed() {
    performs("quickstart.toml", &["── flow report emissions ──"]);
}

/// What `check` says of a scenario, with its exit code; the directory's name is left out.
#[track_caller]
fn refused(scenario: &str, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    let output = loadgate(directory.path(), &[&["check", "scenario.toml"], arguments].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty() && !told.contains("panicked"), "{told}");
    told
}

/// A scenario with nothing wrong, to put something wrong into.
const GOOD: &str = r#"name = "good"

[target.api]
http = "http://127.0.0.1:1"

[target.db]
sqlite = "some.db"

[load]
rate = "10/s"
duration = "5s"

[[flow]]
name = "main"

[[flow.step]]
name = "get"
get = "/"
"#;

#[track_caller]
fn with(from: &str, to: &str) -> String {
    let scenario = GOOD.replacen(from, to, 1);
    assert_ne!(scenario, GOOD);
    refused(&scenario, &[])
}

#[test]
fn an_unknown_key_is_told_with_a_suggestion() {
    insta::assert_snapshot!(with("duration", "durration"));
}

#[test]
fn a_wrong_type_is_told_with_the_mend() {
    insta::assert_snapshot!(with("\"5s\"", "5"));
}

#[test]
fn a_rate_of_nothing_is_refused() {
    insta::assert_snapshot!(with("10/s", "0/s"));
}

#[test]
fn two_kinds_in_one_step_are_refused() {
    insta::assert_snapshot!(with("get = \"/\"", "get = \"/\"\nsql = \"SELECT 1\""));
}

#[test]
fn a_missing_variable_of_the_environment_is_named() {
    insta::assert_snapshot!(with("127.0.0.1:1", "${LOADGATE_TEST_UNSET}"));
}

#[test]
fn an_unknown_variable_of_a_template_is_named_with_those_that_are_known() {
    insta::assert_snapshot!(with(
        "get = \"/\"",
        "get = \"/{{ usr }}\"\n\n[data.user]\nuuid = true\n"
    ));
}

#[test]
fn csv_files_without_content_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("empty.csv"), "").unwrap();
    fs::write(path("header.csv"), "id,name\n").unwrap();
    fs::write(path("ragged.csv"), "id,name\n1,a\n2\n").unwrap();
    fs::write(path("latin1.csv"), b"id,name\n1,M\xfcller\n").unwrap();
    fs::write(path("twice.csv"), "id,id\n1,2\n").unwrap();
    let mut scenario = GOOD.to_owned();
    for name in ["empty", "header", "ragged", "latin1", "twice", "absent"] {
        scenario.push_str(&format!("\n[data.{name}]\ncsv = \"{name}.csv\"\n"));
    }
    fs::write(path("scenario.toml"), scenario).unwrap();
    let output = loadgate(directory.path(), &["check", "scenario.toml"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn text_that_is_no_toml_is_told_with_its_places() {
    insta::assert_snapshot!(refused("name = \"x\nusers: 5\n[load\n", &[]));
}

#[test]
fn an_empty_file_lacks_everything() {
    insta::assert_snapshot!(refused("", &[]));
}

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let told = refused(
        r#"nmae = "many"
seed = -1

[target.api]
http = "127.0.0.1:8080"
timeout = 5

[target.db]
sqlite = "x.db"
protocol = "simple"

[load]
rate = "0/s"
users = 5
duration = "10"

[data.user]
uniform = { from = 10, to = 1 }

[[flow]]
name = "a"

[[flow.step]]
get = "/a"
sql = "SELECT 1"

[[flow.step]]
get = "/b/{{ user }}/{{ nobody }}"
expect = { rows = 1 }

[[flow.step]]
sql = "SELECT $1, $2"
params = ["{{ user }}"]

[[flow.step]]
pause = "soon"

[[threshold]]
step = "nothing"
metric = "p42"
"#,
        &[],
    );
    assert_eq!(told.matches("--> scenario.toml:").count(), 16, "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_secret_in_a_wrong_line_is_not_shown() {
    let told = with("http://127.0.0.1:1", "http://user:hunter2-secret@127.0.0.1:1");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn several_files_are_all_checked_and_one_bad_one_decides() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("good.toml"), GOOD).unwrap();
    fs::write(directory.path().join("bad.toml"), "").unwrap();
    let output = loadgate(directory.path(), &["check", "bad.toml", "good.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        out.starts_with("good.toml: ok (1 steps in 1 flows, fingerprint "),
        "{out}"
    );
}

#[test]
fn what_is_set_is_checked_like_what_is_written() {
    insta::assert_snapshot!(refused(
        GOOD,
        &["--set", "load.rate=fast", "--set", "flow.main.wieght=2"]
    ));
}

#[test]
fn requests_are_shown_as_they_are_sent_and_their_secrets_are_not() {
    let web = crate::support::web::Web::start(None, |_| {
        crate::support::web::answer(200, &[("x-served-by", "a")], "fine")
    });
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("data.bin"), [0, 1, 2, 3]).unwrap();
    let scenario = format!(
        "name = \"once\"\n[target.t]\nhttp = \"{}\"\nauth = {{ basic = {{ user = \"ann\", password = \"open sesame\" }} }}\n\
         [load]\nusers = 1\niterations = 1\n[data.token]\nconstant = \"drawn-secret\"\n[[flow]]\nname = \"f\"\n\
         [[flow.step]]\nname = \"form\"\npost = \"/form\"\nform = {{ a = \"b c\" }}\n\
         [[flow.step]]\nname = \"parts\"\npost = \"/parts\"\nauth = {{ bearer = \"{{{{ token }}}}\" }}\n\
         multipart = [{{ name = \"user\", value = \"ann\" }}, {{ name = \"file\", file = \"data.bin\" }}]\n\
         save = {{ server = {{ header = \"x-served-by\" }} }}\n",
        web.url("http")
    );
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    let output = loadgate(directory.path(), &["run", "--once", "scenario.toml"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for part in [
        "> POST /form",
        "> authorization: Basic •••",
        "> content-type: application/x-www-form-urlencoded",
        "> a=b%20c",
        "> authorization: Bearer •••",
        "filename=\"data.bin\"",
        "(6 bytes)",
        "< x-served-by: a",
        "saved server = \"a\"",
    ] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    for secret in ["open sesame", "b3BlbiBzZXNhbWU", "drawn-secret"] {
        assert!(!shown.contains(secret), "{secret}:\n{shown}");
    }
}
