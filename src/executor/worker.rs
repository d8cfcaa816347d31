//! The threads that drive load: each with a current-thread runtime, a shard of
//! the virtual users, and a recorder of its own.

use std::{
    cell::RefCell,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    runtime::{self, LocalOptions},
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Event, Plan,
    attack::Attack,
    closed::{self, Course},
    open::{self, Bounds},
    pass::{Performer, Recording},
    pools::{self, Pools},
    schedule::{Arrival, Schedule},
    sessions,
    slices::Slice,
    unmeasured::Failed,
};
use crate::{
    pacer::{Pacer, prompt_thread},
    recorder::{Collector, Recorder},
    run::Model,
    target::Sessions,
    workload::{Arrivals, End, Profile, Rates},
};

/// Between the announcement of a start and the start, for all threads to hear of it.
const NOTICE: Duration = Duration::from_millis(10);

/// How many connections one thread makes at once, lest a slow handshake delays all others.
const CONNECTING_AT_ONCE: usize = 16;

/// Why load could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The system gave no thread or runtime.
    #[error("a worker could not be started: {0}")]
    Start(#[from] std::io::Error),
    /// A bug in loadgate.
    #[error("a worker ended by itself; please report this")]
    Died,
    /// Goose did not run.
    #[error("the users could not be started: {0}")]
    Goose(String),
}

/// What the workers wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connecting.
    Preparing,
    /// Load that is not measured, from this moment; open model only.
    WarmUp(Instant),
    /// The measured window begins at this moment.
    Measure(Instant),
    /// It will not begin.
    Cancelled,
}

/// What a thread reports when it is done: when its last pass ended.
type Finished = Option<Instant>;

/// All workers of one run.
pub(super) struct Workers {
    threads: Vec<JoinHandle<Result<Finished, WorkerError>>>,
    phase: watch::Sender<Phase>,
    /// Threads that have reached the end of the current phase, counted over all phases.
    ready: watch::Receiver<usize>,
    window_closed: CancellationToken,
    /// As long as it is there, pools are left open for whoever looks at the end of the window.
    pools_kept: Option<DropGuard>,
    window: Option<Duration>,
    attack: Option<Attack>,
    drain: Duration,
    /// How many recorders had finished before, in earlier epochs.
    finished_before: usize,
}

impl Workers {
    /// Starts the threads; they connect and wait.
    pub(super) fn start(plan: &Plan, collector: &Collector) -> Result<Self, WorkerError> {
        let profile = &plan.load.profile;
        let count = if pools::are_used(plan) {
            // All sessions share the pool, in the order of their asking: on one thread none has to
            // wake another, and the connections are where those are who use them.
            1
        } else {
            thread::available_parallelism()
                .map_or(1, usize::from)
                .min(sessions(profile))
        };
        let (phase, phases) = watch::channel(Phase::Preparing);
        let (report_ready, ready) = watch::channel(0);
        let window_closed = CancellationToken::new();
        let over = window_closed.clone();
        let let_go = CancellationToken::new();
        let (course, attack) = closed::prepare(plan, sessions(profile), count, over).unzip();
        let report_ready = Arc::new(report_ready);
        let mut threads = Vec::new();
        for index in 0..count {
            let worker = Worker {
                index,
                count,
                plan: plan.clone(),
                phases: phases.clone(),
                ready: Arc::clone(&report_ready),
                let_go: let_go.clone(),
            };
            let (course, recorder) = (course.clone(), RefCell::new(collector.recorder()));
            let mut runtime = runtime::Builder::new_current_thread();
            runtime.enable_all();
            threads.push(thread::Builder::new().name(format!("load-{index}")).spawn(move || {
                let runtime = runtime.build_local(LocalOptions::default())?;
                // As a task: what wakes the runtime's own future makes it look for events
                // by a system call before it goes on, what wakes a task does not.
                let load = runtime.spawn_local(async move {
                    let pools = Pools::open(&worker.plan).await;
                    let finished = match course {
                        None => worker.open(recorder).await,
                        Some(course) => worker.closed(&course, recorder).await,
                    };
                    worker.let_go.cancelled().await;
                    pools.close().await;
                    finished
                });
                runtime.block_on(load).map_err(|_| WorkerError::Died)
            })?);
        }
        let window = match plan.load.end {
            End::After(window) => Some(window),
            End::Passes(_) => None,
        };
        Ok(Self {
            threads,
            phase,
            ready,
            window_closed,
            pools_kept: Some(let_go.drop_guard()),
            window,
            attack,
            drain: plan.load.drain,
            finished_before: collector.finished(),
        })
    }

