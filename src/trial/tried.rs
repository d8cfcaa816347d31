//! How often operations were tried and what breakers did, as the run has it.

use std::sync::Arc;

use crate::{
    executor::Plan,
    recorder::Recorded,
    run::{Breaker, Retries},
    workload::Workload,
};

/// The tries of all steps with a policy, of all variants.
pub(super) fn retries(workload: &Arc<Workload>, recorded: &Recorded) -> Vec<Retries> {
    let measured = workload.variants().flat_map(|variant| &variant.measured);
    let tried = measured.zip(&recorded.steps).enumerate();
    let tried = tried.filter(|(_, (measured, _))| measured.persistent);
    let tried = tried.map(|(step, (_, recorded))| Retries {
        step,
        attempts: recorded.attempts,
        retries: recorded.tries.retries,
        recovered: recorded.tries.recovered,
        exhausted: recorded.tries.exhausted,
    });
    tried.collect()
}

/// What the breakers of all variants did since load began.
pub(super) fn breakers(plan: &Plan) -> Vec<Breaker> {
    let variants = plan.variants.iter();
    variants
        .flat_map(|variant| variant.breakers.counted(&variant.workload))
        .collect()
}
