//! A pool as it is seen once a second, from outside of the thread that uses it.

use std::{sync::Arc, time::Duration};

use super::{books::Books, health::health};
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
    /// The counts when the window began, at the last look and at the one before it.
    began: PoolUse,
    last: PoolUse,
    before: PoolUse,
    /// When the last look was, since the window began.
    at: Duration,
    seen: run::Pool,
}

impl PoolWatch {
    pub(super) fn new(
        books: Arc<Books>,
        limits: &workload::PoolLimits,
        target: String,
        variant: Option<String>,
        flow: Option<String>,
    ) -> Self {
        let now = books.used();
        Self {
            books,
            acquire_timeout: limits.acquire_timeout,
            began: now,
            last: now,
            before: now,
            at: Duration::ZERO,
            seen: run::Pool {
                target,
                variant,
                flow,
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
        (self.last, self.before) = (self.began, self.began);
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
    }

    fn sample(&mut self, at: Duration) {
        let now = self.books.used();
        let [used, waiting] = self.books.inside();
        let sample = PoolSample {
            at_s: at.as_secs_f64(),
            used,
            free: self.books.open().saturating_sub(used),
            waiting,
            utilization: used as f64 / self.seen.limits.max as f64,
            success: None,
            timeouts: 0,
            longest_wait_s: 0.0,
            health: Health::Healthy,
        };
        let sample = self.judged(sample, &since(&now, &self.last));
        self.seen.push(sample);
        (self.before, self.last, self.at) = (self.last, now, at);
    }

    /// With what happened since the sample before it, and the health that follows from it.
    fn judged(&self, sample: PoolSample, since: &PoolUse) -> PoolSample {
        let ended = since.completed + since.failed;
        let waited = self.books.longest_wait().as_secs_f64();
        let sample = PoolSample {
            success: (ended > 0).then(|| since.completed as f64 / ended as f64),
            timeouts: since.timeouts,
            longest_wait_s: sample.longest_wait_s.max(waited),
            ..sample
        };
        PoolSample {
            health: health(&sample, self.acquire_timeout),
            ..sample
        }
    }

    /// What was seen of the window; asked when all that was under way at its end has ended, which
    /// belongs to its last second, and the pool is empty again.
    pub fn result(mut self) -> run::Pool {
        let now = self.books.used();
        if let Some(last) = self.seen.samples.pop() {
            let last = self.judged(last, &since(&now, &self.before));
            self.seen.push(last);
        }
        let window = since(&now, &self.began);
        run::Pool {
            events: self.books.events(),
            health_score: window.score(),
            window,
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
