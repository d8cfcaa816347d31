//! The databases that are made for the run: before anything else stands, and gone after all else.

use std::{collections::BTreeMap, path::Path, process::ExitStatus, thread};

use futures_util::future::LocalBoxFuture;
use tokio_postgres::Config;

use super::{Setting, TrialError};
use crate::{
    executor,
    lab::{
        LabError,
        postgres::{Cluster, Databases, Description, PostgresError, Spec},
        sqlite,
    },
    run,
    target::fill,
    workload::{Fixture, Kind, PostgresTarget, PrivateServer, Provision, Target, Workload},
};

/// The database of a target that is made for the run.
pub(super) enum Made {
    /// On a private server.
    Private { cluster: Box<Cluster>, database: String },
    /// On the user's server.
    Created(Box<Created>),
    /// A file in the run's directory.
    File(String),
}

/// Databases on the user's server, dropped at the end.
pub(super) struct Created {
    databases: Databases,
    names: Vec<String>,
    address: String,
}

impl Made {
    /// Makes what the target asks for; `None` where its address is used as it is.
    pub(super) async fn make(
        target: &Target,
        workload: &Workload,
        setting: &Setting,
        directory: &Path,
    ) -> Result<Option<Self>, TrialError> {
        let made = match (&target.provision, &target.kind) {
            (None, _) => return Ok(None),
            (Some(Provision::Server(wanted)), _) => private(target, wanted, workload, setting).await,
            (Some(Provision::File(fixture)), _) => {
                let path = directory.join(format!("{}.db", run::hash(target.name.as_bytes())));
                let loaded = sqlite::load(&path, fixture.as_ref());
                loaded.map(|()| Self::File(path.display().to_string()))
            }
            (Some(Provision::Databases { fixture, settings }), Kind::Postgres(postgres)) => {
                let address = fill(&postgres.connection, None, directory);
                created(target, postgres, fixture, settings, address).await
            }
            (Some(Provision::Databases { .. }), _) => return Ok(None),
        };
        let name = format!("target \"{}\"", target.name);
        made.map(Some)
            .map_err(|source| LabError::Postgres { name, source }.into())
    }

    /// The address for the load.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Private { cluster, database } => cluster.connection(database),
            Self::Created(created) => created.address.clone(),
            Self::File(path) => path.clone(),
        }
    }

    /// The address for reports: what a private server is, not where it was for once.
    pub(super) fn label(&self, provision: Option<&Provision>) -> Option<String> {
        match (self, provision) {
            (Self::Private { database, .. }, Some(Provision::Server(server))) => {
                Some(format!("ephemeral ({})/{database}", server.durability.name()))
            }
            (Self::File(_), _) => Some("ephemeral".into()),
            _ => None,
        }
    }

    /// The address for managed processes.
    fn url(&self) -> String {
        match self {
            Self::Private { cluster, database } => cluster.url(database),
            Self::Created(_) | Self::File(_) => self.address(),
        }
    }

    /// What must not be shown.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::Private { cluster, .. } => Some(cluster.password()),
            Self::Created(_) | Self::File(_) => None,
        }
    }

    /// What reports say of it.
    pub(super) async fn describe(&self, provision: Option<&Provision>) -> Option<run::Database> {
        let fixture = provision.and_then(Provision::fixture);
        let Description { settings, extensions } = match self {
            Self::Private { cluster, database } => cluster.databases().describe(database).await.ok()?,
            Self::Created(created) => created.databases.describe(created.names.first()?).await.ok()?,
            Self::File(_) => Description::default(),
        };
        Some(run::Database {
            profile: provision.and_then(|provision| match provision {
                Provision::Server(server) => Some(server.durability.name().to_owned()),
                Provision::Databases { .. } | Provision::File(_) => None,
            }),
            fixture: fixture.map(|fixture| fixture.name.clone()),
            scale: fixture.map(|fixture| fixture.scale),
            settings,
            extensions,
        })
    }

    /// Completes when a private server ends by itself: how, and its last words.
    pub(super) fn ended(&mut self) -> Option<LocalBoxFuture<'_, (std::io::Result<ExitStatus>, String)>> {
        match self {
            Self::Private { cluster, .. } => Some(Box::pin(async {
                let status = cluster.wait().await;
                (status, cluster.last_output())
            })),
            Self::Created(_) | Self::File(_) => None,
        }
    }

    /// Removes it; what goes wrong is told.
    pub(super) async fn remove(self) -> Result<(), PostgresError> {
        match self {
            Self::Private { cluster, .. } => cluster.stop().await,
            Self::Created(mut created) => created.drop_all().await?,
            Self::File(_) => {}
        }
        Ok(())
    }
}

