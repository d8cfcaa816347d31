//! What steps ask of their targets: templates, JSON and SQL statements. Requests are in `http`.

use serde_json::Value as Json;

use super::{
    CopyIn, Encoding, ForEach, Kind, Request, Statement, Template, TemplateError, sql, steps::Steps,
    value::write_json_string,
};
use crate::scenario::{self, At, Scalar};

/// What columns of a row are called in templates, with their names behind it.
const ROW: &str = "row.";

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
        let index = self.index_of(target?, text);
        Some(Statement {
            redraw: false,
            index,
            parameters: parameters.into_iter().collect::<Option<_>>()?,
        })
    }

    /// The place of a statement among all of the scenario.
    fn index_of(&mut self, target: usize, text: String) -> usize {
        let text = match &self.targets[target].target.kind {
            Kind::Sqlite { .. } => sql::for_sqlite(&text),
            Kind::Http(_) | Kind::Postgres(_) => text,
        };
        let known = self.statements.iter().position(|known| *known == text);
        known.unwrap_or_else(|| {
            self.statements.push(text);
            self.statements.len() - 1
        })
    }

    /// A statement, and another one for every row of its answer.
    pub(super) fn for_each(
        &mut self,
        target: Option<usize>,
        first: Option<Statement>,
        at: &At<scenario::ForEach>,
    ) -> Option<Request> {
        let scenario::ForEach { sql, params } = &at.value;
        let Some(sql) = sql else {
            let help = Some("write for_each = { sql = \"… WHERE id = $1\", params = [\"{{ row.id }}\"] }".into());
            self.compiler
                .problems
                .add_missing(at.span(), "nothing to do for each row", "`sql` is missing", help);
            return None;
        };
        let columns = self.columns_of_a_row(params.as_ref());
        let each = self.statement(target, sql, params.as_ref());
        for (_, column) in &columns {
            self.scope.forget(&format!("{ROW}{column}"));
        }
        Some(Request::ForEach(ForEach {
            statements: [first?, each?],
            columns,
        }))
    }

    /// Makes the columns that the parameters name known, with their variables.
    fn columns_of_a_row(&mut self, params: Option<&At<Vec<At<Scalar>>>>) -> Vec<(usize, Box<str>)> {
        let mut columns: Vec<(usize, Box<str>)> = Vec::new();
        for at in params.map_or(&[][..], |params| &params.value) {
            let Scalar::Text(text) = &at.value else { continue };
            let mut named = Vec::new();
            // What is wrong with it is told where it is compiled in earnest.
            let _ = Template::compile(text, Encoding::Plain, &mut |name| {
                named.extend(name.strip_prefix(ROW).map(str::to_owned));
                Some(0)
            });
            for column in named {
                let Some(variable) = self.scope.save(&format!("{ROW}{column}")) else {
                    let title = format!("\"{ROW}{column}\" is already the name of data");
                    let help = Some("give the data another name".into());
                    self.compiler
                        .problem(at, title, "here `row` is a row of the answer", help);
                    continue;
                };
                if !columns.iter().any(|(known, _)| *known == variable) {
                    columns.push((variable, column.into()));
                }
            }
        }
        columns
    }

    /// Rows for COPY … FROM STDIN.
    pub(super) fn copy(&mut self, target: Option<usize>, at: &At<scenario::CopyIn>) -> Option<Request> {
        let scenario::CopyIn { into, row, times } = &at.value;
        let times = self.compiler.integer(times.as_ref(), "`times`", 1..=MOST_TIMES, 1) as u64;
        let (Some(into), Some(row)) = (into, row) else {
            let help = Some("write copy = { into = \"orders (id, kind)\", row = [\"{{ id }}\", \"new\"] }".into());
            self.compiler
                .problems
                .add_missing(at.span(), "a COPY of nothing", "it needs `into` and `row`", help);
            return None;
        };
        let parameters: Vec<_> = row.value.iter().map(|value| self.parameter(value)).collect();
        let text = self.compiler.resolve(into)?;
        self.check_copy(into, &text, row);
        let target = target?;
        if !matches!(self.targets[target].target.kind, Kind::Postgres(_)) {
            let title = format!("the target \"{}\" has no COPY", self.targets[target].target.name);
            let help = Some("write the rows with a `transaction` and `times`".into());
            self.compiler.problem(at, title, "it is for PostgreSQL", help);
            return None;
        }
        let placeholders: Vec<String> = (1..=row.value.len()).map(|number| format!("${number}")).collect();
        let check = format!(
            "INSERT INTO {text} OVERRIDING SYSTEM VALUE VALUES ({})",
            placeholders.join(", ")
        );
        Some(Request::Copy(CopyIn {
            check: self.index_of(target, check),
            statement: Statement {
                redraw: false,
                index: self.index_of(target, format!("COPY {text} FROM STDIN")),
                parameters: parameters.into_iter().collect::<Option<_>>()?,
            },
            times,
        }))
    }

    /// What can be said of a COPY without its database.
    fn check_copy(&mut self, into: &At<String>, text: &str, row: &At<Vec<At<Scalar>>>) {
        if text.trim().is_empty() || text.contains(';') || text.contains("{{") {
            let help = Some("write a table and its columns, as in \"orders (id, kind)\"".into());
            self.compiler
                .problem(into, "not a table to copy into", "no SQL and no template", help);
            return;
        }
        let given = row.value.len();
        let columns = text
            .split_once('(')
            .map_or(given, |(_, names)| names.split(',').count());
        if given == 0 {
            let help = Some("write row = [\"{{ … }}\"], a value for each column".into());
            self.compiler
                .problems
                .add_missing(row.span(), "a row of nothing", "no values", help);
        } else if columns != given && !text.contains('"') {
            let label = format!("`into` has {columns} columns, `row` has {given} values");
            self.compiler
                .problem(row, "columns and values do not match", label, None);
        }
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
