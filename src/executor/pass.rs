//! One pass of a flow by one virtual user: the same for both load models.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Variant,
    injection::Trouble,
    slices::Slices,
    unmeasured::{self, Failed},
};
use crate::{
    pacer::Pacer,
    recorder::Recorder,
    run::Model,
    sample::{ErrorClass, Outcome, Phases, Sample},
    target::{self, Breakers, Reply, Session},
    workload::{Action, Step, Value, Values, Workload},
};

/// How often each flow is performed on new connections before variants are compared.
const REHEARSALS: u64 = 6;

/// The purpose of their numbers, see [`Workload::aside_pass`].
const REHEARSING: u64 = 0;

/// No flow is begun after so long a time.
const LONGEST_REHEARSAL: Duration = Duration::from_secs(5);

/// Where samples of one thread go, as offsets from the start of the window.
#[derive(Debug)]
pub struct Recording {
    /// The start of the window; passes due before it are warm-up and not recorded.
    pub t0: Instant,
    /// `None` while nothing is to be recorded at all.
    pub recorder: Option<RefCell<Recorder>>,
    /// How long load has lasted before the window, in earlier epochs.
    pub before: Duration,
    /// The slices of the window, where there are any: each is an interval of its own.
    pub slices: Option<Arc<Slices>>,
}

/// To which intervals what a pass did belongs.
pub(super) struct Place<'r> {
    recording: &'r Recording,
    /// The slice in which the pass was due.
    slice: Option<u64>,
}

impl Place<'_> {
    pub(super) fn offset(&self, moment: Instant) -> Duration {
        self.recording.offset(moment)
    }

    /// The slice, or the second of that moment.
    pub(super) fn interval(&self, moment: Instant) -> u64 {
        self.slice.unwrap_or_else(|| self.offset(moment).as_secs())
    }
}

impl Recording {
    /// For a window that begins at `t0`, without slices.
    pub fn new(t0: Instant, recorder: Option<RefCell<Recorder>>) -> Self {
        Self {
            t0,
            recorder,
            before: Duration::ZERO,
            slices: None,
        }
    }

    /// Lets `count` count, unless the pass was due before the window or in the lead-in of
    /// a slice. A pass and its operations are recorded together or not at all, however long it takes.
    pub(super) fn with(&self, pass_due: Instant, count: impl FnOnce(&mut Recorder, &Place<'_>)) {
        let Some(recorder) = self.recorder.as_ref().filter(|_| pass_due >= self.t0) else {
            return;
        };
        let slice = match &self.slices {
            None => None,
            Some(slices) => match slices.recording(pass_due - self.t0) {
                None => return,
                slice => slice,
            },
        };
        let place = Place { recording: self, slice };
        count(&mut recorder.borrow_mut(), &place);
    }

    /// Notes a virtual user whose own setup or teardown failed.
    pub(super) fn user_failed(&self, part: &'static str, result: &Result<(), Failed>) {
        if let (Err(Failed { step, reason }), Some(recorder)) = (result, &self.recorder) {
            recorder.borrow_mut().user_failed(part, step, reason);
        }
    }

    /// Hands over all that was recorded.
    pub(super) fn finish(self) {
        if let Some(recorder) = self.recorder {
            recorder.into_inner().finish();
        }
    }

    fn offset(&self, moment: Instant) -> Duration {
        self.before + moment.saturating_duration_since(self.t0)
    }
}

/// What a virtual user is in the middle of, readable after it was cut off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    /// When the pass was due.
    due: Instant,
    /// When it started.
    start: Instant,
    /// The operation under way: step, due, start.
    operation: Option<(usize, Instant, Instant)>,
    /// Since when it pauses, if it does.
    pausing: Option<Instant>,
}

/// A virtual user: its connections and the values of its current pass.
#[derive(Debug)]
pub struct Performer<'w, S> {
    workload: &'w Workload,
    /// Where its measured steps begin among those of all variants.
    first_step: usize,
    /// What setup saved, and what the user's own setup added.
    globals: Arc<[Option<Value>]>,
    model: Model,
    session: S,
    breakers: Breakers,
    /// Whether it is connected and has performed its own setup.
    arrived: bool,
    /// Whether its setup failed: it takes no part.
    barred: bool,
    values: Values<'w>,
    reply: Reply,
    pacer: Option<Pacer>,
    precise: bool,
    /// What is put into its operations on purpose.
    trouble: Option<Trouble>,
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassEnd {
    Completed,
    Failed(ErrorClass),
}

