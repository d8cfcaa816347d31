//! Units → the change of one metric with what is known of it, by the estimator that fits the metric.

use super::units::{Unit, ranked};
use crate::{
    comparison::evidence::fewest_for_quantile,
    metric::{Better, Measure, Metric, Span, Statistic},
    run::{self, StepInterval},
    stats::{
        Bounds, Located, Scale, TAIL,
        events::{events_difference, events_p_beyond},
        flips::{capped, sign_flip},
        looks::FEWEST_UNITS_FOR_CRITICAL,
        pooled::PooledPair,
        totals::{Totals, difference_of_rates, pseudo_values, ratio_of_totals},
        trimmed::trimmed_mean,
    },
};

/// Quantiles beyond this one are taken from all units together: a single unit holds too few operations beyond them.
const HIGHEST_BY_UNIT: f64 = 0.95;

/// Histograms know values to this share of them: two quantiles that look the same may differ by as much.
const RESOLUTION: f64 = 1e-3;

/// With fewer failures than this on both sides together they are counted exactly.
const FEW_EVENTS: u64 = 20;

/// The change of a metric over some units; more is worse.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    /// The metric of both sides over the same units.
    pub(super) values: [f64; 2],
    /// How many observations it rests on.
    pub(super) units: usize,
    scale: Scale,
    better: Better,
    known: Known,
}

/// What is known of a change.
#[derive(Debug, Clone)]
enum Known {
    /// On the log scale where it is relative. `null` are the p values of "not worse"
    /// and of "not better" that do without Student's t.
    Located { located: Located, null: [f64; 2] },
    /// Few failures, with the operations of each side: `[failed, all]`.
    Events([[u64; 2]; 2]),
}

/// What a change is to be estimated of.
pub(super) struct Asked<'a> {
    pub(super) metric: &'static Metric,
    pub(super) scale: Scale,
    /// Indices of the steps that are meant, of the reference and of the candidate.
    pub(super) steps: [Vec<usize>; 2],
    /// CPU time that the targets used in an epoch's recorded time, in nanoseconds, of each side.
    pub(super) cpu_ns: &'a dyn Fn(u32) -> Option<[f64; 2]>,
    /// Of everything that is drawn.
    pub(super) seed: u64,
    /// What standard errors are multiplied with, and the variance that is added to their squares.
    pub(super) wider: [f64; 2],
}

