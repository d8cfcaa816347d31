//! The JSON Schema that editors use: committed, current, and true to every shipped scenario.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgate");

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
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
fn the_committed_schema_is_what_the_program_prints() {
    let printed = Command::new(PROGRAM).arg("schema").output().unwrap();
    assert!(printed.status.success());
    let committed = fs::read_to_string(scenarios().join("scenario.schema.json")).unwrap_or_default();
    assert!(
        committed == String::from_utf8(printed.stdout).unwrap(),
        "the keys of scenarios have changed; write the schema anew with\n    cargo run -- schema > scenarios/scenario.schema.json"
    );
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
    let schema = committed();
    let mut missing = Vec::new();
    check(&schema, "scenario", &mut missing);
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        check(definition, name, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(schema["$schema"], json!("http://json-schema.org/draft-07/schema#"));
}
