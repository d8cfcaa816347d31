//! What caches in front of steps did while load ran, as plain data. What a cache is, `target` knows.

use serde::{Deserialize, Serialize};

/// The cache of one step: how often it was asked and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cache {
    /// Name of the step.
    pub step: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Answered from the cache, those included that waited for another session to fetch the same key.
    pub hits: u64,
    /// Asked of the target.
    pub misses: u64,
    /// Answers that went because there were too many.
    pub evictions: u64,
    /// Answers that were asked for when their time to live was over.
    pub expirations: u64,
    /// Answers that were removed because what they say was changed.
    pub invalidations: u64,
    /// Hits on answers stored before the last change of what they say, as far as loadgate made it.
    pub stale_reads: u64,
}

impl Cache {
    /// Hits of all that asked; `None` where nobody did.
    pub fn hit_ratio(&self) -> Option<f64> {
        let asked = self.hits.saturating_add(self.misses);
        (asked > 0).then(|| self.hits as f64 / asked as f64)
    }

    /// Adds what was counted elsewhere of the same cache.
    pub fn add(&mut self, other: &Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
        self.evictions = self.evictions.saturating_add(other.evictions);
        self.expirations = self.expirations.saturating_add(other.expirations);
        self.invalidations = self.invalidations.saturating_add(other.invalidations);
        self.stale_reads = self.stale_reads.saturating_add(other.stale_reads);
    }
}
