//! The experiments on connections: how many are made, and what a pool of so many can carry.

use serde_json::Value;

use super::{Slots, Told, experiments::experiment, support::postgres::installed};

/// The pool of that variant in `report.json`.
#[track_caller]
fn pool<'t>(told: &'t Told, variant: &str) -> &'t Value {
    let mut pools = told.report["pools"].as_array().unwrap().iter();
    pools
        .find(|pool| pool["variant"] == variant)
        .unwrap_or_else(|| panic!("no pool in \"{variant}\": {}", told.ended.printed()))
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Microseconds of a latency of the step, as seconds.
#[track_caller]
fn mean(step: &Value, latency: &str) -> f64 {
    number(&step[latency]["mean"]) / 1e6
}

#[track_caller]
fn about(value: f64, expected: f64, share: f64, what: &str) {
    let off = (value / expected - 1.0).abs();
    assert!(off <= share, "{what}: {value}, expected {expected} within {share}");
}

#[test]
fn e22_a_pool_carries_as_much_as_arithmetic_says() {
    if !installed() {
        return;
    }
    // Times are looked at, though such as need no CPU.
    let _slot = Slots::all();
    let told = experiment(
        "e22-pool-size.toml",
        &[
            "load.duration=12s",
            "trial.epochs=1",
            "trial.slice=3s",
            "trial.census=1",
        ],
    );
    let users: f64 = 16.0;
    for connections in [1.0_f64, 2.0, 5.0, 20.0] {
        let variant = connections.to_string();
        let step = told.step(&variant, "40 ms");
        let throughput = number(&step["throughput_per_s"]);
        about(
            throughput,
            users.min(connections) / 0.040,
            0.05,
            &format!("pool of {variant}"),
        );
        let busy = mean(step, "execute") + mean(step, "fetch");
        let wait = mean(step, "acquire");
        if connections < users {
            about(wait, users / throughput - busy, 0.1, &format!("wait with {variant}"));
        } else {
            assert!(wait < 0.01, "{wait}");
        }
        let pool = pool(&told, &variant);
        assert_eq!(number(&pool["limits"]["max"]), connections);
        assert!(number(&pool["database.pool.connections.used"]) <= connections, "{pool}");
        let made = number(&pool["events"]["create_success"]);
        assert!(made <= connections, "{made}");
        assert_eq!(pool["events"]["destroy_success"], pool["events"]["create_success"]);
        assert_eq!(pool["events"]["acquire_fail"], 0);
    }
    assert_eq!(pool(&told, "1")["database.pool.health"], "degraded");
    assert!(told.page.contains("Pools of connections"));
    assert!(told.ended.stdout.contains("used at most"), "{}", told.ended.stdout);
}

#[test]
fn e21_a_connection_per_operation_is_one_session_each_and_a_pool_makes_none() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment(
        "e21-connect-per-op.toml",
        &[
            "load.duration=3s",
            "trial.epochs=2",
            "trial.slice=250ms",
            "trial.census=3",
        ],
    );
    let step = |variant| told.step(variant, "next number");
    for (variant, sessions) in [("per operation", 1.0), ("pool", 0.0), ("own", 0.0)] {
        assert_eq!(told.counted(variant, "next number", "sessions_per_operation"), sessions);
        assert_eq!(step(variant)["errors"], serde_json::json!({}), "{variant}");
        let [count, connects] = [&step(variant)["count"], &step(variant)["connect"]["count"]].map(number);
        // A pool makes some when many ask at once.
        let most = if variant == "pool" { 20.0 } else { count * sessions };
        assert!(
            count > 20.0 && connects >= count * sessions && connects <= most,
            "{variant}: {connects} of {count}"
        );
    }
    assert_eq!(
        step("per operation")["connect"]["count"],
        step("per operation")["count"]
    );
    let connecting = number(&step("per operation")["connect"]["p50"]);
    let asking = number(&step("own")["response_time"]["p50"]);
    assert!(connecting > asking, "{connecting} µs to connect, {asking} µs to ask");
    assert_eq!(number(&step("own")["acquire"]["count"]), 0.0);
    assert_eq!(step("pool")["acquire"]["count"], step("pool")["count"]);
    let events = &pool(&told, "pool")["events"];
    assert!(number(&events["create_success"]) <= 2.0 * 20.0, "{events}");
    assert!(told.page.contains("acquire") && told.page.contains("execute"));
}
