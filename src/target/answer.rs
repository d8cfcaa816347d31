//! What a target answered, and whether it is what the step expects.

use bytes::Bytes;
use hyper::{HeaderMap, header::HeaderName};
use regex::bytes::Regex;
use serde_json::{Map, Value as Json};

use super::Reply;
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{Extract, Step, Template, Value, Values},
};

/// Of a body that nobody needs, this many bytes are kept to explain a failure.
/// More than is ever shown: a secret must not be cut in half before it is masked.
pub(super) const KEPT_FOR_MESSAGE: usize = 2048;

/// One row: column names with values.
pub type Row = Map<String, Json>;

/// What a target answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: Option<u16>,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// Body, kept where it is needed.
    pub body: Bytes,
    /// Bytes of the body, kept or not; of the rows of PostgreSQL that are kept.
    pub body_bytes: u64,
    /// Rows, kept where they are needed.
    pub rows: Vec<Row>,
    /// Rows returned, kept or not.
    pub row_count: u64,
    /// Rows changed.
    pub affected: u64,
}

/// Judges an answer by the step's expectations, then saves what the step saves.
pub(super) fn examine(step: &Step, values: &mut Values<'_>, reply: &mut Reply) -> Outcome {
    let wrong = unexpected(step, values, &reply.answer);
    match wrong.map_or_else(|| read(step, values, &reply.answer), Err) {
        Ok(()) => Outcome::Completed,
        Err((class, message)) => reply.failed(class, message),
    }
}

/// Looks at what stands inside the answer: compares its JSON and saves values.
fn read(step: &Step, values: &mut Values<'_>, answer: &Answer) -> Result<(), (ErrorClass, String)> {
    let json = step.needs_json().then(|| as_json(answer)).flatten();
    for (path, wanted) in &step.expect.json {
        let Some(json) = &json else {
            return Err((ErrorClass::Expectation, "the answer is not JSON".into()));
        };
        let found = path.find(json).map(Value::from_json);
        if !found.as_ref().is_some_and(|found| found.equals(wanted)) {
            let message = format!(
                "expected {} at {path} in the answer, found {}",
                shown(Some(wanted)),
                shown(found.as_ref())
            );
            return Err((ErrorClass::Expectation, message));
        }
    }
    for save in &step.save {
        match find(&save.from, json.as_ref(), answer) {
            Some(found) => values.save(save.variable, found),
            None => {
                let no_json = json.is_none() && matches!(save.from, Extract::Json(_));
                let reason = if no_json {
                    "the answer is not JSON"
                } else {
                    "not in the answer"
                };
                let message = format!("nothing to save as \"{}\" ({}): {reason}", save.name, save.from);
                return Err((ErrorClass::Extraction, message));
            }
        }
    }
    Ok(())
}

/// The value that stands there.
fn find(from: &Extract, json: Option<&Json>, answer: &Answer) -> Option<Value> {
    match from {
        Extract::Json(path) => path.find(json?).map(Value::from_json),
        Extract::Body(regex) => matched(regex, &answer.body),
        Extract::Header(name, regex) => answer.headers.get_all(name).iter().find_map(|value| match regex {
            Some(regex) => matched(regex, value.as_bytes()),
            None => Some(text(value.as_bytes())),
        }),
    }
}

/// The first group, else all that matches.
fn matched(regex: &Regex, bytes: &[u8]) -> Option<Value> {
    let groups = regex.captures(bytes)?;
    let found = groups.get(1).or_else(|| groups.get(0))?;
    Some(text(found.as_bytes()))
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into())
}

/// Whether the step takes an answer of that status.
pub(super) fn allows_status(step: &Step, status: u16) -> bool {
    match step.expect.status.as_slice() {
        [] => status < 400,
        allowed => allowed.contains(&status),
    }
}

/// The first expectation that does not hold, except those about JSON.
fn unexpected(step: &Step, values: &mut Values<'_>, answer: &Answer) -> Option<(ErrorClass, String)> {
    let expect = &step.expect;
    if let Some(status) = answer.status.filter(|status| !allows_status(step, *status)) {
        return Some((ErrorClass::Status(status), start_of(&answer.body)));
    }
    let count = |wanted: Option<u64>, found: u64, what: &str| {
        wanted.filter(|wanted| *wanted != found).map(|wanted| {
            (
                ErrorClass::Expectation,
                format!("expected {wanted} {what}, found {found}"),
            )
        })
    };
    if let Some(wrong) =
        count(expect.rows, answer.row_count, "rows").or_else(|| count(expect.affected, answer.affected, "changed rows"))
    {
        return Some(wrong);
    }
    if let Some(wrong) = unexpected_header(&expect.headers, values, &answer.headers) {
        return Some((ErrorClass::Expectation, wrong));
    }
    let wanted = expect.body_contains.as_ref()?;
    let mut text = String::new();
    wanted.render(values, &mut text);
    (!contains(&answer.body, &text)).then(|| {
        (
            ErrorClass::Expectation,
            format!("the body does not contain \"{text}\": {}", start_of(&answer.body)),
        )
    })
}

/// The first header that is not there or does not contain what it should.
fn unexpected_header(
    wanted: &[(HeaderName, Template)],
    values: &mut Values<'_>,
    headers: &HeaderMap,
) -> Option<String> {
    wanted.iter().find_map(|(name, template)| {
        let mut text = String::new();
        template.render(values, &mut text);
        let found = headers.get_all(name);
        if found.iter().any(|value| contains(value.as_bytes(), &text)) {
            return None;
        }
        let found: Vec<_> = found
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        Some(if found.is_empty() {
            format!("the answer has no header {name}")
        } else {
            format!("header {name} does not contain \"{text}\": {}", found.join(", "))
        })
    })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The body, or the rows as an array of objects.
fn as_json(answer: &Answer) -> Option<Json> {
    if answer.status.is_some() {
        serde_json::from_slice(&answer.body).ok()
    } else {
        Some(Json::Array(answer.rows.iter().cloned().map(Json::Object).collect()))
    }
}

fn start_of(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(KEPT_FOR_MESSAGE)]).into_owned()
}

/// As JSON, for people.
fn shown(value: Option<&Value>) -> String {
    let mut text = String::new();
    match value {
        Some(value) => value.write_json(&mut text),
        None => text.push_str("nothing"),
    }
    text
}
