//! How one operation is done: HTTP, SQLite, PostgreSQL; once, or as often as its policies allow.
//!
//! A [`Connector`] is a target with its address filled in, shared by all
//! workers; a `TargetSession` is one worker's live connection to it;
//! [`Sessions`] holds one per target and performs the steps of flows. When an
//! operation is due is none of this module's business.

mod administration;
mod answer;
mod attempts;
mod balancer;
mod breaker;
mod cache;
mod deadline;
mod fan_out;
mod http;
mod permit;
mod pool;
mod postgres;
mod retry;
mod sqlite;
mod tls;

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::time::{Instant, timeout};

use self::balancer::Share;
pub use self::{
    administration::{PostgresConnection, connect_postgres, describe_postgres_error},
    answer::{Answer, Row},
    attempts::persist,
    balancer::Balancers,
    cache::Caches,
    permit::Breakers,
    pool::PoolWatch,
    postgres::{ConnectionPool, Room, with_literals},
};
use crate::{
    sample::{ErrorClass, Outcome, Phases},
    workload::{DEFAULT_TIMEOUT, Kind, Step, Values, Workload},
};

/// One concrete execution of a step.
#[derive(Debug)]
pub struct Operation<'a, 'w> {
    /// What is to be done.
    pub step: &'a Step,
    /// The values for its templates.
    pub values: &'a mut Values<'w>,
}

/// One worker's live connections, or a script in tests.
pub trait Session {
    /// Performs an operation to its end. Stamps start and end in the reply,
    /// whatever the outcome; does not judge expectations.
    fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> impl Future<Output = Outcome>;

    /// The caches in front of steps, while they are in use.
    fn caches(&self) -> Option<Arc<Caches>> {
        None
    }

    /// Begins or ends to use the caches in front of steps.
    fn use_caches(&mut self, _used: bool) {}

    /// What the connections know of their user now (cookies), they will know after every [`Session::renew`].
    fn settle(&mut self) {}

    /// Forgets what was learnt of the user since [`Session::settle`]: the next pass is somebody else's.
    fn renew(&mut self) {}
}

/// What came back from an operation; reused from one to the next.
#[derive(Debug)]
pub struct Reply {
    /// When it started.
    pub start: Instant,
    /// When it ended.
    pub end: Instant,
    /// Where its time went.
    pub phases: Phases,
    /// What was answered.
    pub answer: Answer,
    /// How often an answer of the target was waited for, without making connections. PostgreSQL only.
    pub round_trips: u32,
    /// How many of its statements were sent; BEGIN, COMMIT and ROLLBACK of its transaction are none. SQL only.
    pub queries: u32,
    /// How many transactions ended; a statement outside of any is one of its own. SQL only.
    pub transactions: u32,
    /// How many connections had to be made for it. PostgreSQL only.
    pub sessions: u32,
    /// Keep the whole answer even where no expectation needs it.
    pub keep: bool,
    /// What the target said of a failure; may hold secrets.
    pub message: Option<String>,
}

impl Default for Reply {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            end: now,
            phases: Phases::default(),
            answer: Answer::default(),
            round_trips: 0,
            queries: 0,
            transactions: 0,
            sessions: 0,
            keep: false,
            message: None,
        }
    }
}

impl Reply {
    /// Empties it and stamps the start.
    fn begin(&mut self) {
        self.phases = Phases::default();
        self.answer = Answer::default();
        self.round_trips = 0;
        self.queries = 0;
        self.transactions = 0;
        self.sessions = 0;
        self.message = None;
        self.start = Instant::now();
        self.end = self.start;
    }

    /// A failure with what the target said of it.
    fn failed(&mut self, class: ErrorClass, message: impl Into<String>) -> Outcome {
        self.message = Some(message.into());
        Outcome::Failed(class)
    }
}

/// A connection outside of any load, within [`DEFAULT_TIMEOUT`]; why there is none.
async fn in_time<T>(connect: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(DEFAULT_TIMEOUT, connect)
        .await
        .unwrap_or_else(|_| Err(format!("no connection within {} s", DEFAULT_TIMEOUT.as_secs())))
}

