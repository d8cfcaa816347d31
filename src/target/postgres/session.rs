//! One session: a connection that is made when it is needed, and operations
//! on it, each within its time.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::{Shared, connection::Connection, failure::Failure, script::Script};
use crate::{
    sample::{ErrorClass, Outcome},
    target::{Operation, Reply, deadline::Deadline},
    units::format_duration,
    workload::DEFAULT_TIMEOUT,
};

/// One connection.
pub(in crate::target) struct Session {
    shared: Arc<Shared>,
    line: Line,
    script: Script,
    deadline: Deadline,
}

/// The place of the connection.
///
/// It is taken out while in use. An operation that is cut off drops it, which
/// has the server give up what it does (see [`Connection`]), and leaves none behind.
#[derive(Default)]
struct Line(Option<Box<Connection>>);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("connected", &self.line.0.is_some())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            line: Line::default(),
            script: Script::default(),
            deadline: Deadline::default(),
        }
    }

    /// Connects now; a failure is left for the first operation to meet.
    pub(in crate::target) async fn connect_ahead(&mut self) {
        if let Ok(Ok(connection)) = timeout(DEFAULT_TIMEOUT, self.shared.connect_and_prepare()).await {
            self.line.0 = Some(connection);
        }
    }

    pub(in crate::target) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let Operation { step, values } = operation;
        let Self {
            shared,
            line,
            script,
            deadline,
        } = self;
        script.write(shared.protocol, &shared.statements, &step.request, values);
        reply.begin();
        let keep = reply.keep || step.needs_body();
        let start = reply.start;
        let work = async {
            let mut connection = line.connection(shared, reply).await?;
            let result = connection.perform(&step.request, script, values, keep, reply).await;
            if connection.wire.is_usable() {
                line.0 = Some(connection);
            }
            result
        };
        let ended: Option<Result<(), Failure>> = deadline.within(start, step.timeout, work).await;
        reply.end = Instant::now();
        match ended {
            Some(Ok(())) => Outcome::Completed,
            Some(Err(failure)) => reply.failed(failure.class, failure.message),
            None => {
                let allowed = format_duration(step.timeout);
                reply.failed(ErrorClass::Timeout, format!("not done within {allowed}"))
            }
        }
    }
}

impl Line {
    /// The connection, made anew where it is gone; then what that took is in the reply.
    async fn connection(&mut self, shared: &Arc<Shared>, reply: &mut Reply) -> Result<Box<Connection>, Failure> {
        if let Some(mut connection) = self.0.take()
            && connection.wire.is_open().await
        {
            return Ok(connection);
        }
        let before = Instant::now();
        let connection = shared.connect_and_prepare().await;
        reply.phases.connect = Some(before.elapsed());
        reply.sessions += u32::from(connection.is_ok());
        connection
    }
}
