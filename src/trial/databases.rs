//! The databases of one variant: copies made for it before its processes stand, changed as
//! the variant says, changed back and gone after all else.

use std::{fs, path::Path};

use super::{
    TrialError,
    owed::{Owed, Place},
    servers::{Servers, config, drop_in_the_end},
};
use crate::{
    lab::{
        LabError,
        postgres::{Databases, Description, PostgresError},
        sqlite,
    },
    run,
    target::fill,
    workload::{Kind, Provision, Script, Target, Workload},
};

/// So many lines tell what a rollback has left.
const MOST_DIFFERENCES: usize = 5;

/// The database of a target, made for the run or the user's own.
pub(super) struct Database {
    /// The name of the target.
    target: String,
    store: Store,
    /// What it was before the variant's setup, where a rollback is to bring that back.
    before: Option<Vec<String>>,
    /// Whether it is the user's own, and stays.
    stays: bool,
    /// The rollback, until it is performed, of one that stays.
    owed: Option<Owed>,
}

/// Where it is.
enum Store {
    /// A database on a server.
    Postgres(Box<OnServer>),
    /// A file.
    Sqlite(String),
}

struct OnServer {
    databases: Databases,
    name: String,
    /// For the load.
    connection: String,
    /// For managed processes; may hold a password.
    url: String,
    password: Option<String>,
    /// Whether it was made for the run.
    made: bool,
}

impl Database {
    /// Makes what the target asks for, for the variant of that name; `None` for HTTP.
    pub(super) async fn make(
        target: &Target,
        servers: &Servers,
        variant: Option<&str>,
        directory: &Path,
    ) -> Result<Option<Self>, TrialError> {
        let name = format!("target \"{}\"", target.name);
        let made = Self::made(target, servers, variant, directory).await;
        let store = made.map_err(|source| LabError::Postgres { name, source })?;
        Ok(store.map(|store| Self {
            target: target.name.clone(),
            store,
            before: None,
            stays: target.provision.is_none(),
            owed: None,
        }))
    }

    async fn made(
        target: &Target,
        servers: &Servers,
        variant: Option<&str>,
        directory: &Path,
    ) -> Result<Option<Store>, PostgresError> {
        let fixture = target.provision.as_ref().and_then(Provision::fixture);
        if let Some(place) = servers.place(target)? {
            let purpose = variant.map_or(target.name.clone(), |variant| format!("{}_{variant}", target.name));
            let name = place.databases.name(&purpose);
            let private = place.cluster;
            let on_server = OnServer {
                connection: private.map_or_else(
                    || with_database(&place.address, &name),
                    |cluster| cluster.connection(&name),
                ),
                url: private.map_or_else(|| with_database(&place.address, &name), |cluster| cluster.url(&name)),
                password: private.map(|cluster| cluster.password().to_owned()),
                databases: place.databases.clone(),
                name,
                made: true,
            };
            // From here on dropping this drops what was made.
            let OnServer { databases, name, .. } = &on_server;
            databases.clone_database(fixture, name, &place.settings).await?;
            return Ok(Some(Store::Postgres(Box::new(on_server))));
        }
        Ok(match (&target.kind, &target.provision) {
            (Kind::Http(_), _) => None,
            (Kind::Sqlite { .. }, Some(_)) => {
                let path = directory.join(format!("{}.db", run::hash(target.name.as_bytes())));
                match fixture.and_then(|fixture| servers.template_file(fixture)) {
                    Some(template) => fs::copy(template, &path)
                        .map(drop)
                        .map_err(|source| PostgresError::system("the fixture cannot be copied", source))?,
                    None => sqlite::load(&path, None)?,
                }
                Some(Store::Sqlite(path.display().to_string()))
            }
            (Kind::Sqlite { path }, None) => Some(Store::Sqlite(fill(path, None, directory))),
            // Started by the run, so not there yet.
            (Kind::Postgres(_), None) if target.managed.is_some() || target.pooler.is_some() => None,
            (Kind::Postgres(postgres), _) => {
                let connection = fill(&postgres.connection, None, directory);
                let config = config(&connection)?;
                let name = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
                Some(Store::Postgres(Box::new(OnServer {
                    name: name.to_owned(),
                    databases: Databases::on(config, postgres.tls.clone()),
                    url: connection.clone(),
                    connection,
                    password: None,
                    made: false,
                })))
            }
        })
    }

