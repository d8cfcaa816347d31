//! Variants beside each other: epochs with fresh instances of all, each with
//! slices of load that take turns.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rand::seq::SliceRandom as _;

use super::{
    Setting, TrialError, assemble,
    generator::Watched,
    interruptible,
    lookout::{self, Lookout, add_activity},
    servers::Servers,
    stage::{self, Stage},
};
use crate::{
    executor::{self, Driven, Event, Plan, SlicePlan, Slices},
    recorder::Collector,
    run::{self, Accounting, Interval, Run},
    workload::{End, Load, Workload, stream},
};

/// The stream of random numbers that orders the variants of an epoch.
const ORDER: u64 = 0x6570_6f63;

/// The shortest lead-in that a scenario does not ask for.
const SHORTEST_LEAD_IN: Duration = Duration::from_millis(100);

/// The longest lead-in that a scenario does not ask for.
const LONGEST_LEAD_IN: Duration = Duration::from_secs(2);

/// Operations of average length that fit into a lead-in.
const OPERATIONS_OF_LEAD_IN: u32 = 20;

/// What is recorded of a slice that a scenario does not shape, where operations are short.
const SLICE: Duration = Duration::from_millis(250);

/// The same where they are long.
const LONGEST_SLICE: Duration = Duration::from_secs(2);

/// The shortest load on each variant at the begin of an epoch.
const SHORTEST_WARM_UP: Duration = Duration::from_millis(250);

/// The purpose of the numbers of warm-ups, and of all beyond it, see [`Workload::aside_pass`].
const WARMING_UP: u64 = 20;

/// A trial while it lasts.
struct Epochs<'t> {
    workload: &'t Arc<Workload>,
    servers: &'t mut Servers,
    setting: &'t Setting,
    slice_plan: SlicePlan,
    collector: Collector,
    watched: Watched,
    /// How long load has lasted so far.
    loaded: Duration,
    /// The slices that were recorded, by their numbers.
    slices: Vec<(u64, run::Slice)>,
    resources: Vec<run::Resources>,
    activity: Vec<run::TargetActivity>,
    targets: Vec<run::Target>,
    incidents: Vec<String>,
    left_behind: Vec<String>,
    started: Option<Timestamp>,
}

/// Loads all variants in turns, `operation` being the mean length of an operation of the slowest.
///
/// # Errors
/// When not even the first epoch could begin. What ends it later ends it with what was measured.
pub(super) async fn beside(
    workload: &Arc<Workload>,
    servers: &mut Servers,
    setting: &Setting,
    operation: Option<Duration>,
    on_event: &mut dyn FnMut(Event),
) -> Result<Run, TrialError> {
    let epochs = workload.trial.epochs(length(&workload.load));
    let steps = workload.variants().map(|variant| variant.measured.len()).sum();
    let mut trial = Epochs {
        workload,
        servers,
        setting,
        slice_plan: slice_plan(workload, epochs, operation),
        collector: Collector::new(steps),
        watched: Watched::default(),
        loaded: Duration::ZERO,
        slices: Vec::new(),
        resources: Vec::new(),
        activity: Vec::new(),
        targets: Vec::new(),
        incidents: Vec::new(),
        left_behind: Vec::new(),
        started: None,
    };
    let mut partial = None;
    for epoch in 0..epochs {
        on_event(Event::Epoch(epoch + 1, epochs));
        match trial.epoch(epoch, on_event).await {
            Ok(()) => {}
            // With a census in hand there is something to tell.
            Err(error) if epoch == 0 && operation.is_none() => return Err(error),
            Err(TrialError::Interrupted) => {
                partial = Some(format!("interrupted before epoch {} of {epochs}", epoch + 1));
                break;
            }
            Err(error) => {
                partial = Some(format!("epoch {} of {epochs} could not begin: {error}", epoch + 1));
                break;
            }
        }
        if setting.interrupt.stop.is_cancelled() {
            partial = Some(format!("interrupted in epoch {} of {epochs}", epoch + 1));
            break;
        }
    }
    Ok(trial.into_run(partial))
}

