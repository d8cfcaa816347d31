//! The keys of a scenario file: one optional key per kind, in plain structs.
//!
//! "Exactly one of" is checked by hand in [`crate::workload`], because serde
//! loses the place of an error in tagged and untagged enums. The doc comments
//! here become the descriptions in the JSON Schema that editors show.
//!
//! Reading takes every key as optional (`serde(default)`), so that all problems
//! can be told at once; the schema (`schemars(!default)`) says which are required.

use std::{collections::BTreeMap, ops::Range};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    http::{Auth, Expect, Part, Save},
    variant::{Trial, Variant},
};

/// A value and its place in the text (byte offsets).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Start of its place.
    pub start: usize,
    /// End of its place.
    pub end: usize,
}

impl<T> At<T> {
    /// The place as a range of bytes.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> At<U> {
        At {
            value,
            start: self.start,
            end: self.end,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let Range { start, end } = spanned.span();
        Ok(Self {
            value: spanned.into_inner(),
            start,
            end,
        })
    }
}

/// Places are no part of what was written: only the value counts in a fingerprint.
impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }
}

/// A loadgate scenario: targets, flows of steps, a load profile and thresholds.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Scenario {
    /// Names the scenario in reports and baselines.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// What it shows, for readers of the file and the report.
    pub description: Option<String>,
    /// Seed of everything random: choice of flow, data, arrivals. Default 1.
    pub seed: Option<At<i64>>,
    /// The systems under test, by name.
    pub target: BTreeMap<String, At<Target>>,
    /// Databases as they are before the load, by the name that targets use.
    #[serde(default)]
    pub fixture: BTreeMap<String, At<Fixture>>,
    /// How much load, for how long.
    #[schemars(required)]
    pub load: Option<At<Load>>,
    /// Generated and read data, by the name used in templates.
    #[serde(default)]
    pub data: BTreeMap<String, At<Data>>,
    /// What virtual users do; left out where every variant has flows of its own.
    #[serde(default)]
    pub flow: Vec<At<Flow>>,
    /// Steps performed once before any load, not measured. What they save is known to all flows.
    #[serde(default)]
    pub setup: Vec<At<Step>>,
    /// Steps performed once after the load, not measured, also after an interrupt.
    #[serde(default)]
    pub teardown: Vec<At<Step>>,
    /// Steps that every virtual user performs when it starts, not measured: a login. What they save is known to its flows.
    #[serde(default)]
    pub user_setup: Vec<At<Step>>,
    /// Steps that every virtual user performs when it ends, not measured.
    #[serde(default)]
    pub user_teardown: Vec<At<Step>>,
    /// Ways to do the same work, measured beside each other in one run; the first is the reference.
    #[serde(default)]
    pub variant: Vec<At<Variant>>,
    /// How variants are measured, and what is counted before the load.
    #[serde(default)]
    pub trial: Option<At<Trial>>,
    /// Limits on what is measured.
    #[serde(default)]
    pub threshold: Vec<At<Threshold>>,
}

/// A system under test: exactly one of `http`, `sqlite`, `postgres`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Target {
    /// Base URL, as in `http://127.0.0.1:8080`; `{port}` is the port of a managed process.
    pub http: Option<At<String>>,
    /// Path of a SQLite database; `{dir}` is a private directory of the run. `ephemeral`: a file of this run's own.
    pub sqlite: Option<At<String>>,
    /// URL of a PostgreSQL server, or `env` for the variables PGHOST, PGPORT, … or DB_HOST, DB_PORT, …, or `ephemeral`: a server of this run's own.
    pub postgres: Option<At<String>>,
    /// Of an ephemeral PostgreSQL: `ci` (default: in memory where it fits, no fsync) or `durable` (on disk, as in production).
    pub profile: Option<At<String>>,
    /// Settings of PostgreSQL for the database that the run makes, as in `{ work_mem = "64kB" }`.
    #[serde(default)]
    pub settings: BTreeMap<String, At<Scalar>>,
    /// Name of the fixture that the run's own database is a copy of.
    pub fixture: Option<At<String>>,
    /// What `:scale` is in the SQL of the fixture. Default 1.
    pub scale: Option<At<i64>>,
    /// `true` allows to create databases on a server that is not ephemeral, and drops them at the end; their names begin with `lg_`.
    pub create: Option<At<bool>>,
    /// Command of a managed process: started before the load on a free `{port}`, stopped after it.
    pub start: Option<At<String>>,
    /// Command that builds the managed process, once per commit, in a work tree of its own, which is `{build}` in `start`.
    pub build: Option<At<String>>,
    /// The git revision to build, of the repository in which the scenario lies. Default `HEAD`.
    pub revision: Option<At<String>>,
    /// Path (http) that answers 2xx or 3xx once the managed process is ready. Default `/`.
    pub ready: Option<At<String>>,
    /// How long the managed process may take to become ready. Default 30s.
    pub ready_timeout: Option<At<String>>,
    /// Headers sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, At<String>>,
    /// Who asks, unless a step says otherwise.
    pub auth: Option<At<Auth>>,
    /// Host that requests and the TLS handshake name, instead of that of the URL: `shop.example` or `shop.example:8443`.
    pub host: Option<At<String>>,
    /// Speak HTTP/2: over TLS as negotiated by ALPN, else with prior knowledge.
    pub http2: Option<At<bool>>,
    /// Follow up to so many redirects within the target. Default 0: a redirect is an answer like any other.
    pub redirects: Option<At<i64>>,
    /// Keep the cookies that answers set, for each user its own. Default true.
    pub cookies: Option<At<bool>>,
    /// Ask for bodies compressed with gzip or br.
    pub compression: Option<At<bool>>,
    /// How long one operation may take before it counts as failed. Default 30s.
    pub timeout: Option<At<String>>,
    /// How long making a connection may take, TLS included; within `timeout`.
    pub connect_timeout: Option<At<String>>,
    /// How long the head of an answer may take once the request is sent; within `timeout`.
    pub first_byte_timeout: Option<At<String>>,
    /// PEM file with the certificate authorities to trust instead of the system's. Relative to the scenario file.
    pub ca: Option<At<String>>,
    /// PEM file with the client's certificate and those that lead to its authority; needs `key`.
    pub cert: Option<At<String>>,
    /// PEM file with the private key of `cert`.
    pub key: Option<At<String>>,
    /// Accept any certificate. For tests against self-signed servers only.
    pub insecure: Option<bool>,
    /// How PostgreSQL statements are sent: `prepared` (default), `extended` or `simple`.
    pub protocol: Option<At<String>>,
}

