//! What makes two runs comparable: the work they did, not where or against what address.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Hashes of the parts of a scenario that decide what work is done.
///
/// Addresses, secrets, commands, injected faults and limits are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Flows, steps, setup, and the kinds of the targets.
    pub flows: String,
    /// Generators and the content of data files.
    pub data: String,
    /// The load profile.
    pub load: String,
    /// The seed.
    pub seed: u64,
}

impl Fingerprint {
    /// A short name for the whole, as shown to people.
    pub fn short(&self) -> String {
        hash(format!("{} {} {} {}", self.flows, self.data, self.load, self.seed).as_bytes())[..12].to_owned()
    }

    /// Names of the parts that differ from another's.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("flows", self.flows != other.flows),
            ("data", self.data != other.data),
            ("load", self.load != other.load),
            ("seed", self.seed != other.seed),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// SHA-256 as lower-case hex.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
