//! Claims beside what was measured. They decide nothing.
//!
//! A claim is about a size, so it is held against an interval: it is confirmed
//! where both overlap, and reproduced at all only where the interval lies on
//! the side of the reference that was claimed.

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Evidence, Role},
    paired::Stored,
    shown::beside_reference,
};
use crate::{
    baseline::Baseline,
    claim::{Claim, Claimed},
    metric::{Better, Measure},
    run::Run,
    stats::{Bounds, Scale, change_interval},
    threshold::{Limit, Source, Threshold},
};

/// No report needs more; a scenario has no more.
const MOST: usize = 100;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// What was claimed.
    pub claim: Claim,
    /// The metric of the reference, in its base unit.
    pub reference: Option<f64>,
    /// The metric of the variant or run that the claim is about.
    pub measured: Option<f64>,
    /// What the claim is held against: a change as a share, or the value itself.
    pub figure: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<Bounds>,
    /// The answer.
    pub outcome: Outcome,
}

/// What a claim was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The figure may be what was claimed.
    Confirmed,
    /// It is as good as claimed, and better.
    Understated,
    /// There is something to it, but less than was claimed.
    Overstated,
    /// There is no such effect, as far as can be told.
    NotReproduced,
    /// It was not measured, or too seldom to be certain of anything.
    Unknown,
}

impl Outcome {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Understated => "understated",
            Self::Overstated => "overstated",
            Self::NotReproduced => "not reproduced",
            Self::Unknown => "cannot be told",
        }
    }
}

/// All claims of a run.
pub(super) fn held(run: &Run, baseline: Option<&Baseline>) -> Vec<Held> {
    let claims = run.claims.iter().take(MOST);
    claims.map(|claim| hold(run, baseline, claim)).collect()
}

fn hold(run: &Run, baseline: Option<&Baseline>, claim: &Claim) -> Held {
    let measured = match candidate(run, claim) {
        Some(candidate) => of_variant(run, claim, candidate),
        None => of_run(run, baseline, claim),
    };
    let outcome = match (measured.figure, measured.interval) {
        (Some(_), Some(interval)) => outcome(claim, interval),
        _ => Outcome::Unknown,
    };
    Held {
        claim: claim.clone(),
        reference: measured.reference,
        measured: measured.value,
        figure: measured.figure,
        interval: measured.interval,
        outcome,
    }
}

#[derive(Default)]
struct Measured {
    reference: Option<f64>,
    value: Option<f64>,
    figure: Option<f64>,
    interval: Option<Bounds>,
}

/// The index of the variant that a claim is about: the one named, or the only one beside the reference.
fn candidate(run: &Run, claim: &Claim) -> Option<usize> {
    match &claim.variant {
        Some(name) => run.variants.iter().position(|variant| variant.name == *name),
        None => (run.variants.len() == 2).then_some(1),
    }
}

fn of_variant(run: &Run, claim: &Claim, candidate: usize) -> Measured {
    let (Some(reference), Some(view)) = (run.of_variant(0), run.of_variant(candidate)) else {
        return Measured::default();
    };
    let sampled =
        matches!(claim.metric.measure, Measure::Latency(..) | Measure::Throughput) && !claim.metric.measure.is_exact();
    if let (Claimed::Change { .. }, true) = (claim.value, sampled) {
        let threshold = [as_threshold(claim)];
        let effect = beside_reference(run, &Stored::new(run), candidate, &threshold)
            .into_iter()
            .next();
        return effect.map_or_else(
            || without_interval(claim, &reference, &view),
            |effect| {
                // The estimate is of how much worse it is, as a logarithm of a ratio.
                let sign = if claim.metric.better == Better::Higher {
                    -1.0
                } else {
                    1.0
                };
                let [low, high] = effect.located.interval().map(|end| libm::expm1(sign * end));
                Measured {
                    reference: Some(effect.values[0]),
                    value: Some(effect.values[1]),
                    figure: Some(libm::expm1(sign * effect.located.estimate)),
                    interval: Some([low.min(high), low.max(high)]),
                }
            },
        );
    }
    between(claim, Some(&reference), &view)
}

/// What too few observations leave: the figures, of which nobody knows how certain they are.
fn without_interval(claim: &Claim, reference: &Run, candidate: &Run) -> Measured {
    let value = |run: &Run| run.value(claim.step.as_deref(), claim.metric);
    let (before, now) = (value(reference), value(candidate));
    let pair = before.zip(now).filter(|(before, _)| *before != 0.0);
    Measured {
        reference: before,
        value: now,
        figure: pair.map(|(before, now)| now / before - 1.0),
        interval: None,
    }
}

