//! The real program against targets that behave and targets that do not: every
//! operation is accounted for, and every failure has its class.

mod backend;
mod postgres;
mod requests;
mod sessions;
use std::{fs, path::Path, process::Output, thread, time::Duration};

use crate::support::program::loadgate;
use rusqlite::Connection as Database;
use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, answer, certificate, ok};

/// A directory to run the program in, and what it is asked to run there.
struct Place(TempDir);

/// What became of a run.
struct Ran {
    run: Value,
    output: Output,
}

impl Place {
    fn new(scenario: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("scenario.toml"), scenario).unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn output(&self) -> Output {
        let output = loadgate(self.path(), &["run", "scenario.toml", "--out", "run"])
            .output()
            .unwrap();
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        output
    }

    /// Runs it; whatever happens to the operations, they must add up.
    fn run(&self) -> Ran {
        let output = self.output();
        let bytes = fs::read(self.path().join("run/run.json")).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let ran = Ran {
            run: serde_json::from_slice(&bytes).unwrap(),
            output,
        };
        let parts = ["completed", "failed", "dropped", "unfinished"].map(|part| ran.flows(part));
        assert_eq!(
            ran.flows("scheduled"),
            parts.iter().sum::<u64>(),
            "{}",
            ran.run["accounting"]
        );
        for step in ran.run["steps"].as_array().unwrap() {
            let errors: u64 = step["errors"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|error| error["count"].as_u64())
                .sum();
            assert_eq!(count(step, "failed"), errors, "{step}");
        }
        ran
    }
}

impl Ran {
    fn flows(&self, part: &str) -> u64 {
        self.run["accounting"][part].as_u64().unwrap()
    }

    fn step(&self, name: &str) -> &Value {
        let steps = self.run["steps"].as_array().unwrap();
        steps.iter().find(|step| step["name"] == name).unwrap()
    }

