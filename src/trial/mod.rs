//! The conduct of one run, from prepare to teardown.
//!
//! prepare (processes, addresses, probes, setup) → load → teardown → [`Run`].
//! The trial decides the order and what to do when something fails; how each
//! part is done is known elsewhere.

mod databases;
mod once;
mod search;
mod stage;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

pub use self::once::{Exchange, once};
use self::stage::Stage;
use crate::{
    executor::{self, Driven, Event, Interrupt, Plan, WorkerError},
    lab::{LabError, postgres::Site},
    observer::ProcessClock,
    recorder::{Recorded, StepRecorded},
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
    let stop = setting.interrupt.stop.clone();
    let mut stage = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(TrialError::Interrupted),
        stage = Stage::set_up(&workload, setting) => stage?,
    };
    let plan = Plan {
        workload: Arc::clone(&workload),
        load: workload.load.clone(),
        connectors: stage.connectors(),
        globals: stage.globals(),
        interrupt: setting.interrupt.clone(),
    };
    let driven = match plan.load.search {
        None => stage.watch(measure(&plan, setting, on_event)).await,
        Some(search) => stage.watch(search::search(&plan, search, setting, on_event)).await,
    };
    let (targets, incidents) = stage.tear_down(&workload).await;
    let run = driven.map_err(|error| TrialError::Drive(error.to_string()))?;
    let mut all_incidents = run.incidents;
    all_incidents.extend(incidents.iter().map(|incident| workload.secrets.mask(incident)));
    Ok(Run {
        targets,
        incidents: all_incidents,
        ..run
    })
}

/// Drives one load: a run that does not know its targets yet.
async fn measure(plan: &Plan, setting: &Setting, on_event: &mut dyn FnMut(Event)) -> Result<Run, WorkerError> {
    let mut clock = None;
    let mut generator = Generator::default();
    let mut watched = |event: Event| {
        match event {
            Event::Began => clock = Some(ProcessClock::start()),
            Event::Ended => generator = clock.as_ref().map(ProcessClock::stop).unwrap_or_default(),
            Event::Trying(_) | Event::WarmUp | Event::Progress { .. } => {}
        }
        on_event(event);
    };
    let driven = executor::drive(plan, &mut watched).await?;
    Ok(assemble(plan, setting, driven, generator))
}

fn assemble(plan: &Plan, setting: &Setting, driven: Driven, generator: Generator) -> Run {
    let workload = &plan.workload;
    let Driven {
        recorded,
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
        load: load(&plan.load),
        duration_s: window.as_secs_f64(),
        accounting: Accounting {
            scheduled: flows.planned,
            completed: flows.completed,
            failed: flows.failed,
            dropped: flows.dropped,
            unfinished: flows.unfinished,
        },
        generator: with_recorded(generator, &recorded, &plan.load.profile),
        incidents: incidents(workload, &recorded),
        steps: workload
            .measured
            .iter()
            .zip(recorded.steps)
            .map(|(measured, recorded)| step(workload, measured, recorded))
            .collect(),
        intervals: recorded.intervals,
        send_lag: recorded.send_lag,
        environment: setting.environment.clone(),
        targets: Vec::new(),
        partial: interrupted.or_else(|| aborted.as_ref().map(|why| format!("aborted: {why}"))),
        aborted,
        search: None,
    }
}

fn with_recorded(generator: Generator, recorded: &Recorded, profile: &Profile) -> Generator {
    let failed_users = recorded.user_failures.get("user_setup");
    let failed_users = failed_users.map_or(0, |failures| failures.count);
    match profile {
        Profile::Open { .. } => Generator {
            queue_max: Some(recorded.depth.queue as u64),
            in_flight_max: Some(recorded.depth.in_flight as u64),
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
        flow: measured.flow.clone(),
        protocol: target.kind.name().into(),
        target: target.name.clone(),
        response_time: recorded.response_time,
        service_time: recorded.service_time,
        connect: recorded.connect,
        tls: recorded.tls,
        first_byte: recorded.first_byte,
        body: recorded.body,
        errors: recorded.errors,
    }
}
