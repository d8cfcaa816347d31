//! The figures of both sides for one threshold, and the change between them.

use super::between::{Between, hull};
use crate::{
    metric::{Better, Measure, Metric},
    stats::{Bounds, Estimate, Scale, change_interval},
};

/// The figures of both sides for one threshold.
pub(super) struct Figures {
    pub(super) metric: &'static Metric,
    pub(super) own: Estimate,
    pub(super) reference: Option<Estimate>,
    /// What the runs of the baseline say, of a time.
    pub(super) between: Option<Between>,
}

impl Figures {
    /// The worsening; `None` where it would be relative to zero, unless both are.
    pub(super) fn change(&self, scale: Scale) -> Option<f64> {
        change(self.centre()?, self.own.value, scale, self.metric)
    }

    /// What the change is from: the centre of the baseline's runs, or its only one.
    pub(super) fn centre(&self) -> Option<f64> {
        let reference = self.reference.as_ref()?;
        Some(
            self.between
                .as_ref()
                .map_or(reference.value, |between| between.spread.centre),
        )
    }

    /// What the verdict goes by: the interval, where it does not say how much runs differ.
    pub(super) fn bounds(&self, scale: Scale) -> Option<Bounds> {
        match &self.between {
            Some(between) if between.is_known() => Some(self.beside_luck(scale, between.bounds())),
            _ => self.interval(scale),
        }
    }

    /// With what luck between runs may do, by what is known or assumed of it.
    pub(super) fn beside_luck(&self, scale: Scale, luck: Bounds) -> Bounds {
        self.interval_of_runs(scale).map_or(luck, |within| hull(within, luck))
    }

    /// Its 95 % interval; none for a maximum, a full count, and a count that agrees with itself.
    pub(super) fn interval(&self, scale: Scale) -> Option<Bounds> {
        match &self.between {
            Some(between) if between.is_known() => Some(self.beside_luck(scale, between.interval())),
            _ => self.interval_of_runs(scale),
        }
    }

    fn interval_of_runs(&self, scale: Scale) -> Option<Bounds> {
        let reference = self.reference.as_ref()?;
        match self.metric.measure {
            Measure::Counter(_) => counted(reference.exact_bounds()?, self.own.exact_bounds()?, scale),
            _ => {
                let within = interval(reference, &self.own, scale, self.metric)?;
                Some(match &self.between {
                    Some(between) => between.recentred(within, reference.value),
                    None => within,
                })
            }
        }
    }
}

/// What a change lies between when each side was counted twice; `None` where all takings agree.
fn counted(before: Bounds, now: Bounds, scale: Scale) -> Option<Bounds> {
    if before[0] == before[1] && now[0] == now[1] {
        return None;
    }
    let bounds = match scale {
        Scale::Difference => [now[0] - before[1], now[1] - before[0]],
        Scale::Relative => [now[0] / before[1] - 1.0, now[1] / before[0] - 1.0],
    };
    bounds.iter().all(|bound| bound.is_finite()).then_some(bounds)
}

/// The worsening; `None` where it would be relative to zero, unless both are.
fn change(reference: f64, candidate: f64, scale: Scale, metric: &Metric) -> Option<f64> {
    let worse = match metric.better {
        Better::Lower => candidate - reference,
        Better::Higher => reference - candidate,
    };
    match scale {
        Scale::Difference => Some(worse),
        Scale::Relative if worse == 0.0 => Some(0.0),
        Scale::Relative => (reference > 0.0).then(|| worse / reference),
    }
}

/// The 95 % interval of the worsening; none for a maximum and for a full count.
fn interval(reference: &Estimate, candidate: &Estimate, scale: Scale, metric: &Metric) -> Option<Bounds> {
    if metric.measure.is_exact() {
        return None;
    }
    let [lower, upper] = change_interval(reference, candidate, scale)?;
    let worse = match metric.better {
        Better::Lower => [lower, upper],
        // Adding zero turns -0 into 0.
        Better::Higher => [-upper + 0.0, -lower + 0.0],
    };
    worse.iter().all(|bound| bound.is_finite()).then_some(worse)
}
