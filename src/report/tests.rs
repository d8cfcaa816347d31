//! A whole report written and read back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
};

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
        "charts/01-gate.png",
        "charts/02-percentiles.png",
        "charts/03-shift.png",
        "charts/04-heatmap.png",
        "charts/05-latency-time.png",
        "charts/06-throughput.png",
        "charts/07-distribution.png",
        "charts/08-errors.png",
        "charts/09-resources.png",
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
fn the_bundle_holds_every_file_and_the_run_and_is_the_same_each_time() {
    let (run, comparison) = (example::run(), example::comparison());
    let packed = || {
        let directory = tempfile::tempdir().unwrap();
        run::save(&run, &directory.path().join(run::FILE_NAME)).unwrap();
        write(directory.path(), &run, &comparison, None, 3).unwrap();
        let mut archive = zip::ZipArchive::new(File::open(directory.path().join("bundle.zip")).unwrap()).unwrap();
        let mut names = BTreeSet::new();
        for at in 0..archive.len() {
            let mut file = archive.by_index(at).unwrap();
            let name = file.name().unwrap().into_owned();
            let mut bytes = Vec::new();
            std::io::copy(&mut file, &mut bytes).unwrap();
            assert_eq!(bytes, fs::read(directory.path().join(&name)).unwrap(), "{name}");
            names.insert(name);
        }
        (names, fs::read(directory.path().join("bundle.zip")).unwrap())
    };
    let (names, bytes) = packed();
    let document: Value = serde_json::from_str(&json_text(&run, &comparison, 3).unwrap()).unwrap();
    assert_eq!(
        document["artifacts"].as_array().unwrap().len(),
        0,
        "without files there are none"
    );
    // Without a baseline there is no difference to show.
    assert_eq!(names.len(), 16 + 2, "{names:?}");
    assert!(names.contains("run.json") && names.contains("report.json") && names.contains("index.html"));
    assert_eq!(packed().1, bytes);
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
        // Dark pages change the colours of inline charts, paper does not.
        "@media screen and (prefers-color-scheme: dark) {\n.chart [fill=",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("role=\"img\"").count(), 2 * 9, "each chart in two shapes");
    assert!(!page.contains("class=\"scroll\">"), "what scrolls is reached by keys");
}

#[test]
fn worst_limits_stand_first_and_passing_ones_are_folded() {
    let (_directory, _, page) = written(&example::run(), &example::comparison(), None, "no-baseline-run");
    let at = |text: &str| page.find(text).unwrap();
    assert!(at("<tr class=\"critical lead\">") < at("<tr class=\"warning lead\">"));
    assert!(at("2 within limits") < at("<tr class=\"pass lead\">"));
}

/// What stands between two marks goes, marks included.
fn without(text: &str, from: &str, to: &str) -> String {
    let mut parts = text.split(from);
    let mut kept = parts.next().unwrap().to_owned();
    for part in parts {
        kept.push_str(part.split_once(to).unwrap().1);
    }
    kept
}

/// The page without what is different where style and pictures stand beside it.
fn words_of(page: &str) -> String {
    let mut page = page.to_owned();
    for (from, to) in [
        ("<figure>", "</figure>"),
        ("<style>", "</style>\n"),
        ("<link", ">\n"),
        ("<meta http-equiv", ">\n"),
        ("<footer>", "</footer>"),
    ] {
        page = without(&page, from, to);
    }
    page
}

