//! Effects → where each limit stands: at each look, over all limits of all variants together.

use std::ops::Range;

use super::{
    Next, Pairing,
    effect::{Asked, Effect},
    units::units,
};
use crate::{
    comparison::{
        evidence::fewest_for_quantile,
        judge::{change_limit, scale_of},
        standing::Standing,
    },
    metric::{Measure, Statistic},
    run::{Interval, Unit, hash},
    stats::{
        Bounds, Scale,
        events::events_p_beyond,
        looks::{FEWEST_UNITS_FOR_CRITICAL, LOOKS, alpha, alpha_passing},
        multiple::holm,
    },
    threshold::{Limit, Threshold},
};

/// The level at which a critical finding is confirmed.
const CONFIRMING: f64 = 0.01;

/// Fewer operations than this on either side are not compared; quantiles need more.
const FEWEST_OPERATIONS: u64 = 20;

/// Failures that differ at this level forbid to call anything improved.
const FAILURES_DIFFER: f64 = 0.05;

/// A pass that says more, or a warning that wanted to be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Even a change worth a warning is ruled out.
    NoChange,
    /// It is better, by more than would be a warning if it were worse.
    Improved,
    /// It was critical, and fresh epochs did not confirm it.
    Unconfirmed,
}

impl Label {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoChange => "no change",
            Self::Improved => "improved",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// What is known of one threshold of one variant.
#[derive(Debug, Clone)]
pub(in crate::comparison) struct Decision {
    /// Of its critical limit, if that is relative.
    pub(in crate::comparison) critical: Option<Decided>,
    /// Of its warning limit, if that is relative.
    pub(in crate::comparison) warning: Option<Decided>,
    pub(in crate::comparison) label: Option<Label>,
    /// Fresh epochs that were to confirm a critical finding, where there were any.
    pub(in crate::comparison) confirmation: Option<u32>,
}

/// What is known of one limit.
#[derive(Debug, Clone)]
pub(in crate::comparison) struct Decided {
    pub(in crate::comparison) standing: Standing,
    /// What was measured, where it could be compared.
    pub(in crate::comparison) measured: Option<Measured>,
}

/// The figures of a decision.
#[derive(Debug, Clone, Copy)]
pub(in crate::comparison) struct Measured {
    /// Of reference and candidate.
    pub(in crate::comparison) values: [f64; 2],
    /// How much worse.
    pub(in crate::comparison) change: f64,
    /// 95 %.
    pub(in crate::comparison) interval: Bounds,
}

/// The levels of one look.
#[derive(Clone, Copy)]
struct Levels {
    /// For what is worse, over all limits.
    reject: f64,
    /// For ruling out that something is worse.
    pass: f64,
    /// Fewer observations are never critical.
    fewest: usize,
}

/// One limit of one variant.
struct Question<'a> {
    variant: usize,
    threshold: &'a Threshold,
}

/// What a look says of a question: the effect on each limit's own scale.
struct Answer {
    warning: Option<Side>,
    critical: Option<Side>,
}

/// A limit and the effect that is held against it, or why there is none.
type Side = (Limit, Result<Effect, String>);

pub(super) fn next(trial: &Pairing<'_>, epochs: u32) -> Next {
    let looks = &trial.conduct.looks;
    let Some(number) = looks.iter().position(|look| *look == epochs) else {
        return Next::GoOn;
    };
    let decisions = look(trial, &questions(trial), &(0..epochs), levels(number, looks.len()));
    match () {
        () if decisions.iter().any(Decision::is_critical) => Next::Confirm,
        () if number + 1 == looks.len() || decisions.iter().all(Decision::is_settled) => Next::Stop,
        () => Next::GoOn,
    }
}

/// The decisions on all thresholds of all variants but the first, in that order, after all looks
/// that were taken; none on those that are not about slices. Beside them after how many epochs they stood.
pub(in crate::comparison) fn decide(trial: &Pairing<'_>) -> (Vec<Option<Decision>>, u32) {
    let questions = questions(trial);
    let (mut decisions, epochs) = first_stage(trial, &questions);
    if let Some(confirmation) = trial.conduct.confirmation {
        confirm(trial, &questions, confirmation, &mut decisions);
    }
    for decision in decisions.iter_mut().filter(|decision| decision.confirmation.is_none()) {
        decision.unconfirm();
    }
    let mut decisions = questions
        .iter()
        .map(|question| place(trial, question))
        .zip(decisions)
        .peekable();
    let all = (trial.variants.len().saturating_sub(1)) * trial.thresholds.len();
    let placed = (0..all).map(|at| {
        decisions
            .next_if(|(place, _)| *place == at)
            .map(|(_, decision)| decision)
    });
    (placed.collect(), epochs)
}

