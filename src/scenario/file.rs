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
    data::{Data, Scalar},
    flow::{Flow, Step},
    http::Auth,
    link::Link,
    load::Load,
    persistence::{Breaker, Retry},
    pool::Pool,
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
    /// What somebody said that is gained; the report holds it against what is measured. Decides nothing.
    #[serde(default)]
    pub claim: Vec<At<Claim>>,
}

/// A system under test: exactly one of `http`, `sqlite`, `postgres`, `pgbouncer`, `of`.
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
    /// Name of a `postgres` target: loadgate starts a PgBouncer before it, which is this target.
    pub pgbouncer: Option<At<String>>,
    /// Names of targets that share the load of this one's steps: each operation goes to one of them.
    pub of: Option<At<Vec<At<String>>>>,
    /// Which of them it goes to: `round_robin` (default), one after the other, or `least_busy`.
    pub balance: Option<At<String>>,
    /// Of an ephemeral PostgreSQL: `ci` (default: in memory where it fits, no fsync) or `durable` (on disk, as in production).
    pub profile: Option<At<String>>,
    /// Settings of PostgreSQL for the database that the run makes, as in `{ work_mem = "64kB" }`; or of PgBouncer, as in `{ default_pool_size = 20 }`.
    #[serde(default)]
    pub settings: BTreeMap<String, At<Scalar>>,
    /// Name of the fixture that the run's own database is a copy of.
    pub fixture: Option<At<String>>,
    /// What `:scale` is in the SQL of the fixture. Default 1.
    pub scale: Option<At<i64>>,
    /// What lies between the clients of this target and its server: delays, faults on a schedule, and a tap that counts what PostgreSQL is asked.
    pub link: Option<At<Link>>,
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
    /// When operations that fail are tried again: a policy, or a table with its values. Default: never.
    pub retry: Option<At<Retry>>,
    /// Reject operations while most of them fail: `true`, or a table with its values.
    pub breaker: Option<At<Breaker>>,
    /// How PostgreSQL statements are sent: `prepared` (default), `pipelined`, `extended` or `simple`.
    pub protocol: Option<At<String>>,
    /// How long PostgreSQL lets one statement take before it cancels it.
    pub statement_timeout: Option<At<String>>,
    /// How long PostgreSQL lets a statement wait for a lock.
    pub lock_timeout: Option<At<String>>,
    /// How long PostgreSQL lets a transaction do nothing before it ends the session.
    pub idle_in_transaction_session_timeout: Option<At<String>>,
    /// Where operations on PostgreSQL get their connections: the name of a profile, a table, or `none`. Default: every session has its own.
    pub pool: Option<At<Pool>>,
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

/// A figure that somebody claimed.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Claim {
    /// What was said, in its own words.
    #[schemars(required)]
    pub text: Option<At<String>>,
    /// Where it was said.
    pub source: Option<At<String>>,
    /// The variant that it is about; may be left out where there is but one beside the reference.
    pub variant: Option<At<String>>,
    /// Name of the step; without it all steps together.
    pub step: Option<At<String>>,
    /// Name of the metric, as in a threshold.
    #[schemars(required)]
    pub metric: Option<At<String>>,
    /// A change beside the reference, as in `-60%` (less) or `+149%` (more), or the value itself: `8.2ms`, `112/s`, `3`.
    #[schemars(required)]
    pub value: Option<At<String>>,
}

/// A limit on a metric of one step, or of all steps together.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Threshold {
    /// Name of the step; without it all steps together.
    pub step: Option<At<String>>,
    /// Name of the metric: mean, p50, p90, p95, p99, p999, max, service_… of those, error_rate, throughput, hit_ratio, dropped_rate.
    #[schemars(required)]
    pub metric: Option<At<String>>,
    /// From here a warning: `80ms`, `+5%`, `+5% and 200us`, `1%`, `+0.5pp`, `280/s`.
    pub warning: Option<At<String>>,
    /// From here critical; written like `warning`.
    pub critical: Option<At<String>>,
}