/// A database as it is before the load: exactly one of `sql`, `file`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Fixture {
    /// A file of SQL, or several in order, executed once in an empty database. Relative to the scenario file.
    pub sql: Option<At<Texts>>,
    /// A SQLite database to copy. Relative to the scenario file.
    pub file: Option<At<String>>,
}

/// One text or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Texts {
    /// All of them.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// How much load, for how long: `rate` (open model), `users` (closed model), or a `search` for the highest rate.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Load {
    /// Open model: flow starts per second, as in `300/s`, whether or not earlier ones have ended.
    pub rate: Option<At<String>>,
    /// Spacing of arrivals in the open model: `even` (default) or `poisson`.
    pub arrivals: Option<At<String>>,
    /// Closed model: concurrent users, each waiting for its answers.
    pub users: Option<At<i64>>,
    /// Shapes the load, instead of `duration`: each stage leads in a straight line from the rate (or the users) before it to its own.
    pub stages: Option<At<Vec<At<Stage>>>>,
    /// Finds the highest rate at which the absolute limits hold; each rate is held for `duration` after `warm_up`.
    pub search: Option<At<Search>>,
    /// Closed model: how long a user waits after each pass, as in `1s`, or random.
    pub think: Option<At<Wait>>,
    /// Closed model: at most this many passes are started per second, over all users together, as in `200/s`.
    pub throttle: Option<At<String>>,
    /// Ends a hopeless run early: when one of these has been broken in every second for its time.
    #[serde(default)]
    pub abort_when: Vec<At<AbortWhen>>,
    /// Closed model: time over which the users are started. Part of the warm-up.
    pub ramp: Option<At<String>>,
    /// Closed model: number of passes over all users together, instead of `duration`.
    pub iterations: Option<At<i64>>,
    /// Length of the measured window, as in `60s`.
    pub duration: Option<At<String>>,
    /// Load before the measured window, left out of all figures. Default 0s.
    pub warm_up: Option<At<String>>,
    /// How long operations in flight may take to finish after the window. Default 10s.
    pub drain: Option<At<String>>,
    /// Open model: how many flows may be under way at once. Default 64.
    pub max_in_flight: Option<At<i64>>,
    /// Open model: how many due flows may wait for a free session before they are dropped. Default 1000.
    pub queue: Option<At<i64>>,
}

/// A stretch of load. Without `rate` and `users` the load stays as it is.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Stage {
    /// How long it takes; `0s` is a jump.
    #[schemars(required)]
    pub duration: Option<At<String>>,
    /// Open model: the rate at its end, as in `500/s`.
    pub rate: Option<At<String>>,
    /// Closed model: the number of users at its end.
    pub users: Option<At<i64>>,
}

/// A search for the highest rate at which the absolute limits of the scenario hold.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Search {
    /// The first rate, as in `100/s`; it is doubled until a limit breaks.
    #[schemars(required)]
    pub from: Option<At<String>>,
    /// No rate above this is tried.
    #[schemars(required)]
    pub to: Option<At<String>>,
    /// How close the answer is to the next rate that breaks a limit. Default 5%.
    pub precision: Option<At<String>>,
}

