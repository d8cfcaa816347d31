//! Where the buffers of all threads meet: totals, and the timeline second by second.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    Buffer, Depth, ErrorTally, FlowCounts, Handover, PhaseBuffer, Recorder, Rest, Spans, Spares, StepBuffer, Tries,
    UserFailures, UserTimes,
    sample_log::SampleLog,
    spill::{ClosedSecond, Spill},
};
use crate::{
    run::{Encoded, ErrorCount, Interval, Latency, LatencyByOutcome, StepAttempts, StepErrors, StepInterval},
    sample::ErrorClass,
};

/// Seconds that are kept uncompressed for other threads to add to.
const OPEN_SECONDS: u64 = 3;

/// Gathers what recorders hand over.
#[derive(Debug)]
pub struct Collector {
    steps: usize,
    spares: Spares,
    sender: mpsc::UnboundedSender<Handover>,
    receiver: mpsc::UnboundedReceiver<Handover>,
    totals: Vec<StepRecorded>,
    open: BTreeMap<u64, Buffer>,
    closed: Spill,
    /// Closed seconds that nobody has looked at yet; kept only while somebody watches.
    watched: Option<Watched>,
    timeline: Vec<FlowCounts>,
    /// Tries by interval and step.
    attempts: BTreeMap<(u64, usize), u64>,
    /// Failures by interval, step and class.
    failures: BTreeMap<(u64, usize, ErrorClass), u64>,
    send_lag: Latency,
    errors: HashMap<(usize, ErrorClass), ErrorTally>,
    depth: Depth,
    users: UserTimes,
    user_failures: BTreeMap<&'static str, UserFailures>,
    finished: usize,
    sample_log: Option<Arc<SampleLog>>,
}

/// Seconds on their way to somebody who watches.
#[derive(Debug, Default)]
struct Watched {
    next: u64,
    closed: BTreeMap<u64, Second>,
}

/// A second that has passed, for those who watch a run.
#[derive(Debug, Default)]
pub struct Second {
    /// Since the start of the window, from 0.
    pub k: u64,
    /// Flow starts of it.
    pub flows: FlowCounts,
    /// Operations that ended in it, by index of the step.
    pub steps: Vec<StepSecond>,
}

/// What one step did in a second.
#[derive(Debug, Default)]
pub struct StepSecond {
    /// Operations that completed.
    pub completed: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Response times of both.
    pub response_time: Latency,
    /// Service times of both.
    pub service_time: Latency,
}

/// Everything recorded of one step.
#[derive(Debug, Default)]
pub struct StepRecorded {
    /// From due to end.
    pub response_time: LatencyByOutcome,
    /// From start to end.
    pub service_time: LatencyByOutcome,
    /// Waiting for connections of a pool.
    pub acquire: Latency,
    /// Making connections within operations.
    pub connect: Latency,
    /// Handshakes of TLS within operations.
    pub tls: Latency,
    /// From sending to the head of the answer.
    pub first_byte: Latency,
    /// From the head of the answer to its end.
    pub body: Latency,
    /// All tries, of a step with a retry policy or a breaker.
    pub attempts: u64,
    /// What became of them.
    pub tries: Tries,
    /// By class, most frequent first.
    pub errors: Vec<ErrorCount>,
}

/// Everything recorded in a measured window.
#[derive(Debug)]
pub struct Recorded {
    /// By index of the step.
    pub steps: Vec<StepRecorded>,
    /// Second by second, without gaps.
    pub intervals: Vec<Interval>,
    /// Flow starts over the whole window.
    pub flows: FlowCounts,
    /// How late flows were dispatched.
    pub send_lag: Latency,
    /// The most that waited and was under way.
    pub depth: Depth,
    /// How users of the closed model spent their time.
    pub users: UserTimes,
    /// Virtual users whose `user_setup` or `user_teardown` failed, by the name of that part.
    pub user_failures: BTreeMap<&'static str, UserFailures>,
}

/// The state in mid-run, for a progress line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Snapshot {
    /// Operations that completed so far.
    pub completed: u64,
    /// Operations that failed so far.
    pub failed: u64,
    /// Response times so far, nanoseconds.
    pub p50: Option<f64>,
    /// See `p50`.
    pub p99: Option<f64>,
    /// See `p50`.
    pub max: Option<f64>,
}

