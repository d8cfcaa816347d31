//! What a pool counts. Whoever reads the counts may be on another thread: they are atomics,
//! each right by itself, together only when nothing happens.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::run::{PoolEvents, PoolUse};

/// What happens in a pool.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    AcquireRequest,
    AcquireSuccess,
    AcquireFail,
    Release,
    CreateRequest,
    CreateSuccess,
    CreateFail,
    DestroyRequest,
    DestroySuccess,
    /// A connection could not be made, was found broken, or came back unusable.
    Error,
}

const EVENTS: usize = Event::Error as usize + 1;

/// The counts of one pool.
#[derive(Debug, Default)]
pub(super) struct Books {
    events: [AtomicU64; EVENTS],
    timeouts: AtomicU64,
    shed: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    /// Those who have asked and not given back: they wait or have a connection.
    inside: AtomicU64,
    /// Those who have one.
    used: AtomicU64,
    /// Nanoseconds, since it was last read.
    longest_wait: AtomicU64,
}

impl Books {
    pub(super) fn count(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Relaxed);
    }

    fn counted(&self, event: Event) -> u64 {
        self.events[event as usize].load(Relaxed)
    }

    /// A place among at most so many who wait or have a connection.
    pub(super) fn enter(&self, most: usize) -> Option<Place<'_>> {
        let place = Place {
            books: self,
            has: false,
        };
        if self.inside.fetch_add(1, Relaxed) < most as u64 {
            return Some(place);
        }
        self.shed.fetch_add(1, Relaxed);
        None
    }

    pub(super) fn waited(&self, wait: Duration) {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.longest_wait.fetch_max(wait, Relaxed);
    }

    pub(super) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    /// An operation has ended.
    pub(super) fn ended(&self, well: bool) {
        let count = if well { &self.completed } else { &self.failed };
        count.fetch_add(1, Relaxed);
    }

    /// Those who have a connection, and those who wait.
    pub(super) fn inside(&self) -> [u64; 2] {
        let (inside, used) = (self.inside.load(Relaxed), self.used.load(Relaxed));
        [used, inside.saturating_sub(used)]
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u64 {
        let closed = self.counted(Event::DestroySuccess);
        self.counted(Event::CreateSuccess).saturating_sub(closed)
    }

    /// The longest wait that ended since this was last asked.
    pub(super) fn longest_wait(&self) -> Duration {
        Duration::from_nanos(self.longest_wait.swap(0, Relaxed))
    }

    pub(super) fn events(&self) -> PoolEvents {
        PoolEvents {
            acquire_request: self.counted(Event::AcquireRequest),
            acquire_success: self.counted(Event::AcquireSuccess),
            acquire_fail: self.counted(Event::AcquireFail),
            release: self.counted(Event::Release),
            create_request: self.counted(Event::CreateRequest),
            create_success: self.counted(Event::CreateSuccess),
            create_fail: self.counted(Event::CreateFail),
            destroy_request: self.counted(Event::DestroyRequest),
            destroy_success: self.counted(Event::DestroySuccess),
            error: self.counted(Event::Error),
        }
    }

    /// What became of those who asked, so far.
    pub(super) fn used(&self) -> PoolUse {
        PoolUse {
            acquires: self.counted(Event::AcquireRequest),
            timeouts: self.timeouts.load(Relaxed),
            shed: self.shed.load(Relaxed),
            completed: self.completed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            creates: self.counted(Event::CreateRequest),
            errors: self.counted(Event::Error),
        }
    }
}

/// Somebody who waits for a connection or has one.
#[derive(Debug)]
pub(super) struct Place<'b> {
    books: &'b Books,
    has: bool,
}

impl Place<'_> {
    /// The wait is over.
    pub(super) fn taken(mut self) -> Self {
        self.books.used.fetch_add(1, Relaxed);
        self.has = true;
        self
    }

    /// What comes back is of no use.
    pub(super) fn lost(&self) {
        self.books.count(Event::Error);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.has {
            self.books.used.fetch_sub(1, Relaxed);
            self.books.count(Event::Release);
        }
        self.books.inside.fetch_sub(1, Relaxed);
    }
}

/// Something that fails unless it is said to have ended otherwise: also when it is cut off.
pub(super) struct Attempt<'b> {
    books: &'b Books,
    end: Event,
}

impl<'b> Attempt<'b> {
    pub(super) fn begin(books: &'b Books, request: Event, fail: Event) -> Self {
        books.count(request);
        Self { books, end: fail }
    }

    pub(super) fn ends_with(&mut self, end: Event) {
        self.end = end;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.books.count(self.end);
    }
}
