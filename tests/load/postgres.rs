//! Scenarios against a real PostgreSQL: the effects are looked up in the
//! database, the figures in `run.json`. What the judge makes of them is tested
//! elsewhere.

/// The server of a test; the test ends here where PostgreSQL is not installed.
macro_rules! postgres_or_skip {
    () => {
        match Postgres::start() {
            Some(postgres) => postgres,
            None => return,
        }
    };
}

mod connecting;
mod modes;
mod pooled;
use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    postgres::Postgres,
    program::{Desk, Ended, errors, step},
};

const PROTOCOLS: [&str; 4] = ["prepared", "pipelined", "extended", "simple"];

const ACCOUNTS: &str = "
    CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
    INSERT INTO account SELECT generate_series(1, 10);
    CREATE TABLE ledger (account int NOT NULL, amount int NOT NULL);
    CREATE TABLE once (key int PRIMARY KEY);
";

/// Name, target and load of a scenario; the rest is appended.
fn scenario(postgres: &str, protocol: &str, load: &str, rest: &str) -> String {
    format!(
        "name = \"test\"\n[target.db]\npostgres = \"{postgres}\"\nprotocol = \"{protocol}\"\n[load]\n{load}\n{rest}"
    )
}

fn run(postgres: &Postgres, protocol: &str, load: &str, rest: &str) -> Ended {
    Desk::with_scenario(&scenario(&postgres.url(), protocol, load, rest)).run()
}

const TRANSFERS: &str = r#"
[data.account]
uniform = { from = 1, to = 10 }

[[flow]]
name = "pay"

[[flow.step]]
name = "transfer"
transaction = [
  { sql = "INSERT INTO ledger VALUES ($1, $2)", params = ["{{ account }}", 5] },
  { sql = "UPDATE account SET balance = balance + 5 WHERE id = $1", params = ["{{ account }}"] },
]
expect = { affected = 1 }
"#;

#[test]
fn what_transactions_did_is_what_was_counted() {
    let postgres = postgres_or_skip!();
    postgres.sql(ACCOUNTS);
    for (round, protocol) in (1..).zip(PROTOCOLS) {
        let run = run(&postgres, protocol, "users = 4\niterations = 200", TRANSFERS).stored();
        let transfer = step(&run, "transfer");
        assert_eq!((transfer.completed(), errors(transfer)), (200, vec![]), "{protocol}");
        assert_eq!(run.accounting.completed, 200);
        assert_eq!(
            postgres.number("SELECT count(*) FROM ledger"),
            round * 200,
            "{protocol}"
        );
        assert_eq!(
            postgres.number("SELECT sum(balance) FROM account"),
            round * 1000,
            "{protocol}"
        );
    }
}

#[test]
fn a_transaction_that_fails_is_rolled_back_and_counted_by_sqlstate() {
    let postgres = postgres_or_skip!();
    let rest = r#"
[data.key]
uniform = { from = 1, to = 50 }
[[flow]]
name = "f"
[[flow.step]]
name = "at most once"
transaction = [
  { sql = "INSERT INTO ledger VALUES ($1, 1)", params = ["{{ key }}"] },
  { sql = "INSERT INTO once VALUES ($1)", params = ["{{ key }}"] },
]
"#;
    for protocol in PROTOCOLS {
        postgres.sql("DROP TABLE IF EXISTS account, ledger, once");
        postgres.sql(ACCOUNTS);
        let ended = run(&postgres, protocol, "users = 4\niterations = 200", rest);
        let run = ended.stored();
        let step = step(&run, "at most once");
        let (completed, failed) = (step.completed(), step.failed());
        assert!(
            completed > 10 && failed > 100 && completed + failed == 200,
            "{completed} and {failed}"
        );
        assert_eq!(errors(step), [("sqlstate 23505".to_owned(), failed)]);
        let example = step.errors[0].example.as_deref().unwrap();
        assert!(example.contains("duplicate key value"), "{example}");
        assert!(ended.stored_text.contains("\"sqlstate 23505\""));
        assert_eq!((run.accounting.completed, run.accounting.failed), (completed, failed));
        assert_eq!(postgres.number("SELECT count(*) FROM once"), completed);
        assert_eq!(
            postgres.number("SELECT count(*) FROM ledger"),
            completed,
            "{protocol}: not rolled back"
        );
    }
}