/// One limit of the first candidate, as an estimator sees it.
pub(in crate::comparison) struct Studied<'a> {
    pub(in crate::comparison) threshold: &'a Threshold,
    /// On the scale of the estimator: of logarithms, or points.
    pub(in crate::comparison) change: f64,
    /// Its standard error with degrees of freedom, where it has one.
    pub(in crate::comparison) error: Option<[f64; 2]>,
    /// How much worse is a warning, on the same scale.
    pub(in crate::comparison) warning: Option<f64>,
}

/// What the first stage of a trial says of its first candidate, and how many epochs that was.
pub(in crate::comparison) fn study<'a>(trial: &Pairing<'a>) -> (Vec<Studied<'a>>, u32) {
    let questions = questions(trial);
    let (_, epochs) = first_stage(trial, &questions);
    let studied = questions
        .iter()
        .filter(|question| question.variant == 1)
        .filter_map(|question| {
            let answer = answer(trial, question, &(0..epochs));
            let effect = answer.any()?;
            let (change, error) = effect.estimated();
            let warning = answer
                .warning
                .as_ref()
                .map(|(limit, _)| effect.inner(size(*limit, effect)));
            Some(Studied {
                threshold: question.threshold,
                change,
                error,
                warning,
            })
        });
    (studied.collect(), epochs)
}

/// The looks as the trial took them, up to the one that ended it.
fn first_stage(trial: &Pairing<'_>, questions: &[Question<'_>]) -> (Vec<Decision>, u32) {
    let looks = &trial.conduct.looks;
    let loaded = epochs(trial.intervals, trial.conduct.confirmation);
    for (number, end) in looks.iter().enumerate().filter(|(_, end)| **end <= loaded) {
        let decisions = look(trial, questions, &(0..*end), levels(number, looks.len()));
        let ends = decisions.iter().any(Decision::is_critical) || decisions.iter().all(Decision::is_settled);
        if ends || *end == loaded {
            return (decisions, *end);
        }
    }
    // Interrupted between two looks: the next one comes early.
    let taken = looks.iter().filter(|end| **end <= loaded).count();
    (look(trial, questions, &(0..loaded), levels(taken, taken + 1)), loaded)
}

/// Fresh epochs decide whether what was critical is so; their estimate is the one that is told,
/// because the first one was chosen for being large.
fn confirm(trial: &Pairing<'_>, questions: &[Question<'_>], begin: u32, decisions: &mut [Decision]) {
    let end = epochs(trial.intervals, None);
    let critical: Vec<usize> = (0..questions.len()).filter(|at| decisions[*at].is_critical()).collect();
    let asked: Vec<Question<'_>> = critical.iter().map(|at| Question { ..questions[*at] }).collect();
    let levels = Levels {
        reject: CONFIRMING,
        pass: CONFIRMING,
        fewest: 0,
    };
    if end <= begin {
        return;
    }
    for (at, second) in critical.into_iter().zip(look(trial, &asked, &(begin..end), levels)) {
        let first = &mut decisions[at];
        if !second.is_critical() {
            first.unconfirm();
        }
        first.tell(second);
        first.confirmation = Some(end - begin);
    }
}

/// Epochs with load, up to the one with that number.
fn epochs(intervals: &[Interval], before: Option<u32>) -> u32 {
    let loaded = intervals.iter().filter_map(|interval| interval.slice);
    let loaded = loaded.map(|slice| slice.epoch.saturating_add(1)).max().unwrap_or(0);
    before.map_or(loaded, |before| loaded.min(before))
}

/// What is spent at a look; the last one has all that is left.
fn levels(number: usize, looks: usize) -> Levels {
    let last = number + 1 >= looks;
    let spent = |level: fn(usize) -> f64| match last {
        true => (number.min(LOOKS - 1)..LOOKS).map(level).sum(),
        false => level(number),
    };
    Levels {
        reject: spent(alpha),
        pass: spent(alpha_passing),
        fewest: FEWEST_UNITS_FOR_CRITICAL,
    }
}

