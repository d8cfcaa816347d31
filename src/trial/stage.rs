//! What stands while load runs: managed processes, addresses, what setup saved.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{
    Setting, TrialError,
    databases::{Made, with_urls},
};
use crate::{
    executor::{
        self,
        unmeasured::{self, Failed},
    },
    lab::{LabError, Process, Ready, RunDirectory, Spec, free_port},
    run,
    target::{Connector, Reply, Sessions, fill},
    workload::{Action, Kind, Managed, Target, Value, Values, Workload},
};

/// How often a managed process gets another port when its own was taken meanwhile.
const PORT_TRIES: usize = 3;

/// All of teardown together may take this long.
const TEARDOWN_BOUND: Duration = Duration::from_secs(60);

/// What stands while load runs.
pub(super) struct Stage {
    processes: Vec<(String, Process)>,
    /// By target; after the processes, which use them.
    databases: Vec<Option<Made>>,
    connectors: Arc<[Connector]>,
    globals: Arc<[Option<Value>]>,
    targets: Vec<run::Target>,
    incidents: Vec<String>,
    _directory: RunDirectory,
}

impl Stage {
    /// Starts processes, reaches every target, performs setup, checks every statement of the flows.
    /// Nothing is left running when it fails or is dropped.
    pub(super) async fn set_up(workload: &Workload, setting: &Setting) -> Result<Self, TrialError> {
        RunDirectory::sweep();
        let directory = RunDirectory::new().map_err(TrialError::Directory)?;
        // Before the processes: their commands may name them.
        let mut databases = Vec::new();
        for target in &workload.targets {
            databases.push(Made::make(target, workload, setting, directory.path()).await?);
        }
        let secrets = secrets(workload, &databases);
        let mut processes = Vec::new();
        let mut ports = Vec::new();
        for target in &workload.targets {
            ports.push(match &target.managed {
                Some(managed) => {
                    let command = with_urls(&managed.command, workload, &databases, directory.path());
                    let managed = Managed {
                        command,
                        ..managed.clone()
                    };
                    let (port, process) = start(target, &managed, directory.path(), &secrets, setting).await?;
                    processes.push((target.name.clone(), process));
                    Some(port)
                }
                None => None,
            });
        }
        let mut connectors = Vec::new();
        let mut targets = Vec::new();
        let sessions = executor::sessions(&workload.load.profile);
        for ((target, port), made) in workload.targets.iter().zip(ports).zip(&databases) {
            let address = made.as_ref().map(Made::address);
            let connector = Connector::bind(target, port, directory.path(), address.as_deref(), sessions).await?;
            let version = connector.probe().await?;
            let mut described = described(target, &connector, version, workload);
            if let Some(made) = made {
                described.address = made.label(target.provision.as_ref()).unwrap_or(described.address);
                described.database = made.describe(target.provision.as_ref()).await;
            }
            targets.push(described);
            connectors.push(connector);
        }
        let globals = set_up(workload, &connectors).await?;
        // Only now: setup may have created what the flows' statements use.
        for (number, connector) in connectors.iter().enumerate() {
            connector.check_statements(&workload.flow_statements(number)).await?;
        }
        Ok(Self {
            processes,
            databases,
            connectors: connectors.into(),
            globals: globals.into(),
            targets,
            incidents: Vec::new(),
            _directory: directory,
        })
    }

    pub(super) fn connectors(&self) -> Arc<[Connector]> {
        Arc::clone(&self.connectors)
    }

    pub(super) fn globals(&self) -> Arc<[Option<Value>]> {
        Arc::clone(&self.globals)
    }

