//! The JSON Schema of a scenario, derived from the types that read it.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Scenario;

/// The schema (draft 07, which all editors know).
pub fn json_schema() -> Value {
    let schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<Scenario>();
    let mut schema = schema.to_value();
    drop_null(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".into(), "loadgate scenario".into());
    }
    schema
}

/// TOML has no null: an optional key is absent. What schemars says of null only clutters completion.
fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("default").is_some_and(|default| {
                default.is_null() || default == &serde_json::json!({}) || default == &serde_json::json!([])
            }) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(branches)) = object.get_mut("anyOf") {
                branches.retain(|branch| branch.get("type").is_none_or(|t| t != "null"));
                if let [Value::Object(only)] = branches.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    let description = object.remove("description");
                    object.extend(only);
                    if let Some(description) = description {
                        object.insert("description".into(), description);
                    }
                }
            }
            object.values_mut().for_each(drop_null);
        }
        Value::Array(array) => array.iter_mut().for_each(drop_null),
        _ => {}
    }
}