async fn private(
    target: &Target,
    wanted: &PrivateServer,
    workload: &Workload,
    setting: &Setting,
) -> Result<Made, PostgresError> {
    let fixtures: Vec<&Fixture> = wanted.fixture.iter().collect();
    let cluster = Cluster::start(&Spec {
        site: &setting.site,
        durability: wanted.durability,
        settings: &wanted.settings,
        fixtures: &fixtures,
        tcp: wanted.tcp,
        connections: executor::sessions(&workload.load.profile),
    })
    .await?;
    let databases = cluster.databases();
    let database = databases.name(&target.name);
    databases.clone_database(wanted.fixture.as_ref(), &database).await?;
    databases.settle(&database).await?;
    Ok(Made::Private {
        cluster: Box::new(cluster),
        database,
    })
}

async fn created(
    target: &Target,
    postgres: &PostgresTarget,
    fixture: &Fixture,
    settings: &BTreeMap<String, String>,
    address: String,
) -> Result<Made, PostgresError> {
    let config: Config = address.parse().map_err(|_| PostgresError::Sql {
        what: "the address of the server".into(),
        reason: "not a PostgreSQL address".into(),
    })?;
    let databases = Databases::on(config, postgres.tls.clone(), settings);
    let (template, name) = (databases.template(fixture), databases.name(&target.name));
    // From here on dropping this drops what was made.
    let created = Created {
        address: with_database(&address, &name),
        names: vec![name.clone(), template],
        databases,
    };
    created.databases.load(fixture).await?;
    created.databases.clone_database(Some(fixture), &name).await?;
    created.databases.settle(&name).await?;
    Ok(Made::Created(Box::new(created)))
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

impl Created {
    async fn drop_all(&mut self) -> Result<(), PostgresError> {
        while let Some(name) = self.names.first() {
            self.databases.drop_database(name).await?;
            self.names.remove(0);
        }
        Ok(())
    }
}

impl Drop for Created {
    /// The last resort, for an interrupt before any load: the runtime may be about to end, so on a thread of its own.
    fn drop(&mut self) {
        let names = std::mem::take(&mut self.names);
        if names.is_empty() {
            return;
        }
        let databases = self.databases.clone();
        let drop_all = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    for name in &names {
                        let _ = databases.drop_database(name).await;
                    }
                });
            }
        };
        let _ = thread::spawn(drop_all).join();
    }
}

/// The command with every `{target.NAME.url}` filled in.
pub(super) fn with_urls(command: &str, workload: &Workload, made: &[Option<Made>], directory: &Path) -> String {
    let targets = workload.targets.iter().zip(made);
    targets.fold(command.to_owned(), |command, (target, made)| {
        let url = match (made, &target.kind) {
            (Some(made), _) => made.url(),
            (None, Kind::Postgres(postgres)) => postgres.connection.clone(),
            (None, Kind::Sqlite { path }) => fill(path, None, directory),
            (None, Kind::Http(_)) => return command,
        };
        command.replace(&format!("{{target.{}.url}}", target.name), &url)
    })
}

#[cfg(test)]
mod tests {
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
