//! Load profiles with the real program: what is asked for arrives, what cannot
//! be carried is told, and time is accounted for.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use crate::support::program::loadgate;
use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, answer, ok};

/// What became of a run.
struct Ran {
    run: Value,
    report: Value,
    code: Option<i32>,
    said: String,
    _directory: TempDir,
}

impl Ran {
    fn flows(&self, part: &str) -> u64 {
        self.run["accounting"][part].as_u64().unwrap()
    }

    /// How many operations of the first step were at least that slow.
    fn slow(&self, span: &str, at_least: Duration) -> u64 {
        let hdr = self.run["steps"][0][span]["completed"]["hdr"].as_str().unwrap();
        let hdr = loadgate::run::Encoded(hdr.to_owned()).decode().unwrap();
        hdr.len() - hdr.count_between(0, at_least.as_nanos() as u64)
    }

    fn quantile(&self, span: &str, q: f64) -> Duration {
        let hdr = self.run["steps"][0][span]["completed"]["hdr"].as_str().unwrap();
        let hdr = loadgate::run::Encoded(hdr.to_owned()).decode().unwrap();
        Duration::from_nanos(hdr.value_at_quantile(q))
    }

    fn per_second(&self, part: &str) -> Vec<u64> {
        let intervals = self.run["intervals"].as_array().unwrap();
        intervals
            .iter()
            .map(|interval| interval[part].as_u64().unwrap())
            .collect()
    }
}

fn run(scenario: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
    let output = loadgate(directory.path(), &["run", "scenario.toml", "--out", "run"])
        .output()
        .unwrap();
    ran(directory, &output)
}

fn ran(directory: TempDir, output: &Output) -> Ran {
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("panicked"), "{said}");
    let json = |path: &Path| -> Value {
        let bytes = fs::read(path).unwrap_or_else(|_| panic!("{said}"));
        serde_json::from_slice(&bytes).unwrap()
    };
    let ran = Ran {
        run: json(&directory.path().join("run/run.json")),
        report: json(&directory.path().join("run/report.json")),
        code: output.status.code(),
        said,
        _directory: directory,
    };
    let parts = ["completed", "failed", "dropped", "unfinished"].map(|part| ran.flows(part));
    assert_eq!(ran.flows("scheduled"), parts.iter().sum::<u64>(), "{}", ran.said);
    ran
}

/// A shipped example, with the demo that it starts itself.
fn example(file: &str, variable: (&str, &str)) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/examples")
        .join(file);
    let output = loadgate(directory.path(), &["run", path.to_str().unwrap(), "--out", "run"])
        .env(variable.0, variable.1)
        .output()
        .unwrap();
    ran(directory, &output)
}

const NO_FAULT: (&str, &str) = ("LOADGATE_DEMO_DELAY", "0ms");

#[test]
fn the_example_of_an_open_load_in_stages_is_performed() {
    let ran = example("stages-open.toml", NO_FAULT);
    assert!(ran.flows("completed") > 0 && ran.flows("failed") == 0, "{}", ran.said);
    // The spike is there, whatever the machine could do about it.
    let planned = ran.per_second("planned");
    assert!(planned[4] > 300 && planned[5] < 200, "{planned:?}");
}

#[test]
fn the_example_of_users_in_stages_is_performed() {
    let ran = example("stages-closed.toml", NO_FAULT);
    assert!(ran.flows("completed") > 0 && ran.flows("failed") == 0, "{}", ran.said);
    assert_eq!(ran.run["generator"]["failed_users"], 0, "{}", ran.said);
    assert!(ran.per_second("sent").iter().all(|sent| *sent <= 210), "{}", ran.said);
}

#[test]
fn the_example_of_a_search_is_performed() {
    let ran = example("search.toml", NO_FAULT);
    let rates = ran.report["search"]["rates"].as_array().unwrap();
    assert_eq!(rates[0]["rate_per_s"], 100.0, "{}", ran.said);
}

#[test]
fn the_example_of_an_early_end_is_performed() {
    let ran = example("abort.toml", ("LOADGATE_DEMO_ERROR_RATE", "80%"));
    assert!(ran.run["aborted"].is_string(), "{}", ran.said);
}

