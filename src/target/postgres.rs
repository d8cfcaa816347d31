//! PostgreSQL on tokio-postgres: one connection per session, statements
//! prepared once per connection, or sent extended or simple.

use std::{
    cell::OnceCell,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt as _, pin_mut};
use tokio::time::{Instant, timeout};
use tokio_postgres::{
    CancelToken, Client, Config, Error, NoTls, SimpleQueryMessage, Statement as Prepared, config::Host,
    config::SslMode, types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Operation, Reply, TargetError,
    deadline::Deadline,
    postgres_types::{Parameter, row_to_json, write_literal},
    tls,
};
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{DEFAULT_TIMEOUT, PostgresTarget, Protocol, Request, Statement, Target, Tls, Values, split_sql},
};

/// How long may be spent on asking the server to give up a statement.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// A server with its settings.
#[derive(Debug, Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    config: Config,
    protocol: Protocol,
    tls: Option<Arc<rustls::ClientConfig>>,
    statements: Vec<String>,
}

/// The part of a connection that moves bytes; it ends with the connection.
type Wire = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A connection and what was prepared on it.
struct Connection {
    client: Client,
    /// Driven by whoever waits for an answer: an operation pays for no other task.
    wire: Option<Wire>,
    /// By index of the statement; dropping one would close it on the server.
    prepared: Vec<OnceCell<Prepared>>,
}

/// How an operation failed.
struct Failure {
    class: ErrorClass,
    message: String,
}

impl Connection {
    fn is_closed(&self) -> bool {
        self.wire.is_none() || self.client.is_closed()
    }

    /// Whether it still stands, as far as the server has said by now.
    async fn is_open(&mut self) -> bool {
        let wire = &mut self.wire;
        poll_fn(|context| {
            if wire.as_mut().is_some_and(|open| open.as_mut().poll(context).is_ready()) {
                *wire = None;
            }
            Poll::Ready(())
        })
        .await;
        !self.is_closed()
    }

    /// Runs an exchange on the connection to its end, moving its bytes.
    async fn exchange<T>(&mut self, exchange: impl AsyncFnOnce(&Client, &[OnceCell<Prepared>]) -> T) -> T {
        let Self { client, wire, prepared } = self;
        let mut exchange = pin!(exchange(client, prepared));
        poll_fn(|context| {
            if let Poll::Ready(output) = exchange.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            let Some(open) = wire else { return Poll::Pending };
            if open.as_mut().poll(context).is_ready() {
                // Why it ended reaches the exchange that meets it.
                *wire = None;
            }
            exchange.as_mut().poll(context)
        })
        .await
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            class: classify(&error),
            message: describe(&error),
        }
    }
}

impl Connector {
    pub(super) fn bind(target: &Target, postgres: &PostgresTarget, connection: &str) -> Result<Self, TargetError> {
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
        let shared = Shared {
            name: target.name.clone(),
            config,
            protocol: postgres.protocol,
            tls,
            statements: target.statements.clone(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
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
        let row = self
            .client()
            .await?
            .exchange(async |client, _| client.query_one("SHOW server_version", &[]).await)
            .await
            .map_err(|error| self.unreachable(describe(&error)))?;
        Ok(row
            .try_get::<_, String>(0)
            .ok()
            .map(|version| format!("PostgreSQL {version}")))
    }

    pub(super) async fn check_statements(&self, statements: &[usize]) -> Result<(), TargetError> {
        let mut connection = self.client().await?;
        for sql in statements.iter().map(|index| &self.shared.statements[*index]) {
            if let Err(error) = connection.exchange(async |client, _| client.prepare(sql).await).await {
                return Err(TargetError::Statement {
                    target: self.shared.name.clone(),
                    sql: sql.clone(),
                    reason: describe(&error),
                });
            }
        }
        Ok(())
    }

    /// A connection outside of any load.
    async fn client(&self) -> Result<Connection, TargetError> {
        match timeout(DEFAULT_TIMEOUT, self.shared.connect()).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(describe(&error))),
            Err(_) => Err(self.unreachable(format!("no connection within {} s", DEFAULT_TIMEOUT.as_secs()))),
        }
    }

    fn unreachable(&self, reason: String) -> TargetError {
        TargetError::Unreachable {
            target: self.shared.name.clone(),
            address: self.address(),
            reason,
        }
    }

    pub(super) fn session(&self) -> Session {
        Session {
            shared: Arc::clone(&self.shared),
            connection: None,
            cancel: None,
            deadline: Deadline::default(),
        }
    }
}

fn reaches_over_tcp(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) || !config.get_hostaddrs().is_empty()
}

