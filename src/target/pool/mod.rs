//! Connections that operations share: as many as allowed, given out in the order in which
//! they are asked for, to so many who may wait.
//!
//! What is kept where, and who is next, is deadpool's; what is added here is what deadpool
//! leaves to others: a bound for the queue, `min`, closing what is idle or old, asking what was
//! silent, and the books. Knows nothing of what a connection is for.

mod books;
mod health;
mod keeper;
#[cfg(test)]
mod tests;
mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use deadpool::managed::{self, BuildError, Object, PoolError, QueueMode};
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

pub use self::watch::PoolWatch;
use self::{
    books::{Attempt, Books, Event, Place},
    keeper::{Keeper, Unmade},
};
use crate::workload::{DEFAULT_TIMEOUT, PoolLimits};

/// How often idle and old connections are looked for.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(super) trait Source: Send + Sync + 'static {
    /// What is shared.
    type Connection: Send + 'static;
    /// Why there is none.
    type Failure: Send + 'static;

    /// Makes a connection that is ready for work.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Failure>> + Send;

    /// Whether it is open as far as can be told without asking.
    fn is_open(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;

    /// Asks it.
    fn answers(&self, connection: &mut Self::Connection) -> impl Future<Output = bool> + Send;
}

/// A pool of connections. They live on the runtime that makes them, and so does whoever uses them:
/// between [`Pool::open`] and [`Pool::empty`] it belongs to one thread.
pub(super) struct Pool<S: Source> {
    shared: managed::Pool<Keeper<S>>,
    limits: PoolLimits,
    books: Arc<Books>,
}

/// A connection on loan. One that is not given back is closed.
pub(super) struct Lease<'p, S: Source> {
    object: Option<Object<Keeper<S>>>,
    place: Place<'p>,
}

/// What somebody who asked got.
pub(super) struct Acquired<'p, S: Source> {
    pub(super) lease: Lease<'p, S>,
    /// How long that took, without `making`.
    pub(super) waited: Duration,
    /// How long it took to make the connection, where it had to be made.
    pub(super) making: Option<Duration>,
}

/// Why somebody who asked got nothing.
#[derive(Debug)]
pub(super) enum Refused<F> {
    /// The connection could not be made; that took so long.
    Unmade(F, Duration),
    /// Not in time.
    Timeout,
    /// The queue was full.
    Shed,
    /// The pool is closed for good.
    Closed,
}

impl<S: Source> Pool<S> {
    /// Makes no connection yet.
    ///
    /// # Errors
    /// Never: deadpool refuses timeouts without a runtime, and is given none, see [`Pool::acquire`].
    pub(super) fn new(source: S, limits: PoolLimits) -> Result<Self, BuildError> {
        let books = Arc::new(Books::default());
        let keeper = Keeper::new(source, &limits, Arc::clone(&books));
        let shared = managed::Pool::builder(keeper)
            .max_size(limits.max)
            // The one used last is used next, so that those that are not needed become idle.
            .queue_mode(QueueMode::Lifo)
            .build()?;
        Ok(Self { shared, limits, books })
    }

    /// For somebody who looks from another thread.
    pub(super) fn watch(&self, target: String, variant: Option<String>, flow: Option<String>) -> PoolWatch {
        PoolWatch::new(Arc::clone(&self.books), &self.limits, target, variant, flow)
    }

    /// How many may wait for a connection.
    pub(super) fn queue(&self) -> usize {
        self.limits.queue
    }

    /// How long one may wait for a connection.
    pub(super) fn acquire_timeout(&self) -> Duration {
        self.limits.acquire_timeout
    }

    /// Makes the first connections; a failure is left for the first operation to meet.
    pub(super) async fn open(&self) {
        self.hold(self.limits.initial).await;
    }

    /// A connection, by that time.
    ///
    /// The time covers all: waiting, making and asking. So deadpool's own timeouts, one for each
    /// part, are not used; no timer is set where nothing has to be waited for.
    pub(super) async fn acquire(&self, by: Instant) -> Result<Acquired<'_, S>, Refused<S::Failure>> {
        let mut attempt = Attempt::begin(&self.books, Event::AcquireRequest, Event::AcquireFail);
        let Some(place) = self.books.enter(self.limits.max + self.limits.queue) else {
            return Err(Refused::Shed);
        };
        let asked = Instant::now();
        let got = timeout_at(by, self.shared.get()).await;
        let took = asked.elapsed();
        let mut object = match got {
            Ok(Ok(object)) => object,
            Ok(Err(PoolError::Backend(Unmade { failure, took: making }))) => {
                self.books.waited(took.saturating_sub(making));
                return Err(Refused::Unmade(failure, making));
            }
            Ok(Err(_)) => return Err(Refused::Closed),
            Err(_) => {
                self.books.waited(took);
                self.books.timed_out();
                return Err(Refused::Timeout);
            }
        };
        let making = object.making.take();
        let waited = took.saturating_sub(making.unwrap_or_default());
        self.books.waited(waited);
        attempt.ends_with(Event::AcquireSuccess);
        Ok(Acquired {
            lease: Lease {
                object: Some(object),
                place: place.taken(),
            },
            waited,
            making,
        })
    }

    /// Closes what is idle or old and keeps `min`, for as long as it is polled.
    pub(super) async fn tend(&self) {
        let mut ticks = interval(TEND_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.reap();
            if self.shared.status().size < self.limits.min {
                self.hold(self.limits.min).await;
            }
        }
    }

    /// Closes all connections that nobody has, which must be all: those of another runtime are dead.
    pub(super) fn empty(&self) {
        self.shared.retain(|_, _| false);
    }

    /// Counts an operation that wanted a connection.
    pub(super) fn ended(&self, well: bool) {
        self.books.ended(well);
    }

    /// Those that have been idle for longest come first: in the order of their use they are put back.
    fn reap(&self) {
        let mut size = self.shared.status().size;
        let now = Instant::now();
        let reaped = self.shared.retain(|entry, _| {
            let idle = size > self.limits.min && now.duration_since(entry.used) >= self.limits.idle;
            let stays = !idle && !entry.is_old(now);
            size -= usize::from(!stays);
            stays
        });
        drop(reaped);
    }

    /// Has so many connections at once, making those that are missing, and lets go of them: deadpool
    /// knows no other way to add one. It never waits in the queue. An operation that comes meanwhile
    /// may find no idle connection and make one of its own.
    async fn hold(&self, wanted: usize) {
        let status = self.shared.status();
        let (idle, missing) = (status.available, wanted.saturating_sub(status.size));
        let others = status.size - idle + status.waiting;
        let takes = (idle + missing).min(status.max_size.saturating_sub(others));
        let all = join_all((0..takes).map(|_| self.shared.get()));
        if let Ok(held) = timeout(DEFAULT_TIMEOUT, all).await {
            for mut object in held.into_iter().flatten() {
                // Nobody waited for it.
                object.making = None;
            }
        }
    }
}

impl<S: Source> Lease<'_, S> {
    /// What was lent; `None` never, as it is given back only with the lease.
    pub(super) fn connection(&mut self) -> Option<&mut S::Connection> {
        self.object.as_mut().map(|object| &mut object.connection)
    }

    /// Lets others have it.
    pub(super) fn give_back(mut self) {
        if let Some(mut object) = self.object.take() {
            object.used = Instant::now();
        }
    }
}

impl<S: Source> Drop for Lease<'_, S> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.place.lost();
            drop(Object::take(object));
        }
    }
}
