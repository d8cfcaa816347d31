//! Databases on a server, the run's own or the user's: made from fixtures, cloned, dropped.
//!
//! A fixture is a template: loaded once, vacuumed and analysed once, then
//! copied. All copies have the same pages, statistics and object numbers.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Config, Error, SimpleQueryMessage, error::ErrorPosition};

use super::PostgresError;
use crate::{
    target::{self, PostgresConnection},
    workload::{Fixture, Script, ScriptStatement, Source, Tls},
};

/// Objects of loadgate's own in a fixture, out of the way of the fixture's.
const SCHEMA: &str = "loadgate";

/// Settings that say where files are or hold secrets, not how the server works.
const NOT_TOLD: &str = "conninfo|passphrase|password|socket|_command$|_file$|_directory$|_address";

/// A line per object of the user's and per setting of the database.
const SCHEMA_AND_SETTINGS: &str = "
    WITH own AS (
        SELECT oid, nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'loadgate')
    )
    SELECT kind, what FROM (
        SELECT 'relation' AS kind,
               format('%I.%I (%s) %s', nspname, relname, relkind, array_to_string(reloptions, ' ')) AS what
        FROM pg_class JOIN own ON own.oid = relnamespace
        UNION ALL
        SELECT 'column', format('%I.%I.%I %s %s %s', nspname, relname, attname, format_type(atttypid, atttypmod),
                                attnotnull, pg_get_expr(adbin, adrelid))
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid JOIN own ON own.oid = relnamespace
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f')
        UNION ALL
        SELECT 'index', pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
        FROM pg_index JOIN pg_class ON pg_class.oid = indrelid JOIN own ON own.oid = relnamespace
        UNION ALL
        SELECT 'constraint', format('%s: %s', conname, pg_get_constraintdef(pg_constraint.oid))
        FROM pg_constraint JOIN own ON own.oid = connamespace
        UNION ALL
        SELECT 'function', format('%I.%I(%s) %s', nspname, proname, pg_get_function_identity_arguments(pg_proc.oid), md5(prosrc))
        FROM pg_proc JOIN own ON own.oid = pronamespace
        UNION ALL
        SELECT 'trigger', pg_get_triggerdef(pg_trigger.oid)
        FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN own ON own.oid = relnamespace
        WHERE NOT tgisinternal
        UNION ALL
        SELECT 'statistics', pg_get_statisticsobjdef(pg_statistic_ext.oid)
        FROM pg_statistic_ext JOIN own ON own.oid = stxnamespace
        UNION ALL
        SELECT 'extension', format('%s %s', extname, extversion) FROM pg_extension
        UNION ALL
        SELECT 'setting', unnest(setconfig) FROM pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS objects ORDER BY kind, what";

/// A server on which databases may be made.
#[derive(Debug, Clone)]
pub struct Databases {
    config: Config,
    tls: Tls,
    /// Whether the server is the run's own: then copies are of files, without regard to others.
    private: bool,
    /// Ends every name, so that runs on one server do not meet.
    suffix: String,
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Settings of a session in the database that differ from those a server is built with.
    pub settings: BTreeMap<String, String>,
    /// Extensions of the database, with versions.
    pub extensions: Vec<String>,
}

impl Databases {
    /// On a server of the run's own.
    pub(super) fn private(config: Config) -> Self {
        Self {
            config,
            tls: Tls::default(),
            private: true,
            suffix: String::new(),
        }
    }

    /// On the user's server. Names begin with `lg_` and end with one of this run.
    pub fn on(config: Config, tls: Tls) -> Self {
        let id = ulid::Ulid::new().to_string().to_lowercase();
        Self {
            config,
            tls,
            private: false,
            suffix: format!("_{}", &id[id.len() - 10..]),
        }
    }

    /// How to reach the server.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whom to trust.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The name of the database that is a fixture's template.
    pub fn template(&self, fixture: &Fixture) -> String {
        format!("lg_fix_{}{}", fixture.name, self.suffix)
    }

    /// The name of a database for a purpose, such as a target or a variant.
    pub fn name(&self, purpose: &str) -> String {
        let clean = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let purpose: String = purpose.chars().take(30).map(clean).collect();
        format!("lg_{purpose}{}", self.suffix)
    }

    /// Makes the fixture's template: executes its SQL, freezes and analyses it.
    ///
    /// # Errors
    /// With file and line of the statement that failed. The database is then dropped again.
    pub async fn load(&self, fixture: &Fixture) -> Result<(), PostgresError> {
        let name = self.template(fixture);
        self.execute(&format!("CREATE DATABASE {}", quoted(&name))).await?;
        let loaded = self.fill(&name, fixture).await;
        if loaded.is_err() {
            let _ = self.drop_database(&name).await;
        }
        loaded
    }

    async fn fill(&self, database: &str, fixture: &Fixture) -> Result<(), PostgresError> {
        let scripts: &[Script] = match &fixture.source {
            Source::Scripts(scripts) => scripts,
            Source::File(_) => &[],
        };
        let mut connection = self.connect(database).await?;
        for script in scripts {
            execute_all(&connection, script).await?;
        }
        // The fixture may have left a transaction or a search path behind.
        connection = self.connect(database).await?;
        if self.private {
            // Not installed everywhere, and missed only by the first to read each page.
            let prewarm = format!("CREATE SCHEMA {SCHEMA}; CREATE EXTENSION pg_prewarm SCHEMA {SCHEMA}");
            let _ = connection.batch_execute(&prewarm).await;
        }
        let vacuum = "VACUUM (FREEZE, ANALYZE)";
        connection
            .batch_execute(vacuum)
            .await
            .map_err(|error| sql_error(vacuum, &error))
    }

    /// Executes a script in a database, statement by statement.
    ///
    /// # Errors
    /// With file and line of the statement that failed.
    pub async fn execute_script(&self, database: &str, script: &Script) -> Result<(), PostgresError> {
        let connection = self.connect(database).await?;
        execute_all(&connection, script).await
    }

    /// What a database is made of, a line for each object and setting: equal before and after what was taken back.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn fingerprint(&self, database: &str) -> Result<Vec<String>, PostgresError> {
        let connection = self.connect(database).await?;
        let lines = rows(&connection, SCHEMA_AND_SETTINGS).await?;
        Ok(lines.into_iter().map(|(kind, what)| format!("{kind} {what}")).collect())
    }

    /// Makes a database that is a copy of the fixture's template, or an empty one, with these settings.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn clone_database(
        &self,
        fixture: Option<&Fixture>,
        name: &str,
        settings: &[(String, String)],
    ) -> Result<(), PostgresError> {
        let template = fixture.map_or_else(String::new, |fixture| {
            format!(" TEMPLATE {}", quoted(&self.template(fixture)))
        });
        let connection = self.connect(self.maintenance()).await?;
        // The default writes every page to the log. Before 15 there is only the copy of files.
        let strategy = if self.private && version(&connection).await >= 150_000 {
            " STRATEGY FILE_COPY"
        } else {
            ""
        };
        let create = format!("CREATE DATABASE {}{template}{strategy}", quoted(name));
        let made = connection.batch_execute(&create).await;
        made.map_err(|error| sql_error(&create, &error))?;
        self.set(name, settings).await
    }

    /// Sets settings of a database, for sessions that begin from now on.
    async fn set(&self, database: &str, settings: &[(String, String)]) -> Result<(), PostgresError> {
        if settings.is_empty() {
            return Ok(());
        }
        let connection = self.connect(self.maintenance()).await?;
        for (name, value) in settings {
            let value = value.replace('\'', "''");
            let alter = format!("ALTER DATABASE {} SET {name} = '{value}'", quoted(database));
            let set = connection.batch_execute(&alter).await;
            set.map_err(|error| PostgresError::Setting {
                name: name.clone(),
                reason: target::describe_postgres_error(&error),
            })?;
        }
        Ok(())
    }

    /// Drops a database with whoever is connected to it.
    ///
    /// # Errors
    /// When the server refuses; not when there is none.
    pub async fn drop_database(&self, name: &str) -> Result<(), PostgresError> {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        self.execute(&drop).await
    }

    /// Reads all tables and indexes into the server's memory, as far as the
    /// extension for it is there, and lets the server write what it has to.
    ///
    /// # Errors
    /// When the database cannot be reached. A server that will not do either does not.
    pub async fn settle(&self, database: &str) -> Result<(), PostgresError> {
        let connection = self.connect(database).await?;
        let prewarm = format!(
            "SELECT {SCHEMA}.pg_prewarm(oid::regclass) FROM pg_class
             WHERE relkind IN ('r', 'm', 'i', 't') AND relpersistence <> 't'"
        );
        let _ = connection.simple_query(&prewarm).await;
        let _ = connection.batch_execute("CHECKPOINT").await;
        Ok(())
    }

    /// What the server says of itself in that database.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn describe(&self, database: &str) -> Result<Description, PostgresError> {
        let connection = self.connect(database).await?;
        let settings = format!(
            "SELECT name, current_setting(name) FROM pg_settings
             WHERE setting IS DISTINCT FROM boot_val AND context <> 'internal' AND source NOT IN ('client', 'session')
               AND name !~ '{NOT_TOLD}' AND name <> 'port' ORDER BY name"
        );
        let extensions = "SELECT extname, extversion FROM pg_extension ORDER BY extname";
        let settings = rows(&connection, &settings).await?;
        let extensions = rows(&connection, extensions).await?.into_iter();
        Ok(Description {
            settings: settings.into_iter().collect(),
            extensions: extensions.map(|(name, version)| format!("{name} {version}")).collect(),
        })
    }

    /// Executes SQL in the database from which others are made.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), PostgresError> {
        let connection = self.connect(self.maintenance()).await?;
        let done = connection.batch_execute(sql).await;
        done.map_err(|error| sql_error(sql, &error))
    }

    /// The one that the address names.
    fn maintenance(&self) -> &str {
        let config = &self.config;
        config.get_dbname().or(config.get_user()).unwrap_or("postgres")
    }

    async fn connect(&self, database: &str) -> Result<PostgresConnection, PostgresError> {
        let mut config = self.config.clone();
        config.dbname(database);
        let connected = target::connect_postgres(&config, &self.tls).await;
        connected.map_err(|reason| PostgresError::Sql {
            what: format!("no connection to the database \"{database}\""),
            reason,
        })
    }
}

