//! The closed model: Goose's users are our virtual users.
//!
//! Goose starts, ramps, holds and stops the users. A Goose transaction leases
//! a virtual user on its worker for some milliseconds, in which that performs
//! passes of our flows on its own sessions; so Goose's cost disappears, and
//! samples are recorded on the thread that drives the sockets. Goose's own
//! metrics, telnet and logs stay off. Its killswitch and its signal handler are global:
//! one attack at a time, and our handler comes first (see `cli::interrupt`).

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use goose::{
    GooseAttack,
    client::GooseClientBuilder,
    config::{GooseConfiguration, GooseDefault, GooseDefaultType},
    goose::{GooseUser, Scenario, Transaction, TransactionFunction},
};
use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError},
        oneshot, watch,
    },
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
    workload::{End, Load, Profile, Wait, Workload},
};

/// How long a Goose transaction lasts: Goose looks at its commands in between.
const LEASE: Duration = Duration::from_millis(5);

/// A user whose connection is refused waits this long, lest it does nothing but being refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// The stream of random numbers that think times draw from.
const THINKING: u64 = 0x7468_696e;

/// What a Goose user asks of the worker that performs for it; answered when done.
#[derive(Debug)]
pub(super) enum Wish {
    /// Perform passes for the length of a lease.
    Perform(oneshot::Sender<()>),
    /// The user ends; another may take its place later.
    Leave(oneshot::Sender<()>),
}

/// What all users share.
#[derive(Debug, Clone)]
pub(super) struct Course {
    shared: Arc<Shared>,
    /// Whether users come one after the other, and connect only then.
    pub(super) ramped: bool,
    over: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    workers: usize,
    measured: AtomicU64,
    warm_up: AtomicU64,
    end: End,
    think: Option<Wait>,
    throttle: Option<Throttle>,
    /// One per virtual user, taken by the worker that performs for it.
    lessees: Mutex<Vec<Option<mpsc::Receiver<Wish>>>>,
}

/// Passes start at least this far apart, over all users; time not used is not made up for.
#[derive(Debug)]
struct Throttle {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Throttle {
    /// When the pass may start that asks for its turn now.
    fn turn(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = now.max(*next);
        *next = turn + self.gap;
        turn
    }
}

impl Course {
    /// The ends at which the users of one worker hand in their wishes.
    pub(super) fn lessees(&self, worker: usize) -> Vec<mpsc::Receiver<Wish>> {
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
    /// How many users there are at once, at most; they are counted from 0.
    seats: Arc<Seats>,
    plan: UserPlan,
    over: CancellationToken,
    running: Option<JoinHandle<Result<(), String>>>,
    quiet: Option<QuietStdout>,
}

/// How the number of users changes.
#[derive(Debug, Clone)]
struct UserPlan {
    users: usize,
    ramp: Duration,
    warm_up: Duration,
    stages: Vec<(usize, Duration)>,
}

impl UserPlan {
    /// From the first user to the begin of the window.
    fn lead(&self) -> Duration {
        self.ramp.max(self.warm_up)
    }

    /// In Goose's words, where the number changes: so many users after so many seconds, step by step.
    fn test_plan(&self) -> Option<String> {
        let held = (self.users, self.lead().saturating_sub(self.ramp));
        let mut before = 0;
        let mut steps = Vec::new();
        for (users, time) in [(self.users, self.ramp), held].iter().chain(&self.stages) {
            // Goose would never leave a step in which neither users nor time change.
            if *users != before || !time.is_zero() {
                steps.push(format!("{users},{}s", time.as_secs()));
            }
            before = *users;
        }
        (!self.stages.is_empty()).then(|| steps.join(";"))
    }

    /// How many users start per second.
    fn increase_rate(&self) -> f64 {
        if self.ramp.is_zero() {
            100_000.0
        } else {
            (self.users as f64 / self.ramp.as_secs_f64()).max(0.001)
        }
    }
}

/// The virtual users that Goose's users take up and give back. Goose counts
/// its users on and on; a virtual user is there as long as its sessions are.
#[derive(Debug)]
struct Seats {
    wishes: Vec<mpsc::Sender<Wish>>,
    free: Mutex<BTreeSet<usize>>,
    /// How many have been taken so far.
    taken: watch::Sender<usize>,
}

/// The seat a Goose user has taken.
#[derive(Debug, Clone, Copy)]
struct Seat(usize);

impl Seats {
    fn take(&self) -> Option<Seat> {
        let seat = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
        self.taken.send_modify(|taken| *taken += 1);
        seat.map(Seat)
    }

