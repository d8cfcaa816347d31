//! `--set key=value`: edits the text of a scenario, keeping the rest as written.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, Value};

use super::LoadError;

/// Applies each `key=value`, where the key is a dotted path into the scenario.
///
/// Elements of a list are addressed by their `name` or by a number from 0:
/// `flow.buy.weight=2`, `threshold.0.critical=+20%`.
pub(super) fn apply(toml: &str, set: &[String]) -> Result<String, LoadError> {
    // The caller has made sure that the text is TOML.
    let mut document: DocumentMut = toml.parse().map_err(|error: toml_edit::TomlError| LoadError::Set {
        argument: set.join(" "),
        reason: error.message().to_owned(),
    })?;
    for argument in set {
        set_one(&mut document, argument).map_err(|reason| LoadError::Set {
            argument: argument.clone(),
            reason,
        })?;
    }
    Ok(document.to_string())
}

fn set_one(document: &mut DocumentMut, argument: &str) -> Result<(), String> {
    let (path, value) = argument
        .split_once('=')
        .ok_or("write it as key=value, for example load.rate=100/s")?;
    let segments: Vec<&str> = path.split('.').map(str::trim).collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return Err("a part of the key is empty".into());
    }
    set_in(document.as_table_mut(), &segments, parse_value(value.trim()))
}

/// As TOML where it is TOML (numbers, booleans, quoted text, lists), else as plain text.
fn parse_value(text: &str) -> Value {
    text.parse().unwrap_or_else(|_| Value::from(text))
}

fn set_in(table: &mut dyn TableLike, segments: &[&str], value: Value) -> Result<(), String> {
    let [key, rest @ ..] = segments else {
        return Err("the key names a whole element of a list; name a key inside it".into());
    };
    if rest.is_empty() {
        table.insert(key, Item::Value(value));
        return Ok(());
    }
    if !table.contains_key(key) {
        table.insert(key, Item::Table(Table::new()));
    }
    match table.get_mut(key) {
        Some(Item::ArrayOfTables(list)) => set_in(element(list, key, rest[0])?, &rest[1..], value),
        Some(item) => match item.as_table_like_mut() {
            Some(inner) => set_in(inner, rest, value),
            None => Err(format!("\"{key}\" is a value, so \"{}\" cannot lie inside it", rest[0])),
        },
        None => Ok(()),
    }
}

fn element<'a>(list: &'a mut ArrayOfTables, key: &str, which: &str) -> Result<&'a mut Table, String> {
    let position = match which.parse() {
        Ok(number) => Some(number),
        Err(_) => list
            .iter()
            .position(|table| table.get("name").and_then(Item::as_str) == Some(which)),
    };
    let count = list.len();
    position.and_then(|position| list.get_mut(position)).ok_or_else(|| {
        format!("the list \"{key}\" has no element \"{which}\"; address one by its name or by a number below {count}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"x\" # kept\n[load]\nrate = \"1/s\"\n[[flow]]\nname = \"buy\"\nweight = 1\n";

    fn set(argument: &str) -> Result<String, String> {
        apply(TEXT, &[argument.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_set_by_path_name_and_number() {
        assert!(set("load.rate=300/s").unwrap().contains("rate = \"300/s\""));
        assert!(set("flow.buy.weight=7").unwrap().contains("weight = 7"));
        assert!(set("flow.0.weight=7").unwrap().contains("weight = 7"));
        assert!(
            set("target.db.sqlite=x.db")
                .unwrap()
                .contains("[target.db]\nsqlite = \"x.db\"")
        );
        assert!(set("seed=7").unwrap().contains("# kept"));
    }

    #[test]
    fn a_path_that_leads_nowhere_says_so() {
        assert!(set("load").unwrap_err().contains("key=value"));
        assert!(set("load..rate=1").unwrap_err().contains("empty"));
        assert!(set("name.x=1").unwrap_err().contains("is a value"));
        assert!(set("flow.sell.weight=1").unwrap_err().contains("no element \"sell\""));
        assert!(set("flow.buy=1").unwrap_err().contains("whole element"));
    }
}
