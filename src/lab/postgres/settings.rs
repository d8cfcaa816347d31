//! The settings of a private server: those of a profile, and where each of the user's belongs.

use std::collections::BTreeMap;

use super::{PostgresError, account::Account, programs::Programs};
use crate::workload::Durability;

/// What every private server has: quiet, the same everywhere, countable.
///
/// `full_page_writes` stays on and `synchronous_commit` as it is, so that what
/// is written to the log is what production writes.
const ALL: &[(&str, &str)] = &[
    ("shared_buffers", "1GB"),
    ("max_wal_size", "4GB"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("full_page_writes", "on"),
    ("compute_query_id", "on"),
    ("track_io_timing", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("synchronize_seqscans", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_checkpoints", "on"),
    ("log_lock_waits", "on"),
    // Failed statements are counted by who sent them; a storm of them must not fill the disk.
    ("log_min_messages", "log"),
    ("huge_pages", "off"),
];

/// In memory, without what disturbs a count.
const CI: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("autovacuum", "off"),
    ("checkpoint_timeout", "1d"),
    // In the data directory, and gone with it.
    ("dynamic_shared_memory_type", "mmap"),
];

/// As in production.
const DURABLE: &[(&str, &str)] = &[("fsync", "on")];

/// While fixtures are loaded: nothing of it is measured, and little is left in the log.
pub(super) const LOADING: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("autovacuum", "off"),
    ("wal_recycle", "off"),
    ("maintenance_work_mem", "256MB"),
];

/// Its settings and its view.
const STATEMENTS: &[(&str, &str)] = &[
    ("shared_preload_libraries", "pg_stat_statements"),
    ("pg_stat_statements.track", "top"),
    ("pg_stat_statements.track_planning", "on"),
    ("pg_stat_statements.save", "off"),
];

/// Connections beside those of the load: superusers, observers, managed processes.
const SPARE_CONNECTIONS: usize = 100;

/// The user's settings, by where they take effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// For the command line of the server.
    pub(super) server: Vec<(String, String)>,
    /// For `ALTER DATABASE … SET`.
    pub(super) database: Vec<(String, String)>,
}

impl Settings {
    /// The profile's, then the user's, who has the last word.
    ///
    /// # Errors
    /// A setting that this server does not have, or that nobody can set.
    pub(super) fn new(
        programs: &Programs,
        account: Option<&Account>,
        durability: Durability,
        connections: usize,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Self, PostgresError> {
        let profile = match durability {
            Durability::Ci => CI,
            Durability::Durable => DURABLE,
        };
        let statements = if programs.has_library("pg_stat_statements") {
            STATEMENTS
        } else {
            &[]
        };
        let mut settings = Self {
            server: owned([ALL, profile, statements].concat()),
            database: Vec::new(),
        };
        let most = (connections + SPARE_CONNECTIONS).max(300);
        settings.server.push(("max_connections".into(), most.to_string()));
        if !wanted.is_empty() {
            settings.add(wanted, &contexts(programs, account)?)?;
        }
        Ok(settings)
    }

    fn add(&mut self, wanted: &BTreeMap<String, String>, contexts: &str) -> Result<(), PostgresError> {
        for (name, value) in wanted {
            let pair = (name.clone(), value.clone());
            match context(contexts, name) {
                Some("user" | "superuser") => self.database.push(pair),
                Some("internal") => return Err(refused(name, "nobody can set it")),
                // What the server does not know may belong to an extension, and it takes that at its start.
                Some(_) => self.server.push(pair),
                None if name.contains('.') => self.server.push(pair),
                None => return Err(refused(name, "this server has no such setting")),
            }
        }
        Ok(())
    }
}

pub(super) fn owned(settings: impl AsRef<[(&'static str, &'static str)]>) -> Vec<(String, String)> {
    let pairs = settings.as_ref().iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn refused(name: &str, reason: &str) -> PostgresError {
    PostgresError::Setting {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}

/// What `postgres --describe-config` prints: a line per setting, its columns apart by tabs.
fn contexts(programs: &Programs, account: Option<&Account>) -> Result<String, PostgresError> {
    let output = programs.command("postgres", account).arg("--describe-config").output();
    let output =
        output.map_err(|source| PostgresError::system("the server cannot be asked for its settings", source))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// When a setting can be changed: `user`, `superuser`, `postmaster`, …
fn context<'a>(contexts: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = contexts.lines().map(|line| line.split('\t'));
    lines.find_map(|mut columns| {
        let found = columns.next()?.eq_ignore_ascii_case(name);
        columns.next().filter(|_| found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_goes_where_it_takes_effect() {
        let contexts = "work_mem\tuser\tx\nshared_buffers\tpostmaster\tx\nautovacuum\tsighup\tx\nblock_size\tinternal\t\nlog_statement\tsuperuser\t\n";
        let add = |name: &str| {
            let mut settings = Settings::default();
            let wanted = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            settings
                .add(&wanted, contexts)
                .map(|()| (settings.server.len(), settings.database.len()))
                .map_err(|error| error.to_string())
        };
        assert_eq!((add("work_mem"), add("log_statement")), (Ok((0, 1)), Ok((0, 1))));
        assert_eq!((add("shared_buffers"), add("autovacuum")), (Ok((1, 0)), Ok((1, 0))));
        assert_eq!(add("pg_stat_statements.max"), Ok((1, 0)));
        assert!(add("work_men").unwrap_err().contains("no such setting"));
        assert!(add("block_size").unwrap_err().contains("nobody can set it"));
    }
}
