//! What ways to send statements cost, counted; and caches in front of steps.

use std::fs;

use serde_json::json;

use super::{
    Slots, Told, run_command,
    support::{postgres::installed, program::Desk},
    with_cache,
};

const SHOP: &str = "
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id integer PRIMARY KEY, customer integer NOT NULL, total integer NOT NULL);
INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Edsger');
INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20), (3, 3, 30), (4, 1, 40), (5, 2, 50);
";

const FAN_OUT: &str = r#"
name = "fan-out"
[target.db]
TARGET
fixture = "shop"
[fixture.shop]
sql = "shop.sql"
[load]
users = 1
duration = "200ms"
[trial]
epochs = 1
slice = "100ms"
census = 3
[[variant]]
name = "one by one"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "orders"
sql = "SELECT id, customer FROM orders ORDER BY id"
for_each = { sql = "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = $1", params = ["{{ row.id }}"] }
[[variant]]
name = "at once"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "orders"
sql = "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer ORDER BY o.id"
[[variant]]
name = "in one go"
PIPELINED
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "orders"
sql = "SELECT id, customer FROM orders ORDER BY id"
for_each = { sql = "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = $1", params = ["{{ row.id }}"] }
[[threshold]]
metric = "queries_per_operation"
critical = "+0"
"#;

fn fan_out(target: &str, pipelined: &str) -> Told {
    let scenario = FAN_OUT.replace("TARGET", target).replace("PIPELINED", pipelined);
    let desk = Desk::with_scenario(&scenario);
    fs::write(desk.path().join("shop.sql"), SHOP).unwrap();
    Told::of(&desk, "scenario.toml", &[]).exits(0)
}

#[test]
fn a_fan_out_costs_a_query_for_every_row_and_one_more() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = fan_out("postgres = \"ephemeral\"", "target.db.protocol = \"pipelined\"");
    for (variant, queries, round_trips) in [("one by one", 6.0, 6.0), ("at once", 1.0, 1.0), ("in one go", 6.0, 2.0)] {
        let counted = |counter| told.counted(variant, "orders", counter);
        assert_eq!(counted("queries_per_operation"), queries, "{variant}");
        assert_eq!(counted("round_trips_per_operation"), round_trips, "{variant}");
        assert_eq!(counted("transactions_per_operation"), queries, "{variant}");
    }
    assert_eq!(told.report["equivalence"]["differences"], json!([]));
    assert_eq!(told.report["equivalence"]["compared"], json!(6));
}

#[test]
fn a_fan_out_on_sqlite_answers_as_its_join_does() {
    let _slot = Slots::one();
    let told = fan_out("sqlite = \"ephemeral\"", "");
    for (variant, queries) in [("one by one", 6.0), ("at once", 1.0)] {
        assert_eq!(told.counted(variant, "orders", "queries_per_operation"), queries);
        assert_eq!(told.counted(variant, "orders", "transactions_per_operation"), queries);
    }
    assert_eq!(told.report["equivalence"]["differences"], json!([]));
    assert_eq!(told.report["equivalence"]["compared"], json!(6));
}

/// The count is asked for when the load is over; the teardown says so where it is another.
#[test]
fn a_prepared_statement_is_planned_six_times_on_a_connection() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    for (protocol, users, plans) in [("prepared", 1, 6), ("prepared", 3, 18), ("extended", 1, 60)] {
        let desk = Desk::with_scenario(&format!(
            r#"
name = "plans"
[target.db]
postgres = "ephemeral"
protocol = "{protocol}"
fixture = "shop"
[fixture.shop]
sql = ["shop.sql", "extension.sql"]
[load]
users = {users}
iterations = 60
think = "5ms"
[data.id]
uniform = {{ from = 1, to = 5 }}
[[flow]]
name = "read"
[[flow.step]]
name = "order"
sql = "SELECT id, total FROM orders WHERE id = $1"
params = ["{{{{ id }}}}"]
[[teardown]]
name = "plans"
sql = "SELECT plans::int AS plans, calls::int AS calls FROM pg_stat_statements WHERE query LIKE 'SELECT id, total%' AND calls > 0"
expect = {{ json = {{ "$[0].calls" = 60, "$[0].plans" = {plans} }} }}
"#
        ));
        fs::write(desk.path().join("shop.sql"), SHOP).unwrap();
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;";
        fs::write(desk.path().join("extension.sql"), extension).unwrap();
        let told = Told::of(&desk, "scenario.toml", &[]).exits(0);
        assert_eq!(told.incidents(), &json!([]), "{protocol} {users}");
    }
}

