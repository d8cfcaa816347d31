//! Variants beside each other: epochs with fresh instances of all, each with
//! slices of load that take turns.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rand::seq::SliceRandom as _;

use super::{
    Setting, TrialError, assemble,
    generator::Watched,
    interruptible,
    links::Switches,
    lookout::{self, Lookout},
    servers::Servers,
    stage::{self, Stage},
    tried,
};
use crate::{
    comparison::{self, Next, Pairing, StepOf},
    executor::{self, Driven, Event, Injection, Plan, SlicePlan, Slices},
    recorder::Collector,
    run::{self, Accounting, Interval, Run, TargetActivity},
    stats::looks::{confirming, looks},
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

/// How much two instances of the same program are taken to differ, as a share, where they are not started anew.
const INSTANCE_SPREAD: f64 = 0.01;

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
    conduct: run::Conduct,
    resources: Vec<run::Resources>,
    usage: Vec<run::UsageOverTime>,
    activity: Vec<run::TargetActivity>,
    links: Vec<run::Link>,
    breakers: Vec<run::Breaker>,
    caches: Vec<run::Cache>,
    pools: Vec<run::Pool>,
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
    let (slice_plan, epochs) = slice_plan(workload, operation);
    let steps = workload.variants().map(|variant| variant.measured.len()).sum();
    let mut trial = Epochs {
        workload,
        servers,
        setting,
        slice_plan,
        collector: Collector::new(steps).with_sample_log(setting.samples.clone()),
        watched: Watched::default(),
        loaded: Duration::ZERO,
        slices: Vec::new(),
        conduct: conduct(workload, setting, epochs),
        resources: Vec::new(),
        usage: Vec::new(),
        activity: Vec::new(),
        links: Vec::new(),
        breakers: Vec::new(),
        caches: Vec::new(),
        pools: Vec::new(),
        targets: Vec::new(),
        incidents: Vec::new(),
        left_behind: Vec::new(),
        started: None,
    };
    let mut partial = None;
    let (mut epoch, mut end) = (0, epochs);
    while epoch < end {
        on_event(Event::Epoch(epoch + 1, end));
        match trial.epoch(epoch, on_event).await {
            Ok(()) => {}
            // With a census in hand there is something to tell.
            Err(error) if epoch == 0 && operation.is_none() => return Err(error),
            Err(TrialError::Interrupted) => {
                partial = Some(format!("interrupted before epoch {} of {end}", epoch + 1));
                break;
            }
            Err(error) => {
                partial = Some(format!("epoch {} of {end} could not begin: {error}", epoch + 1));
                break;
            }
        }
        epoch += 1;
        if setting.interrupt.stop.is_cancelled() {
            partial = Some(format!("interrupted in epoch {epoch} of {end}"));
            break;
        }
        end = trial.end_after(epoch, end);
    }
    Ok(trial.into_run(partial))
}

