//! The closed model on one thread: virtual users perform one pass after the
//! other, think, and wait for the throttle, as long as Goose keeps them (see
//! [`super::attack`]).

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError},
        oneshot,
    },
    time::{Instant, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Plan,
    attack::{Attack, UserPlan, Wish},
    pass::{Flight, PassEnd, Performer, Recording},
    slices::Slices,
};
use crate::{
    sample::ErrorClass,
    target::Sessions,
    units::LONGEST,
    workload::{End, Profile, Wait},
};

/// How long a Goose transaction lasts: Goose looks at its commands in between.
const LEASE: Duration = Duration::from_millis(5);

/// A user whose connection is refused waits this long, lest it does nothing but being refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// What tokio's timers are good for. A pass starts up to so much before its turn by the
/// throttle: after it, every user would lose a tick for every pass.
const TICK: Duration = Duration::from_millis(1);

/// The stream of random numbers that think times draw from.
const THINKING: u64 = 0x7468_696e;

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
    /// Whose turn it is, where there are variants.
    turns: Option<Turns>,
    /// One per virtual user, taken by the worker that performs for it.
    lessees: Mutex<Vec<Option<mpsc::Receiver<Wish>>>>,
}

/// Passes start so far apart, over all users; time not used is not made up for.
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

    /// The variant and the number of the next pass that starts now; `None` when there is none left.
    fn next_pass(&self, now: Instant, t0: Instant) -> Option<(usize, u64)> {
        if self.over.is_cancelled() {
            return None;
        }
        if now < t0 {
            return Some((0, self.shared.warm_up.fetch_add(1, Relaxed)));
        }
        if let Some(turns) = &self.shared.turns {
            let next = turns.next_pass(now - t0);
            if next.is_none() {
                self.over.cancel();
            }
            return next;
        }
        let number = match self.shared.end {
            End::After(window) if now >= t0 + window => None,
            End::After(_) => Some(self.shared.measured.fetch_add(1, Relaxed)),
            End::Passes(passes) => Some(self.shared.measured.fetch_add(1, Relaxed)).filter(|number| *number < passes),
        };
        if number.is_none() {
            self.over.cancel();
        }
        number.map(|number| (0, number))
    }
}

/// The slices, and how many passes each has had so far.
#[derive(Debug)]
struct Turns {
    slices: Arc<Slices>,
    passes: Vec<AtomicU64>,
}

