//! The scenario as each of its variants has it: what a variant writes goes over what the scenario writes.

use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

/// The keys of a target of which there is one.
const ADDRESSES: [&str; 4] = ["http", "sqlite", "postgres", "pgbouncer"];

/// How deep tables of targets are merged: by name, by key, and their settings and headers by name.
const TO_SETTINGS: usize = 3;

/// Data is replaced by name.
const TO_NAMES: usize = 1;

/// One table per variant, each with nothing but its own entry under `variant`.
///
/// Targets are merged key by key, data by name; flows take the place of all others.
/// Every value keeps its place in the text.
pub(super) fn variants<'t>(table: &Spanned<DeTable<'t>>) -> Vec<Spanned<DeTable<'t>>> {
    let written = match table.get_ref().get("variant").map(Spanned::get_ref) {
        Some(DeValue::Array(written)) => written,
        _ => return Vec::new(),
    };
    written.iter().map(|variant| with(table, variant)).collect()
}

fn with<'t>(table: &Spanned<DeTable<'t>>, variant: &Spanned<DeValue<'t>>) -> Spanned<DeTable<'t>> {
    let mut whole = table.clone();
    if let DeValue::Table(own) = variant.get_ref() {
        replace_addresses(whole.get_mut(), own);
        for (key, depth) in [("target", TO_SETTINGS), ("data", TO_NAMES), ("flow", 0)] {
            if let Some((key, value)) = own.get_key_value(key) {
                put(whole.get_mut(), key, value, depth);
            }
        }
    }
    if let Some(list) = whole.get_mut().get_mut("variant") {
        let mut alone = DeArray::new();
        alone.push(variant.clone());
        *list.get_mut() = DeValue::Array(alone);
    }
    whole
}

/// A target has one address: that of the variant is not another one beside the scenario's.
fn replace_addresses<'t>(whole: &mut DeTable<'t>, own: &DeTable<'t>) {
    let (Some(DeValue::Table(known)), Some(DeValue::Table(own))) = (
        whole.get_mut("target").map(Spanned::get_mut),
        own.get("target").map(Spanned::get_ref),
    ) else {
        return;
    };
    for (name, target) in own {
        let written = |key: &&str| matches!(target.get_ref(), DeValue::Table(target) if target.contains_key(*key));
        let known = known.get_mut(name).map(Spanned::get_mut);
        if let (Some(DeValue::Table(known)), true) = (known, ADDRESSES.iter().any(written)) {
            for key in ADDRESSES {
                known.remove(key);
            }
        }
    }
}

/// Puts a value over that of `into`; tables are merged down to that depth.
fn put<'t>(into: &mut DeTable<'t>, key: &Spanned<DeString<'t>>, value: &Spanned<DeValue<'t>>, depth: usize) {
    let known = into.get_mut(key).map(Spanned::get_mut);
    match (known, value.get_ref()) {
        (Some(DeValue::Table(known)), DeValue::Table(own)) if depth > 0 => {
            for (key, value) in own {
                put(known, key, value, depth - 1);
            }
        }
        _ => {
            into.insert(key.clone(), value.clone());
        }
    }
}
