//! The server's views of its own activity: which there are, and how they are asked.

use std::collections::BTreeSet;

use super::{answer, column};
use crate::target::PostgresConnection;

const DATABASE: &[&str] = &[
    "xact_commit",
    "xact_rollback",
    "blks_hit",
    "blks_read",
    "tup_returned",
    "tup_fetched",
    "tup_inserted",
    "tup_updated",
    "tup_deleted",
    "temp_files",
    "temp_bytes",
    "deadlocks",
    // From 14 on.
    "sessions",
];

/// From 14 on; 18 has not all of them.
const WAL: &[&str] = &["wal_records", "wal_fpi", "wal_bytes", "wal_sync"];

/// Where checkpoints are counted, the best first: those done (18), those begun or skipped (17), those begun.
const CHECKPOINTS: &[(&str, &[&str])] = &[
    ("pg_stat_checkpointer", &["num_done"]),
    ("pg_stat_checkpointer", &["num_timed", "num_requested"]),
    ("pg_stat_bgwriter", &["checkpoints_timed", "checkpoints_req"]),
];

/// The columns that this server's views have.
pub(super) struct Views {
    columns: BTreeSet<(String, String)>,
    /// Who asks.
    pub(super) role: String,
}

impl Views {
    /// # Errors
    /// When the server cannot be asked, or has no such database.
    pub(super) async fn look(connection: &PostgresConnection, database: &str) -> Result<Self, String> {
        let question = "SELECT c.relname::text, a.attname::text, current_user::text,
                EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relname LIKE 'pg\\_stat\\_%'";
        let rows = answer(connection.query(question, &[&database])).await?;
        let mut views = Self {
            columns: BTreeSet::new(),
            role: String::new(),
        };
        for row in &rows {
            views.columns.insert((column(row, 0)?, column(row, 1)?));
            views.role = column(row, 2)?;
            if !column::<bool>(row, 3)? {
                return Err(format!("the server has no database \"{database}\""));
            }
        }
        Ok(views)
    }

    fn has(&self, view: &str, column: &str) -> bool {
        self.columns.contains(&(view.to_owned(), column.to_owned()))
    }

    /// Kind, name and number: how many sessions wait for what, who vacuums, how many are
    /// connected at all. `$1` is the database; sessions of that application are left out.
    pub(super) fn sessions(&self, observer: &str) -> String {
        format!(
            "WITH a AS MATERIALIZED (SELECT * FROM pg_stat_activity
                WHERE datname = $1 AND pid <> pg_backend_pid() AND application_name <> '{observer}')
            SELECT 'wait', coalesce(wait_event_type || ':' || wait_event, 'CPU'), count(*) FROM a
                WHERE state = 'active' AND backend_type IN ('client backend', 'parallel worker') GROUP BY 2
            UNION ALL SELECT 'vacuum', left(query, 200), pid::int8 FROM a WHERE backend_type = 'autovacuum worker'
            UNION ALL SELECT 'open', '', count(*) FROM a WHERE coalesce(backend_type, '') <> 'autovacuum worker'
                HAVING count(*) > 0
            UNION ALL SELECT 'hidden', '', count(*) FROM a WHERE query = '<insufficient privilege>'
                HAVING count(*) > 0"
        )
    }

    /// View, name and value of every counter; `$1` is the database.
    pub(super) fn totals(&self) -> String {
        let of_database = self.values("database", "pg_stat_database", DATABASE);
        let mut parts = vec![format!("{} WHERE datname = $1", of_database)];
        if self.has("pg_stat_wal", WAL[0]) {
            parts.push(self.values("wal", "pg_stat_wal", WAL));
        }
        let counted = CHECKPOINTS
            .iter()
            .find(|(view, columns)| columns.iter().all(|column| self.has(view, column)));
        if let Some((view, columns)) = counted {
            parts.push(self.values("checkpoints", view, columns));
        }
        parts.join(" UNION ALL ")
    }

    fn values(&self, kind: &str, view: &str, columns: &[&str]) -> String {
        let known = columns.iter().filter(|column| self.has(view, column));
        let values: Vec<String> = known
            .map(|column| format!("('{column}', least({column}, 9223372036854775807)::int8)"))
            .collect();
        let values = values.join(", ");
        format!("SELECT '{kind}', name, value FROM {view}, LATERAL (VALUES {values}) AS v (name, value)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn views(columns: &[(&str, &str)]) -> Views {
        let owned = |(view, column): &(&str, &str)| ((*view).to_owned(), (*column).to_owned());
        Views {
            columns: columns.iter().map(owned).collect(),
            role: String::new(),
        }
    }

    #[test]
    fn only_what_a_server_has_is_asked_for() {
        let old = views(&[
            ("pg_stat_database", "xact_commit"),
            ("pg_stat_bgwriter", "checkpoints_timed"),
            ("pg_stat_bgwriter", "checkpoints_req"),
        ])
        .totals();
        assert!(old.contains("checkpoints_req") && !old.contains("pg_stat_wal"), "{old}");
        assert!(!old.contains("sessions"), "{old}");
        let new = views(&[
            ("pg_stat_database", "sessions"),
            ("pg_stat_wal", "wal_records"),
            ("pg_stat_checkpointer", "num_timed"),
            ("pg_stat_checkpointer", "num_requested"),
            ("pg_stat_checkpointer", "num_done"),
        ])
        .totals();
        assert!(new.contains("num_done") && !new.contains("num_timed"), "{new}");
        assert!(new.contains("'wal'") && !new.contains("wal_sync"), "{new}");
    }
}