impl Collector {
    /// For a workload with that many measured steps.
    pub fn new(steps: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            steps,
            spares: Spares::default(),
            sender,
            receiver,
            totals: (0..steps).map(|_| StepRecorded::default()).collect(),
            open: BTreeMap::new(),
            closed: Spill::default(),
            watched: None,
            timeline: Vec::new(),
            attempts: BTreeMap::new(),
            failures: BTreeMap::new(),
            send_lag: Latency::new(),
            errors: HashMap::new(),
            depth: Depth::default(),
            users: UserTimes::default(),
            user_failures: BTreeMap::new(),
            finished: 0,
            sample_log: None,
        }
    }

    /// The same that also writes every operation.
    #[must_use]
    pub fn with_sample_log(self, sample_log: Option<Arc<SampleLog>>) -> Self {
        Self { sample_log, ..self }
    }

    /// A recorder for one thread.
    pub fn recorder(&self) -> Recorder {
        Recorder {
            current: Buffer::new(self.steps),
            rest: Rest {
                phases: (0..self.steps).map(|_| PhaseBuffer::default()).collect(),
                send_lag: Latency::new(),
                errors: HashMap::new(),
                depth: Depth::default(),
                users: UserTimes::default(),
                user_failures: BTreeMap::new(),
                tries: vec![Tries::default(); self.steps],
            },
            keeps_samples: self.sample_log.is_some(),
            to_collector: self.sender.clone(),
            spares: Arc::clone(&self.spares),
        }
    }

    /// Waits for the next buffer and takes it in.
    pub async fn receive(&mut self) {
        if let Some(handover) = self.receiver.recv().await {
            self.take(handover);
        }
    }

    /// Takes in all buffers that are there.
    pub fn receive_all(&mut self) {
        while let Ok(handover) = self.receiver.try_recv() {
            self.take(handover);
        }
    }

    /// How many recorders have finished.
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// What is known so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut all = Latency::new();
        let mut snapshot = Snapshot::default();
        for step in &self.totals {
            all.add(&step.response_time.completed);
            all.add(&step.response_time.failed);
            snapshot.completed += step.response_time.completed.count();
            snapshot.failed += step.response_time.failed.count();
        }
        Snapshot {
            p50: all.quantile(0.5),
            p99: all.quantile(0.99),
            max: all.max(),
            ..snapshot
        }
    }

    fn take(&mut self, handover: Handover) {
        match handover {
            Handover::Interval(buffer) => self.interval(buffer),
            Handover::Rest(rest) => self.rest(*rest),
        }
    }

    fn interval(&mut self, mut buffer: Buffer) {
        if let Some(sample_log) = &self.sample_log {
            sample_log.write(&std::mem::take(&mut buffer.samples));
        }
        for (total, step) in self.totals.iter_mut().zip(&buffer.steps) {
            total.add(step);
        }
        for (second, counts) in &buffer.flows {
            let second = *second as usize;
            if self.timeline.len() <= second {
                self.timeline.resize(second + 1, FlowCounts::default());
            }
            self.timeline[second].add(counts);
        }
        for (place, tried) in &buffer.attempts {
            *self.attempts.entry(*place).or_default() += tried;
        }
        for (place, failed) in &buffer.errors {
            *self.failures.entry(*place).or_default() += failed;
        }
        let second = buffer.interval;
        match self.open.get_mut(&second) {
            Some(open) => {
                for (into, from) in open.steps.iter_mut().zip(&buffer.steps) {
                    into.add(from);
                }
                self.recycle(buffer);
            }
            None => {
                self.open.insert(second, buffer);
            }
        }
        self.close_before(second.saturating_sub(OPEN_SECONDS));
    }

    fn rest(&mut self, rest: Rest) {
        for (total, phases) in self.totals.iter_mut().zip(&rest.phases) {
            total.add_phases(phases);
        }
        for (total, tries) in self.totals.iter_mut().zip(&rest.tries) {
            total.tries.add(tries);
        }
        self.depth.queue += rest.depth.queue;
        self.depth.in_flight += rest.depth.in_flight;
        self.users.present += rest.users.present;
        self.users.waited += rest.users.waited;
        for (part, failures) in rest.user_failures {
            self.user_failures
                .entry(part)
                .and_modify(|known| known.count += failures.count)
                .or_insert(failures);
        }
        self.send_lag.add(&rest.send_lag);
        for (key, tally) in rest.errors {
            self.errors
                .entry(key)
                .and_modify(|known| known.add(&tally))
                .or_insert(tally);
        }
        self.finished += 1;
    }

    /// Compresses the seconds before `second` and puts them away.
    fn close_before(&mut self, second: u64) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() < second) {
            let buffer = entry.remove();
            let steps = buffer.steps.iter().enumerate();
            let steps = steps.filter_map(|(index, step)| step.interval(index)).collect();
            self.closed.append(buffer.interval, steps);
            if let Some(watched) = &mut self.watched {
                let second = Second {
                    k: buffer.interval,
                    flows: FlowCounts::default(),
                    steps: buffer.steps.iter().map(StepBuffer::second).collect(),
                };
                // What comes after its second was looked at is looked at no more.
                if buffer.interval >= watched.next {
                    watched.closed.insert(buffer.interval, second);
                }
            }
            self.recycle(buffer);
        }
    }

    /// The seconds that have passed, each once and in order, those in which nothing
    /// ended too. The first call begins the watch; `elapsed` is the time since the window began.
    pub fn watch(&mut self, elapsed: Duration) -> Vec<Second> {
        self.watched.get_or_insert_default();
        let until = elapsed.as_secs().saturating_sub(OPEN_SECONDS);
        self.close_before(until);
        let Some(watched) = &mut self.watched else {
            return Vec::new();
        };
        let since = watched.next;
        watched.next = until.max(since);
        let second = |k| Second {
            k,
            flows: self.timeline.get(k as usize).copied().unwrap_or_default(),
            steps: watched.closed.remove(&k).map(|second| second.steps).unwrap_or_default(),
        };
        (since..until).map(second).collect()
    }

    /// One interval per second, those without operations included.
    fn timeline_of(&self, mut closed: BTreeMap<u64, Vec<StepInterval>>) -> Vec<Interval> {
        let Self {
            timeline: flows,
            attempts,
            failures,
            ..
        } = self;
        // Who failed has been tried, and is among the closed.
        let last = closed
            .last_key_value()
            .map_or(0, |(second, _)| second + 1)
            .max(attempts.last_key_value().map_or(0, |((second, _), _)| second + 1))
            .max(flows.len() as u64);
        (0..last)
            .map(|k| {
                let FlowCounts {
                    planned,
                    sent,
                    dropped,
                    completed,
                    failed,
                    unfinished,
                } = flows.get(k as usize).copied().unwrap_or_default();
                Interval {
                    k,
                    planned,
                    sent,
                    dropped,
                    completed,
                    failed,
                    unfinished,
                    steps: closed.remove(&k).unwrap_or_default(),
                    attempts: attempts
                        .range((k, 0)..=(k, usize::MAX))
                        .map(|((_, step), attempts)| StepAttempts {
                            step: *step,
                            attempts: *attempts,
                        })
                        .collect(),
                    errors: failures
                        .range((k, 0, ErrorClass::Connect)..)
                        .take_while(|((second, ..), _)| *second == k)
                        .map(|((_, step, class), count)| StepErrors {
                            step: *step,
                            class: *class,
                            count: *count,
                        })
                        .collect(),
                    slice: None,
                }
            })
            .collect()
    }

    fn recycle(&self, mut buffer: Buffer) {
        buffer.clear();
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    /// The timeline so far, while no load runs.
    pub fn intervals(&mut self) -> Vec<Interval> {
        self.close_before(u64::MAX);
        let closed = by_second(self.closed.seconds());
        self.timeline_of(closed)
    }

    /// The whole, once all recorders have finished.
    pub fn finish(mut self) -> Recorded {
        self.close_before(u64::MAX);
        let mut steps = std::mem::take(&mut self.totals);
        for ((step, class), tally) in std::mem::take(&mut self.errors) {
            steps[step].errors.push(ErrorCount {
                class,
                count: tally.count,
                example: tally.example,
                first_s: tally.first.as_secs_f64(),
                last_s: tally.last.as_secs_f64(),
            });
        }
        for step in &mut steps {
            step.errors
                .sort_by(|a, b| b.count.cmp(&a.count).then(a.class.cmp(&b.class)));
        }
        for ((_, step), tried) in &self.attempts {
            steps[*step].attempts += tried;
        }
        let mut flows = FlowCounts::default();
        self.timeline.iter().for_each(|counts| flows.add(counts));
        let closed = by_second(self.closed.seconds());
        let intervals = self.timeline_of(closed);
        Recorded {
            steps,
            intervals,
            flows,
            send_lag: self.send_lag,
            depth: self.depth,
            users: self.users,
            user_failures: self.user_failures,
        }
    }
}

