//! A pool as it is seen once a second, from outside of the thread that uses it.

use std::{sync::Arc, time::Duration};

use super::{
    books::Books,
    health::{Figures, health},
};
use crate::{
    run::{self, Health, PoolEvents, PoolLimits, PoolSample, PoolUse},
    workload,
};

/// A shorter rest of a window is no sample of its own, unless it is all there is.
const SHORTEST: Duration = Duration::from_millis(500);

/// Looks at one pool during one window of load.
#[derive(Debug)]
pub struct PoolWatch {
    books: Arc<Books>,
    acquire_timeout: Duration,
    /// The counts when the window began, and at the last look.
    began: PoolUse,
    before: PoolUse,
    /// When that was, since the window began.
    at: Duration,
    seen: run::Pool,
}

impl PoolWatch {
    pub(super) fn new(
        books: Arc<Books>,
        limits: &workload::PoolLimits,
        target: String,
        variant: Option<String>,
    ) -> Self {
        let now = books.used();
        Self {
            books,
            acquire_timeout: limits.acquire_timeout,
            began: now,
            before: now,
            at: Duration::ZERO,
            seen: run::Pool {
                target,
                variant,
                limits: described(limits),
                events: PoolEvents::default(),
                window: PoolUse::default(),
                health_score: None,
                health: Health::Healthy,
                samples: Vec::new(),
            },
        }
    }

    /// The window begins now.
    pub fn begin(&mut self) {
        self.began = self.books.used();
        self.before = self.began;
        self.at = Duration::ZERO;
        self.seen.health = Health::Healthy;
        self.seen.samples.clear();
        let _ = self.books.longest_wait();
    }

    /// So long after its begin.
    pub fn look(&mut self, at: Duration) {
        if at.saturating_sub(self.at) >= SHORTEST {
            self.sample(at);
        }
    }

    /// The window, which lasted so long, has ended.
    pub fn end(&mut self, at: Duration) {
        if self.seen.samples.is_empty() || at.saturating_sub(self.at) >= SHORTEST {
            self.sample(at);
        }
        self.seen.window = since(&self.books.used(), &self.began);
        self.seen.health_score = self.seen.window.score();
    }

    fn sample(&mut self, at: Duration) {
        let now = self.books.used();
        let since = since(&now, &self.before);
        let [used, waiting] = self.books.inside();
        let ended = since.completed + since.failed;
        let figures = Figures {
            utilization: used as f64 / self.seen.limits.max as f64,
            success: (ended > 0).then(|| since.completed as f64 / ended as f64),
            longest_wait: self.books.longest_wait(),
            timeouts: since.timeouts,
        };
        self.seen.push(PoolSample {
            at_s: at.as_secs_f64(),
            used,
            free: self.books.open().saturating_sub(used),
            waiting,
            utilization: figures.utilization,
            success: figures.success,
            timeouts: figures.timeouts,
            longest_wait_s: figures.longest_wait.as_secs_f64(),
            health: health(&figures, self.acquire_timeout),
        });
        (self.before, self.at) = (now, at);
    }

    /// What was seen in the window; asked when the pool is empty again.
    pub fn result(self) -> run::Pool {
        run::Pool {
            events: self.books.events(),
            ..self.seen
        }
    }
}

fn since(now: &PoolUse, before: &PoolUse) -> PoolUse {
    PoolUse {
        acquires: now.acquires - before.acquires,
        timeouts: now.timeouts - before.timeouts,
        shed: now.shed - before.shed,
        completed: now.completed - before.completed,
        failed: now.failed - before.failed,
        creates: now.creates - before.creates,
        errors: now.errors - before.errors,
    }
}

fn described(limits: &workload::PoolLimits) -> PoolLimits {
    PoolLimits {
        profile: limits.profile.into(),
        initial: limits.initial,
        min: limits.min,
        max: limits.max,
        queue: limits.queue,
        acquire_timeout_s: limits.acquire_timeout.as_secs_f64(),
        idle_s: limits.idle.as_secs_f64(),
        lifetime_s: limits.lifetime.as_secs_f64(),
        validate_s: limits.validate.as_secs_f64(),
    }
}
