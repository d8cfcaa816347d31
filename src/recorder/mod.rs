//! Samples → histograms and intervals.
//!
//! A [`Recorder`] belongs to one thread: recording a sample takes no lock,
//! sends nothing and allocates nothing. Once a second it hands its filled
//! buffers to the [`Collector`] and takes emptied ones back. Neither knows why
//! an operation started or what its numbers are worth.

mod collector;
mod sample_log;
mod spill;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

pub use self::{
    collector::{Collector, Recorded, Second, Snapshot, StepRecorded, StepSecond},
    sample_log::SampleLog,
};
use crate::{
    run::Latency,
    sample::{ErrorClass, Outcome, Phases, RetryEnd, Sample},
};

/// Messages of failures are cut to this many characters.
const LONGEST_EXAMPLE: usize = 300;

/// Flow starts of one second, by what was planned and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowCounts {
    /// Due in this second.
    pub planned: u64,
    /// Started in this second.
    pub sent: u64,
    /// Due in this second and dropped.
    pub dropped: u64,
    /// Ended well in this second.
    pub completed: u64,
    /// Ended at a failed step in this second.
    pub failed: u64,
    /// Started in this second, not ended when the drain ended.
    pub unfinished: u64,
}

impl FlowCounts {
    fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.completed += other.completed;
        self.failed += other.failed;
        self.unfinished += other.unfinished;
    }
}

/// The latencies of one step in one second, by outcome; made when first needed.
#[derive(Debug, Default)]
struct StepBuffer {
    completed: Option<Box<Spans>>,
    failed: Option<Box<Spans>>,
    unfinished: Option<Box<Spans>>,
}

/// One latency per span.
#[derive(Debug, Default)]
struct Spans {
    response: Latency,
    service: Latency,
}

impl StepBuffer {
    fn spans(&mut self, outcome: Outcome) -> &mut Spans {
        match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::Unfinished => &mut self.unfinished,
        }
        .get_or_insert_default()
    }

    fn clear(&mut self) {
        for spans in [&mut self.completed, &mut self.failed, &mut self.unfinished]
            .into_iter()
            .flatten()
        {
            spans.response.clear();
            spans.service.clear();
        }
    }
}

/// What one thread recorded while an interval lasted: the operations that ended in
/// it, and flow starts by the interval they belong to, which may be an earlier one.
#[derive(Debug)]
struct Buffer {
    interval: u64,
    steps: Vec<StepBuffer>,
    flows: Vec<(u64, FlowCounts)>,
    /// Tries by interval and step, which may be an earlier interval too.
    attempts: Vec<((u64, usize), u64)>,
    /// Failures by interval, step and class.
    errors: Vec<((u64, usize, ErrorClass), u64)>,
    /// Every operation, where somebody wants them.
    samples: Vec<Sample>,
    dirty: bool,
}

impl Buffer {
    fn new(steps: usize) -> Self {
        Self {
            interval: 0,
            steps: (0..steps).map(|_| StepBuffer::default()).collect(),
            flows: Vec::with_capacity(4),
            attempts: Vec::new(),
            errors: Vec::new(),
            samples: Vec::new(),
            dirty: false,
        }
    }

    fn clear(&mut self) {
        if self.dirty {
            self.steps.iter_mut().for_each(StepBuffer::clear);
            self.flows.clear();
            self.attempts.clear();
            self.errors.clear();
            self.samples.clear();
            self.dirty = false;
        }
    }
}

/// How often one class of error happened at one step.
#[derive(Debug, Clone)]
struct ErrorTally {
    count: u64,
    first: Duration,
    last: Duration,
    example: Option<String>,
}

/// What a recorder hands over besides its buffers, once, at the end.
#[derive(Debug)]
struct Rest {
    phases: Vec<PhaseBuffer>,
    send_lag: Latency,
    errors: HashMap<(usize, ErrorClass), ErrorTally>,
    depth: Depth,
    users: UserTimes,
    user_failures: BTreeMap<&'static str, UserFailures>,
    tries: Vec<Tries>,
}

/// What became of the tries of one step over the whole window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tries {
    /// Tries that were not the first of their operation.
    pub retries: u64,
    /// Operations that completed after a retry.
    pub recovered: u64,
    /// Operations that failed at their last try.
    pub exhausted: u64,
}

impl Tries {
    fn add(&mut self, other: &Self) {
        self.retries += other.retries;
        self.recovered += other.recovered;
        self.exhausted += other.exhausted;
    }
}

/// The phases of one step over the whole window; made when first needed.
#[derive(Debug, Default)]
struct PhaseBuffer {
    acquire: Option<Box<Latency>>,
    connect: Option<Box<Latency>>,
    tls: Option<Box<Latency>>,
    first_byte: Option<Box<Latency>>,
    body: Option<Box<Latency>>,
}

