//! Targets that share load, and pools that flows do not share.

use serde_json::Value;

use super::{Slots, Told, support::postgres::installed, support::program::Desk};

/// How many operations went to each member of the group of that variant.
#[track_caller]
fn shares(told: &Told, variant: &str) -> Vec<u64> {
    let targets = told.report["targets"].as_array().unwrap();
    let group = targets
        .iter()
        .find(|target| target["variant"] == variant && target["members"].is_array())
        .unwrap_or_else(|| panic!("no group in \"{variant}\": {}", told.ended.printed()));
    let members = group["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| member["operations"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_group_in_turns_waits_for_its_slow_member_and_the_least_busy_does_not() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    // The same statement takes 2 ms on one server and, behind its link, 22 ms on the other.
    let desk = Desk::with_scenario(
        r#"
name = "replicas"
[target.near]
postgres = "ephemeral"
link = {}
[target.far]
postgres = "ephemeral"
link = { delay = "20ms" }
[target.replicas]
of = ["near", "far"]
[load]
users = 4
duration = "2s"
[trial]
epochs = 1
slice = "250ms"
lead_in = "50ms"
census = 2
[[flow]]
name = "read"
[[flow.step]]
name = "read"
target = "replicas"
sql = "SELECT 1 AS a, pg_sleep(0.002)"
[[variant]]
name = "in turns"
[[variant]]
name = "least busy"
target.replicas.balance = "least_busy"
"#,
    );
    // One epoch decides nothing.
    let told = Told::of(&desk, "scenario.toml", &[]).exits(4);
    let [near, far] = shares(&told, "in turns")[..] else {
        panic!()
    };
    assert!(near.abs_diff(far) <= 1, "in turns: {near} and {far}");
    let [near, far] = shares(&told, "least busy")[..] else {
        panic!()
    };
    assert!(far > 0 && near > 2 * far, "least busy: {near} and {far}");
    let mean = |variant: &str| told.step(variant, "read")["response_time"]["mean"].as_f64().unwrap();
    assert!(mean("least busy") < mean("in turns"), "{}", told.ended.printed());
    assert_eq!(told.step("least busy", "read")["target"], "replicas");
}

#[test]
fn a_flow_behind_a_bulkhead_does_not_wait_for_another() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    // Seven of eight users sit in a report that holds connections; the eighth looks something up.
    let desk = Desk::with_scenario(
        r#"
name = "bulkheads"
[target.db]
postgres = "ephemeral"
pool = { min = 2, max = 2 }
[load]
users = 8
duration = "3s"
[trial]
epochs = 1
slice = "500ms"
lead_in = "100ms"
census = 2
[[flow]]
name = "report"
weight = 7
[[flow.step]]
name = "report"
sql = "SELECT 1 AS a, pg_sleep(0.05)"
[[flow]]
name = "look up"
[[flow.step]]
name = "look up"
sql = "SELECT 1 AS a"
[[variant]]
name = "one pool"
[[variant]]
name = "bulkheads"
target.db.pool = { min = 2, max = 2, bulkheads = true }
"#,
    );
    // One epoch decides nothing.
    let told = Told::of(&desk, "scenario.toml", &[]).exits(4);
    let pools = told.report["pools"].as_array().unwrap();
    let flows = |variant: &str| -> Vec<Value> {
        let own = pools.iter().filter(|pool| pool["variant"] == variant);
        own.map(|pool| pool["flow"].clone()).collect()
    };
    assert_eq!(flows("one pool"), [Value::Null]);
    assert_eq!(flows("bulkheads"), ["report", "look up"]);
    for pool in pools {
        assert!(pool["database.pool.connections.used"].as_u64().unwrap() <= 2, "{pool}");
    }
    let wait = |variant: &str| told.step(variant, "look up")["acquire"]["p50"].as_f64().unwrap();
    // Through one pool it queues behind reports of 50 ms each.
    assert!(wait("one pool") > 20_000.0, "{}", told.ended.printed());
    assert!(wait("bulkheads") < wait("one pool") / 2.0, "{}", told.ended.printed());
}
