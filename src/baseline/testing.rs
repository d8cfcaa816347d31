//! Runs built from a few numbers, for the tests of the judging half.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::Baseline;
use crate::{
    metric,
    run::{
        Accounting, Environment, ErrorCount, FORMAT, Fingerprint, Generator, Interval, Latency, Load, Model, Run,
        ScenarioText, Step, StepInterval,
    },
    sample::ErrorClass,
    threshold::{Limit, Source, Threshold},
};

/// The run as a baseline that nothing was added to.
pub(crate) fn accepted(run: Run) -> Baseline {
    Baseline {
        format: super::FORMAT.into(),
        name: "default".into(),
        accepted: "2026-01-03T00:00:00Z".parse().unwrap(),
        reason: None,
        run,
        since: Vec::new(),
    }
}

/// What a synthetic run looks like: every step does `rate` operations a second,
/// log-uniform within a factor of e² of its latency, every second with its own luck of ±10 %.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Makes two runs of the same shape different samples of the same distribution.
    pub(crate) luck: u64,
    /// Length of the measured window.
    pub(crate) seconds: u64,
    /// Operations per second and step.
    pub(crate) rate: u64,
    /// Name and lowest latency in milliseconds of every step.
    pub(crate) steps: Vec<(&'static str, f64)>,
    /// Failures at the first step, spread evenly.
    pub(crate) failures: u64,
    /// Step, metric, warning and critical of every threshold.
    pub(crate) thresholds: Vec<(Option<&'static str>, &'static str, &'static str, &'static str)>,
}

impl Default for Shape {
    fn default() -> Self {
        let steps = vec![("list orders", 10.0), ("pay", 4.0)];
        Self {
            luck: 1,
            seconds: 20,
            rate: 50,
            steps,
            failures: 0,
            thresholds: Vec::new(),
        }
    }
}

impl Shape {
    /// The run of that shape. Pure: the same shape gives the same run.
    pub(crate) fn run(&self) -> Run {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.luck);
        let mut steps: Vec<Step> = self.steps.iter().map(|(name, _)| empty_step(name)).collect();
        let intervals: Vec<Interval> = (0..self.seconds)
            .map(|k| self.second(k, &mut steps, &mut rng))
            .collect();
        for step in &mut steps {
            let count = step.failed();
            let example = Some("503 Service Unavailable".to_owned());
            let class = ErrorClass::Status(503);
            step.errors.extend((count > 0).then_some(ErrorCount {
                class,
                count,
                example,
                first_s: 0.0,
                last_s: 1.0,
            }));
        }
        let completed = steps.iter().map(Step::completed).sum();
        let failed = steps.iter().map(Step::failed).sum();
        Run {
            format: FORMAT.to_owned(),
            loadgate: "0.1.0".into(),
            id: format!("01RUN{:021}", self.luck),
            scenario: "shop".into(),
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            labels: BTreeMap::new(),
            seed: 7,
            fingerprint: Fingerprint {
                flows: "f".into(),
                data: "d".into(),
                load: "l".into(),
                seed: 7,
            },
            source: ScenarioText {
                path: "scenarios/shop.toml".into(),
                text: String::new(),
            },
            thresholds: self.thresholds.iter().map(threshold).collect(),
            claims: Vec::new(),
            load: self.load(),
            duration_s: self.seconds as f64,
            accounting: Accounting {
                scheduled: completed + failed,
                completed,
                failed,
                dropped: 0,
                unfinished: 0,
            },
            steps,
            intervals,
            send_lag: Latency::new(),
            generator: Generator {
                cpu_s: 1.0,
                wall_s: self.seconds as f64,
                cores: 2,
                ..Generator::default()
            },
            environment: environment(),
            targets: Vec::new(),
            partial: None,
            aborted: None,
            search: None,
            variants: Vec::new(),
            conduct: None,
            equivalence: None,
            census: None,
            resources: Vec::new(),
            usage: Vec::new(),
            caches: Vec::new(),
            activity: Vec::new(),
            links: Vec::new(),
            retries: Vec::new(),
            breakers: Vec::new(),
            pools: Vec::new(),
            left_behind: Vec::new(),
            incidents: Vec::new(),
        }
    }

    fn load(&self) -> Load {
        Load {
            model: Model::Open,
            rate: Some(self.rate as f64),
            users: None,
            staged: false,
            sessions: 8,
            duration_s: Some(self.seconds as f64),
            iterations: None,
            warm_up_s: 0.0,
            drain_s: 5.0,
        }
    }

    /// One second of load on every step, added to the steps as well.
    fn second(&self, k: u64, steps: &mut [Step], rng: &mut Xoshiro256PlusPlus) -> Interval {
        let mut interval = Interval {
            k,
            ..Interval::default()
        };
        let share = |at: u64| (self.failures * at).checked_div(self.seconds).unwrap_or(0);
        for (index, (step, (_, lowest))) in steps.iter_mut().zip(&self.steps).enumerate() {
            let failed = if index == 0 {
                (share(k + 1) - share(k)).min(self.rate)
            } else {
                0
            };
            let luck = 1.0 + 0.2 * (rng.random::<f64>() - 0.5);
            let (mut second, mut missed) = (Latency::new(), Latency::new());
            for at in 0..self.rate {
                let ns = (lowest * 1e6 * luck * (2.0 * rng.random::<f64>()).exp()) as u64;
                second.record(ns);
                if at < failed {
                    missed.record(ns);
                }
                for span in [&mut step.response_time, &mut step.service_time] {
                    if at < failed {
                        span.failed.record(ns);
                    } else {
                        span.completed.record(ns);
                    }
                }
            }
            interval.completed += self.rate - failed;
            interval.failed += failed;
            interval.steps.push(StepInterval {
                step: index,
                completed: self.rate - failed,
                failed,
                unfinished: 0,
                response_sum_ns: second.sum_ns,
                response_time: second.encode(),
                service_sum_ns: second.sum_ns,
                service_time: second.encode(),
                missed: (failed > 0).then(|| [missed.encode(), missed.encode()]),
            });
        }
        interval
    }
}

fn empty_step(name: &str) -> Step {
    Step {
        name: name.to_owned(),
        variant: None,
        flow: "buy".into(),
        protocol: "http".into(),
        target: "shop".into(),
        response_time: Default::default(),
        service_time: Default::default(),
        acquire: Latency::new(),
        connect: Latency::new(),
        tls: Latency::new(),
        first_byte: Latency::new(),
        body: Latency::new(),
        errors: Vec::new(),
    }
}

fn threshold(
    &(step, metric, warning, critical): &(Option<&'static str>, &'static str, &'static str, &'static str),
) -> Threshold {
    let metric = metric::find(metric).unwrap();
    let limit = |text: &str| (!text.is_empty()).then(|| Limit::parse(text, metric).unwrap());
    Threshold {
        step: step.map(str::to_owned),
        metric,
        warning: limit(warning),
        critical: limit(critical),
        source: Source {
            file: "scenarios/shop.toml".into(),
            line: 30,
        },
    }
}

fn environment() -> Environment {
    Environment {
        arch: "x86_64".into(),
        cpu: Some("Example CPU".into()),
        cores: 2,
        memory_bytes: Some(8 << 30),
        build: "release".into(),
        commit: Some("abc123".into()),
        branch: Some("main".into()),
        ..Environment::default()
    }
}