    fn give_back(&self, seat: Seat) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).insert(seat.0);
    }

    /// Hands in a wish and waits until it is granted; false when nobody grants any more.
    async fn wish(&self, seat: Seat, wish: impl FnOnce(oneshot::Sender<()>) -> Wish) -> bool {
        let (done, granted) = oneshot::channel();
        self.wishes[seat.0].send(wish(done)).await.is_ok() && granted.await.is_ok()
    }
}

/// Makes the channels between Goose's users and the workers; starts nothing.
pub(super) fn prepare(
    workload: &Workload,
    load: &Load,
    sessions: usize,
    workers: usize,
    over: CancellationToken,
) -> Option<(Course, Attack)> {
    let Profile::Closed {
        users,
        ramp,
        stages,
        think,
        throttle,
    } = &load.profile
    else {
        return None;
    };
    let (wishes, lessees): (Vec<_>, Vec<_>) = (0..sessions)
        .map(|_| mpsc::channel(1))
        .map(|(sender, receiver)| (sender, Some(receiver)))
        .unzip();
    let shared = Shared {
        workers,
        measured: AtomicU64::new(0),
        warm_up: AtomicU64::new(workload.warm_up_pass(0)),
        end: load.end,
        think: think.clone(),
        throttle: throttle.map(|rate| Throttle {
            gap: Duration::from_secs_f64(1.0 / rate),
            next: Mutex::new(Instant::now()),
        }),
        lessees: Mutex::new(lessees),
    };
    let course = Course {
        shared: Arc::new(shared),
        ramped: !ramp.is_zero(),
        over: over.clone(),
    };
    let attack = Attack {
        seats: Arc::new(Seats {
            wishes,
            free: Mutex::new((0..sessions).collect()),
            taken: watch::Sender::new(0),
        }),
        plan: UserPlan {
            users: *users,
            ramp: *ramp,
            warm_up: load.warm_up,
            stages: stages.clone(),
        },
        over,
        running: None,
        quiet: None,
    };
    Some((course, attack))
}

impl Attack {
    /// Lets Goose start the users. Without a ramp, returns when all of the
    /// beginning are there; with one, when the first is. Returns the time from
    /// then to the begin of the window.
    pub(super) async fn start(&mut self) -> Result<Duration, WorkerError> {
        let attack = self
            .configure()
            .map_err(|error| WorkerError::Goose(error.to_string()))?;
        if !self.plan.stages.is_empty() {
            self.quiet = QuietStdout::new().ok();
        }
        let running = self.running.insert(tokio::spawn(async move {
            attack.execute().await.map(drop).map_err(|error| error.to_string())
        }));
        let wanted = if self.plan.ramp.is_zero() { self.plan.users } else { 1 };
        let mut taken = self.seats.taken.subscribe();
        tokio::select! {
            all = taken.wait_for(|taken| *taken >= wanted) => all.map(|_| self.plan.lead()).map_err(|_| WorkerError::Died),
            ended = running => {
                let reason = ended.map_or_else(|error| Some(error.to_string()), Result::err);
                Err(WorkerError::Goose(reason.unwrap_or_else(|| "Goose ended at once".into())))
            }
        }
    }

