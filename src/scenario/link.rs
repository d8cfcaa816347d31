//! The keys of a link: what lies between clients and a server, and what goes wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::At;

/// A way to a server that can be long, narrow and faulty, and that counts what passes.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Link {
    /// Round trip that it adds, half of it each way, as in `25ms`. Default none.
    pub delay: Option<At<String>>,
    /// What making a connection takes longer, beside one `delay`. Default none.
    pub connect_delay: Option<At<String>>,
    /// A round trip takes up to so much longer, by chance. Default none.
    pub jitter: Option<At<String>>,
    /// What passes each way, all connections together, as in `10 MB/s`. Default: no limit.
    pub bandwidth: Option<At<String>>,
    /// Read PostgreSQL's protocol and count queries and round trips. Default true for PostgreSQL.
    pub tap: Option<At<bool>>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub fault: Vec<At<Fault>>,
}

/// Something that goes wrong with a link for a while: exactly one of `kind`, `delay`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Fault {
    /// When it begins, since the begin of the measured window.
    #[schemars(required)]
    pub at: Option<At<String>>,
    /// How long it lasts; not for `reset`.
    #[serde(rename = "for")]
    pub lasting: Option<At<String>>,
    /// `refuse`: connections are reset and no new ones made. `blackhole`: nothing passes and nothing is closed. `reset`: connections are reset at that moment.
    pub kind: Option<At<String>>,
    /// Another `delay` while it lasts.
    pub delay: Option<At<String>>,
}
