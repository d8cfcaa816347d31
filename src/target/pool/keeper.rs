//! What deadpool asks when it needs a connection, or is about to give one out again.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio::time::Instant;

use super::{
    Source,
    books::{Attempt, Books, Event},
};
use crate::workload::PoolLimits;

/// Makes, asks and counts connections.
pub(super) struct Keeper<S> {
    source: S,
    lifetime: Duration,
    validate: Duration,
    books: Arc<Books>,
}

/// A connection with its history, by tokio's clock: deadpool's own metrics go by another, and take
/// for its last use when it was last given out.
pub(super) struct Entry<C> {
    pub(super) connection: C,
    /// When it was last given back, or made.
    pub(super) used: Instant,
    /// How long it took to make, for whom it was made for.
    pub(super) making: Option<Duration>,
    /// When it was last known to answer.
    checked: Instant,
    /// When it is old.
    old: Instant,
    books: Arc<Books>,
}

/// Why there is no connection, and how long it took to find out.
pub(super) struct Unmade<F> {
    pub(super) failure: F,
    pub(super) took: Duration,
}

impl<S> Keeper<S> {
    pub(super) fn new(source: S, limits: &PoolLimits, books: Arc<Books>) -> Self {
        Self {
            source,
            lifetime: limits.lifetime,
            validate: limits.validate,
            books,
        }
    }
}

impl<C> Entry<C> {
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now >= self.old
    }
}

impl<C> Drop for Entry<C> {
    fn drop(&mut self) {
        // To close is to drop it, which happens here and now.
        self.books.count(Event::DestroyRequest);
        self.books.count(Event::DestroySuccess);
    }
}

impl<S: Source> Manager for Keeper<S> {
    type Type = Entry<S::Connection>;
    type Error = Unmade<S::Failure>;

    async fn create(&self) -> Result<Self::Type, Self::Error> {
        let number = self.books.events().create_request;
        let mut attempt = Attempt::begin(&self.books, Event::CreateRequest, Event::CreateFail);
        let began = Instant::now();
        let made = self.source.connect().await;
        let now = Instant::now();
        match made {
            Ok(connection) => {
                attempt.ends_with(Event::CreateSuccess);
                Ok(Entry {
                    connection,
                    used: now,
                    making: Some(now - began),
                    checked: now,
                    old: now + self.lifetime.mul_f64(share_of_lifetime(number)),
                    books: Arc::clone(&self.books),
                })
            }
            Err(failure) => {
                self.books.count(Event::Error);
                Err(Unmade {
                    failure,
                    took: now - began,
                })
            }
        }
    }

    async fn recycle(&self, entry: &mut Self::Type, _: &Metrics) -> RecycleResult<Self::Error> {
        if !self.source.is_open(&mut entry.connection).await {
            self.books.count(Event::Error);
            return Err(RecycleError::message("closed by the server"));
        }
        let now = Instant::now();
        if entry.is_old(now) {
            return Err(RecycleError::message("old"));
        }
        if now.duration_since(entry.checked.max(entry.used)) >= self.validate {
            if !self.source.answers(&mut entry.connection).await {
                self.books.count(Event::Error);
                return Err(RecycleError::message("it does not answer"));
            }
            entry.checked = Instant::now();
        }
        Ok(())
    }
}

/// Connections made together shall not all be replaced together: each lives 90 to 100 % of its
/// lifetime, spread evenly by the golden ratio.
fn share_of_lifetime(number: u64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    0.9 + 0.1 * (number as f64 * GOLDEN).fract()
}
