//! Trials that are simulated: epochs with a luck of their own, slices in turns, load until the verdict stands.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution as _, Normal};

use super::{decision::Decided, *};
use crate::{
    comparison::standing::Standing,
    metric,
    run::{Latency, Slice, StepInterval},
    threshold::{Limit, Source},
};

/// What happens in a simulated trial.
#[derive(Clone, Copy)]
struct Shape {
    seed: u64,
    epochs: u32,
    rounds: u32,
    /// Operations in a slice.
    operations: u64,
    /// Their mean in the reference, in nanoseconds.
    mean: f64,
    /// How much slower the candidate is.
    slower: f64,
    /// The candidate is three times slower in one slice of so many.
    hiccup: Option<u32>,
    /// Standard deviation of what an instance and of what a slice adds, as shares.
    luck: f64,
    noise: f64,
    /// How much slower the machine is at the end than at the begin.
    drift: f64,
    /// How much slower the second slice of a round is.
    second: f64,
    /// Whether p99 is limited too.
    tail: bool,
    /// How much slower the first round of an epoch is.
    cold: f64,
    /// Share of the candidate's operations that fail.
    failing: f64,
    /// Whether targets are started anew with an epoch.
    fresh: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 24,
            rounds: 2,
            operations: 200,
            mean: 5e6,
            slower: 0.0,
            hiccup: None,
            luck: 0.01,
            noise: 0.02,
            drift: 0.0,
            second: 0.0,
            cold: 0.0,
            tail: false,
            failing: 0.0,
            fresh: true,
        }
    }
}

/// A trial with what is needed to judge it.
struct Simulated {
    thresholds: Vec<Threshold>,
    variants: Vec<String>,
    steps: Vec<StepOf>,
    intervals: Vec<Interval>,
    conduct: Conduct,
    /// After how many epochs a look ended the first stage, where one did.
    ended: Option<u32>,
}

impl Simulated {
    fn pairing(&self) -> Pairing<'_> {
        Pairing {
            thresholds: &self.thresholds,
            variants: &self.variants,
            steps: &self.steps,
            intervals: &self.intervals,
            resources: &[],
            conduct: &self.conduct,
            seed: 7,
        }
    }

    fn decisions(&self) -> Vec<Decision> {
        decide(&self.pairing()).0.into_iter().flatten().collect()
    }
}

fn threshold(name: &str, warning: &str, critical: &str) -> Threshold {
    let metric = metric::find(name).unwrap();
    Threshold {
        step: None,
        metric,
        warning: Some(Limit::parse(warning, metric).unwrap()),
        critical: Some(Limit::parse(critical, metric).unwrap()),
        source: Source::default(),
    }
}

/// Loads epoch after epoch, as a trial does, until the verdict stands.
fn conduct(shape: Shape) -> Simulated {
    let mut thresholds = vec![
        threshold("mean", "+3%", "+10%"),
        threshold("p50", "+3%", "+10%"),
        threshold("error_rate", "+0.1pp", "+1pp"),
    ];
    if shape.tail {
        thresholds.push(threshold("p99", "+10%", "+25%"));
    }
    let mut looks: Vec<u32> = crate::stats::looks::looks(shape.epochs as usize)
        .map(|look| look as u32)
        .to_vec();
    looks.dedup();
    let step = |variant| StepOf {
        variant,
        name: "get".into(),
    };
    let mut trial = Simulated {
        thresholds,
        variants: vec!["base".into(), "candidate".into()],
        steps: vec![step(0), step(1)],
        intervals: Vec::new(),
        conduct: Conduct {
            unit: if shape.fresh { Unit::Epoch } else { Unit::Pair },
            epochs: shape.epochs,
            looks,
            inflation: 1.0,
            instance_spread: 0.01,
            plan: String::new(),
            confirmation: None,
        },
        ended: None,
    };
    trial.conduct.plan = trial.conduct.hash(&trial.thresholds, 7);
    let mut machine = Machine::new(shape);
    let (mut epoch, mut end) = (0, shape.epochs);
    while epoch < end {
        machine.epoch(epoch, &mut trial.intervals);
        epoch += 1;
        if trial.conduct.confirmation.is_none() {
            let next = next(&trial.pairing(), epoch);
            if next != Next::GoOn {
                trial.ended = Some(epoch);
            }
            match next {
                Next::GoOn => {}
                Next::Stop => end = epoch,
                Next::Confirm => {
                    trial.conduct.confirmation = Some(epoch);
                    end = epoch + crate::stats::looks::confirming(shape.epochs as usize) as u32;
                }
            }
        }
    }
    trial
}

/// What is loaded.
struct Machine {
    shape: Shape,
    rng: Xoshiro256PlusPlus,
    /// Of the instances that are there, when they are not started anew.
    luck: [f64; 2],
    at_s: f64,
}