impl Epochs<'_> {
    /// Fresh instances of all variants, load in turns, and teardown.
    async fn epoch(&mut self, epoch: u32, on_event: &mut dyn FnMut(Event)) -> Result<(), TrialError> {
        let mut stages = set_up_all(self.workload, self.servers, self.setting, epoch).await?;
        let slices = Arc::new(Slices::of_epoch(&self.slice_plan, self.workload.seed, epoch));
        let plan = Plan {
            variants: variants(&stages),
            load: Load {
                end: End::After(slices.length()),
                warm_up: Duration::ZERO,
                ..self.workload.load.clone()
            },
            slices: Some(Arc::clone(&slices)),
            before: self.loaded,
            interrupt: self.setting.interrupt.clone(),
        };
        let mut lookout = Lookout::begin(&stages, self.servers).await;
        let mut look = |event: Event| {
            self.watched.look(event);
            lookout.look(event);
            on_event(event);
        };
        let driving = executor::drive(&plan, &mut self.collector, &mut look);
        let driven = stage::watch(&mut stages, self.servers, driving).await;
        let window = driven.as_ref().map_or(Duration::ZERO, |driven| driven.window);
        let loaded = slices.by_variant(stages.len(), window);
        let (used, seen) = lookout.end(epoch, &loaded, lookout::PATIENCE_OF_EPOCHS).await;
        self.resources.extend(used);
        add_activity(&mut self.activity, seen, self.loaded.as_secs_f64());
        self.tear_down(stages).await;
        let Driven { started, window, .. } = driven.map_err(|error| TrialError::Drive(error.to_string()))?;
        self.started.get_or_insert(started);
        self.note(epoch, &slices, window);
        self.loaded += slices.length();
        Ok(())
    }

    /// Remembers the slices that were loaded to their end, for what was recorded of them.
    fn note(&mut self, epoch: u32, slices: &Slices, window: Duration) {
        for (number, slice) in slices.numbered() {
            let Some(round) = slice.round else { continue };
            let begin = slice.begin + slice.lead_in;
            if begin >= window {
                continue;
            }
            let slice = run::Slice {
                epoch,
                round,
                variant: slice.variant,
                start_s: (self.loaded + begin).as_secs_f64(),
                length_s: slice.length.min(window - begin).as_secs_f64(),
            };
            self.slices.push((number, slice));
        }
    }

    async fn tear_down(&mut self, stages: Vec<Stage>) {
        let mut targets = Vec::new();
        for stage in stages {
            let gone = stage.tear_down().await;
            targets.extend(gone.targets);
            add_new(&mut self.incidents, gone.incidents);
            add_new(&mut self.left_behind, gone.left_behind);
        }
        // What died in one epoch has died.
        for target in &mut targets {
            let same = |known: &&run::Target| known.name == target.name && known.variant == target.variant;
            target.died |= self.targets.iter().find(same).is_some_and(|known| known.died);
        }
        self.targets = targets;
    }

    fn into_run(self, partial: Option<String>) -> Run {
        let mut recorded = self.collector.finish();
        let by_number = std::mem::take(&mut recorded.intervals);
        let intervals = self.slices.iter().map(|(number, slice)| Interval {
            k: slice.start_s as u64,
            slice: Some(*slice),
            ..by_number.get(*number as usize).cloned().unwrap_or_default()
        });
        recorded.intervals = intervals.collect();
        let window = recorded.intervals.iter().filter_map(|interval| interval.slice);
        let window: f64 = window.map(|slice| slice.length_s).sum();
        let driven = Driven {
            started: self.started.unwrap_or_else(Timestamp::now),
            window: Duration::from_secs_f64(window),
            aborted: None,
        };
        let variants = self.workload.variants().enumerate();
        let variants = variants.map(|(index, workload)| run::Variant {
            name: workload.variant_name().unwrap_or_default().to_owned(),
            accounting: accounting(&recorded.intervals, index),
            loaded_s: loaded(&recorded.intervals, index),
        });
        let variants = variants.collect();
        let run = assemble(
            self.workload,
            &self.workload.load,
            self.setting,
            driven,
            recorded,
            self.watched.generator(),
        );
        let mut incidents = run.incidents;
        incidents.extend(self.incidents);
        Run {
            variants,
            resources: self.resources,
            activity: self.activity,
            targets: self.targets,
            incidents,
            left_behind: self.left_behind,
            partial: partial.or(run.partial),
            ..run
        }
    }
}

