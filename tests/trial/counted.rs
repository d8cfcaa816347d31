//! What the census counts besides statements: transactions, sessions opened, plans made.

use hyper::Response;
use serde_json::{Value, json};

use super::{
    Slots, Told, address,
    support::{
        postgres::{Postgres, installed, query},
        program::Desk,
        web::Web,
    },
};

const PROTOCOLS: &str = r#"
name = "protocols"
[target.db]
postgres = "ephemeral"
[load]
users = 1
duration = "200ms"
[trial]
epochs = 1
slice = "100ms"
census = 3
[data.number]
uniform = { from = 1, to = 1000 }
[[flow]]
name = "read"
[[flow.step]]
name = "one"
sql = "SELECT $1::int + 1 AS next"
params = ["{{ number }}"]
[[flow.step]]
name = "three"
transaction = [{ sql = "SELECT 1 AS a" }, { sql = "SELECT 2 AS a" }, { sql = "SELECT 3 AS a" }]
[[flow.step]]
name = "written out"
statements = [{ sql = "BEGIN" }, { sql = "SELECT 1 AS a" }, { sql = "SELECT 2 AS a" }, { sql = "COMMIT" }]
[[variant]]
name = "prepared"
[[variant]]
name = "extended"
target.db.protocol = "extended"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "one"
sql = "SELECT $1::int + 1 AS next"
params = ["{{ number }}"]
[[variant.flow.step]]
name = "three"
statements = [{ sql = "SELECT 1 AS a" }, { sql = "SELECT 2 AS a" }, { sql = "SELECT 3 AS a" }]
[[variant.flow.step]]
name = "written out"
statements = [{ sql = "BEGIN" }, { sql = "SELECT 1 AS a" }, { sql = "SELECT 2 AS a" }, { sql = "COMMIT" }]
[[threshold]]
step = "one"
metric = "plans_per_operation"
critical = "+0"
[[threshold]]
step = "three"
metric = "transactions_per_operation"
critical = "+0"
[[threshold]]
metric = "sessions_per_operation"
critical = "+0"
"#;

/// The verdict of that variant's threshold on that metric.
fn verdict<'t>(told: &'t Told, metric: &str) -> &'t Value {
    let comparisons = told.report["comparisons"].as_array().unwrap();
    let found = comparisons.iter().find(|judged| judged["metric"] == metric);
    &found.unwrap_or_else(|| panic!("{metric}: {comparisons:?}"))["verdict"]
}

#[test]
fn what_is_planned_each_time_and_committed_one_by_one_is_counted() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = Told::of(&Desk::with_scenario(PROTOCOLS), "scenario.toml", &[]).exits(3);
    for (variant, plans) in [("prepared", 0.0), ("extended", 1.0)] {
        assert_eq!(told.counted(variant, "one", "plans_per_operation"), plans);
        assert_eq!(told.counted(variant, "one", "transactions_per_operation"), 1.0);
        assert_eq!(told.counted(variant, "one", "sessions_per_operation"), 0.0);
        assert_eq!(told.counted(variant, "written out", "transactions_per_operation"), 1.0);
        assert_eq!(told.counted(variant, "written out", "queries_per_operation"), 2.0);
    }
    assert_eq!(told.counted("prepared", "three", "transactions_per_operation"), 1.0);
    assert_eq!(told.counted("extended", "three", "transactions_per_operation"), 3.0);
    assert_eq!(verdict(&told, "plans_per_operation"), "critical");
    assert_eq!(verdict(&told, "transactions_per_operation"), "critical");
    assert_eq!(verdict(&told, "sessions_per_operation"), "pass");
    gained_by_each(&told);
    assert!(told.page.contains("plans made per operation") && told.page.contains("transactions per operation"));
}

