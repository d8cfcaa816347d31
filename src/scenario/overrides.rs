//! `--set key=value`: edits the text of a scenario, keeping the rest as written.

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

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

/// As TOML where it is a number, a boolean, quoted text, a list or a table, else as plain text.
fn parse_value(text: &str) -> Value {
    match text.parse() {
        // Scenarios have no bare dates and no infinite numbers: who writes so means text.
        Ok(Value::Datetime(_)) | Err(_) => text.into(),
        Ok(Value::Float(number)) if !number.value().is_finite() => text.into(),
        Ok(value) => value,
    }
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
    let Some(item) = table.get_mut(key) else { return Ok(()) };
    if is_list(item) {
        return set_in(element(item, key, rest[0])?, &rest[1..], value);
    }
    match item.as_table_like_mut() {
        Some(inner) => set_in(inner, rest, value),
        None => Err(format!("\"{key}\" is a value, so \"{}\" cannot lie inside it", rest[0])),
    }
}

fn is_list(item: &Item) -> bool {
    item.is_array_of_tables() || item.is_array()
}

/// The element of a list of tables, written as `[[key]]` or as `key = [{ … }]`.
fn element<'a>(list: &'a mut Item, key: &str, which: &str) -> Result<&'a mut dyn TableLike, String> {
    let elements: Vec<&mut dyn TableLike> = match list {
        Item::ArrayOfTables(tables) => tables.iter_mut().map(|table| table as &mut dyn TableLike).collect(),
        Item::Value(Value::Array(values)) => values
            .iter_mut()
            .filter_map(|value| value.as_inline_table_mut().map(|table| table as &mut dyn TableLike))
            .collect(),
        _ => Vec::new(),
    };
    let count = elements.len();
    let position = elements
        .iter()
        .position(|table| table.get("name").and_then(Item::as_str) == Some(which))
        .or_else(|| which.parse().ok());
    position
        .and_then(|position| elements.into_iter().nth(position))
        .ok_or_else(|| {
            format!(
                "the list \"{key}\" has no element \"{which}\"; address one by its name or by a number below {count}"
            )
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
    fn lists_in_one_line_are_reached_too() {
        let text = "flow = [{ name = \"buy\", step = [{ get = \"/a\" }] }]\n";
        let set = |argument: &str| apply(text, &[argument.to_owned()]).map_err(|error| error.to_string());
        assert!(set("flow.buy.step.0.get=/b").unwrap().contains("get = \"/b\""));
        assert!(set("flow.buy.step.1.get=/b").unwrap_err().contains("below 1"));
    }

    #[test]
    fn values_are_numbers_booleans_and_lists_where_they_read_so_else_text() {
        for (given, written) in [
            ("5", "5"),
            ("true", "true"),
            ("[1, 2]", "[1, 2]"),
            ("5s", "\"5s\""),
            ("\"5\"", "\"5\""),
            ("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\""),
            ("inf", "\"inf\""),
            ("", "\"\""),
            ("a=b", "\"a=b\""),
        ] {
            let text = set(&format!("load.x={given}")).unwrap();
            assert!(text.contains(&format!("x = {written}\n")), "{given}: {text}");
        }
    }

    #[test]
    fn the_last_of_several_wins() {
        let set = ["load.rate=2/s".to_owned(), "load.rate=3/s".to_owned()];
        assert!(apply(TEXT, &set).unwrap().contains("rate = \"3/s\""));
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