/// What was put away, by second; what came late is merged into its second.
fn by_second(closed: Vec<ClosedSecond>) -> BTreeMap<u64, Vec<StepInterval>> {
    let mut seconds: BTreeMap<u64, Vec<StepInterval>> = BTreeMap::new();
    for (second, steps) in closed {
        let known = seconds.entry(second).or_default();
        for interval in steps {
            match known.iter_mut().find(|known| known.step == interval.step) {
                Some(known) => merge(known, &interval),
                None => known.push(interval),
            }
        }
    }
    seconds
}

impl StepRecorded {
    fn add(&mut self, buffer: &StepBuffer) {
        let StepRecorded {
            response_time: response,
            service_time: service,
            ..
        } = self;
        for (from, response, service) in [
            (&buffer.completed, &mut response.completed, &mut service.completed),
            (&buffer.failed, &mut response.failed, &mut service.failed),
            (&buffer.unfinished, &mut response.unfinished, &mut service.unfinished),
        ] {
            if let Some(spans) = from {
                response.add(&spans.response);
                service.add(&spans.service);
            }
        }
    }

    fn add_phases(&mut self, buffer: &PhaseBuffer) {
        for (into, from) in [
            (&mut self.acquire, &buffer.acquire),
            (&mut self.connect, &buffer.connect),
            (&mut self.tls, &buffer.tls),
            (&mut self.first_byte, &buffer.first_byte),
            (&mut self.body, &buffer.body),
        ] {
            if let Some(from) = from {
                into.add(from);
            }
        }
    }
}

