//! The keys of `[data.NAME]`: values that are drawn or read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::At;

/// Data for templates: exactly one kind.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Data {
    /// Always the same value.
    pub constant: Option<At<Scalar>>,
    /// Integers between two bounds, all equally likely.
    pub uniform: Option<At<Bounds>>,
    /// Integers between two bounds, few of them very likely (the first most).
    pub zipf: Option<At<Zipf>>,
    /// Integers counting up.
    pub sequence: Option<At<Sequence>>,
    /// One of a list of values.
    pub choice: Option<At<Vec<Scalar>>>,
    /// Another value in each stage of the load: as many as there are in `load.stages`, without jumps (`0s`). In the warm-up it is the first, in the drain the last.
    pub by_stage: Option<At<Vec<Scalar>>>,
    /// Always the same text, so many `times`, with commas between: a list for a body.
    pub repeat: Option<At<String>>,
    /// How many times `repeat` stands there, 0 to 1,000,000.
    pub times: Option<At<i64>>,
    /// So many of the values above in one, written as an array of PostgreSQL: `{3,1,2}`.
    pub array: Option<At<i64>>,
    /// Random version-4 UUIDs: `uuid = true`.
    pub uuid: Option<At<bool>>,
    /// Random letters and digits.
    pub string: Option<At<RandomString>>,
    /// Points in time between two bounds.
    pub timestamp: Option<At<RandomTime>>,
    /// Rows of a CSV file with a header line; `{{ name.column }}` in templates. Relative to the scenario file.
    pub csv: Option<At<String>>,
    /// Order of the rows of a CSV file: `sequential` (default, starting over at the end) or `random`.
    pub order: Option<At<String>>,
}

/// A plain value.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
}

/// Two bounds, both included.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Bounds {
    /// The lower bound.
    #[schemars(required)]
    pub from: Option<i64>,
    /// The upper bound.
    #[schemars(required)]
    pub to: Option<i64>,
}

/// A Zipf distribution over integers.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Zipf {
    /// The most frequent value.
    #[schemars(required)]
    pub from: Option<i64>,
    /// The least frequent value.
    #[schemars(required)]
    pub to: Option<i64>,
    /// Skew, above 0; default 1.
    pub exponent: Option<f64>,
}

/// Integers counting up.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Sequence {
    /// The first value. Default 1.
    pub from: Option<i64>,
    /// Start over after this value.
    pub to: Option<i64>,
}

/// Random letters and digits.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomString {
    /// Number of characters, 1 to 1,000,000.
    #[schemars(required)]
    pub length: Option<i64>,
}

/// Points in time, uniform between two bounds.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct RandomTime {
    /// Earliest, as in `2026-01-01T00:00:00Z`.
    #[schemars(required)]
    pub from: Option<String>,
    /// Latest.
    #[schemars(required)]
    pub to: Option<String>,
    /// `rfc3339` (default) or `unix` (seconds).
    pub format: Option<String>,
}
