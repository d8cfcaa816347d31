//! PgBouncer before a database: what works through it, what does not, and what it saves.

use std::{env, io::Write as _, path::Path};

use super::{
    Slots, Told,
    experiments::experiment,
    support::{
        postgres::installed,
        program::{Desk, errors, step},
    },
};

/// Whether it can be started here; where not it is said, and with `CI` set it fails.
fn has_pgbouncer() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = places.any(|directory| directory.join("pgbouncer").is_file());
    if !found {
        let missing = "pgbouncer was not found: run ci/test, which installs it";
        assert!(env::var_os("CI").is_none(), "{missing}");
        // Not eprintln, whose output the test harness swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED a test: {missing}");
    }
    found && installed()
}

fn pooled(bouncer: &str, sql: &str) -> Desk {
    Desk::with_scenario(&format!(
        r#"
name = "pooled"
[target.db]
postgres = "ephemeral"
[target.bouncer]
pgbouncer = "db"
{bouncer}
[load]
users = 4
iterations = 40
[[flow]]
name = "read"
[[flow.step]]
name = "read"
target = "bouncer"
sql = "{sql}"
"#
    ))
}

#[test]
fn what_names_no_statement_works_through_a_pool() {
    if !has_pgbouncer() {
        return;
    }
    let _slot = Slots::one();
    for protocol in ["extended", "simple"] {
        let bouncer = format!("protocol = \"{protocol}\"\nsettings = {{ default_pool_size = 2 }}\nlink = {{}}");
        let desk = pooled(&bouncer, "SELECT 1 AS a, pg_sleep(0.002)");
        let told = Told::of(&desk, "scenario.toml", &["trial.census=2"]).exits(0);
        let run = told.ended.stored();
        assert_eq!(step(&run, "read").response_time.completed.count(), 40);
        let target = run.targets.iter().find(|target| target.name == "bouncer").unwrap();
        assert_eq!(
            (target.kind.as_str(), target.address.as_str()),
            ("postgres", "PgBouncer before db")
        );
        assert!(!target.died);
        // The link is before the pooler, where the clients are; the server's own count is the same.
        let wire = run.links[0].wire.as_ref().unwrap();
        assert_eq!((wire.queries, wire.errors), (40 + 1, 0), "{wire:?}");
        let counters = &told.report["steps"][0]["counters"];
        assert_eq!(counters["queries_per_operation"]["low"], 1.0, "{counters}");
        assert_eq!(counters["sessions_per_operation"]["low"], 0.0, "{counters}");
    }
    assert_eq!(left_behind(), Vec::<String>::new());
}

/// Those of a loadgate that has ended, by their command lines.
fn left_behind() -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    let orphaned = |line: &String| {
        let (_, after) = line.split_once("loadgate-")?;
        let loadgate = after.split('-').next()?.parse::<u32>().ok()?;
        Some(!Path::new(&format!("/proc/{loadgate}")).exists())
    };
    lines
        .filter(|line| line.contains("pgbouncer.ini") && orphaned(line) == Some(true))
        .collect()
}

#[test]
fn e23_who_connects_for_every_operation_opens_no_sessions_through_pgbouncer() {
    if !has_pgbouncer() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment(
        "e23-pgbouncer-connect.toml",
        &[
            "load.duration=2s",
            "trial.epochs=1",
            "trial.slice=250ms",
            "trial.census=5",
        ],
    );
    for (variant, sessions) in [("direct", 1.0), ("through PgBouncer", 0.0)] {
        let step = told.step(variant, "facility by id");
        let counted = &step["counters"]["sessions_per_operation"];
        assert_eq!([&counted["low"], &counted["high"]], [sessions, sessions], "{variant}");
        // Both connect for every operation.
        assert_eq!(step["connect"]["count"], step["count"], "{variant}");
        assert_eq!(step["errors"], serde_json::json!({}), "{variant}");
    }
}

#[test]
fn prepared_statements_of_another_session_are_an_error_and_no_hang() {
    if !has_pgbouncer() {
        return;
    }
    let _slot = Slots::one();
    // Sessions of a pool are given to whoever comes: of those of 1.21 and later it can be asked to keep track.
    let bouncer = "timeout = \"20s\"";
    let told = Told::of(
        &pooled(bouncer, "SELECT pg_sleep(0.02)"),
        "scenario.toml",
        &["target.bouncer.protocol=prepared"],
    );
    let run = told.ended.stored();
    let failed = errors(step(&run, "read"));
    assert!(
        failed.iter().any(|(class, _)| class.contains("26000")),
        "{failed:?}\n{}",
        told.ended.printed()
    );
    assert!(run.duration_s < 15.0);
}

#[test]
fn a_setting_that_it_does_not_know_is_told_with_its_last_words() {
    if !has_pgbouncer() {
        return;
    }
    let _slot = Slots::one();
    let told = Told::of(
        &pooled("settings = { pool_mode = \"none such\" }", "SELECT 1 AS a"),
        "scenario.toml",
        &[],
    );
    assert!(told.ended.code != 0);
    let printed = told.ended.printed();
    assert!(
        printed.contains("target \"bouncer\"") && printed.contains("pool_mode"),
        "{printed}"
    );
}