/// Every relative limit on what slices tell of, for every variant.
fn questions<'a>(trial: &Pairing<'a>) -> Vec<Question<'a>> {
    let of_slices = |threshold: &&Threshold| {
        let relative = [threshold.warning, threshold.critical]
            .into_iter()
            .flatten()
            .any(|limit| limit.is_relative());
        relative && !threshold.metric.measure.is_exact()
    };
    let variants = 1..trial.variants.len();
    let questions = variants.flat_map(|variant| {
        let asked = trial.thresholds.iter().filter(of_slices);
        asked.map(move |threshold| Question { variant, threshold })
    });
    questions.collect()
}

/// Where a question stands among all thresholds of all variants.
fn place(trial: &Pairing<'_>, question: &Question<'_>) -> usize {
    let at = trial
        .thresholds
        .iter()
        .position(|known| std::ptr::eq(known, question.threshold));
    (question.variant - 1) * trial.thresholds.len() + at.unwrap_or(0)
}

/// One look at these epochs.
fn look(trial: &Pairing<'_>, questions: &[Question<'_>], epochs: &Range<u32>, levels: Levels) -> Vec<Decision> {
    let answers: Vec<Answer> = questions
        .iter()
        .map(|question| answer(trial, question, epochs))
        .collect();
    // Three families of hypotheses: not worse, worse by no more than a warning, not better.
    let adjusted = |p: &dyn Fn(&Answer) -> Option<f64>| {
        let asked: Vec<(usize, f64)> = answers
            .iter()
            .enumerate()
            .filter_map(|(at, answer)| Some((at, p(answer)?)))
            .collect();
        let values: Vec<f64> = asked.iter().map(|(_, p)| *p).collect();
        let mut all = vec![1.0; answers.len()];
        for ((at, _), p) in asked.iter().zip(holm(&values)) {
            all[*at] = p;
        }
        all
    };
    let worse = adjusted(&|answer| Some(answer.any()?.p_beyond(0.0)));
    let critical = adjusted(&|answer| {
        let (_, effect) = answer.critical.as_ref()?;
        Some(effect.as_ref().ok()?.p_beyond(answer.below()))
    });
    let better = adjusted(&|answer| Some(answer.any()?.p_better()));
    let failures = questions
        .iter()
        .map(|question| failures_differ(trial, question, epochs));
    let decisions = answers
        .iter()
        .zip(failures)
        .enumerate()
        .map(|(at, (answer, failures_differ))| {
            let enough = answer.any().is_some_and(|effect| effect.units >= levels.fewest);
            let decide = |side: &Option<Side>, certain: bool, below: f64| {
                let (limit, effect) = side.as_ref()?;
                Some(decided(*limit, effect, certain, below, levels))
            };
            let decision = Decision {
                critical: decide(
                    &answer.critical,
                    enough && critical[at] <= levels.reject,
                    answer.below(),
                ),
                warning: decide(&answer.warning, worse[at] <= levels.reject, 0.0),
                label: None,
                confirmation: None,
            };
            let label = answer.label(levels, better[at] <= levels.reject && !failures_differ);
            Decision {
                label: label.filter(|_| !decision.is_broken()),
                ..decision
            }
        });
    decisions.collect()
}

/// Where a limit stands, given whether it is certain that the change is beyond `below`.
fn decided(limit: Limit, effect: &Result<Effect, String>, certain: bool, below: f64, levels: Levels) -> Decided {
    let effect = match effect {
        Ok(effect) => effect,
        Err(why) => {
            let standing = Standing::Unknown(why.clone());
            return Decided {
                standing,
                measured: None,
            };
        }
    };
    let (size, change, upper) = (size(limit, effect), effect.change(), effect.upper(levels.pass));
    // With a limit of +0%, no worsening is still no break.
    let beyond = change >= size && change > 0.0;
    let interval = effect.interval();
    let standing = match () {
        () if beyond && certain => Standing::Broken,
        () if upper < size || upper <= 0.0 => Standing::RuledOut,
        () => {
            // The width of an interval falls with the root of the load.
            let (width, distance) = match beyond {
                true => (change - interval[0], change - below),
                false => (upper - change, size - change),
            };
            Standing::Open {
                beyond,
                load: (width / distance).powi(2),
            }
        }
    };
    let measured = Measured {
        values: effect.values,
        change,
        interval,
    };
    Decided {
        standing,
        measured: Some(measured),
    }
}

