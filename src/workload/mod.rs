//! A scenario compiled: resolved, checked, immutable, shared by all workers.
//!
//! [`compile`] turns what was written into what is meant: templates into parts,
//! names into indices, quantities into numbers. Nothing in a [`Workload`] can
//! still be wrong, but for what only the systems under test know (whether they
//! answer, whether a statement prepares). Addresses may hold `{port}` and
//! `{dir}`, which the trial fills in once its processes stand.

mod answers;
mod compile;
mod data;
mod fingerprint;
mod generator;
mod http;
mod json_path;
mod kind;
mod load;
mod provision;
mod requests;
mod scope;
mod script;
mod secrets;
mod sql;
mod steps;
mod target;
mod template;
mod thresholds;
mod value;
mod variant;

#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyper::header::HeaderName;
use regex::bytes::Regex;

pub use self::{
    compile::{Rejected, compile},
    generator::{Draw, Generator, hyphenated, stream},
    http::{Body, Credentials, HttpRequest, HttpTarget, Path, Piece, Tls},
    json_path::JsonPath,
    provision::{Durability, Fixture, PrivateServer, Provision, Source},
    script::{Script, ScriptStatement},
    secrets::Secrets,
    sql::split as split_sql,
    template::{Encoding, Template, TemplateError},
    value::{Value, Values},
    variant::{Trial, Variant},
};
use crate::{
    metric::Metric,
    run::{Fingerprint, ScenarioText},
    threshold::Threshold,
    units::LONGEST,
};

/// The longest an operation may take unless the scenario says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A compiled scenario.
#[derive(Debug)]
pub struct Workload {
    /// Name of the scenario.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The text it came from, secrets masked.
    pub source: ScenarioText,
    /// What makes runs comparable.
    pub fingerprint: Fingerprint,
    /// The systems under test.
    pub targets: Vec<Target>,
    /// How much load.
    pub load: Load,
    /// How it is measured where there are several variants, and what is counted before the load.
    pub trial: Trial,
    /// Which of several variants it is; none where there is but one way to do the work.
    pub variant: Option<Variant>,
    /// The other variants, in the order of the scenario; this one is then the first, the reference.
    pub others: Vec<Arc<Workload>>,
    /// The same with fewer and with more records in an operation: how many, and the work.
    pub sizes: Option<[(u64, Arc<Workload>); 2]>,
    /// Performed once before the load.
    pub setup: Vec<Action>,
    /// What virtual users do.
    pub flows: Vec<Flow>,
    /// Performed once after the load.
    pub teardown: Vec<Action>,
    /// Performed by every virtual user when it starts.
    pub user_setup: Vec<Action>,
    /// Performed by every virtual user when it ends.
    pub user_teardown: Vec<Action>,
    /// The measured steps; [`Step::index`] points here.
    pub measured: Vec<MeasuredStep>,
    /// Limits.
    pub thresholds: Vec<Threshold>,
    /// All variables that templates use.
    pub(crate) variables: Vec<Variable>,
    /// Their names, by the same index.
    pub(crate) variable_names: Vec<String>,
    /// How many draw numbers one pass may use.
    pub(crate) draws_per_pass: u64,
    /// Texts that must not be shown.
    pub secrets: Secrets,
}

/// Where a variable gets its value.
#[derive(Debug, Clone)]
pub enum Variable {
    /// Drawn from data.
    Drawn(Draw),
    /// Saved from an answer.
    Saved,
}

/// A system under test.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name from the scenario.
    pub name: String,
    /// What speaks to it.
    pub kind: Kind,
    /// Started and stopped by loadgate.
    pub managed: Option<Managed>,
    /// The database that is made for the run; none: what the address names is used as it is.
    pub provision: Option<Provision>,
    /// The distinct SQL statements of all steps on it; [`Statement::index`] points here.
    pub statements: Vec<String>,
}