impl Machine {
    fn new(shape: Shape) -> Self {
        let mut machine = Self {
            shape,
            rng: Xoshiro256PlusPlus::seed_from_u64(shape.seed),
            luck: [0.0; 2],
            at_s: 0.0,
        };
        machine.luck = [0, 1].map(|_| machine.normal(shape.luck));
        machine
    }

    fn normal(&mut self, sd: f64) -> f64 {
        Normal::new(0.0, sd).unwrap().sample(&mut self.rng)
    }

    fn epoch(&mut self, epoch: u32, intervals: &mut Vec<Interval>) {
        if self.shape.fresh {
            self.luck = [0, 1].map(|_| self.normal(self.shape.luck));
        }
        for round in epoch * self.shape.rounds..(epoch + 1) * self.shape.rounds {
            let first = self.rng.random_range(0..2_usize);
            for (place, variant) in [first, 1 - first].into_iter().enumerate() {
                let interval = self.slice(epoch, round, variant, place == 1);
                intervals.push(interval);
            }
        }
    }

    fn slice(&mut self, epoch: u32, round: u32, variant: usize, is_second: bool) -> Interval {
        let Shape {
            operations,
            mean,
            slower,
            drift,
            noise,
            ..
        } = self.shape;
        let planned = f64::from(self.shape.epochs) * 0.5 * f64::from(self.shape.rounds);
        let mut level = mean * (1.0 + drift * self.at_s / planned) * (self.luck[variant] + self.normal(noise)).exp();
        if round.is_multiple_of(self.shape.rounds) {
            level *= 1.0 + self.shape.cold;
        }
        if is_second {
            level *= 1.0 + self.shape.second;
        }
        if variant == 1 {
            level *= 1.0 + slower;
            if self.shape.hiccup.is_some_and(|of| round.is_multiple_of(of)) {
                level *= 3.0;
            }
        }
        let failed = match variant {
            1 => (operations as f64 * self.shape.failing).round() as u64,
            _ => 0,
        };
        let (mut latency, mut missed) = (Latency::new(), Latency::new());
        for at in 0..operations {
            // Exponential with an offset: a tail, but no heavy one.
            let share = 0.5 - 0.5 * self.rng.random::<f64>().max(1e-9).ln();
            latency.record((level * share) as u64);
            if at < failed {
                missed.record((level * share) as u64);
            }
        }
        let slice = Slice {
            epoch,
            round,
            variant,
            start_s: self.at_s,
            length_s: 0.25,
        };
        self.at_s += 0.25;
        Interval {
            steps: vec![StepInterval {
                step: variant,
                completed: operations - failed,
                failed,
                unfinished: 0,
                response_sum_ns: latency.sum_ns,
                response_time: latency.encode(),
                service_sum_ns: latency.sum_ns,
                service_time: latency.encode(),
                missed: (failed > 0).then(|| [missed.encode(), missed.encode()]),
            }],
            slice: Some(slice),
            ..Interval::default()
        }
    }
}

fn standing(decided: Option<&Decided>) -> &Standing {
    &decided.unwrap().standing
}

/// Whether any limit is critical, and whether any warns.
fn alarms(trial: &Simulated) -> [bool; 2] {
    let decisions = trial.decisions();
    let broken = |limit: fn(&Decision) -> &Option<Decided>| {
        decisions
            .iter()
            .any(|decision| *standing(limit(decision).as_ref()) == Standing::Broken)
    };
    [
        broken(|decision| &decision.critical),
        broken(|decision| &decision.warning),
    ]
}

#[test]
fn a_variant_beside_itself_is_no_change() {
    let mut settled = 0;
    for seed in 0..12 {
        let trial = conduct(Shape {
            seed,
            ..Shape::default()
        });
        assert_eq!(alarms(&trial), [false, false], "seed {seed}");
        let decisions = trial.decisions();
        settled += u32::from(decisions.iter().all(|decision| decision.label == Some(Label::NoChange)));
    }
    assert!(settled >= 8, "{settled} of 12 were called no change");
}

#[test]
fn a_quarter_slower_is_critical_and_confirmed() {
    for seed in 0..5 {
        let trial = conduct(Shape {
            seed,
            slower: 0.25,
            ..Shape::default()
        });
        let mean = &trial.decisions()[0];
        assert_eq!(*standing(mean.critical.as_ref()), Standing::Broken, "seed {seed}");
        assert_eq!(mean.confirmation, Some(12));
        let change = mean.measured().unwrap().change;
        assert!((0.2..0.3).contains(&change), "{change}");
        // A third of the epochs is too early for anything critical.
        assert_eq!(trial.conduct.confirmation, Some(16));
    }
}