    /// The failures of a step, which must all be of one class: how many, and the first message.
    fn failures(&self, step: &str, class: &str) -> (u64, String) {
        let errors = self.step(step)["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{errors:?}\n{}", stderr(&self.output));
        assert_eq!(errors[0]["class"], class, "{errors:?}");
        (
            errors[0]["count"].as_u64().unwrap(),
            errors[0]["example"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// Everything completed; how much.
    fn all_completed(&self) -> u64 {
        assert_eq!(
            self.flows("scheduled"),
            self.flows("completed"),
            "{}",
            self.run["steps"][0]["errors"]
        );
        assert!(self.flows("completed") > 0);
        self.flows("completed")
    }
}

fn count(step: &Value, outcome: &str) -> u64 {
    step["service_time"][outcome]["count"].as_u64().unwrap_or(0)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One step `GET /` of two users for a second; what is given goes to the target's address, its keys, and the step's.
fn get(address: &str, target: &str, step: &str) -> String {
    format!(
        "name = \"targets\"\n[target.t]\nhttp = \"{address}\"\n{target}\n[load]\nusers = 2\nduration = \"1s\"\ndrain = \"5s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nget = \"/\"\n{step}\n"
    )
}

fn http(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

/// The given flows, performed so many times by so many users.
fn flows(target: &str, users: usize, iterations: usize, flows: &str) -> String {
    format!("name = \"targets\"\n[target.t]\n{target}\n[load]\nusers = {users}\niterations = {iterations}\n{flows}")
}

#[test]
fn https_completes_with_its_own_authority_or_with_none_at_all() {
    let (config, authority) = certificate();
    let server = Server::secure(config);
    let address = format!("https://127.0.0.1:{}", server.port);
    let trusting = Place::new(&get(&address, "ca = \"authority.pem\"", ""));
    fs::write(trusting.path().join("authority.pem"), authority).unwrap();
    let completed = trusting.run().all_completed();
    assert_eq!(server.requests() as u64, completed);
    Place::new(&get(&address, "insecure = true", "")).run().all_completed();
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_run_before_any_load() {
    let (config, _) = certificate();
    let server = Server::secure(config);
    let address = format!("https://127.0.0.1:{}", server.port);
    let unknown = Place::new(&get(&address, "", "")).output();
    assert_eq!(unknown.status.code(), Some(4));
    for part in [address.as_str(), "target \"t\"", "certificate: UnknownIssuer", "ca = "] {
        assert!(
            stderr(&unknown).contains(part),
            "{part} is missing in: {}",
            stderr(&unknown)
        );
    }

    // The authority is known, the name is another.
    let (config, authority) = certificate();
    let server = Server::secure(config);
    let place = Place::new(&get(
        &format!("https://localhost:{}", server.port),
        "ca = \"authority.pem\"",
        "",
    ));
    fs::write(place.path().join("authority.pem"), authority).unwrap();
    let misnamed = place.output();
    assert_eq!(misnamed.status.code(), Some(4));
    assert!(
        stderr(&misnamed).contains("not valid for name \"localhost\""),
        "{}",
        stderr(&misnamed)
    );
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_file_without_certificates_is_a_mistake_in_the_scenario() {
    let place = Place::new(&get("https://127.0.0.1:1", "ca = \"empty.pem\"", ""));
    fs::write(place.path().join("empty.pem"), "nothing\n").unwrap();
    let output = place.output();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("empty.pem: holds no certificate"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_handshake_that_fails_under_load_is_counted() {
    let (config, _) = certificate();
    let server = Server::start(move |connection, number| match number {
        // The probe before the load.
        0 => drop(connection.secured(&config).request()),
        _ => {
            let mut connection = connection;
            connection.send(b"not a handshake");
            connection.hang();
        }
    });
    let ran = Place::new(&get(
        &format!("https://127.0.0.1:{}", server.port),
        "insecure = true",
        "",
    ))
    .run();
    assert!(ran.failures("s", "tls").0 > 0);
    assert_eq!(ran.output.status.code(), Some(4));
}

#[test]
fn garbage_is_a_breach_of_protocol_wherever_it_stands() {
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n";
    for garbage in ["\u{1}\u{2} what?\r\n\r\n", chunks] {
        let server = Server::answering(|_| garbage.to_owned());
        let ran = Place::new(&get(&http(&server), "", "")).run();
        assert_eq!(ran.failures("s", "protocol").0, server.requests() as u64, "{garbage:?}");
    }
}

#[test]
fn a_lost_connection_is_counted_and_nothing_is_sent_twice() {
    let reset = Server::start(|connection, _| connection.reset());
    let ran = Place::new(&get(&http(&reset), "", "")).run();
    assert!(ran.failures("s", "disconnected").0 > 0);

    let closed = Server::start(|connection, _| drop(connection));
    let ran = Place::new(&get(&http(&closed), "", "")).run();
    assert!(ran.failures("s", "disconnected").0 > 0);

    let unanswered = Server::start(|mut connection, _| drop(connection.request()));
    let ran = Place::new(&get(&http(&unanswered), "", "")).run();
    assert_eq!(ran.failures("s", "disconnected").0, unanswered.requests() as u64);

    let halfway = Server::start(|mut connection, _| {
        connection.request();
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    });
    let ran = Place::new(&get(&http(&halfway), "", "")).run();
    assert_eq!(ran.failures("s", "disconnected").0, halfway.requests() as u64);
}

#[test]
fn a_silent_server_costs_its_session_the_timeout_and_no_other() {
    let server = Server::start(|mut connection, number| match number {
        // 0 is the probe; 1 is one of the two users, whose next connection works.
        1 => connection.hang(),
        _ => {
            while connection.request().is_some() {
                connection.send(ok("hello").as_bytes());
            }
        }
    });
    let ran = Place::new(&get(&http(&server), "", "timeout = \"400ms\"")).run();
    let (timeouts, message) = ran.failures("s", "timeout");
    assert_eq!((timeouts, message.as_str()), (1, "no answer within 400 ms"));
    let failed = &ran.step("s")["service_time"]["failed"];
    assert!(failed["sum_ns"].as_u64().unwrap() >= 400_000_000, "{failed}");
    assert_eq!(ran.flows("completed"), server.requests() as u64);
    assert!(ran.flows("completed") > 50);
}

#[test]
fn an_answer_byte_by_byte_is_an_answer() {
    let server = Server::start(|mut connection, _| {
        while connection.request().is_some() {
            connection.send_slowly(ok("{\"id\": 7}").as_bytes());
        }
    });
    let ran = Place::new(&get(&http(&server), "", "expect = { json = { \"$.id\" = 7 } }")).run();
    assert_eq!(ran.all_completed(), server.requests() as u64);
}

/// Announces to keep the connection and closes it.
fn closing() -> Server {
    Server::start(|mut connection, _| {
        connection.request();
        connection.send(ok("hello").as_bytes());
    })
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    let server = closing();
    let scenario = get(&http(&server), "", "[[flow.step]]\npause = \"20ms\"");
    let ran = Place::new(&scenario).run();
    assert_eq!(ran.all_completed(), server.requests() as u64);
    // All but the two that were made ahead.
    let connects = ran.step("s")["connect"]["count"].as_u64().unwrap();
    assert_eq!(connects, ran.flows("completed") - 2);
}

#[test]
fn a_connection_closed_under_a_request_fails_it_and_the_request_is_not_repeated() {
    let server = closing();
    let ran = Place::new(&get(&http(&server), "", "")).run();
    // The server answers all it reads, so what failed it has not seen.
    assert_eq!(ran.flows("completed"), server.requests() as u64);
    let errors = ran.step("s")["errors"].as_array().unwrap();
    assert!(
        errors.iter().all(|error| error["class"] == "disconnected"),
        "{errors:?}"
    );
}

#[test]
fn a_body_without_end_is_too_large() {
    let server = Server::start(|mut connection, _| {
        if connection.request().is_some() {
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n");
            let zeros = vec![0; 1 << 20];
            while std::io::Write::write_all(&mut connection.stream, &zeros).is_ok() {}
        }
    });
    let ran = Place::new(&get(&http(&server), "", "")).run();
    assert_eq!(ran.failures("s", "too large").0, server.requests() as u64);
}

#[test]
fn answers_are_judged_by_what_the_steps_expect_and_saved_for_the_next() {
    let server = Server::answering(|path| match path {
        "/order" => ok(r#"{"items": [{"id": 42}], "state": "open"}"#),
        "/item/42" => ok("the item"),
        "/broken" => answer("500 Internal Server Error", "no stock left"),
        "/absent" => answer("404 Not Found", "absent"),
        _ => ok("plain"),
    });
    let steps = [
        (
            "order",
            "/order",
            "expect = { status = 200, body_contains = \"open\", json = { \"$.state\" = \"open\" } }\nsave = { id = \"$.items[0].id\" }",
        ),
        ("broken", "/broken", ""),
        ("absent", "/absent", "expect = { status = [200, 404] }"),
        ("plain", "/plain", "expect = { status = 201 }"),
        ("text", "/order", "expect = { body_contains = \"shut\" }"),
        ("json", "/order", "expect = { json = { \"$.state\" = \"shut\" } }"),
        ("nowhere", "/order", "save = { lost = \"$.items[1].id\" }"),
        ("no json", "/plain", "save = { none = \"$.id\" }"),
    ];
    let text = steps.map(|(name, path, keys)| {
        format!("[[flow]]\nname = \"{name}\"\n[[flow.step]]\nname = \"{name}\"\nget = \"{path}\"\n{keys}\n")
    });
    let [order, others @ ..] = text;
    let item = "[[flow.step]]\nname = \"item\"\nget = \"/item/{{ id }}\"\nexpect = { body_contains = \"the item\" }\n";
    let target = format!("http = \"{}\"", http(&server));
    let ran = Place::new(&flows(&target, 4, 400, &format!("{order}{item}{}", others.concat()))).run();

    assert_eq!(ran.flows("scheduled"), 400);
    let orders = count(ran.step("order"), "completed");
    assert!(orders > 0);
    assert_eq!(count(ran.step("item"), "completed"), orders);
    for fine in ["order", "item", "absent"] {
        assert_eq!(ran.step(fine)["errors"], Value::Array(Vec::new()), "{fine}");
    }
    let example = |step, class| ran.failures(step, class).1;
    assert_eq!(example("broken", "http 500"), "no stock left");
    assert_eq!(example("plain", "http 200"), "plain");
    assert!(example("text", "expectation").contains("does not contain \"shut\""));
    assert_eq!(
        example("json", "expectation"),
        "expected \"shut\" at $.state in the answer, found \"open\""
    );
    assert_eq!(
        example("nowhere", "extraction"),
        "nothing to save as \"lost\" (JSON path $.items[1].id): not in the answer"
    );
    assert_eq!(
        example("no json", "extraction"),
        "nothing to save as \"none\" (JSON path $.id): the answer is not JSON"
    );
    assert_eq!(ran.flows("failed") + ran.flows("completed"), 400);
    assert_eq!(server.requests() as u64, 400 + orders);
}

#[test]
fn iterations_are_performed_exactly_however_many_users_share_them() {
    let server = Server::answering(|_| ok("hello"));
    let target = format!("http = \"{}\"", http(&server));
    let step = |name| format!("[[flow.step]]\nname = \"{name}\"\nget = \"/\"\n");
    let flow = format!("[[flow]]\nname = \"f\"\n{}{}", step("a"), step("b"));
    let ran = Place::new(&flows(&target, 50, 7, &flow)).run();
    assert_eq!((ran.all_completed(), server.requests()), (7, 14));

    // What a warm-up leaves under way does not count into the window.
    let warmed = flows(&target, 3, 500, &flow).replace("iterations", "warm_up = \"300ms\"\niterations");
    let ran = Place::new(&warmed).run();
    assert_eq!(ran.all_completed(), 500);
    assert_eq!(["a", "b"].map(|name| count(ran.step(name), "completed")), [500, 500]);
    assert!(server.requests() > 14 + 1000);
}

#[test]
fn arrivals_that_find_no_session_are_dropped_and_those_without_answer_unfinished() {
    let server = Server::start(|mut connection, _| {
        connection.request();
        connection.hang();
    });
    let open = "rate = \"50/s\"\nmax_in_flight = 2\nqueue = 3\nduration = \"1s\"\ndrain = \"200ms\"";
    let closed = "users = 2\nduration = \"1s\"\ndrain = \"5s\"";
    let ran = Place::new(&get(&http(&server), "", "").replace(closed, open)).run();
    assert_eq!(ran.flows("scheduled"), 50);
    assert_eq!(
        (ran.flows("unfinished"), ran.flows("dropped"), server.requests()),
        (2, 48, 2)
    );
}

/// A database with a table `a` and a table `b` that holds 1 and takes no other 1.
fn database(place: &Place) -> Database {
    let database = Database::open(place.path().join("t.db")).unwrap();
    database
        .execute_batch("CREATE TABLE a (x); CREATE TABLE b (x UNIQUE); INSERT INTO b VALUES (1)")
        .unwrap();
    database
}

/// Flows of one step each.
fn sqlite(path: &Path, iterations: usize, steps: &[(&str, &str)]) -> String {
    let text: String = steps
        .iter()
        .map(|(name, keys)| format!("[[flow]]\nname = \"{name}\"\n[[flow.step]]\nname = \"{name}\"\n{keys}\n"))
        .collect();
    flows(&format!("sqlite = \"{}\"", path.display()), 1, iterations, &text)
}

/// A place with a database and a scenario on it.
fn with_database(iterations: usize, steps: &[(&str, &str)]) -> (Place, Database) {
    let place = Place::new("");
    let database = database(&place);
    let scenario = sqlite(&place.path().join("t.db"), iterations, steps);
    fs::write(place.path().join("scenario.toml"), scenario).unwrap();
    (place, database)
}

#[test]
fn a_missing_database_is_told_and_not_created() {
    let place = Place::new("");
    let path = place.path().join("missing.db");
    fs::write(
        place.path().join("scenario.toml"),
        sqlite(&path, 1, &[("s", "sql = \"SELECT 1\"")]),
    )
    .unwrap();
    let output = place.output();
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains(path.to_str().unwrap()), "{}", stderr(&output));
    assert!(!path.exists());
}

#[test]
fn a_statement_that_does_not_prepare_is_a_mistake_in_the_scenario() {
    let (place, _database) = with_database(1, &[("s", "sql = \"SELEC 1\"")]);
    let output = place.output();
    assert_eq!(output.status.code(), Some(2));
    for part in ["SELEC 1", "syntax error", "target \"t\""] {
        assert!(
            stderr(&output).contains(part),
            "{part} is missing in: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_lock_is_waited_for_and_then_told() {
    let keys = "sql = \"INSERT INTO a VALUES (1)\"\ntimeout = \"400ms\"";
    let (place, database) = with_database(2, &[("s", keys)]);
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ran = place.run();
    let (locked, message) = ran.failures("s", "sqlite 5");
    assert_eq!((locked, message.as_str()), (2, "database is locked"));
    database.execute_batch("ROLLBACK").unwrap();

    // Released while it waits.
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    fs::write(
        place.path().join("scenario.toml"),
        sqlite(&place.path().join("t.db"), 2, &[("s", &keys.replace("400ms", "9s"))]),
    )
    .unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(1500));
            database.execute_batch("ROLLBACK").unwrap();
        });
        assert_eq!(place.run().all_completed(), 2);
    });
}

#[test]
fn a_statement_that_nobody_waits_for_any_more_makes_way_for_others() {
    let endless = "sql = \"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n\"\ntimeout = \"100ms\"";
    let (place, _database) = with_database(
        16,
        &[("endless", endless), ("short", "sql = \"SELECT 1\"\ntimeout = \"5s\"")],
    );
    let ran = place.run();
    let (timeouts, _) = ran.failures("endless", "timeout");
    assert!(timeouts > 0);
    assert_eq!(count(ran.step("short"), "completed"), 16 - timeouts);
}

#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    let broken = "transaction = [{ sql = \"INSERT INTO a VALUES (1)\" }, { sql = \"INSERT INTO b VALUES (1)\" }]";
    let whole = "transaction = [{ sql = \"INSERT INTO a VALUES (2)\" }, { sql = \"DELETE FROM b WHERE x = 3\" }]";
    let returning = "sql = \"UPDATE b SET x = x RETURNING x\"\nexpect = { rows = 1, affected = 1 }";
    let (place, database) = with_database(30, &[("broken", broken), ("whole", whole), ("returning", returning)]);
    let ran = place.run();
    assert!(ran.failures("broken", "sqlite 2067").1.contains("UNIQUE"));
    let rows = |x| {
        database
            .query_row("SELECT count(*) FROM a WHERE x = ?1", [x], |row| row.get::<_, i64>(0))
            .unwrap() as u64
    };
    assert_eq!(rows(1), 0);
    assert_eq!(rows(2), count(ran.step("whole"), "completed"));
    assert_eq!(ran.step("returning")["errors"], Value::Array(Vec::new()));
}
