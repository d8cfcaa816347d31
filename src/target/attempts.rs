//! One operation in as many tries as its step's policy allows, each with the leave of its breaker.
//!
//! To all others it is one operation: it starts with the first try and ends
//! with the last; what it cost is the sum of all tries. When an operation is
//! due, and who counts it, is none of this module's business.

use std::time::Duration;

use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

use super::{
    Reply, Session, perform,
    permit::Breakers,
    retry::{Backoff, is_retryable},
};
use crate::{
    sample::{ErrorClass, Outcome, Phases, RetryEnd},
    workload::{Retry, Step, Values, stream},
};

/// The streams of random numbers for waits; each step has its own.
const BACKOFF: u64 = 0x6261_636b << 32;

/// Performs an operation as [`perform`] does, again where it failed and the step's policy says so.
/// `on_try` hears of every try that goes to the target, before it does, and whether it is not the first.
pub async fn persist<S: Session>(
    session: &mut S,
    step: &Step,
    values: &mut Values<'_>,
    reply: &mut Reply,
    breakers: &Breakers,
    mut on_try: impl FnMut(bool),
) -> (Outcome, Option<RetryEnd>) {
    if !step.is_persistent() {
        return (perform(session, step, values, reply).await, None);
    }
    let draw = values.draw();
    let mut backoff = None;
    let mut spent: Option<Spent> = None;
    let mut tries = 1;
    loop {
        let outcome = attempt(session, step, values, reply, breakers, || on_try(tries > 1)).await;
        if let Some(before) = &spent {
            before.add_to(reply);
        }
        let Outcome::Failed(class) = outcome else {
            return (outcome, (tries > 1).then_some(RetryEnd::Recovered));
        };
        let Some(policy) = step.retry.as_ref().filter(|policy| is_retryable(policy, class)) else {
            return (outcome, None);
        };
        if tries >= policy.attempts {
            return (outcome, Some(RetryEnd::Exhausted));
        }
        spent = Some(Spent::of(reply));
        let wait = backoff
            .get_or_insert_with(|| waits(policy, step, values.seed(), draw))
            .next();
        if !wait.is_zero() {
            sleep(wait).await;
        }
        values.rewind(draw);
        tries += 1;
    }
}

/// The waits of one operation: a function of the seed, the step and the number of the draw with which it began.
fn waits<'p>(policy: &'p Retry, step: &Step, seed: u64, draw: u64) -> Backoff<'p> {
    Backoff::new(policy, stream(seed, BACKOFF + step.index as u64, draw))
}

/// One try, unless the breaker rejects it.
async fn attempt<S: Session>(
    session: &mut S,
    step: &Step,
    values: &mut Values<'_>,
    reply: &mut Reply,
    breakers: &Breakers,
    on_try: impl FnOnce(),
) -> Outcome {
    let Some(index) = step.breaker else {
        on_try();
        return perform(session, step, values, reply).await;
    };
    let Some(permit) = breakers.ask(index) else {
        reply.begin();
        let rejected = reply.failed(ErrorClass::Rejected, "the circuit breaker is open");
        // A user that is rejected again and again must not keep its thread to itself.
        yield_now().await;
        return rejected;
    };
    on_try();
    let outcome = perform(session, step, values, reply).await;
    permit.ended(outcome);
    outcome
}

/// What earlier tries cost.
struct Spent {
    start: Instant,
    phases: Phases,
    round_trips: u32,
    queries: u32,
    transactions: u32,
    sessions: u32,
}

impl Spent {
    fn of(reply: &Reply) -> Self {
        Self {
            start: reply.start,
            phases: reply.phases,
            round_trips: reply.round_trips,
            queries: reply.queries,
            transactions: reply.transactions,
            sessions: reply.sessions,
        }
    }

    fn add_to(&self, reply: &mut Reply) {
        reply.start = self.start;
        let phases = &mut reply.phases;
        for (into, before) in [
            (&mut phases.acquire, self.phases.acquire),
            (&mut phases.connect, self.phases.connect),
            (&mut phases.tls, self.phases.tls),
            (&mut phases.first_byte, self.phases.first_byte),
            (&mut phases.body, self.phases.body),
        ] {
            add(into, before);
        }
        reply.round_trips += self.round_trips;
        reply.queries += self.queries;
        reply.transactions += self.transactions;
        reply.sessions += self.sessions;
    }
}

/// A phase that happened in either try happened.
fn add(into: &mut Option<Duration>, before: Option<Duration>) {
    *into = match (*into, before) {
        (Some(now), Some(before)) => Some(now + before),
        (now, before) => now.or(before),
    };
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
