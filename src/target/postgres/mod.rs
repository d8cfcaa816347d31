//! PostgreSQL by its own protocol (version 3.0): one connection per session,
//! statements prepared once per connection, in a pipeline or not, or sent
//! extended or simple; rows copied.
//!
//! An operation is written before its clock starts ([`script`]), sent with one
//! system call and, where its answer is short, received with one ([`wire`]);
//! nothing is allocated for it, no task woken, no timer set.

mod cancel;
mod channel_binding;
mod connection;
mod copy;
mod endpoint;
mod failure;
mod fan_out;
mod line;
mod login;
mod message;
mod pipeline;
mod pool;
mod received;
mod room;
mod script;
mod session;
mod stopwatch;
mod values;
mod wire;

use std::{sync::Arc, time::Duration};

use futures_util::TryFutureExt as _;
use rand::seq::SliceRandom as _;
use tokio::runtime::Handle;
use tokio_postgres::{
    Config,
    config::{Host, LoadBalanceHosts, SslMode},
};

pub use self::pool::ConnectionPool;
pub(super) use self::session::Session;
use self::{
    cancel::{Cancels, Key},
    connection::Connection,
    endpoint::{Endpoint, Opened},
    failure::Failure,
    login::Login,
    script::Sql,
    wire::Wire,
};
pub use self::{room::Room, script::with_literals};
use super::{TargetError, Via, in_time, tls};
use crate::{
    sample::ErrorClass,
    workload::{Connections, PostgresTarget, Protocol, Target, Workload},
};

/// A server with its settings.
#[derive(Debug, Clone)]
pub struct Connector {
    shared: Arc<Shared>,
    /// Where sessions get their connections, under load: nowhere, from one pool, or from one for each flow.
    pools: Arc<Pools>,
}

/// The pools of one target.
#[derive(Debug, Default)]
struct Pools {
    all: Vec<ConnectionPool>,
    /// The place of each flow's pool; empty where all share one.
    by_flow: Vec<usize>,
}

/// What all connections to a server share.
#[derive(Debug)]
struct Shared {
    name: String,
    config: Config,
    /// Where to connect in place of the server.
    via: Option<Via>,
    user: String,
    protocol: Protocol,
    /// What every session asks for when it begins.
    settings: Vec<(&'static str, String)>,
    connections: Connections,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// All of the scenario.
    statements: Vec<Sql>,
    /// Those that go to this target.
    own: Vec<usize>,
    cancels: Cancels,
}

impl Connector {
    pub(super) fn bind(
        target: &Target,
        postgres: &PostgresTarget,
        connection: &str,
        statements: &[String],
        own: Vec<usize>,
        via: Option<Via>,
    ) -> Result<Self, TargetError> {
        let setting = |reason: String| TargetError::Setting {
            target: target.name.clone(),
            reason,
        };
        // The text was read when the scenario was compiled; only the port is new.
        let mut config: Config = connection
            .parse()
            .map_err(|_| setting("not a PostgreSQL address".into()))?;
        if config.get_application_name().is_none() {
            config.application_name("loadgate");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        let tls = if config.get_ssl_mode() == SslMode::Disable || !reaches_over_tcp(&config) {
            None
        } else {
            Some(tls::config(&postgres.tls, false).map_err(setting)?)
        };
        let user = match config.get_user() {
            Some(user) => user.to_owned(),
            None => whoami::username().map_err(|error| setting(format!("no `user` in the address: {error}")))?,
        };
        let runtime = Handle::try_current().map_err(|error| setting(error.to_string()))?;
        let statements = statements.iter().enumerate();
        let shared = Shared {
            name: target.name.clone(),
            config,
            via,
            user,
            protocol: postgres.protocol,
            settings: postgres.settings.clone(),
            connections: postgres.connections.clone(),
            tls,
            statements: statements.map(|(index, text)| Sql::new(index, text)).collect(),
            own,
            cancels: Cancels::on(runtime),
        };
        Ok(Self {
            shared: Arc::new(shared),
            pools: Arc::default(),
        })
    }

    /// For load: with pools of its own, where the scenario wants some. No connection is made yet.
    pub(super) fn for_load(&self, workload: &Workload, number: usize) -> Result<Self, TargetError> {
        let new = |limits, flow| ConnectionPool::new(&self.shared, limits, flow);
        let mut pools = Pools::default();
        match &self.shared.connections {
            Connections::Pooled(limits) if limits.bulkheads => {
                pools.by_flow = vec![0; workload.flows.len()];
                for flow in workload.flows_of(number) {
                    pools.by_flow[flow] = pools.all.len();
                    pools.all.push(new(limits, Some(workload.flows[flow].name.clone()))?);
                }
            }
            Connections::Pooled(limits) => pools.all.push(new(limits, None)?),
            Connections::PerSession | Connections::PerOperation => {}
        }
        Ok(Self {
            shared: Arc::clone(&self.shared),
            pools: Arc::new(pools),
        })
    }

    pub(super) fn pools(&self) -> &[ConnectionPool] {
        &self.pools.all
    }

    pub(super) fn address(&self) -> String {
        let config = &self.shared.config;
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => config
                .get_hostaddrs()
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
        format!("{host}:{port}/{database}")
    }

    pub(super) async fn probe(&self) -> Result<Option<String>, TargetError> {
        let mut connection = self.connect().await?;
        let answer = connection
            .ask("SHOW server_version")
            .await
            .map_err(|failure| self.unreachable(failure.message))?;
        let version = answer.into_iter().next().flatten();
        Ok(version.map(|version| format!("PostgreSQL {version}")))
    }

    pub(super) async fn check_statements(&self, statements: &[usize]) -> Result<(), TargetError> {
        let mut connection = self.connect().await?;
        for index in statements {
            if let Err(failure) = connection.prepare(*index).await {
                return Err(TargetError::Statement {
                    target: self.shared.name.clone(),
                    sql: self.shared.statements[*index].text.clone(),
                    reason: failure.message,
                });
            }
        }
        Ok(())
    }

    /// A connection outside of any load.
    async fn connect(&self) -> Result<Box<Connection>, TargetError> {
        let connect = self.shared.connect().map_err(|failure| failure.message);
        in_time(connect).await.map_err(|reason| self.unreachable(reason))
    }

    /// Returns when the server knows of all that it need not go on with.
    pub(super) async fn settled(&self) {
        self.shared.cancels.settled().await;
    }

    fn unreachable(&self, reason: String) -> TargetError {
        TargetError::Unreachable {
            target: self.shared.name.clone(),
            address: self.address(),
            reason,
        }
    }

    pub(super) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.shared), Arc::clone(&self.pools))
    }
}