    /// Connects, warms up, and begins the measured window: when, or `None` if interrupted before.
    pub(super) async fn begin(
        &mut self,
        plan: &Plan,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Option<Instant>, WorkerError> {
        let stop = plan.interrupt.stop.clone();
        let begun = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            begun = self.warm_up(plan, on_event) => Some(begun?),
        };
        self.phase.send_replace(begun.map_or(Phase::Cancelled, Phase::Measure));
        if begun.is_none() {
            self.close_window();
        }
        Ok(begun)
    }

    async fn warm_up(&mut self, plan: &Plan, on_event: &mut dyn FnMut(Event)) -> Result<Instant, WorkerError> {
        let load = &plan.load;
        self.all_ready(1).await?;
        if let Some(attack) = &mut self.attack {
            let lead = attack.start().await?;
            on_event(Event::WarmUp);
            // Users perform from now on; what is due before the window is not recorded.
            return Ok(Instant::now() + NOTICE + lead);
        }
        if load.warm_up > Duration::ZERO {
            on_event(Event::WarmUp);
            self.phase.send_replace(Phase::WarmUp(Instant::now() + NOTICE));
            self.all_ready(2).await?;
        }
        Ok(Instant::now() + NOTICE)
    }

    /// Waits until all threads have come to the end of that phase.
    async fn all_ready(&self, phase: usize) -> Result<(), WorkerError> {
        let wanted = self.threads.len() * phase;
        let mut ready = self.ready.clone();
        tokio::select! {
            ready = ready.wait_for(|ready| *ready >= wanted) => ready.map(drop).map_err(|_| WorkerError::Died),
            () = self.any_ended() => Err(WorkerError::Died),
        }
    }

