//! From a scenario to a verdict, an exit code and reports, with the real
//! program against its own demo service as a managed process.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::program::loadgate;
use serde_json::Value;
use tempfile::TempDir;

/// A scenario on the demo: two users for two seconds, one step, one relative limit.
const CLOSED: &str = r#"
name = "gate"
[target.api]
http = "http://127.0.0.1:{port}"
start = "loadgate demo --listen 127.0.0.1:{port}"
ready = "/api/health"
[load]
users = 2
warm_up = "500ms"
duration = "2s"
[data.user]
uniform = { from = 1, to = 10_000 }
[[flow]]
name = "look up"
[[flow.step]]
name = "get user"
get = "/api/users/{{ user }}"
[[threshold]]
step = "get user"
metric = "p50"
warning = "+50%"
critical = "+400%"
"#;

/// A directory with a scenario in it, to run the program in.
fn workplace(scenario: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let output = loadgate(directory, arguments).output().unwrap();
    let said = format!("{}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("panicked"), "{said}");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("no exit code: {output:?}"))
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn from_a_first_run_to_a_baseline_to_a_failed_gate() {
    let place = workplace(CLOSED);
    let first = run(place.path(), &["run", "scenario.toml", "--out", "first"]);
    assert_eq!(code(&first), 0, "{first:?}");
    assert!(
        stdout(&first).contains("loadgate baseline accept"),
        "{}",
        stdout(&first)
    );
    let charts = [
        "charts/02-percentiles.png",
        "charts/05-latency-time.png",
        "charts/06-throughput.png",
    ];
    let others = [
        "run.json",
        "report.json",
        "report.html",
        "index.html",
        "report.css",
        "junit.xml",
        "summary.md",
        "metrics.txt",
        "latency.hlog",
        "bundle.zip",
    ];
    for file in others.iter().chain(&charts) {
        let size = place.path().join("first").join(file).metadata().unwrap().len();
        assert!(size > 1000, "{file} has {size} bytes");
    }
    let report = json(&place.path().join("first/report.json"));
    assert_eq!(report["schema"], "loadgate.report/1");
    assert_eq!((&report["verdict"], &report["exit_code"]), (&"pass".into(), &0.into()));
    assert_eq!(report["comparisons"][0]["verdict"], Value::Null);

    let accepted = run(place.path(), &["baseline", "accept", "first", "--reason", "the first"]);
    assert_eq!(code(&accepted), 0, "{accepted:?}");
    assert!(stdout(&run(place.path(), &["baseline", "list"])).contains("the first"));
    assert_eq!(code(&run(place.path(), &["compare", "first"])), 0);

    let mut slow = loadgate(place.path(), &["run", "scenario.toml", "--out", "slow"]);
    let slow = slow.env("LOADGATE_DEMO_DELAY", "30ms").output().unwrap();
    assert_eq!(code(&slow), 3, "{slow:?}");
    let text = stdout(&slow);
    let sentence = text.trim_end().lines().last().unwrap();
    for part in [
        "critical",
        "get user",
        "p50",
        "slower than the baseline",
        "interval",
        "limit +400%",
        "[exit 3]",
    ] {
        assert!(sentence.contains(part), "{part} is missing in: {sentence}");
    }
    let report = json(&place.path().join("slow/report.json"));
    assert_eq!(
        (&report["verdict"], &report["exit_code"]),
        (&"critical".into(), &3.into())
    );
    let comparison = &report["comparisons"][0];
    assert_eq!(comparison["verdict"], "critical");
    assert!(comparison["change"].as_f64().unwrap() > 4.0, "{comparison}");
    assert!(comparison["interval"][0].as_f64().unwrap() > 0.5, "{comparison}");

    // Judged again from its file, with the same words.
    let compared = run(place.path(), &["compare", "slow"]);
    assert_eq!(code(&compared), 3);
    assert_eq!(stdout(&compared).trim_end().lines().last(), Some(sentence));
    assert_eq!(code(&run(place.path(), &["report", "slow", "--out", "rendered"])), 0);
    assert!(place.path().join("rendered/report.html").exists());
}

#[test]
fn no_baseline_can_be_made_a_failure_and_a_broken_one_always_is() {
    let place = workplace(CLOSED);
    let required = run(
        place.path(),
        &["run", "scenario.toml", "--out", "run", "--require-baseline"],
    );
    assert_eq!(code(&required), 4, "{required:?}");

    assert_eq!(code(&run(place.path(), &["baseline", "accept", "run"])), 0);
    let file = place.path().join("reports/baselines/gate/default.json");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let broken = run(place.path(), &["run", "scenario.toml", "--out", "never"]);
    assert_eq!(code(&broken), 2);
    assert!(
        String::from_utf8_lossy(&broken.stderr).contains("default.json"),
        "{broken:?}"
    );
    // It is found before any load: nothing was made.
    assert!(!place.path().join("never").exists());
}

#[test]
fn a_warning_fails_only_when_asked_to() {
    let limits = "warning = \"+50%\"\ncritical = \"+400%\"";
    let place = workplace(&CLOSED.replace(limits, "warning = \"1us\""));
    let warned = run(place.path(), &["run", "scenario.toml", "--out", "run"]);
    assert_eq!(code(&warned), 0, "{warned:?}");
    assert_eq!(code(&run(place.path(), &["compare", "run", "--fail-on", "warning"])), 5);
    assert_eq!(json(&place.path().join("run/report.json"))["verdict"], "warning");
}

#[test]
fn a_one_liner_performs_exactly_as_many_operations_as_asked() {
    let place = workplace("");
    let demo = Demo::start(place.path());
    let url = format!("http://{}/api/users/1", demo.address);
    let output = run(
        place.path(),
        &["http", &url, "-n", "1000", "-c", "50", "--format", "json"],
    );
    assert_eq!(code(&output), 0, "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &report["steps"][0];
    assert_eq!((&step["count"], &step["completed"]), (&1000.into(), &1000.into()));
    let time = &step["response_time"];
    assert!(time["p99"].as_f64().unwrap() >= time["p50"].as_f64().unwrap());
    assert!(time["hdr"]["data"].as_str().unwrap().starts_with("HISTFAAA"));

    let select = "SELECT name FROM users WHERE id = $1";
    let sql = [
        "sql",
        "demo.db",
        select,
        "--param",
        "uniform:1..10000",
        "-n",
        "500",
        "--format",
        "json",
    ];
    let sql = run(place.path(), &sql);
    assert_eq!(code(&sql), 0, "{sql:?}");
    let report: Value = serde_json::from_slice(&sql.stdout).unwrap();
    assert_eq!(report["steps"][0]["completed"], 500);

    // Every answer is a 404: nothing completed, so there is no answer to trust.
    let missing = run(
        place.path(),
        &["http", &format!("http://{}/nowhere", demo.address), "-n", "20"],
    );
    assert_eq!(code(&missing), 4);
    assert!(stdout(&missing).contains("http 404"));
}

#[test]
fn setup_may_create_what_the_flows_use() {
    let place = workplace(
        r#"
name = "setup"
[target.db]
sqlite = "made.db"
[load]
users = 2
iterations = 40
[data.id]
sequence = { from = 1 }
[[setup]]
sql = "CREATE TABLE made (id INTEGER PRIMARY KEY)"
[[flow]]
name = "insert"
[[flow.step]]
name = "insert"
sql = "INSERT INTO made VALUES ($1)"
params = ["{{ id }}"]
expect = { affected = 1 }
[[teardown]]
sql = "INSERT INTO made SELECT -count(*) FROM made"
"#,
    );
    // SQLite takes an empty file as an empty database.
    fs::write(place.path().join("made.db"), "").unwrap();
    let output = run(place.path(), &["run", "scenario.toml", "--out", "run"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let database = rusqlite::Connection::open(place.path().join("made.db")).unwrap();
    let ids = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        (ids("SELECT max(id) FROM made"), ids("SELECT min(id) FROM made")),
        (40, -40)
    );
}

#[test]
fn a_machine_without_certificate_authorities_can_load_plain_http() {
    let place = workplace("");
    let demo = Demo::start(place.path());
    let url = format!("http://{}/api/health", demo.address);
    let mut command = loadgate(place.path(), &["http", &url, "-n", "10"]);
    let output = command
        .env("SSL_CERT_FILE", "/nowhere")
        .env("SSL_CERT_DIR", "/nowhere")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn ctrl_c_drains_and_leaves_a_partial_report_in_both_models() {
    for (model, load) in [("closed", "users = 2"), ("open", "rate = \"50/s\"")] {
        let scenario = CLOSED
            .replace("users = 2", load)
            .replace("duration = \"2s\"", "duration = \"60s\"");
        let place = workplace(&scenario);
        let output = interrupted(place.path(), "INT");
        assert_eq!(code(&output), 130, "{model}: {output:?}");
        let report = json(&place.path().join("run/report.json"));
        assert_eq!(report["exit_code"], 130);
        assert!(report["run"]["partial"].is_string(), "{model}: {}", report["run"]);
        assert!(place.path().join("run/report.html").exists());
        let run = json(&place.path().join("run/run.json"));
        assert_adds_up(&run);
        // The managed demo is gone.
        let address = run["targets"][0]["address"]
            .as_str()
            .unwrap()
            .trim_start_matches("http://");
        assert!(TcpStream::connect(address).is_err(), "{model}: {address} still answers");
    }
}

#[test]
fn sigterm_ends_a_run_like_ctrl_c_with_its_own_code() {
    let place = workplace(&CLOSED.replace("duration = \"2s\"", "duration = \"60s\""));
    let output = interrupted(place.path(), "TERM");
    assert_eq!(code(&output), 143, "{output:?}");
    assert!(json(&place.path().join("run/report.json"))["run"]["partial"].is_string());
}

#[test]
fn a_second_ctrl_c_cuts_the_drain_short_and_counts_what_was_cut_off() {
    let silent = Silent::start();
    let managed = "start = \"loadgate demo --listen 127.0.0.1:{port}\"\nready = \"/api/health\"\n";
    let scenario = CLOSED
        .replace(managed, "")
        .replace("127.0.0.1:{port}", &silent.address)
        .replace("warm_up = \"500ms\"\n", "")
        .replace("duration = \"2s\"", "duration = \"60s\"\ndrain = \"60s\"");
    let place = workplace(&scenario);
    let child = spawn(place.path(), &["run", "scenario.toml", "--out", "run"]);
    silent.wait_for_requests(2);
    signal(&child, "INT");
    thread::sleep(Duration::from_millis(500));
    signal(&child, "INT");
    let output = wait(child, Duration::from_secs(40));
    assert_eq!(code(&output), 130, "{output:?}");
    let run = json(&place.path().join("run/run.json"));
    assert_adds_up(&run);
    assert_eq!(run["accounting"]["unfinished"], 2);
    assert_eq!(json(&place.path().join("run/report.json"))["exit_code"], 130);
}

#[test]
fn a_target_that_dies_in_mid_run_is_counted_and_told() {
    let start = format!(
        "timeout 2 {} demo --listen 127.0.0.1:{{port}}",
        env!("CARGO_BIN_EXE_loadgate")
    );
    let scenario = CLOSED.replace("loadgate demo --listen 127.0.0.1:{port}", &start);
    let place = workplace(&scenario.replace("duration = \"2s\"", "duration = \"5s\""));
    let output = run(place.path(), &["run", "scenario.toml", "--out", "run"]);
    let run = json(&place.path().join("run/run.json"));
    assert_adds_up(&run);
    assert!(
        run["incidents"][0].as_str().unwrap().contains("target \"api\" ended"),
        "{output:?}"
    );
    let errors = run["steps"][0]["errors"].as_array().unwrap();
    assert!(errors.iter().any(|error| error["class"] == "connect"), "{errors:?}");
    assert!(place.path().join("run/report.html").exists());
}

#[test]
fn a_managed_process_that_does_not_start_says_what_it_printed() {
    let start = "sh -c 'echo no licence found >&2; exit 7'";
    let place = workplace(&CLOSED.replace("loadgate demo --listen 127.0.0.1:{port}", start));
    let output = run(place.path(), &["run", "scenario.toml", "--out", "run"]);
    assert_eq!(code(&output), 4);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no licence found") && said.contains("api"), "{said}");
}

fn assert_adds_up(run: &Value) {
    let count = |key: &str| run["accounting"][key].as_u64().unwrap();
    let sum = count("completed") + count("failed") + count("dropped") + count("unfinished");
    assert_eq!(count("scheduled"), sum, "{}", run["accounting"]);
}

/// A run of the scenario into `run`, ended by a signal once its demo performs.
fn interrupted(directory: &Path, name: &str) -> Output {
    let child = spawn(directory, &["run", "scenario.toml", "--out", "run"]);
    thread::sleep(Duration::from_secs(5));
    signal(&child, name);
    wait(child, Duration::from_secs(60))
}

fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    loadgate(directory, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// The output of a child that must end by itself within the bound.
fn wait(mut child: Child, bound: Duration) -> Output {
    let until = Instant::now() + bound;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("still running after {bound:?}: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// Accepts connections, reads requests, never answers; lives as long as the test program.
struct Silent {
    address: String,
    requests: std::sync::mpsc::Receiver<()>,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || {
                    use std::io::Read as _;
                    while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                        let _ = sender.send(());
                    }
                });
            }
        });
        Self { address, requests }
    }

    fn wait_for_requests(&self, count: usize) {
        for _ in 0..count {
            self.requests.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }
}

/// A demo on a free port, stopped when dropped.
struct Demo {
    child: Child,
    address: String,
}

impl Demo {
    fn start(directory: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut demo = loadgate(directory, &["demo", "--listen", &address, "--database", "demo.db"]);
        let demo = Self {
            child: demo.stderr(Stdio::null()).spawn().unwrap(),
            address,
        };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&demo.address).is_err() {
            assert!(Instant::now() < until, "the demo does not start");
            thread::sleep(Duration::from_millis(20));
        }
        demo
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