    fn configure(&self) -> Result<GooseAttack, goose::GooseError> {
        let mut configuration = GooseConfiguration::default();
        // Goose insists on a host; its client is never used.
        configuration.host = Some("http://127.0.0.1:9".into());
        let test_plan = self.plan.test_plan();
        if test_plan.is_none() {
            configuration.users = Some(self.plan.users);
            configuration.increase_rate = Some(format!("{:.3}", self.plan.increase_rate()));
        }
        configuration.quiet = 3;
        configuration.no_metrics = true;
        configuration.no_print_metrics = true;
        configuration.no_telnet = true;
        silence();
        // The client is never used; but one that checks certificates cannot
        // even be made on a machine without certificate authorities.
        let client = GooseClientBuilder::new().accept_invalid_certs(true).without_cookies();
        let scenario = Scenario::new("loadgate")
            .register_transaction(Transaction::new(self.arrival()).set_on_start())
            .register_transaction(Transaction::new(self.performance()))
            .register_transaction(Transaction::new(self.departure()).set_on_stop());
        let mut attack = GooseAttack::initialize_with_config(configuration)?;
        if let Some(test_plan) = test_plan {
            attack = *attack.set_default(GooseDefault::TestPlan, test_plan.as_str())?;
        }
        Ok(attack
            .set_client_builder_without_cookies(client)?
            .register_scenario(scenario))
    }

    fn arrival(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        Arc::new(move |user: &mut GooseUser| {
            if let Some(seat) = seats.take() {
                user.set_session_data(seat);
            }
            Box::pin(async { Ok(()) })
        })
    }

    /// Leases the user's worker; once all is over, waits to be stopped.
    fn performance(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        let over = self.over.clone();
        Arc::new(move |user: &mut GooseUser| {
            let seat = user.get_session_data::<Seat>().copied();
            let (seats, over) = (Arc::clone(&seats), over.clone());
            Box::pin(async move {
                match seat {
                    Some(seat) if !over.is_cancelled() && seats.wish(seat, Wish::Perform).await => {}
                    _ => sleep(Duration::from_millis(10)).await,
                }
                Ok(())
            })
        })
    }

