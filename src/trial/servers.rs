//! What databases of a trial are copied from: private servers and templates, made once,
//! shared by all variants and epochs, gone after all else.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
};

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use rustix::process::Pid;
use tokio_postgres::Config;

use super::{Setting, TrialError, owed::last_resort};
use crate::{
    executor,
    lab::{
        Build, BuildSpec, LabError, RunDirectory,
        postgres::{Cluster, Databases, PostgresError, Spec},
        sqlite,
    },
    run,
    target::fill,
    workload::{BuildWanted, Fixture, Kind, PostgresTarget, PrivateServer, Provision, Target, Workload},
};

/// The servers and templates of a trial.
#[derive(Default)]
pub(super) struct Servers {
    private: Vec<Private>,
    created: Vec<Created>,
    files: Vec<(Fixture, PathBuf)>,
    builds: Vec<(BuildWanted, Build)>,
}

/// A private server, for the targets of one name.
struct Private {
    target: String,
    durability: crate::workload::Durability,
    cluster: Cluster,
}

/// Templates on the user's server, dropped at the end.
pub(super) struct Created {
    address: String,
    databases: Databases,
    templates: Vec<String>,
}

/// Where copies of a template are made, on a server.
pub(super) struct Place<'s> {
    pub(super) databases: &'s Databases,
    /// Of a private server.
    pub(super) cluster: Option<&'s Cluster>,
    /// The user's address of a server that is not private.
    pub(super) address: String,
    /// For the database.
    pub(super) settings: Vec<(String, String)>,
}

impl Servers {
    /// Starts and fills what any of the variants needs.
    pub(super) async fn start(
        workload: &Arc<Workload>,
        setting: &Setting,
        directory: &RunDirectory,
    ) -> Result<Self, TrialError> {
        let mut servers = Self::default();
        for variant in workload.variants() {
            for target in &variant.targets {
                let name = format!("target \"{}\"", target.name);
                let made = servers.prepare(target, workload, setting, directory.path()).await;
                made.map_err(|source| LabError::Postgres { name, source })?;
                servers.build(target, workload, setting).await?;
            }
        }
        Ok(servers)
    }

    /// Builds what the target's process is to be started from, once for all variants that want the same.
    async fn build(&mut self, target: &Target, workload: &Workload, setting: &Setting) -> Result<(), TrialError> {
        let Some(wanted) = target.managed.as_ref().and_then(|managed| managed.build.as_ref()) else {
            return Ok(());
        };
        if self.built(target).is_some() {
            return Ok(());
        }
        let spec = BuildSpec {
            repository: &wanted.repository,
            revision: &wanted.revision,
            command: &wanted.command,
            cache: setting.site.cache.as_deref(),
            secrets: workload.secrets.texts(),
        };
        let name = format!("target \"{}\"", target.name);
        let built = Build::make(&spec)
            .await
            .map_err(|source| LabError::Build { name, source })?;
        self.builds.push((wanted.clone(), built));
        Ok(())
    }

    /// What the target's process is started from.
    pub(super) fn built(&self, target: &Target) -> Option<(&BuildWanted, &Build)> {
        let wanted = target.managed.as_ref()?.build.as_ref()?;
        let found = self.builds.iter().find(|(known, _)| known == wanted);
        found.map(|(wanted, build)| (wanted, build))
    }

    async fn prepare(
        &mut self,
        target: &Target,
        workload: &Arc<Workload>,
        setting: &Setting,
        directory: &Path,
    ) -> Result<(), PostgresError> {
        match (&target.provision, &target.kind) {
            (Some(Provision::Server(wanted)), _) => self.private(target, wanted, workload, setting).await,
            (Some(Provision::File(Some(fixture))), _) => self.file(fixture, directory),
            (Some(Provision::Databases { fixture, .. }), Kind::Postgres(postgres)) => {
                let address = fill(&postgres.connection, None, directory);
                self.created(postgres, fixture, address).await
            }
            _ => Ok(()),
        }
    }

    async fn private(
        &mut self,
        target: &Target,
        wanted: &PrivateServer,
        workload: &Arc<Workload>,
        setting: &Setting,
    ) -> Result<(), PostgresError> {
        if self.place_on(&target.name, wanted)?.is_some() {
            return Ok(());
        }
        // All fixtures that a target of this name is a copy of, in any variant.
        let variants = workload.variants();
        let targets = variants.flat_map(|variant| {
            variant
                .targets
                .iter()
                .enumerate()
                .map(|(number, target)| (target, variant.flows_of(number).len()))
        });
        let sessions = executor::sessions(&workload.load.profile);
        let mut fixtures: Vec<&Fixture> = Vec::new();
        let mut connections = 0;
        for (other, flows) in targets.filter(|(other, _)| other.name == target.name) {
            connections += match &other.kind {
                Kind::Postgres(postgres) => postgres.connections.most(sessions, flows),
                Kind::Http(_) | Kind::Sqlite { .. } => sessions,
            };
            let fixture = other.provision.as_ref().and_then(Provision::fixture);
            if let Some(fixture) = fixture.filter(|fixture| !fixtures.contains(fixture)) {
                fixtures.push(fixture);
            }
        }
        let cluster = Cluster::start(&Spec {
            site: &setting.site,
            durability: wanted.durability,
            settings: &wanted.settings,
            fixtures: &fixtures,
            tcp: wanted.tcp,
            connections,
        })
        .await?;
        self.private.push(Private {
            target: target.name.clone(),
            durability: wanted.durability,
            cluster,
        });
        Ok(())
    }

