//! A whole report written and read back.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::*;

fn written(
    run: &Run,
    comparison: &Comparison,
    baseline: Option<&Run>,
    keep: &str,
) -> (tempfile::TempDir, Value, String) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), run, comparison, baseline, 3).unwrap();
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    let (document, page) = (read(DOCUMENT), read(PAGE));
    if let Some(look) = std::env::var_os("LOADGATE_LOOK") {
        run::write_atomically(&Path::new(&look).join(format!("{keep}.html")), page.as_bytes()).unwrap();
    }
    (directory, serde_json::from_str(&document).unwrap(), page)
}

#[test]
fn every_file_is_written_and_its_hash_is_right() {
    let (run, comparison, baseline) = (example::run(), example::comparison(), example::baseline());
    let (directory, document, _) = written(&run, &comparison, Some(&baseline), "full");
    let artifacts = document["artifacts"].as_array().unwrap();
    let names: BTreeSet<&str> = artifacts.iter().map(|a| a["path"].as_str().unwrap()).collect();
    let expected = [
        "badge.json",
        "charts/02-percentiles.png",
        "charts/05-latency-time.png",
        "charts/06-throughput.png",
        "index.html",
        "junit.xml",
        "latency.hlog",
        "metrics.txt",
        "report.css",
        "report.html",
        "summary.md",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    for artifact in artifacts {
        let bytes = fs::read(directory.path().join(artifact["path"].as_str().unwrap())).unwrap();
        assert_eq!(artifact["sha256"], run::hash(&bytes));
        assert_eq!(artifact["bytes"], bytes.len());
    }
}

#[test]
fn the_document_says_what_run_and_comparison_say() {
    let (run, comparison) = (example::run(), example::comparison());
    let document: Value = serde_json::from_str(&json_text(&run, &comparison, 3).unwrap()).unwrap();
    assert_eq!(
        (&document["schema"], &document["verdict"], &document["exit_code"]),
        (&"loadgate.report/1".into(), &"critical".into(), &3.into())
    );
    let step = &document["steps"][0];
    assert_eq!(
        (&step["name"], &step["count"], &step["errors"]["http 503"]),
        (&"pay".into(), &1203.into(), &22.into())
    );
    let entry = &document["comparisons"][0];
    assert_eq!(
        (&entry["id"], &entry["unit"]),
        (&"pay:response_time:p99".into(), &"us".into())
    );
    assert_eq!(
        entry["candidate"], step["response_time"]["p99"],
        "the gate and the table show one figure"
    );
    assert_eq!(
        entry["limits"]["critical"],
        serde_json::json!({"kind": "relative", "value": 0.2, "floor": null, "text": "+20%"})
    );
    assert_eq!(document["comparisons"][4]["limits"]["critical"]["value"], 250_000.0);
    assert_eq!(document["validity"]["planned"], 3600);
    assert_eq!(document["intervals"]["rows"].as_array().unwrap().len(), 21);
    assert_eq!(document["intervals"]["rows"][12][1], 180);
}

#[test]
fn the_histogram_in_the_document_is_the_runs() {
    let run = example::run();
    let document = document(&run, &example::comparison(), 0, vec![]);
    let entry = &document.steps[0].response_time;
    let decoded = entry.hdr.data.decode().unwrap();
    assert_eq!(decoded.len(), entry.count);
    assert_eq!(Some(decoded.value_at_quantile(0.99) as f64 / 1000.0), entry.p99);
}

#[test]
fn the_unknown_is_null_and_never_zero() {
    let document: Value = serde_json::from_str(&json_text(&example::empty(), &example::alone(), 0).unwrap()).unwrap();
    let step = &document["steps"][0];
    assert_eq!(
        (&step["count"], &step["response_time"]["p99"], &step["throughput_per_s"]),
        (&0.into(), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&document["baseline"], &document["validity"]["send_lag"]["p99"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(document["comparisons"][0]["verdict"], Value::Null);
}

#[test]
fn documents_fit_their_published_schema() {
    let validator = jsonschema::draft7::new(&json_schema()).unwrap();
    for (run, comparison) in [
        (example::run(), example::comparison()),
        (example::empty(), example::alone()),
    ] {
        let document: Value = serde_json::from_str(&json_text(&run, &comparison, 0).unwrap()).unwrap();
        let problems: Vec<String> = validator
            .iter_errors(&document)
            .map(|problem| problem.to_string())
            .collect();
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn the_page_asks_for_nothing_and_shows_the_same_figures() {
    let (run, comparison, baseline) = (example::run(), example::comparison(), example::baseline());
    let (_directory, _, page) = written(&run, &comparison, Some(&baseline), "page");
    for asking in ["<script", "src=", "@import", "url(http", "<link", "<img", "href="] {
        assert!(!page.contains(asking), "{asking}");
    }
    let p99 = crate::units::format_ns(run.steps[0].response_time.all().quantile(0.99).unwrap());
    for text in [
        &p99,
        "■</span> critical",
        "exit code 3",
        "perf/checkout.toml:31",
        "Scheduled = completed",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("role=\"img\"").count(), 6, "three charts in two shapes");
}

#[test]
fn worst_limits_stand_first_and_passing_ones_are_folded() {
    let (_directory, _, page) = written(&example::run(), &example::comparison(), None, "no-baseline-run");
    let at = |text: &str| page.find(text).unwrap();
    assert!(at("<tr class=\"critical lead\">") < at("<tr class=\"warning lead\">"));
    assert!(at("2 within limits") < at("<tr class=\"pass lead\">"));
}

#[test]
fn hostile_names_are_inert_on_the_page() {
    let long = "x".repeat(10_000);
    for (at, text) in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a\u{202e}b\n\u{0}c",
        &long,
    ]
    .iter()
    .enumerate()
    {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        example::rename(&mut run, &mut comparison, text);
        let (_directory, _, page) = written(&run, &comparison, Some(&run), &format!("hostile-{at}"));
        assert!(
            !page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}') && !page.contains('\0')
        );
        assert!(page.len() < 1_500_000, "{}", page.len());
    }
}

#[test]
fn empty_runs_have_a_report_too() {
    let (_directory, _, page) = written(&example::empty(), &example::alone(), None, "empty");
    assert!(page.contains("No response time was measured"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = write(&file.path().join("out"), &example::run(), &example::alone(), None, 0).unwrap_err();
    assert!(
        error.to_string().contains("--out") && error.to_string().contains("charts"),
        "{error}"
    );
}