impl Epochs<'_> {
    /// Fresh instances of all variants, load in turns, and teardown.
    async fn epoch(&mut self, epoch: u32, on_event: &mut dyn FnMut(Event)) -> Result<(), TrialError> {
        let mut stages = set_up_all(self.workload, self.servers, self.setting, epoch).await?;
        let slices = Arc::new(Slices::of_epoch(&self.slice_plan, self.workload.seed, epoch));
        let plan = Plan {
            variants: with_trouble(variants(&stages), self.setting.injection),
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
        let switches = Switches::of(&stages, self.loaded);
        let mut look = |event: Event| {
            switches.look(&event);
            self.watched.look(event);
            lookout.look(event);
            on_event(event);
        };
        let driving = executor::drive(&plan, &mut self.collector, &mut look);
        let driven = stage::watch(&mut stages, self.servers, driving).await;
        let window = driven.as_ref().map_or(Duration::ZERO, |driven| driven.window);
        let loaded = slices.by_variant(stages.len(), window);
        let found = lookout.end(epoch, &loaded, lookout::PATIENCE_OF_EPOCHS).await;
        self.resources.extend(found.resources);
        let at_s = self.loaded.as_secs_f64();
        let of_target = |used: &run::UsageOverTime| (used.target.clone(), used.variant.clone());
        merge(&mut self.usage, found.usage, of_target, |known, later| {
            known.add(later, at_s);
        });
        let of_target = |seen: &TargetActivity| (seen.target.clone(), seen.variant.clone());
        merge(&mut self.activity, found.activity, of_target, |known, later| {
            known.activity.add(later.activity, at_s);
        });
        let of_target = |pool: &run::Pool| (pool.target.clone(), pool.variant.clone(), pool.flow.clone());
        merge(&mut self.pools, found.pools, of_target, |known, later| {
            known.add(later, at_s);
        });
        let guarded = |breaker: &run::Breaker| (breaker.target.clone(), breaker.variant.clone(), breaker.step.clone());
        merge(&mut self.breakers, tried::breakers(&plan), guarded, |known, later| {
            known.add(later, at_s);
        });
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

    /// When the trial ends, as far as is known after so many epochs.
    fn end_after(&mut self, epochs: u32, end: u32) -> u32 {
        if self.conduct.confirmation.is_some() {
            return end;
        }
        match self.look(epochs) {
            Next::GoOn => end,
            Next::Stop => epochs,
            Next::Confirm => {
                self.conduct.confirmation = Some(epochs);
                epochs + confirming(self.conduct.epochs as usize) as u32
            }
        }
    }

    /// Asks whether a verdict stands already.
    fn look(&mut self, epochs: u32) -> Next {
        if !self.conduct.looks.contains(&epochs) {
            return Next::GoOn;
        }
        let by_number = self.collector.intervals();
        let variants: Vec<String> = self.workload.variants().map(variant_name).collect();
        let steps = self.workload.variants().enumerate().flat_map(|(index, variant)| {
            let steps = variant.measured.iter();
            steps.map(move |step| StepOf {
                variant: index,
                name: step.name.clone(),
            })
        });
        let steps: Vec<StepOf> = steps.collect();
        let trial = Pairing {
            thresholds: &self.workload.thresholds,
            variants: &variants,
            steps: &steps,
            intervals: &intervals(&self.slices, &by_number),
            resources: &self.resources,
            conduct: &self.conduct,
            seed: self.workload.seed,
        };
        comparison::next(&trial, epochs)
    }

    async fn tear_down(&mut self, stages: Vec<Stage>) {
        let mut targets = Vec::new();
        for stage in stages {
            let gone = stage.tear_down().await;
            targets.extend(gone.targets);
            let of_target = |link: &run::Link| (link.target.clone(), link.variant.clone());
            merge(&mut self.links, gone.links, of_target, run::Link::add);
            let of_step = |cache: &run::Cache| (cache.step.clone(), cache.variant.clone());
            merge(&mut self.caches, gone.caches, of_step, |known, later| known.add(&later));
            add_new(&mut self.incidents, gone.incidents);
            add_new(&mut self.left_behind, gone.left_behind);
        }
        // What died in one epoch has died.
        for target in &mut targets {
            let same = |known: &&run::Target| known.name == target.name && known.variant == target.variant;
            let Some(known) = self.targets.iter().find(same) else {
                continue;
            };
            target.died |= known.died;
            for (member, known) in target.members.iter_mut().zip(&known.members) {
                member.operations += known.operations;
            }
        }
        self.targets = targets;
    }

    fn into_run(self, partial: Option<String>) -> Run {
        let mut recorded = self.collector.finish();
        recorded.intervals = intervals(&self.slices, &recorded.intervals);
        let window = recorded.intervals.iter().filter_map(|interval| interval.slice);
        let window: f64 = window.map(|slice| slice.length_s).sum();
        let driven = Driven {
            started: self.started.unwrap_or_else(Timestamp::now),
            window: Duration::from_secs_f64(window),
            aborted: None,
        };
        let variants = self.workload.variants().enumerate();
        let variants = variants.map(|(index, workload)| run::Variant {
            name: variant_name(workload),
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
            conduct: Some(self.conduct),
            resources: self.resources,
            usage: self.usage,
            activity: self.activity,
            links: self.links,
            breakers: self.breakers,
            caches: self.caches,
            pools: self.pools,
            targets: self.targets,
            incidents,
            left_behind: self.left_behind,
            partial: partial.or(run.partial),
            ..run
        }
    }
}

/// What was recorded of each slice.
fn intervals(slices: &[(u64, run::Slice)], by_number: &[Interval]) -> Vec<Interval> {
    let intervals = slices.iter().map(|(number, slice)| Interval {
        k: slice.start_s as u64,
        slice: Some(*slice),
        ..by_number.get(*number as usize).cloned().unwrap_or_default()
    });
    intervals.collect()
}

fn variant_name(workload: &Arc<Workload>) -> String {
    workload.variant_name().unwrap_or_default().to_owned()
}

/// The plan that the verdict will be held to.
fn conduct(workload: &Arc<Workload>, setting: &Setting, epochs: u32) -> run::Conduct {
    let mut looks = looks(epochs as usize).map(|look| look as u32).to_vec();
    looks.dedup();
    let own = workload.variants().all(|variant| variant.has_stores_of_its_own());
    let mut conduct = run::Conduct {
        unit: if own { run::Unit::Epoch } else { run::Unit::Pair },
        epochs,
        looks,
        inflation: setting.inflation,
        instance_spread: INSTANCE_SPREAD,
        plan: String::new(),
        confirmation: None,
    };
    conduct.plan = conduct.hash(&workload.thresholds, workload.seed);
    conduct
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

/// Adds what was counted later to what is known of the same thing, as `key` tells; what is new is added as it is.
fn merge<T, K: PartialEq>(known: &mut Vec<T>, later: Vec<T>, key: impl Fn(&T) -> K, add: impl Fn(&mut T, T)) {
    for later in later {
        let same = known.iter_mut().find(|known| key(known) == key(&later));
        match same {
            Some(known) => add(known, later),
            None => known.push(later),
        }
    }
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

/// The last variant gets the trouble.
fn with_trouble(variants: Arc<[executor::Variant]>, injection: Option<Injection>) -> Arc<[executor::Variant]> {
    let last = variants.len() - 1;
    let troubled = variants.iter().enumerate().map(|(index, variant)| executor::Variant {
        injection: injection.filter(|_| index == last),
        ..variant.clone()
    });
    troubled.collect()
}

fn length(load: &Load) -> Duration {
    match load.end {
        End::After(length) => length,
        // Not with variants.
        End::Passes(_) => Duration::ZERO,
    }
}

/// How an epoch is cut into slices, and how many epochs there are.
fn slice_plan(workload: &Arc<Workload>, operation: Option<Duration>) -> (SlicePlan, u32) {
    let variants = 1 + workload.others.len();
    let trial = &workload.trial;
    let of_operations = operation.unwrap_or_default() * OPERATIONS_OF_LEAD_IN;
    let lead_in = trial
        .lead_in
        .unwrap_or(of_operations.clamp(SHORTEST_LEAD_IN, LONGEST_LEAD_IN));
    let length_of_slice = trial.slice.unwrap_or(of_operations.clamp(SLICE, LONGEST_SLICE));
    let round = length_of_slice * variants as u32;
    let load = length(&workload.load);
    let epochs = trial.epochs(load, round);
    let rounds = load.as_secs_f64() / f64::from(epochs) / round.as_secs_f64();
    let plan = SlicePlan {
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
    };
    (plan, epochs)
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
