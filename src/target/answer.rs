//! What a target answered, and whether it is what the step expects.

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::Reply;
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{Step, Value, Values},
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
    /// HTTP headers, kept for `--once` only.
    pub headers: Vec<(String, String)>,
    /// Body, kept where it is needed.
    pub body: Bytes,
    /// Bytes of the body, kept or not.
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
    if let Some(unexpected) = unexpected(step, values, &reply.answer) {
        return reply.failed(unexpected.0, unexpected.1);
    }
    if step.save.is_empty() && step.expect.json.is_empty() {
        return Outcome::Completed;
    }
    let Some(json) = as_json(&reply.answer) else {
        return reply.failed(ErrorClass::Extraction, "the answer is not JSON");
    };
    for (path, wanted) in &step.expect.json {
        let found = path.find(&json).map(Value::from_json);
        if found.as_ref() != Some(wanted) {
            return reply.failed(
                ErrorClass::Expectation,
                format!(
                    "expected {} in the answer, found {}",
                    shown(Some(wanted)),
                    shown(found.as_ref())
                ),
            );
        }
    }
    for (variable, path) in &step.save {
        match path.find(&json) {
            Some(found) => values.save(*variable, Value::from_json(found)),
            None => {
                return reply.failed(
                    ErrorClass::Extraction,
                    "the answer has nothing at the path of a value to save",
                );
            }
        }
    }
    Outcome::Completed
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
    let wanted = expect.body_contains.as_ref()?;
    let mut text = String::new();
    wanted.render(values, &mut text);
    let found = answer
        .body
        .windows(text.len().max(1))
        .any(|window| window == text.as_bytes());
    (!found && !text.is_empty()).then(|| {
        (
            ErrorClass::Expectation,
            format!("the body does not contain \"{text}\": {}", start_of(&answer.body)),
        )
    })
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
