//! What templates become: encodings, types, draws.

use super::{compiled, flow, rendered, steps};
use crate::workload::{Request, Value, Values, Workload};

/// Data whose values need every kind of escaping.
const DATA: &str = r#"
[data.text]
constant = 'a "b" & c/ä'
[data.number]
constant = 7
[data.share]
constant = 0.5
[data.flag]
constant = true
"#;

fn begun(workload: &Workload) -> Values<'_> {
    let mut values = Values::new(workload);
    values.begin(0, &[]);
    values
}

#[test]
fn paths_are_percent_encoded_and_bodies_are_not() {
    let workload = flow(&format!(
        "[[flow.step]]\npost = \"/x?q={{{{ text }}}}&n={{{{number}}}}\"\nbody = \"{{{{ text }}}}\"\n{DATA}"
    ));
    let (path, body) = rendered(&workload, 0, &mut begun(&workload));
    assert_eq!(path, "/x?q=a%20%22b%22%20%26%20c%2F%C3%A4&n=7");
    assert_eq!(body, "a \"b\" & c/ä");
}

#[test]
fn in_json_a_lone_template_keeps_its_type_and_text_is_escaped() {
    let workload = flow(&format!(
        r#"[[flow.step]]
        post = "/x"
        json = {{ a = "{{{{ number }}}}", b = "n={{{{ number }}}}", c = ["{{{{ flag }}}}", "{{{{ share }}}}"], d = "\"{{{{ text }}}}\\", e = {{}}, f = 1.5 }}
        {DATA}"#
    ));
    let (_, body) = rendered(&workload, 0, &mut begun(&workload));
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"a": 7, "b": "n=7", "c": [true, 0.5], "d": "\"a \"b\" & c/ä\\", "e": {}, "f": 1.5})
    );
    let Request::Http(http) = &steps(&workload)[0].request else {
        panic!()
    };
    assert_eq!(http.headers["content-type"], "application/json");
}

#[test]
fn statements_get_typed_parameters_numbered_as_their_database_wants() {
    let workload = flow(&format!(
        "[[flow.step]]\nsql = \"SELECT $2, $1, $3, $4\"\nparams = [\"{{{{ number }}}}\", \"n={{{{ number }}}}\", 3, \"{{{{ flag }}}}\"]\n{DATA}"
    ));
    let Request::Sql(statement) = &steps(&workload)[0].request else {
        panic!()
    };
    let mut values = begun(&workload);
    let parameters: Vec<_> = statement.parameters.iter().map(|p| p.value(&mut values)).collect();
    assert_eq!(
        parameters,
        [
            Value::Int(7),
            Value::Text("n=7".into()),
            Value::Int(3),
            Value::Bool(true)
        ]
    );
    assert_eq!(*workload.statements, ["SELECT ?2, ?1, ?3, ?4"]);
}

#[test]
fn the_same_statement_is_prepared_once() {
    let workload = flow(
        "[[flow.step]]\nname = \"a\"\nsql = \"SELECT 1\"\n[[flow.step]]\nname = \"b\"\ntransaction = [{ sql = \"SELECT 2\" }, { sql = \"SELECT 1\" }]\n",
    );
    assert_eq!(*workload.statements, ["SELECT 1", "SELECT 2"]);
}

#[test]
fn variables_of_the_environment_are_filled_in_and_can_be_escaped() {
    let text = super::flow_text(
        "[[flow.step]]\npost = \"/${PART}/${NONE:-x}/${EMPTY:-y}\"\nbody = \"$${PART} ${PART}{{ c }}{{ d }}\"\n[data.c]\nconstant = \"${PART}!\"\n[data.d]\nchoice = [\"${PART}?\"]\n",
    );
    let workload = super::with_variables(&text, &[("PART", "p"), ("EMPTY", "")]).unwrap();
    let (path, body) = rendered(&workload, 0, &mut begun(&workload));
    assert_eq!((path.as_str(), body.as_str()), ("/p/x/y", "${PART} pp!p?"));
}