/// Stages of all variants, in the order of the scenario, set up in an order of chance.
pub(super) async fn set_up_all(
    workload: &Arc<Workload>,
    servers: &Servers,
    setting: &Setting,
    epoch: u32,
) -> Result<Vec<Stage>, TrialError> {
    let variants: Vec<&Arc<Workload>> = workload.variants().collect();
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.shuffle(&mut stream(workload.seed, ORDER, u64::from(epoch)));
    let mut stages = Vec::new();
    for index in order {
        let stage = interruptible(setting, Stage::set_up(variants[index], servers, setting)).await?;
        stages.push((index, stage));
    }
    stages.sort_by_key(|(index, _)| *index);
    Ok(stages.into_iter().map(|(_, stage)| stage).collect())
}

/// Adds what was not told before.
pub(super) fn add_new(known: &mut Vec<String>, more: Vec<String>) {
    for told in more {
        if !known.contains(&told) {
            known.push(told);
        }
    }
}

/// The variants as load knows them, their steps numbered one after the other.
pub(super) fn variants(stages: &[Stage]) -> Arc<[executor::Variant]> {
    let mut first_step = 0;
    let variants = stages.iter().map(|stage| {
        let variant = stage.variant(first_step);
        first_step += stage.workload.measured.len();
        variant
    });
    variants.collect()
}

fn length(load: &Load) -> Duration {
    match load.end {
        End::After(length) => length,
        // Not with variants.
        End::Passes(_) => Duration::ZERO,
    }
}

fn slice_plan(workload: &Arc<Workload>, epochs: u32, operation: Option<Duration>) -> SlicePlan {
    let variants = 1 + workload.others.len();
    let trial = &workload.trial;
    let of_operations = operation.unwrap_or_default() * OPERATIONS_OF_LEAD_IN;
    let lead_in = trial
        .lead_in
        .unwrap_or(of_operations.clamp(SHORTEST_LEAD_IN, LONGEST_LEAD_IN));
    let length_of_slice = trial.slice.unwrap_or(of_operations.clamp(SLICE, LONGEST_SLICE));
    let round = length_of_slice.as_secs_f64() * variants as f64;
    let rounds = length(&workload.load).as_secs_f64() / f64::from(epochs) / round;
    SlicePlan {
        variants,
        rounds: (rounds.round() as u32).max(1),
        length: length_of_slice,
        lead_in,
        warm_up: workload.load.warm_up.max(SHORTEST_WARM_UP),
        shared: workload.others.iter().any(|other| workload.shares_a_store_with(other)),
        warm_up_passes: [
            workload.aside_pass(WARMING_UP, 0),
            workload.aside_pass(WARMING_UP + 1, 0) - workload.aside_pass(WARMING_UP, 0),
        ],
    }
}

/// Flow starts of one variant, each counted where it was met: that they add up is for others to check.
fn accounting(intervals: &[Interval], variant: usize) -> Accounting {
    let own = intervals
        .iter()
        .filter(|interval| interval.slice.is_some_and(|slice| slice.variant == variant));
    let mut sum = Accounting::default();
    for interval in own {
        sum.scheduled += interval.planned;
        sum.completed += interval.completed;
        sum.failed += interval.failed;
        sum.dropped += interval.dropped;
        sum.unfinished += interval.unfinished;
    }
    sum
}

fn loaded(intervals: &[Interval], variant: usize) -> f64 {
    let own = intervals.iter().filter_map(|interval| interval.slice);
    let own = own.filter(|slice| slice.variant == variant);
    own.map(|slice| slice.length_s).sum()
}