impl<'w, S: Session> Performer<'w, S> {
    /// A virtual user with its own session. `precise` pauses do not obey a paused clock.
    pub fn new(variant: &'w Variant, model: Model, session: S, precise: bool) -> Self {
        Self {
            workload: &variant.workload,
            first_step: variant.first_step,
            globals: Arc::clone(&variant.globals),
            model,
            session,
            breakers: variant.breakers.clone(),
            arrived: false,
            barred: false,
            values: Values::new(&variant.workload),
            reply: Reply::default(),
            pacer: None,
            precise,
            trouble: variant.injection.map(Trouble::new),
        }
    }

    /// Its connections.
    pub(super) fn session(&mut self) -> &mut S {
        &mut self.session
    }

    /// Performs the setup of virtual user number `number`, on its own connections.
    pub(super) async fn set_up(&mut self, number: u64) -> Result<(), Failed> {
        if self.arrived {
            return Ok(());
        }
        let workload = self.workload;
        if !workload.user_setup.is_empty() {
            self.values.begin(number, &self.globals);
            let Self {
                session, values, reply, ..
            } = self;
            self.barred = true;
            unmeasured::perform(&workload.user_setup, workload, session, values, reply).await?;
            self.barred = false;
            self.globals = self.values.saved().into();
        }
        self.session.settle();
        self.arrived = true;
        Ok(())
    }

    /// Performs the teardown of a virtual user that was set up.
    pub(super) async fn tear_down(&mut self, number: u64) -> Result<(), Failed> {
        if !self.arrived {
            return Ok(());
        }
        let workload = self.workload;
        self.values.begin(number, &self.globals);
        let Self {
            session, values, reply, ..
        } = self;
        let result = unmeasured::perform(&workload.user_teardown, workload, session, values, reply).await;
        self.arrived = false;
        result
    }

    /// Notes a teardown that has not come to its end and will not.
    pub(super) fn cut_off(&self, recording: &Recording) {
        if let (true, Some(step)) = (self.arrived, first_step(&self.workload.user_teardown)) {
            let step = step.name.clone();
            let reason = "it was cut off with the drain".into();
            recording.user_failed("user_teardown", &Err(Failed { step, reason }));
        }
    }

    /// Performs every flow so often that its statements are planned for good on these
    /// connections (PostgreSQL plans the first five executions of a prepared statement each
    /// by itself), as long as there is time. What fails here will fail where it is counted.
    pub(super) async fn rehearse(&mut self, user: u64) {
        let until = Instant::now() + LONGEST_REHEARSAL;
        let workload = self.workload;
        let first_pass = workload.aside_pass(REHEARSING, user * REHEARSALS);
        for number in first_pass..first_pass + REHEARSALS {
            for flow in &workload.flows {
                if Instant::now() >= until {
                    return;
                }
                self.values.begin(number, &self.globals);
                let Self {
                    session, values, reply, ..
                } = self;
                let _ = unmeasured::perform(&flow.actions, workload, session, values, reply).await;
            }
        }
    }

