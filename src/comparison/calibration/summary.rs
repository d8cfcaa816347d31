//! All trials → rates with bounds, spreads, and the smallest effects that can be seen.

use std::collections::BTreeMap;

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF as _, Normal, StudentsT};

use crate::{
    baseline::{Calibration, CalibrationTrial, OtherRules},
    comparison::Verdict,
    stats::{mean, variance},
};

/// How much load the smallest effects are told for, in seconds.
pub(super) const LOADS_S: [f64; 3] = [30.0, 120.0, 600.0];

/// An effect counts as seen when it is found so often.
const POWER: f64 = 0.90;

/// The level of a verdict with all its looks; shared by the limits that are judged.
const ALPHA: f64 = 0.01;

/// Of each bound of a rate.
const CONFIDENCE: f64 = 0.95;

/// Fewer trials say nothing of how far out the far end of t values lies.
const ENOUGH_FOR_INFLATION: usize = 100;

/// Where that end is looked at.
const FAR_END: f64 = 0.99;

/// How often something happened, and what that proves of how often it happens (Clopper and Pearson 1934).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// How often it happened.
    pub count: usize,
    /// Of so many.
    pub of: usize,
    /// No more often than in this share, with 95 % confidence.
    pub at_most: f64,
    /// No less often than in this share, with 95 % confidence.
    pub at_least: f64,
}

/// What trials say of one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Of the judgement, without scenario and variant.
    pub id: String,
    /// The standard deviation of the change from trial to trial, on the scale of logarithms (about a share), or in points.
    pub spread: f64,
    /// The smallest worsening that is found nine times in ten, for 30 s, 2 min and 10 min of load; none where events are few.
    pub smallest_effects: Option<[f64; 3]>,
}

