//! The extension pg_stat_statements in one database: where it is, what it can say, how it is asked.

use super::{answer, column};
use crate::target::PostgresConnection;

/// Begins everything that is asked, so that it is known again in the server's counters.
const MARK: &str = "/* loadgate observer */";

/// Longest text of a statement that is kept, in characters.
const LONGEST_TEXT: usize = 4000;

/// `$1` is the database. No row: no extension.
const LOOK: &str = "SELECT quote_ident(n.nspname), p.proargnames,
        to_regprocedure(quote_ident(n.nspname) || '.pg_stat_statements_info()') IS NOT NULL,
        (SELECT oid FROM pg_database WHERE datname = $1), current_user::text,
        current_setting('pg_stat_statements.track', true), current_setting('compute_query_id', true),
        current_setting('pg_stat_statements.track_planning', true)
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'pg_stat_statements'
    WHERE e.extname = 'pg_stat_statements'";

/// Where the extension is, and what it can say.
pub(super) struct Extension {
    schema: String,
    /// What a statement is counted by.
    columns: Vec<String>,
    /// Whether it tells of evictions and resets.
    has_info: bool,
    /// Number of the database that is asked about, where there is one.
    pub(super) database: Option<u32>,
    /// Who asks.
    pub(super) role: String,
    track: Option<String>,
    query_id: Option<String>,
    planning: Option<String>,
}

impl Extension {
    pub(super) async fn look(connection: &PostgresConnection, database: &str) -> Result<Option<Self>, String> {
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
            planning: column(&row, 7)?,
        }))
    }

    pub(super) fn check(&self) -> Result<(), String> {
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

    /// Whether plans are counted: by default they are not.
    pub(super) fn counts_plans(&self) -> bool {
        self.planning.as_deref() == Some("on")
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// A statement inside a function is part of the one that called it.
    fn top_level(&self) -> &'static str {
        if self.has("toplevel") { "AND s.toplevel" } else { "" }
    }

    /// One row per statement, or one without a statement; `$1` is the database.
    pub(super) fn read(&self) -> String {
        let (schema, top_level) = (&self.schema, self.top_level());
        let info = if self.has_info {
            format!("{schema}.pg_stat_statements_info()")
        } else {
            "(SELECT NULL::int8 AS dealloc, NULL::timestamptz AS stats_reset)".to_owned()
        };
        format!(
            "{MARK} SELECT i.dealloc, (extract(epoch FROM i.stats_reset) * 1000000)::int8, s.queryid, s.calls, s.rows,
                 s.shared_blks_hit + s.shared_blks_read + s.local_blks_hit + s.local_blks_read,
                 s.temp_blks_written, s.wal_records, s.wal_fpi,
                 least(s.wal_bytes, 9223372036854775807)::int8, s.plans
             FROM {info} i LEFT JOIN {schema}.pg_stat_statements(false) s ON s.dbid = $1 {top_level}"
        )
    }

    pub(super) fn texts(&self) -> String {
        let (schema, top_level) = (&self.schema, self.top_level());
        format!(
            "{MARK} SELECT DISTINCT ON (s.queryid) s.queryid, left(s.query, {LONGEST_TEXT})
             FROM {schema}.pg_stat_statements(true) s
             WHERE s.dbid = $1 AND s.queryid = ANY ($2) AND s.query IS NOT NULL {top_level}
             ORDER BY s.queryid, s.userid"
        )
    }

    /// Statements that begin with the mark.
    pub(super) fn own(&self) -> String {
        let schema = &self.schema;
        format!(
            "{MARK} SELECT DISTINCT s.queryid FROM {schema}.pg_stat_statements(true) s
             WHERE s.dbid = $1 AND s.queryid IS NOT NULL AND starts_with(s.query, '{MARK}')"
        )
    }
}
