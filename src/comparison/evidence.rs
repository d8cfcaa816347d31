//! A run's figures with what is known of their uncertainty.
//!
//! Turns the timeline of a run into the series that [`crate::stats`] resamples.
//! Knows nothing of limits.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    metric::{Counter, Measure, Metric, Span, Statistic},
    run::{Latency, Run, Step, StepInterval, hash},
    stats::{
        Estimate, Pool, Series,
        bootstrap::{FEWEST_UNITS, MOST_UNITS},
    },
};

/// So many samples must lie beyond a quantile, on both sides, for it to be compared or resampled.
const BEYOND: f64 = 10.0;

/// Which side of a comparison a run is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What it is compared with.
    Reference,
    /// The run that is judged.
    Candidate,
}

/// One run, its decoded timeline kept for the next threshold.
pub(super) struct Evidence<'a> {
    run: &'a Run,
    role: Role,
    pools: BTreeMap<(Option<String>, &'static str), Rc<Pool>>,
    assumed_independent: Vec<String>,
}

/// (value, count) pairs of one unit of time.
type Sparse = Vec<(u64, u64)>;

impl<'a> Evidence<'a> {
    pub(super) fn new(run: &'a Run, role: Role) -> Self {
        Self {
            run,
            role,
            pools: BTreeMap::new(),
            assumed_independent: Vec::new(),
        }
    }

