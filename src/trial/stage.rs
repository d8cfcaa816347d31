//! What stands for one variant while load runs: its databases and processes, their addresses, what setup saved.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use rustix::process::Pid;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Setting, TrialError,
    databases::{Database, undone_by_hand, with_urls},
    links::Links,
    poolers::Poolers,
    servers::{Ending, Servers},
};
use crate::{
    executor::{
        self,
        unmeasured::{self, Failed},
    },
    lab::{LabError, Process, Ready, RunDirectory, Spec, free_port},
    run,
    target::{Balancers, Breakers, Caches, ConnectionPool, Connector, Reply, Sessions, fill},
    workload::{Action, Balance, Group, Kind, Managed, Target, Value, Values, Variant, Workload},
};

/// How often a managed process gets another port when its own was taken meanwhile.
const PORT_TRIES: usize = 3;

/// All of teardown together may take this long.
const TEARDOWN_BOUND: Duration = Duration::from_secs(60);

/// What is known of a stage that is gone.
#[derive(Default)]
pub(super) struct TornDown {
    pub(super) targets: Vec<run::Target>,
    pub(super) links: Vec<run::Link>,
    /// What went wrong.
    pub(super) incidents: Vec<String>,
    /// What is no longer as it was on databases that outlast the run.
    pub(super) left_behind: Vec<String>,
    /// What its caches did.
    pub(super) caches: Vec<run::Cache>,
}

/// What stands for one variant.
pub(super) struct Stage {
    pub(super) workload: Arc<Workload>,
    processes: Vec<(String, Process)>,
    /// By target; after the processes, which use them.
    databases: Vec<Option<Database>>,
    links: Links,
    _poolers: Poolers,
    connectors: Arc<[Connector]>,
    balancers: Balancers,
    caches: Arc<Caches>,
    /// The same for load, which may share connections.
    loaded: Arc<[Connector]>,
    globals: Arc<[Option<Value>]>,
    targets: Vec<run::Target>,
    incidents: Vec<String>,
    _directory: RunDirectory,
}

