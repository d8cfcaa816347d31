//! Checks the text's keys and types against the JSON Schema, and takes out what
//! does not fit, so that the rest can be read and checked in the same go.

use std::ops::Range;

use serde_json::Value as Schema;
use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{Problems, schema};

/// Reports every unknown key and every wrong type, and removes them from the table.
pub(super) fn prune(table: &mut Spanned<DeTable<'_>>, problems: &mut Problems) {
    let root = schema::json_schema();
    Checker { root: &root, problems }.table(table.get_mut(), None, &root, "");
}

struct Checker<'a> {
    root: &'a Schema,
    problems: &'a mut Problems,
}

impl<'a> Checker<'a> {
    /// Checks the table at the place `owner`; `None` is the scenario itself.
    fn table(&mut self, table: &mut DeTable<'_>, owner: Option<&Range<usize>>, schema: &'a Schema, path: &str) {
        let schema = self.resolve(schema);
        let properties = schema.get("properties").and_then(Schema::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let free = properties.is_none() && others.is_none();
        let keys: Vec<Spanned<DeString<'_>>> = table.keys().cloned().collect();
        for key in keys {
            let name = key.get_ref().as_ref();
            let inner = format!("{path}{}{name}", if path.is_empty() { "" } else { "." });
            let known = properties.and_then(|known| known.get(name)).or(others);
            let fits = match known.or(free.then_some(&Schema::Bool(true))) {
                Some(schema) => table
                    .get_mut(&key)
                    .is_some_and(|value| self.value(value, schema, &inner)),
                None => {
                    let known = properties.into_iter().flat_map(|known| known.keys());
                    self.unknown_key(&key, &known.map(String::as_str).collect::<Vec<_>>(), path);
                    false
                }
            };
            if !fits {
                table.remove(&key);
                self.problems.damage(owner.cloned());
            }
        }
    }

    /// Whether the value has the type the schema wants; deeper misfits are removed from it.
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, schema: &'a Schema, path: &str) -> bool {
        let span = value.span();
        let branches = self.branches(schema);
        let Some(schema) = branches.iter().copied().find(|branch| accepts(branch, value.get_ref())) else {
            let wanted: Vec<_> = branches.iter().map(|branch| describe(branch)).collect();
            let found = article(value.get_ref().type_str());
            self.problems.add(
                span,
                format!("`{path}` has the wrong type"),
                format!("expected {}, found {found}", wanted.join(" or ")),
                quoting_help(&wanted, value.get_ref()),
            );
            return false;
        };
        if let Some((label, help)) = unreadable(value.get_ref()) {
            self.problems
                .add(span, format!("`{path}` cannot be used"), label, help.map(str::to_owned));
            return false;
        }
        match value.get_mut() {
            DeValue::Table(table) => self.table(table, Some(&span), schema, path),
            DeValue::Array(array) => {
                let items = schema.get("items").unwrap_or(&Schema::Bool(true));
                self.list(array, &span, items, path);
            }
            _ => {}
        }
        true
    }

    fn list(&mut self, list: &mut DeArray<'_>, owner: &Range<usize>, schema: &'a Schema, path: &str) {
        for (at, mut item) in std::mem::replace(list, DeArray::new()).into_iter().enumerate() {
            if self.value(&mut item, schema, &format!("{path}[{at}]")) {
                list.push(item);
            } else {
                self.problems.damage(Some(owner.clone()));
            }
        }
    }

    fn unknown_key(&mut self, key: &Spanned<DeString<'_>>, known: &[&str], path: &str) {
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
        self.problems.add(
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

/// Why a value of a fitting type cannot be used all the same, and how to mend it.
fn unreadable(value: &DeValue<'_>) -> Option<(&'static str, Option<&'static str>)> {
    match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .is_err()
            .then_some((
                "an integer has at most 64 bits",
                Some("as text, in quotes, it can be longer"),
            )),
        DeValue::Float(float) => (!float.as_str().parse().is_ok_and(f64::is_finite)).then_some((
            "a number must be finite",
            Some("as text, in quotes, it can be anything"),
        )),
        DeValue::Datetime(_) => Some(("a bare date or time has no type in JSON or SQL", Some(QUOTE_DATES))),
        _ => None,
    }
}

const QUOTE_DATES: &str = "write it in quotes";

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

/// The commonest slips: a bare number where a quantity with a unit is wanted, and a bare date.
fn quoting_help(wanted: &[String], value: &DeValue<'_>) -> Option<String> {
    if !wanted.iter().any(|wanted| wanted == "a string") {
        return None;
    }
    let number = match value {
        DeValue::Datetime(_) => return Some(QUOTE_DATES.into()),
        DeValue::Integer(integer) => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => return None,
    };
    Some(format!(
        "write it in quotes, with a unit where one belongs: \"{number}\""
    ))
}