    /// Name of the scenario.
    pub(super) fn scenario(&self) -> &'a str {
        &self.run.scenario
    }

    /// The value of a metric; `None` without samples.
    pub(super) fn value(&self, step: Option<&str>, metric: &Metric) -> Option<f64> {
        self.run.value(step, metric)
    }

    /// Why a counter is not known.
    pub(super) fn uncounted(&self, step: Option<&str>, counter: Counter) -> Option<String> {
        let census = self.run.census.as_ref()?;
        let counted = || self.run.steps_named(step).filter_map(|(index, _)| census.step(index));
        if let Some(why) = counted().find_map(|counted| counted.uncounted.get(&counter)) {
            return Some(why.clone());
        }
        if let Some(failing) = counted().find(|counted| counted.failed > 0) {
            let (failed, all) = (failing.failed, failing.operations);
            return Some(format!("{failed} of {all} operations failed while they were counted"));
        }
        census.notes.first().cloned()
    }

    /// Whether the run has a step of that name.
    pub(super) fn has_step(&self, step: Option<&str>) -> bool {
        self.run.steps_named(step).next().is_some()
    }

    /// Operations that were started.
    pub(super) fn operations(&self, step: Option<&str>) -> u64 {
        self.run
            .steps_named(step)
            .map(|(_, step)| started(step))
            .fold(0, u64::saturating_add)
    }

    /// Operations that failed or did not end.
    pub(super) fn missed(&self, step: Option<&str>) -> u64 {
        self.run
            .steps_named(step)
            .map(|(_, step)| step.failed() + step.unfinished())
            .sum()
    }

    /// Names of figures whose interval had to assume that operations are independent.
    pub(super) fn assumed_independent(&self) -> &[String] {
        &self.assumed_independent
    }

    /// The metric with its uncertainty; `None` without samples.
    ///
    /// # Errors
    /// A sentence, when the run's timeline cannot be read.
    pub(super) fn estimate(&mut self, step: Option<&str>, metric: &Metric) -> Result<Option<Estimate>, String> {
        let Some(value) = self.value(step, metric) else {
            return Ok(None);
        };
        let seed = self.seed(step, metric);
        Ok(Some(match metric.measure {
            Measure::DroppedRate | Measure::HighestRate | Measure::HitRatio | Measure::Latency(_, Statistic::Max) => {
                Estimate::exact(value)
            }
            // One window of load is one observation: nothing is known of its spread.
            Measure::CpuPerOperation => Estimate::single(value),
            Measure::Latency(span, Statistic::Quantile(q)) => {
                let few = self.operations(step) < fewest_for_quantile(q);
                if few || self.too_short(step) {
                    self.note_independence(step, metric);
                    Estimate::independent_quantile(value, q, &whole(self.run, step, span))
                } else {
                    Estimate::resampled(
                        value,
                        &Series::Quantile {
                            q,
                            pool: self.pool(step, span)?,
                        },
                        seed,
                    )
                }
            }
            Measure::Latency(span, Statistic::Mean) if self.too_short(step) => {
                self.note_independence(step, metric);
                Estimate::independent_mean(value, &whole(self.run, step, span))
            }
            Measure::Latency(span, Statistic::Mean) => Estimate::resampled(value, &self.means(step, span), seed),
            Measure::ErrorRate => Estimate::resampled(value, &self.error_rates(step), seed)
                .or_share(self.missed(step), self.operations(step)),
            Measure::Throughput => Estimate::resampled(value, &self.throughputs(step), seed),
            Measure::Counter(counter) => return Ok(self.run.count(step, counter).map(Estimate::counted)),
        }))
    }

    /// From stored data only, and another one for each side: a run beside itself must not look certain.
    fn seed(&self, step: Option<&str>, metric: &Metric) -> u64 {
        let Run { id, seed, .. } = self.run;
        let digest = hash(format!("{:?} {id} {seed} {step:?} {}", self.role, metric.name).as_bytes());
        u64::from_str_radix(&digest[..16], 16).unwrap_or(*seed)
    }

    fn note_independence(&mut self, step: Option<&str>, metric: &Metric) {
        let name = format!("{} {}", step.unwrap_or("all steps"), metric.title);
        if !self.assumed_independent.contains(&name) {
            self.assumed_independent.push(name);
        }
    }

    /// Whether too few units hold samples for resampling them.
    fn too_short(&self, step: Option<&str>) -> bool {
        let counts = self.by_unit(step, |interval| [interval.started() as f64, 0.0]);
        counts.iter().filter(|unit| unit[0] > 0.0).count() < FEWEST_UNITS
    }

    fn means(&self, step: Option<&str>, span: Span) -> Series {
        let units = self.by_unit(step, |interval| {
            let sum = match span {
                Span::ResponseTime => interval.response_sum_ns,
                Span::ServiceTime => interval.service_sum_ns,
            };
            [sum as f64, interval.started() as f64]
        });
        Series::Ratio(units)
    }

    fn error_rates(&self, step: Option<&str>) -> Series {
        Series::Ratio(self.by_unit(step, |interval| [interval.missed() as f64, interval.started() as f64]))
    }

    fn throughputs(&self, step: Option<&str>) -> Series {
        let mut units = self.by_unit(step, |interval| [interval.completed as f64, 0.0]);
        let timeline = Timeline::of(self.run);
        for (at, unit) in units.iter_mut().enumerate() {
            unit[1] = timeline.seconds_of(at, self.run.duration_s);
        }
        Series::Ratio(units)
    }

    /// Sums of two figures of every step interval, per unit of time.
    fn by_unit(&self, step: Option<&str>, figures: impl Fn(&StepInterval) -> [f64; 2]) -> Vec<[f64; 2]> {
        let timeline = Timeline::of(self.run);
        let mut units = vec![[0.0; 2]; timeline.units()];
        for (k, interval) in intervals(self.run, step) {
            add(units.get_mut(timeline.unit(k)), figures(interval));
        }
        units
    }

    /// The values of every unit, decoded once.
    fn pool(&mut self, step: Option<&str>, span: Span) -> Result<Rc<Pool>, String> {
        let key = (step.map(str::to_owned), span.key());
        if let Some(pool) = self.pools.get(&key) {
            return Ok(Rc::clone(pool));
        }
        let timeline = Timeline::of(self.run);
        let mut units = vec![Sparse::new(); timeline.units()];
        for (k, interval) in intervals(self.run, step) {
            let encoded = match span {
                Span::ResponseTime => &interval.response_time,
                Span::ServiceTime => &interval.service_time,
            };
            if let Some(unit) = units.get_mut(timeline.unit(k)) {
                unit.extend(
                    encoded
                        .counts()
                        .map_err(|error| format!("second {k} of run {}: {error}", self.run.id))?,
                );
            }
        }
        let pool = Pool::new(&units);
        self.pools.insert(key, Rc::clone(&pool));
        Ok(pool)
    }
}

/// How seconds are merged into units, of which there are at most [`MOST_UNITS`].
///
/// What ended during the drain belongs to the last unit.
struct Timeline {
    /// Whole seconds of the measured window, at least one.
    seconds: u64,
    /// Seconds per unit; the last unit may have up to twice as many.
    per_unit: u64,
}

impl Timeline {
    fn of(run: &Run) -> Self {
        // A window of 19.98 s has 20 seconds; one of 20.3 s has a longer last one.
        let seconds = (run.duration_s.round() as u64).max(1);
        Self {
            seconds,
            per_unit: seconds.div_ceil(MOST_UNITS),
        }
    }

