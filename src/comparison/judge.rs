//! One threshold → one judgement.
//!
//! An effect and certainty are both needed; a point estimate never decides alone.
//!
//! | limit | broken | ruled out |
//! |---|---|---|
//! | relative, points | estimate ≥ limit and lower bound of the worsening > 0 (for critical: > the warning limit, where there is one) | upper bound < limit |
//! | absolute | lower bound beyond the limit | upper bound within it |
//!
//! Critical when the critical limit is broken; else warning when the warning
//! limit is; else pass when the critical limit is ruled out; else inconclusive.
//! With a warning limit alone nothing worse than a warning is at stake, so it
//! passes also when the estimate is within the limit.
//!
//! A floor beside a relative limit raises it: `+5% and 200us` is broken from
//! 5 % *and* 200 µs. A limit of 0 % on a rate means "not one", and is judged
//! by the count: no sample can prove that errors are impossible. Maxima have
//! no interval and the dropped rate is a full count: both are judged by value.
//!
//! Beside a stored baseline the change of a time is from the centre of its runs;
//! how much they differ counts as `between` says.

use super::{
    Judgement, Verdict,
    between::{Between, is_of_time},
    evidence::{Evidence, fewest_for_quantile},
    figures::Figures,
    paired::{Decision, Label},
    sentence,
    standing::{Reading, Standing, decide},
};
use crate::{
    baseline::Set,
    metric::{Better, Measure, Metric, Statistic},
    stats::{Bounds, Scale, bootstrap::FEWEST_UNITS},
    threshold::{Limit, Threshold},
    units::{Unit, group_thousands},
};

/// Fewer operations than this, on either side, are not compared: a relative
/// limit on them is inconclusive. Quantiles need more, see [`fewest_for_quantile`].
const FEWEST_OPERATIONS: u64 = 100;

/// What thresholds are judged by.
pub(super) struct Judge<'a> {
    /// The run that is judged.
    pub(super) candidate: Evidence<'a>,
    /// The baseline's run, where comparable.
    pub(super) reference: Option<Evidence<'a>>,
    /// The runs of the baseline that are of the candidate's class of machine, where it is comparable.
    pub(super) set: Option<Set<'a>>,
    /// Whether the two were measured on machines of different classes.
    pub(super) other_machine: bool,
    /// What the baseline is called in sentences.
    pub(super) baseline: String,
}