/// What the counters of each variant's database gained while load ran, to its end.
fn gained_by_each(told: &Told) {
    let activity = told.report["activity"].as_array().unwrap();
    assert_eq!(activity.len(), 2, "{activity:?}");
    for (seen, variant) in activity.iter().zip(["prepared", "extended"]) {
        assert_eq!((&seen["variant"], &seen["target"]), (&json!(variant), &json!("db")));
        let seen = &seen["activity"];
        assert_eq!(seen["unavailable"], json!(null), "{seen}");
        let transactions = |step| {
            let counted = told.counted(variant, step, "transactions_per_operation");
            told.step(variant, step)["count"].as_f64().unwrap() * counted
        };
        // Lead-ins come on top, and what was prepared.
        let loaded: f64 = ["one", "three", "written out"].into_iter().map(transactions).sum();
        assert!(seen["database"]["xact_commit"].as_f64().unwrap() > loaded, "{seen}");
        assert!(seen["database"]["sessions"].as_f64().unwrap() >= 1.0, "{seen}");
    }
    assert!(told.page.contains("Counters gained: "));
}

/// A service on that database, beside loadgate.
fn service(web: &Web, address: &str) -> Desk {
    Desk::with_scenario(&format!(
        r#"
name = "a service"
[target.api]
http = "http://127.0.0.1:{port}"
[target.db]
postgres = "{address}"
[load]
users = 1
duration = "100ms"
[trial]
census = 3
[[flow]]
name = "ask"
[[flow.step]]
name = "ask"
target = "api"
get = "/"
{LIMITS}"#,
        port = web.port,
    ))
}

const LIMITS: &str = r#"
[[threshold]]
metric = "sessions_per_operation"
critical = "0.5"
[[threshold]]
metric = "transactions_per_operation"
critical = "5"
"#;

#[test]
fn a_service_that_connects_for_every_request_is_found_out() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE DATABASE shop");
    let address = address(&server, "shop");
    let asked = address.clone();
    let web = Web::start(None, move |_| {
        let address = asked.clone();
        // One simple query with two statements is one transaction.
        let twice = || {
            query(&address, "SELECT 1").unwrap();
            query(&address, "SELECT 2; SELECT 3").unwrap();
        };
        std::thread::scope(|scope| scope.spawn(twice).join().unwrap());
        Response::new("done".into())
    });
    let desk = service(&web, &address);
    let told = Told::of(&desk, "scenario.toml", &[]).exits(3);
    let counters = &told.report["steps"][0]["counters"];
    assert_eq!(counters["sessions_per_operation"]["exact"], true, "{counters}");
    assert_eq!(counters["sessions_per_operation"]["low"], 2.0, "{counters}");
    assert_eq!(counters["transactions_per_operation"]["exact"], true, "{counters}");
    assert_eq!(counters["transactions_per_operation"]["low"], 2.0, "{counters}");
    assert_eq!(verdict(&told, "sessions_per_operation"), "critical");
    assert_eq!(verdict(&told, "transactions_per_operation"), "pass");
}

#[test]
fn transactions_of_sessions_that_stay_open_are_not_guessed() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    server.sql("CREATE DATABASE shop");
    let address = address(&server, "shop");
    let asked = address.clone();
    let web = Web::start(None, move |_| {
        let address = asked.clone();
        std::thread::scope(|scope| scope.spawn(|| query(&address, "SELECT 1").unwrap()).join().unwrap());
        Response::new("done".into())
    });
    let desk = service(&web, &address);
    // Somebody stays connected.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let staying = runtime.block_on(async {
        let (client, wire) = tokio_postgres::connect(&address, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(wire);
        client
    });
    let told = Told::of(&desk, "scenario.toml", &[]).exits(3);
    drop(staying);
    let counters = &told.report["steps"][0]["counters"];
    assert_eq!(counters["sessions_per_operation"]["low"], 1.0, "{counters}");
    assert_eq!(counters["transactions_per_operation"], json!(null));
    assert!(told.page.contains("sessions stay open"));
    let reasons = told.report["reasons"].to_string();
    assert!(
        reasons.contains("transactions per operation cannot be judged: transactions in target"),
        "{reasons}"
    );
}
