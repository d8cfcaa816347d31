//! Which member of a group an operation goes to, for all users of one variant on all threads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use crate::workload::{Balance, Group, Workload};

/// The groups of a variant, in the workload's order.
#[derive(Debug, Clone, Default)]
pub struct Balancers {
    each: Arc<[Balancer]>,
}

#[derive(Debug)]
struct Balancer {
    balance: Balance,
    /// Indices of targets.
    members: Vec<usize>,
    /// How many operations were shared out so far.
    turn: AtomicUsize,
    /// By member: operations under way, and all that went to it since they are counted.
    busy: Vec<AtomicUsize>,
    taken: Vec<AtomicU64>,
}

impl Balancers {
    /// Nothing is under way anywhere.
    pub fn new(workload: &Workload) -> Self {
        let zeros = |group: &Group| group.members.iter().map(|_| AtomicUsize::new(0)).collect();
        let each = workload.groups.iter().map(|group| Balancer {
            balance: group.balance,
            members: group.members.clone(),
            turn: AtomicUsize::new(0),
            busy: zeros(group),
            taken: group.members.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        Self { each: each.collect() }
    }

    /// Forgets what was counted.
    pub fn count_anew(&self) {
        for taken in self.each.iter().flat_map(|balancer| &balancer.taken) {
            taken.store(0, Relaxed);
        }
    }

    /// How many operations went to each member of each group.
    pub fn counted(&self) -> Vec<Vec<u64>> {
        let of = |balancer: &Balancer| balancer.taken.iter().map(|taken| taken.load(Relaxed)).collect();
        self.each.iter().map(of).collect()
    }

    /// The member that the next operation of a group goes to; none where load is not shared.
    pub(super) fn take(&self, group: usize) -> Option<Share<'_>> {
        let balancer = self.each.get(group)?;
        Some(balancer.take())
    }
}

impl Balancer {
    fn take(&self) -> Share<'_> {
        let turn = self.turn.fetch_add(1, Relaxed) % self.members.len();
        let in_turn = (0..self.members.len()).map(|after| (turn + after) % self.members.len());
        let member = match self.balance {
            Balance::RoundRobin => turn,
            // Of those that are as busy the first in turn.
            Balance::LeastBusy => in_turn
                .min_by_key(|member| self.busy[*member].load(Relaxed))
                .unwrap_or(turn),
        };
        self.busy[member].fetch_add(1, Relaxed);
        self.taken[member].fetch_add(1, Relaxed);
        Share { balancer: self, member }
    }
}

/// An operation under way on a member. It is over when this is dropped, also for one that is cut off.
#[derive(Debug)]
pub(super) struct Share<'b> {
    balancer: &'b Balancer,
    member: usize,
}

impl Share<'_> {
    /// Index of the target.
    pub(super) fn target(&self) -> usize {
        self.balancer.members[self.member]
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.balancer.busy[self.member].fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(balance: Balance, members: usize) -> Balancer {
        Balancer {
            balance,
            members: (10..10 + members).collect(),
            turn: AtomicUsize::new(0),
            busy: (0..members).map(|_| AtomicUsize::new(0)).collect(),
            taken: (0..members).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    #[test]
    fn round_robin_goes_to_one_after_the_other_however_busy() {
        let balancer = balancer(Balance::RoundRobin, 3);
        let held = balancer.take();
        assert_eq!(held.target(), 10);
        let next: Vec<usize> = (0..5).map(|_| balancer.take().target()).collect();
        assert_eq!(next, [11, 12, 10, 11, 12]);
    }

    #[test]
    fn least_busy_goes_past_those_that_have_more_to_do() {
        let balancer = balancer(Balance::LeastBusy, 2);
        // In turn while both are idle.
        assert_eq!([balancer.take().target(), balancer.take().target()], [10, 11]);
        let slow = balancer.take();
        assert_eq!(slow.target(), 10);
        let others: Vec<usize> = (0..4).map(|_| balancer.take().target()).collect();
        assert_eq!(others, [11; 4]);
        drop(slow);
        let both: Vec<usize> = (0..4).map(|_| balancer.take().target()).collect();
        assert!(both.contains(&10) && both.contains(&11), "{both:?}");
        let taken: Vec<u64> = balancer.taken.iter().map(|taken| taken.load(Relaxed)).collect();
        assert_eq!(taken.iter().sum::<u64>(), 11);
    }
}