#[test]
fn statements_are_prepared_only_where_the_protocol_says_so() {
    let postgres = postgres_or_skip!();
    // A value of the simple protocol is always text.
    for (protocol, prepared) in [("prepared", "2"), ("extended", "0"), ("simple", "\"0\"")] {
        let rest = format!(
            r#"
[[flow]]
name = "f"
[[flow.step]]
name = "a"
sql = "SELECT $1::int"
params = [1]
expect = {{ rows = 1 }}
[[flow.step]]
name = "count"
sql = "SELECT count(*) AS n FROM pg_prepared_statements"
expect = {{ json = {{ "$[0].n" = {prepared} }} }}
"#
        );
        let run = run(&postgres, protocol, "users = 2\niterations = 20", &rest).stored();
        assert_eq!(
            (run.accounting.completed, errors(step(&run, "count"))),
            (20, vec![]),
            "{protocol}"
        );
    }
}

#[test]
fn values_of_all_types_go_in_and_come_back() {
    let postgres = postgres_or_skip!();
    let rest = r#"
[data.int]
uniform = { from = -1000, to = 1000 }
[data.bigint]
constant = 9_007_199_254_740_993
[data.text]
choice = ["it's", "back\\slash", "größer, \"quoted\"", "$1 {} --", ""]
[data.bool]
choice = [true, false]
[data.float]
choice = [0.1, -2.5e-7, 1e300]
[data.numeric]
choice = ["12345678901234567890.0123", "-0.05", "NaN"]
[data.uuid]
uuid = true
[data.time]
timestamp = { from = "1999-12-31T00:00:00Z", to = "2026-01-01T00:00:00Z" }
[data.day]
choice = ["1969-07-20", "2026-02-28"]
[data.json]
constant = '{"a": [1, null, "x"], "b": {"c": true}}'
[data.mood]
choice = ["sad", "so-so"]

[[flow]]
name = "there and back"

[[flow.step]]
name = "nothing"
sql = "SELECT NULL::text AS nothing"
save = { nothing = "$[0].nothing" }

[[flow.step]]
name = "write"
sql = "INSERT INTO t VALUES (DEFAULT, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING *"
params = ["{{ int }}", "{{ bigint }}", "{{ text }}", "{{ bool }}", "{{ float }}", "{{ numeric }}", "{{ uuid }}", "{{ time }}", "{{ day }}", "{{ json }}", "{{ mood }}", "{{ nothing }}"]
expect = { rows = 1, affected = 1 }
[flow.step.save]
id = "$[0].id"
i = "$[0].i"
b = "$[0].b"
s = "$[0].s"
flag = "$[0].flag"
f = "$[0].f"
n = "$[0].n"
u = "$[0].u"
at = "$[0].at"
d = "$[0].d"
j = "$[0].j"
m = "$[0].m"
none = "$[0].none"

[[flow.step]]
name = "find again"
sql = """SELECT id FROM t WHERE id = $1 AND i = $2 AND b = $3 AND s = $4 AND flag = $5 AND f = $6 AND n = $7
  AND u = $8 AND at = $9 AND d = $10 AND j = $11 AND m = $12 AND none IS NOT DISTINCT FROM $13"""
params = ["{{ id }}", "{{ i }}", "{{ b }}", "{{ s }}", "{{ flag }}", "{{ f }}", "{{ n }}", "{{ u }}", "{{ at }}", "{{ d }}", "{{ j }}", "{{ m }}", "{{ none }}"]
expect = { rows = 1 }
"#;
    for protocol in PROTOCOLS {
        postgres.sql(
            "DROP TABLE IF EXISTS t; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('sad', 'so-so');
             CREATE TABLE t (id serial, i int, b bigint, s text, flag bool, f float8, n numeric, u uuid,
                             at timestamptz, d date, j jsonb, m mood, none text)",
        );
        let run = run(&postgres, protocol, "users = 2\niterations = 60", rest).stored();
        for step in &run.steps {
            assert_eq!(step.errors, [], "{protocol}: {}", step.name);
            assert_eq!(step.completed(), 60, "{protocol}: {}", step.name);
        }
        assert_eq!(
            postgres.number("SELECT count(*) FROM t WHERE none IS NULL AND b = 9007199254740993"),
            60
        );
        assert_eq!(postgres.number("SELECT count(DISTINCT u) FROM t"), 60);
        assert_eq!(postgres.number("SELECT count(DISTINCT s) FROM t"), 5);
    }
}

#[test]
fn a_statement_that_does_not_prepare_is_the_scenarios_fault() {
    let postgres = postgres_or_skip!();
    for protocol in PROTOCOLS {
        let desk = Desk::with_scenario(&scenario(
            &postgres.url(),
            protocol,
            "users = 1\niterations = 1",
            "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nsql = \"SELECT lost FROM nowhere\"\n",
        ));
        let ended = desk.run();
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        for wanted in ["42P01", "SELECT lost FROM nowhere", "\"db\""] {
            assert!(
                ended.stderr.contains(wanted),
                "{protocol}: no {wanted} in: {}",
                ended.stderr
            );
        }
    }
}

