//! The systems under test as they presented themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Build;

/// A member of a group of targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Member {
    /// Name of the target.
    pub target: String,
    /// How many operations went to it.
    pub operations: u64,
}

/// A system under test as it presented itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Target {
    /// Name from the scenario.
    pub name: String,
    /// Name of its variant, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What it was built from, where loadgate built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// `http`, `sqlite`, `postgres`.
    pub kind: String,
    /// Address without credentials.
    pub address: String,
    /// What it says it is, where it says so.
    pub version: Option<String>,
    /// The database that was made for the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// How the operations of the load were shared, where it is a group of targets: in the window, lead-ins included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// The command of a managed process.
    pub command: Option<String>,
    /// Whether its process ended by itself while load ran.
    #[serde(default)]
    pub died: bool,
}

/// A database that was made for the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Database {
    /// Of a private server: `ci` or `durable`.
    pub profile: Option<String>,
    /// Name of the fixture that it was a copy of.
    pub fixture: Option<String>,
    /// The fixture's scale.
    pub scale: Option<i64>,
    /// Settings that differed from those a server is built with, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Extensions in it, with versions.
    #[serde(default)]
    pub extensions: Vec<String>,
}
