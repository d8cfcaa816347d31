//! The demo's tables and rows, made when the database is empty.
//!
//! `schema.sqlite.sql` and `schema.postgres.sql` say what they are: 10,000 users
//! with five roles and twelve permissions, 10,000 sessions with ids from 1,
//! 50,000 emissions, the same on every machine. This module knows when to make
//! them, not what is asked of them.

use rusqlite::TransactionBehavior;

use super::{
    postgres,
    statements::{Connection, Error},
};

const SQLITE: &str = include_str!("schema.sqlite.sql");
const POSTGRES: &str = include_str!("schema.postgres.sql");

/// Marks a SQLite file as ours ("LGDM"), so that no other application's database is written to.
const APPLICATION_ID: i64 = 0x4c47_444d;

/// The same for PostgreSQL: of two demos that start on one new database, the
/// second waits for the lock of that number and then finds the tables.
const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(1279738957)";
const MARK: &str = "COMMENT ON TABLE users IS 'loadgate demo'";

/// What extensions brought along is nobody's application.
const LOOK: &str = "
    SELECT count(*) AS tables,
           coalesce(bool_or(pg_table_is_visible(oid) AND obj_description(oid, 'pg_class') = 'loadgate demo'), false) AS ours
    FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
      AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')";

/// So that the planner knows the sizes from the first request on.
const SETTLE: &str = "VACUUM (ANALYZE) users, roles, permissions, user_roles, role_permissions, sessions, emissions";

/// What was found in the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The fixture is there, just made or from before.
    Demo,
    /// The tables of another application.
    Foreign,
}

/// Makes the fixture in an empty database, in one transaction; leaves any other as it is.
///
/// # Errors
/// When the database refuses.
pub(super) fn prepare(connection: &mut Connection) -> Result<Found, Error> {
    match connection {
        Connection::Sqlite(connection) => Ok(in_sqlite(connection)?),
        Connection::Postgres(connection) => in_postgres(connection),
    }
}

fn found(is_ours: bool) -> Found {
    if is_ours { Found::Demo } else { Found::Foreign }
}

fn in_sqlite(connection: &mut rusqlite::Connection) -> rusqlite::Result<Found> {
    // Immediate: of two that start on one new file, the second waits and then finds the tables.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let mark: i64 = transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if tables > 0 {
        return Ok(found(mark == APPLICATION_ID));
    }
    transaction.execute_batch(SQLITE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    // So that the planner knows the sizes from the first request on.
    connection.execute_batch("PRAGMA optimize = 0x10002")?;
    Ok(Found::Demo)
}

/// The connection is not to be used where this fails: a transaction may be open.
fn in_postgres(connection: &postgres::Connection) -> Result<Found, Error> {
    connection.batch(LOCK)?;
    for row in connection.rows(LOOK, &[])? {
        if row.try_get::<_, i64>("tables")? > 0 {
            connection.batch("COMMIT")?;
            return Ok(found(row.try_get("ours")?));
        }
    }
    for part in [POSTGRES, MARK, "COMMIT", SETTLE] {
        connection.batch(part)?;
    }
    Ok(Found::Demo)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{in_sqlite as prepare, *};

    fn count(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_fixture_is_made_once_and_is_the_same_everywhere() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(prepare(&mut connection).unwrap(), Found::Demo);
        connection.execute("DELETE FROM sessions WHERE id = 7", []).unwrap();
        assert_eq!(prepare(&mut connection).unwrap(), Found::Demo);
        assert_eq!(
            count(&connection, "SELECT count(*) FROM sessions"),
            9_999,
            "a second start changes nothing"
        );
        assert_eq!(count(&connection, "SELECT count(*) FROM users"), 10_000);
        assert_eq!(count(&connection, "SELECT count(*) FROM user_roles"), 12_667);
        assert_eq!(count(&connection, "SELECT count(*) FROM role_permissions"), 27);
        assert_eq!(count(&connection, "SELECT sum(grams) FROM emissions"), 2_506_234_400);
        let unsummed = "SELECT count(*) FROM users WHERE total_grams <> (SELECT sum(grams) FROM emissions WHERE user_id = users.id)";
        assert_eq!(count(&connection, unsummed), 0);
        assert_eq!(count(&connection, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }

    #[test]
    fn another_applications_database_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE users (id INTEGER)").unwrap();
        assert_eq!(prepare(&mut connection).unwrap(), Found::Foreign);
        assert_eq!(count(&connection, "SELECT count(*) FROM sqlite_schema"), 1);
    }
}
