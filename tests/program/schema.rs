//! The JSON Schemas: that of scenarios, which editors use, and that of `report.json`; committed,
//! current, and true to every shipped scenario and to the committed report.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgate");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenarios() -> PathBuf {
    root().join("scenarios")
}

/// All scenario files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn committed() -> Value {
    serde_json::from_str(&fs::read_to_string(scenarios().join("scenario.schema.json")).unwrap()).unwrap()
}

/// The first thing that the schema has against a scenario.
fn refused(schema: &Value, toml: &str) -> Option<String> {
    let scenario: Value = toml::from_str(toml).unwrap();
    let validator = jsonschema::draft7::new(schema).unwrap();
    validator
        .iter_errors(&scenario)
        .next()
        .map(|error| format!("{}: {error}", error.instance_path()))
}

#[test]
fn the_committed_schemas_are_what_the_program_prints() {
    for (of, file) in [
        ("scenario", "scenarios/scenario.schema.json"),
        ("report", "reports/report.schema.json"),
    ] {
        let printed = Command::new(PROGRAM).args(["schema", of]).output().unwrap();
        assert!(printed.status.success());
        let committed = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            committed == String::from_utf8(printed.stdout).unwrap(),
            "keys have changed; write the schema anew with\n    cargo run -- schema {of} > {file}"
        );
    }
}

#[test]
fn of_scenarios_is_the_schema_that_is_meant_without_a_word() {
    let printed = |arguments: &[&str]| Command::new(PROGRAM).args(arguments).output().unwrap().stdout;
    assert_eq!(printed(&["schema"]), printed(&["schema", "scenario"]));
}

/// The schema of reports and the committed one.
fn report() -> (Value, Value) {
    let read = |file: &str| serde_json::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap();
    (read("reports/report.schema.json"), read("reports/sample/report.json"))
}

/// What the schema has against a report.
fn problems(schema: &Value, report: &Value) -> Vec<String> {
    let validator = jsonschema::draft7::new(schema).unwrap();
    let problems = validator.iter_errors(report);
    problems
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Puts a key that nobody knows into every object.
fn add_a_key(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(add_a_key);
            object.insert("a key of tomorrow".into(), json!(1));
        }
        Value::Array(array) => array.iter_mut().for_each(add_a_key),
        _ => {}
    }
}

#[test]
fn the_committed_report_is_valid_and_stays_so_when_keys_are_added() {
    let (schema, report) = report();
    assert_eq!(problems(&schema, &report), Vec::<String>::new());
    let mut tomorrow = report;
    // Maps from names to values take values of their kind: there a number may be added.
    add_a_key(&mut tomorrow);
    let problems: Vec<String> = problems(&schema, &tomorrow)
        .into_iter()
        .filter(|problem| !problem.starts_with("/run/labels/") && !problem.contains("/counters/"))
        .collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn what_readers_rely_on_is_required() {
    let (schema, report) = report();
    for (pointer, wrong) in [
        ("/schema", json!("loadgate.report/2")),
        ("/verdict", json!("good")),
        ("/exit_code", json!("3")),
        ("/run/started", Value::Null),
        ("/comparisons/0/verdict", json!("perhaps")),
        ("/comparisons/0/interval", json!([1])),
        ("/steps/0/response_time/p99", json!("6 ms")),
        ("/steps/0/response_time/hdr", Value::Null),
        ("/artifacts/0/sha256", json!(7)),
    ] {
        let mut changed = report.clone();
        *changed.pointer_mut(pointer).unwrap() = wrong;
        assert!(!problems(&schema, &changed).is_empty(), "{pointer}");
    }
    let mut unknown = report.clone();
    for figure in ["p99", "max", "mean"] {
        unknown["steps"][0]["response_time"][figure] = Value::Null;
    }
    unknown["baseline"] = Value::Null;
    unknown["comparisons"][0]["verdict"] = Value::Null;
    assert_eq!(problems(&schema, &unknown), Vec::<String>::new(), "the unknown is null");
    let mut less = report;
    less.as_object_mut().unwrap().remove("steps");
    assert!(!problems(&schema, &less).is_empty());
}

#[test]
fn every_shipped_scenario_is_valid() {
    let schema = committed();
    let files = files(&scenarios());
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let refused = refused(&schema, &fs::read_to_string(&file).unwrap());
        assert_eq!(refused, None, "{}", file.display());
    }
}

#[test]
fn what_the_program_refuses_by_its_shape_the_schema_refuses_too() {
    const GOOD: &str = r#"
        name = "x"
        [target.api]
        http = "http://h"
        [load]
        users = 1
        [data.user]
        uniform = { from = 1, to = 2 }
        [[flow]]
        name = "a"
        [[flow.step]]
        get = "/"
        expect = { status = [200, 201], json = { "$.a" = 1.5 } }
        json = { anything = [{ goes = true }] }
    "#;
    let schema = committed();
    assert_eq!(refused(&schema, GOOD), None);
    for (from, to, place) in [
        ("name = \"x\"", "", ""),
        ("name = \"x\"", "name = \"x\"\nsede = 1", ""),
        ("users = 1", "users = \"1\"", "/load/users"),
        ("users = 1", "user = 1", "/load"),
        ("http =", "htp =", "/target/api"),
        ("from = 1, ", "", "/data/user/uniform"),
        ("get = \"/\"", "get = [\"/\"]", "/flow/0/step/0/get"),
        ("status = [200, 201]", "status = \"ok\"", "/flow/0/step/0/expect/status"),
        ("status = [200, 201]", "stats = 200", "/flow/0/step/0/expect"),
        ("\"$.a\" = 1.5", "\"$.a\" = []", "/flow/0/step/0/expect/json/$.a"),
    ] {
        let wrong = GOOD.replacen(from, to, 1);
        let refused = refused(&schema, &wrong).unwrap_or_else(|| panic!("accepted: {to}"));
        assert_eq!(refused.split(": ").next(), Some(place), "{refused}");
    }
}

#[test]
fn every_key_has_a_description() {
    fn check(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if property.get("description").is_none() {
                missing.push(format!("{path}.{name}"));
            }
        }
    }
    for (of, schema) in [("scenario", committed()), ("report", report().0)] {
        let mut missing = Vec::new();
        check(&schema, of, &mut missing);
        for (name, definition) in schema["definitions"].as_object().unwrap() {
            check(definition, name, &mut missing);
        }
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(schema["$schema"], json!("http://json-schema.org/draft-07/schema#"));
    }
}
