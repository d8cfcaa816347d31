//! Variants of other kinds: on SQLite files, and as processes of other flags.

use std::fs;

use loadgate::run::Accounting;
use serde_json::json;

use super::{
    Slots, Told,
    support::{postgres::installed, program::Desk},
};

const FILES: &str = r#"
name = "files"
[target.db]
sqlite = "ephemeral"
fixture = "words"
[fixture.words]
sql = "words.sql"
[load]
users = 1
duration = "1s"
[trial]
epochs = 3
slice = "100ms"
[data.word]
uniform = { from = 1, to = 20_000 }
[[flow]]
name = "read"
[[flow.step]]
name = "read"
sql = "SELECT id FROM words WHERE word = 'word ' || $1"
params = ["{{ word }}"]
expect = { rows = 1 }
[[variant]]
name = "scan"
[[variant]]
name = "index"
setup.db = "CREATE INDEX words_word ON words (word)"
rollback.db = "DROP INDEX words_word"
[[variant]]
name = "index that stays"
setup.db = "CREATE INDEX words_word ON words (word)"
rollback.db = "SELECT 1"
[[threshold]]
metric = "error_rate"
critical = "90%"
"#;

const WORDS: &str = "CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT);\nINSERT INTO words WITH RECURSIVE g(i) AS \
                     (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 20000) SELECT i, 'word ' || i FROM g;\n";

#[test]
fn files_have_variants_too() {
    let _slot = Slots::one();
    let desk = Desk::with_scenario(FILES);
    fs::write(desk.path().join("words.sql"), WORDS).unwrap();
    let told = Told::of(&desk, "scenario.toml", &[]).exits(0);
    assert!(told.p50("index", "read") * 3.0 < told.p50("scan", "read"));
    assert!(told.page.contains("only statements are counted"));
    let equivalence = &told.report["equivalence"];
    assert_eq!(
        (&equivalence["compared"], &equivalence["differences"]),
        (&json!(40), &json!([]))
    );
    let incidents = told.incidents().as_array().unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = incidents[0].as_str().unwrap();
    assert!(
        incident.starts_with("index that stays: after the rollback of target \"db\""),
        "{incident}"
    );
    assert!(incident.contains("+ index words_word"), "{incident}");
}

const DEMOS: &str = r#"
name = "demos"
[target.api]
http = "http://127.0.0.1:{port}"
start = "loadgate demo --listen 127.0.0.1:{port}"
ready = "/api/health"
[load]
users = 4
duration = "6s"
[trial]
slice = "250ms"
[data.user]
uniform = { from = 1, to = 100 }
[[flow]]
name = "read"
[[flow.step]]
name = "user"
get = "/api/users/{{ user }}"
[[variant]]
name = "prompt"
[[variant]]
name = "slow"
target.api.start = "loadgate demo --listen 127.0.0.1:{port} --delay 20ms"
[[threshold]]
step = "user"
metric = "p50"
critical = "+20%"
"#;

#[test]
fn a_process_that_waits_is_found_slower() {
    let _slot = Slots::one();
    let desk = Desk::with_scenario(DEMOS);
    let told = Told::of(&desk, "scenario.toml", &[]).exits(3);
    assert!(told.p50("slow", "user") > 20_000.0);
    assert!(told.p50("slow", "user") > told.p50("prompt", "user") + 15_000.0);
    let comparison = &told.report["comparisons"][0];
    assert_eq!(
        (&comparison["verdict"], &comparison["step"]),
        (&json!("critical"), &json!("user"))
    );
    assert!(
        told.report["sentence"]
            .as_str()
            .unwrap()
            .starts_with("critical: slow: user p50")
    );
    for (target, variant) in [(0, "prompt"), (1, "slow")] {
        assert_eq!(told.report["targets"][target]["variant"], variant);
    }
    assert!(
        told.report["targets"][1]["command"]
            .as_str()
            .unwrap()
            .contains("--delay 20ms")
    );
    assert_eq!(told.report["equivalence"]["differences"], json!([]));
    assert_eq!(comparison["label"], json!(null));
    assert!(
        comparison["reason"]
            .as_str()
            .unwrap()
            .contains("confirmed by 8 fresh epochs"),
        "{comparison}"
    );

    // Judged again from its file it says the same, to the byte; only the files of the report are not there.
    let again = desk.loadgate(&["compare", "out", "--format", "json"]).output().unwrap();
    assert_eq!(again.status.code(), Some(3));
    let document = fs::read_to_string(desk.path().join("out/report.json")).unwrap();
    let content = |text: &str| text.split(",\"artifacts\":").next().unwrap_or_default().to_owned();
    let same = content(&String::from_utf8(again.stdout).unwrap()) == content(&document);
    assert!(same && document.contains("\"artifacts\":"));
}