/// One step `GET /` under a load, and what else is given.
fn get(server: &Server, load: &str, rest: &str) -> String {
    format!(
        "name = \"load\"\n[target.t]\nhttp = \"http://127.0.0.1:{}\"\n[load]\n{load}\n[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nget = \"/\"\n{rest}",
        server.port
    )
}

fn fast() -> Server {
    Server::answering(|_| ok("hello"))
}

#[test]
fn stages_of_a_rate_are_followed() {
    let server = fast();
    let stages = "[{ duration = \"2s\", rate = \"300/s\" }, { duration = \"1s\" }, { duration = \"0s\", rate = \"50/s\" }, { duration = \"1s\" }]";
    let ran = run(&get(&server, &format!("rate = \"100/s\"\nstages = {stages}"), ""));
    // (100 + 300)/2 · 2 s, 300, 50: what is planned is the schedule, whatever the machine does.
    assert_eq!(ran.flows("scheduled"), 750);
    assert_eq!(ran.per_second("planned")[..4], [150, 250, 300, 50]);
    assert_eq!(ran.run["load"]["staged"], true);
    assert!(ran.said.contains("open up to 300/s for 4 s"), "{}", ran.said);
}

#[test]
fn values_change_with_the_stage_in_which_a_flow_is_due() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = Server::answering(move |path| {
        log.lock().unwrap().push(path.to_owned());
        ok("hello")
    });
    // A jump is no stage of its own.
    let stages = "[{ duration = \"1s\" }, { duration = \"0s\", rate = \"30/s\" }, { duration = \"1s\" }]";
    let load = format!("rate = \"50/s\"\nstages = {stages}\nmax_in_flight = 1");
    let scenario = get(&server, &load, "[data.size]\nby_stage = [\"small\", 1000]\n");
    let ran = run(&scenario.replace("get = \"/\"", "get = \"/{{ size }}\""));
    let seen = seen.lock().unwrap();
    let of = |asked: &str| seen.iter().filter(|path| *path == asked).count();
    assert_eq!((of("/small"), of("/1000")), (50, 30), "{}", ran.said);
}

#[test]
fn stages_of_users_are_followed() {
    // Each user keeps its connection; how many are open at once is how many users there are.
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&open), Arc::clone(&most));
    let server = Server::start(move |mut connection, number| {
        if number > 0 {
            peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        }
        while connection.request().is_some() {
            connection.send(ok("hello").as_bytes());
        }
    });
    let load = "users = 2\nthink = \"20ms\"\nstages = [{ duration = \"1s\", users = 6 }, { duration = \"2s\" }]";
    let ran = run(&get(&server, load, ""));
    assert_eq!(most.load(SeqCst), 6);
    let sent = ran.per_second("sent");
    // At most 50 passes per user and second; a slow machine makes fewer, but more with more users.
    assert!(sent[2] <= 6 * 51 && sent[2] > sent[0], "{sent:?}");
    assert!(ran.said.contains("closed up to 6 users"), "{}", ran.said);
    // Goose prints what it likes; stdout is for the result.
    assert!(!ran.said.contains("users launched"), "{}", ran.said);
}

#[test]
fn think_time_and_throttle_bound_the_closed_model() {
    let server = fast();
    let thinking = run(&get(
        &server,
        "users = 4\nduration = \"2s\"\nthink = { uniform = { from = \"40ms\", to = \"60ms\" } }",
        "",
    ));
    // 4 users, at least 40 ms apart, and one pass at the start.
    assert!(thinking.flows("completed") <= 4 * (2000 / 40 + 1), "{}", thinking.said);
    let generator = &thinking.run["generator"];
    let (present, waited) = (&generator["users_present_s"], &generator["users_waited_s"]);
    assert!(
        waited.as_f64().unwrap() > 0.8 * present.as_f64().unwrap(),
        "{generator}"
    );

    let throttled = run(&get(&server, "users = 8\nduration = \"2s\"\nthrottle = \"100/s\"", ""));
    assert!(throttled.flows("completed") <= 201, "{}", throttled.said);
    assert!(throttled.flows("completed") > 50, "{}", throttled.said);
}