impl Asked<'_> {
    /// The change over these units.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub(super) fn of(&self, units: &[Unit<'_>]) -> Result<Effect, String> {
        match self.metric.measure {
            Measure::Latency(span, Statistic::Mean) => self.ratio(&self.sums(units, |step| {
                let sum = match span {
                    Span::ResponseTime => step.response_sum_ns,
                    Span::ServiceTime => step.service_sum_ns,
                };
                [sum as f64, step.started() as f64]
            })),
            Measure::Latency(span, Statistic::Quantile(q)) => self.quantile(units, span, q),
            Measure::ErrorRate => {
                self.error_rate(&self.sums(units, |step| [step.missed() as f64, step.started() as f64]))
            }
            Measure::Throughput => {
                let mut totals = self.sums(units, |step| [0.0, step.completed as f64]);
                for (totals, unit) in totals.iter_mut().zip(units) {
                    [totals.reference[0], totals.candidate[0]] = unit.seconds();
                }
                // Seconds per operation grow as operations per second fall.
                let effect = self.ratio(&totals)?;
                Ok(Effect {
                    values: effect.values.map(f64::recip),
                    ..effect
                })
            }
            Measure::CpuPerOperation => {
                let mut totals = self.sums(units, |step| [0.0, step.started() as f64]);
                for (totals, unit) in totals.iter_mut().zip(units) {
                    let used = (self.cpu_ns)(unit.epoch).ok_or("the CPU time of some epoch is not known")?;
                    [totals.reference[0], totals.candidate[0]] = used;
                }
                self.ratio(&totals)
            }
            Measure::Latency(_, Statistic::Max)
            | Measure::DroppedRate
            | Measure::HighestRate
            | Measure::HitRatio
            | Measure::Counter(_) => Err("it is not compared by slices".into()),
        }
    }

    fn sums(&self, units: &[Unit<'_>], figures: impl Fn(&StepInterval) -> [f64; 2] + Copy) -> Vec<Totals> {
        units.iter().map(|unit| unit.totals(&self.steps, figures)).collect()
    }

    fn ratio(&self, totals: &[Totals]) -> Result<Effect, String> {
        let complete = rates(totals).iter().all(|rate| rate.is_finite() && *rate > 0.0);
        let why = || match complete {
            true => too_few(totals.len()),
            false => "one side has nothing to compare: no operation completed in it".to_owned(),
        };
        let located = ratio_of_totals(totals).ok_or_else(why)?;
        let observations = pseudo_values(totals, Scale::Relative).ok_or_else(|| too_few(totals.len()))?;
        Ok(self.located(located, &observations, rates(totals), totals.len()))
    }

    fn error_rate(&self, totals: &[Totals]) -> Result<Effect, String> {
        let counts = [
            totals.iter().fold([0, 0], |sum, unit| add(sum, unit.reference)),
            totals.iter().fold([0, 0], |sum, unit| add(sum, unit.candidate)),
        ];
        let values = rates(totals);
        if self.scale == Scale::Relative {
            if values == [0.0; 2] {
                let none = Located {
                    estimate: 0.0,
                    error: 0.0,
                    freedom: f64::INFINITY,
                };
                let known = Known::Located {
                    located: none,
                    null: [1.0; 2],
                };
                return Ok(self.effect(values, totals.len(), known));
            }
            if values[0] == 0.0 {
                return Err("a change from zero has no percentage; write the limit as in \"+0.5pp\"".into());
            }
            return self.ratio(totals);
        }
        if counts[0][0].saturating_add(counts[1][0]) < FEW_EVENTS {
            return Ok(self.effect(values, totals.len(), Known::Events(counts)));
        }
        let located = difference_of_rates(totals).ok_or_else(|| too_few(totals.len()))?;
        // Failures may be spread so evenly that units differ by less than chance.
        let located = Located {
            error: located.error.max(binomial_error(counts)),
            ..located
        };
        let observations = pseudo_values(totals, Scale::Difference).ok_or_else(|| too_few(totals.len()))?;
        Ok(self.located(located, &observations, values, totals.len()))
    }

    fn quantile(&self, units: &[Unit<'_>], span: Span, q: f64) -> Result<Effect, String> {
        let latencies = ranked(units, &self.steps, span)?;
        let fewest = latencies
            .iter()
            .flatten()
            .map(|side| run::total(side))
            .min()
            .unwrap_or(0);
        let pooled = PooledPair::new(latencies.clone());
        let values = pooled.quantiles(q).ok_or_else(|| too_few(units.len()))?;
        if q <= HIGHEST_BY_UNIT && fewest >= fewest_for_quantile(q) {
            let changes: Vec<f64> = latencies
                .iter()
                .map(|both| both.each_ref().map(|side| run::quantile(side, q).unwrap_or(0) as f64))
                .map(|[before, now]| (now / before).ln())
                .collect();
            let located = trimmed_mean(&changes).ok_or_else(|| too_few(units.len()))?;
            // One wild observation must not hide what the trimmed mean sees.
            return Ok(self.located(located, &capped(&changes), values, units.len()));
        }
        let located = pooled.change(q, self.seed).ok_or_else(|| too_few(units.len()))?;
        let null = pooled.permutation(q, self.seed).ok_or_else(|| too_few(units.len()))?;
        let known = Known::Located {
            located: self.widened(located),
            null,
        };
        Ok(self.effect(values, units.len(), known))
    }

    fn located(&self, located: Located, observations: &[f64], values: [f64; 2], units: usize) -> Effect {
        let mirrored: Vec<f64> = observations.iter().map(|observation| -observation).collect();
        // The signs of fewer units do not reach the level of a look over several limits, whatever they are;
        // nothing is critical then, or it is confirmed what more units have said.
        let null = match units {
            0..FEWEST_UNITS_FOR_CRITICAL => [0.0; 2],
            _ => [sign_flip(observations, self.seed), sign_flip(&mirrored, self.seed)],
        };
        let located = self.widened(located);
        self.effect(values, units, Known::Located { located, null })
    }

    fn widened(&self, located: Located) -> Located {
        let [factor, variance] = self.wider;
        let resolution = match self.metric.measure {
            Measure::Latency(_, Statistic::Quantile(_)) => RESOLUTION.powi(2) / 6.0,
            _ => 0.0,
        };
        // What instances differ by is a share.
        let variance = if self.scale == Scale::Relative { variance } else { 0.0 };
        located.widened(factor, variance + resolution)
    }

    fn effect(&self, values: [f64; 2], units: usize, known: Known) -> Effect {
        Effect {
            values,
            units,
            scale: self.scale,
            better: self.metric.better,
            known,
        }
    }
}

impl Effect {
    /// How much worse: a share of the reference, or points.
    pub(super) fn change(&self) -> f64 {
        match &self.known {
            Known::Located { located, .. } => self.shown(located.estimate),
            Known::Events(_) => self.values[1] - self.values[0],
        }
    }

    /// What it lies between, 95 %.
    pub(super) fn interval(&self) -> Bounds {
        match &self.known {
            // Counts that are the same in all units differ by nothing.
            Known::Located { located, .. } if located.error == 0.0 => [self.shown(located.estimate); 2],
            Known::Located { located, .. } => located.interval().map(|bound| self.shown(bound)),
            Known::Events([reference, candidate]) => events_difference(*reference, *candidate, TAIL),
        }
    }

    /// More than this it is not, at a one-sided level.
    pub(super) fn upper(&self, alpha: f64) -> f64 {
        match &self.known {
            Known::Located { located, .. } if located.error > 0.0 => self.shown(located.upper(alpha)),
            Known::Located { .. } => self.interval()[1],
            Known::Events([reference, candidate]) => events_difference(*reference, *candidate, alpha)[1],
        }
    }

    /// The p value of "it is worse by no more than `size`".
    pub(super) fn p_beyond(&self, size: f64) -> f64 {
        match &self.known {
            Known::Located { located, null } => located.p_above(self.inner(size)).max(null[0]),
            Known::Events([reference, candidate]) => events_p_beyond(*reference, *candidate, size),
        }
    }

    /// The p value of "it is not better".
    pub(super) fn p_better(&self) -> f64 {
        match &self.known {
            Known::Located { located, null } => {
                let mirrored = Located {
                    estimate: -located.estimate,
                    ..*located
                };
                mirrored.p_above(0.0).max(null[1])
            }
            Known::Events([reference, candidate]) => events_p_beyond(*candidate, *reference, 0.0),
        }
    }

    /// The change on the scale of the estimator, with its standard error and that one's degrees of freedom.
    pub(super) fn estimated(&self) -> (f64, Option<[f64; 2]>) {
        match &self.known {
            Known::Located { located, .. } => (located.estimate, Some([located.error, located.freedom])),
            Known::Events(_) => (self.change(), None),
        }
    }

    /// From the scale of the estimator to that of limits.
    fn shown(&self, inner: f64) -> f64 {
        match (self.scale, self.better) {
            (Scale::Difference, _) => inner,
            (Scale::Relative, Better::Lower) => libm::expm1(inner),
            // Adding zero turns -0 into 0.
            (Scale::Relative, Better::Higher) => -libm::expm1(-inner) + 0.0,
        }
    }

    /// From the scale of limits to that of the estimator.
    pub(super) fn inner(&self, shown: f64) -> f64 {
        match (self.scale, self.better) {
            (Scale::Difference, _) => shown,
            (Scale::Relative, Better::Lower) => libm::log1p(shown),
            (Scale::Relative, Better::Higher) if shown >= 1.0 => f64::INFINITY,
            (Scale::Relative, Better::Higher) => -libm::log1p(-shown),
        }
    }
}

/// Both sides' sums per count over all units.
fn rates(totals: &[Totals]) -> [f64; 2] {
    let rate = |side: fn(&Totals) -> [f64; 2]| {
        let sums = totals
            .iter()
            .map(side)
            .fold([0.0; 2], |sum, next| [sum[0] + next[0], sum[1] + next[1]]);
        sums[0] / sums[1]
    };
    [rate(|unit| unit.reference), rate(|unit| unit.candidate)]
}

/// The standard error of the difference of two shares of independent operations.
fn binomial_error(counts: [[u64; 2]; 2]) -> f64 {
    let variances = counts.map(|[events, trials]| {
        // Half an event is added: none, or nothing else, is no certainty.
        let share = (events as f64 + 0.5) / (trials as f64 + 1.0);
        share * (1.0 - share) / trials as f64
    });
    (variances[0] + variances[1]).sqrt()
}

fn add(sum: [u64; 2], unit: [f64; 2]) -> [u64; 2] {
    [
        sum[0].saturating_add(unit[0] as u64),
        sum[1].saturating_add(unit[1] as u64),
    ]
}

fn too_few(units: usize) -> String {
    let observations = if units == 1 {
        "observation is"
    } else {
        "observations are"
    };
    format!("{units} {observations} too few for an interval; it takes more epochs with samples on both sides")
}
