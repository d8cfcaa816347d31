//! The conduct of one run, from prepare to teardown.
//!
//! prepare (servers, processes, addresses, probes, setup) → load → teardown → [`Run`];
//! with variants, load and what is around it in epochs.
//! The trial decides the order and what to do when something fails; how each
//! part is done is known elsewhere.

mod census;
mod databases;
mod epochs;
mod equivalence;
mod generator;
mod links;
mod lookout;
mod once;
mod owed;
mod poolers;
mod room;
mod search;
mod servers;
mod stage;
mod tried;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

pub use self::once::{Exchange, once};
use self::{
    generator::Watched,
    links::Switches,
    lookout::Lookout,
    servers::Servers,
    stage::{Stage, TornDown},
};
use crate::{
    executor::{self, Driven, Event, Injection, Interrupt, Plan, WorkerError},
    lab::{LabError, RunDirectory, postgres::Site},
    recorder::{Collector, Recorded, SampleLog, StepRecorded},
    run::{self, Accounting, Environment, Generator, Model, Run},
    target::TargetError,
    units::format_duration,
    workload::{self, End, Profile, Workload},
};

/// What a trial needs besides the workload.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where it is measured.
    pub environment: Environment,
    /// Labels for the run.
    pub labels: BTreeMap<String, String>,
    /// What `loadgate` means in the command of a managed process.
    pub executable: PathBuf,
    /// Where a private PostgreSQL comes from.
    pub site: Site,
    /// What standard errors of changes are multiplied by on this machine; 1 where it was never calibrated.
    pub inflation: f64,
    /// Trouble to put into the operations of the last variant.
    pub injection: Option<Injection>,
    /// Where every operation is written, if anywhere.
    pub samples: Option<Arc<SampleLog>>,
    /// Asks for an early end.
    pub interrupt: Interrupt,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A managed process or its directory.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The private directory could not be made.
    #[error("no private directory for the run: {0}")]
    Directory(std::io::Error),
    /// A target cannot be reached or refuses a statement.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A step of setup failed.
    #[error("setup: the step \"{step}\" failed: {reason}")]
    Setup {
        /// Name of the step.
        step: String,
        /// What went wrong.
        reason: String,
    },
    /// A server does not take as many connections as the load makes.
    #[error("{0}")]
    NoRoom(String),
    /// The load could not be driven.
    #[error("the load could not be driven: {0}")]
    Drive(String),
    /// Interrupted before any load.
    #[error("interrupted before any load")]
    Interrupted,
}

impl TrialError {
    /// Whether the scenario is at fault, and not the environment.
    pub fn is_scenario(&self) -> bool {
        match self {
            Self::Lab(error) => error.is_scenario(),
            Self::Target(error) => matches!(error, TargetError::Statement { .. } | TargetError::Setting { .. }),
            _ => false,
        }
    }
}

/// Conducts one run. What is in flight when it is interrupted is drained; the
/// run is then marked as partial.
///
/// # Errors
/// When nothing could be measured at all.
pub async fn conduct(
    workload: Arc<Workload>,
    setting: &Setting,
    on_event: &mut dyn FnMut(Event),
) -> Result<Run, TrialError> {
    RunDirectory::sweep();
    let directory = RunDirectory::new().map_err(TrialError::Directory)?;
    let told = interruptible(setting, room::check(&workload, directory.path())).await?;
    let mut servers = interruptible(setting, Servers::start(&workload, setting, &directory)).await?;
    let run = census_and_load(&workload, &mut servers, setting, on_event).await;
    let remains = servers.stop().await;
    let mut run = run?;
    run.incidents.extend(
        told.iter()
            .chain(&remains)
            .map(|remains| workload.secrets.mask(remains)),
    );
    Ok(run)
}

/// Counts first, in peace; then loads.
async fn census_and_load(
    workload: &Arc<Workload>,
    servers: &mut Servers,
    setting: &Setting,
    on_event: &mut dyn FnMut(Event),
) -> Result<Run, TrialError> {
    let taken = match workload.trial.census {
        0 => None,
        _ => {
            on_event(Event::Counting);
            Some(interruptible(setting, census::take(workload, servers, setting)).await?)
        }
    };
    let operation = taken.as_ref().and_then(|taken| taken.operation);
    let run = if workload.others.is_empty() {
        alone(workload, servers, setting, on_event).await?
    } else {
        epochs::beside(workload, servers, setting, operation, on_event).await?
    };
    Ok(match taken {
        None => run,
        Some(taken) => {
            let mut incidents = taken.incidents;
            incidents.extend(run.incidents);
            incidents.dedup();
            let mut left_behind = taken.left_behind;
            epochs::add_new(&mut left_behind, run.left_behind);
            Run {
                census: Some(taken.census),
                equivalence: taken.equivalence,
                incidents,
                left_behind,
                ..run
            }
        }
    })
}