/// The protocol of a target and its address.
#[derive(Debug, Clone)]
pub enum Kind {
    /// HTTP/1.1 or HTTP/2.
    Http(HttpTarget),
    /// SQLite, in this process.
    Sqlite {
        /// The database file, may hold `{dir}`; empty where one is made for the run.
        path: String,
    },
    /// PostgreSQL.
    Postgres(PostgresTarget),
}

impl Kind {
    /// `http`, `sqlite`, `postgres`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// A PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PostgresTarget {
    /// URL or key-value connection string, may hold `{port}`; empty where a server is started for the run.
    pub connection: String,
    /// How statements are sent.
    pub protocol: Protocol,
    /// Whom to trust.
    pub tls: Tls,
}

/// How PostgreSQL statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Parsed once per connection, then bound and executed.
    Prepared,
    /// Parsed, bound and executed each time.
    Extended,
    /// As one text, parameters written into it as literals.
    Simple,
}

/// A process that loadgate starts and stops.
#[derive(Debug, Clone)]
pub struct Managed {
    /// Its command line, may hold `{port}`, `{dir}`, `{build}` and `{target.NAME.url}`.
    pub command: String,
    /// What is built for it first; `{build}` is then the directory of that.
    pub build: Option<BuildWanted>,
    /// Path that answers once it is ready.
    pub ready: String,
    /// How long it may take to become ready.
    pub ready_timeout: Duration,
}

/// A program to be built from a revision of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildWanted {
    /// A directory of the repository.
    pub repository: PathBuf,
    /// Branch, tag or commit, as written.
    pub revision: String,
    /// The command line that builds it.
    pub command: String,
}

/// How much load, for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Who decides when the next flow starts.
    pub profile: Profile,
    /// When the measured window ends.
    pub end: End,
    /// Load before the window, left out of all figures.
    pub warm_up: Duration,
    /// How long operations in flight may take after the window.
    pub drain: Duration,
    /// Whether the highest rate is to be found; the profile is then open and has the first rate.
    pub search: Option<Search>,
    /// What ends the run early.
    pub abort_when: Vec<AbortWhen>,
}

/// A search for the highest rate at which the absolute limits hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// The first rate, per second.
    pub from: f64,
    /// The highest rate to try.
    pub to: f64,
    /// The search ends when the lowest rate that broke a limit is no more than this share above the highest that held.
    pub precision: f64,
}

/// Ends a run early when a metric is beyond its limit in every second for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct AbortWhen {
    /// Index of the step; `None` means all together.
    pub step: Option<usize>,
    /// What is looked at.
    pub metric: &'static Metric,
    /// In the metric's base unit.
    pub limit: f64,
    /// For so long.
    pub lasting: Duration,
    /// As it was written, for people.
    pub text: String,
}

/// When the measured window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After this many passes.
    Passes(u64),
}

/// Who decides when the next flow starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Profile {
    /// Arrivals by a schedule.
    Open {
        /// Flow starts per second, over time.
        rates: Rates,
        /// Their spacing.
        arrivals: Arrivals,
        /// Flows under way at once.
        max_in_flight: usize,
        /// Due flows that may wait for a session.
        queue: usize,
    },
    /// Users who wait for their answers.
    Closed {
        /// How many there are at the beginning of the window.
        users: usize,
        /// Time over which they are started.
        ramp: Duration,
        /// How their number changes in the window: users at the end of each stage, and its length.
        stages: Vec<(usize, Duration)>,
        /// Between two passes of a user.
        think: Option<Wait>,
        /// At most so many passes per second, over all users.
        throttle: Option<f64>,
    },
}

/// A rate over time, in straight lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Flow starts per second at the beginning.
    pub start: f64,
    /// The rate at the end of each stage, and its length; after the last one the rate stays.
    pub stages: Vec<(f64, Duration)>,
}

impl Rates {
    /// The same rate at all times.
    pub fn constant(rate: f64) -> Self {
        Self {
            start: rate,
            stages: Vec::new(),
        }
    }