    /// The address for the load.
    pub(super) fn address(&self) -> &str {
        match &self.store {
            Store::Postgres(on_server) => &on_server.connection,
            Store::Sqlite(path) => path,
        }
    }

    /// The address for managed processes.
    pub(super) fn url(&self) -> &str {
        match &self.store {
            Store::Postgres(on_server) => &on_server.url,
            Store::Sqlite(path) => path,
        }
    }

    /// The address for reports: what a private server is, not where it was for once.
    pub(super) fn label(&self, provision: &Provision) -> Option<String> {
        match (&self.store, provision) {
            (Store::Postgres(on_server), Provision::Server(server)) => {
                Some(format!("ephemeral ({})/{}", server.durability.name(), on_server.name))
            }
            (Store::Sqlite(_), _) => Some("ephemeral".into()),
            _ => None,
        }
    }

    /// What must not be shown.
    pub(super) fn secret(&self) -> Option<&str> {
        match &self.store {
            Store::Postgres(on_server) => on_server.password.as_deref(),
            Store::Sqlite(_) => None,
        }
    }

    /// Where it is on its server: for those who look at it from outside.
    pub(super) fn on_server(&self) -> Option<(&Databases, &str)> {
        match &self.store {
            Store::Postgres(on_server) => Some((&on_server.databases, &on_server.name)),
            Store::Sqlite(_) => None,
        }
    }

    /// What reports say of a database that was made.
    pub(super) async fn describe(&self, provision: &Provision) -> Option<run::Database> {
        let fixture = provision.fixture();
        let Description { settings, extensions } = match &self.store {
            Store::Postgres(on_server) => on_server.databases.describe(&on_server.name).await.ok()?,
            Store::Sqlite(_) => Description::default(),
        };
        Some(run::Database {
            profile: match provision {
                Provision::Server(server) => Some(server.durability.name().to_owned()),
                Provision::Databases { .. } | Provision::File(_) => None,
            },
            fixture: fixture.map(|fixture| fixture.name.clone()),
            scale: fixture.map(|fixture| fixture.scale),
            settings,
            extensions,
        })
    }

    /// Executes a variant's setup, and notes what a rollback is to bring back.
    pub(super) async fn change(&mut self, setup: &Script, rollback: Option<&Script>) -> Result<(), TrialError> {
        let changed = async {
            if let Some(rollback) = rollback {
                self.before = Some(self.fingerprint().await?);
                self.owed = self.stays.then(|| Owed::new(self.place(), rollback));
            }
            let done = self.execute(setup).await;
            match done {
                Err(error) => Err(self.half_changed(error).await),
                Ok(()) => Ok(()),
            }
        };
        let changed: Result<(), PostgresError> = changed.await;
        let name = format!("target \"{}\"", self.target);
        changed.map_err(|source| LabError::Postgres { name, source }.into())
    }

    /// A setup that failed is not taken back: what was in its way may be the user's own, and the
    /// rollback would remove it. What it did before stays then, and is told.
    async fn half_changed(&mut self, error: PostgresError) -> PostgresError {
        if let Some(owed) = self.owed.take() {
            owed.taken_over();
        }
        match error {
            PostgresError::Script { path, line, reason }
                if self.stays && self.fingerprint().await.ok() != self.before =>
            {
                let reason = format!("{reason}; what the statements before it did to the database is still there");
                PostgresError::Script { path, line, reason }
            }
            other => other,
        }
    }

    /// Whether it is the user's own, so that what is done to it lasts.
    pub(super) fn stays(&self) -> bool {
        self.stays
    }

    /// Executes a variant's rollback; what is then not as before the setup, with the mend where it lasts.
    pub(super) async fn change_back(&mut self, rollback: &Script) -> Option<String> {
        if let Some(owed) = self.owed.take() {
            owed.taken_over();
        }
        let name = &self.target;
        let after = match self.execute(rollback).await {
            Ok(()) => self.fingerprint().await,
            Err(error) => Err(error),
        };
        match (after, &self.before) {
            (Err(error), _) => {
                let failed = format!("the rollback of target \"{name}\" failed: {error}");
                Some(match self.stays {
                    true => format!("{failed}; {}", undone_by_hand(rollback)),
                    false => failed,
                })
            }
            (Ok(after), Some(before)) if after != *before => {
                let changed = format!(
                    "after the rollback of target \"{name}\" its schema or settings are not as before:\n{}",
                    differences(before, &after).join("\n")
                );
                Some(match self.stays {
                    true => format!("{changed}\nThis stays so: undo it by hand, and complete the rollback"),
                    false => changed,
                })
            }
            _ => None,
        }
    }