impl Judge<'_> {
    /// Judges one threshold by itself.
    pub(super) fn judge(&mut self, threshold: &Threshold) -> Judgement {
        self.judge_decided(threshold, None)
    }

    /// Judges one threshold, what is relative in it being decided already.
    pub(super) fn judge_decided(&mut self, threshold: &Threshold, decision: Option<&Decision>) -> Judgement {
        let step = threshold.step.as_deref();
        let mut judgement = blank(threshold, self.candidate.scenario());
        judgement.candidate = self.candidate.value(step, threshold.metric);
        judgement.reference = self
            .reference
            .as_ref()
            .and_then(|run| run.value(step, threshold.metric));
        match self.figures(threshold) {
            Ok(figures) => {
                judgement.reference = figures.centre().or(judgement.reference);
                self.fill(&mut judgement, threshold, &figures, decision);
            }
            Err(reason) => {
                judgement.verdict = Some(Verdict::Inconclusive);
                judgement.reason = reason;
            }
        }
        judgement
    }

    /// What the reader must know of intervals that assume independent operations.
    pub(super) fn independence_note(&self) -> Option<String> {
        let mut names = self.candidate.assumed_independent().to_vec();
        names.extend(
            self.reference
                .iter()
                .flat_map(|run| run.assumed_independent().iter().cloned()),
        );
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| {
            format!(
                "Too few seconds or samples to resample: the interval of {} takes operations as independent of each other and may be too narrow.",
                names.join(", ")
            )
        })
    }

    fn figures(&mut self, threshold: &Threshold) -> Result<Figures, String> {
        let (step, metric) = (threshold.step.as_deref(), threshold.metric);
        let subject = sentence::subject(step, metric);
        let unreadable = |error: String| format!("{subject} cannot be judged: {error}");
        let own = self.candidate.estimate(step, metric).map_err(unreadable)?;
        let own = own.ok_or_else(|| self.nothing_measured(step, metric))?;
        let reference = match &mut self.reference {
            Some(run) => run.estimate(step, metric).map_err(unreadable)?,
            None => None,
        };
        let set = self.set.as_ref().filter(|_| reference.is_some());
        let between = set.and_then(|set| Between::new(set, step, metric, own.value));
        Ok(Figures {
            metric,
            own,
            reference,
            between,
        })
    }

    fn nothing_measured(&self, step: Option<&str>, metric: &Metric) -> String {
        let subject = sentence::subject(step, metric);
        match step {
            Some(_) if metric.measure.is_of_run() => {
                format!("{subject} cannot be judged: it is a figure of the whole run; leave out the step")
            }
            Some(name) if !self.candidate.has_step(step) => {
                format!("{subject} cannot be judged: the run has no step \"{name}\"")
            }
            _ if let Measure::Counter(counter) = metric.measure => {
                let why = self.candidate.uncounted(step, counter);
                let why = why
                    .unwrap_or_else(|| "nothing was counted; a census takes a database that loadgate can see".into());
                format!("{subject} cannot be judged: {why}")
            }
            _ => format!("{subject} cannot be judged: it has no samples"),
        }
    }

    fn fill(&self, judgement: &mut Judgement, threshold: &Threshold, figures: &Figures, decision: Option<&Decision>) {
        let scale = if judgement.in_points() || judgement.in_counts() {
            Scale::Difference
        } else {
            Scale::Relative
        };
        judgement.change = figures.change(scale);
        judgement.interval = figures.interval(scale);
        judgement.label = decision.and_then(|decision| decision.label);
        if let Some(measured) = decision.and_then(Decision::measured) {
            let [before, now] = measured.values;
            (judgement.reference, judgement.candidate) = (Some(before), Some(now));
            (judgement.change, judgement.interval) = (Some(measured.change), Some(measured.interval));
        }
        let [decided_critical, decided_warning] = decision.map_or([None, None], |decision| {
            [decision.critical.as_ref(), decision.warning.as_ref()]
        });
        let critical = threshold.critical.map(|limit| match decided_critical {
            Some(decided) => decided.standing.clone(),
            None => self.unless_luck(limit, threshold.warning, threshold, figures),
        });
        let warning = threshold.warning.map(|limit| match decided_warning {
            Some(decided) => decided.standing.clone(),
            None => self.standing(limit, None, threshold, figures),
        });
        let (verdict, by_critical) = decide(critical.as_ref(), warning.as_ref());
        judgement.verdict = verdict;
        // What is said besides fits a pass only, or a warning that wanted to be more.
        let unconfirmed = judgement.label == Some(Label::Unconfirmed);
        judgement.label = judgement.label.filter(|_| match verdict {
            Some(Verdict::Pass) => !unconfirmed,
            Some(Verdict::Warning) => unconfirmed,
            _ => false,
        });
        let (limit, standing, decided) = if by_critical {
            (threshold.critical, critical, decided_critical)
        } else {
            (threshold.warning, warning, decided_warning)
        };
        let (Some(limit), Some(standing)) = (limit, standing) else {
            judgement.reason = format!(
                "{} has no limit",
                sentence::subject(threshold.step.as_deref(), threshold.metric)
            );
            return;
        };
        let change = match decided.and_then(|decided| decided.measured) {
            Some(measured) => (Some(measured.change), Some(measured.interval)),
            None => (figures.change(scale_of(limit)), figures.interval(scale_of(limit))),
        };
        judgement.reason = self.reason(judgement, limit, &standing, figures, change, decided.is_some());
        judgement.reason += &sentence::confirmation(decision, judgement.verdict);
        self.excuse_other_machine(judgement, limit);
    }

    /// Where a limit stands. `below` is the milder limit, which a critical change must certainly exceed.
    fn standing(&self, limit: Limit, below: Option<Limit>, threshold: &Threshold, figures: &Figures) -> Standing {
        let metric = threshold.metric;
        let Limit::Absolute { value, .. } = limit else {
            return self.change_standing(limit, below, threshold, figures);
        };
        if metric.unit == Unit::Share && value == 0.0 {
            return if figures.own.value > 0.0 {
                Standing::Broken
            } else {
                Standing::RuledOut
            };
        }
        let bounds = match metric.measure {
            Measure::ErrorRate => figures.own.exact_bounds(),
            _ => figures.own.interval(),
        };
        let Some(bounds) = bounds else {
            return Standing::Unknown(too_short());
        };
        let reading = Reading {
            estimate: figures.own.value,
            bounds,
        };
        match metric.better {
            Better::Lower => reading.within(value),
            Better::Higher => reading.mirrored().within(-value),
        }
    }

    /// The same of a critical limit, which luck between runs must not break.
    fn unless_luck(&self, limit: Limit, below: Option<Limit>, threshold: &Threshold, figures: &Figures) -> Standing {
        let standing = self.standing(limit, below, threshold, figures);
        let between = figures.between.as_ref().filter(|between| !between.is_known());
        let (Standing::Broken, true, Some(between)) = (&standing, limit.is_relative(), between) else {
            return standing;
        };
        let scale = scale_of(limit);
        let reading = figures.change(scale).map(|estimate| Reading {
            estimate,
            bounds: figures.beside_luck(scale, between.bounds()),
        });
        match reading.map(|reading| beyond(reading, limit, below, figures)) {
            Some(Standing::Broken) | None => standing,
            Some(_) => Standing::Luck(between.luck()),
        }
    }

    fn change_standing(
        &self,
        limit: Limit,
        below: Option<Limit>,
        threshold: &Threshold,
        figures: &Figures,
    ) -> Standing {
        if self.reference.is_none() {
            return Standing::Unjudged;
        }
        let Some(reference) = &figures.reference else {
            return Standing::Unknown("the baseline has no samples of it; accept a newer run".into());
        };
        if let Some(few) = self.too_few(threshold) {
            return Standing::Unknown(few);
        }
        let (metric, scale) = (threshold.metric, scale_of(limit));
        let Some(estimate) = figures.change(scale) else {
            let instead = if metric.unit == Unit::Count { "+1" } else { "+0.5pp" };
            return Standing::Unknown(format!(
                "a change from zero has no percentage; write the limit as in \"{instead}\""
            ));
        };
        let exact = metric.measure.is_exact();
        let from_zero = reference.value == 0.0 && scale == Scale::Relative;
        let bounds = match figures.bounds(scale) {
            Some(bounds) => bounds,
            None if exact || from_zero => [estimate, estimate],
            None if metric.measure == Measure::CpuPerOperation => {
                return Standing::Unknown(
                    "one observation has no interval; it takes variants and several epochs".into(),
                );
            }
            None => return Standing::Unknown(too_short()),
        };
        beyond(Reading { estimate, bounds }, limit, below, figures)
    }

    /// Why there are too few samples for a comparison, when there are.
    fn too_few(&self, threshold: &Threshold) -> Option<String> {
        let step = threshold.step.as_deref();
        let needed = match threshold.metric.measure {
            measure if measure.is_of_run() || matches!(measure, Measure::Counter(_)) => 0,
            Measure::Latency(_, Statistic::Quantile(q)) => fewest_for_quantile(q).max(FEWEST_OPERATIONS),
            _ => FEWEST_OPERATIONS,
        };
        let here = self.candidate.operations(step);
        let there = self.reference.as_ref().map_or(0, |run| run.operations(step));
        let count = |n: u64| group_thousands(i64::try_from(n).unwrap_or(i64::MAX));
        (here.min(there) < needed).then(|| {
            let (here, there, needed) = (count(here), count(there), count(needed));
            let other = &self.baseline;
            format!(
                "too few samples: {here} operations here and {there} in {other}, a comparison needs {needed} in each"
            )
        })
    }

    fn reason(
        &self,
        judgement: &Judgement,
        limit: Limit,
        standing: &Standing,
        figures: &Figures,
        (change, interval): (Option<f64>, Option<Bounds>),
        paired: bool,
    ) -> String {
        let finding = match (limit, standing) {
            (_, Standing::Unjudged) => {
                return format!(
                    "{}; not judged, because there is no comparable baseline",
                    sentence::value(judgement)
                );
            }
            (_, Standing::Unknown(why)) => return format!("{}: {why}", sentence::value(judgement)),
            (Limit::Absolute { .. }, _) => {
                let bounds = match judgement.metric.measure {
                    Measure::ErrorRate => figures.own.exact_bounds(),
                    measure if measure.is_exact() => None,
                    _ => figures.own.interval(),
                };
                sentence::absolute(judgement, limit, bounds)
            }
            _ => sentence::change(judgement, limit, change.unwrap_or(0.0), interval, &self.baseline),
        };
        let between = figures
            .between
            .as_ref()
            .filter(|between| between.is_known() && limit.is_relative());
        match standing {
            Standing::Luck(why) => format!("{finding}: {why}"),
            Standing::Open { .. } if judgement.verdict == Some(Verdict::Inconclusive) && between.is_some() => {
                let why = between.map(Between::too_wide).unwrap_or_default();
                format!("{finding}: too uncertain to tell; {why}")
            }
            Standing::Open { load, .. } if judgement.verdict == Some(Verdict::Inconclusive) => {
                format!(
                    "{finding}: too uncertain to tell; {}",
                    sentence::more_load(*load, limit.is_relative() && !paired)
                )
            }
            _ => finding,
        }
    }

    /// A time from another class of machine is never critical.
    fn excuse_other_machine(&self, judgement: &mut Judgement, limit: Limit) {
        if self.other_machine
            && limit.is_relative()
            && is_of_time(judgement.unit)
            && judgement.verdict == Some(Verdict::Critical)
        {
            judgement.verdict = Some(Verdict::Warning);
            judgement.reason += "; not critical, because the baseline was measured on another class of machine: measure both as variants of one run";
        }
    }
}

