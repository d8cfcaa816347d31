//! The closed model: Goose's users are our virtual users.
//!
//! Goose starts, ramps, holds and stops the users. A Goose transaction leases
//! a virtual user's worker for some milliseconds, in which it performs passes
//! of our flows on its own sessions; so Goose's cost disappears, and samples
//! are recorded on the thread that drives the sockets. Goose's own metrics,
//! telnet and logs stay off. Its killswitch and its signal handler are global:
//! one attack at a time, and our handler comes first (see `cli::interrupt`).

use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use goose::{
    GooseAttack,
    client::GooseClientBuilder,
    config::GooseConfiguration,
    goose::{GooseUser, Scenario, Transaction, TransactionFunction},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    pass::{Flight, PassEnd, Performer, Recording},
    worker::{Phase, WorkerError},
};
use crate::{
    recorder::Recorder,
    sample::ErrorClass,
    target::Sessions,
    workload::{End, Workload},
};

/// How long a Goose transaction performs passes before it reports back.
const LEASE: Duration = Duration::from_millis(5);

/// A user whose connection is refused waits this long, lest it does nothing but being refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// A request of a Goose user: perform passes, and tell when done.
type Lease = oneshot::Sender<()>;

/// What all users share.
#[derive(Debug, Clone)]
pub(super) struct Course {
    shared: Arc<Shared>,
    /// Time over which users are started.
    pub(super) ramp: Duration,
    over: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    workers: usize,
    measured: AtomicU64,
    warm_up: AtomicU64,
    end: End,
    /// One per user, taken by the worker that performs for it.
    lessees: Mutex<Vec<Option<mpsc::Receiver<Lease>>>>,
}

impl Course {
    /// The ends at which the users of one worker hand in their leases.
    pub(super) fn lessees(&self, worker: usize) -> Vec<mpsc::Receiver<Lease>> {
        let mut all = self.shared.lessees.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut()
            .skip(worker)
            .step_by(self.shared.workers)
            .filter_map(Option::take)
            .collect()
    }

    /// The number of the next pass that starts now; `None` when there is none left.
    fn next_pass(&self, now: Instant, t0: Instant) -> Option<u64> {
        if now < t0 {
            return Some(self.shared.warm_up.fetch_add(1, Relaxed));
        }
        let number = match self.shared.end {
            End::After(window) if now >= t0 + window => None,
            End::After(_) => Some(self.shared.measured.fetch_add(1, Relaxed)),
            End::Passes(passes) => Some(self.shared.measured.fetch_add(1, Relaxed)).filter(|number| *number < passes),
        };
        if number.is_none() {
            self.over.cancel();
        }
        number
    }
}

/// Goose and its users.
#[derive(Debug)]
pub(super) struct Attack {
    users: usize,
    ramp: Duration,
    leases: Arc<[mpsc::Sender<Lease>]>,
    arrived: watch::Receiver<usize>,
    report_arrived: Arc<watch::Sender<usize>>,
    over: CancellationToken,
    running: Option<JoinHandle<Result<(), String>>>,
}

/// Makes the channels between Goose's users and the workers; starts nothing.
pub(super) fn prepare(
    workload: &Workload,
    users: usize,
    ramp: Duration,
    workers: usize,
    over: CancellationToken,
) -> (Course, Attack) {
    let (leases, lessees): (Vec<_>, Vec<_>) = (0..users)
        .map(|_| mpsc::channel(1))
        .map(|(sender, receiver)| (sender, Some(receiver)))
        .unzip();
    let (report_arrived, arrived) = watch::channel(0);
    let shared = Shared {
        workers,
        measured: AtomicU64::new(0),
        warm_up: AtomicU64::new(workload.warm_up_pass(0)),
        end: workload.load.end,
        lessees: Mutex::new(lessees),
    };
    let course = Course {
        shared: Arc::new(shared),
        ramp,
        over: over.clone(),
    };
    let attack = Attack {
        users,
        ramp,
        leases: leases.into(),
        arrived,
        report_arrived: Arc::new(report_arrived),
        over,
        running: None,
    };
    (course, attack)
}

impl Attack {
    /// Lets Goose start the users. Without a ramp, returns when all are there;
    /// with one, when the first is. Returns how long the ramp still takes.
    pub(super) async fn start(&mut self) -> Result<Duration, WorkerError> {
        let attack = self
            .configure()
            .map_err(|error| WorkerError::Goose(error.to_string()))?;
        let running = self.running.insert(tokio::spawn(async move {
            attack.execute().await.map(drop).map_err(|error| error.to_string())
        }));
        let wanted = if self.ramp.is_zero() { self.users } else { 1 };
        let mut arrived = self.arrived.clone();
        tokio::select! {
            all = arrived.wait_for(|arrived| *arrived >= wanted) => all.map(|_| self.ramp).map_err(|_| WorkerError::Died),
            ended = running => {
                let reason = ended.map_or_else(|error| Some(error.to_string()), Result::err);
                Err(WorkerError::Goose(reason.unwrap_or_else(|| "Goose ended at once".into())))
            }
        }
    }