/// Performs an operation and judges the answer by what the step expects, saving what it saves.
///
/// Where the step has a cache, and the session uses caches, an answer that is in it is not asked of the target.
pub async fn perform<S: Session>(session: &mut S, step: &Step, values: &mut Values<'_>, reply: &mut Reply) -> Outcome {
    let touches_caches = step.cache.is_some() || !step.writes.is_empty();
    match touches_caches.then(|| session.caches()).flatten() {
        Some(caches) => cache::perform(&caches, session, step, values, reply).await,
        None => perform_itself(session, step, values, reply).await,
    }
}

/// The same past all caches.
async fn perform_itself<S: Session>(
    session: &mut S,
    step: &Step,
    values: &mut Values<'_>,
    reply: &mut Reply,
) -> Outcome {
    match session.perform(Operation { step, values }, reply).await {
        Outcome::Completed => answer::examine(step, values, reply),
        failed => failed,
    }
}

/// Why a target cannot be used; nothing has been measured yet.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It does not answer. The environment is at fault.
    #[error("target \"{target}\" cannot be reached at {address}: {reason}")]
    Unreachable {
        /// Name of the target.
        target: String,
        /// Its address, without credentials.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// A statement does not prepare. The scenario is at fault.
    #[error("target \"{target}\" refuses a statement: {reason}\n  {sql}")]
    Statement {
        /// Name of the target.
        target: String,
        /// The statement.
        sql: String,
        /// What the database said.
        reason: String,
    },
    /// A setting of the target makes no sense. The scenario is at fault.
    #[error("target \"{target}\": {reason}")]
    Setting {
        /// Name of the target.
        target: String,
        /// What is wrong.
        reason: String,
    },
}

/// Where to connect instead of the address of a target: something that leads there. All that is
/// said, and the name that a certificate must have, is as if it were the target itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// An address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A target with its address filled in, shared by all workers.
#[derive(Debug, Clone)]
pub enum Connector {
    /// HTTP/1.1 or HTTP/2.
    Http(http::Connector),
    /// SQLite.
    Sqlite(sqlite::Connector),
    /// PostgreSQL.
    Postgres(postgres::Connector),
}

impl Connector {
    /// The target of that number at `address`, which is that of its kind with all filled in, or of a database
    /// that was made for the run. `via` is where to connect in place of the address; `sessions` bounds what
    /// will be used at once.
    ///
    /// # Errors
    /// When the address or a certificate file cannot be used.
    pub async fn bind(
        workload: &Workload,
        number: usize,
        address: &str,
        via: Option<Via>,
        sessions: usize,
    ) -> Result<Self, TargetError> {
        let (target, statements) = (&workload.targets[number], &workload.statements);
        Ok(match &target.kind {
            Kind::Http(http) => Self::Http(http::Connector::bind(target, http, address, via.as_ref()).await?),
            Kind::Sqlite { .. } => Self::Sqlite(sqlite::Connector::bind(target, address, statements, sessions)?),
            Kind::Postgres(postgres) => {
                let own = workload.statements_of(number);
                Self::Postgres(postgres::Connector::bind(
                    target, postgres, address, statements, own, via,
                )?)
            }
        })
    }

    /// The address without credentials, for people.
    pub fn address(&self) -> String {
        match self {
            Self::Http(connector) => connector.address(),
            Self::Sqlite(connector) => connector.address(),
            Self::Postgres(connector) => connector.address(),
        }
    }

    /// Connects once and learns the version, where the protocol tells it.
    ///
    /// # Errors
    /// When the target cannot be reached.
    pub async fn probe(&self) -> Result<Option<String>, TargetError> {
        match self {
            Self::Http(connector) => connector.probe().await,
            Self::Sqlite(_) => Ok(Some(sqlite::Connector::version())),
            Self::Postgres(connector) => connector.probe().await,
        }
    }

    /// Whether these statements prepare, by index into the workload's.
    ///
    /// # Errors
    /// The first that is refused.
    pub async fn check_statements(&self, statements: &[usize]) -> Result<(), TargetError> {
        match self {
            Self::Http(_) => Ok(()),
            Self::Sqlite(connector) => connector.check_statements(statements).await,
            Self::Postgres(connector) => connector.check_statements(statements).await,
        }
    }