#[test]
fn users_log_in_once_and_out_once_and_know_what_they_saved() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let server = Server::answering(move |path| {
        seen.lock().unwrap().push(path.to_owned());
        match path.strip_prefix("/login/") {
            Some(user) => ok(&format!("{{\"token\": \"t{user}\"}}")),
            None => ok("{}"),
        }
    });
    let scenario = |load: &str| {
        format!(
            "name = \"users\"\n[target.t]\nhttp = \"http://127.0.0.1:{}\"\n[load]\n{load}\n\
             [data.user]\nsequence = {{ from = 1 }}\n\
             [[user_setup]]\nget = \"/login/{{{{ user }}}}\"\nsave = {{ token = \"$.token\" }}\n\
             [[user_teardown]]\nget = \"/logout/{{{{ token }}}}\"\n\
             [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nget = \"/page/{{{{ token }}}}\"\n",
            server.port
        )
    };
    for load in [
        "users = 3\niterations = 60",
        "rate = \"60/s\"\nduration = \"1s\"\nmax_in_flight = 3",
    ] {
        let ran = run(&scenario(load));
        assert_eq!(ran.flows("completed"), 60, "{}", ran.said);
        let mut paths = std::mem::take(&mut *paths.lock().unwrap());
        paths.sort();
        let starting = |start: &str| {
            paths
                .iter()
                .filter(|path| path.starts_with(start))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(starting("/login/"), ["/login/1", "/login/2", "/login/3"]);
        assert_eq!(starting("/logout/"), ["/logout/t1", "/logout/t2", "/logout/t3"]);
        assert!(
            starting("/page/").iter().all(|page| page.starts_with("/page/t")),
            "{paths:?}"
        );
        assert_eq!(starting("/page/").len(), 60);
    }
}

#[test]
fn a_user_that_cannot_log_in_makes_the_run_invalid() {
    let server = Server::answering(|path| match path {
        "/login" => answer("403 Forbidden", "no"),
        _ => ok("page"),
    });
    let setup = "[[user_setup]]\nname = \"log in\"\nget = \"/login\"\n";
    let ran = run(&get(&server, "users = 2\nduration = \"1s\"", setup));
    assert_eq!(ran.code, Some(4), "{}", ran.said);
    assert!(ran.said.contains("user_setup failed"), "{}", ran.said);
    assert!(ran.said.contains("\"log in\" failed: http 403: no"), "{}", ran.said);
}

#[test]
fn a_hopeless_run_ends_early_with_its_report() {
    let server = Server::answering(|_| answer("503 Service Unavailable", "busy"));
    let abort = "abort_when = [{ metric = \"error_rate\", limit = \"50%\", for = \"2s\" }]";
    let ran = run(&get(
        &server,
        &format!("rate = \"50/s\"\nduration = \"60s\"\n{abort}"),
        "",
    ));
    assert!(ran.run["duration_s"].as_f64().unwrap() < 30.0);
    assert!(
        ran.run["aborted"]
            .as_str()
            .unwrap()
            .contains("error rate was above 50 % for 2 s")
    );
    assert!(
        ran.report["reasons"].to_string().contains("aborted after"),
        "{}",
        ran.said
    );
    // Nothing completed, so nothing can be said of the target: that outranks the abort.
    assert_eq!(ran.code, Some(4), "{}", ran.said);
    assert_eq!(
        ran.report["run"]["partial"].as_str().unwrap(),
        "aborted: error rate was above 50 % for 2 s"
    );
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    let server = Server::start(|connection, _| connection.hang());
    let abort = "abort_when = [{ metric = \"throughput\", limit = \"1/s\", for = \"2s\" }]";
    let ran = run(&get(
        &server,
        &format!("users = 2\nduration = \"60s\"\ndrain = \"500ms\"\n{abort}"),
        "",
    ));
    assert!(ran.run["duration_s"].as_f64().unwrap() < 30.0);
    assert_eq!(ran.flows("unfinished"), 2);
}

