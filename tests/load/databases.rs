//! Databases that are made for a run: private PostgreSQL servers, fixtures,
//! databases on a server of the user's; and that nothing of them stays behind.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    postgres::{Postgres, installed},
    program::{Desk, Ended},
};
use rustix::process::{Pid, Signal, kill_process};

/// All that is waited for takes far less; a loaded machine gets more.
const PATIENCE: Duration = Duration::from_secs(60);

const SCENARIO: &str = r#"
name = "made"
[target.db]
postgres = "ephemeral"
fixture = "numbers"
scale = 3
[fixture.numbers]
sql = ["numbers.sql"]
[load]
users = 2
iterations = 20
[[flow]]
name = "count"
[[flow.step]]
name = "count"
sql = "SELECT count(*) AS n, current_setting('work_mem') AS m FROM numbers"
expect = { json = { "$[0].n" = 300 } }
"#;

const FIXTURE: &str = "CREATE TABLE numbers (n bigint PRIMARY KEY);\n\
    -- a comment; with a semicolon\n\
    INSERT INTO numbers SELECT i FROM generate_series(1, 100 * :scale) AS g(i);\n";

/// A desk with the scenario and its fixture.
fn desk(scenario: &str) -> Desk {
    let desk = Desk::with_scenario(scenario);
    fs::write(desk.path().join("numbers.sql"), FIXTURE).unwrap();
    desk
}

/// `loadgate run scenario.toml`, with a cache of the desk's own.
fn command(desk: &Desk) -> Command {
    with_cache(desk, desk.run_command())
}

fn with_cache(desk: &Desk, mut command: Command) -> Command {
    command.env("LOADGATE_CACHE", desk.path().join("cache"));
    command.envs(env::var_os("PG_BINDIR").map(|directory| ("PG_BINDIR", directory)));
    command
}

/// Runs it to its end; nothing may be left.
fn run(desk: &Desk) -> Ended {
    let child = spawn(desk);
    let pid = child.id();
    let ended = desk.ended(child.wait_with_output().unwrap());
    gone(&Left::of(pid));
    ended
}

fn spawn(desk: &Desk) -> Child {
    command(desk)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a loadgate has, or left behind.
#[derive(Debug, Default)]
struct Left {
    directories: Vec<PathBuf>,
    processes: Vec<PathBuf>,
    /// Ids of System V segments.
    memory: Vec<String>,
}

impl Left {
    /// All that goes by the number of that process and belongs to a server. (The
    /// run's own directory is left to the next run.)
    fn of(loadgate: u32) -> Self {
        let prefix = format!("loadgate-{loadgate}-");
        let directories: Vec<PathBuf> = ["/dev/shm", "/tmp", "/var/tmp"]
            .iter()
            .flat_map(fs::read_dir)
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
            .filter(|path| path.join("data").exists() || path.join("s").exists())
            .collect();
        let processes = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok())
            .filter(|working| working.to_string_lossy().contains(&prefix))
            .collect();
        let memory = directories
            .iter()
            .filter_map(|directory| fs::read_to_string(directory.join("data/postmaster.pid")).ok())
            .filter_map(|file| Some(file.lines().nth(6)?.split_whitespace().nth(1)?.to_owned()))
            .collect();
        Self {
            directories,
            processes,
            memory,
        }
    }

    fn is_nothing(&self) -> bool {
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let there = |id: &String| segments.lines().any(|line| line.split_whitespace().nth(1) == Some(id));
        self.directories.iter().all(|directory| !directory.exists())
            && self.processes.iter().all(|data| !data.exists())
            && !self.memory.iter().any(there)
    }

    fn has_server(&self) -> bool {
        !self.memory.is_empty()
    }
}

#[track_caller]
fn gone(left: &Left) {
    wait_for(|| left.is_nothing(), || format!("{left:?}"));
}

