//! The keys of a scenario file that only HTTP knows: credentials, parts of a
//! body, what an answer must be and what is taken from it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, OneOrMany, Scalar};

/// Who asks: exactly one of `basic` and `bearer`. Sent as the header `authorization`; always a secret.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Auth {
    /// User and password.
    pub basic: Option<At<Basic>>,
    /// A token; templates allowed.
    pub bearer: Option<At<String>>,
}

/// Credentials are no part of the work, only that there are some.
impl Serialize for Auth {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.basic.is_some() { "basic" } else { "bearer" })
    }
}

/// User and password.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Basic {
    /// Name of the user, without `:`; templates allowed.
    #[schemars(required)]
    pub user: Option<At<String>>,
    /// The password; templates allowed.
    #[schemars(required)]
    pub password: Option<At<String>>,
}

/// A part of a multipart body: exactly one of `value` and `file`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Part {
    /// Name of the field.
    #[schemars(required)]
    pub name: Option<At<String>>,
    /// Its content as text; templates allowed.
    pub value: Option<At<String>>,
    /// File whose bytes are the content. Relative to the scenario file, up to 64 MiB.
    pub file: Option<At<String>>,
    /// Name that the server is told for the content. Default for `file`: the file's own.
    pub file_name: Option<At<String>>,
    /// Type of the content. Default for `file`: `application/octet-stream`.
    pub content_type: Option<At<String>>,
}

/// Where in an answer a value to keep stands.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Save {
    /// JSON path, as in `$.items[0].id`; rows of SQL are an array of objects.
    Path(String),
    /// A regular expression, a header, or a regular expression on a header.
    From(Extract),
}

/// A value in the text of an answer.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Extract {
    /// Regular expression on the body, or on the `header`: its first group is kept, else all it matches.
    pub regex: Option<String>,
    /// Name of a header.
    pub header: Option<String>,
}

/// What an answer must be.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(!default)]
pub struct Expect {
    /// HTTP status, one or several. Default: below 400.
    pub status: Option<At<OneOrMany>>,
    /// Header = text that it contains; templates allowed.
    #[serde(default)]
    pub header: BTreeMap<String, At<String>>,
    /// Text that the body contains; templates allowed.
    pub body_contains: Option<At<String>>,
    /// JSON path = value that the body has there; numbers are compared by value.
    #[serde(default)]
    pub json: BTreeMap<String, At<Scalar>>,
    /// The largest body as received, as in `1MB` or `64KiB`; no more is read.
    pub max_size: Option<At<String>>,
    /// Number of rows that the statement returns.
    pub rows: Option<At<i64>>,
    /// Number of rows that the statement changes.
    pub affected: Option<At<i64>>,
}
