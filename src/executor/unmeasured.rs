//! Actions that are no load: setup and teardown, of the run and of each virtual
//! user. They go the way of every step, but nobody counts them, and the first
//! failure is the end.

use tokio::time::sleep;

use crate::{
    sample::Outcome,
    target::{self, Reply, Session},
    workload::{Action, Values, Workload},
};

/// The step that failed, and why; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Name of the step.
    pub step: String,
    /// What went wrong.
    pub reason: String,
}

/// Performs actions once, in order.
///
/// # Errors
/// The first step that fails.
pub async fn perform<S: Session>(
    actions: &[Action],
    workload: &Workload,
    session: &mut S,
    values: &mut Values<'_>,
    reply: &mut Reply,
) -> Result<(), Failed> {
    for action in actions {
        match action {
            Action::Step(step) => {
                if let Outcome::Failed(class) = target::perform(session, step, values, reply).await {
                    let message = workload.secrets.mask(reply.message.as_deref().unwrap_or_default());
                    return Err(Failed {
                        step: step.name.clone(),
                        reason: format!("{class}: {message}"),
                    });
                }
            }
            Action::Pause(wait, purpose) => sleep(wait.length(workload.seed, *purpose, values.draw())).await,
            Action::Repeat { times, actions } => {
                for _ in 0..*times {
                    values.redraw();
                    Box::pin(perform(actions, workload, session, values, reply)).await?;
                }
            }
        }
    }
    Ok(())
}
