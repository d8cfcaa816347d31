//! Ways to send statements: pipelines, COPY, fan-outs, and what the server cancels by itself.

use super::{Desk, Postgres, errors, run, scenario, step};

const KEYS: &str = "CREATE TABLE keys (id int PRIMARY KEY CHECK (id <> 3), note text NOT NULL)";

/// Five rows in one operation, of which the third is refused.
fn five(mode: &str) -> String {
    let one = r#"{ sql = "INSERT INTO keys VALUES ($1, 'x')", params = ["{{ id }}"] }"#;
    let mode = match mode {
        "autocommit" => format!("times = 5\nstatements = [{one}]"),
        "one_tx" | "pipeline" => format!("times = 5\ntransaction = [{one}]"),
        "values" => "sql = \"INSERT INTO keys VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'x'), (5, 'x')\"".to_owned(),
        "unnest" => "sql = \"INSERT INTO keys SELECT i, 'x' FROM unnest('{1,2,3,4,5}'::int[]) AS u(i)\"".to_owned(),
        _ => "copy = { into = \"keys (id, note)\", row = [\"{{ id }}\", \"x\"], times = 5 }".to_owned(),
    };
    format!(
        "[data.id]\nsequence = {{ from = 1 }}\n[[flow]]\nname = \"store\"\n[[flow.step]]\nname = \"five rows\"\n{mode}\n"
    )
}

#[test]
fn a_row_that_is_refused_leaves_nothing_of_its_transaction() {
    let postgres = postgres_or_skip!();
    postgres.sql(KEYS);
    for (mode, protocol, left) in [
        ("autocommit", "prepared", 2),
        ("one_tx", "prepared", 0),
        ("pipeline", "pipelined", 0),
        ("values", "prepared", 0),
        ("unnest", "prepared", 0),
        ("copy", "prepared", 0),
        // Those after it were sent already.
        ("autocommit", "pipelined", 4),
    ] {
        let run = run(&postgres, protocol, "users = 1\niterations = 1", &five(mode)).stored();
        let five = step(&run, "five rows");
        assert_eq!(errors(five), [("sqlstate 23514".to_owned(), 1)], "{mode}");
        assert_eq!(postgres.number("SELECT count(*) FROM keys"), left, "{mode} {protocol}");
        postgres.sql("TRUNCATE keys");
    }
}

/// Whatever was refused, the connection goes on with what comes next.
#[test]
fn a_refusal_costs_no_connection() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE keys (id int PRIMARY KEY, note text NOT NULL)");
    let id = "[data.id]\nuniform = { from = 1, to = 50 }\n";
    for (protocol, step_text) in [
        (
            "pipelined",
            "times = 2\ntransaction = [{ sql = \"INSERT INTO keys VALUES ($1, 'x')\", params = [\"{{ id }}\"] }]",
        ),
        (
            "prepared",
            "copy = { into = \"keys (id, note)\", row = [\"{{ id }}\", \"x\"], times = 2 }",
        ),
    ] {
        let rest = format!("{id}[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\n{step_text}\n");
        let run = run(&postgres, protocol, "users = 1\niterations = 100", &rest).stored();
        let step = step(&run, "s");
        assert!(step.completed() > 5 && step.failed() > 50, "{protocol}");
        assert_eq!(step.completed() + step.failed(), 100, "{protocol}");
        assert_eq!(errors(step)[0].0, "sqlstate 23505", "{protocol}");
        assert_eq!(step.connect.count(), 0, "{protocol}");
        assert_eq!(
            postgres.number("SELECT count(*) FROM keys"),
            2 * step.completed(),
            "{protocol}"
        );
        postgres.sql("TRUNCATE keys");
    }
}

#[test]
fn what_is_copied_arrives_as_it_was() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE notes (id int, note text, other text)");
    let rest = r#"
[data.id]
sequence = { from = 1 }
[data.note]
constant = "tab\t, line\nfeed, return\r, back\\slash, \\N, \\., é, 'quoted'"
[[flow]]
name = "f"
[[flow.step]]
name = "nothing"
sql = "SELECT NULL::text AS none"
save = { none = "$[0].none" }
[[flow.step]]
name = "copy"
copy = { into = "notes (id, note, other)", row = ["{{ id }}", "{{ note }}", "{{ none }}"], times = 10_000 }
expect = { affected = 10_000 }
"#;
    for protocol in ["prepared", "simple"] {
        let ended = run(&postgres, protocol, "users = 1\niterations = 2", rest);
        let run = ended.stored();
        assert_eq!(step(&run, "copy").completed(), 2, "{}", ended.printed());
        let rows = postgres.sql(
            "SELECT count(*), count(DISTINCT id), count(other), min(id), bool_and(note = \
             E'tab\\t, line\\nfeed, return\\r, back\\\\slash, \\\\N, \\\\., é, ''quoted''') FROM notes",
        );
        assert_eq!(rows[0], ["20000", "20000", "0", "1", "t"], "{protocol}");
        postgres.sql("TRUNCATE notes");
    }
}

