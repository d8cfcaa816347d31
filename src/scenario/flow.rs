//! The keys of flows and their steps.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    data::Scalar,
    file::At,
    http::{Auth, Expect, Part, Save},
    load::Wait,
    persistence::{Breaker, Retry},
};

/// A weighted sequence of steps that a virtual user performs.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Flow {
    /// Names the flow in reports.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// How often it is chosen, relative to the other flows. Default 1.
    pub weight: Option<At<i64>>,
    /// Its steps, in order. A failed step ends the pass.
    pub step: Vec<At<Step>>,
}

/// One step: exactly one of an HTTP method, `sql`, `transaction`, `statements`, `copy`, `pause`, `repeat`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Step {
    /// Names the step in reports and thresholds; unique in the scenario.
    pub name: Option<At<String>>,
    /// Name of the target; may be left out where only one fits.
    pub target: Option<At<String>>,
    /// GET this path.
    pub get: Option<At<String>>,
    /// POST to this path.
    pub post: Option<At<String>>,
    /// PUT to this path.
    pub put: Option<At<String>>,
    /// PATCH this path.
    pub patch: Option<At<String>>,
    /// DELETE this path.
    pub delete: Option<At<String>>,
    /// HEAD of this path.
    pub head: Option<At<String>>,
    /// OPTIONS of this path.
    pub options: Option<At<String>>,
    /// Headers of the request.
    #[serde(default)]
    pub headers: BTreeMap<String, At<String>>,
    /// Body of the request as text.
    pub body: Option<At<String>>,
    /// Body of the request as JSON; a template alone in a string keeps its type.
    #[serde(serialize_with = "as_text")]
    pub json: Option<At<serde_json::Value>>,
    /// Body of the request as a form (urlencoded): name = value, templates allowed.
    #[serde(default)]
    pub form: BTreeMap<String, At<Scalar>>,
    /// Body of the request in parts (`multipart/form-data`), for forms with files.
    pub multipart: Option<At<Vec<At<Part>>>>,
    /// Body of the request: the bytes of this file. Relative to the scenario file, up to 64 MiB.
    pub body_file: Option<At<String>>,
    /// Who asks; overrides the target's.
    pub auth: Option<At<Auth>>,
    /// Follow up to so many redirects; overrides the target's.
    pub redirects: Option<At<i64>>,
    /// One SQL statement with `$1`, `$2`, … for parameters.
    pub sql: Option<At<String>>,
    /// Parameters of the statement, templates allowed.
    pub params: Option<At<Vec<At<Scalar>>>>,
    /// One statement more for every row of the statement's answer, all in one operation: N+1 on purpose.
    pub for_each: Option<At<ForEach>>,
    /// Rows written with COPY … FROM STDIN; PostgreSQL only.
    pub copy: Option<At<CopyIn>>,
    /// Several statements in one transaction, rolled back on an error.
    pub transaction: Option<At<Vec<At<Statement>>>>,
    /// Several statements one after the other, each a transaction of its own; one operation.
    pub statements: Option<At<Vec<At<Statement>>>>,
    /// How many times a `transaction` or `statements` performs its statements; data is drawn anew each time. Default 1.
    pub times: Option<At<i64>>,
    /// Wait, as in `100ms`, or random. The next step is due after it.
    pub pause: Option<At<Wait>>,
    /// Perform the steps below this many times; data is drawn anew each time.
    pub repeat: Option<At<i64>>,
    /// The steps that `repeat` performs.
    #[serde(default)]
    pub step: Vec<At<Step>>,
    /// What the answer must be, else the operation failed.
    pub expect: Option<At<Expect>>,
    /// Values to keep for later steps: name = JSON path, as in `$.items[0].id`, or `{ regex = … }`, or `{ header = … }`.
    #[serde(default)]
    pub save: BTreeMap<String, At<Save>>,
    /// A cache in front of this step, as an application has one: what is in it is not asked of the target.
    pub cache: Option<At<Cache>>,
    /// What this step changes of what caches hold.
    #[serde(default)]
    pub writes: Vec<At<Write>>,
    /// `false`: variants may answer this step differently.
    pub comparable: Option<bool>,
    /// How long this step may take; overrides the target's.
    pub timeout: Option<At<String>>,
    /// How long the head of the answer may take once the request is sent; overrides the target's.
    pub first_byte_timeout: Option<At<String>>,
    /// When it is tried again after a failure, instead of the target's `retry`; `none`: never.
    pub retry: Option<At<Retry>>,
    /// A circuit breaker of its own, instead of the target's; `false`: none.
    pub breaker: Option<At<Breaker>>,
}

/// JSON is written as its text: what is absent and what is empty are two things in a body.
fn as_text<S: serde::Serializer>(json: &Option<At<serde_json::Value>>, serializer: S) -> Result<S::Ok, S::Error> {
    json.as_ref().map(|json| json.value.to_string()).serialize(serializer)
}

/// A statement of a transaction.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Statement {
    /// The SQL with `$1`, `$2`, … for parameters.
    #[schemars(required)]
    pub sql: Option<At<String>>,
    /// Parameters, templates allowed.
    pub params: Option<At<Vec<At<Scalar>>>>,
}

/// What is performed for every row of an answer.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct ForEach {
    /// The SQL with `$1`, `$2`, … for parameters.
    #[schemars(required)]
    pub sql: Option<At<String>>,
    /// Parameters, templates allowed; `{{ row.NAME }}` is the column of that name.
    pub params: Option<At<Vec<At<Scalar>>>>,
}

/// Rows for COPY … FROM STDIN.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct CopyIn {
    /// The table and its columns, as in `emissions (organization_id, facility_id)`.
    #[schemars(required)]
    pub into: Option<At<String>>,
    /// The values of a row, one for each column, templates allowed.
    #[schemars(required)]
    pub row: Option<At<Vec<At<Scalar>>>>,
    /// How many rows; data is drawn anew for each. Default 1.
    pub times: Option<At<i64>>,
}

/// A cache of answers, shared by all sessions of a variant.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Cache {
    /// What an answer is kept under, templates allowed.
    #[schemars(required)]
    pub key: Option<At<String>>,
    /// How long an answer is used after it came, as in `60s`.
    #[schemars(required)]
    pub ttl: Option<At<String>>,
    /// Beyond so many answers the least recently used one goes. Default 10,000.
    pub max: Option<At<i64>>,
}

/// What a step changes of what a cache holds.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Write {
    /// Name of the step that has the cache.
    #[schemars(required)]
    pub cache: Option<At<String>>,
    /// The key whose answer is no longer true, templates allowed.
    #[schemars(required)]
    pub key: Option<At<String>>,
    /// `true` removes the answer. Else it stays, and those who get it are counted as stale reads.
    pub invalidate: Option<bool>,
}

/// One integer or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(i64),
    /// Several.
    Many(Vec<i64>),
}