/// Whether any of the servers that an address names is not on a Unix socket.
pub(super) fn reaches_over_tcp(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) || !config.get_hostaddrs().is_empty()
}

impl Shared {
    /// A connection to the first of the servers that takes one; what the last said if none does.
    async fn connect(self: &Arc<Self>) -> Result<Box<Connection>, Failure> {
        let mut failure = Failure::new(ErrorClass::Connect, "no address");
        let mut servers = endpoint::servers(&self.config)?;
        let random = self.config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        if random {
            servers.shuffle(&mut rand::rng());
        }
        for server in servers {
            let endpoints = match server.endpoints(self.via.as_ref()).await {
                Ok(mut endpoints) => {
                    if random {
                        endpoints.shuffle(&mut rand::rng());
                    }
                    endpoints
                }
                Err(unknown) => {
                    failure = unknown;
                    continue;
                }
            };
            for endpoint in endpoints {
                match self.log_in(endpoint).await {
                    Ok(connection) => return Ok(connection),
                    Err(refused) => failure = refused.in_connecting(),
                }
            }
        }
        Err(failure)
    }

    async fn log_in(self: &Arc<Self>, endpoint: Endpoint) -> Result<Box<Connection>, Failure> {
        let Opened { stream, binding } = endpoint.open(self).await?;
        let mut wire = Wire::new(stream);
        let login = Login {
            config: &self.config,
            user: &self.user,
            settings: &self.settings,
            binding,
        };
        let named = login.perform(&mut wire).await?;
        let key = named.map(|(process, secret)| Key {
            endpoint,
            process,
            secret,
        });
        let mut connection = Box::new(Connection::new(Arc::clone(self), wire, key));
        login::check_session(&mut connection, self.config.get_target_session_attrs()).await?;
        Ok(connection)
    }

    /// A connection that is ready for load.
    async fn connect_and_prepare(self: &Arc<Self>) -> Result<Box<Connection>, Failure> {
        let mut connection = self.connect().await?;
        if self.protocol.prepares() {
            connection.prepare_all().await.map_err(Failure::in_connecting)?;
        }
        Ok(connection)
    }
}