    /// Whether it was set up.
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived
    }

    /// Whether its setup failed.
    pub(super) fn is_barred(&self) -> bool {
        self.barred
    }

    /// Somebody else, with connections of its own, takes its place.
    pub(super) fn replace(&mut self, session: S, globals: Arc<[Option<Value>]>) {
        self.session = session;
        self.globals = globals;
        self.barred = false;
    }

    /// Performs pass number `number`; a failed step ends it. How it ended, and when.
    pub(super) async fn pass(
        &mut self,
        number: u64,
        due: Instant,
        recording: &Recording,
        flight: &Cell<Option<Flight>>,
    ) -> (PassEnd, Instant) {
        let workload = self.workload;
        if self.model == Model::Open {
            // Arrivals are strangers to each other, whichever session serves them.
            self.session.renew();
        }
        // What comes before the window finds no cache, and leaves none behind.
        self.session
            .use_caches(recording.recorder.is_some() && due >= recording.t0);
        self.values.begin(number, &self.globals);
        let since = due.saturating_duration_since(recording.t0);
        self.values.set_stage(workload.load.profile.stage_at(since));
        // A user of the closed model starts when it is due.
        let start = if self.model == Model::Closed {
            due
        } else {
            Instant::now()
        };
        flight.set(Some(Flight {
            due,
            start,
            operation: None,
            pausing: None,
        }));
        recording.with(due, |recorder, at| recorder.flows(at.interval(start)).sent += 1);

        let mut next_due = due;
        let end = self
            .actions(&workload.flow_of(number).actions, &mut next_due, recording, flight)
            .await;

        flight.set(None);
        let ended = Instant::now();
        recording.with(due, |recorder, at| {
            let flows = recorder.flows(at.interval(ended));
            match end {
                PassEnd::Completed => flows.completed += 1,
                PassEnd::Failed(_) => flows.failed += 1,
            }
        });
        (end, ended)
    }

    async fn actions(
        &mut self,
        actions: &'w [Action],
        due: &mut Instant,
        recording: &Recording,
        flight: &Cell<Option<Flight>>,
    ) -> PassEnd {
        for action in actions {
            match action {
                Action::Step(step) => {
                    if let PassEnd::Failed(class) = self.step(step, due, recording, flight).await {
                        return PassEnd::Failed(class);
                    }
                }
                Action::Pause(wait, purpose) => {
                    let (before, began) = (flight.get(), Instant::now());
                    *due += wait.length(self.workload.seed, *purpose, self.values.draw());
                    flight.set(before.map(|flight| Flight {
                        pausing: Some(began),
                        ..flight
                    }));
                    self.wait_until(*due).await;
                    flight.set(before);
                    if let Some(Flight { due, .. }) = before {
                        recording.with(due, |recorder, _| recorder.users().waited += began.elapsed());
                    }
                }
                Action::Repeat { times, actions } => {
                    for _ in 0..*times {
                        self.values.redraw();
                        if let PassEnd::Failed(class) = Box::pin(self.actions(actions, due, recording, flight)).await {
                            return PassEnd::Failed(class);
                        }
                    }
                }
            }
        }
        PassEnd::Completed
    }

    pub(super) async fn wait_until(&mut self, moment: Instant) {
        let precise = self.precise;
        self.pacer
            .get_or_insert_with(|| if precise { Pacer::precise() } else { Pacer::coarse() })
            .until(moment)
            .await;
    }

    /// Performs one step; the next is due when it ends.
    async fn step(
        &mut self,
        step: &Step,
        due: &mut Instant,
        recording: &Recording,
        flight: &Cell<Option<Flight>>,
    ) -> PassEnd {
        let before = flight.get();
        let index = self.first_step + step.index;
        if let Some(before) = before {
            let now = Instant::now();
            let due = if self.model == Model::Closed { now } else { *due };
            flight.set(Some(Flight {
                operation: Some((index, due, now)),
                ..before
            }));
        }
        let on_try = |again| {
            if let Some(Flight { due, .. }) = before {
                recording.with(due, |recorder, at| {
                    recorder.attempt(at.interval(Instant::now()), index, again);
                });
            }
        };
        let Self {
            session,
            values,
            reply,
            breakers,
            ..
        } = self;
        let (mut outcome, retried) = target::persist(session, step, values, reply, breakers, on_try).await;
        if let Some(trouble) = &mut self.trouble {
            outcome = trouble.meddle(recording.t0, &mut self.reply, outcome).await;
        }
        flight.set(before);
        if let Some(Flight { due: pass_due, .. }) = before {
            recording.with(pass_due, |recorder, at| {
                self.record(step, *due, outcome, recorder, at);
                if let Some(end) = retried {
                    recorder.retry_ended(index, end);
                }
            });
        }
        *due = self.reply.end;
        match outcome {
            Outcome::Failed(class) => PassEnd::Failed(class),
            Outcome::Completed | Outcome::Unfinished => PassEnd::Completed,
        }
    }

    fn record(&self, step: &Step, due: Instant, outcome: Outcome, recorder: &mut Recorder, at: &Place<'_>) {
        let Reply {
            start,
            end,
            phases,
            message,
            ..
        } = &self.reply;
        let due = if self.model == Model::Closed { *start } else { due };
        let index = self.first_step + step.index;
        let sample = Sample {
            step: index,
            due: at.offset(due),
            start: at.offset(*start),
            end: at.offset(*end),
            outcome,
        };
        let interval = at.interval(*end);
        recorder.record(interval, &sample, phases);
        if let Outcome::Failed(class) = outcome {
            let secrets = &self.workload.secrets;
            let message = || message.as_ref().map(|message| secrets.mask(message));
            recorder.error(interval, index, class, sample.end, message);
        }
    }
}

fn first_step(actions: &[Action]) -> Option<&Step> {
    actions.iter().find_map(|action| match action {
        Action::Step(step) => Some(step),
        Action::Repeat { actions, .. } => first_step(actions),
        Action::Pause(..) => None,
    })
}

impl Flight {
    /// Counts what was cut off, at what it had reached.
    pub(super) fn record_unfinished(&self, recording: &Recording, cut: Instant) {
        recording.with(self.due, |recorder, at| {
            recorder.flows(at.interval(self.start)).unfinished += 1;
            if let Some(since) = self.pausing {
                recorder.users().waited += cut.saturating_duration_since(since);
            }
            if let Some((step, due, start)) = self.operation {
                let sample = Sample {
                    step,
                    due: at.offset(due),
                    start: at.offset(start),
                    end: at.offset(cut),
                    outcome: Outcome::Unfinished,
                };
                recorder.record(at.interval(cut), &sample, &Phases::default());
            }
        });
    }
}