const ONE: &str = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"one\"\nsql = \"SELECT 1\"\n";

#[test]
fn a_server_that_is_not_there_gives_no_answer() {
    // Needs no PostgreSQL: nothing listens on port 1.
    let load = "users = 1\niterations = 1";
    let ended = Desk::with_scenario(&scenario(
        "postgres://me:hidden-word@127.0.0.1:1/shop",
        "prepared",
        load,
        ONE,
    ))
    .run();
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("target \"db\" cannot be reached at 127.0.0.1:1/shop"),
        "{}",
        ended.stderr
    );
    assert!(!ended.printed().contains("hidden-word"), "{}", ended.printed());
}

#[test]
fn a_password_is_used_and_never_shown() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'right-word'");
    postgres.admit(&["host all guest all scram-sha-256", "host all all all trust"]);
    let address = |password: &str| format!("postgres://guest:{password}@127.0.0.1:{}/postgres", postgres.port());
    let load = "users = 1\niterations = 5";

    let refused = Desk::with_scenario(&scenario(&address("wrong-word"), "prepared", load, ONE)).run();
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("28P01"), "{}", refused.stderr);
    assert!(!refused.printed().contains("wrong-word"), "{}", refused.printed());

    let admitted = Desk::with_scenario(&scenario(&address("right-word"), "prepared", load, ONE)).run();
    assert_eq!(admitted.stored().accounting.completed, 5);
    assert!(!admitted.printed().contains("right-word"), "{}", admitted.printed());
    assert!(
        !admitted.stored_text.contains("right-word"),
        "run.json holds the password"
    );
}

/// Writes until it is stopped; what it wrote shows how far it got.
const WRITES: &str =
    "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"write\"\nsql = \"INSERT INTO ledger VALUES (1, 1)\"\n";

const OPEN: &str = "rate = \"200/s\"\nmax_in_flight = 8\nduration = \"4s\"\ndrain = \"2s\"";

fn wait_for_rows(postgres: &Postgres, rows: u64) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while postgres.number("SELECT count(*) FROM ledger") < rows {
        assert!(Instant::now() < give_up, "the load does not begin");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_killed_in_mid_run_is_counted_by_class_and_the_run_ends() {
    let mut postgres = postgres_or_skip!();
    postgres.sql(ACCOUNTS);
    let desk = Desk::with_scenario(&scenario(&postgres.url(), "prepared", OPEN, WRITES));
    let child = desk.start();
    wait_for_rows(&postgres, 150);
    postgres.kill();
    let ended = desk.ended(child.wait_with_output().unwrap());

    let run = ended.stored();
    assert_eq!(run.accounting.scheduled, 800);
    let write = step(&run, "write");
    assert!((150..800).contains(&write.completed()), "{}", write.completed());
    let classes = errors(write);
    let first_s = |class: &str| {
        write
            .errors
            .iter()
            .find(|e| e.class.to_string() == class)
            .map(|e| e.first_s)
    };
    let lost = first_s("disconnected")
        .or(first_s("sqlstate 57P01"))
        .or(first_s("connect"));
    assert!(lost.is_some(), "{classes:?}");
    assert!(lost <= first_s("connect"), "{classes:?}");
    let refused = classes
        .iter()
        .find(|(class, _)| class == "connect")
        .map_or(0, |(_, count)| *count);
    assert!(refused > 100, "{classes:?}");
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let mut postgres = postgres_or_skip!();
    postgres.sql(ACCOUNTS);
    let desk = Desk::with_scenario(&scenario(&postgres.url(), "prepared", OPEN, WRITES));
    let child = desk.start();
    wait_for_rows(&postgres, 100);
    postgres.kill();
    postgres.restart();
    let after_restart = postgres.number("SELECT count(*) FROM ledger");
    let ended = desk.ended(child.wait_with_output().unwrap());

    let run = ended.stored();
    let write = step(&run, "write");
    assert!(write.failed() > 0);
    let rows = postgres.number("SELECT count(*) FROM ledger");
    assert!(
        rows > after_restart + 50,
        "{rows} after {after_restart}: no connection was made again"
    );
    let last = run.intervals.iter().rev().find(|interval| interval.sent > 0).unwrap();
    assert!(last.completed > 100 && last.failed == 0, "{last:?}");
}

#[test]
fn a_statement_that_takes_too_long_is_cut_off_on_both_sides() {
    let postgres = postgres_or_skip!();
    let rest =
        "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"sleep\"\nsql = \"SELECT pg_sleep(60)\"\ntimeout = \"100ms\"\n";
    let desk = Desk::with_scenario(&scenario(
        &postgres.url(),
        "prepared",
        "users = 1\niterations = 10",
        rest,
    ));
    let mut child = desk.start();
    let sleeping = || {
        postgres.number("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()")
    };
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(sleeping());
        thread::sleep(Duration::from_millis(10));
    }
    let run = desk.ended(child.wait_with_output().unwrap()).stored();
    assert_eq!(errors(step(&run, "sleep")), [("timeout".to_owned(), 10)]);
    assert!(most < 5, "{most} abandoned statements ran on at once");
}