const CACHED: &str = r#"
name = "cached"
[target.db]
sqlite = "ephemeral"
fixture = "shop"
[fixture.shop]
sql = "shop.sql"
[load]
users = 8
iterations = 400
[data.id]
uniform = { from = 1, to = 5 }
[[flow]]
name = "read"
[[flow.step]]
name = "order"
sql = "SELECT total FROM orders WHERE id = $1"
params = ["{{ id }}"]
cache = { key = "{{ id }}", ttl = "1h" }
save = { total = "$[0].total" }
[[flow.step]]
name = "the same"
sql = "SELECT 1 WHERE $1 = 10 * $2"
params = ["{{ total }}", "{{ id }}"]
expect = { rows = 1 }
"#;

#[test]
fn a_key_is_asked_for_once_and_answered_from_the_cache_then() {
    let desk = Desk::with_scenario(CACHED);
    fs::write(desk.path().join("shop.sql"), SHOP).unwrap();
    let told = Told::of(&desk, "scenario.toml", &[]).exits(0);
    let [cache] = told.report["caches"].as_array().unwrap().as_slice() else {
        panic!("{}", told.report)
    };
    assert_eq!((&cache["hits"], &cache["misses"]), (&json!(395), &json!(5)), "{cache}");
    assert_eq!(told.ended.stored().caches[0].hit_ratio(), Some(395.0 / 400.0));
    assert!(told.ended.stdout.contains("98.8 %"), "{}", told.ended.stdout);
    assert!(told.page.contains("<h3>Caches</h3>") && told.page.contains("98.8 %"));
    // A value saved from a hit is that of the key.
    assert_eq!(told.report["validity"]["completed"], json!(400));
}

#[test]
fn a_failure_is_not_kept() {
    let desk = Desk::with_scenario(&CACHED.replace("ttl = \"1h\" }", "ttl = \"1h\" }\nexpect = { rows = 2 }"));
    fs::write(desk.path().join("shop.sql"), SHOP).unwrap();
    let told = Told::of(&desk, "scenario.toml", &[]);
    let cache = &told.report["caches"][0];
    assert_eq!((&cache["hits"], &cache["misses"]), (&json!(0), &json!(400)), "{cache}");
}

/// What `--once` prints of a scenario on a copy of the shop.
fn once(scenario: &str) -> String {
    let desk = Desk::with_scenario(scenario);
    fs::write(desk.path().join("shop.sql"), SHOP).unwrap();
    let mut command = run_command(&desk, "scenario.toml", &[]);
    command.arg("--once");
    let ended = desk.ended(with_cache(command).output().unwrap());
    assert_eq!(ended.code, 0, "{}", ended.printed());
    ended.stdout
}

#[test]
fn once_shows_what_is_asked_past_a_cache_and_for_every_row() {
    let each = r#"
[[flow.step]]
name = "of each"
sql = "SELECT id FROM customers"
for_each = { sql = "SELECT id FROM orders WHERE customer = $1", params = ["{{ row.id }}"] }
"#;
    let told = once(&format!("{CACHED}{each}"));
    assert!(told.contains("cache: the key would be \""), "{told}");
    assert!(told.contains("> for each row: SELECT id FROM orders"), "{told}");
    assert!(told.contains("< 5 rows"), "{told}");
}

#[test]
fn once_shows_what_is_copied() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = once(
        r#"
name = "copied"
[target.db]
postgres = "ephemeral"
fixture = "shop"
[fixture.shop]
sql = "shop.sql"
[load]
users = 1
iterations = 1
[data.id]
sequence = { from = 100 }
[[flow]]
name = "write"
[[flow.step]]
name = "copy"
copy = { into = "orders (id, customer, total)", row = ["{{ id }}", 1, 5], times = 3 }
"#,
    );
    assert!(
        told.contains("> COPY orders (id, customer, total) FROM STDIN"),
        "{told}"
    );
    assert!(told.contains("> $1 = 100") && told.contains("> 3 such rows"), "{told}");
    assert!(told.contains("0 rows, 3 changed"), "{told}");
}
