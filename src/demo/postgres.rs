//! A connection to PostgreSQL for a thread that waits for its answers.
//!
//! Statements are prepared once per connection; a connection that was lost is
//! made again before the next request. This module knows no table.

use std::{cell::RefCell, collections::HashMap};

use tokio::runtime::Handle;
use tokio_postgres::{Config, Row, Statement, types::ToSql};

use super::statements::Error;
use crate::{
    target::{PostgresConnection, connect_postgres},
    workload::Tls,
};

/// A connection, and how to make it again.
pub(super) struct Connection {
    config: Config,
    /// Moves the bytes while the thread waits.
    runtime: Handle,
    client: PostgresConnection,
    prepared: RefCell<HashMap<&'static str, Statement>>,
}

impl Connection {
    /// Connects. Not to be called where the runtime's own work is done.
    ///
    /// # Errors
    /// When the server refuses or does not answer in time.
    pub(super) fn open(config: &Config, runtime: &Handle) -> Result<Self, Error> {
        let client = runtime.block_on(connect_postgres(config, &Tls::default()));
        Ok(Self {
            config: config.clone(),
            runtime: runtime.clone(),
            client: client.map_err(Error::Connection)?,
            prepared: RefCell::default(),
        })
    }

    /// Connects anew where the connection was lost. Where that fails, the next statement will say so.
    pub(super) fn renew(&mut self) {
        if self.client.is_closed()
            && let Ok(renewed) = Self::open(&self.config, &self.runtime)
        {
            *self = renewed;
        }
    }

    /// Executes a statement and returns its rows, if it gives any.
    ///
    /// # Errors
    /// When the server refuses, or is gone.
    pub(super) fn rows(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        self.runtime.block_on(async {
            let known = self.prepared.borrow().get(sql).cloned();
            let statement = match known {
                Some(statement) => statement,
                None => {
                    let made = self.client.prepare(sql).await?;
                    self.prepared.borrow_mut().insert(sql, made.clone());
                    made
                }
            };
            Ok(self.client.query(&statement, params).await?)
        })
    }

    /// Executes several statements that take no parameters.
    ///
    /// # Errors
    /// When the server refuses one; those before it have taken effect, unless a transaction was open.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }
}