    /// Runs to its end what needs the stage, noting processes that end meanwhile.
    /// The load goes on without them: what fails then is counted.
    pub(super) async fn watch<T>(&mut self, load: impl Future<Output = T>) -> T {
        let Self {
            processes,
            databases,
            targets,
            incidents,
            ..
        } = self;
        let began = tokio::time::Instant::now();
        let mut endings: FuturesUnordered<_> = processes
            .iter_mut()
            .map(|(name, process)| {
                let name = name.clone();
                async move { (name, process.wait().await, process.last_output()) }.boxed_local()
            })
            .collect();
        let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
        for (name, made) in names.into_iter().zip(databases) {
            if let Some(ended) = made.as_mut().and_then(Made::ended) {
                endings.push(ended.map(|(status, output)| (name, status, output)).boxed_local());
            }
        }
        let mut load = std::pin::pin!(load);
        loop {
            tokio::select! {
                output = &mut load => return output,
                Some((name, status, output)) = endings.next() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let after = began.elapsed().as_secs_f64();
                    let said = if output.is_empty() { String::new() } else { format!("; it printed last:\n{output}") };
                    if let Some(target) = targets.iter_mut().find(|target| target.name == name) {
                        target.died = true;
                    }
                    incidents.push(format!("the process of target \"{name}\" ended {after:.1} s after the load began ({status}){said}"));
                }
            }
        }
    }

    /// Performs teardown, stops the processes; what goes wrong becomes an incident.
    pub(super) async fn tear_down(mut self, workload: &Workload) -> (Vec<run::Target>, Vec<String>) {
        let mut values = Values::new(workload);
        let teardown = perform_all(
            &workload.teardown,
            workload,
            &self.connectors,
            &mut values,
            &self.globals,
        );
        match timeout(TEARDOWN_BOUND, teardown).await {
            Ok(Ok(())) => {}
            Ok(Err(Failed { step, reason })) => self
                .incidents
                .push(format!("teardown: the step \"{step}\" failed: {reason}")),
            Err(_) => self.incidents.push("teardown did not end within 60 s".into()),
        }
        for (_, process) in self.processes {
            process.stop().await;
        }
        for made in self.databases.into_iter().flatten() {
            if let Err(error) = made.remove().await {
                self.incidents
                    .push(format!("what was made for the run remains: {error}"));
            }
        }
        (self.targets, self.incidents)
    }
}

async fn start(
    target: &Target,
    managed: &Managed,
    directory: &Path,
    secrets: &[String],
    setting: &Setting,
) -> Result<(u16, Process), TrialError> {
    let name = format!("target \"{}\"", target.name);
    let mut tries = 0;
    loop {
        tries += 1;
        let port = free_port().map_err(TrialError::Directory)?;
        let command = fill(&managed.command, Some(port), directory);
        let ready = match &target.kind {
            Kind::Http(http) => Ready::Http(format!("{}{}", fill(&http.base, Some(port), directory), managed.ready)),
            Kind::Sqlite { .. } | Kind::Postgres(_) => Ready::Tcp(([127, 0, 0, 1], port).into()),
        };
        let spec = Spec {
            name: &name,
            command: &command,
            loadgate: &setting.executable,
            ready,
            ready_within: managed.ready_timeout,
            secrets,
        };
        match Process::start(&spec).await {
            Ok(process) => return Ok((port, process)),
            Err(error) if error.is_address_in_use() && tries < PORT_TRIES => {}
            Err(error) => return Err(LabError::into(error)),
        }
    }
}

/// The scenario's and those of databases that were made.
fn secrets(workload: &Workload, databases: &[Option<Made>]) -> Vec<String> {
    let made = databases.iter().flatten().filter_map(Made::secret);
    let known = workload.secrets.texts().iter().cloned();
    known.chain(made.map(str::to_owned)).collect()
}

fn described(target: &Target, connector: &Connector, version: Option<String>, workload: &Workload) -> run::Target {
    run::Target {
        name: target.name.clone(),
        kind: target.kind.name().into(),
        address: workload.secrets.mask(&connector.address()),
        version,
        database: None,
        command: target
            .managed
            .as_ref()
            .map(|managed| workload.secrets.mask(&managed.command)),
        died: false,
    }
}

async fn set_up(workload: &Workload, connectors: &[Connector]) -> Result<Vec<Option<Value>>, TrialError> {
    let mut values = Values::new(workload);
    perform_all(&workload.setup, workload, connectors, &mut values, &[])
        .await
        .map_err(|Failed { step, reason }| TrialError::Setup { step, reason })?;
    Ok(values.saved())
}

/// Performs actions once, outside of any load, on connections of their own.
async fn perform_all(
    actions: &[Action],
    workload: &Workload,
    connectors: &[Connector],
    values: &mut Values<'_>,
    globals: &[Option<Value>],
) -> Result<(), Failed> {
    values.begin(0, globals);
    let mut sessions = Sessions::new(connectors);
    let mut reply = Reply::default();
    unmeasured::perform(actions, workload, &mut sessions, values, &mut reply).await
}
