//! What variants do to databases is taken back, whatever happened meanwhile; and
//! told where it is not.

use std::{fs, process::Stdio, thread, time::Duration};

use serde_json::json;

use super::{
    Slots, Told, run_command,
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
"#,
        one = address(server, "one"),
        two = address(server, "two"),
    )
}

/// Runs it; the server is killed while both variants are loaded, and comes back or does not.
fn killed(server: &mut Postgres, comes_back: bool) -> Told {
    for database in ["one", "two"] {
        server.sql(&format!("CREATE DATABASE {database}"));
        in_database(server, database, WORDS);
    }
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

/// Of a database of that server.
fn address(server: &Postgres, database: &str) -> String {
    let url = server.url();
    format!("{}/{database}", url.rsplit_once('/').unwrap().0)
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
    for database in ["one", "two"] {
        let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 'words'";
        assert_eq!(in_database(&server, database, indexes), [["0"]], "{database}");
        let torn_down = "SELECT count(*) FROM words WHERE word = 'torn down'";
        assert_eq!(in_database(&server, database, torn_down), [["1"]], "{database}");
    }
}

#[test]
fn what_could_not_be_taken_back_is_told() {
    let _slot = Slots::one();
    let Some(mut server) = Postgres::start() else { return };
    let told = killed(&mut server, false);
    let incidents = told.incidents().to_string();
    for variant in ["one", "two"] {
        let rollback = format!("{variant}: the rollback of target \\\"db\\\" failed: ");
        assert!(incidents.contains(&rollback), "{incidents}");
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