impl PhaseBuffer {
    fn record(&mut self, phases: &Phases) {
        for (into, took) in [
            (&mut self.acquire, phases.acquire),
            (&mut self.connect, phases.connect),
            (&mut self.tls, phases.tls),
            (&mut self.first_byte, phases.first_byte),
            (&mut self.body, phases.body),
        ] {
            if let Some(took) = took {
                into.get_or_insert_default().record(nanoseconds(took));
            }
        }
    }
}

/// The most that was waiting and under way at once; over several threads an upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Due flow starts that waited for a session.
    pub queue: usize,
    /// Flows under way.
    pub in_flight: usize,
}

/// Virtual users whose own setup or teardown failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFailures {
    /// How often.
    pub count: u64,
    /// The first step that failed, and why.
    pub example: String,
}

/// How virtual users of the closed model spent the measured window, summed over all users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserTimes {
    /// Being there.
    pub present: Duration,
    /// Pausing, thinking, waiting for the throttle: not waiting for a target.
    pub waited: Duration,
}

enum Handover {
    Interval(Buffer),
    Rest(Box<Rest>),
}

/// Emptied buffers on their way back to the recorders.
type Spares = Arc<Mutex<Vec<Buffer>>>;

/// A thread's accumulator of samples.
#[derive(Debug)]
pub struct Recorder {
    current: Buffer,
    rest: Rest,
    keeps_samples: bool,
    to_collector: mpsc::UnboundedSender<Handover>,
    spares: Spares,
}

impl std::fmt::Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handover")
    }
}

impl Recorder {
    /// Counts one operation in an interval: the second in which it ended, or the slice in which it was due.
    pub fn record(&mut self, interval: u64, sample: &Sample, phases: &Phases) {
        self.advance(interval);
        if interval < self.current.interval {
            return self.record_late(interval, sample, phases);
        }
        self.count(sample, phases);
    }

    /// Counts what belongs to an interval that is handed over already.
    #[cold]
    fn record_late(&mut self, interval: u64, sample: &Sample, phases: &Phases) {
        let fresh = self.fresh(interval);
        let current = std::mem::replace(&mut self.current, fresh);
        self.count(sample, phases);
        let late = std::mem::replace(&mut self.current, current);
        let _ = self.to_collector.send(Handover::Interval(late));
    }

    fn count(&mut self, sample: &Sample, phases: &Phases) {
        self.current.dirty = true;
        if self.keeps_samples {
            self.current.samples.push(*sample);
        }
        let spans = self.current.steps[sample.step].spans(sample.outcome);
        spans.response.record(nanoseconds(sample.response_time()));
        spans.service.record(nanoseconds(sample.service_time()));
        self.rest.phases[sample.step].record(phases);
    }

    /// Counts a failure by its class; the first message of a class is kept.
    pub fn error(
        &mut self,
        interval: u64,
        step: usize,
        class: ErrorClass,
        at: Duration,
        message: impl FnOnce() -> Option<String>,
    ) {
        let Buffer { errors, dirty, .. } = &mut self.current;
        *dirty = true;
        let place = (interval, step, class);
        match errors.iter_mut().rfind(|(known, _)| *known == place) {
            Some((_, count)) => *count += 1,
            None => errors.push((place, 1)),
        }
        let tally = self.rest.errors.entry((step, class)).or_insert_with(|| ErrorTally {
            count: 0,
            first: at,
            last: at,
            example: message().map(|message| message.chars().take(LONGEST_EXAMPLE).collect()),
        });
        tally.count += 1;
        tally.last = at;
    }

    /// Counts a try that begins in that interval, of a step with a retry policy or a breaker.
    pub fn attempt(&mut self, interval: u64, step: usize, is_retry: bool) {
        self.rest.tries[step].retries += u64::from(is_retry);
        let Buffer { attempts, dirty, .. } = &mut self.current;
        *dirty = true;
        match attempts.iter_mut().rfind(|(place, _)| *place == (interval, step)) {
            Some((_, count)) => *count += 1,
            None => attempts.push(((interval, step), 1)),
        }
    }

    /// Counts what became of an operation that might be tried more than once.
    pub fn retry_ended(&mut self, step: usize, end: RetryEnd) {
        let tries = &mut self.rest.tries[step];
        match end {
            RetryEnd::Recovered => tries.recovered += 1,
            RetryEnd::Exhausted => tries.exhausted += 1,
        }
    }

    /// How late a flow was dispatched after it was due.
    pub fn lag(&mut self, lag: Duration) {
        self.rest.send_lag.record(nanoseconds(lag));
    }

    /// The counts of flow starts in that interval.
    pub fn flows(&mut self, interval: u64) -> &mut FlowCounts {
        let Buffer { flows, dirty, .. } = &mut self.current;
        *dirty = true;
        let known = flows.iter().rposition(|(known, _)| *known == interval);
        let index = known.unwrap_or_else(|| {
            flows.push((interval, FlowCounts::default()));
            flows.len() - 1
        });
        &mut flows[index].1
    }