#[test]
fn a_copy_into_what_is_not_there_is_told_before_the_load() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, note text)");
    let copy = |columns: &str| {
        let rest = format!(
            "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\ncopy = {{ into = \"notes ({columns})\", row = [7] }}\n"
        );
        run(&postgres, "prepared", "users = 1\niterations = 1", &rest)
    };
    let ended = copy("noted");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("column \"noted\""), "{}", ended.stderr);
    // COPY writes what an INSERT leaves to the database.
    let written = copy("id").stored();
    assert_eq!(step(&written, "s").completed(), 1);
    assert_eq!(postgres.number("SELECT id FROM notes"), 7);
    let refused = copy("note").stored();
    assert_eq!(errors(step(&refused, "s")), []);
}

/// More in both directions than sockets hold: who only sends, and the server who only answers, would wait for each other.
#[test]
fn a_pipeline_does_not_block_itself() {
    let postgres = postgres_or_skip!();
    let rest = r#"
[data.text]
string = { length = 100000 }
[[flow]]
name = "f"
[[flow.step]]
name = "back and forth"
times = 200
statements = [{ sql = "SELECT $1::text AS text, 1 AS one", params = ["{{ text }}"] }]
expect = { rows = 1, json = { "$[0].one" = 1 } }
timeout = "60s"
"#;
    let run = run(&postgres, "pipelined", "users = 2\niterations = 4", rest).stored();
    let step = step(&run, "back and forth");
    assert_eq!((step.completed(), errors(step)), (4, vec![]));
}

#[test]
fn what_the_server_cancels_is_not_what_we_gave_up() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE keys (id int PRIMARY KEY); INSERT INTO keys VALUES (1)");
    let fails = |keys: &str, step_text: &str| {
        let rest = format!("[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\n{step_text}\n");
        let text = scenario(&postgres.url(), "prepared", "users = 1\niterations = 2", &rest);
        let text = text.replace("[load]", &format!("{keys}\n[load]"));
        let run = Desk::with_scenario(&text).run().stored();
        errors(step(&run, "s")).remove(0)
    };
    let sleep = "sql = \"SELECT pg_sleep(30)\"";
    assert_eq!(
        fails("statement_timeout = \"100ms\"", sleep),
        ("sqlstate 57014".to_owned(), 2)
    );
    assert_eq!(fails("timeout = \"300ms\"", sleep), ("timeout".to_owned(), 2));
    let holder = postgres.url();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&holder, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; UPDATE keys SET id = 2").await.unwrap();
        client
    });
    assert_eq!(
        fails("lock_timeout = \"100ms\"", "sql = \"SELECT id FROM keys FOR UPDATE\""),
        ("sqlstate 55P03".to_owned(), 2)
    );
    drop(client);
}

#[test]
fn a_statement_is_performed_for_every_row() {
    let postgres = postgres_or_skip!();
    postgres.sql(
        "CREATE TABLE parts (id int PRIMARY KEY, whole int NOT NULL, seen int NOT NULL DEFAULT 0);
         INSERT INTO parts SELECT i, i % 3 FROM generate_series(1, 30) AS g(i)",
    );
    let each = r#"
[data.whole]
constant = 2
[[flow]]
name = "f"
[[flow.step]]
name = "look"
sql = "SELECT id FROM parts WHERE whole = $1 ORDER BY id"
params = ["{{ whole }}"]
for_each = { sql = "SELECT id, whole FROM parts WHERE id = $1 AND whole = $2::int", params = ["{{ row.id }}", "{{ whole }}"] }
expect = { rows = 10 }
save = { last = "$[9].id", first = "$[0].id" }
[[flow.step]]
name = "touch"
sql = "SELECT id FROM parts WHERE id IN ($1, $2)"
params = ["{{ first }}", "{{ last }}"]
for_each = { sql = "UPDATE parts SET seen = seen + 1 WHERE id = $1", params = ["{{ row.id }}"] }
expect = { rows = 0, affected = 2 }
[[flow.step]]
name = "nobody"
sql = "SELECT id FROM parts WHERE id < 0"
for_each = { sql = "SELECT $1::int", params = ["{{ row.id }}"] }
expect = { rows = 0 }
[[flow.step]]
name = "typo"
sql = "SELECT id FROM parts LIMIT 1"
for_each = { sql = "SELECT $1::int", params = ["{{ row.part }}"] }
"#;
    for (round, protocol) in (1..).zip(super::PROTOCOLS) {
        let ended = run(&postgres, protocol, "users = 1\niterations = 3", each);
        let run = ended.stored();
        for name in ["look", "touch", "nobody"] {
            assert_eq!(
                step(&run, name).completed(),
                3,
                "{protocol} {name}: {}",
                ended.printed()
            );
        }
        assert_eq!(errors(step(&run, "typo")), [("extraction".to_owned(), 3)], "{protocol}");
        assert!(
            ended.stdout.contains("no column is called \"part\""),
            "{}",
            ended.stdout
        );
        let seen = postgres.sql("SELECT id, seen FROM parts WHERE seen > 0 ORDER BY id");
        let times = (3 * round).to_string();
        assert_eq!(seen, [["2", times.as_str()], ["29", times.as_str()]], "{protocol}");
    }
    let many = r#"
[[flow]]
name = "f"
[[flow.step]]
name = "too many"
sql = "SELECT i FROM generate_series(1, 10001) AS g(i)"
for_each = { sql = "SELECT $1::int", params = ["{{ row.i }}"] }
"#;
    let ended = run(&postgres, "prepared", "users = 1\niterations = 1", many);
    assert_eq!(errors(step(&ended.stored(), "too many")), [("too large".to_owned(), 1)]);
}
