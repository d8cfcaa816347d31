//! Caches in front of steps, as an application has them in front of a database
//! or a service: one per step, shared by all sessions of a variant.
//!
//! An answer is used for its time to live; beyond a number of answers the least
//! recently used one goes. Who misses a key that somebody else is fetching waits
//! for him: a key is fetched once however many ask for it, so the counts do not
//! depend on threads. What keys mean, and whether an answer was right, is for
//! others to know.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hashlink::LruCache;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Answer, Reply, Session, answer, perform_itself};
use crate::{
    run,
    sample::{ErrorClass, Outcome},
    units::format_duration,
    workload::{self, CacheUse, Step, Template, Values},
};

/// All caches of one variant.
#[derive(Debug)]
pub struct Caches {
    all: Vec<Cache>,
}

/// The cache of one step.
#[derive(Debug)]
struct Cache {
    settings: workload::Cache,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    entries: LruCache<String, Entry>,
    /// Keys that are being fetched: the number of the fetch, and what ends when it does.
    fetched: HashMap<String, (u64, CancellationToken)>,
    counts: run::Cache,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    stored: Instant,
    /// Whether what it says was changed since.
    stale: bool,
}

/// What is known of a key.
enum Found<'c> {
    Answer(Arc<Answer>),
    /// Nothing; who asked is the one to fetch it.
    Nothing(Claim<'c>),
    /// Somebody fetches it; this ends when he is done.
    Fetched(CancellationToken),
}

/// Held by who fetches a key; however that ends, those who wait go on.
struct Claim<'c> {
    cache: &'c Cache,
    key: String,
    number: u64,
    done: CancellationToken,
}

impl Caches {
    /// Empty ones.
    pub fn new(settings: &[workload::Cache]) -> Self {
        let cache = |settings: &workload::Cache| Cache {
            settings: settings.clone(),
            state: Mutex::new(State {
                entries: LruCache::new_unbounded(),
                fetched: HashMap::new(),
                counts: run::Cache {
                    step: settings.name.clone(),
                    ..run::Cache::default()
                },
            }),
        };
        Self {
            all: settings.iter().map(cache).collect(),
        }
    }

    /// What was counted so far, by cache.
    pub fn counts(&self) -> Vec<run::Cache> {
        self.all.iter().map(|cache| cache.state().counts.clone()).collect()
    }
}

/// Performs a step by way of the caches, and tells them what it changed.
pub(super) async fn perform<S: Session>(
    caches: &Caches,
    session: &mut S,
    step: &Step,
    values: &mut Values<'_>,
    reply: &mut Reply,
) -> Outcome {
    // Before the step saves values that keys are made of.
    let written: Vec<String> = step.writes.iter().map(|write| rendered(&write.key, values)).collect();
    let outcome = match &step.cache {
        Some(used) => by_way_of(caches, used, session, step, values, reply).await,
        None => perform_itself(session, step, values, reply).await,
    };
    if outcome == Outcome::Completed {
        for (write, key) in step.writes.iter().zip(&written) {
            caches.all[write.cache].wrote(key, reply.start, write.invalidate);
        }
    }
    outcome
}

async fn by_way_of<S: Session>(
    caches: &Caches,
    used: &CacheUse,
    session: &mut S,
    step: &Step,
    values: &mut Values<'_>,
    reply: &mut Reply,
) -> Outcome {
    let cache = &caches.all[used.cache];
    let start = Instant::now();
    let key = rendered(&used.key, values);
    let mut waited = false;
    let claim = loop {
        match cache.look(&key) {
            Found::Nothing(claim) => break claim,
            Found::Answer(answer) => {
                reply.begin();
                reply.start = start;
                reply.answer = (*answer).clone();
                reply.end = Instant::now();
                return answer::examine(step, values, reply);
            }
            Found::Fetched(done) => {
                waited = true;
                if timeout_at(start + step.timeout, done.cancelled()).await.is_err() {
                    reply.begin();
                    (reply.start, reply.end) = (start, Instant::now());
                    let allowed = format_duration(step.timeout);
                    let reason = format!("not done within {allowed}: another session was fetching the same key");
                    return reply.failed(ErrorClass::Timeout, reason);
                }
            }
        }
    };
    let outcome = perform_itself(session, step, values, reply).await;
    if waited {
        reply.start = start;
    }
    if outcome == Outcome::Completed {
        claim.store(&reply.answer);
    }
    outcome
}

fn rendered(key: &Template, values: &mut Values<'_>) -> String {
    let mut text = String::new();
    key.render(values, &mut text);
    text
}

impl Cache {
    /// A thread that panicked while holding the lock leaves what is behind it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a key up. Who is given a claim is to fetch it.
    fn look(&self, key: &str) -> Found<'_> {
        let now = Instant::now();
        let state = &mut *self.state();
        if let Some(entry) = state.entries.get(key) {
            if now < entry.stored + self.settings.ttl {
                state.counts.hits += 1;
                state.counts.stale_reads += u64::from(entry.stale);
                return Found::Answer(Arc::clone(&entry.answer));
            }
            state.entries.remove(key);
            state.counts.expirations += 1;
        }
        if let Some((_, done)) = state.fetched.get(key) {
            return Found::Fetched(done.clone());
        }
        state.counts.misses += 1;
        let (number, done) = (state.counts.misses, CancellationToken::new());
        state.fetched.insert(key.to_owned(), (number, done.clone()));
        Found::Nothing(Claim {
            cache: self,
            key: key.to_owned(),
            number,
            done,
        })
    }

    /// What a key stands for was changed, by an operation that began then.
    fn wrote(&self, key: &str, began: Instant, invalidate: bool) {
        let state = &mut *self.state();
        if invalidate {
            state.counts.invalidations += u64::from(state.entries.remove(key).is_some());
            // What is being fetched may be what was there before: it is not kept.
            if let Some((_, done)) = state.fetched.remove(key) {
                done.cancel();
            }
        } else if let Some(entry) = state.entries.peek_mut(key)
            // What came while it was changed may be either.
            && entry.stored <= began
        {
            entry.stale = true;
        }
    }
}

impl Claim<'_> {
    /// Keeps what was fetched, unless it is known to be out of date already.
    fn store(self, answer: &Answer) {
        let state = &mut *self.cache.state();
        if state
            .fetched
            .get(&self.key)
            .is_none_or(|(number, _)| *number != self.number)
        {
            return;
        }
        let entry = Entry {
            answer: Arc::new(answer.clone()),
            stored: Instant::now(),
            stale: false,
        };
        state.entries.insert(self.key.clone(), entry);
        if state.entries.len() > self.cache.settings.max {
            state.entries.remove_lru();
            state.counts.evictions += 1;
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if state
            .fetched
            .get(&self.key)
            .is_some_and(|(number, _)| *number == self.number)
        {
            state.fetched.remove(&self.key);
        }
        self.done.cancel();
    }
}

#[cfg(test)]
mod tests;