impl Shared {
    async fn connect(&self) -> Result<Connection, Error> {
        let (client, wire): (_, Wire) = match &self.tls {
            Some(config) => {
                let tls = MakeRustlsConnect::new(config.as_ref().clone());
                let (client, connection) = self.config.connect(tls).await?;
                (client, Box::pin(connection))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, Box::pin(connection))
            }
        };
        Ok(Connection {
            client,
            wire: Some(wire),
            prepared: self.statements.iter().map(|_| OnceCell::new()).collect(),
        })
    }

    async fn cancel(&self, token: &CancelToken) -> Result<(), Error> {
        match &self.tls {
            Some(config) => {
                token
                    .cancel_query(MakeRustlsConnect::new(config.as_ref().clone()))
                    .await
            }
            None => token.cancel_query(NoTls).await,
        }
    }

    async fn connect_and_prepare(&self) -> Result<Connection, Failure> {
        let mut connection = self.connect().await.map_err(|error| Failure {
            class: error.code().map_or(ErrorClass::Connect, |_| classify(&error)),
            message: describe(&error),
        })?;
        if self.protocol == Protocol::Prepared {
            connection
                .exchange(async |client, prepared| {
                    for (sql, cell) in self.statements.iter().zip(prepared) {
                        // What does not prepare (yet: setup may be about to create its
                        // table) is for the operation that needs it to meet.
                        let _ = prepare(client, sql, cell).await;
                    }
                })
                .await;
        }
        Ok(connection)
    }
}

/// The statement prepared on that connection, now or earlier.
async fn prepare<'c>(client: &Client, sql: &str, cell: &'c OnceCell<Prepared>) -> Result<&'c Prepared, Error> {
    if let Some(prepared) = cell.get() {
        return Ok(prepared);
    }
    let prepared = client.prepare(sql).await?;
    Ok(cell.get_or_init(|| prepared))
}

/// One connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    /// Taken out while in use: an operation that is cut off leaves none behind.
    connection: Option<Connection>,
    /// Reaches the server beside that connection while it is in use.
    cancel: Option<Box<CancelToken>>,
    deadline: Deadline,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Connects now; a failure is left for the first operation to meet.
    pub(super) async fn connect_ahead(&mut self) {
        if let Ok(Ok(connection)) = timeout(DEFAULT_TIMEOUT, self.shared.connect_and_prepare()).await {
            self.cancel = Some(Box::new(connection.client.cancel_token()));
            self.connection = Some(connection);
        }
    }

    pub(super) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let Operation { step, values } = operation;
        let (statements, transaction) = match &step.request {
            Request::Sql(statement) => (std::slice::from_ref(statement), false),
            Request::Transaction(statements) => (statements.as_slice(), true),
            Request::Http(_) => (&[][..], false),
        };
        let calls: Vec<Call<'_>> = statements
            .iter()
            .map(|statement| Call::new(statement, values))
            .collect();
        reply.begin();
        let keep = reply.keep || step.needs_body();
        let mut deadline = mem::take(&mut self.deadline);
        let start = reply.start;
        let ended = deadline
            .within(start, step.timeout, self.execute(&calls, transaction, keep, reply))
            .await;
        reply.end = Instant::now();
        self.deadline = deadline;
        match ended {
            Some(Ok(())) => Outcome::Completed,
            Some(Err(failure)) => reply.failed(failure.class, failure.message),
            None => {
                self.give_up();
                let allowed = crate::units::format_duration(step.timeout);
                reply.failed(ErrorClass::Timeout, format!("not done within {allowed}"))
            }
        }
    }

    /// Asks the server to end what was cut off. It would go on otherwise, and
    /// the connections of what times out would pile up on it.
    fn give_up(&mut self) {
        if let Some(token) = self.cancel.take() {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { timeout(CANCEL_WITHIN, shared.cancel(&token)).await });
        }
    }

    async fn execute(
        &mut self,
        calls: &[Call<'_>],
        transaction: bool,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let mut connection = self.connection(&mut reply.phases.connect).await?;
        let shared = &self.shared;
        let result = connection
            .exchange(async |client, prepared| {
                let link = Link { client, prepared };
                if transaction {
                    shared.transaction(link, calls, keep, reply).await
                } else {
                    shared.all(link, calls, keep, reply).await
                }
            })
            .await;
        if !connection.is_closed() {
            self.connection = Some(connection);
        }
        result
    }

    async fn connection(&mut self, took: &mut Option<Duration>) -> Result<Connection, Failure> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_open().await
        {
            return Ok(connection);
        }
        self.cancel = None;
        let before = Instant::now();
        let connection = self.shared.connect_and_prepare().await;
        *took = Some(before.elapsed());
        self.cancel = connection
            .as_ref()
            .ok()
            .map(|made| Box::new(made.client.cancel_token()));
        connection
    }
}

/// A statement with the parameters of this operation.
struct Call<'a> {
    statement: &'a Statement,
    parameters: Vec<Parameter>,
}

impl<'a> Call<'a> {
    fn new(statement: &'a Statement, values: &mut Values<'_>) -> Self {
        let parameters = statement
            .parameters
            .iter()
            .map(|template| Parameter(template.value(values)))
            .collect();
        Self { statement, parameters }
    }
}

/// What an exchange sees of its connection.
#[derive(Clone, Copy)]
struct Link<'a> {
    client: &'a Client,
    prepared: &'a [OnceCell<Prepared>],
}