impl Turns {
    fn new(slices: &Arc<Slices>) -> Self {
        Self {
            slices: Arc::clone(slices),
            passes: slices.list().iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whose turn it is at that time since the begin of the load, and the number of its pass.
    fn next_pass(&self, since: Duration) -> Option<(usize, u64)> {
        let (index, slice) = self.slices.at(since)?;
        let passes = self.passes.get(index)?;
        Some((slice.variant, slice.first_pass + passes.fetch_add(1, Relaxed)))
    }
}

/// Makes the channels between Goose's users and the workers; starts nothing.
pub(super) fn prepare(
    plan: &Plan,
    sessions: usize,
    workers: usize,
    over: CancellationToken,
) -> Option<(Course, Attack)> {
    let load = &plan.load;
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
    let users = UserPlan {
        users: *users,
        ramp: *ramp,
        warm_up: load.warm_up,
        stages: stages.clone(),
    };
    let (attack, lessees) = Attack::new(users, sessions, over.clone());
    let shared = Shared {
        workers,
        measured: AtomicU64::new(0),
        warm_up: AtomicU64::new(plan.workload().warm_up_pass(0)),
        turns: plan.slices.as_ref().map(Turns::new),
        end: load.end,
        think: think.clone(),
        throttle: throttle.map(|rate| Throttle {
            gap: Duration::try_from_secs_f64(1.0 / rate).map_or(LONGEST, |gap| gap.min(LONGEST)),
            next: Mutex::new(Instant::now()),
        }),
        lessees: Mutex::new(lessees.into_iter().map(Some).collect()),
    };
    let course = Course {
        shared: Arc::new(shared),
        ramped: !ramp.is_zero(),
        over,
    };
    Some((course, attack))
}

/// Performs for the users of one worker until all is over; then drains.
pub(super) async fn run(
    performers: &mut [Vec<Performer<'_, Sessions>>],
    first: usize,
    lessees: Vec<mpsc::Receiver<Wish>>,
    course: &Course,
    recording: &Recording,
    plan: &Plan,
) -> Option<Instant> {
    let (load, t0) = (&plan.load, recording.t0);
    if load.warm_up.is_zero() && !course.ramped {
        // Without a warm-up the target sees what is measured and nothing else.
        sleep_until(t0).await;
    }
    let traces: Vec<Trace> = performers.iter().map(|_| Trace::default()).collect();
    let mut users: FuturesUnordered<_> = performers
        .iter_mut()
        .zip(lessees)
        .zip(&traces)
        .enumerate()
        .map(|(at, ((performers, wishes), trace))| {
            User {
                number: (first + at * course.shared.workers) as u64,
                seed: plan.workload().seed,
                performers,
                wishes,
                course,
                recording,
                trace,
                plan,
            }
            .live()
        })
        .collect();
    let all_done = async { while users.next().await.is_some() {} };
    let too_late = async {
        course.over.cancelled().await;
        sleep(load.drain).await;
    };
    // A second in which nothing ends is over all the same.
    let ticking = async {
        let mut ticks = interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            // The slices of variants end with those that are due in the next.
            if recording.slices.is_none() {
                recording.with(t0, |recorder, at| recorder.advance(at.interval(Instant::now())));
            }
        }
    };
    tokio::select! {
        () = ticking => {}
        () = all_done => {}
        () = too_late => {}
        () = plan.interrupt.cut.cancelled() => {}
    }
    drop(users);
    let cut = Instant::now();
    for performer in performers.iter().flatten() {
        performer.cut_off(recording);
    }
    for trace in &traces {
        if let Some(flight) = trace.flight.get() {
            flight.record_unfinished(recording, cut);
            trace.last_end.set(Some(cut));
        }
        recording.with(t0, |recorder, _| recorder.users().present += trace.present());
    }
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
    /// One per variant.
    performers: &'a mut [Performer<'w, Sessions>],
    wishes: mpsc::Receiver<Wish>,
    course: &'a Course,
    recording: &'a Recording,
    trace: &'a Trace,
    plan: &'a Plan,
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
        while let Some(now) = self.pass().await {
            if let Some((done, _)) = lease.take_if(|(_, until)| now >= *until) {
                // Goose may have given up waiting for it.
                let _ = done.send(());
            }
            if lease.is_some() {
                continue;
            }
            if self.course.over.is_cancelled() {
                break;
            }
            match self.wishes.try_recv() {
                Ok(Wish::Perform(done)) => lease = Some((done, now + LEASE)),
                Ok(Wish::Leave(left)) => return Some(left),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
        }
        None
    }

    /// Connects and performs the user's setup, where that was not done ahead; whether it may perform.
    async fn arrive(&mut self) -> bool {
        for performer in self.performers.iter_mut() {
            if performer.has_arrived() || performer.is_barred() {
                continue;
            }
            performer.session().connect().await;
            let result = performer.set_up(self.number).await;
            self.recording.user_failed("user_setup", &result);
        }
        self.performers.iter().all(Performer::has_arrived)
    }

    async fn depart(&mut self) {
        self.trace.leave();
        for (performer, variant) in self.performers.iter_mut().zip(self.plan.variants.iter()) {
            let result = performer.tear_down(self.number).await;
            self.recording.user_failed("user_teardown", &result);
            // Its connections and cookies go with it.
            performer.replace(variant.sessions(), Arc::clone(&variant.globals));
        }
    }

    /// One pass and the wait after it; when it ended, `None` when there was none left to start.
    async fn pass(&mut self) -> Option<Instant> {
        if let Some(throttle) = &self.course.shared.throttle {
            let turn = throttle.turn(Instant::now());
            self.wait_until(turn.checked_sub(TICK).unwrap_or(turn)).await;
        }
        let now = Instant::now();
        let (variant, number) = self.course.next_pass(now, self.recording.t0)?;
        self.recording
            .with(now, |recorder, at| recorder.flows(at.interval(now)).planned += 1);
        if now >= self.recording.t0 && self.trace.since.get().is_none() {
            self.trace.since.set(Some(now));
        }
        let (outcome, ended) = self.performers[variant]
            .pass(number, now, self.recording, &self.trace.flight)
            .await;
        self.trace.last_end.set(Some(ended));
        let mut wait = Duration::ZERO;
        // Without it a failure that needs no answer would be all that the thread does.
        if matches!(
            outcome,
            PassEnd::Failed(ErrorClass::Connect | ErrorClass::Parameter | ErrorClass::Rejected)
        ) {
            wait += AFTER_REFUSAL;
        }
        if let Some(think) = &self.course.shared.think {
            wait += think.length(self.seed, THINKING, number);
        }
        if !wait.is_zero() {
            self.wait_until(ended + wait).await;
        }
        Some(ended + wait)
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
