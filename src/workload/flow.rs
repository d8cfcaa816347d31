//! What virtual users do: flows, their steps, and what an answer must be.

use std::time::Duration;

use hyper::header::HeaderName;
use regex::bytes::Regex;

use super::{http::HttpRequest, json_path::JsonPath, profile::Wait, retry::Retry, template::Template, value::Value};

/// A weighted sequence of actions.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Name from the scenario.
    pub name: String,
    /// Sum of the weights of this and all earlier flows.
    pub cumulative_weight: u64,
    /// What it does.
    pub actions: Vec<Action>,
}

/// One thing in a flow.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly every action is a step")]
pub enum Action {
    /// A measured operation.
    Step(Step),
    /// Wait; the number tells its random numbers from those of others.
    Pause(Wait, u64),
    /// Do the same several times.
    Repeat {
        /// How often.
        times: u64,
        /// What.
        actions: Vec<Action>,
    },
}

/// What reports know of a measured step.
#[derive(Debug, Clone)]
pub struct MeasuredStep {
    /// Unique name.
    pub name: String,
    /// Name of its flow.
    pub flow: String,
    /// Index of its target; of a group, of its first member.
    pub target: usize,
    /// Index into [`super::Workload::groups`], where its load is shared.
    pub group: Option<usize>,
    /// Whether its answers are to be the same in all variants.
    pub comparable: bool,
    /// Whether its operations may be tried again or be rejected.
    pub persistent: bool,
}

/// One request, statement or transaction.
#[derive(Debug, Clone)]
pub struct Step {
    /// Index into [`super::Workload::measured`]; for setup and teardown, past its end.
    pub index: usize,
    /// Index into [`super::Workload::flows`]; 0 for steps that are in none.
    pub flow: usize,
    /// Name for messages.
    pub name: String,
    /// Index into [`super::Workload::targets`]; of a group, its first member.
    pub target: usize,
    /// Index into [`super::Workload::groups`], where its load is shared.
    pub group: Option<usize>,
    /// What is done.
    pub request: Request,
    /// What the answer must be.
    pub expect: Expect,
    /// Whether the order of its rows is part of the answer.
    pub ordered: bool,
    /// Variables to fill from the answer.
    pub save: Vec<Save>,
    /// How long each try may take.
    pub timeout: Duration,
    /// When it is tried again after a failure.
    pub retry: Option<Retry>,
    /// Index into [`super::Workload::breakers`].
    pub breaker: Option<usize>,
    /// The cache in front of it.
    pub cache: Option<CacheUse>,
    /// What it changes of what caches hold.
    pub writes: Vec<CacheWrite>,
}

/// A step's place in its cache.
#[derive(Debug, Clone)]
pub struct CacheUse {
    /// Index into [`super::Workload::caches`].
    pub cache: usize,
    /// What its answer is kept under.
    pub key: Template,
}

/// What a step changes of what a cache holds.
#[derive(Debug, Clone)]
pub struct CacheWrite {
    /// Index into [`super::Workload::caches`].
    pub cache: usize,
    /// The key whose answer is no longer true.
    pub key: Template,
    /// Whether the answer is removed.
    pub invalidate: bool,
}

/// A cache of answers, as an application has one in front of a database or service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Name of its step.
    pub name: String,
    /// How long an answer is used after it came.
    pub ttl: Duration,
    /// Beyond so many answers the least recently used one goes.
    pub max: usize,
}

impl Step {
    /// Whether its operations may be tried again or be rejected.
    pub fn is_persistent(&self) -> bool {
        self.retry.is_some() || self.breaker.is_some()
    }

    /// Whether the answer's body is needed after it was received.
    pub fn needs_body(&self) -> bool {
        self.needs_json()
            || self.expect.body_contains.is_some()
            || self.save.iter().any(|save| matches!(save.from, Extract::Body(_)))
    }

    /// Whether the body must be read as JSON.
    pub fn needs_json(&self) -> bool {
        !self.expect.json.is_empty() || self.save.iter().any(|save| matches!(save.from, Extract::Json(_)))
    }
}

/// A variable to fill from an answer.
#[derive(Debug, Clone)]
pub struct Save {
    /// The variable.
    pub variable: usize,
    /// Its name, for messages.
    pub name: Box<str>,
    /// Where the value stands.
    pub from: Extract,
}

/// Where in an answer a value stands.
#[derive(Debug, Clone)]
pub enum Extract {
    /// At a place of its JSON.
    Json(JsonPath),
    /// In the text of its body: the first group, else all that is matched.
    Body(Regex),
    /// In a header; the whole of it or, as in a body, what is matched.
    Header(HeaderName, Option<Regex>),
}

/// For messages: what was looked for.
impl std::fmt::Display for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json(path) => write!(f, "JSON path {path}"),
            Self::Body(regex) => write!(f, "regex {}", regex.as_str()),
            Self::Header(name, None) => write!(f, "header {name}"),
            Self::Header(name, Some(regex)) => write!(f, "regex {} in header {name}", regex.as_str()),
        }
    }
}

/// What a step asks of its target.
#[derive(Debug, Clone)]
pub enum Request {
    /// An HTTP request.
    Http(Box<HttpRequest>),
    /// One statement.
    Sql(Statement),
    /// Statements between BEGIN and COMMIT.
    Transaction(Vec<Statement>),
    /// Statements one after the other, each a transaction of its own.
    Statements(Vec<Statement>),
    /// A statement, and another one for every row of its answer.
    ForEach(ForEach),
    /// Rows for COPY … FROM STDIN.
    Copy(CopyIn),
}

impl Request {
    /// Its statements in order; none of HTTP.
    pub fn statements(&self) -> &[Statement] {
        match self {
            Self::Http(_) => &[],
            Self::Sql(statement) => std::slice::from_ref(statement),
            Self::Transaction(statements) | Self::Statements(statements) => statements,
            Self::ForEach(fan_out) => &fan_out.statements,
            Self::Copy(copy) => std::slice::from_ref(&copy.statement),
        }
    }
}

/// A statement, and another one for every row of its answer.
#[derive(Debug, Clone)]
pub struct ForEach {
    /// That which is performed once, and that which is performed for every row.
    pub statements: [Statement; 2],
    /// The variables of the second that are columns of a row, with their names.
    pub columns: Vec<(usize, Box<str>)>,
}

/// Rows for COPY … FROM STDIN.
#[derive(Debug, Clone)]
pub struct CopyIn {
    /// The command, and as its parameters the values of a row.
    pub statement: Statement,
    /// An INSERT into the same columns: whether they are there is told when it is prepared, which
    /// COPY, a command without a plan, does not tell. It is never executed.
    pub check: usize,
    /// How many rows, each with data drawn anew.
    pub times: u64,
}

/// An SQL statement with its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Index into [`super::Workload::statements`].
    pub index: usize,
    /// One per placeholder.
    pub parameters: Vec<Template>,
    /// Whether data is drawn anew before it: it begins another round of its step.
    pub redraw: bool,
}

/// What an answer must be.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Allowed statuses; empty means below 400.
    pub status: Vec<u16>,
    /// Headers with a text that they contain.
    pub headers: Vec<(HeaderName, Template)>,
    /// The largest body, in bytes as received.
    pub max_size: Option<u64>,
    /// Text the body contains.
    pub body_contains: Option<Template>,
    /// Values at places of the body.
    pub json: Vec<(JsonPath, Value)>,
    /// Rows returned.
    pub rows: Option<u64>,
    /// Rows changed.
    pub affected: Option<u64>,
}
