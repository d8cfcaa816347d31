//! Compiling as a whole, from the text of a scenario.

mod fingerprints;
mod groups;
mod links;
mod modes;
mod nonsense;
mod persistence;
mod pools;
mod problems;
mod provisions;
mod requests;
mod secrets;
mod templates;

use super::{Action, Request, Step, Values, Workload, compile};
use crate::scenario::{Text, parse};

/// An HTTP target, a database and a load; flows and data follow.
const HEAD: &str = r#"
name = "test"
[target.api]
http = "http://127.0.0.1:1"
[target.db]
sqlite = "test.db"
[load]
users = 1
duration = "1s"
"#;

fn with_variables(toml: &str, variables: &[(&str, &str)]) -> Result<Workload, String> {
    let text = Text {
        path: "test.toml".into(),
        toml: toml.into(),
    };
    let variable = |wanted: &str| {
        variables
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| (*value).to_owned())
    };
    compile(parse(text, &[]).unwrap(), &variable).map_err(|rejected| rejected.problems.render(&rejected.text, false))
}

fn compiled(toml: &str) -> Workload {
    with_variables(toml, &[]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A workload of one flow, from its steps and anything that follows.
fn flow(steps: &str) -> Workload {
    compiled(&flow_text(steps))
}

fn flow_text(steps: &str) -> String {
    format!("{HEAD}[[flow]]\nname = \"main\"\n{steps}")
}

/// Titles and labels of all problems of a flow, one line each.
fn problems(steps: &str) -> Vec<String> {
    told(&flow_text(steps))
}

fn told(toml: &str) -> Vec<String> {
    let text = Text {
        path: "test.toml".into(),
        toml: toml.into(),
    };
    match compile(parse(text, &[]).unwrap(), &|_| None) {
        Ok(_) => Vec::new(),
        Err(rejected) => rejected
            .problems
            .sorted()
            .iter()
            .map(|problem| format!("{}: {}", problem.title, problem.label))
            .collect(),
    }
}

fn steps(workload: &Workload) -> Vec<&Step> {
    fn collect<'a>(actions: &'a [Action], into: &mut Vec<&'a Step>) {
        for action in actions {
            match action {
                Action::Step(step) => into.push(step),
                Action::Pause(..) => {}
                Action::Repeat { actions, .. } => collect(actions, into),
            }
        }
    }
    let mut found = Vec::new();
    for flow in &workload.flows {
        collect(&flow.actions, &mut found);
    }
    found
}

/// Path and body of an HTTP step with the values of one pass.
fn rendered(workload: &Workload, step: usize, values: &mut Values<'_>) -> (String, String) {
    let Request::Http(http) = &steps(workload)[step].request else {
        panic!("no HTTP step")
    };
    let (mut path, mut body) = (String::new(), String::new());
    http.path.render(values, &mut path);
    if let Some(written) = &http.body {
        body = String::from_utf8(written.render(values).to_vec()).unwrap();
    }
    (path, body)
}
