//! Exact counters of the statements of one database, from `pg_stat_statements`.
//!
//! The server counts a statement when it ends: nothing has to be waited for.
//! Knows nothing of steps, nor which statement belongs to whom.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Config, Error, Row, Statement};

use super::{answer, answer_or, column, connect, extension::Extension};
use crate::{
    run::StatementCounts,
    target::{PostgresConnection, describe_postgres_error},
    workload::Tls,
};

/// The statements of one database, as its server counts them.
#[derive(Debug)]
pub struct Statements {
    connection: PostgresConnection,
    /// Number of the database.
    database: u32,
    /// Who asks.
    role: String,
    counts_plans: bool,
    read: Statement,
    texts: Statement,
    /// What this observer asks, where that is counted too.
    own: BTreeSet<i64>,
}

/// Counters of every statement at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    counts: BTreeMap<i64, StatementCounts>,
    /// Calls of statements of other roles, which this one may not tell apart.
    hidden_calls: u64,
    /// How often the server dropped what it had counted longest ago, where it says so.
    evictions: Option<i64>,
    /// When all counters were set to zero, where the server says so.
    reset: Option<i64>,
    role: String,
}

impl Statements {
    /// Connects beside `database`: to the one that `config` names, where the extension is
    /// there, so that what is asked is never counted; else to `database` itself, where the
    /// observer's own statements are left out.
    ///
    /// A role that may not read the statements of others reads its own.
    ///
    /// # Errors
    /// Why nothing can be counted, in one sentence.
    pub async fn connect(config: &Config, tls: &Tls, database: &str) -> Result<Self, String> {
        let named = config.get_dbname().or(config.get_user());
        if named != Some(database)
            && let Ok(connection) = connect(config, tls, None).await
            && let Some(extension) = Extension::look(&connection, database).await?
        {
            return Self::begin(connection, extension, database, false).await;
        }
        let connection = connect(config, tls, Some(database)).await?;
        let extension = Extension::look(&connection, database).await?.ok_or_else(|| {
            format!(
                "the extension pg_stat_statements is not in the database \"{database}\": set \
                 shared_preload_libraries = 'pg_stat_statements', restart the server, \
                 and execute CREATE EXTENSION pg_stat_statements there"
            )
        })?;
        Self::begin(connection, extension, database, true).await
    }

    async fn begin(
        connection: PostgresConnection,
        extension: Extension,
        database: &str,
        within: bool,
    ) -> Result<Self, String> {
        extension.check()?;
        let number = extension
            .database
            .ok_or_else(|| format!("the server has no database \"{database}\""))?;
        let mut statements = Self {
            read: answer(connection.prepare(&extension.read())).await?,
            texts: answer(connection.prepare(&extension.texts())).await?,
            connection,
            database: number,
            role: extension.role.clone(),
            counts_plans: extension.counts_plans(),
            own: BTreeSet::new(),
        };
        if within {
            statements.own = statements.own_statements(&extension).await?;
        } else {
            // What the server refuses it refuses now.
            statements.read().await?;
        }
        Ok(statements)
    }

    /// Known by their text once they have been executed, the question for them included.
    async fn own_statements(&self, extension: &Extension) -> Result<BTreeSet<i64>, String> {
        let question = answer(self.connection.prepare(&extension.own())).await?;
        self.read().await?;
        self.texts(&[]).await?;
        let mut rows = Vec::new();
        for _ in 0..2 {
            rows = answer(self.connection.query(&question, &[&self.database])).await?;
        }
        rows.iter().map(|row| column(row, 0)).collect()
    }

    /// Whether the server counts how often a statement is planned.
    pub fn counts_plans(&self) -> bool {
        self.counts_plans
    }

    /// Everything counted so far, in one round trip.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn read(&self) -> Result<Reading, String> {
        let described = |error: &Error| refusal(error, &self.role);
        let rows = answer_or(self.connection.query(&self.read, &[&self.database]), described).await?;
        let mut reading = Reading {
            counts: BTreeMap::new(),
            hidden_calls: 0,
            evictions: None,
            reset: None,
            role: self.role.clone(),
        };
        for row in &rows {
            reading.add(row)?;
        }
        reading.counts.retain(|id, _| !self.own.contains(id));
        Ok(reading)
    }

    /// The texts of those statements, normalised by the server, each cut at 4,000 characters.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn texts(&self, ids: &[i64]) -> Result<BTreeMap<i64, String>, String> {
        let rows = answer(self.connection.query(&self.texts, &[&self.database, &ids])).await?;
        rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
    }
}

impl Reading {
    fn add(&mut self, row: &Row) -> Result<(), String> {
        self.evictions = column(row, 0)?;
        self.reset = column(row, 1)?;
        let id: Option<i64> = column(row, 2)?;
        let Some(calls) = column::<Option<i64>>(row, 3)? else {
            return Ok(());
        };
        let number = |at| column::<i64>(row, at).map(natural);
        let counts = StatementCounts {
            calls: natural(calls),
            rows: number(4)?,
            buffers: number(5)?,
            temp_blocks: number(6)?,
            wal_records: number(7)?,
            wal_fpi: number(8)?,
            wal_bytes: number(9)?,
            plans: number(10)?,
        };
        match id {
            // Roles are counted apart.
            Some(id) => self.counts.entry(id).or_default().add(&counts),
            None => self.hidden_calls += counts.calls,
        }
        Ok(())
    }

