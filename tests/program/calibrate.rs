//! `loadgate calibrate` with the real program: a scenario against itself.

use std::{fs, process::Output};

use crate::support::program::Desk;
use serde_json::Value;

const SCENARIO: &str = r#"
name = "rows"
[target.db]
sqlite = "ephemeral"
fixture = "rows"
[fixture.rows]
sql = ["rows.sql"]
[load]
users = 1
duration = "900ms"
[trial]
epochs = 3
slice = "150ms"
lead_in = "20ms"
[[flow]]
name = "read"
[[flow.step]]
name = "count"
sql = "SELECT count(*) FROM rows"
[[threshold]]
metric = "mean"
warning = "+50%"
critical = "+100%"
[[threshold]]
metric = "error_rate"
critical = "+1pp"
"#;

const ROWS: &str = "CREATE TABLE rows (id INTEGER PRIMARY KEY);\nINSERT INTO rows WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL \
                    SELECT i + 1 FROM g WHERE i < 500) SELECT i FROM g;\n";

fn desk() -> Desk {
    let desk = Desk::with_scenario(SCENARIO);
    fs::write(desk.path().join("rows.sql"), ROWS).unwrap();
    desk
}

fn calibrate(desk: &Desk, arguments: &[&str]) -> Output {
    let mut all = vec!["calibrate", "scenario.toml", "--baselines", "kept"];
    all.extend(arguments);
    desk.loadgate(&all).output().unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn trials_are_kept_and_gone_on_with() {
    let desk = desk();
    let first = json(&calibrate(&desk, &["--trials", "1", "--format", "json"]));
    assert_eq!(first[0]["summary"]["trials"], 1);
    let text = calibrate(&desk, &["--trials", "2"]);
    let told = String::from_utf8_lossy(&text.stderr).into_owned();
    assert!(
        told.contains("trial 2 of 2") && !told.contains("trial 1 of 2"),
        "{told}"
    );
    let printed = String::from_utf8(text.stdout).unwrap();
    assert!(printed.contains("rows against itself, 2 trials"), "{printed}");
    assert!(printed.contains("it takes 100 valid trials"), "{printed}");
    // All are there already: nothing is loaded.
    let again = calibrate(&desk, &["--trials", "2", "--format", "json"]);
    assert!(again.stderr.is_empty());
    let summary = &json(&again)[0]["summary"];
    assert_eq!(summary["trials"], 2);
    assert!(summary["metrics"][0]["id"] == "all:response_time:mean", "{summary}");
    // A fixed number of alarms and of trials proves no more than this.
    assert!(summary["verdicts"]["critical"]["at_most"].as_f64().unwrap() > 0.7);
    // Other work has other trials.
    let set = ["--trials", "1", "--set", "load.users=2", "--format", "json"];
    assert_eq!(json(&calibrate(&desk, &set))[0]["summary"]["trials"], 1);
}

#[test]
fn injected_failures_are_found() {
    let desk = desk();
    // Fewer epochs are never critical.
    let set = ["--set", "trial.epochs=12", "--set", "load.duration=4s"];
    let arguments = [
        &["--trials", "1", "--inject", "errors=20%", "--format", "json"][..],
        &set,
    ]
    .concat();
    let told = json(&calibrate(&desk, &arguments));
    assert_eq!(told[0]["injected"], "errors=20%");
    // Of the metric: the whole may be invalid on a busy machine.
    let directory = fs::read_dir(desk.path().join("kept/rows/calibration")).unwrap();
    let kept = fs::read_to_string(directory.last().unwrap().unwrap().path()).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let errors = &kept["trials"][0]["metrics"][1];
    assert_eq!(
        (&errors["id"], &errors["verdict"]),
        (&"all:error_rate".into(), &"critical".into()),
        "{kept}"
    );
    assert!(told[0]["summary"]["inflation"].is_null());
}

#[test]
fn a_setting_that_only_the_copy_has_is_injected() {
    let desk = desk();
    let slower = "flow.read.step.0.sql=SELECT count(*) FROM rows a, rows b";
    let told = json(&calibrate(
        &desk,
        &["--trials", "1", "--inject", slower, "--format", "json"],
    ));
    assert_eq!(told[0]["injected"], slower);
    let directory = fs::read_dir(desk.path().join("kept/rows/calibration")).unwrap();
    let kept = fs::read_to_string(directory.last().unwrap().unwrap().path()).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    // 250,000 pairs of rows instead of 500 rows; changes are logarithms.
    let change = &kept["trials"][0]["metrics"][0]["change"];
    assert!(change.as_f64().unwrap() > 1.0, "{kept}");
    let output = calibrate(&desk, &["--inject", "flow.read.step.0.sqll=SELECT 1"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("sqll"), "{told}");
}

#[test]
fn what_cannot_be_injected_is_told() {
    let desk = desk();
    for (trouble, said) in [
        ("noise=1%", "slower=5%, errors=1%, stalls=100ms or a setting"),
        ("slower=5", "write for example slower=5%"),
        ("stalls=10s", "at most 1s"),
    ] {
        let output = calibrate(&desk, &["--inject", trouble]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn a_file_that_is_no_calibration_is_told() {
    let desk = desk();
    json(&calibrate(&desk, &["--trials", "1", "--format", "json"]));
    let kept = fs::read_dir(desk.path().join("kept/rows/calibration"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::write(kept.path(), "{").unwrap();
    let output = calibrate(&desk, &["--trials", "1"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("not a whole baseline"), "{told}");
}
