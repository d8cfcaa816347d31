//! One variant beside the reference, epoch by epoch: each epoch's change is one
//! observation, because instances of one epoch share their luck.

use std::collections::BTreeMap;

use crate::{
    metric::{Measure, Metric, Span},
    run::{Encoded, Interval, Latency, Run},
    stats::{Bounds, Scale, mean_interval},
};

/// The changes of one metric, in each epoch that has it on both sides.
pub(super) struct Changes {
    /// Reference and candidate.
    values: Vec<[f64; 2]>,
}

/// A change over all epochs, candidate relative to reference or less it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    pub(super) estimate: f64,
    /// 95 %; `None` with a single epoch.
    pub(super) interval: Option<Bounds>,
}

impl Changes {
    /// Of a metric that slices tell of; `None` for all others.
    ///
    /// # Errors
    /// A sentence, when a slice cannot be read.
    pub(super) fn new(
        reference: &Run,
        candidate: &Run,
        step: Option<&str>,
        metric: &Metric,
    ) -> Result<Option<Self>, String> {
        if metric.measure.is_exact() {
            return Ok(None);
        }
        let (before, now) = (values(reference, step, metric)?, values(candidate, step, metric)?);
        let pairs = before
            .iter()
            .filter_map(|(epoch, before)| Some([*before, *now.get(epoch)?]));
        Ok(Some(Self {
            values: pairs.collect(),
        }))
    }

    /// The mean change with the t interval of its mean; on the log scale where it is relative.
    pub(super) fn on(&self, scale: Scale) -> Option<Change> {
        let changes: Option<Vec<f64>> = self
            .values
            .iter()
            .map(|[before, now]| match scale {
                Scale::Difference => Some(now - before),
                Scale::Relative if now == before => Some(0.0),
                Scale::Relative => (*before > 0.0 && *now > 0.0).then(|| (now / before).ln()),
            })
            .collect();
        let (mean, interval) = mean_interval(&changes?)?;
        let back = |value: f64| match scale {
            Scale::Difference => value,
            Scale::Relative => value.exp_m1(),
        };
        Some(Change {
            estimate: back(mean),
            interval: interval.map(|bounds| bounds.map(back)),
        })
    }
}

/// The metric in each epoch.
fn values(run: &Run, step: Option<&str>, metric: &Metric) -> Result<BTreeMap<u32, f64>, String> {
    let mut epochs: BTreeMap<u32, Vec<&Interval>> = BTreeMap::new();
    for interval in &run.intervals {
        if let Some(slice) = interval.slice {
            epochs.entry(slice.epoch).or_default().push(interval);
        }
    }
    let wanted: Vec<usize> = run.steps_named(step).map(|(index, _)| index).collect();
    let mut values = BTreeMap::new();
    for (epoch, slices) in epochs {
        let value = match metric.measure {
            Measure::CpuPerOperation => run.cpu_per_operation(Some(epoch)),
            _ => value(&slices, &wanted, metric)?,
        };
        if let Some(value) = value {
            values.insert(epoch, value);
        }
    }
    Ok(values)
}

fn value(slices: &[&Interval], wanted: &[usize], metric: &Metric) -> Result<Option<f64>, String> {
    let steps = || {
        let all = slices.iter().flat_map(|slice| &slice.steps);
        all.filter(|step| wanted.contains(&step.step))
    };
    // As floats: a damaged file may hold counts that overflow.
    let (completed, failed) = steps().fold((0.0, 0.0), |(completed, failed), step| {
        (completed + step.completed as f64, failed + step.failed as f64)
    });
    Ok(match metric.measure {
        Measure::Latency(span, statistic) => {
            let mut all = Latency::new();
            for step in steps() {
                let (encoded, sum_ns) = match span {
                    Span::ResponseTime => (&step.response_time, step.response_sum_ns),
                    Span::ServiceTime => (&step.service_time, step.service_sum_ns),
                };
                add(&mut all, encoded, sum_ns)?;
            }
            all.statistic(statistic)
        }
        Measure::ErrorRate => (completed + failed > 0.0).then(|| failed / (completed + failed)),
        Measure::Throughput => {
            let seconds: f64 = slices
                .iter()
                .filter_map(|slice| slice.slice)
                .map(|slice| slice.length_s)
                .sum();
            (seconds > 0.0).then(|| completed / seconds)
        }
        Measure::DroppedRate | Measure::HighestRate | Measure::CpuPerOperation | Measure::Counter(_) => None,
    })
}

fn add(all: &mut Latency, encoded: &Encoded, sum_ns: u64) -> Result<(), String> {
    let histogram = encoded.decode()?;
    all.hdr.add(&histogram).map_err(|error| error.to_string())?;
    all.sum_ns = all.sum_ns.saturating_add(sum_ns);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_one_observation() {
        let changes = Changes {
            values: vec![[100.0, 110.0], [200.0, 222.0], [50.0, 54.5]],
        };
        let relative = changes.on(Scale::Relative).unwrap();
        assert!((relative.estimate - 0.1).abs() < 1e-3, "{relative:?}");
        let [lower, upper] = relative.interval.unwrap();
        assert!(
            lower > 0.05 && lower < 0.1 && upper > 0.1 && upper < 0.15,
            "{relative:?}"
        );
        let difference = changes.on(Scale::Difference).unwrap();
        assert!((difference.estimate - 12.166_666).abs() < 1e-3);
        // From zero to zero is no change; from zero to something has no ratio.
        let none = Changes {
            values: vec![[0.0, 0.0], [0.0, 0.0]],
        };
        assert_eq!(none.on(Scale::Relative).unwrap().interval, Some([0.0, 0.0]));
        let some = Changes {
            values: vec![[0.0, 1.0], [1.0, 1.0]],
        };
        assert_eq!(some.on(Scale::Relative), None);
    }
}
