//! What a pool of connections did while load ran, as plain data. How a pool works, and what
//! is healthy, is known in `target`.

use serde::{Deserialize, Serialize};

/// More samples are not kept: neighbours are then merged, so that a long run needs no more room.
const MOST_SAMPLES: usize = 1200;

/// The pool of one target, over all epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Name of the target.
    pub target: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Name of the flow that has it to itself, where each has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// What it is held to.
    pub limits: PoolLimits,
    /// What happened in it from its first connection to its last, outside of the measured window too.
    pub events: PoolEvents,
    /// What became of those who asked it from the begin of the measured window to the end of the drain.
    pub window: PoolUse,
    /// From 0 to 1; `None` where nothing was asked of it, see [`PoolUse::score`].
    pub health_score: Option<f64>,
    /// The worst health of all samples.
    pub health: Health,
    /// One for each second of the measured window; of a long run, fewer.
    pub samples: Vec<PoolSample>,
}

/// What a pool is held to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolLimits {
    /// Name of the profile that decides what the scenario does not.
    pub profile: String,
    /// Connections made before the load.
    pub initial: usize,
    /// Connections that are kept, idle or not.
    pub min: usize,
    /// Connections at most.
    pub max: usize,
    /// How many operations may wait for a connection.
    pub queue: usize,
    /// How long one may wait for it, in seconds.
    pub acquire_timeout_s: f64,
    /// After so many seconds without work a connection is closed, down to `min`.
    pub idle_s: f64,
    /// So old a connection is replaced, in seconds.
    pub lifetime_s: f64,
    /// A connection that did nothing for so many seconds is asked before it is given out.
    pub validate_s: f64,
}

/// How often what happened in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolEvents {
    /// A connection was asked for.
    pub acquire_request: u64,
    /// It was given.
    pub acquire_success: u64,
    /// It was not: the wait was too long or cut off, the queue full, a connection could not be made.
    pub acquire_fail: u64,
    /// What was given came back, or was lost.
    pub release: u64,
    /// A connection was to be made.
    pub create_request: u64,
    /// It was.
    pub create_success: u64,
    /// It could not be.
    pub create_fail: u64,
    /// A connection was to be closed.
    pub destroy_request: u64,
    /// It was.
    pub destroy_success: u64,
    /// A connection could not be made, was found broken, or came back unusable.
    pub error: u64,
}

/// What became of those who asked a pool in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolUse {
    /// Connections that were asked for.
    pub acquires: u64,
    /// Of these, not given within the acquire timeout.
    pub timeouts: u64,
    /// Of these, not let into the queue.
    pub shed: u64,
    /// Operations that ended well.
    pub completed: u64,
    /// Operations that ended otherwise, those without a connection too.
    pub failed: u64,
    /// Connections that were to be made.
    pub creates: u64,
    /// Connections that could not be made, were found broken, or came back unusable.
    pub errors: u64,
}

/// How well a pool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nobody waits for long, next to nothing fails.
    Healthy,
    /// Close to its limits.
    Degraded,
    /// Beyond them.
    Critical,
}

/// A pool at one moment, and what happened since the moment before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PoolSample {
    /// Seconds since the measured window began.
    pub at_s: f64,
    /// Connections that operations have.
    pub used: u64,
    /// Connections that are open and idle.
    pub free: u64,
    /// Operations that wait for a connection.
    pub waiting: u64,
    /// Connections in use of those that there may be, 0 to 1.
    pub utilization: f64,
    /// Operations that ended well, of those that ended since; `None` where none did.
    pub success: Option<f64>,
    /// Waits that timed out since.
    pub timeouts: u64,
    /// The longest wait that ended since, in seconds.
    pub longest_wait_s: f64,
    /// What follows from all that.
    pub health: Health,
}

impl Health {
    /// As people and files call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

impl PoolEvents {
    fn add(&mut self, later: &Self) {
        for (into, more) in [
            (&mut self.acquire_request, later.acquire_request),
            (&mut self.acquire_success, later.acquire_success),
            (&mut self.acquire_fail, later.acquire_fail),
            (&mut self.release, later.release),
            (&mut self.create_request, later.create_request),
            (&mut self.create_success, later.create_success),
            (&mut self.create_fail, later.create_fail),
            (&mut self.destroy_request, later.destroy_request),
            (&mut self.destroy_success, later.destroy_success),
            (&mut self.error, later.error),
        ] {
            *into = into.saturating_add(more);
        }
    }
}

impl PoolUse {
    /// The least of three shares: operations that ended well, waits that did not time out,
    /// connections without a fault. `None` where nothing was asked.
    pub fn score(&self) -> Option<f64> {
        let without = |bad: u64, all: u64| (all > 0).then(|| 1.0 - bad as f64 / all as f64);
        let ended = self.completed.saturating_add(self.failed);
        [
            without(self.failed, ended),
            without(self.timeouts, self.acquires),
            // Of connections that were made before, and broke now, there may be more.
            without(self.errors, self.creates.max(self.errors)),
        ]
        .into_iter()
        .flatten()
        .reduce(f64::min)
    }

