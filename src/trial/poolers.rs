//! The poolers of one stage: started before their databases, gone with its processes.

use super::{Setting, TrialError, databases::Database, servers};
use crate::{
    executor,
    lab::{LabError, PgBouncer, PgBouncerSpec, Process, RunDirectory},
    workload::Workload,
};

/// The poolers of a stage.
#[derive(Default)]
pub(super) struct Poolers {
    /// By target.
    connections: Vec<Option<String>>,
    directories: Vec<RunDirectory>,
}

impl Poolers {
    /// Starts them; their processes are added to those of the stage.
    pub(super) async fn start(
        workload: &Workload,
        databases: &[Option<Database>],
        secrets: &[String],
        setting: &Setting,
        processes: &mut Vec<(String, Process)>,
    ) -> Result<Self, TrialError> {
        let mut poolers = Self::default();
        for target in &workload.targets {
            let pooler = target.pooler.as_ref();
            let behind = pooler.and_then(|pooler| Some((pooler, databases[pooler.before].as_ref()?)));
            let Some((pooler, database)) = behind else {
                poolers.connections.push(None);
                continue;
            };
            let name = format!("target \"{}\"", target.name);
            let before = servers::config(database.address()).map_err(|source| LabError::Postgres {
                name: name.clone(),
                source,
            })?;
            let spec = PgBouncerSpec {
                name: &name,
                site: &setting.site,
                before: &before,
                settings: &pooler.settings,
                connections: executor::sessions(&workload.load.profile),
                secrets,
            };
            let PgBouncer {
                process,
                connection,
                directory,
            } = PgBouncer::start(&spec).await?;
            processes.push((target.name.clone(), process));
            poolers.connections.push(Some(connection));
            poolers.directories.push(directory);
        }
        Ok(poolers)
    }

    /// How sessions connect to that target, where it is a pooler.
    pub(super) fn address(&self, target: usize) -> Option<&str> {
        self.connections.get(target)?.as_deref()
    }
}
