//! What a PostgreSQL server did for one statement, as it counts it. Who reads it is `observer`.

use serde::{Deserialize, Serialize};

/// Counters of one statement between two moments. None of them is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatementCounts {
    /// Executions that ended well.
    pub calls: u64,
    /// Rows returned or changed.
    pub rows: u64,
    /// Pages of tables and indexes looked at, whether they were in memory or not.
    pub buffers: u64,
    /// Pages of temporary files that were written: what did not fit into `work_mem`.
    pub temp_blocks: u64,
    /// Records written to the write-ahead log.
    pub wal_records: u64,
    /// Whole pages in those records; each is written once after a checkpoint, so they tell of checkpoints.
    pub wal_fpi: u64,
    /// Bytes of the records with their whole pages.
    pub wal_bytes: u64,
    /// How often it was planned; 0 where the server does not count it (`pg_stat_statements.track_planning`).
    pub plans: u64,
}

impl StatementCounts {
    /// Adds another's counters.
    pub fn add(&mut self, other: &Self) {
        let theirs = other.all();
        for (own, more) in self.all_mut().into_iter().zip(theirs) {
            *own = own.saturating_add(more);
        }
    }

    /// What was counted after `before`; `None` where a counter has shrunk.
    pub fn since(&self, before: &Self) -> Option<Self> {
        let mut gained = *self;
        for (now, then) in gained.all_mut().into_iter().zip(before.all()) {
            *now = now.checked_sub(then)?;
        }
        Some(gained)
    }

    fn all(mut self) -> [u64; 8] {
        self.all_mut().map(|value| *value)
    }

    fn all_mut(&mut self) -> [&mut u64; 8] {
        [
            &mut self.calls,
            &mut self.rows,
            &mut self.buffers,
            &mut self.temp_blocks,
            &mut self.wal_records,
            &mut self.wal_fpi,
            &mut self.wal_bytes,
            &mut self.plans,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_what_is_gained() {
        let counts = |calls, wal_bytes| StatementCounts {
            calls,
            wal_bytes,
            ..StatementCounts::default()
        };
        let mut sum = counts(2, 100);
        sum.add(&counts(3, 20));
        assert_eq!(sum, counts(5, 120));
        assert_eq!(sum.since(&counts(2, 100)), Some(counts(3, 20)));
        assert_eq!(counts(2, 100).since(&sum), None, "counters only grow");
    }
}