#[test]
fn a_saved_value_is_known_to_later_steps_and_setup_saves_for_all() {
    let text = format!(
        r#"{}
        [[setup]]
        post = "/login"
        save = {{ token = "$.token" }}
        [[flow]]
        name = "a"
        [[flow.step]]
        name = "one"
        get = "/{{{{ token }}}}"
        save = {{ id = "$.id" }}
        [[flow.step]]
        name = "two"
        get = "/{{{{ token }}}}/{{{{ id }}}}"
        [[teardown]]
        post = "/logout/{{{{ token }}}}"
        "#,
        super::HEAD
    );
    let workload = compiled(&text);
    let mut values = begun(&workload);
    let saved = |name: &str| (0..2).find(|index| workload.variable_name(*index) == name).unwrap();
    values.save(saved("token"), Value::Text("t".into()));
    let globals = values.saved();
    let mut values = Values::new(&workload);
    values.begin(1, &globals);
    values.save(saved("id"), Value::Int(5));
    assert_eq!(rendered(&workload, 1, &mut values).0, "/t/5");
    values.begin(2, &globals);
    assert_eq!(
        rendered(&workload, 1, &mut values).0,
        "/t/",
        "a pass forgets the last one's"
    );
}

const REPEATS: &str = r#"
[[flow.step]]
repeat = 3
step = [{ repeat = 2, step = [{ name = "inner", get = "/{{ n }}" }] }, { name = "outer", get = "/o/{{ n }}" }]
[data.n]
sequence = { from = 0 }
"#;

#[test]
fn no_two_rounds_of_any_pass_draw_the_same_number() {
    use crate::workload::Action;
    fn perform(actions: &[Action], values: &mut Values<'_>, drawn: &mut Vec<Value>) {
        for action in actions {
            match action {
                Action::Repeat { times, actions } => {
                    for _ in 0..*times {
                        values.redraw();
                        drawn.push(values.get(0).clone());
                        perform(actions, values, drawn);
                    }
                }
                Action::Step(_) | Action::Pause(..) => {}
            }
        }
    }
    let workload = flow(REPEATS);
    assert_eq!(workload.draws_per_pass, 1 + 3 * (1 + 2));
    let mut values = Values::new(&workload);
    let mut drawn = Vec::new();
    for pass in 0..4 {
        values.begin(pass, &[]);
        drawn.push(values.get(0).clone());
        perform(&workload.flow_of(pass).actions, &mut values, &mut drawn);
    }
    assert_eq!(drawn.len(), 4 * 10);
    let mut unique = drawn.clone();
    unique.sort_by_key(|value| format!("{value:?}"));
    unique.dedup();
    assert_eq!(unique.len(), drawn.len(), "{drawn:?}");
}

const WEIGHTED: &str = "[[flow]]\nname = \"a\"\nweight = 3\nstep = [{ get = \"/a/{{ u }}\" }]\n[[flow]]\nname = \"b\"\nstep = [{ get = \"/b\" }]\n[data.u]\nuniform = { from = 1, to = 1_000_000 }\n";

#[test]
fn flow_and_data_of_a_pass_follow_from_seed_and_number() {
    let text = format!("{}{WEIGHTED}", super::HEAD);
    let trace = |text: &str| -> Vec<(String, Value)> {
        let workload = compiled(text);
        let mut values = Values::new(&workload);
        (0..400)
            .map(|pass| {
                values.begin(pass, &[]);
                (workload.flow_of(pass).name.clone(), values.get(0).clone())
            })
            .collect()
    };
    let first = trace(&text);
    assert_eq!(first, trace(&text));
    assert_ne!(
        first,
        trace(&text.replace("name = \"test\"", "name = \"test\"\nseed = 2"))
    );
    // Three of four: 300 ± 8.7.
    let chosen = first.iter().filter(|(flow, _)| flow == "a").count();
    assert!((260..340).contains(&chosen), "{chosen}");
}

#[test]
fn columns_of_a_file_give_the_same_row() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("users.csv"), "id, name\n1,ann\n2,bob\n3,eve\n").unwrap();
    for order in ["sequential", "random"] {
        let text = super::flow_text(&format!(
            "[[flow.step]]\nget = \"/{{{{ users.id }}}}/{{{{ users.name }}}}\"\n[data.users]\ncsv = \"${{DIR}}/users.csv\"\norder = \"{order}\"\n"
        ));
        let directory = directory.path().to_str().unwrap();
        let workload = super::with_variables(&text, &[("DIR", directory)]).unwrap();
        let mut values = Values::new(&workload);
        let paths: Vec<String> = (0..4)
            .map(|pass| {
                values.begin(pass, &[]);
                rendered(&workload, 0, &mut values).0
            })
            .collect();
        assert!(
            paths
                .iter()
                .all(|path| ["/1/ann", "/2/bob", "/3/eve"].contains(&path.as_str())),
            "{paths:?}"
        );
        if order == "sequential" {
            assert_eq!(paths, ["/1/ann", "/2/bob", "/3/eve", "/1/ann"]);
        }
    }
}
