//! `loadgate changes` with the real program: what it prints, and what it says of
//! files that it cannot use.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

use crate::support::program::{Desk, loadgate};
use serde_json::{Value, json};

/// `loadgate changes` with the file of this content, in the format.
fn changes(content: impl AsRef<[u8]>, format: &str) -> Output {
    let desk = Desk::new();
    fs::write(desk.path().join("series.csv"), content).unwrap();
    desk.loadgate(&["changes", "series.csv", "--format", format])
        .output()
        .unwrap()
}

#[track_caller]
fn printed(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*told), (Some(0), ""));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn found(content: impl AsRef<[u8]>) -> Value {
    serde_json::from_str(&printed(&changes(content, "json"))).unwrap()
}

/// What is said of a file that cannot be used.
#[track_caller]
fn told(content: impl AsRef<[u8]>) -> String {
    let output = changes(content, "json");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty());
    told.trim_end().to_owned()
}

/// A header and rows of `index(at)` with a level of 4 that becomes `after` at the twentieth.
fn step(after: f64, index: impl Fn(usize) -> String) -> String {
    let rows = (0..40).map(|at| {
        let level = if at < 20 { 4.0 } else { after };
        format!("{},{}\n", index(at), level + (at % 3) as f64 * 0.01)
    });
    "index,value\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn the_contract_of_json_holds() {
    let expected = json!({ "changes": [{ "index": 120, "before": 4.01, "after": 5.01, "change": 5.01 / 4.01 - 1.0 }] });
    assert_eq!(found(step(5.0, |at| (100 + at).to_string())), expected);
    assert_eq!(found(step(4.0, |at| at.to_string())), json!({ "changes": [] }));
}

#[test]
fn an_index_is_any_text() {
    let index = |text: fn(usize) -> String| found(step(5.0, text))["changes"][0]["index"].clone();
    assert_eq!(index(|at| format!("2026-03-{at}")), json!("2026-03-20"));
    assert_eq!(index(|at| format!("00{at}")), json!("0020"));
    assert_eq!(index(|at| format!("\"a, \"\"{at}\"\"\"")), json!("a, \"20\""));
    assert_eq!(index(|at| format!("-{at}")), json!(-20));
}

#[test]
fn a_change_from_zero_has_no_ratio() {
    let rows: String = (0..40)
        .map(|at| format!("{at},{}\n", if at < 20 { 0 } else { 7 }))
        .collect();
    let expected = json!({ "changes": [{ "index": 20, "before": 0.0, "after": 7.0, "change": null }] });
    assert_eq!(found(format!("index,value\n{rows}")), expected);
}

