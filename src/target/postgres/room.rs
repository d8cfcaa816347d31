//! How many more connections a server takes.

use super::Connector;
use crate::target::TargetError;

/// The connections of a server, as it counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most that it takes: `max_connections`.
    pub most: u64,
    /// Of these, kept for others than the role of the target.
    pub reserved: u64,
    /// In use, without the one that asked.
    pub used: u64,
    /// Whether the server itself was asked, and no pooler that shares its connections out.
    pub direct: bool,
}

/// Autovacuum and its like have connections of their own.
const QUESTION: &str = "SELECT current_setting('max_connections'), \
     current_setting('superuser_reserved_connections'), coalesce(current_setting('reserved_connections', true), '0'), \
     (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
     (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid() \
      AND coalesce(backend_type, 'client backend') = 'client backend'), \
     pg_backend_pid()";

impl Connector {
    /// Asks the server.
    ///
    /// # Errors
    /// When it cannot be reached, or does not say.
    pub(in crate::target) async fn room(&self) -> Result<Room, TargetError> {
        let mut connection = self.connect().await?;
        let asked = connection.ask(QUESTION).await;
        let answer = asked.map_err(|failure| self.unreachable(failure.message))?;
        let number = |at: usize| answer.get(at)?.as_ref()?.parse::<u64>().ok();
        let read = || {
            let superuser = answer.get(3)?.as_deref() == Some("t");
            let reserved = number(1)?.saturating_add(number(2)?);
            Some(Room {
                most: number(0)?,
                reserved: if superuser { 0 } else { reserved },
                used: number(4)?,
                // A pooler makes up keys of its own.
                direct: connection.process().and_then(|process| u64::try_from(process).ok()) == number(5),
            })
        };
        read().ok_or_else(|| self.unreachable("it does not say how many connections it takes".into()))
    }
}

impl Room {
    /// Connections that can still be made.
    pub fn left(&self) -> u64 {
        self.most.saturating_sub(self.reserved).saturating_sub(self.used)
    }
}
