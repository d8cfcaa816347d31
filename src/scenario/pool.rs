//! The key `pool` of a target: whose connections its operations use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a profile (`development`, `test`, `staging`, `production`, `high-load`, `auth`), `none` for a connection made for every operation, or a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Pool {
    /// All by that profile; `none`: no pool, and every operation makes a connection and closes it.
    Named(String),
    /// Some of it otherwise.
    Limits(PoolTable),
}

/// A pool of connections that all sessions share. What is left out is as in its profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct PoolTable {
    /// Decides what is not written here. Default `production`.
    pub profile: Option<String>,
    /// Connections made before the load.
    pub initial: Option<i64>,
    /// Connections that are kept, idle or not.
    pub min: Option<i64>,
    /// Connections at most.
    pub max: Option<i64>,
    /// A connection without work for so long is closed, down to `min`: `5m`.
    pub idle: Option<String>,
    /// So old a connection is replaced. Default 30m.
    pub lifetime: Option<String>,
    /// How long an operation may wait for a connection. Default 30s.
    pub acquire_timeout: Option<String>,
    /// How many operations may wait for a connection; those beyond are shed. Default 1000.
    pub queue: Option<i64>,
    /// `true`: each flow has a pool of its own with these limits, so that none waits for another. Default false.
    pub bulkheads: Option<bool>,
    /// A connection that did nothing for so long is asked whether it still answers, before it is given out. Default 30s.
    pub validate: Option<String>,
}
