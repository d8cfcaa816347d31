//! The built-in service to try things on: `loadgate demo`.
//!
//! A small real application over SQLite or PostgreSQL: users with roles and
//! permissions, sessions, and emissions that can be stored in a naive and in a
//! good way. It knows nothing of load, runs or verdicts; faults on demand make
//! it worse in ways that a gate is to notice.
//!
//! | request | answer | statements |
//! |---|---|---|
//! | `GET /api/health` | `{"status":"ok"}` | 0 |
//! | `GET /api/users/{id}` | the user with roles and permissions | 1 |
//! | `GET /api/sessions/{id}` | the session | 1 |
//! | `POST /api/emissions/bulk` | what was stored | 3 per record |
//! | `POST /api/emissions/bulk-optimized` | the same | 4 |
//!
//! Answers and statements are the same on both databases: `accounts.rs` and
//! `emissions.rs` ask once, with two texts where the databases differ. Only the
//! ids of emissions differ after a refusal: PostgreSQL does not give one twice.

mod accounts;
mod api;
mod database;
mod emissions;
mod faults;
mod fixture;
mod parent;
mod postgres;
mod statements;
mod storage;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use tokio::{net::TcpListener, runtime::Handle};
use tokio_util::sync::CancellationToken;

pub use self::{
    api::STATEMENTS_HEADER,
    faults::{
        DELAY_VARIABLE, ERROR_RATE_VARIABLE, EXTRA_QUERY_VARIABLE, Faults, parse_delay, parse_error_rate,
        parse_extra_query,
    },
    parent::parent_gone,
    storage::Storage,
};
use self::{database::Database, fixture::Found};
use crate::lab::RunDirectory;

/// How long requests in flight may take to finish once the demo is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How a demo is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database, filled when it is empty; `None` is a temporary file.
    pub database: Option<Storage>,
    /// What is to be wrong with it.
    pub faults: Faults,
}

/// Why a demo could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The database could not be opened or filled.
    #[error("{storage}: {reason}")]
    Database {
        /// Which; its text shows no password.
        storage: Storage,
        /// What the database said.
        reason: String,
    },
    /// The database holds another application's tables.
    #[error("{storage}: holds the tables of another application; name {} for the demo", storage.fresh())]
    Foreign {
        /// Which; its text shows no password.
        storage: Storage,
    },
    /// No temporary directory could be made.
    #[error("no temporary directory for the demo's database: {0}")]
    Directory(io::Error),
    /// A variable does not hold what it should.
    #[error("{name}: {reason}")]
    Variable {
        /// Name of the variable.
        name: &'static str,
        /// What is wrong with its text.
        reason: String,
    },
    /// The listener or the runtime failed.
    #[error("the demo failed: {0}")]
    Serve(io::Error),
}

/// A demo that listens, its fixture made; [`Demo::run`] answers requests.
pub struct Demo {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    database: Arc<Database>,
    /// Holds the temporary database, removed at the end.
    _directory: Option<RunDirectory>,
}

/// Runs a demo until `shutdown` completes and requests in flight are answered.
///
/// # Errors
/// When it cannot listen or has no database; see [`DemoError`].
pub async fn serve(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), DemoError> {
    Demo::bind(options).await?.run(shutdown).await
}

impl Demo {
    /// Listens and makes the fixture where the database is new.
    ///
    /// # Errors
    /// When it cannot listen or has no database; see [`DemoError`].
    pub async fn bind(options: Options) -> Result<Self, DemoError> {
        let refused = |source| DemoError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = Handle::current();
        let prepared = tokio::task::spawn_blocking(move || prepare(options.database, &runtime));
        let (database, directory) = prepared.await.map_err(|error| DemoError::Serve(error.into()))??;
        let database = Arc::new(database);
        let router = api::routes(api::Service::new(Arc::clone(&database), options.faults));
        Ok(Self {
            listener,
            address,
            router,
            database,
            _directory: directory,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` completes, then finishes those in flight.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), DemoError> {
        let stop = CancellationToken::new();
        // An answer must not wait in the kernel for the client's acknowledgement.
        let listener = self.listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let server = axum::serve(listener, self.router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let mut server = std::pin::pin!(server.into_future());
        let ended = tokio::select! {
            ended = &mut server => ended,
            () = shutdown => {
                stop.cancel();
                // Whoever holds a connection beyond the grace is cut off.
                tokio::time::timeout(GRACE, server).await.unwrap_or(Ok(()))
            }
        };
        self.database.stop().await;
        ended.map_err(DemoError::Serve)
    }
}

/// Opens the database, a temporary one where none is named, and sees that the fixture is in it.
fn prepare(storage: Option<Storage>, runtime: &Handle) -> Result<(Database, Option<RunDirectory>), DemoError> {
    let (storage, directory) = match storage {
        Some(storage) => (storage, None),
        None => {
            let directory = RunDirectory::new().map_err(DemoError::Directory)?;
            (Storage::File(directory.path().join("demo.db")), Some(directory))
        }
    };
    Ok((fill(storage, runtime)?, directory))
}

fn fill(storage: Storage, runtime: &Handle) -> Result<Database, DemoError> {
    let filled = storage
        .connect_untouched(runtime)
        .and_then(|mut connection| fixture::prepare(&mut connection))
        .and_then(|found| match found {
            Found::Demo => Database::start(&storage, runtime).map(Some),
            Found::Foreign => Ok(None),
        });
    match filled {
        Ok(Some(database)) => Ok(database),
        Ok(None) => Err(DemoError::Foreign { storage }),
        Err(error) => Err(DemoError::Database {
            storage,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
