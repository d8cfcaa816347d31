//! One session: operations on the connections that it has or gets, each within its time.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::{Pools, Shared, failure::Failure, line::Line, script::Script};
use crate::{
    sample::{ErrorClass, Outcome},
    target::{Operation, Reply, deadline::Deadline},
    units::format_duration,
    workload::DEFAULT_TIMEOUT,
};

/// One virtual user's way to a server.
pub(in crate::target) struct Session {
    shared: Arc<Shared>,
    /// Its own, or one for each pool.
    lines: Vec<Line>,
    pools: Arc<Pools>,
    script: Script,
    deadline: Deadline,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// With pools it gets its connections there.
    pub(super) fn new(shared: Arc<Shared>, pools: Arc<Pools>) -> Self {
        let own = pools.all.is_empty().then(|| Line::new(&shared, None));
        let pooled = pools.all.iter().map(|pool| Line::new(&shared, Some(pool.clone())));
        Self {
            lines: own.into_iter().chain(pooled).collect(),
            pools,
            shared,
            script: Script::default(),
            deadline: Deadline::default(),
        }
    }

    /// Connects now, where a connection can be kept; a failure is left for the first operation to meet.
    pub(in crate::target) async fn connect_ahead(&mut self) {
        let alone = self.lines.iter_mut().filter(|line| line.wants_one_ahead());
        for line in alone {
            if let Ok(Ok(connection)) = timeout(DEFAULT_TIMEOUT, self.shared.connect_and_prepare()).await {
                line.put(connection);
            }
        }
    }

    pub(in crate::target) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let Operation { step, values } = operation;
        let Self {
            shared,
            lines,
            pools,
            script,
            deadline,
        } = self;
        let line = &mut lines[pools.by_flow.get(step.flow).copied().unwrap_or(0)];
        script.write(shared.protocol, &shared.statements, &step.request, values);
        reply.begin();
        let keep = reply.keep || step.needs_body();
        let start = reply.start;
        let mut fetching = None;
        let work = async {
            let (mut held, since) = line.connection(shared, reply).await?;
            let Some(connection) = held.connection() else {
                return Err(Failure::closed());
            };
            connection.stopwatch.begin(since);
            let result = connection.perform(&step.request, script, values, keep, reply).await;
            let stopwatch = &connection.stopwatch;
            fetching = stopwatch.fetching();
            if fetching.is_some() {
                reply.phases.first_byte = Some(stopwatch.execute);
                reply.phases.body = Some(stopwatch.fetch);
            }
            held.release();
            result
        };
        let ended: Option<Result<(), Failure>> = deadline.within(start, step.timeout, work).await;
        reply.end = Instant::now();
        if let (Some(since), Some(body)) = (fetching, &mut reply.phases.body) {
            *body += reply.end - since;
        }
        let outcome = match ended {
            Some(Ok(())) => Outcome::Completed,
            Some(Err(failure)) => reply.failed(failure.class, failure.message),
            None => {
                let allowed = format_duration(step.timeout);
                reply.failed(ErrorClass::Timeout, format!("not done within {allowed}"))
            }
        };
        line.ended(outcome == Outcome::Completed);
        outcome
    }
}
