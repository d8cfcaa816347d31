//! Where a run was measured, as plain data. Who fills it in is `observer`.

use serde::{Deserialize, Serialize};

/// Machine, system, program and repository of a run. `None` means unknown.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Environment {
    /// Operating system and its release.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// CPU architecture.
    pub arch: String,
    /// Brand of the CPU.
    pub cpu: Option<String>,
    /// Cores that the process may use.
    pub cores: usize,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// `release` or `debug`: how loadgate was built.
    pub build: String,
    /// Commit of the repository in the working directory.
    pub commit: Option<String>,
    /// Branch of that repository.
    pub branch: Option<String>,
    /// Whether that repository had uncommitted changes.
    pub dirty: Option<bool>,
    /// The CI system it ran under, if one was recognised.
    pub ci: Option<String>,
}

/// What must agree for two times to be comparable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineClass {
    /// Architecture and CPU brand.
    pub cpu: String,
    /// Usable cores.
    pub cores: usize,
    /// Memory rounded to GiB.
    pub memory_gib: u64,
}

impl Environment {
    /// The class of the machine.
    pub fn machine_class(&self) -> MachineClass {
        MachineClass {
            cpu: format!("{} {}", self.arch, self.cpu.as_deref().unwrap_or("unknown CPU")),
            cores: self.cores,
            memory_gib: (self.memory_bytes.unwrap_or(0) + (1 << 29)) >> 30,
        }
    }
}