impl Stage {
    /// Makes databases, starts processes, reaches every target, performs setup, checks every
    /// statement of the flows. Nothing is left running when it fails or is dropped.
    pub(super) async fn set_up(
        workload: &Arc<Workload>,
        servers: &Servers,
        setting: &Setting,
    ) -> Result<Self, TrialError> {
        let directory = RunDirectory::new().map_err(TrialError::Directory)?;
        let databases = databases(workload, servers, directory.path()).await?;
        let secrets = secrets(workload, &databases);
        let mut links = Links::open(workload)?;
        let urls = urls(workload, &databases, &mut links, directory.path()).await?;
        let mut processes = Vec::new();
        let poolers = Poolers::start(workload, &databases, &secrets, setting, &mut processes).await?;
        let mut ports = Vec::new();
        for target in &workload.targets {
            ports.push(match &target.managed {
                Some(managed) => {
                    let command = with_urls(&managed.command, workload, &urls);
                    let command = match servers.built(target) {
                        Some((_, build)) => command.replace("{build}", &build.directory().display().to_string()),
                        None => command,
                    };
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
        for (number, ((target, port), database)) in workload.targets.iter().zip(ports).zip(&databases).enumerate() {
            let made = database.as_ref().map(Database::address).or(poolers.address(number));
            let address = made.map_or_else(|| fill(target.kind.address(), port, directory.path()), str::to_owned);
            let via = links.way(number, target, &address, directory.path()).await?;
            let connector = Connector::bind(workload, number, &address, via, sessions).await?;
            let version = connector.probe().await?;
            let mut described = described(target, &connector, version, workload);
            described.build = servers.built(target).map(|(wanted, build)| run::Build {
                revision: wanted.revision.clone(),
                commit: build.commit.clone(),
                subject: workload.secrets.mask(&build.subject),
            });
            if let Some(pooler) = &target.pooler {
                described.address = format!("PgBouncer before {}", workload.targets[pooler.before].name);
            }
            if let (Some(database), Some(provision)) = (database, &target.provision) {
                described.address = database.label(provision).unwrap_or(described.address);
                described.database = database.describe(provision).await;
            }
            targets.push(described);
            connectors.push(connector);
        }
        let globals = set_up(workload, &connectors).await?;
        // Only now: setup may have created what the flows' statements use.
        for (number, connector) in connectors.iter().enumerate() {
            connector.check_statements(&workload.flow_statements(number)).await?;
        }
        let loaded: Result<Arc<[Connector]>, _> = connectors
            .iter()
            .enumerate()
            .map(|(number, connector)| connector.for_load(workload, number))
            .collect();
        Ok(Self {
            workload: Arc::clone(workload),
            processes,
            databases,
            links,
            _poolers: poolers,
            connectors: connectors.into(),
            balancers: Balancers::new(workload),
            caches: Arc::new(Caches::new(&workload.caches)),
            loaded: loaded?,
            globals: globals.into(),
            targets,
            incidents: Vec::new(),
            _directory: directory,
        })
    }

    /// The variant as load knows it, all breakers closed; its steps are numbered from `first_step`.
    pub(super) fn variant(&self, first_step: usize) -> executor::Variant {
        executor::Variant {
            workload: Arc::clone(&self.workload),
            connectors: Arc::clone(&self.loaded),
            balancers: self.balancers.clone(),
            caches: Arc::clone(&self.caches),
            globals: Arc::clone(&self.globals),
            breakers: Breakers::new(&self.workload),
            first_step,
            injection: None,
        }
    }

    pub(super) fn connectors(&self) -> &[Connector] {
        &self.connectors
    }

    /// The pools of its load, each with the name of its target.
    pub(super) fn pools(&self) -> impl Iterator<Item = (&str, &ConnectionPool)> {
        let targets = self.workload.targets.iter().zip(&*self.loaded);
        targets.flat_map(|(target, connector)| connector.pools().iter().map(|pool| (target.name.as_str(), pool)))
    }

    pub(super) fn globals(&self) -> &[Option<Value>] {
        &self.globals
    }

    /// The managed processes, by target.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, Pid)> {
        self.processes
            .iter()
            .map(|(name, process)| (name.as_str(), process.group()))
    }

    /// By target; `None` for HTTP.
    pub(super) fn databases(&self) -> &[Option<Database>] {
        &self.databases
    }

    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// Each completes when a managed process ends by itself.
    fn endings(processes: &mut [(String, Process)]) -> impl Iterator<Item = Ending<'_>> {
        processes.iter_mut().map(|(name, process)| {
            let name = name.clone();
            async move { (name, process.wait().await, process.last_output()) }.boxed_local()
        })
    }

    /// Performs teardown, stops the processes, takes back what the variant changed; tells what
    /// goes wrong.
    pub(super) async fn tear_down(mut self) -> TornDown {
        let workload = Arc::clone(&self.workload);
        let mut values = Values::new(&workload);
        let teardown = perform_all(
            &workload.teardown,
            &workload,
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
        let mut left_behind = Vec::new();
        if let Some(variant) = &workload.variant {
            (self.incidents, left_behind) = roll_back(variant, &mut self.databases, self.incidents).await;
        }
        for database in self.databases.into_iter().flatten() {
            if let Err(error) = database.remove().await {
                self.incidents
                    .push(format!("what was made for the run remains: {error}"));
            }
        }
        let named = |told: String| match workload.variant_name() {
            Some(name) => format!("{name}: {told}"),
            None => told,
        };
        let all = |told: Vec<String>| -> Vec<String> {
            let told = told.into_iter().map(|told| workload.secrets.mask(&named(told)));
            told.collect()
        };
        let caches = self.caches.counts().into_iter().map(|cache| run::Cache {
            variant: workload.variant_name().map(str::to_owned),
            ..cache
        });
        let groups = workload.groups.iter().zip(self.balancers.counted());
        let groups = groups.map(|(group, operations)| described_group(group, operations, &workload));
        TornDown {
            links: self.links.into_sums(&workload),
            caches: caches.collect(),
            targets: self.targets.into_iter().chain(groups).collect(),
            incidents: all(self.incidents),
            left_behind: all(left_behind),
        }
    }
}

/// Runs to its end what needs the stages and servers, noting processes that end meanwhile.
/// The load goes on without them: what fails then is counted.
pub(super) async fn watch<T>(stages: &mut [Stage], servers: &mut Servers, load: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let mut dead: Vec<(Option<usize>, String, String)> = Vec::new();
    let output = {
        let mut endings = FuturesUnordered::new();
        for (at, stage) in stages.iter_mut().enumerate() {
            endings.extend(
                Stage::endings(&mut stage.processes).map(|ending| ending.map(move |end| (Some(at), end)).boxed_local()),
            );
        }
        endings.extend(
            servers
                .endings()
                .map(|ending| ending.map(|end| (None, end)).boxed_local()),
        );
        let mut load = std::pin::pin!(load);
        loop {
            tokio::select! {
                output = &mut load => break output,
                Some((stage, (name, status, said))) = endings.next() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let after = began.elapsed().as_secs_f64();
                    let said = if said.is_empty() { String::new() } else { format!("; it printed last:\n{said}") };
                    let incident = format!("the process of target \"{name}\" ended {after:.1} s after the load began ({status}){said}");
                    dead.push((stage, name, incident));
                }
            }
        }
    };
    for (stage, name, incident) in dead {
        // A server belongs to all variants; it is told once.
        let affected = stage.map_or(0..stages.len(), |stage| stage..stage + 1);
        let mut told = false;
        for stage in &mut stages[affected] {
            if let Some(target) = stage.targets.iter_mut().find(|target| target.name == name) {
                target.died = true;
                if !std::mem::replace(&mut told, true) {
                    stage.incidents.push(incident.clone());
                }
            }
        }
    }
    output
}

/// Databases of the variant's own, changed as it says and settled.
async fn databases(
    workload: &Workload,
    servers: &Servers,
    directory: &Path,
) -> Result<Vec<Option<Database>>, TrialError> {
    let mut databases = Vec::new();
    for target in &workload.targets {
        databases.push(Database::make(target, servers, workload.variant_name(), directory).await?);
    }
    if let Some(variant) = &workload.variant {
        for (target, script) in &variant.setup {
            let rollback = variant.rollback.iter().find(|(rolled_back, _)| rolled_back == target);
            if let Some(database) = &mut databases[*target] {
                database.change(script, rollback.map(|(_, script)| script)).await?;
            }
        }
    }
    for database in databases.iter().flatten() {
        database.settle().await?;
    }
    Ok(databases)
}

/// The addresses that managed processes are told of databases.
async fn urls(
    workload: &Workload,
    databases: &[Option<Database>],
    links: &mut Links,
    directory: &Path,
) -> Result<Vec<Option<String>>, TrialError> {
    let mut urls = Vec::new();
    for (number, (target, database)) in workload.targets.iter().zip(databases).enumerate() {
        let name = format!("{{target.{}.url}}", target.name);
        let commands = workload.targets.iter().filter_map(|target| target.managed.as_ref());
        let named = commands
            .map(|managed| &managed.command)
            .any(|command| command.contains(&name));
        urls.push(match database.as_ref().filter(|_| named) {
            Some(database) => Some(links.url(number, target, database.url(), directory).await?),
            None => None,
        });
    }
    Ok(urls)
}

/// Takes back what the setup of a variant did. What goes wrong with a database that is gone
/// afterwards is added to the incidents; apart from them, what lasts.
async fn roll_back(
    variant: &Variant,
    databases: &mut [Option<Database>],
    mut incidents: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let mut left_behind = Vec::new();
    let end = Instant::now() + TEARDOWN_BOUND;
    for (target, script) in &variant.rollback {
        let Some(database) = &mut databases[*target] else {
            continue;
        };
        let stays = database.stays();
        let wrong = timeout_at(end, database.change_back(script)).await.unwrap_or_else(|_| {
            let late = "the rollback did not end within 60 s";
            Some(match stays {
                true => format!("{late}; {}", undone_by_hand(script)),
                false => late.to_owned(),
            })
        });
        if stays { &mut left_behind } else { &mut incidents }.extend(wrong);
    }
    (incidents, left_behind)
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
fn secrets(workload: &Workload, databases: &[Option<Database>]) -> Vec<String> {
    let made = databases.iter().flatten().filter_map(Database::secret);
    let known = workload.secrets.texts().iter().cloned();
    known.chain(made.map(str::to_owned)).collect()
}

fn described(target: &Target, connector: &Connector, version: Option<String>, workload: &Workload) -> run::Target {
    run::Target {
        name: target.name.clone(),
        variant: workload.variant_name().map(str::to_owned),
        build: None,
        kind: target.kind.name().into(),
        address: workload.secrets.mask(&connector.address()),
        version,
        database: None,
        command: target
            .managed
            .as_ref()
            .map(|managed| workload.secrets.mask(&managed.command)),
        died: false,
        members: Vec::new(),
    }
}

fn described_group(group: &Group, operations: Vec<u64>, workload: &Workload) -> run::Target {
    let members = group.members.iter().map(|member| &workload.targets[*member]);
    let kind = members.clone().next().map_or("", |member| member.kind.name());
    let names: Vec<&str> = members.map(|member| member.name.as_str()).collect();
    let how = match group.balance {
        Balance::RoundRobin => "in turns",
        Balance::LeastBusy => "whichever is least busy",
    };
    let members = names.iter().zip(operations).map(|(name, operations)| run::Member {
        target: (*name).to_owned(),
        operations,
    });
    run::Target {
        name: group.name.clone(),
        variant: workload.variant_name().map(str::to_owned),
        build: None,
        kind: kind.into(),
        address: format!("{}, {how}", names.join(" and ")),
        version: None,
        database: None,
        command: None,
        died: false,
        members: members.collect(),
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
