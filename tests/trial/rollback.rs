//! What variants do to databases is taken back, whatever happened meanwhile; and
//! told where it is not.

use std::{fs, process::Stdio, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{
    Slots, Told, address, run_command,
    support::{
        postgres::{Postgres, installed, query},
        program::{Desk, errors},
    },
    wait_for, with_cache,
};

const WORDS: &str =
    "CREATE TABLE words (word text); INSERT INTO words SELECT 'word ' || i FROM generate_series(1, 100) AS g(i);";

/// Two databases of the user's own on one server.
fn scenario(server: &Postgres) -> String {
    format!(
        r#"
name = "taken back"
[target.db]
postgres = "{one}"
[load]
users = 2
duration = "3s"
[trial]
epochs = 1
census = 0
[[flow]]
name = "write"
[[flow.step]]
name = "write"
sql = "INSERT INTO words SELECT 'new' FROM pg_sleep(0.01)"
[[teardown]]
name = "say so"
sql = "INSERT INTO words VALUES ('torn down')"
[[variant]]
name = "one"
setup.db = "CREATE INDEX words_word ON words (word)"
rollback.db = "DROP INDEX words_word"
[[variant]]
name = "two"
target.db.postgres = "{two}"
setup.db = "CREATE INDEX words_length ON words (length(word))"
rollback.db = "DROP INDEX words_length"
[[threshold]]
metric = "error_rate"
critical = "90%"
"#,
        one = address(server, "one"),
        two = address(server, "two"),
    )
}

/// Runs it; the server is killed while both variants are loaded, and comes back or does not.
fn killed(server: &mut Postgres, comes_back: bool) -> Told {
    with_databases(server);
    let desk = Desk::with_scenario(&scenario(server));
    let mut command = with_cache(run_command(&desk, "scenario.toml", &[]));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for database in ["one", "two"] {
        let address = address(server, database);
        let written = "SELECT count(*) >= 20 FROM words WHERE word = 'new'";
        wait_for("rows", || (query(&address, written).ok()?[0][0] == "t").then_some(()));
    }
    server.kill();
    thread::sleep(Duration::from_millis(300));
    if comes_back {
        server.restart();
    }
    Told::left(&desk, child.wait_with_output().unwrap())
}

fn in_database(server: &Postgres, database: &str, statements: &str) -> Vec<Vec<String>> {
    query(&address(server, database), statements).unwrap()
}

#[test]
fn a_server_that_was_killed_meanwhile_is_left_as_it_was() {
    let _slot = Slots::one();
    let Some(mut server) = Postgres::start() else { return };
    let told = killed(&mut server, true);
    let run = told.ended.stored();
    assert!(run.steps.iter().any(|step| !errors(step).is_empty()));
    assert_eq!(told.incidents(), &json!([]));
    assert_eq!(indexes(&server), ["0", "0"]);
    for database in ["one", "two"] {
        let torn_down = "SELECT count(*) FROM words WHERE word = 'torn down'";
        assert_eq!(in_database(&server, database, torn_down), [["1"]], "{database}");
    }
}

#[test]
fn what_could_not_be_taken_back_is_told() {
    let _slot = Slots::one();
    let Some(mut server) = Postgres::start() else { return };
    let told = killed(&mut server, false);
    let (incidents, reasons) = (told.incidents().to_string(), told.report["reasons"].to_string());
    for (variant, index) in [("one", "words_word"), ("two", "words_length")] {
        let rollback = format!("{variant}: the rollback of target \\\"db\\\" failed: ");
        assert!(reasons.contains(&rollback), "{reasons}");
        let mend = format!("what the setup did to it may still be there; undo it with: DROP INDEX {index}");
        assert!(reasons.contains(&mend), "{reasons}");
        assert!(incidents.contains(&format!("{variant}: teardown: the step \\\"say so\\\" failed")));
    }
    assert!(told.page.contains("the rollback of target"));
}

#[test]
fn a_rollback_that_forgets_something_is_told_with_what_it_is() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let desk = Desk::with_scenario(
        r#"
name = "forgotten"
[target.db]
postgres = "ephemeral"
fixture = "words"
[fixture.words]
sql = "words.sql"
[load]
users = 1
duration = "200ms"
[trial]
epochs = 1
slice = "100ms"
census = 1
[[flow]]
name = "read"
[[flow.step]]
name = "read"
sql = "SELECT count(*) FROM words"
[[variant]]
name = "before"
[[variant]]
name = "after"
setup.db = """
CREATE INDEX words_word ON words (word);
CREATE VIEW long_words AS SELECT word FROM words WHERE length(word) > 5;
ALTER TABLE words ADD COLUMN language text;
"""
rollback.db = "DROP INDEX words_word"
"#,
    );
    fs::write(desk.path().join("words.sql"), WORDS).unwrap();
    let told = Told::of(&desk, "scenario.toml", &[]);
    let incidents = told.incidents().as_array().unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = incidents[0].as_str().unwrap();
    let begin = "after: after the rollback of target \"db\" its schema or settings are not as before:\n";
    assert!(incident.starts_with(begin), "{incident}");
    assert!(
        incident.contains("long_words") && incident.contains("language"),
        "{incident}"
    );
    assert!(!incident.contains("words_word"), "{incident}");
    assert!(told.page.contains("long_words"));
}