    fn departure(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        Arc::new(move |user: &mut GooseUser| {
            let seat = user.get_session_data::<Seat>().copied();
            let seats = Arc::clone(&seats);
            Box::pin(async move {
                if let Some(seat) = seat {
                    seats.wish(seat, Wish::Leave).await;
                    seats.give_back(seat);
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

/// Keeps stdout free while it lives: Goose prints a line when the users of a test
/// plan are there, whatever it was told, and stdout is for the result.
#[derive(Debug)]
struct QuietStdout(OwnedFd);

impl QuietStdout {
    fn new() -> io::Result<Self> {
        io::stdout().flush()?;
        let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        Ok(Self(kept))
    }
}

impl Drop for QuietStdout {
    fn drop(&mut self) {
        // Should it fail there is no place left to say so.
        let _ = rustix::stdio::dup2_stdout(&self.0);
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
    first: usize,
    lessees: Vec<mpsc::Receiver<Wish>>,
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
    let load = &plan.load;
    if load.warm_up.is_zero() && !course.ramped {
        // Without a warm-up the target sees what is measured and nothing else.
        sleep_until(t0).await;
    }
    let recording = Recording {
        t0,
        recorder: Some(recorder),
    };
    let traces: Vec<Trace> = performers.iter().map(|_| Trace::default()).collect();
    let mut users: FuturesUnordered<_> = performers
        .iter_mut()
        .zip(lessees)
        .zip(&traces)
        .enumerate()
        .map(|(at, ((performer, wishes), trace))| {
            User {
                number: (first + at * course.shared.workers) as u64,
                seed: plan.workload.seed,
                performer,
                wishes,
                course,
                recording: &recording,
                trace,
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
    for trace in &traces {
        if let Some(flight) = trace.flight.get() {
            flight.record_unfinished(&recording, cut);
            trace.last_end.set(Some(cut));
        }
        recording.with(t0, |recorder, _| recorder.users().present += trace.present());
    }
    recording.finish();
    traces.iter().filter_map(|trace| trace.last_end.get()).max()
}

/// What is known of a user after it was cut off.
#[derive(Debug, Default)]
struct Trace {
    flight: Cell<Option<Flight>>,
    /// When its first recorded pass of its present stay started.
    since: Cell<Option<Instant>>,
    /// Its stays before.
    earlier: Cell<Duration>,
    /// When its last recorded pass, or the wait after it, ended.
    last_end: Cell<Option<Instant>>,
}

impl Trace {
    fn present(&self) -> Duration {
        let stay = self.since.get().zip(self.last_end.get());
        self.earlier.get() + stay.map_or(Duration::ZERO, |(since, end)| end.saturating_duration_since(since))
    }

    /// The user leaves; it may come back.
    fn leave(&self) {
        self.earlier.set(self.present());
        self.since.set(None);
    }
}

/// One virtual user on its worker.
struct User<'a, 'w> {
    number: u64,
    seed: u64,
    performer: &'a mut Performer<'w, Sessions>,
    wishes: mpsc::Receiver<Wish>,
    course: &'a Course,
    recording: &'a Recording,
    trace: &'a Trace,
}

impl User<'_, '_> {
    async fn live(mut self) {
        loop {
            let wish = tokio::select! {
                biased;
                () = self.course.over.cancelled() => break,
                wish = self.wishes.recv() => wish,
            };
            match wish {
                Some(Wish::Perform(done)) if self.arrive().await => {
                    if let Some(left) = self.perform(done).await {
                        self.depart().await;
                        let _ = left.send(());
                    }
                }
                Some(Wish::Perform(done)) => {
                    self.wait_until(Instant::now() + AFTER_REFUSAL).await;
                    let _ = done.send(());
                }
                Some(Wish::Leave(done)) => {
                    self.depart().await;
                    let _ = done.send(());
                }
                None => break,
            }
        }
        self.depart().await;
    }

    /// Passes until Goose ends the user, who then waits for the answer, or all is over.
    ///
    /// A lease that is over is reported, but the user does not wait for the next one:
    /// while Goose thinks about it, it goes on.
    async fn perform(&mut self, done: oneshot::Sender<()>) -> Option<oneshot::Sender<()>> {
        let mut lease = Some((done, Instant::now() + LEASE));
        while !self.course.over.is_cancelled() && self.pass().await {
            if let Some((done, _)) = lease.take_if(|(_, until)| Instant::now() >= *until) {
                // Goose may have given up waiting for it.
                let _ = done.send(());
            }
            if lease.is_none() {
                match self.wishes.try_recv() {
                    Ok(Wish::Perform(done)) => lease = Some((done, Instant::now() + LEASE)),
                    Ok(Wish::Leave(left)) => return Some(left),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return None,
                }
            }
        }
        None
    }

    /// Connects and performs the user's setup, where that was not done ahead; whether it may perform.
    async fn arrive(&mut self) -> bool {
        if self.performer.has_arrived() {
            return true;
        }
        self.performer.session().connect().await;
        let result = self.performer.set_up(self.number).await;
        self.recording.user_failed("user_setup", &result);
        result.is_ok()
    }

    async fn depart(&mut self) {
        self.trace.leave();
        let result = self.performer.tear_down(self.number).await;
        self.recording.user_failed("user_teardown", &result);
    }

    /// One pass and the wait after it; false when there is none left to start.
    async fn pass(&mut self) -> bool {
        if let Some(throttle) = &self.course.shared.throttle {
            self.wait_until(throttle.turn(Instant::now())).await;
        }
        let now = Instant::now();
        let Some(number) = self.course.next_pass(now, self.recording.t0) else {
            return false;
        };
        self.recording
            .with(now, |recorder, at| recorder.flows(at.offset(now)).planned += 1);
        if now >= self.recording.t0 && self.trace.since.get().is_none() {
            self.trace.since.set(Some(now));
        }
        let end = self
            .performer
            .pass(number, now, self.recording, &self.trace.flight)
            .await;
        self.trace.last_end.set(Some(Instant::now()));
        if matches!(end, PassEnd::Failed(ErrorClass::Connect)) {
            self.wait_until(Instant::now() + AFTER_REFUSAL).await;
        }
        if let Some(think) = &self.course.shared.think {
            let length = think.length(self.seed, THINKING, number);
            self.wait_until(Instant::now() + length).await;
        }
        true
    }

    /// Waits, but not beyond the end of all, and counts it as time that no target took.
    async fn wait_until(&self, moment: Instant) {
        let began = Instant::now();
        if moment <= began {
            return;
        }
        tokio::select! {
            biased;
            () = self.course.over.cancelled() => {}
            () = sleep_until(moment) => {}
        }
        if self.trace.since.get().is_some() {
            self.trace.last_end.set(Some(Instant::now()));
            self.recording
                .with(began, |recorder, _| recorder.users().waited += began.elapsed());
        }
    }
}
