//! The breakers of one variant, shared by all its sessions on all threads.
//!
//! A lock is taken only where there is a breaker, for a few words, and never
//! across a wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::breaker::{Breaker, Sign, Ticket};
use crate::{run, sample::Outcome, workload::Workload};

/// All breakers of a variant, in the workload's order.
#[derive(Debug, Clone, Default)]
pub struct Breakers {
    each: Arc<[Mutex<Breaker>]>,
}

impl Breakers {
    /// All closed.
    pub fn new(workload: &Workload) -> Self {
        let now = Instant::now();
        let breakers = workload.breakers.iter();
        Self {
            each: breakers
                .map(|breaker| Mutex::new(Breaker::new(breaker.limits.clone(), now)))
                .collect(),
        }
    }

    /// What happens from that moment on is counted; nothing before.
    pub fn count_from(&self, begin: Instant) {
        for index in 0..self.each.len() {
            self.lock(index).count_from(begin);
        }
    }

    /// What each has counted, with its name.
    pub fn counted(&self, workload: &Workload) -> Vec<run::Breaker> {
        let named = workload.breakers.iter().enumerate();
        let counted = named.map(|(index, breaker)| run::Breaker {
            variant: workload.variant_name().map(str::to_owned),
            target: breaker.target.clone(),
            step: breaker.step.clone(),
            ..self.lock(index).counted()
        });
        counted.collect()
    }

    /// Whether an operation may go on; what it did must be told to the permit.
    pub(super) fn ask(&self, index: usize) -> Option<Permit<'_>> {
        let ticket = self.lock(index).admit(Instant::now())?;
        Some(Permit {
            breakers: self,
            index,
            ticket,
            sign: Sign::None,
        })
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Breaker> {
        self.each[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The leave to perform an operation. Given back when it is dropped, also by an operation that is cut off.
#[derive(Debug)]
pub(super) struct Permit<'b> {
    breakers: &'b Breakers,
    index: usize,
    ticket: Ticket,
    sign: Sign,
}

impl Permit<'_> {
    /// How it ended.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.sign = Sign::of(outcome);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.breakers.lock(self.index).tell(self.ticket, self.sign, now);
    }
}