const LONG: &str = r#"
name = "long"
[target.db]
postgres = "ephemeral"
[load]
users = 2
duration = "1s"
drain = "10ms"
[trial]
epochs = 1
census = 0
slice = "250ms"
lead_in = "100ms"
[[flow]]
name = "wait"
[[flow.step]]
name = "wait"
sql = "SELECT pg_sleep(0.17)::text"
[[variant]]
name = "one"
[[variant]]
name = "two"
"#;

#[test]
fn flow_starts_of_each_variant_are_counted_to_the_last() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = Told::of(&Desk::with_scenario(LONG), "scenario.toml", &[]);
    let run = told.ended.stored();
    let checks = told.report["validity"]["checks"].as_array().unwrap();
    let accounting = checks.iter().find(|check| check["id"] == "accounting").unwrap();
    assert_eq!(accounting["ok"], true, "{accounting}");
    let of_both = |figure: fn(&Accounting) -> u64| run.variants.iter().map(|one| figure(&one.accounting)).sum::<u64>();
    for variant in &run.variants {
        let Accounting {
            scheduled, completed, ..
        } = variant.accounting;
        assert!(scheduled >= completed && completed >= 1, "{variant:?}");
    }
    // Who was in the middle of it when the last slice ended.
    assert_eq!(of_both(|all| all.unfinished), run.accounting.unfinished);
    assert!(run.accounting.unfinished >= 1, "{:?}", run.accounting);
    assert_eq!(of_both(|all| all.scheduled), run.accounting.scheduled);
}

#[test]
fn a_change_that_no_limit_is_about_is_told_with_its_step() {
    let scenario = r#"
name = "one of two steps"
[target.db]
sqlite = "ephemeral"
[load]
users = 1
duration = "3s"
[trial]
epochs = 6
slice = "200ms"
lead_in = "50ms"
census = 0
[[threshold]]
metric = "p99"
critical = "+1000000%"
[[variant]]
name = "before"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "same"
sql = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 500) SELECT count(*) FROM g"
[[variant.flow.step]]
name = "other"
sql = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 500) SELECT count(*) FROM g"
comparable = false
[[variant]]
name = "after"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "same"
sql = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 500) SELECT count(*) FROM g"
[[variant.flow.step]]
name = "other"
sql = "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 5000) SELECT count(*) FROM g"
comparable = false
"#;
    let _slots = Slots::one();
    let desk = Desk::with_scenario(scenario);
    let told = Told::of(&desk, "scenario.toml", &[]);
    let shown = told.report["shown"].as_array().unwrap();
    let of = |step: &str, metric: &str| {
        let found = shown
            .iter()
            .find(|shown| shown["step"] == step && shown["metric"] == metric);
        found.unwrap_or_else(|| panic!("{step} {metric}: {shown:?}"))
    };
    for metric in ["mean", "p50"] {
        let other = of("other", metric);
        assert_eq!(other["stands_out"], true, "{other}");
        assert!(other["change"].as_f64().unwrap() > 2.0, "{other}");
        assert!(of("same", metric)["change"].as_f64().unwrap() < 2.0);
    }
    assert!(told.ended.stdout.contains("also changed"), "{}", told.ended.printed());
    assert!(told.page.contains("changes that no limit is about"));
}