    /// The highest there is.
    pub fn highest(&self) -> f64 {
        self.stages.iter().map(|(rate, _)| *rate).fold(self.start, f64::max)
    }
}

/// A time to wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// Always the same.
    Fixed(Duration),
    /// Any time between two bounds.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// Exponentially distributed around this mean.
    Exponential(Duration),
}

impl Wait {
    /// The length of wait number `number` for one purpose: a function of these and the seed.
    pub fn length(&self, seed: u64, purpose: u64, number: u64) -> Duration {
        use rand::RngExt as _;
        let share = || -> f64 { stream(seed, purpose, number).random() };
        match *self {
            Self::Fixed(length) => length,
            Self::Uniform { from, to } => from + to.saturating_sub(from).mul_f64(share()),
            // No wait is beyond what a scenario may ask for.
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - share()).ln()).min(LONGEST),
        }
    }

    /// What can be said of it in a sentence.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Fixed(length) => length,
            Self::Uniform { from, to } => (from + to) / 2,
            Self::Exponential(mean) => mean,
        }
    }
}

/// Spacing of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// One every 1/rate.
    Even,
    /// Independent of each other, exponential gaps.
    Poisson,
}

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
    /// Index of its target.
    pub target: usize,
    /// Whether its answers are to be the same in all variants.
    pub comparable: bool,
}

/// One request, statement or transaction.
#[derive(Debug, Clone)]
pub struct Step {
    /// Index into [`Workload::measured`]; for setup and teardown, past its end.
    pub index: usize,
    /// Name for messages.
    pub name: String,
    /// Index into [`Workload::targets`].
    pub target: usize,
    /// What is done.
    pub request: Request,
    /// What the answer must be.
    pub expect: Expect,
    /// Whether the order of its rows is part of the answer.
    pub ordered: bool,
    /// Variables to fill from the answer.
    pub save: Vec<Save>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Step {
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
}

/// An SQL statement with its parameters.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Index into [`Target::statements`].
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

impl Workload {
    /// This one and the others, the reference first.
    pub fn variants(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(&self.others)
    }

    /// The statements that flows execute on a target, by index into [`Target::statements`].
    pub fn flow_statements(&self, target: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for flow in &self.flows {
            collect_statements(&flow.actions, target, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The number of a pass before the measured window: far from those within
    /// it, so that warm-up draws other data, yet such that a sequence stays
    /// within the integers of any database as long as passes draw little.
    pub fn warm_up_pass(&self, number: u64) -> u64 {
        (1_000_000_000 / self.draws_per_pass).max(1_000_000) + number
    }

    /// What templates call a variable.
    pub fn variable_name(&self, variable: usize) -> &str {
        &self.variable_names[variable]
    }

    /// The flow of pass number `pass`: a function of the seed and the number.
    pub fn flow_of(&self, pass: u64) -> &Flow {
        use rand::RngExt as _;
        const CHOICE_OF_FLOW: u64 = 0x666c_6f77;
        let total = self.flows.last().map_or(1, |flow| flow.cumulative_weight);
        let ticket = if self.flows.len() == 1 {
            0
        } else {
            stream(self.seed, CHOICE_OF_FLOW, pass).random_range(0..total)
        };
        let at = self.flows.partition_point(|flow| flow.cumulative_weight <= ticket);
        &self.flows[at]
    }
}

fn collect_statements(actions: &[Action], target: usize, found: &mut Vec<usize>) {
    for action in actions {
        match action {
            Action::Step(step) if step.target == target => match &step.request {
                Request::Sql(statement) => found.push(statement.index),
                Request::Transaction(statements) | Request::Statements(statements) => {
                    found.extend(statements.iter().map(|statement| statement.index));
                }
                Request::Http(_) => {}
            },
            Action::Repeat { actions, .. } => collect_statements(actions, target, found),
            Action::Step(_) | Action::Pause(..) => {}
        }
    }
}
