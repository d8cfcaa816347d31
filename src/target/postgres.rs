//! PostgreSQL on tokio-postgres: one connection per session, statements
//! prepared once per connection, or sent extended or simple.

use std::{cell::OnceCell, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, pin_mut};
use tokio::time::{Instant, timeout};
use tokio_postgres::{
    CancelToken, Client, Config, Error, NoTls, SimpleQueryMessage, Statement as Prepared, config::Host,
    config::SslMode, types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    Operation, Reply, TargetError,
    postgres_types::{Parameter, row_to_json, write_literal},
    tls,
};
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{DEFAULT_TIMEOUT, PostgresTarget, Protocol, Request, Statement, Target, Values, split_sql},
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

/// A connection and what was prepared on it.
#[derive(Debug)]
struct Connection {
    client: Client,
    /// By index of the statement; dropping one would close it on the server.
    prepared: Vec<OnceCell<Prepared>>,
}

/// How an operation failed.
struct Failure {
    class: ErrorClass,
    message: String,
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
        let client = self.client().await?;
        let row = client
            .query_one("SHOW server_version", &[])
            .await
            .map_err(|error| self.unreachable(describe(&error)))?;
        Ok(row
            .try_get::<_, String>(0)
            .ok()
            .map(|version| format!("PostgreSQL {version}")))
    }

    pub(super) async fn check_statements(&self, statements: &[usize]) -> Result<(), TargetError> {
        let client = self.client().await?;
        for sql in statements.iter().map(|index| &self.shared.statements[*index]) {
            if let Err(error) = client.prepare(sql).await {
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
    async fn client(&self) -> Result<Client, TargetError> {
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
        }
    }
}

fn reaches_over_tcp(config: &Config) -> bool {
    config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) || !config.get_hostaddrs().is_empty()
}

impl Shared {
    async fn connect(&self) -> Result<Client, Error> {
        match &self.tls {
            Some(config) => {
                let (client, connection) = self
                    .config
                    .connect(MakeRustlsConnect::new(config.as_ref().clone()))
                    .await?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                // Its errors reach the statements that meet them.
                tokio::spawn(connection);
                Ok(client)
            }
        }
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
        let client = self.connect().await.map_err(|error| Failure {
            class: error.code().map_or(ErrorClass::Connect, |_| classify(&error)),
            message: describe(&error),
        })?;
        let connection = Connection {
            client,
            prepared: self.statements.iter().map(|_| OnceCell::new()).collect(),
        };
        if self.protocol == Protocol::Prepared {
            for index in 0..self.statements.len() {
                // What does not prepare (yet: setup may be about to create its
                // table) is for the operation that needs it to meet.
                let _ = self.prepared(&connection, index).await;
            }
        }
        Ok(connection)
    }

    /// The statement prepared on that connection, now or earlier.
    async fn prepared<'c>(&self, connection: &'c Connection, index: usize) -> Result<&'c Prepared, Error> {
        let cell = &connection.prepared[index];
        if let Some(prepared) = cell.get() {
            return Ok(prepared);
        }
        let prepared = connection.client.prepare(&self.statements[index]).await?;
        Ok(cell.get_or_init(|| prepared))
    }
}

/// One connection.
pub(super) struct Session {
    shared: Arc<Shared>,
    /// Taken out while in use: an operation that is cut off leaves none behind.
    connection: Option<Connection>,
    /// Reaches the server beside that connection while it is in use.
    cancel: Option<Box<CancelToken>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection)
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
        let ended = timeout(step.timeout, self.execute(&calls, transaction, keep, reply)).await;
        reply.end = Instant::now();
        match ended {
            Ok(Ok(())) => Outcome::Completed,
            Ok(Err(failure)) => reply.failed(failure.class, failure.message),
            Err(_) => {
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
        let connection = self.connection(&mut reply.phases.connect).await?;
        let result = if transaction {
            self.shared.transaction(&connection, calls, keep, reply).await
        } else {
            self.shared.all(&connection, calls, keep, reply).await
        };
        if !connection.client.is_closed() {
            self.connection = Some(connection);
        }
        result
    }

    async fn connection(&mut self, took: &mut Option<Duration>) -> Result<Connection, Failure> {
        if let Some(connection) = self.connection.take()
            && !connection.client.is_closed()
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

impl Shared {
    async fn transaction(
        &self,
        connection: &Connection,
        calls: &[Call<'_>],
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        connection.client.batch_execute("BEGIN").await?;
        let mut result = self.all(connection, calls, keep, reply).await;
        if result.is_ok() {
            result = connection.client.batch_execute("COMMIT").await.map_err(Failure::from);
        }
        if result.is_err() && !connection.client.is_closed() {
            // Should the rollback fail too, the first error is the one to report.
            let _ = connection.client.batch_execute("ROLLBACK").await;
        }
        result
    }

    async fn all(
        &self,
        connection: &Connection,
        calls: &[Call<'_>],
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        for call in calls {
            // What a transaction answers is what its last statement answers.
            reply.answer = super::Answer::default();
            match self.protocol {
                Protocol::Simple => self.simple(&connection.client, call, keep, reply).await?,
                Protocol::Prepared | Protocol::Extended => self.bound(connection, call, keep, reply).await?,
            }
        }
        Ok(())
    }

    async fn bound(
        &self,
        connection: &Connection,
        call: &Call<'_>,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let index = call.statement.index;
        let rows = match self.protocol {
            Protocol::Prepared => {
                let prepared = self.prepared(connection, index).await?;
                connection.client.query_raw(prepared, &call.parameters).await?
            }
            _ => {
                let typed = call.parameters.iter().map(|parameter| (parameter, Type::UNKNOWN));
                connection
                    .client
                    .query_typed_raw(&self.statements[index], typed)
                    .await?
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

/// The server's own words with the SQLSTATE, or the library's with their cause.
fn describe(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
