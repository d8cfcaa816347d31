//! When operations start: the open model by a schedule, the closed model by users.
//!
//! One current-thread runtime per core drives a shard of the virtual users;
//! this module starts them, tells them when the window begins, gathers what
//! they recorded, and stops them. What an operation does is [`crate::target`].

mod abort;
mod attack;
mod closed;
mod injection;
mod open;
mod pass;
mod pools;
mod schedule;
mod slices;
pub mod unmeasured;
mod worker;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use self::{abort::Aborts, worker::Workers};
pub use self::{
    injection::Injection,
    open::{Bounds, run as run_open},
    pass::{Performer, Recording},
    schedule::{Arrival, Schedule},
    slices::{Slice, SlicePlan, Slices},
    worker::WorkerError,
};
use crate::{
    recorder::{Collector, Snapshot},
    target::{Balancers, Breakers, Caches, Connector, Sessions},
    workload::{End, Load, Profile, Value, Workload},
};

/// Asks running load to end early.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Start nothing new, let what is under way finish within the drain time.
    pub stop: CancellationToken,
    /// Do not even wait for that.
    pub cut: CancellationToken,
}

/// What the workers share.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The ways in which the work is done; one where the scenario has no variants.
    pub variants: Arc<[Variant]>,
    /// Whose turn it is when, where there are several; the load is then as long as all slices.
    pub slices: Option<Arc<Slices>>,
    /// How much load: the scenario's, or one rate of a search.
    pub load: Load,
    /// How long load has lasted before, in earlier epochs of the same run.
    pub before: Duration,
    /// Asks for an early end.
    pub interrupt: Interrupt,
}

/// One way to do the work, with all that stands for it.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The compiled scenario.
    pub workload: Arc<Workload>,
    /// Its targets, addresses filled in.
    pub connectors: Arc<[Connector]>,
    /// How the load of groups is shared.
    pub balancers: Balancers,
    /// The caches in front of its steps.
    pub caches: Arc<Caches>,
    /// What setup saved, by variable.
    pub globals: Arc<[Option<Value>]>,
    /// Its circuit breakers.
    pub breakers: Breakers,
    /// Where its measured steps begin among those of all variants.
    pub first_step: usize,
    /// Trouble that is put into its operations on purpose.
    pub injection: Option<Injection>,
}

impl Variant {
    /// Sessions of one virtual user; not connected yet.
    fn sessions(&self) -> Sessions {
        Sessions::new(&self.connectors)
            .with_balancers(&self.balancers)
            .with_caches(&self.caches)
    }
}

impl Plan {
    /// The workload of the reference; what all variants have in common is the same in it.
    pub fn workload(&self) -> &Arc<Workload> {
        &self.variants[0].workload
    }

    /// How many measured steps all variants have together.
    pub fn steps(&self) -> usize {
        let last = self.variants.last();
        last.map_or(0, |variant| variant.first_step + variant.workload.measured.len())
    }
}

/// Something to tell while load runs.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// A single client counts what operations cost.
    Counting,
    /// Fresh instances of all variants are made for this epoch, from 1, of so many.
    Epoch(u32, u32),
    /// A search tries this rate next, flow starts per second.
    Trying(f64),
    /// Load has begun, nothing is measured yet.
    WarmUp,
    /// The measured window has begun.
    Began,
    /// A second of it has passed.
    Progress {
        /// Since it began.
        elapsed: Duration,
        /// What is known so far.
        snapshot: Snapshot,
    },
    /// It has ended; what is under way may finish.
    Ended,
}

/// What came of driving a load; what was recorded is with the collector.
#[derive(Debug)]
pub struct Driven {
    /// When the measured window began; now, if it never did.
    pub started: Timestamp,
    /// How long the window was.
    pub window: Duration,
    /// Why it ended before its time, when a condition ended it.
    pub aborted: Option<String>,
}