#[track_caller]
fn wait_for(mut done: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {}", what());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the run has its server.
#[track_caller]
fn server_of(child: &Child) -> Left {
    let mut left = Left::default();
    wait_for(
        || {
            left = Left::of(child.id());
            left.has_server()
        },
        || "no server".into(),
    );
    left
}

fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.try_into().unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn a_fixture_is_loaded_once_and_the_report_names_server_and_profile() {
    if !installed() {
        return;
    }
    let desk = desk(&SCENARIO.replace(
        "scale = 3",
        "scale = 3\nsettings = { work_mem = \"64kB\", max_locks_per_transaction = 80 }",
    ));
    let first = run(&desk);
    assert_eq!(first.code, 0, "{}", first.printed());
    let stored = first.stored();
    let target = &stored.targets[0];
    assert!(
        target.version.as_deref().unwrap().starts_with("PostgreSQL "),
        "{target:?}"
    );
    assert_eq!(target.address, "ephemeral (ci)/lg_db");
    let database = target.database.as_ref().unwrap();
    assert_eq!(
        (database.profile.as_deref(), database.fixture.as_deref(), database.scale),
        (Some("ci"), Some("numbers"), Some(3))
    );
    let setting = |name: &str| database.settings.get(name).map(String::as_str);
    assert_eq!(
        (setting("work_mem"), setting("max_locks_per_transaction")),
        (Some("64kB"), Some("80"))
    );
    assert_eq!((setting("fsync"), setting("full_page_writes")), (Some("off"), None));
    let report = fs::read_to_string(desk.path().join("out/report.html")).unwrap();
    assert!(report.contains("profile ci · fixture numbers (scale 3)"));
    assert!(report.contains(target.version.as_deref().unwrap()));

    let cached = || fs::read_dir(desk.path().join("cache/postgres")).unwrap().count();
    assert_eq!(cached(), 2, "an empty cluster, and one with the fixture");
    let second = run(&desk);
    assert_eq!(second.code, 0, "{}", second.printed());
    assert_eq!((second.stored().fingerprint, cached()), (stored.fingerprint.clone(), 2));

    fs::write(desk.path().join("numbers.sql"), FIXTURE.replace("100 *", "200 *")).unwrap();
    let changed = run(&desk);
    assert_ne!(changed.code, 0, "{}", changed.printed());
    let run = changed.stored();
    assert_eq!((run.steps[0].failed(), cached()), (20, 3), "600 rows are not 300");
    assert_ne!(run.fingerprint, stored.fingerprint);
}

#[test]
fn the_shipped_examples_run() {
    if !installed() {
        return;
    }
    let desk = Desk::new();
    for example in ["postgres-ephemeral.toml", "demo-postgres.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenarios/examples")
            .join(example);
        let command = desk.loadgate(&["run", path.to_str().unwrap(), "--out", "out"]);
        let ended = desk.ended(with_cache(&desk, command).output().unwrap());
        assert_eq!(ended.code, 0, "{}", ended.printed());
        assert_eq!(ended.stored().accounting.completed, 400, "{}", ended.printed());
    }
}

#[test]
fn a_durable_server_syncs() {
    if !installed() {
        return;
    }
    let ended = run(&desk(
        &SCENARIO.replace("scale = 3", "scale = 3\nprofile = \"durable\""),
    ));
    assert_eq!(ended.code, 0, "{}", ended.printed());
    let database = ended.stored().targets[0].database.clone().unwrap();
    assert_eq!(database.profile.as_deref(), Some("durable"));
    assert_eq!(
        (database.settings.get("fsync"), database.settings.get("autovacuum")),
        (None, None)
    );
}

#[test]
fn what_is_wrong_with_a_fixture_or_setting_is_told_with_its_place() {
    if !installed() {
        return;
    }
    let wrong = desk(SCENARIO);
    fs::write(
        wrong.path().join("numbers.sql"),
        "SELECT 1;\n\nSELECT 2 AS two,\n  CREAT;\n",
    )
    .unwrap();
    let ended = run(&wrong);
    assert_eq!(ended.code, 2, "{}", ended.printed());
    assert!(
        ended
            .stderr
            .contains("target \"db\": numbers.sql:4: column \"creat\" does not exist (SQLSTATE 42703)"),
        "{}",
        ended.stderr
    );
    fs::write(wrong.path().join("numbers.sql"), "SELECT 1;\nCREAT TABLE x();\n").unwrap();
    let ended = run(&wrong);
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("numbers.sql:2: syntax error at or near \"CREAT\" (SQLSTATE 42601)")
    );

    for (settings, told) in [
        (
            "work_men = 1",
            "the setting `work_men`: this server has no such setting",
        ),
        ("work_mem = \"little\"", "the setting `work_mem`: invalid value"),
    ] {
        let desk = desk(&SCENARIO.replace("scale = 3", &format!("settings = {{ {settings} }}")));
        let ended = run(&desk);
        assert_eq!((ended.code, ended.stderr.contains(told)), (2, true), "{}", ended.stderr);
    }
}