    fn place(&self) -> Place {
        match &self.store {
            Store::Postgres(on_server) => Place::Server(Box::new(on_server.databases.clone()), on_server.name.clone()),
            Store::Sqlite(path) => Place::File(path.into()),
        }
    }

    async fn execute(&self, script: &Script) -> Result<(), PostgresError> {
        match &self.store {
            Store::Postgres(on_server) => on_server.databases.execute_script(&on_server.name, script).await,
            Store::Sqlite(path) => sqlite::execute(Path::new(path), script),
        }
    }

    async fn fingerprint(&self) -> Result<Vec<String>, PostgresError> {
        match &self.store {
            Store::Postgres(on_server) => on_server.databases.fingerprint(&on_server.name).await,
            Store::Sqlite(path) => sqlite::fingerprint(Path::new(path)),
        }
    }

    /// Reads it into memory and lets the server write what it has to, where that is the run's to ask.
    pub(super) async fn settle(&self) -> Result<(), TrialError> {
        let settled = match &self.store {
            Store::Postgres(on_server) if on_server.made => on_server.databases.settle(&on_server.name).await,
            _ => Ok(()),
        };
        let name = format!("target \"{}\"", self.target);
        settled.map_err(|source| LabError::Postgres { name, source }.into())
    }

    /// Removes what was made; what goes wrong is told.
    pub(super) async fn remove(self) -> Result<(), PostgresError> {
        if let Store::Postgres(mut on_server) = self.store
            && std::mem::take(&mut on_server.made)
        {
            on_server.databases.drop_database(&on_server.name).await?;
        }
        Ok(())
    }
}

impl Drop for OnServer {
    fn drop(&mut self) {
        // A private server goes with all that is on it.
        if self.made && self.password.is_none() {
            drop_in_the_end(&self.databases, vec![std::mem::take(&mut self.name)]);
        }
    }
}

/// What became of a database, a line for each of the first few differences.
fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let missing = before.iter().filter(|line| !after.contains(line));
    let new = after.iter().filter(|line| !before.contains(line));
    let missing = missing.map(|line| format!("- {line}"));
    missing
        .chain(new.map(|line| format!("+ {line}")))
        .take(MOST_DIFFERENCES)
        .collect()
}

/// How to take back what a rollback that failed has left.
pub(super) fn undone_by_hand(rollback: &Script) -> String {
    let statements: Vec<&str> = rollback
        .statements
        .iter()
        .map(|statement| statement.sql.trim())
        .collect();
    format!(
        "what the setup did to it may still be there; undo it with: {}",
        statements.join("; ")
    )
}

/// The same address with another database.
fn with_database(address: &str, name: &str) -> String {
    match url::Url::parse(address) {
        Ok(mut url) if address.contains("://") => {
            url.set_path(name);
            url.to_string()
        }
        // Of a key that is there twice the last counts.
        _ => format!("{address} dbname='{name}'"),
    }
}

/// The command with every `{target.NAME.url}` filled in, by target.
pub(super) fn with_urls(command: &str, workload: &Workload, urls: &[Option<String>]) -> String {
    let targets = workload.targets.iter().zip(urls);
    targets.fold(command.to_owned(), |command, (target, url)| match url {
        Some(url) => command.replace(&format!("{{target.{}.url}}", target.name), url),
        None => command,
    })
}

#[cfg(test)]
mod tests {
    use tokio_postgres::Config;

    use super::*;

    #[test]
    fn another_database_of_the_same_server() {
        assert_eq!(
            with_database("postgres://u:p%40@h:1/shop?sslmode=disable", "lg_x"),
            "postgres://u:p%40@h:1/lg_x?sslmode=disable"
        );
        let config: Config = with_database("host=h dbname=shop user=u", "lg_x").parse().unwrap();
        assert_eq!(config.get_dbname(), Some("lg_x"));
    }
}
