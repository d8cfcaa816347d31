//! The keys of variants: the same work done in several ways, measured beside each other.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    data::Data,
    file::{At, Target},
    flow::Flow,
};

/// One way to do the work. The first variant is the reference; each other one is compared with it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Variant {
    /// Names the variant in reports.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// SQL executed once in the variant's own database before its load, by target: `{ db = "CREATE INDEX …" }`.
    #[serde(default)]
    pub setup: BTreeMap<String, At<String>>,
    /// SQL that takes back what `setup` did, by target; loadgate checks that schema and settings are then as before.
    #[serde(default)]
    pub rollback: BTreeMap<String, At<String>>,
    /// Keys of targets that are different in this variant; all others stay as in the scenario.
    #[serde(default)]
    pub target: BTreeMap<String, At<Target>>,
    /// Data that is different in this variant, by name.
    #[serde(default)]
    pub data: BTreeMap<String, At<Data>>,
    /// Flows instead of all those of the scenario. Steps of the same name are compared.
    #[serde(default)]
    pub flow: Vec<At<Flow>>,
}

/// How a scenario with variants is measured, and what is counted before its load.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Trial {
    /// How often all variants are started anew, each with its share of `load.duration`. Default: one per second, from 12 to 24; fewer where the load is shorter than 6 s or operations are long. With fewer than 12 no change of a time is critical.
    pub epochs: Option<At<i64>>,
    /// What is recorded of a slice: load on one variant before it is the next one's turn. Default: 20 mean operations of the slowest variant, 250ms to 2s.
    pub slice: Option<At<String>>,
    /// Load at the begin of each slice that is not recorded. Default: 20 mean operations of the slowest variant, 100ms to 2s.
    pub lead_in: Option<At<String>>,
    /// Passes of each flow by a single client whose queries, buffers and rows are counted. Default 20; 0 leaves out the census, and whether variants answer the same.
    pub census: Option<At<i64>>,
    /// Which data says how many records an operation is about, and two such numbers: what grows from one to the other is N+1.
    pub records: Option<At<Records>>,
}

/// Two sizes of the same operation, to see what grows with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Records {
    /// Name of a `constant` of `[data]`, or of a text that is repeated so many `times`.
    #[schemars(required)]
    pub data: Option<String>,
    /// The small size.
    #[schemars(required)]
    pub from: Option<i64>,
    /// The large size.
    #[schemars(required)]
    pub to: Option<i64>,
}