#[test]
fn what_stays_behind_on_a_server_of_the_users_is_critical() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    with_databases(&server);
    let forgetful = scenario(&server)
        .replace("duration = \"3s\"", "duration = \"500ms\"")
        .replace(
            "(length(word))\"",
            "(length(word)); CREATE VIEW long_words AS SELECT word FROM words\"",
        );
    let told = Told::of(&Desk::with_scenario(&forgetful), "scenario.toml", &[]).exits(3);
    let reasons = told.report["reasons"].as_array().unwrap();
    let reason = reasons[0].as_str().unwrap();
    let begin = "two: after the rollback of target \"db\" its schema or settings are not as before:\n";
    assert!(
        reason.starts_with(begin) && reason.contains("+ relation public.long_words"),
        "{reason}"
    );
    assert!(
        reason.ends_with("undo it by hand, and complete the rollback"),
        "{reason}"
    );
    assert_eq!((reasons.len(), told.incidents()), (1, &json!([])), "{reasons:?}");
    assert!(told.page.contains("long_words"));
}

const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE tablename = 'words'";

/// How many indexes each of the databases has.
fn indexes(server: &Postgres) -> [String; 2] {
    ["one", "two"].map(|database| in_database(server, database, INDEXES)[0][0].clone())
}

fn with_databases(server: &Postgres) {
    for database in ["one", "two"] {
        server.sql(&format!("CREATE DATABASE {database}"));
        in_database(server, database, WORDS);
    }
}

#[test]
fn a_setup_that_fails_takes_back_those_before_it() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    with_databases(&server);
    let failing = scenario(&server).replace("(length(word))", "(nonsense)");
    let desk = Desk::with_scenario(&failing);
    // In both orders.
    for seed in 0..4 {
        let told = Told::of(&desk, "scenario.toml", &[&format!("seed={seed}")]).exits(2);
        assert!(told.ended.stderr.contains("column \"nonsense\" does not exist"));
        assert_eq!(indexes(&server), ["0", "0"]);
    }
    // What was in its way is not its own, and what it did itself is told.
    let twice = scenario(&server).replace("(length(word))", "(length(word)); CREATE INDEX theirs ON words (word)");
    let twice = twice.replace("DROP INDEX words_length", "DROP INDEX words_length; DROP INDEX theirs");
    in_database(&server, "two", "CREATE INDEX theirs ON words (word)");
    let told = Told::of(&Desk::with_scenario(&twice), "scenario.toml", &[]).exits(2);
    let said = &told.ended.stderr;
    assert!(said.contains("relation \"theirs\" already exists"), "{said}");
    assert!(
        said.contains("what the statements before it did to the database is still there"),
        "{said}"
    );
    assert_eq!(indexes(&server), ["0", "2"]);
}

#[test]
fn an_interrupt_at_any_time_takes_all_back() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    with_databases(&server);
    for census in ["trial.census=10000", "trial.census=0"] {
        let desk = Desk::with_scenario(&scenario(&server));
        let mut command = with_cache(run_command(&desk, "scenario.toml", &[census]));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for("both setups", || (indexes(&server) == ["1", "1"]).then_some(()));
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let told = Told::left(&desk, child.wait_with_output().unwrap()).exits(130);
        assert_eq!(indexes(&server), ["0", "0"], "{census}: {}", told.ended.printed());
    }
}