fn of_run(run: &Run, baseline: Option<&Baseline>, claim: &Claim) -> Measured {
    between(claim, baseline.map(|baseline| &baseline.run), run)
}

/// Two runs, or views of one, that know nothing of each other.
fn between(claim: &Claim, reference: Option<&Run>, candidate: &Run) -> Measured {
    let step = claim.step.as_deref();
    let estimate = |run, role| Evidence::new(run, role).estimate(step, claim.metric).ok().flatten();
    let own = estimate(candidate, Role::Candidate);
    let before = reference.and_then(|run| estimate(run, Role::Reference));
    let (figure, interval) = match (&own, &before, claim.value) {
        (Some(own), _, Claimed::Value { .. }) => (Some(own.value), own.interval()),
        (Some(own), Some(before), Claimed::Change { .. }) if before.value != 0.0 => (
            Some(own.value / before.value - 1.0),
            change_interval(before, own, Scale::Relative),
        ),
        _ => (None, None),
    };
    Measured {
        reference: before.map(|before| before.value),
        value: own.map(|own| own.value),
        figure,
        interval,
    }
}

/// What would ask for the same change.
fn as_threshold(claim: &Claim) -> Threshold {
    Threshold {
        step: claim.step.clone(),
        metric: claim.metric,
        warning: None,
        critical: Some(Limit::Relative {
            change: 0.0,
            floor: None,
            unit: claim.metric.unit,
        }),
        source: Source::default(),
    }
}

fn outcome(claim: &Claim, [low, high]: Bounds) -> Outcome {
    let (value, tolerance) = match claim.value {
        Claimed::Change { value, tolerance } | Claimed::Value { value, tolerance } => (value, tolerance),
    };
    if low <= value + tolerance && value - tolerance <= high {
        return Outcome::Confirmed;
    }
    let more = low > value;
    match claim.value {
        // As far as the claim goes, or to the other side, or nowhere.
        Claimed::Change { value, .. } => {
            let same_side = if value < 0.0 { high < 0.0 } else { low > 0.0 };
            match (same_side, more == (value > 0.0)) {
                (false, _) => Outcome::NotReproduced,
                (true, true) => Outcome::Understated,
                (true, false) => Outcome::Overstated,
            }
        }
        Claimed::Value { .. } => match more == (claim.metric.better == Better::Higher) {
            true => Outcome::Understated,
            false => Outcome::Overstated,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric;

    fn outcome_of(metric: &str, value: &str, interval: Bounds) -> Outcome {
        let metric = metric::find(metric).unwrap();
        let claim = Claim {
            text: "said".into(),
            source: None,
            variant: None,
            step: None,
            metric,
            value: Claimed::parse(value, metric).unwrap(),
        };
        outcome(&claim, interval)
    }

    #[test]
    fn a_change_is_held_against_its_interval() {
        assert_eq!(outcome_of("p50", "-60%", [-0.65, -0.55]), Outcome::Confirmed);
        // As exact as it was written.
        assert_eq!(outcome_of("p50", "-97%", [-0.9733, -0.9733]), Outcome::Confirmed);
        assert_eq!(outcome_of("p50", "-60%", [-0.99, -0.98]), Outcome::Understated);
        assert_eq!(outcome_of("p50", "-60%", [-0.4, -0.2]), Outcome::Overstated);
        assert_eq!(outcome_of("p50", "-60%", [-0.1, 0.1]), Outcome::NotReproduced);
        assert_eq!(outcome_of("p50", "-60%", [0.2, 0.3]), Outcome::NotReproduced);
        assert_eq!(outcome_of("throughput", "+149%", [0.2, 0.3]), Outcome::Overstated);
        assert_eq!(outcome_of("throughput", "+149%", [9.0, 11.0]), Outcome::Understated);
        assert_eq!(outcome_of("throughput", "+149%", [-0.2, -0.1]), Outcome::NotReproduced);
    }

    #[test]
    fn a_value_is_better_or_worse_than_claimed() {
        assert_eq!(outcome_of("mean", "8.2ms", [8.1e6, 8.3e6]), Outcome::Confirmed);
        assert_eq!(outcome_of("mean", "8.2ms", [0.1e6, 0.2e6]), Outcome::Understated);
        assert_eq!(outcome_of("mean", "8.2ms", [80e6, 90e6]), Outcome::Overstated);
        assert_eq!(outcome_of("throughput", "112/s", [40.0, 50.0]), Outcome::Overstated);
    }
}