/// A time to wait: always the same, or random.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Wait {
    /// Always the same, as in `100ms`.
    Fixed(String),
    /// Another time each time, a function of the seed.
    Random(RandomWait),
}

/// A random time to wait: exactly one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomWait {
    /// All times between two bounds equally likely.
    pub uniform: Option<WaitBounds>,
    /// Short times likely, long ones rare, as between independent visitors; the value is the mean.
    pub exponential: Option<String>,
}

/// Two bounds of a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct WaitBounds {
    /// The shortest.
    #[schemars(required)]
    pub from: Option<String>,
    /// The longest.
    #[schemars(required)]
    pub to: Option<String>,
}

/// A condition that ends a run early, with its report.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct AbortWhen {
    /// Name of the step; without it all steps together.
    pub step: Option<At<String>>,
    /// Name of the metric, as in a threshold.
    #[schemars(required)]
    pub metric: Option<At<String>>,
    /// The absolute limit: `50%`, `2s`, `100/s`.
    #[schemars(required)]
    pub limit: Option<At<String>>,
    /// In every second of this long a time. Default 10s.
    #[serde(rename = "for")]
    pub lasting: Option<At<String>>,
}

/// Data for templates: exactly one kind.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Data {
    /// Always the same value.
    pub constant: Option<At<Scalar>>,
    /// Integers between two bounds, all equally likely.
    pub uniform: Option<At<Bounds>>,
    /// Integers between two bounds, few of them very likely (the first most).
    pub zipf: Option<At<Zipf>>,
    /// Integers counting up.
    pub sequence: Option<At<Sequence>>,
    /// One of a list of values.
    pub choice: Option<At<Vec<Scalar>>>,
    /// Always the same text, so many `times`, with commas between: a list for a body.
    pub repeat: Option<At<String>>,
    /// How many times `repeat` stands there, 0 to 1,000,000.
    pub times: Option<At<i64>>,
    /// So many of the values above in one, written as an array of PostgreSQL: `{3,1,2}`.
    pub array: Option<At<i64>>,
    /// Random version-4 UUIDs: `uuid = true`.
    pub uuid: Option<At<bool>>,
    /// Random letters and digits.
    pub string: Option<At<RandomString>>,
    /// Points in time between two bounds.
    pub timestamp: Option<At<RandomTime>>,
    /// Rows of a CSV file with a header line; `{{ name.column }}` in templates. Relative to the scenario file.
    pub csv: Option<At<String>>,
    /// Order of the rows of a CSV file: `sequential` (default, starting over at the end) or `random`.
    pub order: Option<At<String>>,
}

/// A plain value.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
}

/// Two bounds, both included.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Bounds {
    /// The lower bound.
    #[schemars(required)]
    pub from: Option<i64>,
    /// The upper bound.
    #[schemars(required)]
    pub to: Option<i64>,
}

/// A Zipf distribution over integers.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Zipf {
    /// The most frequent value.
    #[schemars(required)]
    pub from: Option<i64>,
    /// The least frequent value.
    #[schemars(required)]
    pub to: Option<i64>,
    /// Skew, above 0; default 1.
    pub exponent: Option<f64>,
}

/// Integers counting up.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Sequence {
    /// The first value. Default 1.
    pub from: Option<i64>,
    /// Start over after this value.
    pub to: Option<i64>,
}

/// Random letters and digits.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomString {
    /// Number of characters, 1 to 1,000,000.
    #[schemars(required)]
    pub length: Option<i64>,
}

/// Points in time, uniform between two bounds.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomTime {
    /// Earliest, as in `2026-01-01T00:00:00Z`.
    #[schemars(required)]
    pub from: Option<String>,
    /// Latest.
    #[schemars(required)]
    pub to: Option<String>,
    /// `rfc3339` (default) or `unix` (seconds).
    pub format: Option<String>,
}

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

/// One step: exactly one of an HTTP method, `sql`, `transaction`, `pause`, `repeat`.
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
    /// `false`: variants may answer this step differently.
    pub comparable: Option<bool>,
    /// How long this step may take; overrides the target's.
    pub timeout: Option<At<String>>,
    /// How long the head of the answer may take once the request is sent; overrides the target's.
    pub first_byte_timeout: Option<At<String>>,
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

/// One integer or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(i64),
    /// Several.
    Many(Vec<i64>),
}

/// A limit on a metric of one step, or of all steps together.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Threshold {
    /// Name of the step; without it all steps together.
    pub step: Option<At<String>>,
    /// Name of the metric: mean, p50, p90, p95, p99, p999, max, service_… of those, error_rate, throughput, dropped_rate.
    #[schemars(required)]
    pub metric: Option<At<String>>,
    /// From here a warning: `80ms`, `+5%`, `+5% and 200us`, `1%`, `+0.5pp`, `280/s`.
    pub warning: Option<At<String>>,
    /// From here critical; written like `warning`.
    pub critical: Option<At<String>>,
}