#[test]
fn where_no_server_is_installed_the_package_is_named() {
    let desk = desk(SCENARIO);
    let output = command(&desk).env("PG_BINDIR", desk.path()).output().unwrap();
    let ended = desk.ended(output);
    assert_eq!(ended.code, 4, "{}", ended.printed());
    assert!(ended.stderr.contains("apt-get install postgresql"), "{}", ended.stderr);
}

#[test]
fn a_killed_loadgate_leaves_nothing() {
    if !installed() {
        return;
    }
    let desk = desk(&SCENARIO.replace("iterations = 20", "duration = \"60s\""));
    for round in 0..4 {
        let mut child = spawn(&desk);
        let left = server_of(&child);
        // At another moment of the start each time.
        thread::sleep(Duration::from_millis(60 * round));
        let all = Left::of(child.id());
        signal(child.id(), Signal::KILL);
        child.wait().unwrap();
        gone(&left);
        gone(&all);
        gone(&Left::of(child.id()));
    }
    // Half made entries of the cache would be there too.
    let cache = fs::read_dir(desk.path().join("cache/postgres"));
    let cache = cache.into_iter().flatten().flatten();
    let drafts: Vec<_> = cache
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("loadgate-"))
        .collect();
    assert!(drafts.is_empty() || run(&desk).code == 0);
}

#[test]
fn what_a_killed_guard_leaves_is_swept_by_the_next_run() {
    if !installed() {
        return;
    }
    let long = desk(&SCENARIO.replace("iterations = 20", "duration = \"60s\""));
    let mut child = spawn(&long);
    let left = server_of(&child);
    let directory = &left.directories[0];
    for process in guards(directory) {
        signal(process, Signal::KILL);
    }
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    assert!(!left.is_nothing(), "nobody was there to end the server");
    let next = desk(SCENARIO);
    assert_eq!(run(&next).code, 0);
    gone(&left);
}

/// Processes with that directory among their arguments which are not the server.
fn guards(directory: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let mut arguments = line.split('\0');
            let last = arguments.any(|argument| argument == directory.to_str().unwrap());
            last.then_some(process)
        })
        .collect()
}

#[test]
fn an_interrupted_run_leaves_nothing_whenever_that_is() {
    if !installed() {
        return;
    }
    let desk = desk(&SCENARIO.replace("iterations = 20", "duration = \"60s\""));
    for (delay, twice) in [(0, false), (300, true), (1500, false)] {
        let child = spawn(&desk);
        let left = server_of(&child);
        thread::sleep(Duration::from_millis(delay));
        let all = Left::of(child.id());
        signal(child.id(), Signal::INT);
        if twice {
            for _ in 0..2 {
                thread::sleep(Duration::from_millis(20));
                // It may have ended meanwhile.
                let _ = Pid::from_raw(child.id() as i32).map(|pid| kill_process(pid, Signal::INT));
            }
        }
        let Output { status, .. } = child.wait_with_output().unwrap();
        assert_eq!(status.code(), Some(130));
        gone(&left);
        gone(&all);
    }
}