async fn execute_all(client: &Client, script: &Script) -> Result<(), PostgresError> {
    for statement in &script.statements {
        let done = client.batch_execute(&statement.sql).await;
        done.map_err(|error| misfit(script, statement, &error))?;
    }
    Ok(())
}

/// `"name"`, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn version(client: &Client) -> i32 {
    let query = "SELECT current_setting('server_version_num')::int";
    let row = client.query_one(query, &[]).await.ok();
    row.and_then(|row| row.try_get(0).ok()).unwrap_or(0)
}

/// Two columns of text.
async fn rows(client: &Client, query: &str) -> Result<Vec<(String, String)>, PostgresError> {
    let messages = client.simple_query(query).await;
    let messages = messages.map_err(|error| sql_error(query, &error))?;
    let cells = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1).unwrap_or_default().to_owned())),
        _ => None,
    };
    Ok(messages.iter().filter_map(cells).collect())
}

fn sql_error(sql: &str, error: &Error) -> PostgresError {
    PostgresError::Sql {
        what: sql.to_owned(),
        reason: target::describe_postgres_error(error),
    }
}

/// A statement of a fixture that failed, at the line that the server points at.
fn misfit(script: &Script, statement: &ScriptStatement, error: &Error) -> PostgresError {
    let position = match error.as_db_error().and_then(|error| error.position()) {
        // Counted in characters from 1.
        Some(ErrorPosition::Original(position)) => *position as usize,
        _ => 1,
    };
    let before = statement.sql.chars().take(position.saturating_sub(1));
    PostgresError::Script {
        path: script.path.clone(),
        line: statement.line + before.filter(|c| *c == '\n').count(),
        reason: target::describe_postgres_error(error),
    }
}
