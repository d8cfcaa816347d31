//! Statements on either database: one interface over two connections, and a count.
//!
//! What is asked is written once; a [`Sql`] holds the text for each database
//! where they differ. This module knows no table and no thread.

use std::cell::Cell;

use rusqlite::{ToSql, types::ToSqlOutput};
use tokio_postgres::types as postgres_types;

use super::postgres;
use crate::target::describe_postgres_error;

/// A connection to the demo's database, of whichever kind it is.
pub(super) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Connection>),
}

/// A statement in the words of both databases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Sql {
    /// A text that both understand. Parameters first appear in the order of
    /// their numbers: SQLite takes `$1` for a name and goes by appearance.
    pub(super) const fn both(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'v> {
    Int(i64),
    Text(&'v str),
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Int(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

impl Value<'_> {
    fn for_postgres(&self) -> &(dyn postgres_types::ToSql + Sync) {
        match self {
            Self::Int(number) => number,
            Self::Text(text) => text,
        }
    }
}

/// A row of an answer.
pub(super) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_> {
    /// The value of the column of that name.
    ///
    /// # Errors
    /// When there is no such column, or its value is of another type.
    pub(super) fn get<T>(&self, column: &str) -> Result<T, Error>
    where
        T: rusqlite::types::FromSql + postgres_types::FromSqlOwned,
    {
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

/// What the database refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}", describe_postgres_error(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// No connection can be made.
    #[error("{0}")]
    Connection(String),
}

/// A connection that counts the statements executed on it.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    executed: Cell<u32>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            executed: Cell::new(0),
        }
    }

    /// How many statements were executed so far.
    pub(super) fn executed(&self) -> u32 {
        self.executed.get()
    }

    /// Executes a statement that gives no rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) fn execute(&self, sql: &Sql, params: &[Value<'_>]) -> Result<(), Error> {
        self.rows(sql, params, |_| Ok(())).map(drop)
    }

    /// Executes a statement and reads its rows.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) fn rows<T>(
        &self,
        sql: &Sql,
        params: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.executed.set(self.executed.get() + 1);
        match self.connection {
            Connection::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql.sqlite)?;
                let mut rows = statement.query(rusqlite::params_from_iter(params))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(read(&Row::Sqlite(row))?);
                }
                Ok(found)
            }
            Connection::Postgres(connection) => {
                let params: Vec<_> = params.iter().map(Value::for_postgres).collect();
                let rows = connection.rows(sql.postgres, &params)?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }
}