    /// Returns when a thread has ended, which only a bug makes it do before the window is over.
    pub(super) async fn any_ended(&self) {
        while !self.threads.iter().any(JoinHandle::is_finished) {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns when the measured window is over by itself.
    pub(super) async fn window_over(&self, t0: Instant) {
        match self.window {
            Some(window) => sleep_until(t0 + window).await,
            None => self.window_closed.cancelled().await,
        }
    }

    /// Nothing new starts from now on.
    pub(super) fn close_window(&self) {
        self.window_closed.cancel();
    }

    /// The end of the window has been looked at: pools may be closed.
    pub(super) fn let_go(&mut self) {
        self.pools_kept = None;
    }

    /// Waits until all recorders have handed over, for a little longer than the drain may take.
    pub(super) async fn drained(&self, collector: &mut Collector) {
        let all = async {
            while collector.finished() < self.finished_before + self.threads.len() {
                collector.receive().await;
            }
        };
        // A worker that died will be found by `end`.
        let _ = timeout(self.drain + Duration::from_secs(5), all).await;
    }

    /// Joins the threads; when the last pass ended.
    pub(super) async fn end(mut self) -> Result<Finished, WorkerError> {
        self.let_go();
        if let Some(attack) = self.attack {
            attack.stop().await;
        }
        let mut last = None;
        for thread in self.threads {
            while !thread.is_finished() {
                sleep(Duration::from_millis(1)).await;
            }
            last = last.max(thread.join().map_err(|_| WorkerError::Died)??);
        }
        Ok(last)
    }
}

/// One thread's share of the work.
struct Worker {
    index: usize,
    count: usize,
    plan: Plan,
    phases: watch::Receiver<Phase>,
    ready: Arc<watch::Sender<usize>>,
    let_go: CancellationToken,
}

impl Worker {
    /// Virtual users of this thread, those of all threads being dealt out in turn; each once for every variant.
    fn performers(&self, model: Model) -> Vec<Vec<Performer<'_, Sessions>>> {
        let Plan { variants, load, .. } = &self.plan;
        let one = |variant| Performer::new(variant, model, variant.sessions(), true);
        (self.index..sessions(&load.profile))
            .step_by(self.count)
            .map(|_| variants.iter().map(one).collect())
            .collect()
    }

    fn recording(&self, t0: Instant, recorder: Option<RefCell<Recorder>>) -> Recording {
        Recording {
            before: self.plan.before,
            slices: self.plan.slices.clone(),
            ..Recording::new(t0, recorder)
        }
    }

    fn report_ready(&self) {
        self.ready.send_modify(|ready| *ready += 1);
    }

    /// Waits for the next phase.
    async fn phase(&self, wanted: impl Fn(&Phase) -> bool) -> Phase {
        let mut phases = self.phases.clone();
        phases
            .wait_for(|phase| wanted(phase) || *phase == Phase::Cancelled)
            .await
            .map_or(Phase::Cancelled, |phase| *phase)
    }

    /// Connects the first `users` of all virtual users and performs their setup, some at a time; not for an interrupted run.
    async fn connect(
        &self,
        performers: &mut [Vec<Performer<'_, Sessions>>],
        users: usize,
        recorder: &RefCell<Recorder>,
    ) {
        let rehearsing = self.plan.slices.is_some();
        let numbered = (self.index..users).step_by(self.count).zip(performers);
        let numbered = numbered.flat_map(|(number, variants)| variants.iter_mut().map(move |one| (number, one)));
        let connected =
            stream::iter(numbered).for_each_concurrent(CONNECTING_AT_ONCE, |(number, performer)| async move {
                performer.session().connect().await;
                if let Err(Failed { step, reason }) = performer.set_up(number as u64).await {
                    recorder.borrow_mut().user_failed("user_setup", &step, &reason);
                } else if rehearsing {
                    performer.rehearse(number as u64).await;
                }
            });
        tokio::select! {
            () = connected => {}
            () = self.plan.interrupt.stop.cancelled() => {}
        }
    }

    async fn open(&self, recorder: RefCell<Recorder>) -> Finished {
        prompt_thread();
        let load = &self.plan.load;
        let mut performers = self.performers(Model::Open);
        self.connect(&mut performers, sessions(&load.profile), &recorder).await;
        performers.retain(|variants| !variants.iter().any(Performer::is_barred));
        self.report_ready();

        let mut pacer = Pacer::precise();
        if load.warm_up > Duration::ZERO
            && let Phase::WarmUp(t0) = self.phase(|phase| *phase != Phase::Preparing).await
        {
            let unrecorded = Recording::new(t0, None);
            let first = self.plan.workload().warm_up_pass(0);
            self.arrivals(&mut performers, load.warm_up, first, &unrecorded, &mut pacer)
                .await;
            self.report_ready();
        }

        let phase = self.phase(|phase| matches!(phase, Phase::Measure(_))).await;
        let t0 = match phase {
            Phase::Measure(t0) => t0,
            _ => Instant::now(),
        };
        let recording = self.recording(t0, Some(recorder));
        if let (Phase::Measure(_), End::After(window)) = (phase, load.end) {
            self.arrivals(&mut performers, window, 0, &recording, &mut pacer).await;
        }
        tear_down(&mut performers, self.index, &self.plan, self.count, &recording).await;
        recording.finish();
        Some(Instant::now())
    }

    /// This thread's share of the arrivals of one window, numbered from `first`, to the end of the drain.
    async fn arrivals(
        &self,
        performers: &mut [Vec<Performer<'_, Sessions>>],
        window: Duration,
        first: u64,
        recording: &Recording,
        pacer: &mut Pacer,
    ) {
        let Plan { interrupt, load, .. } = &self.plan;
        let Profile::Open { rates, queue, .. } = &load.profile else {
            return;
        };
        // The warm-up has the rate with which the window begins.
        let begin = Rates::constant(rates.start);
        let rates = if recording.recorder.is_some() { rates } else { &begin };
        let bounds = Bounds {
            // The places are dealt out in turn, as the performers are.
            queue: (queue + self.count - 1 - self.index) / self.count,
            window,
            drain: load.drain,
        };
        match &recording.slices {
            None => {
                let arrivals = self.share(rates, self.plan.workload().seed, window);
                let numbered = arrivals.map(|arrival| Arrival {
                    number: first + arrival.number,
                    ..arrival
                });
                open::run(performers, numbered, bounds, recording, pacer, interrupt).await;
            }
            Some(slices) => {
                let arrivals = slices.list().iter().flat_map(|slice| self.arrivals_of(slice, rates));
                open::run(performers, arrivals, bounds, recording, pacer, interrupt).await;
            }
        }
    }

    /// This thread's share of the arrivals of a slice: in all slices of a round at the same times.
    fn arrivals_of(&self, slice: &Slice, rates: &Rates) -> impl Iterator<Item = Arrival> + use<> {
        let slice = *slice;
        let round = u64::from(slice.round.unwrap_or(u32::MAX));
        let seed = self.plan.workload().seed.wrapping_add(round);
        let arrivals = self.share(rates, seed, slice.lead_in + slice.length);
        arrivals.map(move |arrival| Arrival {
            number: slice.first_pass + arrival.number,
            due: slice.begin + arrival.due,
            variant: slice.variant,
        })
    }

    /// This thread's share of all arrivals.
    fn share(&self, rates: &Rates, seed: u64, window: Duration) -> impl Iterator<Item = Arrival> + use<> {
        let spacing = match self.plan.load.profile {
            Profile::Open { arrivals, .. } => arrivals,
            Profile::Closed { .. } => Arrivals::Even,
        };
        let sessions = sessions(&self.plan.load.profile);
        Schedule::new(rates, spacing, seed, window).shard(self.index, self.count, sessions)
    }

    async fn closed(&self, course: &Course, recorder: RefCell<Recorder>) -> Finished {
        let mut performers = self.performers(Model::Closed);
        if let (Profile::Closed { users, .. }, false) = (&self.plan.load.profile, course.ramped) {
            self.connect(&mut performers, *users, &recorder).await;
        }
        self.report_ready();
        let lessees = course.lessees(self.index);
        // With a warm-up users perform before the window begins: that is not recorded.
        let recording = match self.phase(|phase| matches!(phase, Phase::Measure(_))).await {
            Phase::Measure(t0) => self.recording(t0, Some(recorder)),
            _ => {
                let recording = self.recording(Instant::now(), Some(recorder));
                tear_down(&mut performers, self.index, &self.plan, self.count, &recording).await;
                recording.finish();
                return None;
            }
        };
        let ended = closed::run(&mut performers, self.index, lessees, course, &recording, &self.plan).await;
        recording.finish();
        ended
    }
}

/// The teardown of the virtual users of one thread, who are numbered from `first`, within the drain time.
async fn tear_down(
    performers: &mut [Vec<Performer<'_, Sessions>>],
    first: usize,
    plan: &Plan,
    workers: usize,
    recording: &Recording,
) {
    let numbered = (first..).step_by(workers).zip(performers.iter_mut());
    let numbered = numbered.flat_map(|(number, variants)| variants.iter_mut().map(move |one| (number, one)));
    let all = stream::iter(numbered).for_each_concurrent(CONNECTING_AT_ONCE, |(number, performer)| async move {
        let result = performer.tear_down(number as u64).await;
        recording.user_failed("user_teardown", &result);
    });
    tokio::select! {
        () = all => {}
        () = sleep(plan.load.drain) => {}
        () = plan.interrupt.cut.cancelled() => {}
    }
    for performer in performers.iter().flatten() {
        performer.cut_off(recording);
    }
}
