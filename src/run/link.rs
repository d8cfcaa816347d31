//! What passed a link between clients and a server, and what went wrong with it on purpose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Connections that are told one by one, those with most queries first.
const TOLD: usize = 100;

/// The link of one target, over all its instances.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Name of the target.
    pub target: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Round trip that it added, in seconds.
    pub delay_s: f64,
    /// What making a connection took longer, in seconds, beside one `delay_s`.
    pub connect_delay_s: f64,
    /// What a round trip took longer at most, in seconds.
    pub jitter_s: f64,
    /// Bytes per second each way; no limit without.
    pub bandwidth: Option<u64>,
    /// What went wrong, in order.
    pub faults: Vec<LinkFault>,
    /// All that passed from when the target was first reached to the end: connecting, setup and warm-up with it.
    pub traffic: Traffic,
    /// What was said in PostgreSQL's protocol, where the link read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// The same of single connections, those with most queries first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<LinkConnection>,
}

/// Something that went wrong with a link.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LinkFault {
    /// `refuse`, `blackhole`, `reset`, `delay`.
    pub kind: String,
    /// When, on the timeline of the run, in seconds.
    pub at_s: f64,
    /// For how long, in seconds; 0 for a reset.
    pub for_s: f64,
    /// The round trip meanwhile, in seconds, of a `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_s: Option<f64>,
}

/// Connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Connections that were made to the link.
    pub connections: u64,
    /// Of these, those that were refused, or for which the server took none.
    pub refused: u64,
    /// Bytes from clients, those that were swallowed with them.
    pub sent_bytes: u64,
    /// Bytes from the server, those that were swallowed with them.
    pub received_bytes: u64,
}

/// What was said in PostgreSQL's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wire {
    /// Sessions that came to the end of their login.
    pub logins: u64,
    /// Requests to give up a statement, each on a connection of its own.
    pub cancels: u64,
    /// Statements that were executed to their end; BEGIN, COMMIT, SET and their like are none.
    pub queries: u64,
    /// BEGIN, COMMIT, SET and their like.
    pub control: u64,
    /// How often a client spoke after the server had, and waited for an answer; logins are left out.
    pub round_trips: u64,
    /// Errors that the server told.
    pub errors: u64,
    /// Connections that could not be read, as they were encrypted.
    pub encrypted: u64,
    /// Connections that could not be read, as they were not PostgreSQL's protocol.
    pub unreadable: u64,
    /// Messages of clients, by their names in PostgreSQL's documentation.
    pub messages: BTreeMap<String, u64>,
}

/// What was counted of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkConnection {
    /// As [`Wire::queries`].
    pub queries: u64,
    /// As [`Wire::round_trips`].
    pub round_trips: u64,
    /// Messages of the client.
    pub messages: u64,
    /// Bytes from the client.
    pub sent_bytes: u64,
    /// Bytes from the server.
    pub received_bytes: u64,
}

impl Link {
    /// Adds what another instance of the same link did.
    pub fn add(&mut self, other: Self) {
        for fault in other.faults {
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
        }
        self.traffic.add(&other.traffic);
        if let Some(more) = other.wire {
            self.wire.get_or_insert_default().add(&more);
        }
        self.connections.extend(other.connections);
        self.keep_busiest();
    }

    /// Leaves the connections with most queries, and no more than are told.
    pub fn keep_busiest(&mut self) {
        let busy = |connection: &LinkConnection| std::cmp::Reverse((connection.queries, connection.sent_bytes));
        self.connections.sort_by_key(busy);
        self.connections.truncate(TOLD);
    }
}

impl Traffic {
    /// Adds what else passed.
    pub fn add(&mut self, more: &Self) {
        let Self {
            connections,
            refused,
            sent_bytes,
            received_bytes,
        } = more;
        for (sum, more) in [
            (&mut self.connections, connections),
            (&mut self.refused, refused),
            (&mut self.sent_bytes, sent_bytes),
            (&mut self.received_bytes, received_bytes),
        ] {
            *sum = sum.saturating_add(*more);
        }
    }
}

impl Wire {
    /// Adds what else was said.
    pub fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.logins, more.logins),
            (&mut self.cancels, more.cancels),
            (&mut self.queries, more.queries),
            (&mut self.control, more.control),
            (&mut self.round_trips, more.round_trips),
            (&mut self.errors, more.errors),
            (&mut self.encrypted, more.encrypted),
            (&mut self.unreadable, more.unreadable),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (name, count) in &more.messages {
            let sum = self.messages.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}
