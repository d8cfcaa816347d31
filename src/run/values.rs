//! The values of metrics: what thresholds and reports ask a run for.

use std::collections::BTreeMap;

use super::{Accounting, Cache, Count, Latency, Pool, Retries, Run, Step, StepCensus, variant};
use crate::metric::{Counter, Measure, Metric, Statistic};

impl Run {
    /// The steps that something is about: the one with that label, or all.
    pub fn steps_named<'a>(&'a self, step: Option<&'a str>) -> impl Iterator<Item = (usize, &'a Step)> {
        self.steps
            .iter()
            .enumerate()
            .filter(move |(_, s)| step.is_none_or(|label| s.is_labelled(label)))
    }

    /// What was measured of one variant, as if it had been alone: its slices are then the whole timeline.
    pub fn of_variant(&self, index: usize) -> Option<Self> {
        let variant = self.variants.get(index)?;
        let own: Vec<usize> = (0..self.steps.len())
            .filter(|step| self.steps[*step].variant.as_deref() == Some(variant.name.as_str()))
            .collect();
        let steps = own.iter().map(|step| Step {
            variant: None,
            ..self.steps[*step].clone()
        });
        Some(Self {
            steps: steps.collect(),
            intervals: variant::intervals(&self.intervals, index, &own),
            accounting: variant.accounting,
            duration_s: variant.loaded_s,
            variants: Vec::new(),
            conduct: None,
            retries: own
                .iter()
                .enumerate()
                .filter_map(|(step, own)| self.retries_of(*own).map(|tried| Retries { step, ..tried }))
                .collect(),
            breakers: self
                .breakers
                .iter()
                .filter(|breaker| breaker.variant.as_ref() == Some(&variant.name))
                .map(|breaker| variant::breaker(&self.intervals, index, breaker))
                .collect(),
            census: self.census.as_ref().map(|census| census.of(&own)),
            resources: self
                .resources
                .iter()
                .filter(|used| used.variant.as_ref() == Some(&variant.name))
                .cloned()
                .collect(),
            caches: self
                .caches
                .iter()
                .filter(|cache| cache.variant.as_ref() == Some(&variant.name))
                .cloned()
                .collect(),
            pools: self
                .pools
                .iter()
                .filter(|pool| pool.variant.as_ref() == Some(&variant.name))
                .map(|pool| Pool {
                    variant: None,
                    ..pool.clone()
                })
                .collect(),
            ..self.clone()
        })
    }

    /// How often the step with that index was tried, where it has a policy.
    pub fn retries_of(&self, step: usize) -> Option<Retries> {
        self.retries.iter().find(|tried| tried.step == step).copied()
    }

    /// CPU time of the targets per operation in nanoseconds, over all epochs or in one.
    ///
    /// Of what was used in an epoch with slices only the share counts that was recorded.
    pub fn cpu_per_operation(&self, epoch: Option<u32>) -> Option<f64> {
        let wanted = |of: u32| epoch.is_none_or(|epoch| epoch == of);
        let mut operations = 0_u64;
        let mut recorded_s: BTreeMap<u32, f64> = BTreeMap::new();
        for interval in &self.intervals {
            if interval.slice.is_some_and(|slice| !wanted(slice.epoch)) {
                continue;
            }
            // A damaged file may hold counts that overflow.
            operations = interval
                .steps
                .iter()
                .flat_map(|step| [step.completed, step.failed])
                .fold(operations, u64::saturating_add);
            if let Some(slice) = interval.slice {
                *recorded_s.entry(slice.epoch).or_default() += slice.length_s;
            }
        }
        let used = self.resources.iter().filter(|used| wanted(used.epoch));
        let cpu_s = used.map(|used| {
            let recorded_s = recorded_s.get(&used.epoch).copied();
            used.cpu_s * recorded_s.map_or(1.0, |recorded_s| recorded_s / used.loaded_s)
        });
        let cpu_s = cpu_s.reduce(|sum, cpu_s| sum + cpu_s)?;
        (operations > 0).then(|| cpu_s * 1e9 / operations as f64)
    }

    /// Of the caches of one step, or of all together.
    fn hit_ratio(&self, step: Option<&str>) -> Option<f64> {
        let mut all = Cache::default();
        for cache in self
            .caches
            .iter()
            .filter(|cache| step.is_none_or(|step| cache.step == step))
        {
            all.add(cache);
        }
        all.hit_ratio()
    }

    /// A counter per operation, of one step or of all together, with what it lies between where the takings disagree.
    pub fn count(&self, step: Option<&str>, counter: Counter) -> Option<[f64; 2]> {
        let census = self.census.as_ref()?;
        let steps: Vec<&StepCensus> = self
            .steps_named(step)
            .filter_map(|(index, _)| census.step(index))
            .collect();
        if counter == Counter::QueriesPerRecord {
            let slopes = steps.iter().filter_map(|step| Some(step.growth?.slope()));
            return slopes.reduce(f64::max).map(|slope| [slope, slope]);
        }
        // What failed was cheap, or dear, for another reason.
        if steps.iter().any(|step| step.failed > 0) {
            return None;
        }
        let operations: u64 = steps.iter().map(|step| step.operations).fold(0, u64::saturating_add);
        let counts: Option<Vec<Count>> = steps.iter().map(|step| step.counts.get(&counter).copied()).collect();
        let counts = counts.filter(|counts| !counts.is_empty() && operations > 0)?;
        let sum = |taking: fn(&Count) -> u64| {
            counts.iter().map(taking).fold(0, u64::saturating_add) as f64 / operations as f64
        };
        let (first, second) = (sum(|count| count.first), sum(|count| count.second));
        Some([first.min(second), first.max(second)])
    }

    /// The value of a metric, in its base unit, for one step or for all steps together.
    ///
    /// `None` where there is nothing to compute it from: no such step, no samples.
    /// Latencies cover every operation that was started: completed, failed and,
    /// with what they had reached, unfinished.
    pub fn value(&self, step: Option<&str>, metric: &Metric) -> Option<f64> {
        match metric.measure {
            Measure::Latency(span, statistic) => {
                let mut all = Latency::new();
                for (_, step) in self.steps_named(step) {
                    all.add(&step.latency(span).all());
                }
                all.statistic(statistic)
            }
            Measure::ErrorRate => {
                let (bad, all) = self.steps_named(step).fold((0, 0), |(bad, all), (_, s)| {
                    let missed = s.failed() + s.unfinished();
                    (bad + missed, all + s.completed() + missed)
                });
                (all > 0).then(|| bad as f64 / all as f64)
            }
            Measure::Throughput => {
                let completed: u64 = self.steps_named(step).map(|(_, s)| s.completed()).sum();
                let any = self.steps_named(step).any(|(_, s)| s.count() + s.unfinished() > 0);
                (any && self.duration_s > 0.0).then(|| completed as f64 / self.duration_s)
            }
            measure if measure.is_of_run() && step.is_some() => None,
            Measure::DroppedRate => {
                let Accounting { scheduled, dropped, .. } = self.accounting;
                (scheduled > 0).then(|| dropped as f64 / scheduled as f64)
            }
            Measure::HighestRate => self.search.as_ref()?.highest_rate,
            Measure::CpuPerOperation => self.cpu_per_operation(None),
            Measure::HitRatio => self.hit_ratio(step),
            Measure::Counter(counter) => self.count(step, counter).map(|[low, high]| f64::midpoint(low, high)),
        }
    }
}

/// The value of a statistic, in nanoseconds; `None` without samples.
impl Latency {
    /// See [`Statistic`].
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Mean => self.mean(),
            Statistic::Quantile(q) => self.quantile(q),
            Statistic::Max => self.max(),
        }
    }
}
