//! A circuit breaker: closed, open, half-open.
//!
//! Closed, it lets everything through and watches the share of successes over
//! a window of time. Open, it rejects everything. Half-open, it lets a few
//! through: should all succeed it closes, the first failure opens it again.
//! Pure: it is told the time, and has neither a clock nor a lock. (M. Nygard,
//! "Release It!", 2007; M. Fowler, "CircuitBreaker", 2014.)

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    run::{self, BreakerState, Transition},
    sample::{ErrorClass, Outcome},
    workload::BreakerLimits,
};

/// The window is kept in so many parts; it forgets one at a time.
const PARTS: usize = 10;

/// What an operation that was let through says of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing.
    None,
}

impl Sign {
    /// What the caller is to blame for is a success of the target, which did answer: an expectation that does not
    /// hold, data and statements that the database refuses (SQLSTATE classes 22, 23 and 42).
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Success,
            Outcome::Failed(class) => match class {
                ErrorClass::Expectation | ErrorClass::Extraction => Self::Success,
                ErrorClass::SqlState([b'2', b'2' | b'3', ..] | [b'4', b'2', ..]) => Self::Success,
                ErrorClass::Parameter | ErrorClass::Rejected => Self::None,
                _ => Self::Failure,
            },
            Outcome::Unfinished => Self::None,
        }
    }
}

/// The leave to go on, given by [`Breaker::admit`]; the breaker must hear of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The state of the breaker in which it was given, numbered.
    period: u64,
}

/// A circuit breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    limits: BreakerLimits,
    state: State,
    /// Changes with every state: who was let through in an earlier one says nothing of this.
    period: u64,
    /// From when on it counts what it does; not yet.
    counting_from: Option<Instant>,
    counted: run::Breaker,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    Open { until: Instant },
    HalfOpen { under_way: u32, succeeded: u32 },
}

impl Breaker {
    pub(super) fn new(limits: BreakerLimits, now: Instant) -> Self {
        Self {
            state: State::Closed(Window::new(limits.window, now)),
            limits,
            period: 0,
            counting_from: None,
            counted: run::Breaker::default(),
        }
    }

    /// Forgets what it has counted, and counts what happens from that moment on.
    pub(super) fn count_from(&mut self, begin: Instant) {
        self.counting_from = Some(begin);
        self.counted = run::Breaker::default();
    }

    /// What it has counted; times are since the moment from which it counts.
    pub(super) fn counted(&self) -> run::Breaker {
        self.counted.clone()
    }

    /// Whether an operation may go on.
    pub(super) fn admit(&mut self, now: Instant) -> Option<Ticket> {
        if let State::Open { until } = self.state
            && now >= until
        {
            let half_open = State::HalfOpen {
                under_way: 0,
                succeeded: 0,
            };
            self.change(half_open, None, now);
        }
        let admitted = match &mut self.state {
            State::Closed(_) => true,
            State::Open { .. } => false,
            State::HalfOpen { under_way, succeeded } => {
                let room = *under_way + *succeeded < self.limits.probes;
                *under_way += u32::from(room);
                room
            }
        };
        if !admitted && self.counts(now) {
            self.counted.rejected += 1;
        }
        admitted.then_some(Ticket { period: self.period })
    }

    /// Hears of the end of an operation that was let through.
    pub(super) fn tell(&mut self, ticket: Ticket, sign: Sign, now: Instant) {
        if self.counts(now) {
            match sign {
                Sign::Success => self.counted.success += 1,
                Sign::Failure => self.counted.failure += 1,
                Sign::None => {}
            }
        }
        if ticket.period != self.period {
            return;
        }
        match &mut self.state {
            State::Closed(window) => {
                let [successes, all] = window.add(sign, now).map(|count| count as f64);
                let ratio = successes / all;
                if all >= self.limits.minimum as f64 && ratio < self.limits.success {
                    self.open(ratio, now);
                }
            }
            State::HalfOpen { under_way, succeeded } => {
                *under_way = under_way.saturating_sub(1);
                match sign {
                    Sign::Success => {
                        *succeeded += 1;
                        if *succeeded >= self.limits.probes {
                            let closed = State::Closed(Window::new(self.limits.window, now));
                            self.change(closed, Some(1.0), now);
                        }
                    }
                    Sign::Failure => {
                        let succeeded = f64::from(*succeeded);
                        self.open(succeeded / (succeeded + 1.0), now);
                    }
                    Sign::None => {}
                }
            }
            State::Open { .. } => {}
        }
    }

    fn open(&mut self, ratio: f64, now: Instant) {
        let until = now + self.limits.open;
        self.change(State::Open { until }, Some(ratio), now);
    }

    fn change(&mut self, state: State, success_ratio: Option<f64>, now: Instant) {
        let from = self.state.name();
        self.state = state;
        self.period += 1;
        let to = self.state.name();
        let Some(begin) = self.counting_from.filter(|begin| now >= *begin) else {
            return;
        };
        self.counted.tripped += u64::from((from, to) == (BreakerState::Closed, BreakerState::Open));
        self.counted.push(Transition {
            at_s: (now - begin).as_secs_f64(),
            from,
            to,
            success_ratio,
        });
    }

    fn counts(&self, now: Instant) -> bool {
        self.counting_from.is_some_and(|begin| now >= begin)
    }
}

impl State {
    fn name(&self) -> BreakerState {
        match self {
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

/// Successes and all that ended, over a stretch of time that moves on by a part at a time.
#[derive(Debug)]
struct Window {
    begin: Instant,
    part: Duration,
    /// The number of the part under way.
    now: u64,
    /// Successes and all, by the number of the part modulo their count.
    parts: [[u64; 2]; PARTS],
}

impl Window {
    fn new(length: Duration, now: Instant) -> Self {
        Self {
            begin: now,
            part: length / PARTS as u32,
            now: 0,
            parts: [[0; 2]; PARTS],
        }
    }

    /// Adds what ended now; successes and all of the window.
    fn add(&mut self, sign: Sign, now: Instant) -> [u64; 2] {
        self.move_on(now);
        let part = &mut self.parts[self.now as usize % PARTS];
        part[0] += u64::from(sign == Sign::Success);
        part[1] += u64::from(sign != Sign::None);
        let sum = |of: usize| self.parts.iter().map(|part| part[of]).sum();
        [sum(0), sum(1)]
    }

    fn move_on(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.begin);
        let number = (since.as_nanos() / self.part.as_nanos().max(1)) as u64;
        // Threads may tell of their ends a little out of order.
        let passed = number.saturating_sub(self.now);
        for gone in 1..=passed.min(PARTS as u64) {
            self.parts[(self.now + gone) as usize % PARTS] = [0; 2];
        }
        self.now += passed;
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