#[test]
fn five_per_cent_slower_warns() {
    let warned = (0..10).filter(|seed| {
        let trial = conduct(Shape {
            seed: *seed,
            slower: 0.05,
            noise: 0.01,
            operations: 400,
            ..Shape::default()
        });
        alarms(&trial) == [false, true]
    });
    assert!(warned.count() >= 9);
}

#[test]
fn what_was_lucky_once_is_not_confirmed() {
    // The candidate is slow until the trial wants to know it better.
    let slow = conduct(Shape {
        slower: 0.25,
        ..Shape::default()
    });
    let equal = conduct(Shape {
        epochs: 48,
        seed: 9,
        ..Shape::default()
    });
    let begin = slow.conduct.confirmation.unwrap();
    let own = slow
        .intervals
        .iter()
        .filter(|interval| interval.slice.unwrap().epoch < begin);
    let fresh = equal.intervals.iter().take(48).cloned().map(|interval| {
        let slice = interval.slice.unwrap();
        Interval {
            slice: Some(Slice {
                epoch: begin + slice.epoch,
                ..slice
            }),
            ..interval
        }
    });
    let trial = Simulated {
        intervals: own.cloned().chain(fresh).collect(),
        ..slow
    };
    let mean = &trial.decisions()[0];
    assert_eq!(*standing(mean.critical.as_ref()), Standing::Unconfirmed);
    assert_eq!((mean.label, mean.confirmation), (Some(Label::Unconfirmed), Some(12)));
    assert!(
        mean.measured().unwrap().change.abs() < 0.05,
        "the fresh epochs' figure is told"
    );
}

#[test]
fn a_machine_that_slows_down_steadily_is_no_regression() {
    for seed in 0..8 {
        let trial = conduct(Shape {
            seed,
            drift: 1.0,
            ..Shape::default()
        });
        assert_eq!(alarms(&trial), [false, false], "seed {seed}");
    }
}

#[test]
fn one_slow_slice_in_twenty_is_seen_in_the_mean() {
    let trial = conduct(Shape {
        hiccup: Some(20),
        rounds: 20,
        operations: 50,
        ..Shape::default()
    });
    let mean = &trial.decisions()[0];
    assert!(mean.measured().unwrap().change > 0.07);
    assert_eq!(*standing(mean.warning.as_ref()), Standing::Broken);
}

#[test]
fn failures_are_counted_and_forbid_an_improvement() {
    let trial = conduct(Shape {
        slower: -0.2,
        failing: 0.05,
        ..Shape::default()
    });
    let [mean, _, errors] = trial.decisions().try_into().unwrap();
    assert_eq!(*standing(errors.critical.as_ref()), Standing::Broken);
    assert_ne!(mean.label, Some(Label::Improved));
    let faster = conduct(Shape {
        slower: -0.2,
        ..Shape::default()
    });
    assert_eq!(faster.decisions()[0].label, Some(Label::Improved));
}

#[test]
fn a_quantile_is_not_fast_because_operations_failed_fast() {
    let trial = conduct(Shape {
        tail: true,
        slower: -0.2,
        failing: 0.05,
        ..Shape::default()
    });
    let p99 = &trial.decisions()[3];
    assert_eq!(*standing(p99.critical.as_ref()), Standing::Broken);
}

#[test]
fn the_same_two_instances_all_the_time_are_known_less_well() {
    let width = |fresh| {
        let trial = conduct(Shape {
            fresh,
            luck: 0.0,
            ..Shape::default()
        });
        let [lower, upper] = trial.decisions()[0].measured().unwrap().interval;
        upper - lower
    };
    assert!(width(false) > width(true) + 0.02);
}

#[test]
fn only_relative_limits_end_a_trial_early() {
    let epochs = |limits: Vec<Threshold>| {
        let mut trial = conduct(Shape {
            noise: 0.002,
            luck: 0.001,
            ..Shape::default()
        });
        trial.thresholds = limits;
        (1..=24).find(|epoch| next(&trial.pairing(), *epoch) != Next::GoOn)
    };
    let relative = || threshold("p50", "+10%", "+20%");
    assert_eq!(epochs(vec![relative()]), Some(8));
    assert_eq!(epochs(vec![relative(), threshold("p99", "1s", "2s")]), Some(24));
    assert_eq!(epochs(Vec::new()), Some(24));
}

#[test]
fn few_epochs_are_never_critical() {
    let trial = conduct(Shape {
        epochs: 6,
        slower: 1.0,
        ..Shape::default()
    });
    assert_eq!(alarms(&trial), [false, true]);
}

#[test]
fn an_interrupted_trial_is_judged_by_what_there_is() {
    let mut trial = conduct(Shape {
        noise: 0.2,
        luck: 0.1,
        ..Shape::default()
    });
    assert_eq!(trial.conduct.confirmation, None);
    trial.intervals.truncate(40);
    let (decisions, epochs) = decide(&trial.pairing());
    assert_eq!(epochs, 10);
    assert!(decisions[0].as_ref().unwrap().measured().is_some());
}

