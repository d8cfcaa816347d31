//! A connection to a PostgreSQL server that is no part of any load: for databases
//! that are made, looked at and dropped. Convenient where [`super::postgres`] is quick.

use std::{ops::Deref, pin::Pin};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{in_time, postgres::reaches_over_tcp, tls};
use crate::workload::Tls;

/// It ends when dropped.
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    wire: JoinHandle<()>,
}

impl Deref for PostgresConnection {
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

/// The part of a connection that moves bytes; it ends with the connection.
type Wire = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Connects once, in the time that a connection outside of load is given, with TLS as a target would.
///
/// # Errors
/// What the server or the library said.
pub async fn connect_postgres(config: &Config, tls: &Tls) -> Result<PostgresConnection, String> {
    let (client, wire) = in_time(connect(config, tls)).await?;
    // Why it ended reaches the request that meets it.
    let wire = tokio::spawn(async move { drop(wire.await) });
    Ok(PostgresConnection { client, wire })
}

async fn connect(config: &Config, tls: &Tls) -> Result<(Client, Wire), String> {
    if config.get_ssl_mode() == SslMode::Disable || !reaches_over_tcp(config) {
        let (client, wire) = config
            .connect(NoTls)
            .await
            .map_err(|error| describe_postgres_error(&error))?;
        return Ok((client, Box::pin(wire)));
    }
    let tls = MakeRustlsConnect::new(tls::config(tls, false)?.as_ref().clone());
    let (client, wire) = config
        .connect(tls)
        .await
        .map_err(|error| describe_postgres_error(&error))?;
    Ok((client, Box::pin(wire)))
}

/// The server's own words with the SQLSTATE, or the library's with their cause.
pub fn describe_postgres_error(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
