//! The `[load]` of a scenario → when flows start and when the window ends.

use std::{ops::Range, time::Duration};

use super::{Arrivals, End, Load, Profile, compile::Compiler};
use crate::{
    scenario::{self, At},
    units,
};

impl Compiler<'_> {
    pub(super) fn load(&mut self, load: Option<&At<scenario::Load>>) -> Option<Load> {
        let Some(load) = load else {
            let help =
                Some("add [load] with rate = \"100/s\" (open) or users = 10 (closed), and duration = \"30s\"".into());
            self.problems
                .add_missing_at_top("the scenario has no load", "`[load]` is missing", help);
            return None;
        };
        let scenario::Load { warm_up, drain, .. } = &load.value;
        let warm_up = self.duration(warm_up.as_ref(), Duration::ZERO);
        let drain = self.duration(drain.as_ref(), Duration::from_secs(10));
        let profile = self.profile(load);
        let end = self.end(load);
        Some(Load {
            profile: profile?,
            end: end?,
            warm_up,
            drain,
        })
    }

    fn profile(&mut self, load: &At<scenario::Load>) -> Option<Profile> {
        let scenario::Load { rate, users, .. } = &load.value;
        match (rate, users) {
            (Some(rate), None) => self.open(rate, &load.value),
            (None, Some(users)) => Some(self.closed(users, &load.value)),
            (Some(rate), Some(_)) => {
                let help =
                    Some("keep `rate` (open: arrivals do not wait) or `users` (closed: users wait for answers)".into());
                self.problem(
                    rate,
                    "two load models at once",
                    "`rate` and `users` exclude each other",
                    help,
                );
                None
            }
            (None, None) => {
                let help = Some("write rate = \"100/s\" (open) or users = 10 (closed)".into());
                self.problems
                    .add_missing(load.span(), "the load has no model", "neither `rate` nor `users`", help);
                None
            }
        }
    }

    fn open(&mut self, rate: &At<String>, load: &scenario::Load) -> Option<Profile> {
        let scenario::Load {
            ramp,
            iterations,
            arrivals,
            max_in_flight,
            queue,
            ..
        } = load;
        self.not_in(
            "users",
            "a closed model",
            &[("ramp", place(ramp)), ("iterations", place(iterations))],
        );
        let words = [("even", Arrivals::Even), ("poisson", Arrivals::Poisson)];
        let arrivals = self.word(arrivals.as_ref(), &words, Arrivals::Even);
        let max_in_flight = self.integer(max_in_flight.as_ref(), "max_in_flight", 1..=10_000, 64) as usize;
        let queue = self.integer(queue.as_ref(), "queue", 0..=10_000_000, 1000) as usize;
        Some(Profile::Open {
            rate: self.quantity(rate, "rate", units::parse_rate)?,
            arrivals,
            max_in_flight,
            queue,
        })
    }

    fn closed(&mut self, users: &At<i64>, load: &scenario::Load) -> Profile {
        let scenario::Load {
            ramp,
            arrivals,
            max_in_flight,
            queue,
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
        Profile::Closed {
            users: self.integer(Some(users), "users", 1..=10_000, 1) as usize,
            ramp: self.duration(ramp.as_ref(), Duration::ZERO),
        }
    }

    /// Reports keys that mean something only in the other model.
    fn not_in(&mut self, partner: &str, model: &str, keys: &[(&str, Option<Range<usize>>)]) {
        for (key, place) in keys {
            if let Some(place) = place.clone() {
                let label = format!("it is for {model}, with `{partner}`");
                self.problems
                    .add(place, format!("`{key}` does not belong here"), label, None);
            }
        }
    }

    fn end(&mut self, load: &At<scenario::Load>) -> Option<End> {
        let scenario::Load {
            duration, iterations, ..
        } = &load.value;
        match (duration, iterations) {
            (Some(duration), None) => {
                let length = self.quantity(duration, "duration", units::parse_duration)?;
                if length < Duration::from_millis(100) {
                    self.problem(duration, "the duration is too short", "at least 100ms", None);
                    return None;
                }
                Some(End::After(length))
            }
            (None, Some(iterations)) => {
                Some(End::Passes(
                    self.integer(Some(iterations), "iterations", 1..=1_000_000_000, 1) as u64,
                ))
            }
            (Some(_), Some(iterations)) => {
                self.problem(
                    iterations,
                    "two ends at once",
                    "`duration` and `iterations` exclude each other",
                    None,
                );
                None
            }
            (None, None) => {
                let help = Some("write duration = \"30s\"".into());
                self.problems
                    .add_missing(load.span(), "the load has no end", "`duration` is missing", help);
                None
            }
        }
    }
}

fn place<T>(at: &Option<At<T>>) -> Option<Range<usize>> {
    at.as_ref().map(At::span)
}