fn too_short() -> String {
    format!("the measurement is too short for an interval, which takes at least {FEWEST_UNITS} seconds with samples")
}

pub(super) fn scale_of(limit: Limit) -> Scale {
    if matches!(limit, Limit::Points(_) | Limit::More(_)) {
        Scale::Difference
    } else {
        Scale::Relative
    }
}

/// Where a reading stands to a limit, and to the milder one that it must certainly exceed.
fn beyond(reading: Reading, limit: Limit, below: Option<Limit>, figures: &Figures) -> Standing {
    let scale = scale_of(limit);
    let certainly = below.filter(|below| below.is_relative() && scale_of(*below) == scale);
    let size = |limit| change_limit(limit, figures.centre().unwrap_or(0.0));
    reading.against(size(limit), certainly.map_or(0.0, size))
}

/// How much worse is too much, on the limit's own scale.
pub(super) fn change_limit(limit: Limit, reference: f64) -> f64 {
    match limit {
        Limit::Relative {
            change,
            floor: Some(floor),
            ..
        } if reference > 0.0 => change.max(floor / reference),
        Limit::Relative { change, .. } => change,
        Limit::Points(points) => points,
        Limit::More(count) => count,
        Limit::Absolute { value, .. } => value,
    }
}

fn blank(threshold: &Threshold, scenario: &str) -> Judgement {
    let Threshold {
        step,
        metric,
        warning,
        critical,
        source,
    } = threshold;
    Judgement {
        id: format!("{scenario}/{}:{}", step.as_deref().unwrap_or("all"), metric.id()),
        step: step.clone(),
        variant: None,
        label: None,
        metric,
        unit: metric.unit,
        better: metric.better,
        reference: None,
        candidate: None,
        change: None,
        interval: None,
        warning: *warning,
        critical: *critical,
        verdict: None,
        reason: String::new(),
        source: source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_raises_a_relative_limit() {
        let limit = |reference| {
            change_limit(
                Limit::Relative {
                    change: 0.05,
                    floor: Some(200e3),
                    unit: Unit::Ns,
                },
                reference,
            )
        };
        assert_eq!(limit(100e6), 0.05);
        assert_eq!(limit(1e6), 0.2);
    }
}