/// Drives a load and gathers what was measured in the collector.
///
/// # Errors
/// When a worker could not be started or ended by itself.
pub async fn drive(
    plan: &Plan,
    collector: &mut Collector,
    on_event: &mut dyn FnMut(Event),
) -> Result<Driven, WorkerError> {
    // Ending this load early ends no other.
    let plan = &Plan {
        interrupt: Interrupt {
            stop: plan.interrupt.stop.child_token(),
            cut: plan.interrupt.cut.clone(),
        },
        ..plan.clone()
    };
    let mut workers = Workers::start(plan, collector)?;
    let begun = workers.begin(plan, on_event).await?;
    let Some(t0) = begun else {
        // Interrupted before anything was measured.
        workers.end().await?;
        collector.receive_all();
        return Ok(Driven {
            started: Timestamp::now(),
            window: Duration::ZERO,
            aborted: None,
        });
    };
    for variant in plan.variants.iter() {
        variant.breakers.count_from(t0);
    }
    tokio::select! {
        () = plan.interrupt.stop.cancelled() => {}
        () = sleep_until(t0) => {}
    }
    for variant in plan.variants.iter() {
        variant.balancers.count_anew();
    }
    let started = Timestamp::now();
    on_event(Event::Began);
    let mut aborts = Aborts::new(&plan.load.abort_when);
    let mut aborted = None;
    let mut look = |event: Event, collector: &mut Collector| {
        if let (Event::Progress { elapsed, .. }, false) = (event, aborts.is_empty()) {
            let seconds = collector.watch(elapsed);
            if let Some(condition) = seconds.iter().find_map(|second| aborts.look(second)) {
                aborted = Some(condition.text.clone());
                plan.interrupt.stop.cancel();
            }
        }
        on_event(event);
    };
    let window = measure(plan, &mut workers, collector, t0, &mut look).await;
    on_event(Event::Ended);
    workers.let_go();
    workers.drained(collector).await;
    let last_end = workers.end().await?;
    // What was cut off must not stand in the way of what comes next.
    for connector in plan.variants.iter().flat_map(|variant| variant.connectors.iter()) {
        connector.settled().await;
    }
    let window = match plan.load.end {
        // A window of passes lasts until the last of them has ended.
        End::Passes(_) if !plan.interrupt.stop.is_cancelled() => last_end.map_or(window, |end| end - t0),
        _ => window,
    };
    collector.receive_all();
    Ok(Driven {
        started,
        window,
        aborted,
    })
}

/// Until the window ends; returns how long it was.
async fn measure(
    plan: &Plan,
    workers: &mut Workers,
    collector: &mut Collector,
    t0: Instant,
    look: &mut dyn FnMut(Event, &mut Collector),
) -> Duration {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = plan.interrupt.stop.cancelled() => {
                workers.close_window();
                let length = t0.elapsed();
                return window_length(&plan.load).map_or(length, |window| length.min(window));
            }
            () = workers.window_over(t0) => {
                workers.close_window();
                return window_length(&plan.load).unwrap_or_else(|| t0.elapsed());
            }
            () = workers.any_ended() => {
                workers.close_window();
                return window_length(&plan.load).unwrap_or_else(|| t0.elapsed());
            }
            () = collector.receive() => {}
            _ = ticks.tick() => {
                let (elapsed, snapshot) = (t0.elapsed(), collector.snapshot());
                look(Event::Progress { elapsed, snapshot }, collector);
            }
        }
    }
}

fn window_length(load: &Load) -> Option<Duration> {
    match load.end {
        End::After(window) => Some(window),
        End::Passes(_) => None,
    }
}

/// The most users that there are at once.
pub fn most_users(start: usize, stages: &[(usize, Duration)]) -> usize {
    stages.iter().map(|(users, _)| *users).fold(start, usize::max)
}

/// How many sessions a profile keeps open.
pub fn sessions(profile: &Profile) -> usize {
    match profile {
        Profile::Open { max_in_flight, .. } => *max_in_flight,
        Profile::Closed { users, stages, .. } => most_users(*users, stages),
    }
}
