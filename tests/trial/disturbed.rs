//! Private servers to which bad things happen in mid-run: every failure has its
//! SQLSTATE, load goes on once it can, and the run ends as if nothing had been.

use std::{fs, os::unix::net::UnixStream, path::Path, process::Stdio, thread, time::Duration};

use loadgate::run::Run;
use rustix::process::{Pid, Signal, kill_process};

use super::{
    Slots, run_command,
    support::{
        postgres::{installed, query},
        program::{Desk, errors, step},
    },
    wait_for, with_cache,
};

/// Long enough for something to fail, and for an operation to be under way.
const WHILE: Duration = Duration::from_millis(300);

/// More than a server of few sessions lets wait for their names.
const STRANGERS: usize = 150;

/// A session is hardly ever idle, so whoever ends it ends an operation.
const SCENARIO: &str = r#"
name = "disturbed"
[target.db]
postgres = "ephemeral"
fixture = "ledger"
settings = { max_connections = 14 }
[fixture.ledger]
sql = "ledger.sql"
[load]
users = 4
duration = "10s"
[[flow]]
name = "write"
[[flow.step]]
name = "write"
sql = "INSERT INTO ledger SELECT 1 FROM pg_sleep(0.02)"
[[teardown]]
name = "clear"
sql = "DELETE FROM ledger"
"#;

const LEDGER: &str = "CREATE TABLE ledger (amount int);";

/// Ends all sessions of the load, twenty times within a second.
const END_AGAIN_AND_AGAIN: &str = "DO $$ BEGIN FOR i IN 1..20 LOOP
    PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lg_db';
END LOOP; END $$";

/// A server of another process, as seen from outside.
struct Server {
    /// Its socket's directory and port.
    socket: (String, String),
}

impl Server {
    /// That of a running loadgate.
    fn of(loadgate: u32) -> Self {
        let prefix = format!("loadgate-{loadgate}-");
        let socket = wait_for("a server", || {
            let directories = ["/dev/shm", "/tmp", "/var/tmp"].iter().flat_map(fs::read_dir).flatten();
            let mut own = directories
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
            own.find_map(|entry| {
                let file = fs::read_to_string(entry.path().join("data/postmaster.pid")).ok()?;
                let lines: Vec<&str> = file.lines().collect();
                (lines.get(7)?.trim() == "ready").then(|| (lines[4].to_owned(), lines[3].to_owned()))
            })
        });
        Self { socket }
    }

    fn ask(&self, database: &str, statements: &str) -> Option<Vec<Vec<String>>> {
        let (directory, port) = &self.socket;
        let address = format!("host='{directory}' port={port} user=postgres dbname={database}");
        query(&address, statements).ok()
    }

    /// In a database that no load uses.
    fn command(&self, statements: &str) -> Vec<Vec<String>> {
        wait_for(statements, || self.ask("postgres", statements))
    }

    /// Waits until the load has written more.
    fn goes_on(&self) {
        let rows = || {
            self.ask("lg_db", "SELECT count(*) FROM ledger")?[0][0]
                .parse::<u64>()
                .ok()
        };
        let before = wait_for("an answer", rows);
        wait_for("more rows", || (rows()? > before + 20).then_some(()));
    }

    fn end_sessions(&self) {
        self.command("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lg_db'");
    }

    fn lose_the_table(&self) {
        wait_for("the drop", || self.ask("lg_db", "DROP TABLE ledger"));
        thread::sleep(WHILE);
        wait_for("the table", || self.ask("lg_db", LEDGER));
    }

    fn only_read(&self) {
        self.command("ALTER DATABASE lg_db SET default_transaction_read_only = on");
        self.end_sessions();
        thread::sleep(WHILE);
        self.command("ALTER DATABASE lg_db RESET default_transaction_read_only");
        self.end_sessions();
    }

    /// Others take every place that there is, for which nobody has to say who he is; who then
    /// loses his own finds none.
    fn let_nobody_in(&self) {
        let (directory, port) = &self.socket;
        let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
        let mut taken: Vec<UnixStream> = Vec::new();
        thread::scope(|both| {
            let ending = both.spawn(|| self.command(END_AGAIN_AND_AGAIN));
            // Who ends them has a place already.
            let begun = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DO %'";
            wait_for("who ends them", || self.command(begun).pop());
            while !ending.is_finished() {
                taken.extend(UnixStream::connect(&path).ok());
                if taken.len() > STRANGERS {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
    }

    fn kill_a_session(&self) {
        let sessions = "SELECT pid FROM pg_stat_activity WHERE datname = 'lg_db' AND query LIKE 'INSERT%' LIMIT 1";
        let session = wait_for("a session", || {
            let rows = self.ask("postgres", sessions)?;
            rows.first()?[0].parse().ok()
        });
        kill_process(Pid::from_raw(session).unwrap(), Signal::KILL).unwrap();
    }
}

fn classes(run: &Run) -> Vec<String> {
    errors(step(run, "write")).into_iter().map(|(class, _)| class).collect()
}

#[test]
fn what_happens_to_a_server_is_counted_by_sqlstate_and_passes() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let desk = Desk::with_scenario(SCENARIO);
    fs::write(desk.path().join("ledger.sql"), LEDGER).unwrap();
    let mut command = with_cache(run_command(&desk, "scenario.toml", &[]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let server = Server::of(child.id());
    server.goes_on();
    for disturb in [
        Server::lose_the_table,
        Server::only_read,
        Server::let_nobody_in,
        Server::kill_a_session,
    ] {
        disturb(&server);
        server.goes_on();
    }
    let ended = desk.ended(child.wait_with_output().unwrap());

    let run = ended.stored();
    let classes = classes(&run);
    for sqlstate in ["42P01", "25006", "57P01", "53300"] {
        assert!(
            classes.contains(&format!("sqlstate {sqlstate}")),
            "{sqlstate}: {classes:?}"
        );
    }
    // The others learn why the server ends their sessions; who comes meanwhile is told to wait.
    let crashed = ["sqlstate 57P02", "sqlstate 57P03"];
    assert!(
        crashed.iter().any(|class| classes.iter().any(|other| other == class)),
        "{classes:?}"
    );
    let last = run.intervals.iter().rev().find(|interval| interval.sent > 0).unwrap();
    assert!(last.completed > 10 && last.failed == 0, "{last:?}");
    // Teardown found the table again.
    assert_eq!(run.incidents, Vec::<String>::new());
    assert_eq!(run.partial, None);
    let page = fs::read_to_string(desk.path().join("out/report.html")).unwrap();
    assert!(page.contains("sqlstate 53300"));
}