impl ErrorTally {
    /// Of two threads the one that met it first tells the example.
    fn add(&mut self, other: &Self) {
        if other.first < self.first {
            self.example.clone_from(&other.example);
        }
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl StepBuffer {
    fn add(&mut self, from: &Self) {
        for (into, from) in [
            (&mut self.completed, &from.completed),
            (&mut self.failed, &from.failed),
            (&mut self.unfinished, &from.unfinished),
        ] {
            if let Some(from) = from {
                into.get_or_insert_default().add(from);
            }
        }
    }

    fn second(&self) -> StepSecond {
        let all = Spans::of([&self.completed, &self.failed]);
        StepSecond {
            completed: count(self.completed.as_deref()),
            failed: count(self.failed.as_deref()),
            response_time: all.response,
            service_time: all.service,
        }
    }

    /// Its form in the run; `None` where there was no operation in this second.
    fn interval(&self, step: usize) -> Option<StepInterval> {
        let missed = Spans::of([&self.failed, &self.unfinished]);
        let mut all = Spans::of([&self.completed]);
        all.add(&missed);
        (!all.response.is_empty()).then(|| StepInterval {
            step,
            completed: count(self.completed.as_deref()),
            failed: count(self.failed.as_deref()),
            unfinished: count(self.unfinished.as_deref()),
            response_sum_ns: all.response.sum_ns,
            response_time: all.response.encode(),
            service_sum_ns: all.service.sum_ns,
            service_time: all.service.encode(),
            missed: (!missed.response.is_empty()).then(|| [missed.response.encode(), missed.service.encode()]),
        })
    }
}

fn count(spans: Option<&Spans>) -> u64 {
    spans.map_or(0, |spans| spans.service.count())
}

impl Spans {
    /// Those of some outcomes together.
    fn of<const N: usize>(outcomes: [&Option<Box<Self>>; N]) -> Self {
        let mut all = Self::default();
        for spans in outcomes.into_iter().flatten() {
            all.add(spans);
        }
        all
    }

    fn add(&mut self, from: &Self) {
        self.response.add(&from.response);
        self.service.add(&from.service);
    }
}

/// Adds what came after the second was compressed.
fn merge(known: &mut StepInterval, late: &StepInterval) {
    known.completed += late.completed;
    known.failed += late.failed;
    known.unfinished += late.unfinished;
    known.response_sum_ns += late.response_sum_ns;
    known.service_sum_ns += late.service_sum_ns;
    merge_encoded(&mut known.response_time, &late.response_time);
    merge_encoded(&mut known.service_time, &late.service_time);
    match (&mut known.missed, &late.missed) {
        (Some(known), Some(late)) => {
            for (known, late) in known.iter_mut().zip(late) {
                merge_encoded(known, late);
            }
        }
        (known, late) => *known = known.take().or_else(|| late.clone()),
    }
}

fn merge_encoded(known: &mut Encoded, late: &Encoded) {
    let mut all = Latency::new();
    for encoded in [&*known, late] {
        // Both were encoded by this program a moment ago.
        let added = encoded.decode().map(|hdr| all.hdr.add(&hdr));
        debug_assert!(added.is_ok());
    }
    *known = all.encode();
}
