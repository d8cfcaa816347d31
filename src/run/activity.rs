//! What a PostgreSQL server was seen doing in one database while load ran, as plain data.
//! Who watches is `observer`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was seen from the outside.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Activity {
    /// How often it was looked at who works on what.
    pub samples: u64,
    /// How many working sessions were seen, summed over the samples, by what they waited for:
    /// `LWLock:WALWrite`, or `CPU` for those that waited for nothing.
    pub waits: BTreeMap<String, u64>,
    /// What the counters of the database gained, by their names in `pg_stat_database`.
    pub database: BTreeMap<String, i64>,
    /// What the counters of the server's write-ahead log gained, by their names in `pg_stat_wal`; empty before 14.
    pub wal: BTreeMap<String, i64>,
    /// Checkpoints of the server.
    pub checkpoints: u64,
    /// What happened beside the load, in order.
    pub events: Vec<Event>,
    /// Why not everything could be seen, where that is so.
    pub unavailable: Option<String>,
}

/// What was seen in the database of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TargetActivity {
    /// Name of the target.
    pub target: String,
    /// Name of its variant, where there are several and they do not share the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What was seen.
    pub activity: Activity,
}

impl Activity {
    /// Adds what was seen in a later window, which began `at_s` seconds after the first.
    pub fn add(&mut self, later: Self, at_s: f64) {
        self.samples = self.samples.saturating_add(later.samples);
        self.checkpoints = self.checkpoints.saturating_add(later.checkpoints);
        for (name, count) in later.waits {
            let known = self.waits.entry(name).or_default();
            *known = known.saturating_add(count);
        }
        for (into, from) in [(&mut self.database, later.database), (&mut self.wal, later.wal)] {
            for (name, gained) in from {
                let known = into.entry(name).or_default();
                *known = known.saturating_add(gained);
            }
        }
        self.events.extend(later.events.into_iter().map(|event| Event {
            at_s: at_s + event.at_s,
            ..event
        }));
        self.unavailable = self.unavailable.take().or(later.unavailable);
    }
}

/// Something that happened beside the load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// Seconds since the measured window began.
    pub at_s: f64,
    /// A checkpoint, an autovacuum, a server that could not be asked.
    pub what: String,
}