    /// How many more connections its server takes; PostgreSQL only.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn room(&self) -> Result<Option<Room>, TargetError> {
        match self {
            Self::Http(_) | Self::Sqlite(_) => Ok(None),
            Self::Postgres(connector) => connector.room().await.map(Some),
        }
    }

    /// The same target of that number for load: with pools of connections, where the scenario wants one.
    ///
    /// # Errors
    /// When there can be no such pool.
    pub fn for_load(&self, workload: &Workload, number: usize) -> Result<Self, TargetError> {
        Ok(match self {
            Self::Http(_) | Self::Sqlite(_) => self.clone(),
            Self::Postgres(connector) => Self::Postgres(connector.for_load(workload, number)?),
        })
    }

    /// The pools that its sessions share, where they do.
    pub fn pools(&self) -> &[ConnectionPool] {
        match self {
            Self::Http(_) | Self::Sqlite(_) => &[],
            Self::Postgres(connector) => connector.pools(),
        }
    }

    /// Returns when the target knows of everything that was cut off, or cannot be told in time.
    pub async fn settled(&self) {
        if let Self::Postgres(connector) = self {
            connector.settled().await;
        }
    }

    fn session(&self) -> TargetSession {
        match self {
            Self::Http(connector) => TargetSession::Http(connector.session()),
            Self::Sqlite(connector) => TargetSession::Sqlite(connector.session()),
            Self::Postgres(connector) => TargetSession::Postgres(connector.session()),
        }
    }
}

/// `{port}` and `{dir}` filled in.
pub fn fill(text: &str, port: Option<u16>, directory: &Path) -> String {
    let text = text.replace("{dir}", &directory.display().to_string());
    port.map_or(text.clone(), |port| text.replace("{port}", &port.to_string()))
}

/// A worker's live connection to one target.
#[derive(Debug)]
enum TargetSession {
    Http(http::Session),
    Sqlite(sqlite::Session),
    Postgres(postgres::Session),
}

/// A worker's live connections: one per target, made when first needed or by [`Sessions::connect`].
#[derive(Debug)]
pub struct Sessions {
    by_target: Vec<TargetSession>,
    balancers: Balancers,
    caches: Option<Arc<Caches>>,
    uses_caches: bool,
}

impl Sessions {
    /// Unconnected sessions for all targets, in the workload's order.
    pub fn new(connectors: &[Connector]) -> Self {
        Self {
            by_target: connectors.iter().map(Connector::session).collect(),
            balancers: Balancers::default(),
            caches: None,
            uses_caches: false,
        }
    }

    /// The same with the load of groups shared among their members.
    #[must_use]
    pub fn with_balancers(self, balancers: &Balancers) -> Self {
        Self {
            balancers: balancers.clone(),
            ..self
        }
    }

    /// The same with caches in front of steps; [`Session::use_caches`] begins to use them.
    #[must_use]
    pub fn with_caches(self, caches: &Arc<Caches>) -> Self {
        Self {
            caches: Some(Arc::clone(caches)),
            ..self
        }
    }

    /// Makes all connections now, so that no operation pays for it. A failure
    /// is not reported here: the first operation meets and counts it.
    pub async fn connect(&mut self) {
        for session in &mut self.by_target {
            match session {
                TargetSession::Http(session) => session.connect_ahead().await,
                TargetSession::Postgres(session) => session.connect_ahead().await,
                TargetSession::Sqlite(_) => {}
            }
        }
    }
}

impl Session for Sessions {
    async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let share = operation.step.group.and_then(|group| self.balancers.take(group));
        let target = share.as_ref().map_or(operation.step.target, Share::target);
        match &mut self.by_target[target] {
            TargetSession::Http(session) => session.perform(operation, reply).await,
            TargetSession::Sqlite(session) => session.perform(operation, reply).await,
            TargetSession::Postgres(session) => session.perform(operation, reply).await,
        }
    }

    fn caches(&self) -> Option<Arc<Caches>> {
        self.caches.clone().filter(|_| self.uses_caches)
    }

    fn use_caches(&mut self, used: bool) {
        self.uses_caches = used;
    }

    fn settle(&mut self) {
        for session in &mut self.by_target {
            if let TargetSession::Http(session) = session {
                session.settle();
            }
        }
    }

    fn renew(&mut self) {
        for session in &mut self.by_target {
            if let TargetSession::Http(session) = session {
                session.renew();
            }
        }
    }
}
