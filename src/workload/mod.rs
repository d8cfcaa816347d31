//! A scenario compiled: resolved, checked, immutable, shared by all workers.
//!
//! [`compile`] turns what was written into what is meant: templates into parts,
//! names into indices, quantities into numbers. Nothing in a [`Workload`] can
//! still be wrong, but for what only the systems under test know (whether they
//! answer, whether a statement prepares). Addresses may hold `{port}` and
//! `{dir}`, which the trial fills in once its processes stand.

mod answers;
mod breaker;
mod caching;
mod claims;
mod compile;
mod data;
mod fingerprint;
mod flow;
mod generator;
mod group;
mod http;
mod json_path;
mod kind;
mod link;
mod load;
mod pool;
mod pooler;
mod profile;
mod provision;
mod requests;
mod retry;
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

pub use self::{
    breaker::{Breaker, BreakerLimits},
    compile::{Rejected, compile},
    flow::{
        Action, Cache, CacheUse, CacheWrite, CopyIn, Expect, Extract, Flow, ForEach, MeasuredStep, Request, Save,
        Statement, Step,
    },
    generator::{Draw, Generator, hyphenated, stream},
    group::{Balance, Group},
    http::{Body, Credentials, HttpRequest, HttpTarget, Path, Piece, Tls},
    json_path::JsonPath,
    link::{Fault, FaultKind, Link},
    pool::{Connections, PoolLimits},
    pooler::Pooler,
    profile::{AbortWhen, Arrivals, End, Load, Profile, Rates, Search, Wait},
    provision::{Durability, Fixture, PrivateServer, Provision, Source},
    retry::{Jitter, Retry, Retryable},
    script::{Script, ScriptStatement},
    secrets::Secrets,
    sql::split as split_sql,
    template::{Encoding, Template, TemplateError},
    value::{Value, Values},
    variant::{Trial, Variant},
};
use crate::{
    claim::Claim,
    run::{Fingerprint, ScenarioText},
    threshold::Threshold,
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
    /// Targets that share load; [`Step::group`] points here.
    pub groups: Vec<Group>,
    /// The distinct SQL statements of all steps; [`Statement::index`] points here.
    pub statements: Arc<[String]>,
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
    /// The circuit breakers of targets and steps; [`Step::breaker`] points here.
    pub breakers: Vec<Breaker>,
    /// The caches in front of steps; [`CacheUse::cache`] points here.
    pub caches: Vec<Cache>,
    /// Limits.
    pub thresholds: Vec<Threshold>,
    /// What was claimed of it.
    pub claims: Vec<Claim>,
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
    /// What lies between its clients and its server; none: nothing.
    pub link: Option<Link>,
    /// A PgBouncer to start; its address is then known once that stands.
    pub pooler: Option<Pooler>,
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

    /// Where the target is, as the scenario says it; may hold `{port}` and `{dir}`.
    pub fn address(&self) -> &str {
        match self {
            Self::Http(http) => &http.base,
            Self::Sqlite { path } => path,
            Self::Postgres(postgres) => &postgres.connection,
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
    /// Whose connections operations use.
    pub connections: Connections,
    /// Whom to trust.
    pub tls: Tls,
    /// Settings that every session asks for when it begins, by name: the server's own timeouts.
    pub settings: Vec<(&'static str, String)>,
}

/// How PostgreSQL statements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Parsed once per connection, then bound and executed.
    Prepared,
    /// The same, but all statements of a step are sent in one go and answered in one.
    Pipelined,
    /// Parsed, bound and executed each time.
    Extended,
    /// As one text, parameters written into it as literals.
    Simple,
}

impl Protocol {
    /// Whether statements are parsed once per connection.
    pub fn prepares(self) -> bool {
        matches!(self, Self::Prepared | Self::Pipelined)
    }
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

impl Workload {
    /// This one and the others, the reference first.
    pub fn variants(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(&self.others)
    }

    /// The statements that flows execute on a target, be it as a member of a group; by index into
    /// [`Workload::statements`].
    pub fn flow_statements(&self, target: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for flow in &self.flows {
            self.collect_statements(&flow.actions, target, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same of all steps, those of setup and teardown too.
    pub fn statements_of(&self, target: usize) -> Vec<usize> {
        let mut found = self.flow_statements(target);
        for actions in [&self.setup, &self.teardown, &self.user_setup, &self.user_teardown] {
            self.collect_statements(actions, target, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The flows with a step that goes to a target, by index.
    pub fn flows_of(&self, target: usize) -> Vec<usize> {
        let flows = 0..self.flows.len();
        flows
            .filter(|flow| self.any_goes_to(&self.flows[*flow].actions, target))
            .collect()
    }

    fn any_goes_to(&self, actions: &[Action], target: usize) -> bool {
        actions.iter().any(|action| match action {
            Action::Step(step) => self.goes_to(step, target),
            Action::Repeat { actions, .. } => self.any_goes_to(actions, target),
            Action::Pause(..) => false,
        })
    }

    fn collect_statements(&self, actions: &[Action], target: usize, found: &mut Vec<usize>) {
        for action in actions {
            match action {
                Action::Step(step) if self.goes_to(step, target) => {
                    found.extend(step.request.statements().iter().map(|statement| statement.index));
                    if let Request::Copy(copy) = &step.request {
                        found.push(copy.check);
                    }
                }
                Action::Repeat { actions, .. } => self.collect_statements(actions, target, found),
                Action::Step(_) | Action::Pause(..) => {}
            }
        }
    }

    fn goes_to(&self, step: &Step, target: usize) -> bool {
        let group = step.group.map(|group| &self.groups[group]);
        group.map_or(step.target == target, |group| group.members.contains(&target))
    }

    /// The target of a step as the scenario calls it.
    pub fn target_name(&self, measured: &MeasuredStep) -> &str {
        let group = measured.group.map(|group| &self.groups[group].name);
        group.unwrap_or(&self.targets[measured.target].name)
    }

    /// The number of a pass before the measured window: far from those within
    /// it, so that warm-up draws other data, yet such that a sequence stays
    /// within the integers of any database as long as passes draw little.
    pub fn warm_up_pass(&self, number: u64) -> u64 {
        (1_000_000_000 / self.draws_per_pass).max(1_000_000) + number
    }

    /// The number of a pass that is neither measured nor the load's warm-up: each purpose has a
    /// range of its own, beyond those.
    pub fn aside_pass(&self, purpose: u64, number: u64) -> u64 {
        let range = (1_000_000 / self.draws_per_pass).max(1000);
        self.warm_up_pass((1 + purpose) * range + number)
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