    /// The server of a target, with what its database is to be set to.
    fn place_on(&self, target: &str, wanted: &PrivateServer) -> Result<Option<Place<'_>>, PostgresError> {
        for private in &self.private {
            let same = private.target == target && private.durability == wanted.durability;
            if same && let Some(settings) = private.cluster.database_settings(&wanted.settings)? {
                return Ok(Some(Place {
                    databases: private.cluster.databases(),
                    cluster: Some(&private.cluster),
                    address: String::new(),
                    settings,
                }));
            }
        }
        Ok(None)
    }

    async fn created(
        &mut self,
        postgres: &PostgresTarget,
        fixture: &Fixture,
        address: String,
    ) -> Result<(), PostgresError> {
        let at = match self.created.iter().position(|created| created.address == address) {
            Some(at) => at,
            None => {
                let databases = Databases::on(config(&address)?, postgres.tls.clone());
                self.created.push(Created {
                    address,
                    databases,
                    templates: Vec::new(),
                });
                self.created.len() - 1
            }
        };
        let created = &mut self.created[at];
        let template = created.databases.template(fixture);
        if !created.templates.contains(&template) {
            // From here on dropping this drops what was made.
            created.templates.push(template);
            created.databases.load(fixture).await?;
        }
        Ok(())
    }

    fn file(&mut self, fixture: &Fixture, directory: &Path) -> Result<(), PostgresError> {
        if self.files.iter().any(|(known, _)| known == fixture) {
            return Ok(());
        }
        let path = directory.join(format!("{}.template.db", run::hash(fixture.digest().as_bytes())));
        sqlite::load(&path, Some(fixture))?;
        self.files.push((fixture.clone(), path));
        Ok(())
    }

    /// Where the database of a target is made; `None` where it is a file or none is made.
    pub(super) fn place(&self, target: &Target) -> Result<Option<Place<'_>>, PostgresError> {
        match (&target.provision, &target.kind) {
            (Some(Provision::Server(wanted)), _) => self.place_on(&target.name, wanted),
            (Some(Provision::Databases { fixture, settings }), _) => {
                let found = self.created.iter().find(|created| {
                    created.templates.contains(&created.databases.template(fixture))
                        && matches!(&target.kind, Kind::Postgres(postgres) if postgres.connection == created.address)
                });
                Ok(found.map(|created| Place {
                    databases: &created.databases,
                    cluster: None,
                    address: created.address.clone(),
                    settings: settings.clone().into_iter().collect(),
                }))
            }
            _ => Ok(None),
        }
    }

    /// The file that a fixture was loaded into.
    pub(super) fn template_file(&self, fixture: &Fixture) -> Option<&Path> {
        let found = self.files.iter().find(|(known, _)| known == fixture);
        found.map(|(_, path)| path.as_path())
    }

    /// The private servers, by target.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, Pid)> {
        self.private
            .iter()
            .map(|private| (private.target.as_str(), private.cluster.group()))
    }

    /// Each completes when a private server ends by itself: the target, how, and its last words.
    pub(super) fn endings(&mut self) -> impl Iterator<Item = Ending<'_>> {
        self.private.iter_mut().map(|Private { target, cluster, .. }| {
            let target = target.clone();
            async move {
                let status = cluster.wait().await;
                (target, status, cluster.last_output())
            }
            .boxed_local()
        })
    }

    /// Removes all of them; what goes wrong is told.
    pub(super) async fn stop(self) -> Vec<String> {
        for private in self.private {
            private.cluster.stop().await;
        }
        let mut remains = Vec::new();
        for mut created in self.created {
            if let Err(error) = created.drop_all().await {
                remains.push(format!("what was made for the run remains: {error}"));
            }
        }
        remains
    }
}

/// The end of something that should have lasted: whose, how, and its last words.
pub(super) type Ending<'a> = LocalBoxFuture<'a, (String, std::io::Result<ExitStatus>, String)>;

/// An address of PostgreSQL, read.
pub(super) fn config(address: &str) -> Result<Config, PostgresError> {
    address.parse().map_err(|_| PostgresError::Sql {
        what: "the address of the server".into(),
        reason: "not a PostgreSQL address".into(),
    })
}

impl Created {
    async fn drop_all(&mut self) -> Result<(), PostgresError> {
        while let Some(name) = self.templates.first() {
            self.databases.drop_database(name).await?;
            self.templates.remove(0);
        }
        Ok(())
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        drop_in_the_end(&self.databases, std::mem::take(&mut self.templates));
    }
}

/// Drops databases as the last resort, for an interrupt before any load.
pub(super) fn drop_in_the_end(databases: &Databases, names: Vec<String>) {
    if names.is_empty() {
        return;
    }
    let databases = databases.clone();
    last_resort(async move {
        for name in &names {
            let _ = databases.drop_database(name).await;
        }
    });
}
