//! What a PostgreSQL server can be asked about the work that was done on it:
//! counters of statements, their plans, what goes on while load runs.
//!
//! Needs no rights but to look. What is asked goes over connections of its own,
//! beside the database under load where that is possible.

mod activity;
mod extension;
mod plan;
mod statements;
mod totals;
mod views;

use std::time::Duration;

use tokio_postgres::{Config, Error, Row, types::FromSql};

pub use self::{
    activity::Activity,
    plan::{explain, read_plan},
    statements::{Reading, Statements, is_transaction_control},
    totals::{Gained, Moment, Totals},
};
use crate::{
    target::{PostgresConnection, connect_postgres, describe_postgres_error},
    workload::Tls,
};

/// Who asks, in the server's own views.
const NAME: &str = "loadgate observer";

/// Views are read in milliseconds; a server that is overloaded gets more.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to the database that `config` names, or to another on the same server.
async fn connect(config: &Config, tls: &Tls, database: Option<&str>) -> Result<PostgresConnection, String> {
    let mut config = config.clone();
    config.application_name(NAME);
    if let Some(database) = database {
        config.dbname(database);
    }
    connect_postgres(&config, tls).await
}

/// The server's answer, or why there is none.
async fn answer<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    answer_or(question, describe_postgres_error).await
}

/// The same, with a refusal in other words.
async fn answer_or<T>(
    question: impl Future<Output = Result<T, Error>>,
    describe: impl Fn(&Error) -> String,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| describe(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// A value of a row, of the type that was asked for.
fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, String> {
    row.try_get(at).map_err(|error| describe_postgres_error(&error))
}