/// One way to do the work, loaded from begin to end.
async fn alone(
    workload: &Arc<Workload>,
    servers: &mut Servers,
    setting: &Setting,
    on_event: &mut dyn FnMut(Event),
) -> Result<Run, TrialError> {
    let mut stages = vec![interruptible(setting, Stage::set_up(workload, servers, setting)).await?];
    let plan = Plan {
        variants: epochs::variants(&stages),
        slices: None,
        load: workload.load.clone(),
        before: Duration::ZERO,
        interrupt: setting.interrupt.clone(),
    };
    let mut lookout = Lookout::begin(&stages, servers).await;
    let switches = Switches::of(&stages, Duration::ZERO);
    let mut look = |event: Event| {
        switches.look(&event);
        lookout.look(event);
        on_event(event);
    };
    let driven = match plan.load.search {
        None => stage::watch(&mut stages, servers, measure(&plan, setting, &mut look)).await,
        Some(search) => stage::watch(&mut stages, servers, search::search(&plan, search, setting, &mut look)).await,
    };
    let loaded = driven.as_ref().map_or(0.0, |run| run.duration_s);
    let found = lookout
        .end(0, &[Duration::from_secs_f64(loaded)], lookout::PATIENCE)
        .await;
    let mut gone = TornDown::default();
    for stage in stages {
        gone = stage.tear_down().await;
    }
    let run = driven.map_err(|error| TrialError::Drive(error.to_string()))?;
    let mut incidents = run.incidents;
    incidents.extend(gone.incidents);
    Ok(Run {
        targets: gone.targets,
        incidents,
        left_behind: gone.left_behind,
        caches: gone.caches,
        links: gone.links,
        resources: found.resources,
        usage: found.usage,
        activity: found.activity,
        pools: found.pools,
        ..run
    })
}

/// What comes before any load ends at once when it is interrupted.
async fn interruptible<T>(
    setting: &Setting,
    work: impl Future<Output = Result<T, TrialError>>,
) -> Result<T, TrialError> {
    tokio::select! {
        biased;
        () = setting.interrupt.stop.cancelled() => Err(TrialError::Interrupted),
        done = work => done,
    }
}

/// Drives one load: a run that does not know its targets yet.
async fn measure(plan: &Plan, setting: &Setting, on_event: &mut dyn FnMut(Event)) -> Result<Run, WorkerError> {
    let mut clock = Watched::default();
    let mut watched = |event: Event| {
        clock.look(event);
        on_event(event);
    };
    let mut collector = Collector::new(plan.steps()).with_sample_log(setting.samples.clone());
    let driven = executor::drive(plan, &mut collector, &mut watched).await?;
    let recorded = collector.finish();
    let run = assemble(
        plan.workload(),
        &plan.load,
        setting,
        driven,
        recorded,
        clock.generator(),
    );
    Ok(Run {
        breakers: tried::breakers(plan),
        ..run
    })
}