    fn configure(&self) -> Result<GooseAttack, goose::GooseError> {
        let per_second = if self.ramp.is_zero() {
            100_000.0
        } else {
            (self.users as f64 / self.ramp.as_secs_f64()).max(0.001)
        };
        let mut configuration = GooseConfiguration::default();
        // Goose insists on a host; its client is never used.
        configuration.host = Some("http://127.0.0.1:9".into());
        configuration.users = Some(self.users);
        configuration.increase_rate = Some(format!("{per_second:.3}"));
        configuration.quiet = 3;
        configuration.no_metrics = true;
        configuration.no_print_metrics = true;
        configuration.no_telnet = true;
        silence();
        // The client is never used; but one that checks certificates cannot
        // even be made on a machine without certificate authorities.
        let client = GooseClientBuilder::new().accept_invalid_certs(true).without_cookies();
        Ok(GooseAttack::initialize_with_config(configuration)?
            .set_client_builder_without_cookies(client)?
            .register_scenario(Scenario::new("loadgate").register_transaction(Transaction::new(self.transaction()))))
    }

    /// Leases the user's worker; once all is over, waits to be stopped.
    fn transaction(&self) -> TransactionFunction {
        let leases = Arc::clone(&self.leases);
        let arrived = Arc::clone(&self.report_arrived);
        let over = self.over.clone();
        let seen: Arc<[AtomicUsize]> = (0..self.users).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(move |user: &mut GooseUser| {
            let index = user.weighted_users_index;
            let lease = leases.get(index).cloned();
            if seen.get(index).is_some_and(|seen| seen.swap(1, Relaxed) == 0) {
                arrived.send_modify(|arrived| *arrived += 1);
            }
            let over = over.clone();
            Box::pin(async move {
                let (done, performed) = oneshot::channel();
                match lease {
                    Some(lease) if !over.is_cancelled() && lease.send(done).await.is_ok() => drop(performed.await),
                    _ => sleep(Duration::from_millis(10)).await,
                }
                Ok(())
            })
        })
    }

    /// Ends the attack; Goose looks at its killswitch twice a second.
    pub(super) async fn stop(mut self) {
        self.over.cancel();
        if let Some(running) = self.running.take() {
            goose::trigger_killswitch("the load is over");
            let abort = running.abort_handle();
            if timeout(Duration::from_secs(3), running).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Takes the place of the logger that Goose would install.
fn silence() {
    struct Silent;
    impl log::Log for Silent {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    // Fails where a logger is set already, which then is not Goose's either.
    let _ = log::set_logger(&Silent);
}

/// Performs for the users of one worker until all is over; then drains.
pub(super) async fn run(
    performers: &mut [Performer<'_, Sessions>],
    lessees: Vec<mpsc::Receiver<Lease>>,
    course: &Course,
    recorder: RefCell<Recorder>,
    mut phases: watch::Receiver<Phase>,
    plan: &Plan,
) -> Option<Instant> {
    // With a warm-up users perform before the window begins: that is not recorded.
    let begun = phases
        .wait_for(|phase| matches!(phase, Phase::Measure(_) | Phase::Cancelled))
        .await
        .map(|phase| *phase);
    let Ok(Phase::Measure(t0)) = begun else {
        recorder.into_inner().finish();
        return None;
    };
    let load = &plan.workload.load;
    if course.ramp.max(load.warm_up).is_zero() {
        // Without a warm-up the target sees what is measured and nothing else.
        sleep_until(t0).await;
    }
    let recording = Recording {
        t0,
        recorder: Some(recorder),
    };
    let flights: Vec<Cell<Option<Flight>>> = performers.iter().map(|_| Cell::new(None)).collect();
    let last_end = Cell::new(None);
    let mut users: FuturesUnordered<_> = performers
        .iter_mut()
        .zip(lessees)
        .zip(&flights)
        .map(|((performer, leases), flight)| {
            User {
                performer,
                leases,
                course,
                recording: &recording,
                flight,
                last_end: &last_end,
            }
            .live()
        })
        .collect();
    let all_done = async { while users.next().await.is_some() {} };
    let too_late = async {
        course.over.cancelled().await;
        sleep(load.drain).await;
    };
    tokio::select! {
        () = all_done => {}
        () = too_late => {}
        () = plan.interrupt.cut.cancelled() => {}
    }
    drop(users);
    let cut = Instant::now();
    for flight in flights.iter().filter_map(Cell::get) {
        flight.record_unfinished(&recording, cut);
        last_end.set(Some(cut));
    }
    recording.finish();
    last_end.get()
}

/// One virtual user on its worker.
struct User<'a, 'w> {
    performer: &'a mut Performer<'w, Sessions>,
    leases: mpsc::Receiver<Lease>,
    course: &'a Course,
    recording: &'a Recording,
    flight: &'a Cell<Option<Flight>>,
    last_end: &'a Cell<Option<Instant>>,
}

impl User<'_, '_> {
    async fn live(mut self) {
        let mut connected = self.course.ramp.is_zero();
        loop {
            let lease = tokio::select! {
                biased;
                () = self.course.over.cancelled() => return,
                lease = self.leases.recv() => lease,
            };
            let Some(done) = lease else { return };
            if !connected {
                self.performer.session().connect().await;
                connected = true;
            }
            self.perform().await;
            // Goose may have given up waiting.
            let _ = done.send(());
        }
    }

    /// Passes for the length of a lease.
    async fn perform(&mut self) {
        let until = Instant::now() + LEASE;
        loop {
            let now = Instant::now();
            if now >= until || self.course.over.is_cancelled() {
                return;
            }
            let Some(number) = self.course.next_pass(now, self.recording.t0) else {
                return;
            };
            self.recording
                .with(now, |recorder, at| recorder.flows(at.offset(now)).planned += 1);
            let end = self.performer.pass(number, now, self.recording, self.flight).await;
            self.last_end.set(Some(Instant::now()));
            if matches!(end, PassEnd::Failed(ErrorClass::Connect)) {
                sleep(AFTER_REFUSAL).await;
            }
        }
    }
}
