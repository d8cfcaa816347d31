//! What the systems under test used while load ran, where loadgate started them.

use serde::{Deserialize, Serialize};

/// What the processes of one target used in one window of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Resources {
    /// Name of the target.
    pub target: String,
    /// Name of its variant; `None` for a server that all variants share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The epoch, from 0; 0 where there are no variants.
    pub epoch: u32,
    /// CPU time in seconds, of all processes and threads that lived until the end of the window.
    pub cpu_s: f64,
    /// Resident memory at its end, in bytes.
    pub memory_bytes: u64,
    /// How long it was loaded, in seconds, what was not recorded included.
    pub loaded_s: f64,
}
