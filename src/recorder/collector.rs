//! Where the buffers of all threads meet: totals, and the timeline second by second.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use tokio::sync::mpsc;

use super::{Buffer, ErrorTally, FlowCounts, Handover, Recorder, Rest, Spans, Spares, StepBuffer};
use crate::{
    run::{Encoded, ErrorCount, Interval, Latency, LatencyByOutcome, StepInterval},
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
    closed: BTreeMap<u64, Vec<StepInterval>>,
    timeline: Vec<FlowCounts>,
    send_lag: Latency,
    errors: HashMap<(usize, ErrorClass), ErrorTally>,
    finished: usize,
}

/// Everything recorded of one step.
#[derive(Debug, Default)]
pub struct StepRecorded {
    /// From due to end.
    pub response_time: LatencyByOutcome,
    /// From start to end.
    pub service_time: LatencyByOutcome,
    /// Making connections within operations.
    pub connect: Latency,
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
            closed: BTreeMap::new(),
            timeline: Vec::new(),
            send_lag: Latency::new(),
            errors: HashMap::new(),
            finished: 0,
        }
    }

    /// A recorder for one thread.
    pub fn recorder(&self) -> Recorder {
        Recorder {
            current: Buffer::new(self.steps),
            rest: Rest::default(),
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

    fn interval(&mut self, buffer: Buffer) {
        for (total, step) in self.totals.iter_mut().zip(&buffer.steps) {
            total.add(step);
        }
        let second = buffer.second;
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
        if self.timeline.len() < rest.timeline.len() {
            self.timeline.resize(rest.timeline.len(), FlowCounts::default());
        }
        for (into, from) in self.timeline.iter_mut().zip(&rest.timeline) {
            into.add(from);
        }
        self.send_lag.add(&rest.send_lag);
        for (key, tally) in rest.errors {
            self.errors
                .entry(key)
                .and_modify(|known| {
                    known.count += tally.count;
                    known.first = known.first.min(tally.first);
                    known.last = known.last.max(tally.last);
                })
                .or_insert(tally);
        }
        self.finished += 1;
    }

    /// Compresses the seconds before `second`.
    fn close_before(&mut self, second: u64) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() < second) {
            let buffer = entry.remove();
            let steps = self.closed.entry(buffer.second).or_default();
            for (index, step) in buffer.steps.iter().enumerate() {
                if let Some(interval) = step.interval(index) {
                    match steps.iter_mut().find(|known| known.step == index) {
                        Some(known) => merge(known, &interval),
                        None => steps.push(interval),
                    }
                }
            }
            self.recycle(buffer);
        }
    }

    fn recycle(&self, mut buffer: Buffer) {
        buffer.clear();
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    /// The whole, once all recorders have finished.
    pub fn finish(mut self) -> Recorded {
        self.close_before(u64::MAX);
        let mut steps = self.totals;
        for ((step, class), tally) in self.errors {
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
        let mut flows = FlowCounts::default();
        self.timeline.iter().for_each(|counts| flows.add(counts));
        let intervals = timeline(&self.timeline, self.closed);
        Recorded {
            steps,
            intervals,
            flows,
            send_lag: self.send_lag,
        }
    }
}

/// One interval per second, those without operations included.
fn timeline(flows: &[FlowCounts], mut closed: BTreeMap<u64, Vec<StepInterval>>) -> Vec<Interval> {
    let last = closed
        .last_key_value()
        .map_or(0, |(second, _)| second + 1)
        .max(flows.len() as u64);
    (0..last)
        .map(|k| {
            let FlowCounts {
                planned,
                sent,
                dropped,
                completed,
                failed,
                ..
            } = flows.get(k as usize).copied().unwrap_or_default();
            Interval {
                k,
                planned,
                sent,
                dropped,
                completed,
                failed,
                steps: closed.remove(&k).unwrap_or_default(),
            }
        })
        .collect()
}

impl StepRecorded {
    fn add(&mut self, buffer: &StepBuffer) {
        let StepRecorded {
            response_time: response,
            service_time: service,
            connect,
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
        if let Some(from) = &buffer.connect {
            connect.add(from);
        }
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
        if let Some(from) = &from.connect {
            self.connect.get_or_insert_default().add(from);
        }
    }

    /// Its form in the run; `None` where nothing ended in this second.
    fn interval(&self, step: usize) -> Option<StepInterval> {
        let mut all = Spans::default();
        for spans in [&self.completed, &self.failed].into_iter().flatten() {
            all.add(spans);
        }
        let count = |spans: &Option<Box<Spans>>| spans.as_ref().map_or(0, |spans| spans.service.count());
        (!all.response.is_empty()).then(|| StepInterval {
            step,
            completed: count(&self.completed),
            failed: count(&self.failed),
            response_sum_ns: all.response.sum_ns,
            response_time: all.response.encode(),
            service_sum_ns: all.service.sum_ns,
            service_time: all.service.encode(),
        })
    }
}

impl Spans {
    fn add(&mut self, from: &Self) {
        self.response.add(&from.response);
        self.service.add(&from.service);
    }
}

/// Adds what came after the second was compressed.
fn merge(known: &mut StepInterval, late: &StepInterval) {
    known.completed += late.completed;
    known.failed += late.failed;
    known.response_sum_ns += late.response_sum_ns;
    known.service_sum_ns += late.service_sum_ns;
    merge_encoded(&mut known.response_time, &late.response_time);
    merge_encoded(&mut known.service_time, &late.service_time);
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