/// Serves one request at a time over all connections, each in `service`.
fn single(service: Duration) -> Server {
    let desk = Mutex::new(());
    Server::answering(move |_| {
        let _turn = desk.lock().unwrap();
        thread::sleep(service);
        ok("done")
    })
}

#[test]
fn a_rate_that_cannot_be_held_is_a_finding_about_the_target() {
    // One session, 20 ms each: 50/s at best.
    let server = single(Duration::from_millis(20));
    let load = "rate = \"100/s\"\nduration = \"4s\"\nmax_in_flight = 1\nqueue = 100\ndrain = \"1s\"";
    let ran = run(&get(&server, load, ""));
    assert_eq!(ran.flows("scheduled"), 400);
    assert!(ran.flows("dropped") >= 190, "{}", ran.said);
    // Service time stays flat while response time grows to the length of the queue, 100 · 20 ms.
    assert!(ran.quantile("service_time", 0.5) < Duration::from_millis(200));
    assert!(
        ran.quantile("response_time", 0.9) > Duration::from_millis(1500),
        "{}",
        ran.said
    );
    assert!(
        ran.report["reasons"]
            .to_string()
            .contains("the target could not carry the load"),
        "{}",
        ran.said
    );
    assert!(matches!(ran.code, Some(3 | 4)), "{}", ran.said);
    let depth = ran.run["generator"]["queue_max"].as_u64().unwrap();
    assert!((90..=100).contains(&depth), "{depth}");
}

#[test]
fn a_search_finds_what_a_target_can_carry() {
    let server = single(Duration::from_millis(10));
    let load = "search = { from = \"10/s\", to = \"1000/s\", precision = \"50%\" }\nduration = \"2s\"\nmax_in_flight = 4\ndrain = \"2s\"";
    let limits = "[[threshold]]\nmetric = \"p90\"\ncritical = \"400ms\"\n";
    let ran = run(&get(&server, load, limits));
    let search = &ran.report["search"];
    let highest = search["highest_rate_per_s"]
        .as_f64()
        .unwrap_or_else(|| panic!("{}", ran.said));
    // 100/s at the very best; a slow machine carries less.
    assert!((10.0..=105.0).contains(&highest), "{search}");
    let rates = search["rates"].as_array().unwrap();
    assert!(
        rates
            .iter()
            .any(|rate| rate["held"] == false && rate["reason"].is_string()),
        "{search}"
    );
    assert!(ran.said.contains("rate tried"), "{}", ran.said);
    assert!(ran._directory.path().join("run/charts/10-load-response.png").exists());
}

/// The test of trust on a real socket: one request in 1,000 is answered after a second.
///
/// On one session at 100/s even spacing, a stall of one second delays the 100 arrivals behind
/// it, each by 10 ms less than the one before: of 1,500 operations one is slow by itself and
/// about a hundred wait. The share above t is (1 − t) · 100 of those hundred, so the p99.9 lies
/// within the last hundredths of a second, p95 of all near 0.3 s.
#[test]
fn a_stall_shows_in_every_response_time_that_it_delayed() {
    let asked = AtomicUsize::new(0);
    let server = Server::answering(move |_| {
        if asked.fetch_add(1, SeqCst) == 500 {
            thread::sleep(Duration::from_secs(1));
        }
        ok("hello")
    });
    let ran = run(&get(
        &server,
        "rate = \"100/s\"\nduration = \"15s\"\nmax_in_flight = 1",
        "",
    ));
    assert_eq!(ran.flows("completed"), 1500, "{}", ran.said);
    assert_eq!(ran.slow("service_time", Duration::from_millis(900)), 1, "{}", ran.said);
    for (t, wanted) in [(0.2, 80), (0.5, 50), (0.8, 20)] {
        let slow = ran.slow("response_time", Duration::from_secs_f64(t));
        // A slow machine delays some more; none can be delayed less.
        assert!(
            (wanted - 3..=wanted + 40).contains(&slow),
            "{slow} above {t} s, {wanted} expected"
        );
    }
    let p999 = ran.quantile("response_time", 0.999);
    assert!(
        p999 > Duration::from_millis(950) && p999 < Duration::from_millis(1500),
        "{p999:?}"
    );
}
