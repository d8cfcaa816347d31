//! Where a demo keeps its data: which database is meant, and connections to it.
//!
//! Knows no table and no statement.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::runtime::Handle;
use tokio_postgres::{Config, config::Host};

use super::{
    postgres,
    statements::{Connection, Error},
};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Words that begin an address of PostgreSQL in the form `host=… dbname=…`.
const KEYWORDS: [&str; 9] = [
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "options",
    "connect_timeout",
];

/// A database of the demo. Its text names the place and no password.
#[derive(Debug, Clone, PartialEq)]
pub enum Storage {
    /// A SQLite file, made when it is absent.
    File(PathBuf),
    /// A database on a PostgreSQL server, which must be there.
    Postgres(Box<Config>),
}

impl Storage {
    /// Reads what `--database` says: `postgres://…`, `postgresql://…`, `host=… dbname=…`, else the path of a file.
    ///
    /// # Errors
    /// A sentence, when it looks like an address of PostgreSQL and is none. It does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keyword = text
            .split_once('=')
            .is_some_and(|(word, _)| KEYWORDS.contains(&word.trim()));
        if !keyword && !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Ok(Self::File(text.into()));
        }
        let mut config: Config = text.parse().map_err(|_| {
            "is no address of PostgreSQL; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with % for what is \
             special in a URL, or host=HOST dbname=DATABASE"
                .to_owned()
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err("names no host; write host=HOST, or the directory of the server's socket there".into());
        }
        config.application_name("loadgate demo");
        Ok(Self::Postgres(Box::new(config)))
    }

    /// What could be named instead of a database that is not the demo's.
    pub(super) fn fresh(&self) -> &'static str {
        match self {
            Self::File(_) => "a new file",
            Self::Postgres(_) => "an empty database",
        }
    }

    /// A connection for the demo's requests. Not to be called where the runtime's own work is done.
    pub(super) fn connect(&self, runtime: &Handle) -> Result<Connection, Error> {
        let connection = self.connect_untouched(runtime)?;
        if let Connection::Sqlite(connection) = &connection {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.set_prepared_statement_cache_capacity(32);
        }
        Ok(connection)
    }

    /// The same without changing anything there: it may not be ours.
    pub(super) fn connect_untouched(&self, runtime: &Handle) -> Result<Connection, Error> {
        match self {
            Self::File(path) => Ok(Connection::Sqlite(open(path)?)),
            Self::Postgres(config) => {
                let connection = postgres::Connection::open(config, runtime)?;
                Ok(Connection::Postgres(Box::new(connection)))
            }
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = match self {
            Self::File(path) => return path.display().fmt(f),
            Self::Postgres(config) => config,
        };
        let port = config.get_ports().first().unwrap_or(&5432);
        f.write_str("PostgreSQL on ")?;
        match (config.get_hosts().first(), config.get_hostaddrs().first()) {
            (Some(Host::Tcp(name)), _) => write!(f, "{name}:{port}")?,
            #[cfg(unix)]
            (Some(Host::Unix(directory)), _) => write!(f, "{}", directory.display())?,
            (None, Some(address)) => write!(f, "{address}:{port}")?,
            (None, None) => f.write_str("no host")?,
        }
        match config.get_dbname() {
            Some(name) => write!(f, ", database {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_file() {
        let read = |text: &str| match Storage::parse(text) {
            Ok(storage) => storage.to_string(),
            Err(reason) => format!("refused: {reason}"),
        };
        assert_eq!(read("demo.db"), "demo.db");
        assert_eq!(read("./host=a"), "./host=a");
        assert_eq!(
            read("postgres://u:hunter2@h/shop"),
            "PostgreSQL on h:5432, database shop"
        );
        assert_eq!(read("postgresql://h:1"), "PostgreSQL on h:1");
        assert_eq!(
            read("host=/run dbname=shop password=hunter2"),
            "PostgreSQL on /run, database shop"
        );
        assert_eq!(read("hostaddr=127.0.0.1 port=7"), "PostgreSQL on 127.0.0.1:7");
        assert!(read("dbname=shop").starts_with("refused: names no host"));
        for wrong in [
            "postgres://u:hunter2@h:port/shop",
            "host=a password='hunter2",
            "host=a hunter2",
        ] {
            let refused = read(wrong);
            assert!(
                refused.starts_with("refused: is no address") && !refused.contains("hunter2"),
                "{refused}"
            );
        }
    }

    #[test]
    fn no_password_is_in_what_is_written_for_debugging() {
        let storage = Storage::parse("postgres://u:hunter2@h/shop").unwrap();
        assert!(!format!("{storage:?}").contains("hunter2"));
    }
}
