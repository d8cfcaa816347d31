//! A variant that cannot take the load that the other takes.

use super::{
    Slots, Told,
    support::{postgres::installed, program::Desk},
};

/// Four sessions: an operation of 1 ms takes 4,000/s, one of 200 ms takes 20/s.
const SCENARIO: &str = r#"
name = "one is too slow for the rate"
[target.db]
postgres = "ephemeral"
[load]
rate = "60/s"
max_in_flight = 4
duration = "4s"
[trial]
epochs = 2
slice = "500ms"
lead_in = "500ms"
census = 0
[[threshold]]
metric = "p50"
critical = "10s"
[[variant]]
name = "a"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "read"
sql = "SELECT pg_sleep(SECONDS_OF_A)"
[[variant]]
name = "b"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "read"
sql = "SELECT pg_sleep(SECONDS_OF_B)"
"#;

fn told(of_a: &str, of_b: &str) -> Told {
    let scenario = SCENARIO.replace("SECONDS_OF_A", of_a).replace("SECONDS_OF_B", of_b);
    let desk = Desk::with_scenario(&scenario);
    Told::of(&desk, "scenario.toml", &["load.queue=4"])
}

#[test]
fn a_candidate_that_cannot_carry_the_rate_is_critical_and_not_invalid() {
    if !installed() {
        return;
    }
    let _slots = Slots::all();
    let told = told("0.001", "0.2").exits(3);
    assert_eq!(told.report["verdict"], "critical");
    let reasons = told.report["reasons"].to_string();
    assert!(reasons.contains("b: the target could not carry the load"), "{reasons}");
}

#[test]
fn a_reference_that_cannot_carry_the_rate_is_nothing_to_compare_with() {
    if !installed() {
        return;
    }
    let _slots = Slots::all();
    let told = told("0.2", "0.001").exits(4);
    assert_eq!(told.report["verdict"], "invalid");
}