    fn units(&self) -> usize {
        (self.seconds / self.per_unit) as usize
    }

    fn unit(&self, second: u64) -> usize {
        ((second / self.per_unit) as usize).min(self.units() - 1)
    }

    /// Length of a unit in seconds within a window of `duration_s`.
    fn seconds_of(&self, unit: usize, duration_s: f64) -> f64 {
        let start = unit as f64 * self.per_unit as f64;
        if unit + 1 == self.units() {
            duration_s - start
        } else {
            self.per_unit as f64
        }
    }
}

/// The intervals of the steps that are meant, with their second.
fn intervals<'a>(run: &'a Run, step: Option<&'a str>) -> impl Iterator<Item = (u64, &'a StepInterval)> {
    let meant = move |index: usize| {
        run.steps
            .get(index)
            .is_some_and(|s| step.is_none_or(|name| s.name == name))
    };
    let steps = run
        .intervals
        .iter()
        .flat_map(|interval| interval.steps.iter().map(|step| (interval.k, step)));
    steps.filter(move |(_, interval)| meant(interval.step))
}

fn add(unit: Option<&mut [f64; 2]>, figures: [f64; 2]) {
    if let Some(unit) = unit {
        unit[0] += figures[0];
        unit[1] += figures[1];
    }
}

/// How many samples it takes for ten to lie beyond a quantile on either side: 200 for p95, 1,000 for p99.
pub(super) fn fewest_for_quantile(q: f64) -> u64 {
    (BEYOND / q.min(1.0 - q)).round() as u64
}

fn started(step: &Step) -> u64 {
    step.count() + step.unfinished()
}

/// All values of a run as one unit.
fn whole(run: &Run, step: Option<&str>, span: Span) -> Rc<Pool> {
    let by_step = run
        .steps_named(step)
        .flat_map(|(_, step)| sparse(&step.latency(span).all()));
    Pool::new(&[by_step.collect()])
}

fn sparse(latency: &Latency) -> Sparse {
    latency
        .hdr
        .iter_recorded()
        .map(|v| (v.value_iterated_to(), v.count_at_value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{baseline::testing::Shape, metric};

    #[test]
    fn the_timeline_gives_the_same_values_as_the_whole_run() {
        let run = Shape {
            seconds: 130,
            rate: 20,
            failures: 40,
            ..Shape::default()
        }
        .run();
        let mut evidence = Evidence::new(&run, Role::Candidate);
        for step in [None, Some("pay"), Some("list orders")] {
            let value = |name: &str| run.value(step, metric::find(name).unwrap());
            let pool = evidence.pool(step, Span::ServiceTime).unwrap();
            let ones = vec![1; pool.units()];
            assert_eq!(pool.quantile(0.95, &ones), value("service_p95"));
            for (series, name) in [
                (evidence.means(step, Span::ResponseTime), "mean"),
                (evidence.error_rates(step), "error_rate"),
                (evidence.throughputs(step), "throughput"),
            ] {
                let (ours, whole) = (series.value(&ones).unwrap(), value(name).unwrap());
                assert!((ours - whole).abs() <= 1e-9 * whole, "{name}: {ours} {whole}");
            }
        }
    }

    #[test]
    fn an_hour_has_no_more_units_than_two_minutes() {
        for (seconds, units) in [
            (0.4, 1),
            (19.98, 20),
            (120.0, 120),
            (121.0, 60),
            (3600.0, 120),
            (1e30, 119),
        ] {
            let run = Run {
                duration_s: seconds,
                ..Shape {
                    seconds: 1,
                    rate: 1,
                    ..Shape::default()
                }
                .run()
            };
            let timeline = Timeline::of(&run);
            assert_eq!(timeline.units(), units, "{seconds}");
            assert_eq!(timeline.unit(u64::MAX), timeline.units() - 1);
            let total: f64 = (0..timeline.units())
                .map(|unit| timeline.seconds_of(unit, seconds))
                .sum();
            assert!((total / seconds - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_broken_timeline_is_an_error_not_a_panic() {
        let mut run = Shape::default().run();
        run.intervals[3].steps[0].response_time = crate::run::Encoded("nonsense".into());
        let p95 = metric::find("p95").unwrap();
        let error = Evidence::new(&run, Role::Candidate)
            .estimate(Some("list orders"), p95)
            .unwrap_err();
        assert!(error.starts_with("second 3 of run 01RUN"), "{error}");
    }
}
