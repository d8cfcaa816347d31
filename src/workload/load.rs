//! The `[load]` of a scenario → when flows start and when the window ends.

use std::{ops::Range, time::Duration};

use super::{
    AbortWhen, Arrivals, End, Load, Profile, Rates, Search,
    compile::{Compiler, place},
    steps,
};
use crate::{
    metric::{Better, Measure, Metric},
    scenario::{self, At, Scenario},
    threshold::{Limit, Threshold},
    units::{self, Unit},
};

/// A window shorter than this measures nothing.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);

/// How close a search comes to the next rate that breaks a limit, unless it says otherwise.
const DEFAULT_PRECISION: f64 = 0.05;

/// How long a condition must be broken to end a run, unless it says otherwise.
const DEFAULT_LASTING: Duration = Duration::from_secs(10);

impl Compiler<'_> {
    pub(super) fn load(&mut self, scenario: &Scenario) -> Option<Load> {
        let Some(load) = &scenario.load else {
            let help =
                Some("add [load] with rate = \"100/s\" (open) or users = 10 (closed), and duration = \"30s\"".into());
            self.problems
                .add_missing_at_top("the scenario has no load", "`[load]` is missing", help);
            return None;
        };
        let scenario::Load { warm_up, drain, .. } = &load.value;
        let warm_up = self.duration(warm_up.as_ref(), Duration::ZERO);
        let drain = self.duration(drain.as_ref(), Duration::from_secs(10));
        let search = load.value.search.as_ref().map(|search| self.search(search));
        let profile = self.profile(load, search);
        let end = self.end(load);
        Some(Load {
            profile: profile?,
            end: end?,
            warm_up,
            drain,
            search: match search {
                Some(search) => Some(search?),
                None => None,
            },
            abort_when: Vec::new(),
        })
    }

    /// `search` is there where one is written, and inside where it could be read.
    fn profile(&mut self, load: &At<scenario::Load>, search: Option<Option<Search>>) -> Option<Profile> {
        let scenario::Load {
            rate,
            users,
            search: written,
            ..
        } = &load.value;
        let models = [
            ("rate", place(rate)),
            ("users", place(users)),
            ("search", place(written)),
        ];
        let mut given = models.into_iter().filter_map(|(key, place)| Some((key, place?)));
        let (Some((first, _)), second) = (given.next(), given.next()) else {
            let help = Some("write rate = \"100/s\" (open) or users = 10 (closed)".into());
            self.problems
                .add_missing(load.span(), "the load has no model", "neither `rate` nor `users`", help);
            return None;
        };
        if let Some((second, _)) = second {
            let help = Some(
                "keep `rate` (open: arrivals do not wait), `users` (closed: users wait for answers) or `search`".into(),
            );
            let label = format!("`{first}` and `{second}` exclude each other");
            let place = place(rate).or_else(|| place(users)).unwrap_or_else(|| load.span());
            self.problems.add(place, "two load models at once", label, help);
            return None;
        }
        match (rate, users, search) {
            (Some(rate), ..) => {
                let start = self.quantity(rate, "rate", units::parse_rate);
                self.open(start, &load.value)
            }
            (_, Some(users), _) => Some(self.closed(users, &load.value)),
            (_, _, search) => self.open(search.flatten().map(|search| search.from), &load.value),
        }
    }

    fn open(&mut self, start: Option<f64>, load: &scenario::Load) -> Option<Profile> {
        let scenario::Load {
            ramp,
            iterations,
            think,
            throttle,
            arrivals,
            max_in_flight,
            queue,
            stages,
            ..
        } = load;
        self.not_in(
            "users",
            "a closed model",
            &[
                ("ramp", place(ramp)),
                ("iterations", place(iterations)),
                ("think", place(think)),
                ("throttle", place(throttle)),
            ],
        );
        let words = [("even", Arrivals::Even), ("poisson", Arrivals::Poisson)];
        let arrivals = self.word(arrivals.as_ref(), &words, Arrivals::Even);
        let max_in_flight = self.integer(max_in_flight.as_ref(), "max_in_flight", 1..=10_000, 64) as usize;
        let queue = self.integer(queue.as_ref(), "queue", 0..=10_000_000, 1000) as usize;
        let stages = self.rate_stages(start.unwrap_or(1.0), stages.as_ref());
        Some(Profile::Open {
            rates: Rates { start: start?, stages },
            arrivals,
            max_in_flight,
            queue,
        })
    }

    fn closed(&mut self, users: &At<i64>, load: &scenario::Load) -> Profile {
        let scenario::Load {
            ramp,
            warm_up,
            think,
            throttle,
            arrivals,
            max_in_flight,
            queue,
            stages,
            ..
        } = load;
        self.not_in(
            "rate",
            "an open model",
            &[
                ("arrivals", place(arrivals)),
                ("max_in_flight", place(max_in_flight)),
                ("queue", place(queue)),
            ],
        );
        let users = self.integer(Some(users), "users", 1..=10_000, 1) as usize;
        let ramp_up = self.duration(ramp.as_ref(), Duration::ZERO);
        if let (Some(_), Some(ramp)) = (stages, ramp) {
            self.whole_seconds(ramp, ramp_up);
        }
        if let (Some(_), Some(warm_up)) = (stages, warm_up) {
            let length = self.duration(Some(warm_up), Duration::ZERO);
            self.whole_seconds(warm_up, length);
        }
        Profile::Closed {
            users,
            ramp: ramp_up,
            stages: self.user_stages(users, stages.as_ref()),
            think: think.as_ref().and_then(|think| self.wait(think)),
            throttle: throttle
                .as_ref()
                .and_then(|throttle| self.quantity(throttle, "rate", units::parse_rate)),
        }
    }

    fn rate_stages(&mut self, start: f64, stages: Option<&At<Vec<At<scenario::Stage>>>>) -> Vec<(f64, Duration)> {
        let mut rate = start;
        let mut compiled = Vec::new();
        for stage in stages.map_or(&[][..], |stages| &stages.value) {
            if let Some(users) = &stage.value.users {
                self.problem(users, "`users` does not belong here", "the load has a `rate`", None);
            }
            rate = stage
                .value
                .rate
                .as_ref()
                .and_then(|rate| self.quantity(rate, "rate", units::parse_rate))
                .unwrap_or(rate);
            compiled.push((rate, self.stage_length(stage)));
        }
        compiled
    }

    fn user_stages(&mut self, start: usize, stages: Option<&At<Vec<At<scenario::Stage>>>>) -> Vec<(usize, Duration)> {
        let mut users = start;
        let mut compiled = Vec::new();
        for stage in stages.map_or(&[][..], |stages| &stages.value) {
            if let Some(rate) = &stage.value.rate {
                self.problem(rate, "`rate` does not belong here", "the load has `users`", None);
            }
            let before = users as i64;
            users = self.integer(stage.value.users.as_ref(), "users", 1..=10_000, before) as usize;
            let length = self.stage_length(stage);
            self.whole_seconds(stage, length);
            compiled.push((users, length));
        }
        compiled
    }

    /// Goose, which starts and stops the users, counts the time of stages in seconds.
    fn whole_seconds<T>(&mut self, at: &At<T>, length: Duration) {
        if length.subsec_nanos() != 0 {
            let label = "where stages change the number of users, times are whole seconds";
            self.problem(at, "not whole seconds", label, None);
        }
    }

    fn stage_length(&mut self, stage: &At<scenario::Stage>) -> Duration {
        let Some(duration) = &stage.value.duration else {
            let help = Some("write for example duration = \"30s\"; \"0s\" is a jump".into());
            self.problems
                .add_missing(stage.span(), "a stage without a length", "`duration` is missing", help);
            return Duration::ZERO;
        };
        self.duration(Some(duration), Duration::ZERO)
    }

    fn search(&mut self, at: &At<scenario::Search>) -> Option<Search> {
        let scenario::Search { from, to, precision } = &at.value;
        let (Some(from), Some(to)) = (from, to) else {
            let help = Some("write search = { from = \"100/s\", to = \"10000/s\" }".into());
            self.problem(at, "a search without bounds", "`from` and `to` are needed", help);
            return None;
        };
        let precision = match precision {
            None => Some(DEFAULT_PRECISION),
            Some(at) => self.quantity(at, "precision", |text| match units::split_number(text)? {
                (share, "%") if (1.0..=50.0).contains(&share) => Ok(share / 100.0),
                _ => Err("write a share from 1% to 50%".into()),
            }),
        };
        let (lowest, highest) = (
            self.quantity(from, "rate", units::parse_rate)?,
            self.quantity(to, "rate", units::parse_rate)?,
        );
        if lowest >= highest {
            self.problem(to, "nothing to search", "`to` must be above `from`", None);
        }
        Some(Search {
            from: lowest,
            to: highest,
            precision: precision?,
        })
    }

    /// A search needs something to hold.
    pub(super) fn searchable(&mut self, load: Option<&At<scenario::Load>>, thresholds: &[Threshold]) {
        let absolute = |limit: &Option<Limit>| limit.is_some_and(|limit| !limit.is_relative());
        let any = thresholds
            .iter()
            .any(|threshold| absolute(&threshold.warning) || absolute(&threshold.critical));
        if let (Some(search), false) = (load.and_then(|load| load.value.search.as_ref()), any) {
            let help = Some("add [[threshold]] with metric = \"p99\" and critical = \"50ms\"".into());
            self.problem(
                search,
                "a search without limits",
                "no threshold has an absolute limit",
                help,
            );
        }
    }

    /// Conditions that end a run early.
    pub(super) fn abort_when(&mut self, load: Option<&At<scenario::Load>>, steps: &steps::Compiled) -> Vec<AbortWhen> {
        load.map_or(&[][..], |load| &load.value.abort_when)
            .iter()
            .filter_map(|at| self.abort(at, steps))
            .collect()
    }

    fn abort(&mut self, at: &At<scenario::AbortWhen>, steps: &steps::Compiled) -> Option<AbortWhen> {
        let scenario::AbortWhen {
            step,
            metric,
            limit,
            lasting,
        } = &at.value;
        self.limited_step(step.as_ref(), &steps.names);
        let lasting = self.timeout(lasting.as_ref(), DEFAULT_LASTING);
        let metric = self.metric(at.span(), metric.as_ref())?;
        let never = matches!(
            metric.measure,
            Measure::HighestRate | Measure::CpuPerOperation | Measure::HitRatio | Measure::Counter(_)
        );
        if never || (metric.measure.is_of_run() && step.is_some()) {
            let title = format!("{} cannot end a run", metric.name);
            let label = "it is known only before or after the load, or a figure of the whole run";
            self.problem(at, title, label, None);
        }
        let Some(written) = limit else {
            let help = Some("write for example limit = \"50%\"".into());
            self.problems
                .add_missing(at.span(), "a condition without a limit", "`limit` is missing", help);
            return None;
        };
        let limit = self.quantity(written, "limit", |text| match Limit::parse(text, metric)? {
            Limit::Absolute { value, .. } => Ok(value),
            _ => Err("a run can only be ended by an absolute limit, as in \"2s\" or \"50%\"".into()),
        })?;
        let name = step.as_ref().map(|step| step.value.as_str());
        Some(AbortWhen {
            step: name.and_then(|name| steps.measured.iter().position(|step| step.name == name)),
            metric,
            limit,
            lasting,
            text: condition(name, metric, limit, lasting),
        })
    }

    /// Reports keys that mean something only in the other model.
    fn not_in(&mut self, partner: &str, model: &str, keys: &[(&str, Option<Range<usize>>)]) {
        let purpose = format!("{model}, with `{partner}`");
        self.misplaced(
            keys.iter()
                .map(|(key, place)| (*key, place.clone(), false, purpose.as_str())),
        );
    }

    fn end(&mut self, load: &At<scenario::Load>) -> Option<End> {
        let scenario::Load {
            duration,
            iterations,
            stages,
            search,
            ..
        } = &load.value;
        let ends = [
            ("duration", place(duration)),
            ("iterations", place(iterations)),
            ("stages", place(stages)),
        ];
        let given: Vec<_> = ends
            .into_iter()
            .filter_map(|(key, place)| Some((key, place?)))
            .collect();
        match given.as_slice() {
            [] => {
                let help = Some("write duration = \"30s\"".into());
                self.problems
                    .add_missing(load.span(), "the load has no end", "`duration` is missing", help);
                return None;
            }
            [_] => {}
            [(first, _), (second, place), ..] => {
                let label = format!("`{first}` and `{second}` exclude each other");
                self.problems.add(place.clone(), "two ends at once", label, None);
                return None;
            }
        }
        if let (Some(stages), Some(_)) = (stages, search) {
            let label = "a search chooses its rates itself; write `duration`";
            self.problem(stages, "`stages` does not belong here", label, None);
        }
        if let Some(iterations) = iterations {
            let passes = self.integer(Some(iterations), "iterations", 1..=1_000_000_000, 1) as u64;
            return Some(End::Passes(passes));
        }
        match (duration, stages) {
            (Some(duration), _) => {
                let length = self.quantity(duration, "duration", units::parse_duration)?;
                self.long_enough(duration, length)
            }
            (None, Some(stages)) => {
                // What is wrong with one of them is told where the profile is compiled.
                let lengths = stages.value.iter().filter_map(|stage| stage.value.duration.as_ref());
                let lengths = lengths.filter_map(|at| units::parse_duration(&self.resolve(at)?).ok());
                let length = lengths.sum();
                self.long_enough(stages, length)
            }
            (None, None) => None,
        }
    }

    fn long_enough<T>(&mut self, at: &At<T>, length: Duration) -> Option<End> {
        if length < SHORTEST_WINDOW {
            self.problem(at, "the duration is too short", "at least 100ms", None);
            return None;
        }
        if length > units::LONGEST {
            self.problem(at, "the duration is too long", "at most 7 days", None);
            return None;
        }
        Some(End::After(length))
    }
}

/// `error_rate of "pay" is above 50 % for 10 s`.
fn condition(step: Option<&str>, metric: &Metric, limit: f64, lasting: Duration) -> String {
    let of = step.map_or_else(String::new, |step| format!(" of {step}"));
    let beyond = if metric.better == Better::Lower {
        "above"
    } else {
        "below"
    };
    let limit = if metric.unit == Unit::Share {
        units::format_share(limit)
    } else {
        metric.unit.format(limit)
    };
    let lasting = units::format_duration(lasting);
    format!("{}{of} was {beyond} {limit} for {lasting}", metric.title)
}
