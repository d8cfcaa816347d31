//! What services asked their databases, as the links between them saw it pass: without any
//! extension and any right on the server, and the only way to know of round trips.

use super::sessions::Counted;
use crate::{metric::Counter, run::Wire, trial::links::Links};

/// The links of one variant that are read.
pub(super) struct Tapped<'s> {
    links: &'s Links,
    before: Option<Wire>,
}

impl<'s> Tapped<'s> {
    pub(super) fn new(links: &'s Links) -> Self {
        Self { links, before: None }
    }

    /// Looks before a request.
    pub(super) fn begin(&mut self) {
        self.before = self.links.wire();
    }

    /// What passed since; nothing where no link is read.
    pub(super) fn end(&mut self) -> Vec<Counted> {
        let (Some(before), Some(now)) = (self.before.take(), self.links.wire()) else {
            return Vec::new();
        };
        // A link counts what it has read before it passes it on: an answer that came is in it.
        let counted = |what: &str, gained: u64| match unread(&now) {
            None => Ok(gained),
            Some(why) => Err(format!("{what} of services are not counted by their link: {why}")),
        };
        vec![
            (Counter::Queries, counted("queries", now.queries - before.queries)),
            (
                Counter::RoundTrips,
                counted("round trips", now.round_trips - before.round_trips),
            ),
        ]
    }
}

/// Why not all that passed was read.
fn unread(wire: &Wire) -> Option<&'static str> {
    if wire.encrypted > 0 {
        return Some("connections through it are encrypted; have the service connect with sslmode=disable");
    }
    (wire.unreadable > 0).then_some("what passed was not PostgreSQL's protocol")
}
