//! A SQLite database for one run: from SQL, or a copy of a file.

use std::{fs, io, path::Path};

use rusqlite::Connection;

use super::postgres::PostgresError;
use crate::workload::{Fixture, Script, Source};

/// Makes a database file: empty without a fixture.
///
/// # Errors
/// When the system refuses, and with file and line where a statement fails.
pub fn load(path: &Path, fixture: Option<&Fixture>) -> Result<(), PostgresError> {
    match fixture.map(|fixture| &fixture.source) {
        Some(Source::File(from)) => fs::copy(from, path)
            .map(|_| ())
            .map_err(|source| PostgresError::system("the fixture cannot be copied", source)),
        Some(Source::Scripts(scripts)) => {
            let connection = open(path)?;
            for script in scripts {
                execute_all(&connection, script)?;
            }
            let settled = connection.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)");
            settled.map_err(|error| PostgresError::system("the fixture cannot be analysed", io::Error::other(error)))
        }
        None => open(path).map(|_| ()),
    }
}

/// Executes a script in a database file, statement by statement.
///
/// # Errors
/// When it cannot be opened, and with file and line where a statement fails.
pub fn execute(path: &Path, script: &Script) -> Result<(), PostgresError> {
    let connection = Connection::open(path);
    let connection =
        connection.map_err(|error| PostgresError::system("the database cannot be opened", io::Error::other(error)))?;
    execute_all(&connection, script)
}

fn execute_all(connection: &Connection, script: &Script) -> Result<(), PostgresError> {
    for statement in &script.statements {
        let done = connection.execute_batch(&statement.sql);
        done.map_err(|error| PostgresError::Script {
            path: script.path.clone(),
            line: statement.line,
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// What a database is made of, a line for each object: equal before and after what was taken back.
///
/// # Errors
/// When it cannot be read.
pub fn fingerprint(path: &Path) -> Result<Vec<String>, PostgresError> {
    let objects = || {
        let connection = Connection::open(path)?;
        let mut statement = connection
            .prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")?;
        let lines = statement.query_map([], |row| row.get(0))?;
        lines.collect::<rusqlite::Result<Vec<String>>>()
    };
    objects().map_err(|error| PostgresError::system("the schema cannot be read", io::Error::other(error)))
}

fn open(path: &Path) -> Result<Connection, PostgresError> {
    let connection = Connection::open(path);
    // A fixture that is cut off is made anew: nothing has to survive.
    let quick = connection.and_then(|connection| {
        connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA user_version = 0")?;
        Ok(connection)
    });
    quick.map_err(|error| PostgresError::system("the database cannot be made", io::Error::other(error)))
}