#[test]
fn text_is_a_table_or_says_that_there_is_none() {
    let table = printed(&changes(step(5.0, |at| format!("night {at}\u{1b}[2J")), "text"));
    insta::assert_snapshot!(table, @r"
     index              before  after  change
     night 20\u{1b}[2J    4.01   5.01   +25 %

    1 change in series.csv, 40 points
    ");
    let none = printed(&changes(step(4.0, |at| at.to_string()), "text"));
    insta::assert_snapshot!(none, @"no change in series.csv, 40 points");
}

#[test]
fn line_ends_marks_and_other_columns_do_not_matter() {
    let plain = step(5.0, |at| at.to_string());
    let expected = found(&plain);
    assert_eq!(expected["changes"][0]["index"], json!(20));
    assert_eq!(found(plain.replace('\n', "\r\n")), expected, "CRLF");
    assert_eq!(found(format!("\u{feff}{plain}")), expected, "byte order mark");
    assert_eq!(found(plain.replace(',', " , ")), expected, "spaces");
    let wider: String = plain.lines().map(|line| format!("x,{line},y\n")).collect();
    assert_eq!(found(wider), expected, "other columns");
}

#[test]
fn standard_input_is_a_file_too() {
    let mut program = Desk::new()
        .loadgate(&["changes", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let series = step(5.0, |at| at.to_string());
    program.stdin.take().unwrap().write_all(series.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, found(series));
}

#[test]
fn one_row_is_a_series_without_a_change() {
    assert_eq!(found("index,value\n1,2\n"), json!({ "changes": [] }));
}

#[test]
fn what_is_no_series_is_told() {
    insta::assert_snapshot!(told(""), @r#"error: series.csv: line 1: no column is called "index"; the first line must name the columns, as in index,value"#);
    insta::assert_snapshot!(told("index,value\n"), @r#"error: series.csv: line 1: there is no row after the header; give one for every run"#);
    insta::assert_snapshot!(told("1,2\n3,4\n"), @r#"error: series.csv: line 1: no column is called "index"; the first line must name the columns, as in index,value"#);
    insta::assert_snapshot!(told("index,value,value\n1,2,3\n"), @r#"error: series.csv: line 1: two columns are called "value"; rename one"#);
}

#[test]
fn what_is_no_value_is_told_by_its_line() {
    insta::assert_snapshot!(told("index,value\n1,2\n2,NaN\n"), @r#"error: series.csv: line 3: the value NaN is not finite; leave the row out, or give it a number"#);
    insta::assert_snapshot!(told("index,value\r\n1,2\r\n\r\n2,-inf\r\n"), @r#"error: series.csv: line 4: the value -inf is not finite; leave the row out, or give it a number"#);
    insta::assert_snapshot!(told("index,value\n1,2\n2,1e999\n"), @r#"error: series.csv: line 3: the value 1e999 is not finite; leave the row out, or give it a number"#);
    insta::assert_snapshot!(told("index,value\n1,\n"), @r#"error: series.csv: line 2: the value is missing; leave the row out, or give it a number"#);
    insta::assert_snapshot!(told("index,value\n1,2\n2\n"), @r#"error: series.csv: line 3: the value is missing; leave the row out, or give it a number"#);
    insta::assert_snapshot!(told("index,value\n,2\n"), @r#"error: series.csv: line 2: the index is missing; say which run or point this is"#);
    insta::assert_snapshot!(told("index,value\n1,5 ms\u{202e}\n"), @r#"error: series.csv: line 2: the value "5 ms\u{202e}" is no number; write it as in 1234.5, without a unit or a decimal comma"#);
    insta::assert_snapshot!(told(b"index,value\n1,2\ncaf\xe9,3\n"), @r#"error: series.csv: line 3: this is not UTF-8; save the file in that encoding"#);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let desk = Desk::new();
    let told = |file: &str| {
        let output = desk.loadgate(&["changes", file]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told("absent.csv").starts_with("error: absent.csv: "));
    fs::write(
        desk.path().join("long.csv"),
        "index,value\n".to_owned() + &"1,1\n".repeat(250_001),
    )
    .unwrap();
    insta::assert_snapshot!(told("long.csv"), @"error: long.csv: more than 250000 rows; give fewer, the latest for instance");
    let large = fs::File::create(desk.path().join("large.csv")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    insta::assert_snapshot!(told("large.csv"), @r#"error: large.csv: larger than 67108864 bytes, so it is not read"#);
}

#[test]
fn people_see_the_same_changes() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/changes");
    let labelled: [(&str, &[i64]); 3] = [
        ("sap_212.csv", &[149]),
        ("sap_5922_split2.csv", &[40, 139]),
        ("sap_8478_split2.csv", &[]),
    ];
    for (file, labels) in labelled {
        let output = loadgate(&data, &["changes", file, "--format", "json"])
            .output()
            .unwrap();
        let printed: Value = serde_json::from_str(&printed(&output)).unwrap();
        let found: Vec<i64> = printed["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["index"].as_i64().unwrap())
            .collect();
        assert_eq!(found.len(), labels.len(), "{file}: {found:?}");
        assert!(
            found
                .iter()
                .zip(labels)
                .all(|(found, label)| found.abs_diff(*label) <= 5),
            "{file}: {found:?}"
        );
    }
}