    /// Notes how many flow starts wait and how many flows are under way.
    pub fn depth(&mut self, queue: usize, in_flight: usize) {
        let depth = &mut self.rest.depth;
        depth.queue = depth.queue.max(queue);
        depth.in_flight = depth.in_flight.max(in_flight);
    }

    /// Counts a virtual user whose own setup or teardown failed.
    pub fn user_failed(&mut self, part: &'static str, step: &str, reason: &str) {
        let failures = &mut self.rest.user_failures;
        let failures = failures.entry(part).or_insert_with(|| UserFailures {
            count: 0,
            example: format!("the step \"{step}\" failed: {reason}"),
        });
        failures.count += 1;
    }

    /// How virtual users of the closed model spent their time.
    pub fn users(&mut self) -> &mut UserTimes {
        &mut self.rest.users
    }

    /// Hands over the current interval if it has passed.
    pub fn advance(&mut self, interval: u64) {
        if interval > self.current.interval {
            self.hand_over(interval);
        }
    }

    fn fresh(&self, interval: u64) -> Buffer {
        let spare = self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = spare.unwrap_or_else(|| Buffer::new(self.current.steps.len()));
        Buffer { interval, ..fresh }
    }

    fn hand_over(&mut self, next: u64) {
        if self.current.dirty {
            let fresh = self.fresh(next);
            let full = std::mem::replace(&mut self.current, fresh);
            // Without a collector nobody wants the numbers.
            let _ = self.to_collector.send(Handover::Interval(full));
        }
        self.current.interval = next;
    }

    /// Hands over everything.
    pub fn finish(mut self) {
        self.hand_over(0);
        let _ = self.to_collector.send(Handover::Rest(Box::new(self.rest)));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(due_ms: u64, start_ms: u64, end_ms: u64, outcome: Outcome) -> Sample {
        let at = Duration::from_millis;
        Sample {
            step: 0,
            due: at(due_ms),
            start: at(start_ms),
            end: at(end_ms),
            outcome,
        }
    }

    #[test]
    fn samples_of_two_threads_meet_in_their_second_and_in_the_totals() {
        let mut collector = Collector::new(1);
        let (mut one, mut two) = (collector.recorder(), collector.recorder());
        one.record(0, &sample(0, 10, 30, Outcome::Completed), &Phases::default());
        one.record(
            1,
            &sample(1000, 1010, 1030, Outcome::Completed),
            &Phases {
                connect: Some(Duration::from_millis(5)),
                ..Phases::default()
            },
        );
        two.record(
            0,
            &sample(100, 110, 130, Outcome::Failed(ErrorClass::Timeout)),
            &Phases::default(),
        );
        two.error(0, 0, ErrorClass::Timeout, Duration::from_millis(130), || {
            Some("no answer".into())
        });
        two.record(2, &sample(1100, 1100, 2130, Outcome::Unfinished), &Phases::default());
        *one.flows(0) = FlowCounts {
            planned: 3,
            ..FlowCounts::default()
        };
        one.finish();
        two.finish();
        collector.receive_all();
        let recorded = collector.finish();

        let step = &recorded.steps[0];
        assert_eq!(
            (
                step.response_time.completed.count(),
                step.response_time.failed.count(),
                step.response_time.unfinished.count()
            ),
            (2, 1, 1)
        );
        assert_eq!(step.service_time.completed.sum_ns, 40_000_000);
        assert_eq!(step.connect.count(), 1);
        assert_eq!((step.errors[0].class, step.errors[0].count), (ErrorClass::Timeout, 1));
        assert_eq!(recorded.flows.planned, 3);
        let counts: Vec<(u64, u64, u64)> = recorded
            .intervals
            .iter()
            .map(|i| {
                (
                    i.k,
                    i.steps.first().map_or(0, |s| s.completed),
                    i.steps.first().map_or(0, |s| s.failed),
                )
            })
            .collect();
        assert_eq!(counts, [(0, 1, 1), (1, 1, 0), (2, 0, 0)]);
        assert_eq!(recorded.intervals[0].steps[0].response_time.decode().unwrap().len(), 2);
    }

    #[test]
    fn a_late_buffer_is_merged_into_its_second() {
        let mut collector = Collector::new(1);
        let (mut quick, mut late) = (collector.recorder(), collector.recorder());
        late.record(0, &sample(0, 0, 100, Outcome::Completed), &Phases::default());
        for second in 0..10 {
            quick.record(
                second,
                &sample(second * 1000, second * 1000, second * 1000 + 50, Outcome::Completed),
                &Phases::default(),
            );
        }
        collector.receive_all();
        late.finish();
        quick.finish();
        collector.receive_all();
        let recorded = collector.finish();
        assert_eq!(recorded.intervals[0].steps[0].completed, 2);
        assert_eq!(recorded.intervals[0].steps[0].response_sum_ns, 150_000_000);
        assert_eq!(recorded.intervals.len(), 10);
    }
}