#[test]
fn judging_again_comes_to_the_end_that_the_trial_came_to() {
    for slower in [0.0, 0.05, 0.12, 0.3] {
        let mut trial = conduct(Shape {
            slower,
            noise: 0.05,
            ..Shape::default()
        });
        trial.conduct.inflation = 1.215_570_921_796_950_1;
        trial.conduct.plan = trial.conduct.hash(&trial.thresholds, 7);
        let before = format!("{:?}", trial.decisions());
        let stored = serde_json::to_string(&(&trial.conduct, &trial.intervals, &trial.thresholds)).unwrap();
        let (conduct, intervals, thresholds) = serde_json::from_str(&stored).unwrap();
        let again = Simulated {
            conduct,
            intervals,
            thresholds,
            ..trial
        };
        assert_eq!(format!("{:?}", again.decisions()), before);
        assert!(
            checks(&again.pairing())
                .iter()
                .all(|check| check.ok || check.id == "order")
        );
    }
    for slower in [0.0, 0.3] {
        let trial = conduct(Shape {
            slower,
            ..Shape::default()
        });
        assert_eq!(Some(decide(&trial.pairing()).1), trial.ended);
    }
}

#[test]
fn a_candidate_that_fails_completely_is_critical() {
    let trial = conduct(Shape {
        failing: 1.0,
        ..Shape::default()
    });
    let errors = &trial.decisions()[2];
    assert_eq!(*standing(errors.critical.as_ref()), Standing::Broken);
    assert_eq!(errors.measured().unwrap().change, 1.0);
}

#[test]
fn a_tail_three_times_as_long_is_confirmed_by_few_epochs_too() {
    let trial = conduct(Shape {
        tail: true,
        slower: 2.0,
        epochs: 12,
        ..Shape::default()
    });
    let p99 = &trial.decisions()[3];
    assert_eq!(*standing(p99.critical.as_ref()), Standing::Broken);
    assert_eq!(p99.confirmation, Some(8));
}

#[test]
fn no_failure_at_all_breaks_no_limit_on_failures() {
    let mut trial = conduct(Shape::default());
    trial.thresholds = vec![
        threshold("error_rate", "+10%", "+20%"),
        threshold("error_rate", "+0pp", "+0pp"),
    ];
    for decision in trial.decisions() {
        assert_eq!(*standing(decision.critical.as_ref()), Standing::RuledOut);
    }
}

#[test]
fn a_floor_above_the_critical_limit_does_not_hide_it() {
    let mut trial = conduct(Shape {
        slower: 0.3,
        ..Shape::default()
    });
    // 5 ms of 5 ms: the warning begins at twice the time.
    trial.thresholds = vec![threshold("mean", "+5% and 5ms", "+10%")];
    let mean = &trial.decisions()[0];
    assert_eq!(*standing(mean.critical.as_ref()), Standing::Broken);
    assert_eq!(mean.label, None);
}

#[test]
fn looks_that_no_trial_took_are_not_taken() {
    let trial = conduct(Shape::default());
    for looks in [vec![1; 1_000_000], vec![8, 8], vec![16, 8], Vec::new()] {
        let conduct = Conduct {
            looks,
            ..trial.conduct.clone()
        };
        assert!(!conduct.is_possible());
    }
    assert!(trial.conduct.is_possible());
}

#[test]
fn limits_changed_after_the_load_are_found() {
    let mut trial = conduct(Shape::default());
    assert!(checks(&trial.pairing()).iter().all(|check| check.ok));
    trial.thresholds[0] = threshold("mean", "+3%", "+50%");
    let failed: Vec<String> = checks(&trial.pairing())
        .into_iter()
        .filter(|check| !check.ok)
        .map(|check| check.id)
        .collect();
    assert_eq!(failed, ["plan"]);
}

#[test]
fn instances_that_are_not_warm_yet_are_noticed() {
    let told = |cold| {
        notes(
            &conduct(Shape {
                cold,
                ..Shape::default()
            })
            .pairing(),
        )
    };
    assert_eq!(told(0.0), Vec::<String>::new());
    let cold = told(0.3);
    assert!(
        cold.len() == 1 && cold[0].contains("load.warm_up is too short"),
        "{cold:?}"
    );
}

#[test]
fn what_one_slice_leaves_to_the_next_is_found() {
    let order = |second| {
        let trial = conduct(Shape {
            second,
            slower: 0.5,
            ..Shape::default()
        });
        let checks = checks(&trial.pairing());
        let check = checks.iter().find(|check| check.id == "order").unwrap();
        (check.ok, check.value.unwrap())
    };
    let (ok, effect) = order(0.1);
    assert!(!ok && (0.07..0.12).contains(&effect), "{effect}");
    assert!(order(0.0).0);
}