/// The run as far as load tells of it.
fn assemble(
    workload: &Arc<Workload>,
    asked: &workload::Load,
    setting: &Setting,
    driven: Driven,
    recorded: Recorded,
    generator: Generator,
) -> Run {
    let Driven {
        started,
        window,
        aborted,
    } = driven;
    let flows = recorded.flows;
    let interrupted = setting
        .interrupt
        .stop
        .is_cancelled()
        .then(|| format!("interrupted after {}", format_duration(window)));
    let measured = workload
        .variants()
        .flat_map(|variant| variant.measured.iter().map(move |measured| (variant, measured)));
    Run {
        format: run::FORMAT.into(),
        loadgate: env!("CARGO_PKG_VERSION").into(),
        id: ulid::Ulid::new().to_string(),
        scenario: workload.name.clone(),
        started: rounded(started),
        labels: setting.labels.clone(),
        seed: workload.seed,
        fingerprint: workload.fingerprint.clone(),
        source: workload.source.clone(),
        thresholds: workload.thresholds.clone(),
        claims: workload.claims.clone(),
        load: load(asked),
        duration_s: window.as_secs_f64(),
        accounting: Accounting {
            scheduled: flows.planned,
            completed: flows.completed,
            failed: flows.failed,
            dropped: flows.dropped,
            unfinished: flows.unfinished,
        },
        generator: with_recorded(generator, &recorded, workload),
        incidents: incidents(workload, &recorded),
        retries: tried::retries(workload, &recorded),
        steps: measured
            .zip(recorded.steps)
            .map(|((variant, measured), recorded)| step(variant, measured, recorded))
            .collect(),
        intervals: recorded.intervals,
        send_lag: recorded.send_lag,
        environment: setting.environment.clone(),
        targets: Vec::new(),
        partial: interrupted.or_else(|| aborted.as_ref().map(|why| format!("aborted: {why}"))),
        aborted,
        search: None,
        variants: Vec::new(),
        conduct: None,
        equivalence: None,
        census: None,
        resources: Vec::new(),
        usage: Vec::new(),
        activity: Vec::new(),
        links: Vec::new(),
        breakers: Vec::new(),
        caches: Vec::new(),
        pools: Vec::new(),
        left_behind: Vec::new(),
    }
}

fn with_recorded(generator: Generator, recorded: &Recorded, workload: &Workload) -> Generator {
    let failed_users = recorded.user_failures.get("user_setup");
    let failed_users = failed_users.map_or(0, |failures| failures.count);
    match &workload.load.profile {
        Profile::Open { .. } => Generator {
            queue_max: Some(recorded.depth.queue as u64),
            in_flight_max: Some(recorded.depth.in_flight as u64),
            failed_users,
            ..generator
        },
        // Of the users' time with variants only part is recorded.
        Profile::Closed { .. } if !workload.others.is_empty() => Generator {
            failed_users,
            ..generator
        },
        Profile::Closed { .. } => Generator {
            users_present_s: Some(recorded.users.present.as_secs_f64()),
            users_waited_s: Some(recorded.users.waited.as_secs_f64()),
            failed_users,
            ..generator
        },
    }
}

fn incidents(workload: &Workload, recorded: &Recorded) -> Vec<String> {
    let failures = recorded.user_failures.iter();
    failures
        .map(|(part, failures)| {
            let times = if failures.count == 1 { "time" } else { "times" };
            let text = format!("{part} failed {} {times}: {}", failures.count, failures.example);
            workload.secrets.mask(&text)
        })
        .collect()
}

/// Reports show milliseconds; nobody needs more of a time of day.
fn rounded(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

fn load(load: &workload::Load) -> run::Load {
    let (model, rate, users, staged) = match &load.profile {
        Profile::Open { rates, .. } => (Model::Open, Some(rates.highest()), None, !rates.stages.is_empty()),
        Profile::Closed { users, stages, .. } => {
            let most = executor::most_users(*users, stages);
            (Model::Closed, None, Some(most), !stages.is_empty())
        }
    };
    let (duration_s, iterations) = match load.end {
        End::After(duration) => (Some(duration.as_secs_f64()), None),
        End::Passes(passes) => (None, Some(passes)),
    };
    run::Load {
        model,
        rate,
        users,
        staged,
        sessions: executor::sessions(&load.profile),
        duration_s,
        iterations,
        warm_up_s: load.warm_up.max(ramp(&load.profile)).as_secs_f64(),
        drain_s: load.drain.as_secs_f64(),
    }
}

fn ramp(profile: &Profile) -> Duration {
    match profile {
        Profile::Open { .. } => Duration::ZERO,
        Profile::Closed { ramp, .. } => *ramp,
    }
}

fn step(workload: &Workload, measured: &crate::workload::MeasuredStep, recorded: StepRecorded) -> run::Step {
    let target = &workload.targets[measured.target];
    run::Step {
        name: measured.name.clone(),
        variant: workload.variant_name().map(str::to_owned),
        flow: measured.flow.clone(),
        protocol: target.kind.name().into(),
        target: workload.target_name(measured).to_owned(),
        response_time: recorded.response_time,
        service_time: recorded.service_time,
        acquire: recorded.acquire,
        connect: recorded.connect,
        tls: recorded.tls,
        first_byte: recorded.first_byte,
        body: recorded.body,
        errors: recorded.errors,
    }
}
