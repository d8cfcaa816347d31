//! What steps ask of their targets: templates, JSON and SQL statements. Requests are in `http`.

use serde_json::Value as Json;

use super::{Encoding, Kind, Statement, Template, TemplateError, sql, steps::Steps, value::write_json_string};
use crate::scenario::{self, At, Scalar};

/// A step performs its statements so often at most.
const MOST_TIMES: i64 = 10_000;

impl Steps<'_, '_> {
    /// Several statements, so many times; each time data is drawn anew.
    pub(super) fn statements(
        &mut self,
        target: Option<usize>,
        statements: &At<Vec<At<scenario::Statement>>>,
        times: Option<&At<i64>>,
    ) -> Vec<Statement> {
        let once = self.once(target, statements);
        let times = self.compiler.integer(times, "`times`", 1..=MOST_TIMES, 1);
        let rounds = (0..times).flat_map(|round| {
            once.iter().enumerate().map(move |(at, statement)| Statement {
                redraw: round > 0 && at == 0,
                ..statement.clone()
            })
        });
        rounds.collect()
    }

    fn once(&mut self, target: Option<usize>, statements: &At<Vec<At<scenario::Statement>>>) -> Vec<Statement> {
        if statements.value.is_empty() {
            self.compiler
                .problems
                .add_missing(statements.span(), "nothing to execute", "no statements", None);
        }
        let mut compiled = Vec::new();
        for at in &statements.value {
            let Some(sql) = &at.value.sql else {
                let title = "a statement without SQL";
                self.compiler
                    .problems
                    .add_missing(at.span(), title, "`sql` is missing", None);
                continue;
            };
            compiled.extend(self.statement(target, sql, at.value.params.as_ref()));
        }
        compiled
    }

    pub(super) fn statement(
        &mut self,
        target: Option<usize>,
        sql: &At<String>,
        params: Option<&At<Vec<At<Scalar>>>>,
    ) -> Option<Statement> {
        let parameters: Vec<_> = params
            .map_or(&[][..], |params| &params.value)
            .iter()
            .map(|param| self.parameter(param))
            .collect();
        let text = self.compiler.resolve(sql)?;
        self.check_sql(sql, &text);
        self.check_count(sql, &text, params);
        let target = &mut self.targets[target?].target;
        let text = if matches!(target.kind, Kind::Sqlite { .. }) {
            sql::for_sqlite(&text)
        } else {
            text
        };
        let known = target.statements.iter().position(|known| *known == text);
        let index = known.unwrap_or_else(|| {
            target.statements.push(text);
            target.statements.len() - 1
        });
        Some(Statement {
            redraw: false,
            index,
            parameters: parameters.into_iter().collect::<Option<_>>()?,
        })
    }

    fn check_sql(&mut self, at: &At<String>, text: &str) {
        if text.trim().is_empty() {
            self.compiler.problem(at, "an empty statement", "no SQL", None);
        }
        if text.contains("{{") {
            let help = Some("write $1 in the SQL and put the template into params = [\"{{ … }}\"]".into());
            let label = "values are bound, never written into the text";
            self.compiler.problem(at, "a template inside SQL", label, help);
        }
    }

    /// Every placeholder needs its parameter, and the other way round.
    fn check_count(&mut self, sql: &At<String>, text: &str, params: Option<&At<Vec<At<Scalar>>>>) {
        let given = params.map_or(0, |params| params.value.len());
        match sql::count_parameters(text) {
            Err(reason) => {
                self.compiler
                    .problem(sql, "placeholders that make no sense", reason, None);
            }
            Ok(wanted) if wanted != given => {
                let plural = if wanted == 1 { "" } else { "s" };
                let label = format!("the statement has {wanted} placeholder{plural}, `params` has {given}");
                let help = Some("placeholders are written $1, $2, …, one for each of `params`".into());
                let place = params.map_or_else(|| sql.span(), At::span);
                self.compiler
                    .problems
                    .add_missing(place, "parameters do not match", label, help);
            }
            Ok(_) => {}
        }
    }

    fn parameter(&mut self, at: &At<Scalar>) -> Option<Template> {
        match &at.value {
            Scalar::Text(text) => self.text(&at.with(text.clone()), Encoding::Plain),
            other => Some(Template::constant(other.into())),
        }
    }

    pub(super) fn json(&mut self, at: &At<Json>) -> Option<Template> {
        let mut parts = Vec::new();
        self.json_parts(&at.value, at, &mut parts)
            .then(|| Template::concat(parts))
    }

    /// JSON text as templates; a string that is one variable keeps the variable's type.
    /// Whether all went well; where not, the problems of all parts are told.
    fn json_parts(&mut self, json: &Json, at: &At<Json>, parts: &mut Vec<Template>) -> bool {
        let literal = |text: &str| Template::literal(text);
        let mut fine = true;
        match json {
            Json::String(text) => {
                let Some(template) = self.text(&at.with(text.clone()), Encoding::JsonText) else {
                    return false;
                };
                if template.is_single_variable() {
                    parts.push(template.with_encoding(Encoding::Json));
                } else {
                    parts.extend([literal("\""), template.escape_literals(), literal("\"")]);
                }
            }
            Json::Array(items) => {
                parts.push(literal("["));
                for (number, item) in items.iter().enumerate() {
                    parts.extend((number > 0).then(|| literal(",")));
                    fine &= self.json_parts(item, at, parts);
                }
                parts.push(literal("]"));
            }
            Json::Object(members) => {
                parts.push(literal("{"));
                for (number, (key, member)) in members.iter().enumerate() {
                    let mut name = if number > 0 { ",".to_owned() } else { String::new() };
                    write_json_string(key, &mut name, true);
                    parts.push(literal(&format!("{name}:")));
                    fine &= self.json_parts(member, at, parts);
                }
                parts.push(literal("}"));
            }
            plain => parts.push(literal(&plain.to_string())),
        }
        fine
    }

    /// Text with templates, `${…}` resolved.
    pub(super) fn text(&mut self, at: &At<String>, encoding: Encoding) -> Option<Template> {
        let resolved = self.compiler.resolve(at)?;
        self.template(&at.with(resolved), encoding)
    }

    /// Resolved text with templates.
    pub(super) fn template(&mut self, at: &At<String>, encoding: Encoding) -> Option<Template> {
        let errors = match Template::compile(&at.value, encoding, &mut |name| self.scope.find(name)) {
            Ok(template) => return Some(template),
            Err(errors) => errors,
        };
        for error in errors {
            match error {
                TemplateError::Unclosed => {
                    self.compiler
                        .problem(at, "a template that does not end", "`{{` without `}}`", None);
                }
                TemplateError::Unknown(name) => self.unknown(at, &name),
            }
        }
        None
    }

    fn unknown(&mut self, at: &At<String>, name: &str) {
        let known = self.scope.known();
        let help = if known.is_empty() {
            "declare it under [data], or save it in an earlier step".to_owned()
        } else {
            format!("known here: {}", known.join(", "))
        };
        let title = format!("unknown variable \"{name}\"");
        let label = "neither data nor saved before this step";
        self.compiler.problem(at, title, label, Some(help));
    }
}