    /// What was counted after `before`: statements that were executed since then, by queryid.
    ///
    /// # Errors
    /// When something was lost in between: counters evicted or reset, or of roles that this one may not look at.
    pub fn since(&self, before: &Self) -> Result<BTreeMap<i64, StatementCounts>, String> {
        let reset = || "the counters of statements were reset in between".to_owned();
        if self.reset != before.reset {
            return Err(reset());
        }
        if self.evictions != before.evictions || before.counts.keys().any(|id| !self.counts.contains_key(id)) {
            return Err("the server dropped counters of statements in between: \
                        raise pg_stat_statements.max or execute fewer different statements"
                .into());
        }
        if self.hidden_calls != before.hidden_calls {
            let role = &self.role;
            return Err(format!(
                "statements of other roles were executed, which the role {role} may not look at: \
                 GRANT pg_read_all_stats TO {role}"
            ));
        }
        let none = StatementCounts::default();
        let mut gained = BTreeMap::new();
        for (id, now) in &self.counts {
            let since = now.since(before.counts.get(id).unwrap_or(&none)).ok_or_else(reset)?;
            if since != none {
                gained.insert(*id, since);
            }
        }
        Ok(gained)
    }
}

/// Whether a statement begins or ends a transaction or sets up a session, and asks for nothing:
/// such are counted apart from queries.
pub fn is_transaction_control(text: &str) -> bool {
    const ALWAYS: &[&str] = &[
        "abort",
        "begin",
        "commit",
        "deallocate",
        "discard",
        "end",
        "release",
        "reset",
        "rollback",
        "savepoint",
        "set",
        "start",
    ];
    let text = without_comments(text);
    let mut words = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_ascii_lowercase();
    // PREPARE TRANSACTION, not PREPARE … AS.
    let mut prepares = || {
        words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("transaction"))
    };
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && (ALWAYS.contains(&first.as_str()) || first == "prepare" && prepares())
}

/// The text from its first word on.
fn without_comments(mut text: &str) -> &str {
    loop {
        text = text.trim_start();
        let rest = if let Some(line) = text.strip_prefix("--") {
            line.split_once('\n')
        } else if let Some(block) = text.strip_prefix("/*") {
            block.split_once("*/")
        } else {
            return text;
        };
        text = rest.map_or("", |(_, rest)| rest);
    }
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// What the server refused, with the mend where there is one.
fn refusal(error: &Error, role: &str) -> String {
    let reason = describe_postgres_error(error);
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("42501") => format!("{reason}: GRANT pg_read_all_stats TO {role}, and EXECUTE on its functions"),
        // The extension is there, its library is not.
        Some("55000") => {
            format!("{reason}: set shared_preload_libraries = 'pg_stat_statements' and restart the server")
        }
        _ => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(calls: &[(i64, u64)]) -> Reading {
        let counts = |calls| StatementCounts {
            calls,
            ..StatementCounts::default()
        };
        Reading {
            counts: calls.iter().map(|(id, calls)| (*id, counts(*calls))).collect(),
            hidden_calls: 0,
            evictions: Some(0),
            reset: Some(1),
            role: "app".into(),
        }
    }

    #[test]
    fn what_was_executed_since_is_what_grew() {
        let before = reading(&[(1, 5), (2, 7)]);
        let gained = reading(&[(1, 5), (2, 9), (-3, 1)]).since(&before).unwrap();
        let calls: Vec<(i64, u64)> = gained.into_iter().map(|(id, counts)| (id, counts.calls)).collect();
        assert_eq!(calls, [(-3, 1), (2, 2)]);
        assert!(before.since(&before).unwrap().is_empty());
    }

    #[test]
    fn what_was_lost_is_said() {
        let before = reading(&[(1, 5)]);
        let lost = |now: Reading| now.since(&before).unwrap_err();
        assert!(lost(reading(&[])).contains("dropped"));
        assert!(lost(reading(&[(1, 4)])).contains("reset"));
        let changed = |change: fn(&mut Reading)| {
            let mut now = before.clone();
            change(&mut now);
            lost(now)
        };
        assert!(changed(|now| now.evictions = Some(1)).contains("pg_stat_statements.max"));
        assert!(changed(|now| now.reset = Some(2)).contains("reset"));
        assert!(changed(|now| now.hidden_calls = 1).contains("GRANT pg_read_all_stats TO app"));
    }

    #[test]
    fn control_of_transactions_is_told_from_queries() {
        for control in [
            "BEGIN",
            "begin;",
            "  /* app */ -- x\n START TRANSACTION READ ONLY",
            "COMMIT",
            "END",
            "ROLLBACK TO SAVEPOINT $1",
            "RELEASE a",
            "SET work_mem = $1",
            "RESET ALL",
            "DISCARD ALL",
            "DEALLOCATE $1",
            "PREPARE TRANSACTION $1",
        ] {
            assert!(is_transaction_control(control), "{control}");
        }
        for query in [
            "SELECT 1",
            "settle()",
            "(SELECT 1)",
            "WITH begin AS (SELECT 1) SELECT * FROM begin",
            "PREPARE x AS SELECT 1",
            "-- BEGIN",
            "/* BEGIN",
            "",
        ] {
            assert!(!is_transaction_control(query), "{query}");
        }
    }
}
