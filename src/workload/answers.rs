//! What the answer to a step must be, and what is kept of it.

use std::{collections::BTreeMap, ops::Range};

use hyper::header::HeaderName;
use regex::bytes::Regex;

use super::{Encoding, Expect, Extract, JsonPath, Save, Template, Value, data::is_name, steps::Steps};
use crate::{
    scenario::{self, At, OneOrMany, Scalar},
    units,
};

impl Steps<'_, '_> {
    pub(super) fn expect(&mut self, at: Option<&At<scenario::Expect>>, http: bool) -> Expect {
        let Some(At { value: written, .. }) = at else {
            return Expect::default();
        };
        self.unexpectable(written, http);
        let mut count = |at: &Option<At<i64>>, what: &str| {
            at.as_ref()
                .map(|at| self.compiler.integer(Some(at), what, 0..=i64::MAX, 0) as u64)
        };
        let (rows, affected) = (count(&written.rows, "`rows`"), count(&written.affected, "`affected`"));
        Expect {
            status: self.statuses(written.status.as_ref()),
            headers: written
                .header
                .iter()
                .filter_map(|(name, at)| self.expected_header(name, at))
                .collect(),
            max_size: written
                .max_size
                .as_ref()
                .and_then(|at| self.compiler.quantity(at, "size", units::parse_size)),
            body_contains: written
                .body_contains
                .as_ref()
                .and_then(|at| self.text(at, Encoding::Plain)),
            json: written
                .json
                .iter()
                .filter_map(|(path, value)| Some((self.path(path, value)?, self.constant(value)?)))
                .collect(),
            rows,
            affected,
        }
    }

    /// Expectations that mean nothing for this kind of step.
    fn unexpectable(&mut self, written: &scenario::Expect, http: bool) {
        let keys: [(&str, Option<Range<usize>>, bool); 6] = [
            ("status", written.status.as_ref().map(At::span), http),
            ("header", written.header.values().next().map(At::span), http),
            ("max_size", written.max_size.as_ref().map(At::span), http),
            ("body_contains", written.body_contains.as_ref().map(At::span), http),
            ("rows", written.rows.as_ref().map(At::span), !http),
            ("affected", written.affected.as_ref().map(At::span), !http),
        ];
        let label = if http { "it is for SQL" } else { "it is for HTTP" };
        for (key, place, fits) in keys {
            if let (Some(place), false) = (place, fits) {
                self.compiler
                    .problems
                    .add(place, format!("`{key}` cannot be expected here"), label, None);
            }
        }
    }

    fn expected_header(&mut self, name: &str, at: &At<String>) -> Option<(HeaderName, Template)> {
        let wanted = self.text(at, Encoding::Plain);
        Some((self.header_name(name, at)?, wanted?))
    }

    fn header_name<T>(&mut self, name: &str, at: &At<T>) -> Option<HeaderName> {
        let known = HeaderName::try_from(name);
        if known.is_err() {
            let label = "the name has characters that HTTP does not allow";
            self.compiler.problem(at, format!("not a header: {name}"), label, None);
        }
        known.ok()
    }

    fn constant(&mut self, at: &At<Scalar>) -> Option<Value> {
        match &at.value {
            Scalar::Text(text) if text.contains("{{") => {
                let label = "a template, where only a constant can be compared";
                self.compiler.problem(at, "not a constant", label, None);
                None
            }
            Scalar::Text(text) => Some(Value::Text(self.compiler.resolve(&at.with(text.clone()))?.into())),
            other => Some(other.into()),
        }
    }

    fn statuses(&mut self, at: Option<&At<OneOrMany>>) -> Vec<u16> {
        let Some(at) = at else { return Vec::new() };
        let written = match &at.value {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        };
        if written.is_empty() || written.iter().any(|status| !(100..=999).contains(status)) {
            self.compiler
                .problems
                .add_missing(at.span(), "not an HTTP status", "a status is from 100 to 999", None);
        }
        written
            .iter()
            .filter_map(|status| u16::try_from(*status).ok())
            .collect()
    }

    /// Makes the names known to the steps after this one, and compiles where their values stand.
    pub(super) fn save(&mut self, written: &BTreeMap<String, At<scenario::Save>>, http: bool) -> Vec<Save> {
        let mut save = Vec::new();
        for (name, at) in written {
            if !is_name(name) {
                let title = format!("\"{name}\" is no usable name");
                self.compiler
                    .problem(at, title, "use letters, digits, `_` and `-`", None);
            }
            let variable = self.scope.save(name);
            if variable.is_none() {
                let title = format!("\"{name}\" is already the name of data");
                self.compiler.problem(at, title, "save it under another name", None);
            }
            let from = match &at.value {
                scenario::Save::Path(path) => {
                    let path = self.compiler.resolve(&at.with(path.clone()));
                    path.and_then(|path| self.path(&path, at)).map(Extract::Json)
                }
                scenario::Save::From(_) if !http => {
                    let label = "of SQL a value is saved by its JSON path, as in \"$[0].id\"";
                    self.compiler
                        .problem(at, "rows have no text and no headers", label, None);
                    None
                }
                scenario::Save::From(extract) => self.extract(at, extract),
            };
            save.extend(variable.zip(from).map(|(variable, from)| Save {
                variable,
                name: name.as_str().into(),
                from,
            }));
        }
        save
    }

    fn extract(&mut self, at: &At<scenario::Save>, written: &scenario::Extract) -> Option<Extract> {
        let regex = match &written.regex {
            Some(regex) => Some(self.regex(&at.with(regex.clone()))?),
            None => None,
        };
        match (&written.header, regex) {
            (Some(header), regex) => Some(Extract::Header(self.header_name(header, at)?, regex)),
            (None, Some(regex)) => Some(Extract::Body(regex)),
            (None, None) => {
                let help = Some("write { regex = \"…\" } or { header = \"…\" }, or a JSON path without a table".into());
                let title = "a value from nowhere";
                self.compiler
                    .problems
                    .add_missing(at.span(), title, "neither `regex` nor `header`", help);
                None
            }
        }
    }

    fn regex(&mut self, at: &At<String>) -> Option<Regex> {
        let text = self.compiler.resolve(at)?;
        let regex = Regex::new(&text);
        if let Err(error) = &regex {
            // Its last line is the reason; those before draw the place.
            let reason = error.to_string();
            let reason = reason
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            self.compiler.problem(at, "not a regular expression", reason, None);
        }
        regex.ok()
    }

    fn path<T>(&mut self, path: &str, at: &At<T>) -> Option<JsonPath> {
        JsonPath::compile(path)
            .map_err(|reason| self.compiler.problem(at, "not a JSON path", reason, None))
            .ok()
    }
}
