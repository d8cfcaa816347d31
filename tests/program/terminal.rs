//! The program at a terminal and in scripts: what it prints where, what it writes for a start.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Output, Stdio},
};

use crate::support::{program::loadgate, web};
use serde_json::Value;
use tempfile::TempDir;

const SCENARIO: &str = r#"
name = "small"
[target.db]
sqlite = "ephemeral"
[load]
users = 2
duration = "2s"
[[flow]]
name = "ask"
[[flow.step]]
name = "ask"
sql = "SELECT 1"
[[threshold]]
metric = "error_rate"
critical = "50%"
"#;

fn desk() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("small.toml"), SCENARIO).unwrap();
    place
}

fn run(place: &TempDir, arguments: &[&str]) -> Output {
    loadgate(place.path(), arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn quiet_says_the_verdict_and_nothing_else() {
    let place = desk();
    let output = run(&place, &["run", "small.toml", "--out", "out", "--quiet"]);
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("pass: ") && said.ends_with("[exit 0]\n"), "{said}");
    assert_eq!(text(&output.stderr), "");
    // Errors are told all the same.
    let output = run(&place, &["-q", "run", "none.toml"]);
    assert!(text(&output.stderr).contains("none.toml"));
}

#[test]
fn a_structured_log_is_a_line_for_each_event() {
    let place = desk();
    let output = run(&place, &["run", "small.toml", "--out", "out", "--log-format", "json"]);
    let lines: Vec<Value> = text(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let began = events.iter().position(|event| *event == "began").unwrap();
    let ended = events.iter().position(|event| *event == "ended").unwrap();
    assert!(
        began < ended && events[began..ended].contains(&"progress"),
        "{events:?}"
    );
    for line in &lines {
        assert_eq!(line["level"], "info");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let progress = lines.iter().rfind(|line| line["event"] == "progress").unwrap();
    assert!(
        progress["completed"].as_u64().unwrap() > 0 && progress["p99_us"].is_number(),
        "{progress}"
    );
    // The result is on stdout, as ever.
    assert!(text(&output.stdout).contains("[exit 0]"));
    let output = run(&place, &["--log-format", "json", "run", "none.toml"]);
    let line: Value = serde_json::from_str(text(&output.stderr).trim()).unwrap();
    assert_eq!((line["level"].as_str(), output.status.code()), (Some("error"), Some(2)));
}

#[test]
fn every_operation_is_written_where_that_is_asked_for() {
    let place = desk();
    let set = ["--set", "load.duration=500ms", "--set", "load.users=2"];
    let arguments = [&["run", "small.toml", "--out", "out", "--samples"], &set[..]].concat();
    let output = run(&place, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let samples = fs::read_to_string(place.path().join("out/samples.csv")).unwrap();
    let mut lines = samples.lines();
    assert_eq!(lines.next().unwrap(), "due_s,start_s,end_s,variant,step,outcome,error");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(place.path().join("out/report.json")).unwrap()).unwrap();
    let mut count = 0;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let [due, start, end] = [0, 1, 2].map(|at| cells[at].parse::<f64>().unwrap());
        assert!(due <= start && start <= end, "{line}");
        assert_eq!(cells[3..], ["", "ask", "completed", ""]);
        count += 1;
    }
    assert_eq!(report["steps"][0]["count"], count);
    // Nobody asked.
    run(&place, &[&["run", "small.toml", "--out", "quiet"], &set[..]].concat());
    assert!(!place.path().join("quiet/samples.csv").exists());
}

#[test]
fn figures_can_be_fetched_while_it_runs() {
    let place = desk();
    let arguments = ["run", "small.toml", "--out", "out", "--metrics-listen", "127.0.0.1:0"];
    let mut child = loadgate(place.path(), &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let address = said
        .trim()
        .strip_prefix("metrics on http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    let mut stream = TcpStream::connect(address.unwrap_or_else(|| panic!("{said}"))).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.contains("# TYPE loadgate_operations_total counter"), "{answer}");
    assert!(child.wait().unwrap().success());
    // An address that cannot be listened on costs no run.
    let output = run(&place, &["run", "small.toml", "--metrics-listen", "192.0.2.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--metrics-listen 192.0.2.1:1"));
}

#[test]
fn a_first_scenario_is_one_that_runs() {
    let web = web::Web::start(None, |_| web::answer(200, &[], "fine"));
    let place = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}/orders?page=2", web.port);
    let output = run(&place, &["init", &url]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("loadgate run scenario.toml --once"));
    let ran = run(&place, &["run", "scenario.toml", "--once"]);
    assert_eq!(ran.status.code(), Some(0), "{}{}", text(&ran.stdout), text(&ran.stderr));
    assert_eq!(web.seen_at("/orders?page=2").len(), 1);
    // What is there is not written over.
    assert_eq!(run(&place, &["init", &url]).status.code(), Some(2));
    for (address, out, expected) in [
        (
            "postgres://app@h/shop",
            "p.toml",
            "postgres = \"postgres://app@h/shop\"",
        ),
        (
            "postgres://app:secret@h/shop",
            "perf/s.toml",
            "postgres = \"${DATABASE_URL}\"",
        ),
        (
            "postgres://h1:5432,h2:5432/shop?user=app&password=secret",
            "t.toml",
            "postgres = \"${DATABASE_URL}\"",
        ),
        ("http://h?page=2", "u.toml", "get = \"/?page=2\""),
        ("sqlite:stock.db", "q.toml", "sqlite = \"stock.db\""),
    ] {
        let output = run(&place, &["init", address, "--out", out]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let written = fs::read_to_string(place.path().join(out)).unwrap();
        assert!(written.contains(expected) && !written.contains("secret"), "{written}");
        let check = loadgate(place.path(), &["check", out])
            .env("DATABASE_URL", address)
            .output()
            .unwrap();
        assert_eq!(check.status.code(), Some(0), "{}", text(&check.stderr));
    }
    for address in ["ftp://h", "http://u:p@h/", "http://h/\"\nx", "nothing"] {
        let output = run(&place, &["init", address, "--out", "bad.toml"]);
        assert_eq!(output.status.code(), Some(2), "{address}");
    }
    assert!(!place.path().join("bad.toml").exists());
}

#[test]
fn packagers_get_completions_and_a_manual_page() {
    let place = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&place, &["completions", shell]).stdout);
        assert!(
            script.contains("loadgate") && script.contains("metrics-listen"),
            "{shell}"
        );
    }
    let page = text(&run(&place, &["man"]).stdout);
    assert!(page.contains(".TH loadgate") && page.contains("SUBCOMMANDS"), "{page}");
}
