//! Where the time of an operation's exchanges goes: executing or fetching. The clock is looked
//! at once for each exchange, and once more between two.

use std::time::Duration;

use tokio::time::Instant;

/// Sums over the exchanges of one operation.
#[derive(Debug)]
pub(super) struct Stopwatch {
    /// What is going on began then.
    since: Instant,
    /// Whether an answer has begun to come, and nothing was sent since.
    is_fetching: bool,
    /// From sending to the first messages of the answers.
    pub(super) execute: Duration,
    /// From there to the ends of the answers, without the last.
    pub(super) fetch: Duration,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            is_fetching: false,
            execute: Duration::ZERO,
            fetch: Duration::ZERO,
        }
    }
}

impl Stopwatch {
    /// An operation begins: its first statements are about to be sent.
    pub(super) fn begin(&mut self, at: Instant) {
        *self = Self {
            since: at,
            is_fetching: false,
            execute: Duration::ZERO,
            fetch: Duration::ZERO,
        };
    }

    /// Something is about to be sent.
    pub(super) fn sends(&mut self) {
        if self.is_fetching {
            let now = Instant::now();
            self.fetch += now - self.since;
            self.since = now;
            self.is_fetching = false;
        }
    }

    /// A message of the answer is there; it is the first that counts.
    pub(super) fn is_answered(&mut self) {
        if self.is_fetching {
            return;
        }
        let now = Instant::now();
        self.execute += now - self.since;
        self.since = now;
        self.is_fetching = true;
    }

    /// Since when the last answer has been fetched; `None` where there was no answer.
    pub(super) fn fetching(&self) -> Option<Instant> {
        self.is_fetching.then_some(self.since)
    }
}