#[test]
fn the_linked_page_keeps_a_strict_content_policy_and_says_the_same() {
    let (run, comparison, baseline) = (example::run(), example::comparison(), example::baseline());
    let (directory, _, page) = written(&run, &comparison, Some(&baseline), "linked");
    let linked = fs::read_to_string(directory.path().join("index.html")).unwrap();
    for inside in [
        "<script", "<style", " style=", "<svg", "data:", "@import", " on", "<iframe", "<base",
    ] {
        // Of attributes: words may begin with "on".
        let found = linked
            .match_indices(inside)
            .find(|(at, _)| inside != " on" || in_tag(&linked, *at));
        assert_eq!(found, None, "{inside}");
    }
    let of = |attribute: &str| -> Vec<&str> {
        let begin = format!(" {attribute}=\"");
        let values = linked.split(begin.as_str()).skip(1);
        values.map(|rest| rest.split_once('"').unwrap().0).collect()
    };
    assert_eq!(of("src").len(), 9);
    for path in of("src").iter().chain(&of("href")) {
        assert!(directory.path().join(path).is_file(), "{path}");
    }
    assert!(of("href").contains(&"report.css"));
    assert!(
        of("alt").len() == 9 && of("alt").iter().all(|text| text.len() > 20),
        "{:?}",
        of("alt")
    );
    let style = fs::read_to_string(directory.path().join("report.css")).unwrap();
    assert!(!style.contains("url(") && !style.contains("@import"));
    assert_eq!(words_of(&linked), words_of(&page));
}

/// Whether a place lies inside of a tag.
fn in_tag(page: &str, at: usize) -> bool {
    page[..at].rfind('<') > page[..at].rfind('>')
}

/// Every file of a report by its path, as text where it is text.
fn texts(directory: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if let Ok(text) = fs::read_to_string(entry.path()) {
            texts.insert(entry.file_name().into_string().unwrap(), text);
        }
    }
    assert_eq!(texts.len(), 9, "{:?}", texts.keys());
    texts
}

fn assert_inert_page(page: &str) {
    for active in ["<script", "<img src=x", "<svg onload", "onerror=alert(1)>"] {
        assert!(!page.contains(active), "{active}");
    }
    assert!(page.len() < 1_500_000, "{}", page.len());
}

fn assert_inert_tests(xml: &str) {
    let known = [
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "error",
        "skipped",
        "system-out",
    ];
    let document = roxmltree::Document::parse(xml).unwrap();
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(known.contains(&node.tag_name().name()), "{node:?}");
    }
    assert!(!xml.contains("<![CDATA["));
}

#[test]
fn hostile_names_are_inert_in_every_file() {
    use hdrhistogram::serialization::interval_log::IntervalLogIterator;
    let long = "x".repeat(10_000);
    for (at, text) in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a\u{202e}b\n\u{0}c\u{1b}[31m\u{ffff}",
        "]]><svg onload=1>&x;",
        "::error file=a::b\n##[error]c",
        "a | b `c` \\| @d https://e.f",
        "a\",b=\"c\\",
        "\n",
        &long,
    ]
    .iter()
    .enumerate()
    {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        example::rename(&mut run, &mut comparison, text);
        let (directory, document, page) = written(&run, &comparison, Some(&run), &format!("hostile-{at}"));
        assert_eq!(document["run"]["scenario"], *text, "JSON keeps it as it is");
        let mut texts = texts(directory.path());
        assert_inert_page(&page);
        assert_inert_page(&texts["index.html"]);
        assert_inert_tests(&texts["junit.xml"]);
        summary::tests::assert_inert(&texts["summary.md"]);
        openmetrics::tests::parsed(&texts["metrics.txt"]);
        let mut log = IntervalLogIterator::new(texts["latency.hlog"].as_bytes());
        assert!(log.all(|line| line.is_ok()));
        let badge: Value = serde_json::from_str(&texts["badge.json"]).unwrap();
        assert_eq!(badge.as_object().unwrap().len(), 4);
        let terminal = Terminal {
            colour: false,
            width: 120,
            detail: Detail::All,
        };
        texts.insert("terminal".into(), super::text(&run, &comparison, 3, None, terminal));
        for (name, text) in texts.iter().filter(|(name, _)| *name != DOCUMENT) {
            assert!(text.len() < 1_500_000, "{name}");
            let steers = |c: char| c == '\u{202e}' || (c.is_control() && c != '\n' && c != '\t');
            assert!(!text.contains(steers), "{name}");
            if !name.ends_with(".html") {
                let command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
                assert!(!text.lines().any(command), "{name} commands a build server");
            }
        }
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
