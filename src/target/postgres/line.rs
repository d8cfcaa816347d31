//! Where an operation gets its connection: its session's own, one of the pool, or a new one.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Shared,
    connection::Connection,
    failure::Failure,
    pool::{ConnectionPool, Server},
};
use crate::{
    sample::ErrorClass,
    target::{
        Reply,
        pool::{Acquired, Lease, Refused},
    },
    workload::Connections,
};

/// Where the connections of a session come from.
pub(super) enum Line {
    /// Its own, made when it is needed. It is taken out while in use: an operation that is cut off
    /// drops it, which has the server give up what it does (see [`Connection`]), and leaves none behind.
    Own(Option<Box<Connection>>),
    /// All sessions share them.
    Pooled(ConnectionPool),
    /// Every operation makes one and closes it.
    PerOperation,
}

/// A connection while an operation has it; dropped it is closed.
pub(super) enum Held<'l> {
    Own {
        connection: Box<Connection>,
        place: &'l mut Option<Box<Connection>>,
    },
    Leased(Lease<'l, Server>),
    Fresh(Box<Connection>),
}

impl Line {
    pub(super) fn new(shared: &Shared, pool: Option<ConnectionPool>) -> Self {
        match (pool, &shared.connections) {
            (Some(pool), _) => Self::Pooled(pool),
            (None, Connections::PerOperation) => Self::PerOperation,
            // Outside of load there is no pool: who is alone has a connection to himself.
            (None, Connections::PerSession | Connections::Pooled(_)) => Self::Own(None),
        }
    }

    /// Whether a connection that is made ahead is of any use.
    pub(super) fn wants_one_ahead(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Keeps a connection that was made ahead.
    pub(super) fn put(&mut self, connection: Box<Connection>) {
        if let Self::Own(place) = self {
            *place = Some(connection);
        }
    }

    /// A connection, made anew where it must be, and since when it is there; what that took is in the reply.
    pub(super) async fn connection(
        &mut self,
        shared: &Arc<Shared>,
        reply: &mut Reply,
    ) -> Result<(Held<'_>, Instant), Failure> {
        match self {
            Self::Own(place) => {
                if let Some(mut connection) = place.take()
                    && connection.wire.is_open().await
                {
                    return Ok((Held::Own { connection, place }, reply.start));
                }
                let (connection, now) = timed(shared.connect_and_prepare(), reply).await?;
                Ok((Held::Own { connection, place }, now))
            }
            // Only what the operation needs is prepared, when it needs it.
            Self::PerOperation => {
                let (connection, now) = timed(shared.connect(), reply).await?;
                Ok((Held::Fresh(connection), now))
            }
            Self::Pooled(pool) => leased(pool, reply).await,
        }
    }

    /// Counts an operation that wanted a connection, where somebody wants to know.
    pub(super) fn ended(&self, well: bool) {
        if let Self::Pooled(pool) = self {
            pool.ended(well);
        }
    }
}

/// Makes a connection.
async fn timed(
    connect: impl Future<Output = Result<Box<Connection>, Failure>>,
    reply: &mut Reply,
) -> Result<(Box<Connection>, Instant), Failure> {
    let before = Instant::now();
    let made = connect.await;
    let now = Instant::now();
    reply.phases.connect = Some(now - before);
    reply.sessions += u32::from(made.is_ok());
    made.map(|connection| (connection, now))
}

/// Takes one of the pool.
async fn leased<'l>(pool: &'l ConnectionPool, reply: &mut Reply) -> Result<(Held<'l>, Instant), Failure> {
    let start = reply.start;
    match pool.acquire(start).await {
        Ok(Acquired { lease, waited, making }) => {
            reply.phases.acquire = Some(waited);
            reply.phases.connect = making;
            reply.sessions += u32::from(making.is_some());
            Ok((Held::Leased(lease), start + waited + making.unwrap_or_default()))
        }
        Err(refused) => {
            let (failure, making) = match refused {
                Refused::Unmade(failure, making) => (failure, Some(making)),
                Refused::Timeout => (pool.too_late(), None),
                Refused::Shed => (pool.full(), None),
                Refused::Closed => (Failure::new(ErrorClass::Connect, "the pool is closed"), None),
            };
            let took = start.elapsed();
            reply.phases.connect = making;
            reply.phases.acquire = Some(took.saturating_sub(making.unwrap_or_default()));
            Err(failure)
        }
    }
}

impl Held<'_> {
    /// The connection; `None` never.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Own { connection, .. } | Self::Fresh(connection) => Some(connection),
            Self::Leased(lease) => lease.connection().map(|connection| &mut **connection),
        }
    }

    /// The operation has ended: whoever may, keeps a connection that can be used again. One of a
    /// pool must not bring its transaction to the next who gets it.
    pub(super) fn release(mut self) {
        let Some(wire) = self.connection().map(|connection| &connection.wire) else {
            return;
        };
        let (usable, in_transaction) = (wire.is_usable(), wire.is_in_transaction());
        match self {
            Self::Own { connection, place } if usable => *place = Some(connection),
            Self::Leased(lease) if usable && !in_transaction => lease.give_back(),
            _ => {}
        }
    }
}