impl Shared {
    async fn transaction(
        &self,
        link: Link<'_>,
        calls: &[Call<'_>],
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        link.client.batch_execute("BEGIN").await?;
        let mut result = self.all(link, calls, keep, reply).await;
        if result.is_ok() {
            result = link.client.batch_execute("COMMIT").await.map_err(Failure::from);
        }
        if result.is_err() && !link.client.is_closed() {
            // Should the rollback fail too, the first error is the one to report.
            let _ = link.client.batch_execute("ROLLBACK").await;
        }
        result
    }

    async fn all(&self, link: Link<'_>, calls: &[Call<'_>], keep: bool, reply: &mut Reply) -> Result<(), Failure> {
        for call in calls {
            // What a transaction answers is what its last statement answers.
            reply.answer = super::Answer::default();
            match self.protocol {
                Protocol::Simple => self.simple(link.client, call, keep, reply).await?,
                Protocol::Prepared | Protocol::Extended => self.bound(link, call, keep, reply).await?,
            }
        }
        Ok(())
    }

    async fn bound(&self, link: Link<'_>, call: &Call<'_>, keep: bool, reply: &mut Reply) -> Result<(), Failure> {
        let index = call.statement.index;
        let rows = match self.protocol {
            Protocol::Prepared => {
                let prepared = prepare(link.client, &self.statements[index], &link.prepared[index]).await?;
                link.client.query_raw(prepared, &call.parameters).await?
            }
            _ => {
                let typed = call.parameters.iter().map(|parameter| (parameter, Type::UNKNOWN));
                link.client.query_typed_raw(&self.statements[index], typed).await?
            }
        };
        pin_mut!(rows);
        while let Some(row) = rows.next().await {
            let row = row?;
            reply.answer.row_count += 1;
            if keep {
                reply.answer.rows.push(row_to_json(&row));
            }
        }
        reply.answer.affected = rows.rows_affected().unwrap_or(0);
        Ok(())
    }

    async fn simple(&self, client: &Client, call: &Call<'_>, keep: bool, reply: &mut Reply) -> Result<(), Failure> {
        let (texts, indices) = split_sql(&self.statements[call.statement.index]);
        let mut sql = String::new();
        for (number, text) in texts.iter().enumerate() {
            sql.push_str(text);
            if let Some(parameter) = indices.get(number).and_then(|index| call.parameters.get(*index)) {
                write_literal(&parameter.0, &mut sql);
            }
        }
        for message in client.simple_query(&sql).await? {
            match message {
                SimpleQueryMessage::Row(row) => {
                    reply.answer.row_count += 1;
                    if keep {
                        let cells = row.columns().iter().enumerate();
                        reply.answer.rows.push(
                            cells
                                .map(|(at, column)| (column.name().to_owned(), row.get(at).into()))
                                .collect(),
                        );
                    }
                }
                SimpleQueryMessage::CommandComplete(affected) => reply.answer.affected = affected,
                _ => {}
            }
        }
        Ok(())
    }
}

fn classify(error: &Error) -> ErrorClass {
    if let Some(code) = error.code() {
        return code
            .code()
            .as_bytes()
            .try_into()
            .map_or(ErrorClass::Protocol, ErrorClass::SqlState);
    }
    let source = std::error::Error::source(error);
    if error.is_closed() || source.is_some_and(|source| source.is::<std::io::Error>()) {
        ErrorClass::Disconnected
    } else if error.to_string().starts_with("error serializing parameter") {
        ErrorClass::Parameter
    } else {
        ErrorClass::Protocol
    }
}

/// A connection that is no part of any load; it ends when dropped.
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    wire: tokio::task::JoinHandle<()>,
}

impl std::ops::Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for PostgresConnection {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

/// Connects once, within [`DEFAULT_TIMEOUT`], with TLS as a target would.
///
/// # Errors
/// What the server or the library said.
pub async fn connect_postgres(config: &Config, tls: &Tls) -> Result<PostgresConnection, String> {
    let connect = async || -> Result<(Client, Wire), String> {
        if config.get_ssl_mode() == SslMode::Disable || !reaches_over_tcp(config) {
            let (client, wire) = config.connect(NoTls).await.map_err(|error| describe(&error))?;
            let wire: Wire = Box::pin(wire);
            Ok((client, wire))
        } else {
            let tls = MakeRustlsConnect::new(tls::config(tls, false)?.as_ref().clone());
            let (client, wire) = config.connect(tls).await.map_err(|error| describe(&error))?;
            let wire: Wire = Box::pin(wire);
            Ok((client, wire))
        }
    };
    let connected = timeout(DEFAULT_TIMEOUT, connect()).await;
    let (client, wire) = connected.map_err(|_| format!("no connection within {} s", DEFAULT_TIMEOUT.as_secs()))??;
    // Why it ended reaches the request that meets it.
    let wire = tokio::spawn(async move { drop(wire.await) });
    Ok(PostgresConnection { client, wire })
}

/// The server's own words with the SQLSTATE, or the library's with their cause.
pub fn describe(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
