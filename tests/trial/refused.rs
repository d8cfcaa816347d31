//! Trials that cannot be: told before anything is started, with the mend.

use std::fs;

use super::{
    Slots, Told, address,
    support::{
        postgres::{Postgres, installed},
        program::Desk,
    },
};

const TARGET: &str = "[target.db]\nsqlite = \"ephemeral\"\n";

const LOAD: &str = "[load]\nusers = 1\nduration = \"1s\"\n";

const FLOW: &str = "[[flow]]\nname = \"read\"\n[[flow.step]]\nname = \"read\"\nsql = \"SELECT 1\"\n";

const BEFORE: &str = "[[variant]]\nname = \"before\"\n";

const AFTER: &str = "[[variant]]\nname = \"after\"\n";

/// A scenario of these parts is refused (exit 2), and all of this is said.
#[track_caller]
fn refused(parts: &[&str], said: &[&str]) {
    let desk = Desk::with_scenario(&format!("name = \"refused\"\n{}", parts.concat()));
    let told = Told::of(&desk, "scenario.toml", &[]).exits(2);
    for text in said {
        assert!(told.ended.stderr.contains(text), "{text}:\n{}", told.ended.stderr);
    }
    assert!(!desk.path().join("out/run.json").exists());
}

#[test]
fn a_variant_alone_is_none() {
    refused(
        &[TARGET, LOAD, FLOW, BEFORE],
        &["one variant alone", "scenario.toml:12:", "add a second [[variant]]"],
    );
}

#[test]
fn two_variants_of_one_name_cannot_be_told_apart() {
    refused(
        &[TARGET, LOAD, FLOW, BEFORE, BEFORE],
        &[
            "two variants are called \"before\"",
            "scenario.toml:15:",
            "must be unique",
        ],
    );
}

#[test]
fn load_that_changes_cannot_be_cut_into_slices() {
    let keys = [
        ("stages", "stages = [{ duration = \"1s\", users = 2 }]\n"),
        ("iterations", "iterations = 10\n"),
        ("ramp", "ramp = \"1s\"\n"),
        (
            "abort_when",
            "abort_when = [{ metric = \"error_rate\", limit = \"50%\", for = \"10s\" }]\n",
        ),
    ];
    for (key, line) in keys {
        let load = format!(
            "[load]\nusers = 1\n{}{line}",
            if key == "ramp" { "duration = \"1s\"\n" } else { "" }
        );
        refused(
            &[TARGET, &load, FLOW, BEFORE, AFTER],
            &[&format!("`{key}`"), "a scenario without variants"],
        );
    }
}

#[test]
fn what_one_variant_does_no_other_may_see() {
    let shared = "[target.db]\npostgres = \"postgres://postgres@127.0.0.1:1/shop\"\n";
    let setup = "setup.db = \"CREATE INDEX i ON t (n)\"\nrollback.db = \"DROP INDEX i\"\n";
    refused(
        &[shared, LOAD, FLOW, BEFORE, AFTER, setup],
        &[
            "all variants use the same database \"db\"",
            "scenario.toml:16:",
            "give each variant a database of its own: postgres = \"ephemeral\"",
        ],
    );
    let other = "target.db.postgres = \"postgres://postgres@127.0.0.1:1/other\"\n";
    let without = "setup.db = \"CREATE INDEX i ON t (n)\"\n";
    refused(
        &[shared, LOAD, FLOW, BEFORE, AFTER, other, without],
        &[
            "a setup that would stay on a server of yours",
            "add rollback = { db = \"…\" }",
        ],
    );
}

#[test]
fn sql_that_is_wrong_is_told_with_its_line() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let target = "[target.db]\npostgres = \"ephemeral\"\n";
    let setup =
        "setup.db = \"\"\"\nCREATE TABLE t (n int);\n-- the next one is wrong\nCREATE INDX i ON t (n);\n\"\"\"\n";
    let said = &["scenario.toml:19: ", "syntax error at or near \"INDX\""];
    refused(&[target, LOAD, FLOW, BEFORE, AFTER, setup], said);
    let one_line = "setup.db = \"CREATE INDX i ON t (n)\"\n";
    let said = &["scenario.toml:16: ", "syntax error at or near \"INDX\""];
    refused(&[target, LOAD, FLOW, BEFORE, AFTER, one_line], said);

    let fixture = "fixture = \"shop\"\n[fixture.shop]\nsql = \"shop.sql\"\n";
    let desk = Desk::with_scenario(&[&format!("name = \"x\"\n{target}{fixture}"), LOAD, FLOW, BEFORE, AFTER].concat());
    fs::write(
        desk.path().join("shop.sql"),
        "CREATE TABLE t (n int);\n\nINSERT INTO t VALUES (1;\n",
    )
    .unwrap();
    let told = Told::of(&desk, "scenario.toml", &[]).exits(2);
    let told = &told.ended.stderr;
    assert!(told.contains("shop.sql:3: syntax error at or near"), "{told}");
}

#[test]
fn a_server_without_room_for_all_sessions_is_told_before_anything_is_made() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    let scenario = |users| {
        format!(
            r#"
name = "no room"
[target.db]
postgres = "{address}"
[load]
users = {users}
duration = "200ms"
[trial]
epochs = 1
census = 0
[[flow]]
name = "read"
[[flow.step]]
name = "read"
sql = "SELECT 1"
[[variant]]
name = "one"
[[variant]]
name = "two"
target.db.postgres = "{other}"
[[threshold]]
metric = "error_rate"
critical = "90%"
"#,
            address = server.url(),
            other = address(&server, "template1"),
        )
    };
    let told = Told::of(&Desk::with_scenario(&scenario(30)), "scenario.toml", &[]).exits(4);
    let said = &told.ended.stderr;
    for part in [
        "the server of target \"db\" has room for ",
        " more connections (max_connections is 50, 0 are reserved, ",
        "the load makes 60 (30 for each of 2 variants): lower load.users, or raise max_connections",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let mut told = Told::of(&Desk::with_scenario(&scenario(10)), "scenario.toml", &[]);
    told = told.exits(0);
    assert_eq!(told.incidents(), &serde_json::json!([]));
}
