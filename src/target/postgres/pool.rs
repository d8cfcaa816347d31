//! Connections to PostgreSQL, shared by all sessions of a load.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;

use super::{Shared, connection::Connection, failure::Failure};
use crate::{
    sample::ErrorClass,
    target::{
        TargetError,
        pool::{Acquired, Pool, PoolWatch, Refused, Source},
    },
    units::format_duration,
    workload::PoolLimits,
};

/// The pool of one target. Its connections live on the thread that opens it: that one uses them and
/// empties it; everybody may watch.
#[derive(Clone)]
pub struct ConnectionPool {
    pool: Arc<Pool<Server>>,
    /// The flow that has it to itself.
    flow: Option<String>,
}

impl std::fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionPool")
    }
}

/// Where the connections come from.
pub(super) struct Server(Arc<Shared>);

impl Source for Server {
    type Connection = Box<Connection>;
    type Failure = Failure;

    async fn connect(&self) -> Result<Box<Connection>, Failure> {
        self.0.connect_and_prepare().await
    }

    async fn is_open(&self, connection: &mut Box<Connection>) -> bool {
        connection.wire.is_open().await
    }

    async fn answers(&self, connection: &mut Box<Connection>) -> bool {
        connection.ask("SELECT 1").await.is_ok()
    }
}

impl ConnectionPool {
    pub(super) fn new(shared: &Arc<Shared>, limits: &PoolLimits, flow: Option<String>) -> Result<Self, TargetError> {
        let pool = Pool::new(Server(Arc::clone(shared)), limits.clone());
        let pool = pool.map_err(|error| TargetError::Setting {
            target: shared.name.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            pool: Arc::new(pool),
            flow,
        })
    }

    /// Makes the connections that are to be there before the load.
    pub async fn open(&self) {
        self.pool.open().await;
    }

    /// Closes what is idle or old, and keeps as many as are to be kept, for as long as it is polled.
    pub fn tend(&self) -> impl Future<Output = ()> + Send + use<> {
        let pool = Arc::clone(&self.pool);
        async move { pool.tend().await }
    }

    /// Closes all connections; nobody may have one any more.
    pub fn empty(&self) {
        self.pool.empty();
    }

    /// For somebody who looks from outside, at the pool of that target and variant.
    pub fn watch(&self, target: String, variant: Option<String>) -> PoolWatch {
        self.pool.watch(target, variant, self.flow.clone())
    }

    /// A connection, for an operation that began then.
    pub(super) async fn acquire(&self, start: Instant) -> Result<Acquired<'_, Server>, Refused<Failure>> {
        self.pool.acquire(start + self.pool.acquire_timeout()).await
    }

    /// Counts an operation that wanted a connection.
    pub(super) fn ended(&self, well: bool) {
        self.pool.ended(well);
    }

    /// What an operation is told that timed out while it waited.
    pub(super) fn too_late(&self) -> Failure {
        let allowed = format_duration(self.pool.acquire_timeout());
        Failure::new(
            ErrorClass::PoolTimeout,
            format_args!("no connection of the pool within {allowed}"),
        )
    }

    /// What an operation is told that was not let in.
    pub(super) fn full(&self) -> Failure {
        let waiting = self.pool.queue();
        Failure::new(
            ErrorClass::Shed,
            format_args!("{waiting} operations wait for a connection of the pool, and no more may"),
        )
    }
}