#[test]
fn a_managed_process_gets_the_address_and_nobody_sees_the_password() {
    if !installed() {
        return;
    }
    let program = env!("CARGO_BIN_EXE_loadgate");
    let desk = desk(&format!(
        "{SCENARIO}\n[target.api]\nhttp = \"http://127.0.0.1:{{port}}\"\nready = \"/api/health\"\n\
         start = '''sh -c 'echo \"$0\" > url; {program} sql \"$0\" \"SELECT count(*) FROM numbers\" -n 3 > sql; \
         exec {program} demo --listen 127.0.0.1:{{port}}' {{target.db.url}}'''\n"
    ));
    let ended = run(&desk);
    assert_eq!(ended.code, 0, "{}", ended.printed());
    let url = fs::read_to_string(desk.path().join("url")).unwrap();
    let password = url.split([':', '@']).nth(2).unwrap();
    assert!(
        url.starts_with("postgres://postgres:") && url.trim().ends_with("/lg_db") && password.len() > 20,
        "{url}"
    );
    assert!(!ended.printed().contains(password) && !ended.stored_text.contains(password));
    let asked = fs::read_to_string(desk.path().join("sql")).unwrap();
    assert!(asked.contains("pass: "), "{asked}");
}

#[test]
fn on_a_server_of_the_users_only_what_is_allowed_is_made_and_all_of_it_dropped() {
    let Some(server) = Postgres::start() else { return };
    let theirs = SCENARIO.replace("\"ephemeral\"", &format!("\"{}\"", server.url()));
    let refused = run(&desk(&theirs));
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("add create = true"), "{}", refused.stderr);

    let allowed = theirs.replace(
        "scale = 3",
        "scale = 3\ncreate = true\nsettings = { work_mem = \"64kB\" }",
    );
    let ended = run(&desk(&allowed));
    assert_eq!(ended.code, 0, "{}", ended.printed());
    let database = ended.stored().targets[0].database.clone().unwrap();
    assert_eq!(
        (database.profile, database.settings["work_mem"].as_str()),
        (None, "64kB")
    );
    let names = "SELECT datname FROM pg_database WHERE datname LIKE 'lg%'";
    assert!(server.sql(names).is_empty(), "{:?}", server.sql(names));

    let failing = desk(&allowed);
    fs::write(
        failing.path().join("numbers.sql"),
        "CREATE TABLE numbers ();\nSELECT nothing;",
    )
    .unwrap();
    assert_eq!(run(&failing).code, 2);
    assert!(server.sql(names).is_empty());

    let long = desk(&allowed.replace("iterations = 20", "duration = \"60s\""));
    let child = spawn(&long);
    wait_for(|| server.sql(names).len() == 2, || "the template and its copy".into());
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(server.sql(names).is_empty());
}

#[test]
fn sqlite_has_fixtures_too() {
    let scenario = SCENARIO
        .replace("postgres =", "sqlite =")
        .replace(", current_setting('work_mem') AS m", "");
    let fixture = "CREATE TABLE numbers (n INTEGER PRIMARY KEY);\nINSERT INTO numbers WITH RECURSIVE g(i) AS \
                   (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 100 * :scale) SELECT i FROM g;";
    let desk = Desk::with_scenario(&scenario);
    let script = desk.path().join("numbers.sql");
    fs::write(&script, fixture).unwrap();
    let ended = run(&desk);
    assert_eq!(ended.code, 0, "{}", ended.printed());
    fs::write(&script, "CREATE TABLE numbers (n);\nINSERT INTO absent VALUES (1);").unwrap();
    let ended = run(&desk);
    assert_eq!(
        (
            ended.code,
            ended.stderr.contains("numbers.sql:2: no such table: absent")
        ),
        (2, true)
    );

    // A copy of a file, which itself stays as it was.
    let file = desk.path().join("numbers.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database.execute_batch(&fixture.replace(":scale", "3")).unwrap();
    database.close().unwrap();
    let before = fs::read(&file).unwrap();
    let copied = scenario
        .replace("sql = [\"numbers.sql\"]", "file = \"numbers.db\"")
        .replace(
            "iterations = 20",
            "iterations = 20\n[[setup]]\nsql = \"DELETE FROM numbers WHERE n > 300\"",
        );
    fs::write(desk.path().join("scenario.toml"), copied).unwrap();
    let ended = run(&desk);
    assert_eq!(ended.code, 0, "{}", ended.printed());
    assert_eq!(fs::read(&file).unwrap(), before);
}