fn size(limit: Limit, effect: &Effect) -> f64 {
    change_limit(limit, effect.values[0])
}

fn answer(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> Answer {
    let Question { threshold, .. } = question;
    let relative = |limit: Option<Limit>| limit.filter(Limit::is_relative);
    let (warning, critical) = (relative(threshold.warning), relative(threshold.critical));
    let effect = |limit: Limit| (limit, estimate(trial, question, scale_of(limit), epochs));
    let first = critical.map(effect);
    // Resampling takes its time: where both limits are of one kind it is done once.
    let second = warning.map(|limit| match &first {
        Some((known, effect)) if scale_of(*known) == scale_of(limit) => (limit, effect.clone()),
        _ => effect(limit),
    });
    Answer {
        warning: second,
        critical: first,
    }
}

fn estimate(trial: &Pairing<'_>, question: &Question<'_>, scale: Scale, epochs: &Range<u32>) -> Result<Effect, String> {
    let Question { variant, threshold } = question;
    let steps = steps(trial, question);
    // Processes are started with an epoch: what they use is known by epoch only.
    let by_epoch = threshold.metric.measure == Measure::CpuPerOperation;
    let conduct = crate::run::Conduct {
        unit: if by_epoch { Unit::Epoch } else { trial.conduct.unit },
        ..trial.conduct.clone()
    };
    let trial = Pairing {
        conduct: &conduct,
        ..*trial
    };
    let units = units(&trial, *variant, epochs);
    enough(&units, &steps, threshold)?;
    let shared_luck = match conduct.unit {
        Unit::Epoch => 0.0,
        // The same two instances all the time: they differ by a luck of their own.
        Unit::Pair => 2.0 * conduct.instance_spread.powi(2),
    };
    let asked = Asked {
        metric: threshold.metric,
        scale,
        steps,
        cpu_ns: &|epoch| cpu_ns(&trial, [0, *variant], epoch),
        seed: seed(&trial, question, epochs),
        wider: [conduct.inflation.max(1.0), shared_luck],
    };
    asked.of(&units)
}

/// Too few operations for a comparison are told as such.
fn enough(units: &[super::units::Unit<'_>], steps: &[Vec<usize>; 2], threshold: &Threshold) -> Result<(), String> {
    let counts = units
        .iter()
        .map(|unit| unit.totals(steps, |step| [0.0, step.completed as f64 + step.failed as f64]));
    let counts = counts.fold([0.0; 2], |sum, unit| {
        [sum[0] + unit.reference[1], sum[1] + unit.candidate[1]]
    });
    let needed = match threshold.metric.measure {
        Measure::Latency(_, Statistic::Quantile(q)) => fewest_for_quantile(q).max(FEWEST_OPERATIONS),
        _ => FEWEST_OPERATIONS,
    };
    let [before, now] = counts;
    (before.min(now) >= needed as f64).then_some(()).ok_or_else(|| {
        format!("too few samples: {now} operations, {before} of the reference; a comparison needs {needed} of each")
    })
}

/// Indices of the steps that a question is about, of the reference and of the candidate.
fn steps(trial: &Pairing<'_>, question: &Question<'_>) -> [Vec<usize>; 2] {
    [0, question.variant].map(|variant| {
        let own = trial
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.variant == variant);
        let meant = own.filter(|(_, step)| {
            question
                .threshold
                .step
                .as_ref()
                .is_none_or(|wanted| *wanted == step.name)
        });
        meant.map(|(index, _)| index).collect()
    })
}

/// The CPU time of both variants' own targets in the recorded part of an epoch.
fn cpu_ns(trial: &Pairing<'_>, variants: [usize; 2], epoch: u32) -> Option<[f64; 2]> {
    let used = |variant: usize| {
        let slices = trial.intervals.iter().filter_map(|interval| interval.slice);
        let own = slices.filter(|slice| slice.epoch == epoch && slice.variant == variant);
        let recorded_s: f64 = own.map(|slice| slice.length_s).sum();
        let name = trial.variants.get(variant)?;
        let used = trial
            .resources
            .iter()
            .filter(|used| used.epoch == epoch && used.variant.as_ref() == Some(name));
        used.map(|used| used.cpu_s * 1e9 * recorded_s / used.loaded_s)
            .reduce(|sum, more| sum + more)
    };
    Some([used(variants[0])?, used(variants[1])?])
}

/// Whether the shares of failed operations differ, in whatever direction.
fn failures_differ(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> bool {
    let steps = steps(trial, question);
    let mut counts = [[0_u64; 2]; 2];
    for unit in units(trial, question.variant, epochs) {
        let totals = unit.totals(&steps, |step| {
            [step.failed as f64, step.completed as f64 + step.failed as f64]
        });
        for (sum, side) in counts.iter_mut().zip([totals.reference, totals.candidate]) {
            sum[0] += side[0] as u64;
            sum[1] += side[1] as u64;
        }
    }
    let [reference, candidate] = counts;
    let either = events_p_beyond(reference, candidate, 0.0).min(events_p_beyond(candidate, reference, 0.0));
    2.0 * either <= FAILURES_DIFFER
}

/// From stored data only: the same question at the same look draws the same numbers.
fn seed(trial: &Pairing<'_>, question: &Question<'_>, epochs: &Range<u32>) -> u64 {
    let Question { variant, threshold } = question;
    let about = format!(
        "{} {variant} {:?} {} {epochs:?}",
        trial.seed, threshold.step, threshold.metric.name
    );
    u64::from_str_radix(&hash(about.as_bytes())[..16], 16).unwrap_or(trial.seed)
}

impl Answer {
    fn any(&self) -> Option<&Effect> {
        let sides = [&self.critical, &self.warning];
        sides.into_iter().flatten().find_map(|(_, effect)| effect.as_ref().ok())
    }

    /// The milder limit, which a critical change must certainly exceed.
    fn below(&self) -> f64 {
        match (&self.warning, &self.critical) {
            (Some((warning, Ok(effect))), Some((critical, _))) if scale_of(*warning) == scale_of(*critical) => {
                size(*warning, effect)
            }
            _ => 0.0,
        }
    }

    /// What a pass says besides.
    fn label(&self, levels: Levels, better: bool) -> Option<Label> {
        let mildest = self.warning.as_ref().or(self.critical.as_ref())?;
        let (limit, Ok(effect)) = mildest else { return None };
        let size = size(*limit, effect);
        match () {
            () if better && effect.change() <= -size => Some(Label::Improved),
            () if effect.upper(levels.pass) < size => Some(Label::NoChange),
            () => None,
        }
    }
}

impl Decision {
    /// What was measured, on the scale of its critical limit, or else of its warning limit.
    pub(in crate::comparison) fn measured(&self) -> Option<Measured> {
        [&self.critical, &self.warning]
            .into_iter()
            .flatten()
            .find_map(|decided| decided.measured)
    }

    fn is_critical(&self) -> bool {
        self.critical.as_ref().is_some_and(Decided::is_broken)
    }

    fn is_broken(&self) -> bool {
        self.is_critical() || self.warning.as_ref().is_some_and(Decided::is_broken)
    }

    /// Whether more load would say no more that matters.
    fn is_settled(&self) -> bool {
        let warned = self.warning.as_ref().is_some_and(Decided::is_broken);
        let ruled_out = |decided: &Decided| decided.standing == Standing::RuledOut;
        self.label.is_some() || (warned && self.critical.as_ref().is_none_or(ruled_out))
    }

    /// What is critical is so no more.
    fn unconfirm(&mut self) {
        if let Some(critical) = self.critical.as_mut().filter(|critical| critical.is_broken()) {
            critical.standing = Standing::Unconfirmed;
            self.label = Some(Label::Unconfirmed);
        }
    }

    /// Takes over the figures of another look.
    fn tell(&mut self, other: Self) {
        for (own, other) in [(&mut self.critical, other.critical), (&mut self.warning, other.warning)] {
            if let (Some(own), Some(other)) = (own, other) {
                own.measured = other.measured.or(own.measured);
            }
        }
    }
}

impl Decided {
    fn is_broken(&self) -> bool {
        self.standing == Standing::Broken
    }
}
