//! How much load, for how long: the compiled `[load]`.

use std::time::Duration;

use super::generator::stream;
use crate::{metric::Metric, units::LONGEST};

/// How much load, for how long.
#[derive(Debug, Clone)]
pub struct Load {
    /// Who decides when the next flow starts.
    pub profile: Profile,
    /// When the measured window ends.
    pub end: End,
    /// Load before the window, left out of all figures.
    pub warm_up: Duration,
    /// How long operations in flight may take after the window.
    pub drain: Duration,
    /// Whether the highest rate is to be found; the profile is then open and has the first rate.
    pub search: Option<Search>,
    /// What ends the run early.
    pub abort_when: Vec<AbortWhen>,
}

/// A search for the highest rate at which the absolute limits hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// The first rate, per second.
    pub from: f64,
    /// The highest rate to try.
    pub to: f64,
    /// The search ends when the lowest rate that broke a limit is no more than this share above the highest that held.
    pub precision: f64,
}

/// Ends a run early when a metric is beyond its limit in every second for some time.
#[derive(Debug, Clone, PartialEq)]
pub struct AbortWhen {
    /// Index of the step; `None` means all together.
    pub step: Option<usize>,
    /// What is looked at.
    pub metric: &'static Metric,
    /// In the metric's base unit.
    pub limit: f64,
    /// For so long.
    pub lasting: Duration,
    /// As it was written, for people.
    pub text: String,
}

/// When the measured window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this time.
    After(Duration),
    /// After this many passes.
    Passes(u64),
}

/// Who decides when the next flow starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Profile {
    /// Arrivals by a schedule.
    Open {
        /// Flow starts per second, over time.
        rates: Rates,
        /// Their spacing.
        arrivals: Arrivals,
        /// Flows under way at once.
        max_in_flight: usize,
        /// Due flows that may wait for a session.
        queue: usize,
    },
    /// Users who wait for their answers.
    Closed {
        /// How many there are at the beginning of the window.
        users: usize,
        /// Time over which they are started.
        ramp: Duration,
        /// How their number changes in the window: users at the end of each stage, and its length.
        stages: Vec<(usize, Duration)>,
        /// Between two passes of a user.
        think: Option<Wait>,
        /// At most so many passes per second, over all users.
        throttle: Option<f64>,
    },
}

impl Profile {
    /// The lengths of all stages but jumps.
    pub(super) fn lasting_stages(&self) -> impl Iterator<Item = Duration> {
        let (rates, users): (&[_], &[_]) = match self {
            Self::Open { rates, .. } => (&rates.stages, &[]),
            Self::Closed { stages, .. } => (&[], stages),
        };
        let lengths = rates.iter().map(|(_, length)| *length);
        let lengths = lengths.chain(users.iter().map(|(_, length)| *length));
        lengths.filter(|length| !length.is_zero())
    }

    /// The number of the stage at a time since the begin of the window, from 0, jumps left out; after the last one
    /// their count.
    pub fn stage_at(&self, at: Duration) -> usize {
        let mut end = Duration::ZERO;
        let passed = self.lasting_stages().take_while(|length| {
            end = end.saturating_add(*length);
            at >= end
        });
        passed.count()
    }
}

/// A rate over time, in straight lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Flow starts per second at the beginning.
    pub start: f64,
    /// The rate at the end of each stage, and its length; after the last one the rate stays.
    pub stages: Vec<(f64, Duration)>,
}

impl Rates {
    /// The same rate at all times.
    pub fn constant(rate: f64) -> Self {
        Self {
            start: rate,
            stages: Vec::new(),
        }
    }

    /// The highest there is.
    pub fn highest(&self) -> f64 {
        self.stages.iter().map(|(rate, _)| *rate).fold(self.start, f64::max)
    }
}

/// A time to wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// Always the same.
    Fixed(Duration),
    /// Any time between two bounds.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// Exponentially distributed around this mean.
    Exponential(Duration),
}

impl Wait {
    /// The length of wait number `number` for one purpose: a function of these and the seed.
    pub fn length(&self, seed: u64, purpose: u64, number: u64) -> Duration {
        use rand::RngExt as _;
        let share = || -> f64 { stream(seed, purpose, number).random() };
        match *self {
            Self::Fixed(length) => length,
            Self::Uniform { from, to } => from + to.saturating_sub(from).mul_f64(share()),
            // No wait is beyond what a scenario may ask for.
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - share()).ln()).min(LONGEST),
        }
    }

    /// What can be said of it in a sentence.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Fixed(length) => length,
            Self::Uniform { from, to } => (from + to) / 2,
            Self::Exponential(mean) => mean,
        }
    }
}

/// Spacing of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// One every 1/rate.
    Even,
    /// Independent of each other, exponential gaps.
    Poisson,
}