/// What all trials say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many trials there are.
    pub trials: usize,
    /// Verdicts `pass`, `warning`, `critical`, `inconclusive`, `invalid`.
    pub verdicts: BTreeMap<&'static str, Rate>,
    /// Trials in which something was critical and was not confirmed.
    pub unconfirmed: Rate,
    /// Alarms of rules that are in use elsewhere, on the same slices.
    pub other_rules: [(&'static str, Rate); 3],
    /// By metric, in the order of the limits.
    pub metrics: Vec<Metric>,
    /// The standard deviation of the mean service time from instance to instance, as a share.
    pub instance_spread: Option<f64>,
    /// What standard errors are to be multiplied with; none with fewer than 100 trials.
    pub inflation: Option<f64>,
    /// Critical verdicts to expect in a month of 30 days without any change, and at most (95 %).
    pub alarms_per_month: [f64; 2],
    /// Load until the verdict stood, in seconds: the median.
    pub load_s: f64,
}

/// Sums up the trials of a calibration; `runs_per_day` are the user's.
pub fn summary(calibration: &Calibration, runs_per_day: f64) -> Summary {
    let trials = &calibration.trials;
    let rate = |happened: &dyn Fn(&CalibrationTrial) -> bool| {
        rate(trials.iter().filter(|t| happened(t)).count(), trials.len())
    };
    let words = [
        Verdict::Pass,
        Verdict::Warning,
        Verdict::Critical,
        Verdict::Inconclusive,
        Verdict::Invalid,
    ]
    .map(Verdict::word);
    let verdicts: BTreeMap<&'static str, Rate> = words
        .into_iter()
        .map(|word| (word, rate(&|trial| trial.verdict == word)))
        .collect();
    let other = |rule: fn(&OtherRules) -> bool| rate(&|trial| rule(&trial.other_rules));
    let critical = verdicts["critical"];
    let runs = runs_per_day * 30.0;
    let instances: Vec<f64> = trials.iter().filter_map(|trial| trial.instance_variance).collect();
    Summary {
        trials: trials.len(),
        unconfirmed: rate(&|trial| trial.unconfirmed),
        other_rules: [
            ("one run against one, 10 %", other(|rules| rules.ten_per_cent)),
            ("Welch on slices, p < 5 %", other(|rules| rules.welch)),
            ("ten pairs, |t| > 2", other(|rules| rules.paired)),
        ],
        metrics: metrics(trials),
        instance_spread: (!instances.is_empty()).then(|| mean(&instances).max(0.0).sqrt()),
        inflation: inflation(calibration),
        alarms_per_month: [
            critical.count as f64 / (critical.of.max(1)) as f64 * runs,
            critical.at_most * runs,
        ],
        load_s: median(trials.iter().map(|trial| trial.load_s).collect()),
        verdicts,
    }
}

/// max(1, q99(|t|) / t.995) over all metrics of all trials that were valid: by how much the far end of what was
/// measured lies further out than Student's t has it. `None` with fewer than 100 trials.
pub fn inflation(calibration: &Calibration) -> Option<f64> {
    let valid: Vec<&CalibrationTrial> = valid(&calibration.trials).collect();
    if valid.len() < ENOUGH_FOR_INFLATION || calibration.injected.is_some() {
        return None;
    }
    // Each t value as a multiple of its own critical value, because degrees of freedom differ.
    let mut multiples: Vec<f64> = valid
        .iter()
        .flat_map(|trial| &trial.metrics)
        .filter_map(|metric| {
            let [error, freedom] = metric.error.filter(|[error, _]| *error > 0.0)?;
            let critical = StudentsT::new(0.0, 1.0, freedom)
                .ok()?
                .inverse_cdf(1.0 - (1.0 - FAR_END) / 2.0);
            Some((metric.change / error).abs() / critical)
        })
        .collect();
    multiples.sort_unstable_by(f64::total_cmp);
    let at = ((multiples.len() as f64 * FAR_END).ceil() as usize).saturating_sub(1);
    multiples.get(at).map(|multiple| multiple.max(1.0))
}

fn valid(trials: &[CalibrationTrial]) -> impl Iterator<Item = &CalibrationTrial> {
    trials.iter().filter(|trial| trial.verdict != Verdict::Invalid.word())
}

fn metrics(trials: &[CalibrationTrial]) -> Vec<Metric> {
    let ids: Vec<&str> = valid(trials).next().map_or_else(Vec::new, |trial| {
        trial.metrics.iter().map(|metric| metric.id.as_str()).collect()
    });
    let judged = ids.len().max(1) as f64;
    let metric = |id: &&str| {
        let of = |trial: &&CalibrationTrial| {
            trial
                .metrics
                .iter()
                .find(|metric| metric.id == *id)
                .cloned()
                .map(|metric| (metric, trial.load_s))
        };
        let all: Vec<_> = valid(trials).filter_map(|trial| of(&trial)).collect();
        let changes: Vec<f64> = all.iter().map(|(metric, _)| metric.change).collect();
        let with_error = all.iter().filter_map(|(metric, load_s)| Some((metric.error?, *load_s)));
        // What the error would be with a second of load: it falls with the root of it.
        let per_second: Vec<([f64; 2], f64)> = with_error
            .map(|(error, load_s)| (error, error[0].powi(2) * load_s))
            .collect();
        let warning = all
            .iter()
            .filter_map(|(metric, _)| metric.warning)
            .next_back()
            .unwrap_or(0.0);
        Metric {
            id: (*id).to_owned(),
            spread: variance(&changes).map_or(0.0, f64::sqrt),
            smallest_effects: (!per_second.is_empty() && per_second.len() * 2 > all.len()).then(|| {
                let variance = mean(&per_second.iter().map(|(_, variance)| *variance).collect::<Vec<_>>());
                let freedom = median(per_second.iter().map(|(error, _)| error[1]).collect());
                LOADS_S.map(|load_s| smallest((variance / load_s).sqrt(), freedom, judged, warning))
            }),
        }
    };
    ids.iter().map(metric).collect()
}

/// The smallest effect that is found with [`POWER`]: it must be certain, and its estimate beyond the warning limit.
fn smallest(error: f64, freedom: f64, judged: f64, warning: f64) -> f64 {
    let (Ok(student), Ok(normal)) = (StudentsT::new(0.0, 1.0, freedom), Normal::new(0.0, 1.0)) else {
        return f64::NAN;
    };
    let often = normal.inverse_cdf(POWER);
    let certain = (student.inverse_cdf(1.0 - ALPHA / judged) + often) * error;
    certain.max(warning + often * error)
}

fn rate(count: usize, of: usize) -> Rate {
    let (k, n) = (count as f64, of as f64);
    let bound = |a: f64, b: f64, p: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p));
    Rate {
        count,
        of,
        // With nothing seen, or nothing else, the distribution has no such parameter.
        at_most: bound(k + 1.0, n - k, CONFIDENCE).unwrap_or(1.0),
        at_least: bound(k, n - k + 1.0, 1.0 - CONFIDENCE).unwrap_or(0.0),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
