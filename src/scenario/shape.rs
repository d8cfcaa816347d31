//! Checks the text's keys and types against the JSON Schema, and takes out what
//! does not fit, so that the rest can be read and checked in the same go.

use serde_json::Value as Schema;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{Problems, schema};

/// Reports every unknown key and every wrong type, and removes them from the table.
pub(super) fn prune(table: &mut Spanned<DeTable<'_>>, problems: &mut Problems) {
    let root = schema::json_schema();
    Checker { root: &root, problems }.table(table.get_mut(), &root, "");
}

struct Checker<'a> {
    root: &'a Schema,
    problems: &'a mut Problems,
}

impl<'a> Checker<'a> {
    fn table(&mut self, table: &mut DeTable<'_>, schema: &'a Schema, path: &str) {
        let schema = self.resolve(schema);
        let properties = schema.get("properties").and_then(Schema::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let keys: Vec<Spanned<DeString<'_>>> = table.keys().cloned().collect();
        for key in keys {
            let name = key.get_ref().as_ref();
            let inner = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
            let fits = match properties.and_then(|known| known.get(name)).or(others) {
                Some(schema) => table
                    .get_mut(&key)
                    .is_some_and(|value| self.value(value, schema, &inner)),
                // A schema that says nothing of keys (free JSON) allows them all.
                None if properties.is_none() && schema.get("additionalProperties") != Some(&Schema::Bool(false)) => {
                    true
                }
                None => {
                    let known = properties
                        .map(|known| known.keys().map(String::as_str).collect())
                        .unwrap_or_default();
                    self.unknown_key(&key, known, path);
                    false
                }
            };
            if !fits {
                table.remove(&key);
            }
        }
    }

    /// Whether the value has the type the schema wants; deeper misfits are removed from it.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &'a Schema, path: &str) -> bool {
        let span = value.span();
        let branches = self.branches(schema);
        let Some(schema) = branches.iter().copied().find(|branch| accepts(branch, value.get_ref())) else {
            let wanted: Vec<_> = branches.iter().map(|branch| describe(branch)).collect();
            let found = value.get_ref().type_str();
            self.problems.add_pruned(
                span,
                format!("`{path}` has the wrong type"),
                format!("expected {}, found {}", wanted.join(" or "), article(found)),
                quoting_help(&wanted, value.get_ref()),
            );
            return false;
        };
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, schema, path),
            DeValue::Array(array) => {
                if let Some(items) = schema.get("items") {
                    let mut kept = Vec::with_capacity(array.len());
                    for (at, mut item) in std::mem::replace(array, DeArray::new()).into_iter().enumerate() {
                        if self.value(&mut item, items, &format!("{path}[{at}]")) {
                            kept.push(item);
                        }
                    }
                    for item in kept {
                        array.push(item);
                    }
                }
            }
            _ => {}
        }
        true
    }

    fn unknown_key(&mut self, key: &Spanned<DeString<'_>>, known: Vec<&str>, path: &str) {
        let name = key.get_ref().as_ref();
        let place = if path.is_empty() {
            "a scenario".to_owned()
        } else {
            format!("`{path}`")
        };
        let near = known
            .iter()
            .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
            .filter(|(similarity, _)| *similarity > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let help = match near {
            Some((_, candidate)) => format!("did you mean `{candidate}`?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        self.problems.add_pruned(
            key.span(),
            format!("unknown key `{name}`"),
            format!("{place} has no such key"),
            Some(help),
        );
    }

    fn resolve(&self, schema: &'a Schema) -> &'a Schema {
        let reference = schema.get("$ref").or_else(|| {
            let [only] = schema.get("allOf")?.as_array()?.as_slice() else {
                return None;
            };
            only.get("$ref")
        });
        reference
            .and_then(Schema::as_str)
            .and_then(|reference| self.root.pointer(reference.trim_start_matches('#')))
            .unwrap_or(schema)
    }

    fn branches(&self, schema: &'a Schema) -> Vec<&'a Schema> {
        let schema = self.resolve(schema);
        match schema.get("anyOf").and_then(Schema::as_array) {
            Some(branches) => branches.iter().map(|branch| self.resolve(branch)).collect(),
            None => vec![schema],
        }
    }
}

fn accepts(schema: &Schema, value: &DeValue<'_>) -> bool {
    let fits = |wanted: &str| match wanted {
        "string" => value.is_str(),
        "integer" => value.is_integer(),
        "number" => value.is_integer() || value.is_float(),
        "boolean" => value.is_bool(),
        "array" => value.is_array(),
        "object" => value.is_table(),
        _ => false,
    };
    match schema.get("type") {
        Some(Schema::String(wanted)) => fits(wanted),
        Some(Schema::Array(wanted)) => wanted.iter().filter_map(Schema::as_str).any(fits),
        _ => true,
    }
}

fn describe(schema: &Schema) -> String {
    match schema.get("type").and_then(Schema::as_str) {
        Some("object") => "a table".into(),
        Some("number") => "a number".into(),
        Some(name) => article(name),
        None => "a value".into(),
    }
}

fn article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if an { "an" } else { "a" })
}

/// The commonest slip: a bare number where a quantity with a unit is wanted.
fn quoting_help(wanted: &[String], value: &DeValue<'_>) -> Option<String> {
    let number = value
        .as_integer()
        .map(|integer| integer.as_str())
        .or_else(|| value.as_float().map(|float| float.as_str()))?;
    (wanted == ["a string"]).then(|| format!("write it in quotes, with a unit where one belongs: \"{number}\""))
}
