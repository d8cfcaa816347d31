//! Exact counters of the statements of one database, from `pg_stat_statements`.
//!
//! The server counts a statement when it ends: nothing has to be waited for.
//! Knows nothing of steps, nor which statement belongs to whom.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Config, Error, Row, Statement};

use super::{answer, answer_or, column, connect};
use crate::{
    run::StatementCounts,
    target::{PostgresConnection, describe_postgres_error},
    workload::Tls,
};

/// Begins everything that is asked, so that it is known again in the server's counters.
const MARK: &str = "/* loadgate observer */";

/// Longest text of a statement that is kept, in characters.
const LONGEST_TEXT: usize = 4000;

/// `$1` is the database. No row: no extension.
const LOOK: &str = "SELECT quote_ident(n.nspname), p.proargnames,
        to_regprocedure(quote_ident(n.nspname) || '.pg_stat_statements_info()') IS NOT NULL,
        (SELECT oid FROM pg_database WHERE datname = $1), current_user::text,
        current_setting('pg_stat_statements.track', true), current_setting('compute_query_id', true)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'pg_stat_statements'
    WHERE e.extname = 'pg_stat_statements'";

/// The statements of one database, as its server counts them.
#[derive(Debug)]
pub struct Statements {
    connection: PostgresConnection,
    /// Number of the database.
    database: u32,
    /// Who asks.
    role: String,
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

/// Where the extension is, and what it can say.
struct Extension {
    schema: String,
    /// What a statement is counted by.
    columns: Vec<String>,
    /// Whether it tells of evictions and resets.
    has_info: bool,
    database: Option<u32>,
    role: String,
    track: Option<String>,
    query_id: Option<String>,
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

impl Extension {
    async fn look(connection: &PostgresConnection, database: &str) -> Result<Option<Self>, String> {
        let row = answer(connection.query_opt(&format!("{MARK} {LOOK}"), &[&database])).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            schema: column(&row, 0)?,
            columns: column(&row, 1)?,
            has_info: column(&row, 2)?,
            database: column(&row, 3)?,
            role: column(&row, 4)?,
            track: column(&row, 5)?,
            query_id: column(&row, 6)?,
        }))
    }

    fn check(&self) -> Result<(), String> {
        if !self.has("wal_records") || !self.has("plans") {
            return Err("pg_stat_statements is as an older server had it: \
                        execute ALTER EXTENSION pg_stat_statements UPDATE"
                .into());
        }
        for (name, value, off, on) in [
            ("pg_stat_statements.track", &self.track, "none", "top"),
            ("compute_query_id", &self.query_id, "off", "auto"),
        ] {
            if value.as_deref() == Some(off) {
                return Err(format!(
                    "statements are not counted, because {name} is {off}: set it to {on}"
                ));
            }
        }
        Ok(())
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// A statement inside a function is part of the one that called it.
    fn top_level(&self) -> &'static str {
        if self.has("toplevel") { "AND s.toplevel" } else { "" }
    }

    /// One row per statement, or one without a statement; `$1` is the database.
    fn read(&self) -> String {
        let (schema, top_level) = (&self.schema, self.top_level());
        let info = if self.has_info {
            format!("{schema}.pg_stat_statements_info()")
        } else {
            "(SELECT NULL::int8 AS dealloc, NULL::timestamptz AS stats_reset)".to_owned()
        };
        format!(
            "{MARK} SELECT i.dealloc, (extract(epoch FROM i.stats_reset) * 1000000)::int8, s.queryid, s.calls, s.rows,
                 s.shared_blks_hit + s.shared_blks_read + s.local_blks_hit + s.local_blks_read,
                 s.temp_blks_read + s.temp_blks_written, s.wal_records, s.wal_fpi,
                 least(s.wal_bytes, 9223372036854775807)::int8, s.plans
             FROM {info} i LEFT JOIN {schema}.pg_stat_statements(false) s ON s.dbid = $1 {top_level}"
        )
    }

    fn texts(&self) -> String {
        let (schema, top_level) = (&self.schema, self.top_level());
        format!(
            "{MARK} SELECT DISTINCT ON (s.queryid) s.queryid, left(s.query, {LONGEST_TEXT})
             FROM {schema}.pg_stat_statements(true) s
             WHERE s.dbid = $1 AND s.queryid = ANY ($2) AND s.query IS NOT NULL {top_level}
             ORDER BY s.queryid, s.userid"
        )
    }

    /// Statements that begin with the mark.
    fn own(&self) -> String {
        let schema = &self.schema;
        format!(
            "{MARK} SELECT DISTINCT s.queryid FROM {schema}.pg_stat_statements(true) s
             WHERE s.dbid = $1 AND s.queryid IS NOT NULL AND starts_with(s.query, '{MARK}')"
        )
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
