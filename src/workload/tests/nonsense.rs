//! Whatever the text: problems or a workload, never a panic.

use proptest::{prelude::*, sample::select};

use super::{HEAD, with_variables};
use crate::workload::{JsonPath, Values, split_sql};

/// Pieces that texts of templates, variables, SQL and paths are made of.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{ u }}",
    "{{u.id}}",
    "${",
    "}",
    "$${",
    "${A}",
    "${A:-",
    ":-",
    "$1",
    "$2",
    "$0",
    "$",
    "$$",
    "$x$",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "\n",
    "ä",
    "€",
    "𝄞",
    " ",
    "/",
    "?",
    "#",
    "[",
    "]",
    ".",
    "*",
    "0",
    "-1",
    "a",
    "\\",
    "\0",
    "%",
    "{port}",
    "{dir}",
    "://",
    "@",
    ":",
    "99999999999999999999",
];

/// Lines of which a scenario might be made, well or badly.
const LINES: &[&str] = &[
    "name = \"x\"",
    "name = 5",
    "seed = -1",
    "[target.api]",
    "[target.db]",
    "[[target]]",
    "http = \"http://h\"",
    "sqlite = \"\"",
    "postgres = \"env\"",
    "start = \"'\"",
    "ready = \"x\"",
    "[load]",
    "[[load]]",
    "users = 3",
    "users = 0",
    "rate = \"1e9/s\"",
    "rate = \"-1/s\"",
    "duration = \"9d\"",
    "duration = \"ä\"",
    "iterations = 9223372036854775808",
    "[data.u]",
    "[data.\"ü b\"]",
    "uniform = { from = -9223372036854775808, to = 9223372036854775807 }",
    "zipf = { from = 1, to = 9223372036854775807 }",
    "zipf = { from = 1, to = 3, exponent = nan }",
    "sequence = { from = 5, to = 1 }",
    "choice = [1, \"a\", 1.5, true]",
    "choice = []",
    "uuid = true",
    "string = { length = -1 }",
    "timestamp = { from = \"x\" }",
    "csv = \"/\"",
    "[[flow]]",
    "[[flow.step]]",
    "[[flow.step.step]]",
    "[[setup]]",
    "[[teardown]]",
    "get = \"/{{ u }}\"",
    "sql = \"SELECT $1\"",
    "params = [\"{{ u }}\", {}]",
    "transaction = [{}]",
    "json = { a = \"{{ u }}\", b = [1, 2026-01-01] }",
    "pause = \"1s\"",
    "repeat = 1000000",
    "step = [{ get = 1 }]",
    "expect = { status = [], json = { \"x\" = 1 } }",
    "save = { u = \"$\", v = \"$[\" }",
    "timeout = \"0s\"",
    "[[threshold]]",
    "metric = \"p95\"",
    "step = \"a\"",
    "warning = \"+5%\"",
    "critical = \"ä\"",
    "headers = { \"ü\" = \"\\n\" }",
    "weight = 0",
    "= ",
    "\u{feff}",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

proptest! {
    #[test]
    fn any_lines_are_told_or_compiled(lines in prop::collection::vec(select(LINES), 0..25)) {
        let _ = with_variables(&lines.join("\n"), &[("A", "b")]);
    }

    #[test]
    fn any_text_is_told_or_compiled(text in any::<String>()) {
        let _ = with_variables(&text, &[]);
    }

    #[test]
    fn any_string_anywhere_is_told_or_compiled_and_can_be_rendered(text in pieces()) {
        let text = quoted(&text);
        for step in [
            format!("get = {text}"),
            format!("get = \"/\"\nheaders = {{ x = {text} }}\nexpect = {{ body_contains = {text} }}"),
            format!("post = \"/\"\njson = {{ {text} = [{text}] }}"),
            format!("sql = {text}\nparams = [{text}, {text}]"),
            format!("pause = {text}"),
            format!("get = \"/\"\nsave = {{ a = {text} }}"),
        ] {
            let scenario = format!("{HEAD}[[flow]]\nname = \"a\"\n[[flow.step]]\n{step}\n[data.u]\nconstant = {text}\n");
            if let Ok(workload) = with_variables(&scenario, &[("A", "b")]) {
                let mut values = Values::new(&workload);
                values.begin(u64::MAX, &[]);
                if scenario.contains("post =") {
                    let (_, body) = super::rendered(&workload, 0, &mut values);
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
                }
            }
        }
    }

    #[test]
    fn any_address_is_told_or_compiled(text in pieces()) {
        for kind in ["http", "sqlite", "postgres", "start = \"x\"\nhttp"] {
            let address = format!("{kind} = {}", quoted(&text));
            let _ = with_variables(&HEAD.replace("sqlite = \"test.db\"", &address), &[]);
        }
    }

    #[test]
    fn any_sql_is_split_into_what_it_was(sql in pieces()) {
        let (texts, indices) = split_sql(&sql);
        prop_assert_eq!(texts.len(), indices.len() + 1);
        prop_assert!(texts.iter().map(|text| text.len()).sum::<usize>() <= sql.len());
    }

    #[test]
    fn any_path_is_told_or_compiled(path in pieces()) {
        if let Ok(path) = JsonPath::compile(&path) {
            path.find(&serde_json::json!([{"a": [1]}]));
        }
    }

    #[test]
    fn any_draw_of_any_bounds_stays_within_them(a in any::<i64>(), b in any::<i64>(), number in any::<u64>()) {
        let (from, to) = (a.min(b), a.max(b));
        for kind in ["uniform", "zipf", "sequence"] {
            let data = format!("{kind} = {{ from = {from}, to = {to} }}");
            let text = super::flow_text(&format!("[[flow.step]]\nget = \"/{{{{ u }}}}\"\n[data.u]\n{data}\n"));
            let workload = super::compiled(&text);
            let mut values = Values::new(&workload);
            values.begin(number, &[]);
            let crate::workload::Value::Int(value) = *values.get(0) else { panic!() };
            prop_assert!((from..=to).contains(&value), "{kind} {from} {to}: {value}");
        }
    }
}
