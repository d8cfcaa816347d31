//! The published JSON Schema of `report.json`, derived from the types that are written.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::document::Document;

/// The schema (draft 07, as that of scenarios).
///
/// It names every key that this version writes and allows others: keys are added within a major.
pub fn json_schema() -> Value {
    let schema = SchemaSettings::draft07()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Document>();
    let mut schema = schema.to_value();
    if let Value::Object(root) = &mut schema {
        root.insert("title".into(), "loadgate report".into());
    }
    schema
}
