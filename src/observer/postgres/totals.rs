//! Sessions and transactions of one database, from `pg_stat_database`.
//!
//! A session is counted when it is there, a transaction when its session tells of it: at
//! once only where that ends, else up to 10 s later. So transactions are only told while
//! nobody is connected. Knows nothing of steps.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Config, Statement};

use super::{answer, column, connect};
use crate::{target::PostgresConnection, workload::Tls};

/// Before this version what sessions tell takes its time to arrive.
const OLDEST: i32 = 150_000;

/// A session that was closed is gone after so long at the most.
const CLOSED_WITHIN: Duration = Duration::from_millis(250);

/// Between two looks whether it is gone.
const TICK: Duration = Duration::from_millis(2);

/// The database that every server has.
const MAINTENANCE: &str = "postgres";

/// A database as its server counts it, seen from beside it.
#[derive(Debug)]
pub struct Totals {
    connection: PostgresConnection,
    database: String,
    open: Statement,
    read: Statement,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    sessions: i64,
    /// `None` while some session may have more to tell.
    transactions: Option<i64>,
}

/// What was counted between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gained {
    /// Sessions that began.
    pub sessions: u64,
    /// Transactions that ended, without the one in which a server lets each session in; `None`
    /// where sessions stayed open, which tell of theirs late.
    pub transactions: Option<u64>,
}

impl Totals {
    /// Connects to another database of the same server, so that it does not count itself.
    ///
    /// # Errors
    /// Why nothing can be counted, in one sentence.
    pub async fn connect(config: &Config, tls: &Tls, database: &str) -> Result<Self, String> {
        let named = config.get_dbname().or(config.get_user());
        let mut refused = "there is no other database on the server to count from".to_owned();
        for beside in named.into_iter().chain([MAINTENANCE]).filter(|name| *name != database) {
            match connect(config, tls, Some(beside)).await {
                Ok(connection) => return Self::begin(connection, database).await,
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    async fn begin(connection: PostgresConnection, database: &str) -> Result<Self, String> {
        let version = "SELECT current_setting('server_version_num')::int4, current_setting('track_counts')::bool";
        let row = answer(connection.query_one(version, &[])).await?;
        if column::<i32>(&row, 0)? < OLDEST {
            return Err("servers before PostgreSQL 15 count them with delay".into());
        }
        if !column::<bool>(&row, 1)? {
            return Err("they are not counted, because track_counts is off: set it to on".into());
        }
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
        let read = "SELECT sessions, xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
        Ok(Self {
            open: answer(connection.prepare(open)).await?,
            read: answer(connection.prepare(read)).await?,
            database: database.to_owned(),
            connection,
        })
    }

    /// The counters now. Sessions that are about to end are waited for where `closing`.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn read(&self, closing: bool) -> Result<Moment, String> {
        let began = Instant::now();
        // First who is there, then what was told: a session tells before it goes.
        let mut open = self.open().await?;
        while open && closing && began.elapsed() < CLOSED_WITHIN {
            sleep(TICK).await;
            open = self.open().await?;
        }
        let row = answer(self.connection.query_one(&self.read, &[&self.database])).await?;
        let transactions: i64 = column(&row, 1)?;
        Ok(Moment {
            sessions: column(&row, 0)?,
            transactions: (!open).then_some(transactions),
        })
    }

    async fn open(&self) -> Result<bool, String> {
        let row = answer(self.connection.query_one(&self.open, &[&self.database])).await?;
        Ok(column::<i64>(&row, 0)? > 0)
    }
}

impl Moment {
    /// Whether all sessions had told of all their transactions.
    pub fn is_complete(&self) -> bool {
        self.transactions.is_some()
    }

    /// What was counted after `before`.
    ///
    /// # Errors
    /// When the counters were set back in between.
    pub fn since(&self, before: &Self) -> Result<Gained, String> {
        let gained = |now: i64, before: i64| {
            let gained = now.checked_sub(before).and_then(|gained| u64::try_from(gained).ok());
            gained.ok_or_else(|| "the counters of the database were reset in between".to_owned())
        };
        let transactions = self.transactions.zip(before.transactions);
        let sessions = gained(self.sessions, before.sessions)?;
        let ended = transactions.map(|(now, before)| gained(now, before)).transpose()?;
        Ok(Gained {
            sessions,
            transactions: ended.map(|ended| ended.saturating_sub(sessions)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(sessions: i64, transactions: Option<i64>) -> Moment {
        Moment { sessions, transactions }
    }

    #[test]
    fn transactions_are_only_known_where_all_have_told() {
        let gained = moment(5, Some(40)).since(&moment(3, Some(30))).unwrap();
        assert_eq!((gained.sessions, gained.transactions), (2, Some(8)));
        for (before, now) in [(Some(30), None), (None, Some(40)), (None, None)] {
            let gained = moment(5, now).since(&moment(3, before)).unwrap();
            assert_eq!((gained.sessions, gained.transactions), (2, None));
        }
        let reset = moment(1, Some(40)).since(&moment(3, Some(30)));
        assert!(reset.unwrap_err().contains("reset"));
    }
}