#[test]
fn a_statement_under_way_at_the_end_is_given_up_on_the_server() {
    let postgres = postgres_or_skip!();
    let rest = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"sleep\"\nsql = \"SELECT pg_sleep(600)\"\n";
    for load in [
        "users = 3\nduration = \"500ms\"\ndrain = \"100ms\"",
        "rate = \"20/s\"\nmax_in_flight = 3\nduration = \"500ms\"\ndrain = \"100ms\"",
    ] {
        for protocol in PROTOCOLS {
            let run = run(&postgres, protocol, load, rest).stored();
            assert_eq!(run.accounting.unfinished, 3, "{protocol}: {load}");
            postgres.wait_until(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'",
            );
        }
    }
}

#[test]
fn a_server_that_ends_a_session_says_why() {
    let postgres = postgres_or_skip!();
    let rest = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"sleep\"\nsql = \"SELECT pg_sleep(600)\"\n";
    let desk = Desk::with_scenario(&scenario(
        &postgres.url(),
        "prepared",
        "users = 1\niterations = 1",
        rest,
    ));
    let child = desk.start();
    let sleeping = "FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND wait_event = 'PgSleep'";
    postgres.wait_until(&format!("SELECT count(*) = 1 {sleeping}"));
    postgres.sql(&format!("SELECT pg_terminate_backend(pid) {sleeping}"));
    let run = desk.ended(child.wait_with_output().unwrap()).stored();
    let step = step(&run, "sleep");
    assert_eq!(errors(step), [("sqlstate 57P01".to_owned(), 1)]);
    let example = step.errors[0].example.as_deref().unwrap();
    assert!(
        example.contains("terminating connection due to administrator command"),
        "{example}"
    );
}

#[test]
fn the_address_comes_from_the_environment() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE DATABASE shop");
    let rest = r#"
[[flow]]
name = "f"
[[flow.step]]
name = "where"
sql = "SELECT current_database() AS name"
expect = { json = { "$[0].name" = "shop" } }
"#;
    let desk = Desk::with_scenario(&scenario("env", "prepared", "users = 1\niterations = 5", rest));
    for names in [
        ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"],
        ["DB_HOST", "DB_PORT", "DB_USER", "DB_NAME"],
    ] {
        let port = postgres.port().to_string();
        let values = ["127.0.0.1", &port, "postgres", "shop"];
        let mut command = desk.run_command();
        command.envs(names.into_iter().zip(values));
        let run = desk.ended(command.output().unwrap()).stored();
        assert_eq!(
            (run.accounting.completed, errors(step(&run, "where"))),
            (5, vec![]),
            "{names:?}"
        );
        assert_eq!(run.targets[0].address, format!("127.0.0.1:{port}/shop"));
        assert!(
            run.targets[0]
                .version
                .as_deref()
                .is_some_and(|version| version.starts_with("PostgreSQL "))
        );
    }
}

#[test]
fn a_unix_socket_is_as_good() {
    let postgres = postgres_or_skip!();
    let directory = postgres.socket_directory().display();
    let address = format!("host={directory} port={} user=postgres", postgres.port());
    let run = Desk::with_scenario(&scenario(&address, "prepared", "users = 2\niterations = 10", ONE))
        .run()
        .stored();
    assert_eq!(run.accounting.completed, 10);
}

#[test]
fn one_statement_needs_no_file() {
    let postgres = postgres_or_skip!();
    let desk = Desk::new();
    for protocol in PROTOCOLS {
        let url = postgres.url();
        let statement = "SELECT 1 / ($1::int % 2) AS whole";
        let mut command = desk.loadgate(&["sql", &url, statement, "--param", "uniform:1..10", "-n", "100"]);
        command.args(["-c", "4", "--protocol", protocol, "--out", "out"]);
        let run = desk.ended(command.output().unwrap()).stored();
        let step = &run.steps[0];
        assert_eq!(step.count(), 100, "{protocol}");
        // Half of the numbers are even, and divide by zero.
        assert_eq!(
            errors(step),
            [("sqlstate 22012".to_owned(), step.failed())],
            "{protocol}"
        );
        assert!((20..80).contains(&step.failed()), "{protocol}: {}", step.failed());
    }
}