    fn add(&mut self, later: &Self) {
        for (into, more) in [
            (&mut self.acquires, later.acquires),
            (&mut self.timeouts, later.timeouts),
            (&mut self.shed, later.shed),
            (&mut self.completed, later.completed),
            (&mut self.failed, later.failed),
            (&mut self.creates, later.creates),
            (&mut self.errors, later.errors),
        ] {
            *into = into.saturating_add(more);
        }
    }
}

impl Pool {
    /// Adds a sample, and the worse health.
    pub fn push(&mut self, sample: PoolSample) {
        self.health = self.health.max(sample.health);
        self.samples.push(sample);
        if self.samples.len() > MOST_SAMPLES {
            let merged = self.samples.chunks(2).map(|pair| match pair {
                [one, other] => one.merged(other),
                one => one[0],
            });
            self.samples = merged.collect();
        }
    }

    /// Adds what happened in a later window, which began `at_s` seconds after the first.
    pub fn add(&mut self, later: Self, at_s: f64) {
        self.events.add(&later.events);
        self.window.add(&later.window);
        self.health_score = self.window.score();
        for sample in later.samples {
            self.push(PoolSample {
                at_s: at_s + sample.at_s,
                ..sample
            });
        }
    }

    /// The most connections that were seen in use at once.
    pub fn most_used(&self) -> u64 {
        self.samples.iter().map(|sample| sample.used).max().unwrap_or(0)
    }
}

impl PoolSample {
    /// Of both the worse.
    fn merged(&self, later: &Self) -> Self {
        let success = match (self.success, later.success) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            at_s: later.at_s,
            used: self.used.max(later.used),
            free: self.free.min(later.free),
            waiting: self.waiting.max(later.waiting),
            utilization: self.utilization.max(later.utilization),
            success,
            timeouts: self.timeouts.saturating_add(later.timeouts),
            longest_wait_s: self.longest_wait_s.max(later.longest_wait_s),
            health: self.health.max(later.health),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: f64, used: u64, health: Health) -> PoolSample {
        PoolSample {
            at_s,
            used,
            free: 5 - used,
            waiting: 0,
            utilization: used as f64 / 5.0,
            success: Some(1.0),
            timeouts: 1,
            longest_wait_s: 0.0,
            health,
        }
    }

    fn pool() -> Pool {
        Pool {
            target: "db".into(),
            variant: None,
            flow: None,
            limits: PoolLimits {
                profile: "auth".into(),
                initial: 5,
                min: 2,
                max: 5,
                queue: 10,
                acquire_timeout_s: 30.0,
                idle_s: 300.0,
                lifetime_s: 1800.0,
                validate_s: 30.0,
            },
            events: PoolEvents::default(),
            window: PoolUse::default(),
            health_score: None,
            health: Health::Healthy,
            samples: Vec::new(),
        }
    }

    #[test]
    fn a_long_run_keeps_its_worst_moments_in_few_samples() {
        let mut pool = pool();
        for second in 0..20_000 {
            let (used, health) = match second {
                777 => (5, Health::Critical),
                _ => (1, Health::Healthy),
            };
            pool.push(sample(f64::from(second), used, health));
        }
        assert!(pool.samples.len() <= MOST_SAMPLES, "{}", pool.samples.len());
        assert_eq!((pool.most_used(), pool.health), (5, Health::Critical));
        assert_eq!(pool.samples.iter().map(|sample| sample.timeouts).sum::<u64>(), 20_000);
        assert!(pool.samples.is_sorted_by(|one, other| one.at_s < other.at_s));
        assert_eq!(pool.samples.last().unwrap().at_s, 19_999.0);
    }

    #[test]
    fn epochs_add_up_and_the_score_is_that_of_all() {
        let used = |completed, failed, timeouts| PoolUse {
            acquires: completed + failed,
            timeouts,
            completed,
            failed,
            creates: 2,
            ..PoolUse::default()
        };
        let mut first = pool();
        first.window = used(10, 0, 0);
        first.push(sample(1.0, 2, Health::Degraded));
        let mut second = pool();
        second.window = used(8, 2, 2);
        second.events.error = 3;
        second.push(sample(1.0, 1, Health::Healthy));
        first.add(second, 4.0);
        assert_eq!(first.health_score, Some(0.9));
        assert_eq!((first.health, first.events.error), (Health::Degraded, 3));
        assert_eq!(first.samples[1].at_s, 5.0);
        assert_eq!(PoolUse::default().score(), None);
    }
}
