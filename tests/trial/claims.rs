//! What was claimed, beside what was measured.

use super::{Slots, Told, support::postgres::installed, support::program::Desk};

#[test]
fn claims_are_held_against_what_was_measured() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    // 10 ms and 4 ms, which no machine confuses.
    let claims = [
        ("sixty per cent", "p50", "-99%", "overstated"),
        ("a little", "p50", "-10%", "understated"),
        ("slower", "mean", "+50%", "not_reproduced"),
        ("more of them", "throughput", "+20%", "understated"),
        ("one query", "queries_per_operation", "1", "confirmed"),
        ("as many queries", "queries_per_operation", "+0%", "confirmed"),
        ("half the queries", "queries_per_operation", "-50%", "not_reproduced"),
        ("in a second", "p50", "1s", "understated"),
    ];
    let claim = |(text, metric, value, _): &(&str, &str, &str, &str)| {
        format!(
            "[[claim]]\ntext = \"{text}\"\nsource = \"a report\"\nstep = \"wait\"\nmetric = \"{metric}\"\nvalue = \"{value}\"\n"
        )
    };
    let claimed: String = claims.iter().map(claim).collect();
    let desk = Desk::with_scenario(&format!(
        r#"
name = "claims"
[target.db]
postgres = "ephemeral"
[load]
users = 2
duration = "4s"
[trial]
epochs = 8
slice = "250ms"
lead_in = "20ms"
census = 2
[[variant]]
name = "before"
[[variant.flow]]
name = "wait"
[[variant.flow.step]]
name = "wait"
sql = "SELECT 1 AS a, pg_sleep(0.010)"
[[variant]]
name = "after"
[[variant.flow]]
name = "wait"
[[variant.flow.step]]
name = "wait"
sql = "SELECT 1 AS a, pg_sleep(0.004)"
[[threshold]]
metric = "queries_per_operation"
critical = "+0"
{claimed}"#
    ));
    let told = Told::of(&desk, "scenario.toml", &[]);
    let entries = told.report["claims"].as_array().unwrap();
    let outcomes: Vec<&str> = entries.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    let expected: Vec<&str> = claims.iter().map(|(.., outcome)| *outcome).collect();
    assert_eq!(outcomes, expected, "{}", told.ended.printed());
    for words in ["more of them (a report)", "+20 %", "understated", "not reproduced"] {
        assert!(
            told.ended.printed().contains(words),
            "{words}: {}",
            told.ended.printed()
        );
    }
}
