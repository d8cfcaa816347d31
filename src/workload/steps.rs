//! The flows of a scenario → actions, with templates and statements compiled.

use std::collections::{BTreeMap, BTreeSet};

use hyper::{Method, header::HeaderName};
use serde_json::Value as Json;

use super::{
    Action, Encoding, Expect, Flow, HttpRequest, JsonPath, Kind, MeasuredStep, Request, Statement, Step, Target,
    Template, TemplateError, Value, Variable,
    compile::Compiler,
    data::DataSet,
    sql,
    target::{Compiled as CompiledTarget, is_secret_header},
    value::write_json_string,
};
use crate::{
    scenario::{self, At, OneOrMany, Scalar, Scenario},
    units,
};

/// No more rounds than this in one pass, all nested repeats multiplied.
const MOST_ROUNDS: u64 = 1_000_000;

/// What came of the flows.
pub(super) struct Compiled {
    pub(super) targets: Vec<Target>,
    pub(super) setup: Vec<Action>,
    pub(super) flows: Vec<Flow>,
    pub(super) teardown: Vec<Action>,
    pub(super) measured: Vec<MeasuredStep>,
    pub(super) variables: Vec<Variable>,
    pub(super) variable_names: Vec<String>,
    pub(super) draws_per_pass: u64,
}

/// Compiles setup, flows and teardown; problems go to the compiler.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    scenario: &Scenario,
    targets: Vec<CompiledTarget>,
    data: &DataSet,
) -> Compiled {
    let mut steps = Steps {
        compiler,
        written_targets: scenario.target.keys().cloned().collect(),
        targets,
        data,
        indices: BTreeMap::new(),
        variables: Vec::new(),
        saved: BTreeSet::new(),
        measured: Vec::new(),
        flow: None,
    };
    let setup = steps.actions(&scenario.setup);
    let globals = steps.saved.clone();
    let flows = steps.flows(&scenario.flow);
    steps.flow = None;
    steps.saved = globals;
    let teardown = steps.actions(&scenario.teardown);

    let draws_per_pass = flows.iter().map(|flow| rounds(&flow.actions)).max().unwrap_or(1).max(1);
    if draws_per_pass > MOST_ROUNDS
        && let Some(flow) = scenario.flow.first()
    {
        steps.compiler.problem(
            flow,
            "too many rounds in one pass",
            "nested repeats multiply to more than 1,000,000",
            None,
        );
    }
    let mut variable_names = vec![String::new(); steps.variables.len()];
    for (name, index) in steps.indices {
        variable_names[index] = name;
    }
    Compiled {
        targets: steps.targets.into_iter().map(|compiled| compiled.target).collect(),
        setup,
        flows,
        teardown,
        measured: steps.measured,
        variables: steps.variables,
        variable_names,
        draws_per_pass,
    }
}

/// How many times data is drawn in one pass: once, and once more per further round of a repeat.
fn rounds(actions: &[Action]) -> u64 {
    actions.iter().fold(1, |sum, action| match action {
        Action::Repeat { times, actions } => sum.saturating_add(times.saturating_mul(rounds(actions))),
        _ => sum,
    })
}

struct Steps<'c, 'a> {
    compiler: &'c mut Compiler<'a>,
    /// Names of all targets, those with problems included.
    written_targets: Vec<String>,
    targets: Vec<CompiledTarget>,
    data: &'c DataSet,
    indices: BTreeMap<String, usize>,
    variables: Vec<Variable>,
    /// Names saved so far where the current step stands.
    saved: BTreeSet<String>,
    measured: Vec<MeasuredStep>,
    /// The flow being compiled; `None` in setup and teardown.
    flow: Option<String>,
}

/// The kinds of step, as the keys that choose them.
const KINDS: &str = "get, post, put, patch, delete, head, options, sql, transaction, pause, repeat";

impl Steps<'_, '_> {
    fn flows(&mut self, written: &[At<scenario::Flow>]) -> Vec<Flow> {
        if written.is_empty() {
            let help = Some("add [[flow]] with name = \"…\" and [[flow.step]]".into());
            self.compiler.problems.add_missing(
                0..usize::MAX,
                "the scenario has no flow",
                "`[[flow]]` is missing",
                help,
            );
        }
        let globals = self.saved.clone();
        let mut names = BTreeSet::new();
        let mut flows = Vec::new();
        for flow in written {
            let name = match &flow.value.name {
                Some(name) => {
                    if !names.insert(name.value.clone()) {
                        self.compiler.problem(
                            name,
                            format!("two flows are called \"{}\"", name.value),
                            "a name must be unique",
                            None,
                        );
                    }
                    name.value.clone()
                }
                None => {
                    self.compiler
                        .problems
                        .add_missing(flow.span(), "a flow without a name", "`name` is missing", None);
                    String::new()
                }
            };
            let weight = self
                .compiler
                .integer(flow.value.weight.as_ref(), "the weight", 1..=1_000_000, 1) as u64;
            self.saved.clone_from(&globals);
            self.flow = Some(name.clone());
            let measured_before = self.measured.len();
            let actions = self.actions(&flow.value.step);
            if self.measured.len() == measured_before {
                let help = Some("add [[flow.step]] with a request or a statement".into());
                self.compiler.problems.add_missing(
                    flow.span(),
                    format!("the flow \"{name}\" measures nothing"),
                    "no step with a request or statement",
                    help,
                );
            }
            flows.push((name, weight, actions));
        }
        Flow::cumulate(flows)
    }

    fn actions(&mut self, steps: &[At<scenario::Step>]) -> Vec<Action> {
        steps.iter().filter_map(|step| self.action(step)).collect()
    }

    fn action(&mut self, at: &At<scenario::Step>) -> Option<Action> {
        let step = &at.value;
        let kinds = kinds_of(step);
        let [kind] = kinds.as_slice() else {
            if kinds.is_empty() {
                self.compiler.problems.add_missing(
                    at.span(),
                    "a step that does nothing",
                    "no kind of step",
                    Some(format!("exactly one of {KINDS}")),
                );
            } else {
                let label = kinds
                    .iter()
                    .map(|kind| format!("`{kind}`"))
                    .collect::<Vec<_>>()
                    .join(" and ");
                self.compiler
                    .problem(at, "two kinds in one step", label, Some("make a step of each".into()));
            }
            return None;
        };
        self.misplaced(at, kind);
        match *kind {
            "pause" => self
                .compiler
                .quantity(step.pause.as_ref()?, "duration", units::parse_duration)
                .map(Action::Pause),
            "repeat" => {
                let times = self
                    .compiler
                    .integer(step.repeat.as_ref(), "`repeat`", 1..=1_000_000, 1) as u64;
                if step.step.is_empty() {
                    self.compiler.problems.add_missing(
                        at.span(),
                        "nothing to repeat",
                        "no steps below it",
                        Some("add step = [ … ] or [[flow.step.step]]".into()),
                    );
                }
                Some(Action::Repeat {
                    times,
                    actions: self.actions(&step.step),
                })
            }
            kind => self.step(at, kind).map(Action::Step),
        }
    }

    /// Keys that mean nothing for this kind of step.
    fn misplaced(&mut self, at: &At<scenario::Step>, kind: &str) {
        let step = &at.value;
        let http = is_http(kind);
        let measured = !matches!(kind, "pause" | "repeat");
        for (key, present, fits) in [
            ("params", step.params.is_some(), kind == "sql"),
            ("headers", !step.headers.is_empty(), http),
            ("body", step.body.is_some(), http),
            ("json", step.json.is_some(), http),
            ("step", !step.step.is_empty(), kind == "repeat"),
            ("expect", step.expect.is_some(), measured),
            ("save", !step.save.is_empty(), measured),
            ("timeout", step.timeout.is_some(), measured),
            ("target", step.target.is_some(), measured),
        ] {
            if present && !fits {
                self.compiler.problem(
                    at,
                    format!("`{key}` does not belong here"),
                    format!("a step with `{kind}` has no `{key}`"),
                    None,
                );
            }
        }
        if step.body.is_some()
            && let Some(json) = &step.json
        {
            self.compiler
                .problem(json, "two bodies", "`body` and `json` exclude each other", None);
        }
    }

    fn step(&mut self, at: &At<scenario::Step>, kind: &str) -> Option<Step> {
        let written = &at.value;
        let target = self.target(at, kind);
        let name = written
            .name
            .as_ref()
            .map_or_else(|| default_name(written, kind), |name| name.value.clone());
        self.check_name(at, &name);
        let default_timeout = target.map_or(super::DEFAULT_TIMEOUT, |target| self.targets[target].timeout);
        let timeout = self.compiler.duration(written.timeout.as_ref(), default_timeout);
        let request = match kind {
            "sql" => self.sql(target, written).map(Request::Sql),
            "transaction" => self.transaction(target, written).map(Request::Transaction),
            method => self.http(written, method).map(Request::Http),
        };
        let expect = self.expect(written.expect.as_ref(), is_http(kind));
        // What a step saves is known to the steps after it, not to itself.
        let save = self.save(&written.save);

        let target = target?;
        let index = self.measured.len();
        if let Some(flow) = self.flow.clone() {
            self.measured.push(MeasuredStep {
                name: name.clone(),
                flow,
                target,
            });
        }
        Some(Step {
            index: if self.flow.is_some() { index } else { usize::MAX },
            name,
            target,
            request: request?,
            expect,
            save,
            timeout,
        })
    }

    fn check_name(&mut self, at: &At<scenario::Step>, name: &str) {
        if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            self.compiler.problem(
                at,
                "not a usable name for a step",
                "a name has 1 to 200 characters on one line",
                None,
            );
        }
        if self.flow.is_some() && self.measured.iter().any(|step| step.name == name) {
            let help = Some("give each step its own `name`; thresholds and reports go by it".into());
            self.compiler.problem(
                at,
                format!("two steps are called \"{name}\""),
                "the second of them",
                help,
            );
        }
    }

    /// The target named, or the only one that fits.
    fn target(&mut self, at: &At<scenario::Step>, kind: &str) -> Option<usize> {
        let fits = |target: &Target| matches!(target.kind, Kind::Http(_)) == is_http(kind);
        if let Some(name) = &at.value.target {
            let found = self
                .targets
                .iter()
                .position(|compiled| compiled.target.name == name.value);
            match found {
                Some(index) if fits(&self.targets[index].target) => return Some(index),
                Some(_) => self.compiler.problem(
                    name,
                    format!("the target \"{}\" cannot do this", name.value),
                    format!("`{kind}` needs another kind of target"),
                    None,
                ),
                None if self.written_targets.contains(&name.value) => {}
                None => {
                    let help = Some(format!("targets: {}", self.written_targets.join(", ")));
                    self.compiler.problem(
                        name,
                        format!("no target is called \"{}\"", name.value),
                        "unknown target",
                        help,
                    );
                }
            }
            return None;
        }
        let fitting: Vec<usize> = (0..self.targets.len())
            .filter(|index| fits(&self.targets[*index].target))
            .collect();
        match fitting.as_slice() {
            [only] => Some(*only),
            [] if self.written_targets.len() > self.targets.len() => None,
            [] => {
                let wanted = if is_http(kind) {
                    "http = \"http://…\""
                } else {
                    "sqlite = \"…\" or postgres = \"…\""
                };
                self.compiler.problems.add_missing(
                    at.span(),
                    "no target for this step",
                    format!("`{kind}` has nothing to go to"),
                    Some(format!("add a [target.…] with {wanted}")),
                );
                None
            }
            several => {
                let names: Vec<_> = several
                    .iter()
                    .map(|index| self.targets[*index].target.name.clone())
                    .collect();
                self.compiler.problems.add_missing(
                    at.span(),
                    "several targets fit",
                    "`target` is missing",
                    Some(format!("one of: {}", names.join(", "))),
                );
                None
            }
        }
    }

    fn http(&mut self, written: &scenario::Step, method: &str) -> Option<HttpRequest> {
        let scenario::Step {
            get,
            post,
            put,
            patch,
            delete,
            head,
            options,
            ..
        } = written;
        let path = [get, post, put, patch, delete, head, options]
            .into_iter()
            .flatten()
            .next()?;
        if !path.value.starts_with(['/', '$', '{']) {
            let help = Some("the address belongs into [target.…] http = \"…\", the path here".into());
            self.compiler
                .problem(path, "not a path", "a path starts with `/`", help);
        }
        let template = self.text(path, Encoding::Url)?;
        let body = match (&written.body, &written.json) {
            (Some(body), _) => Some(self.text(body, Encoding::Plain)?),
            (None, Some(json)) => Some(self.json(json)?),
            (None, None) => None,
        };
        let mut headers = self.headers(&written.headers);
        if written.json.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push((
                HeaderName::from_static("content-type"),
                Template::literal("application/json"),
            ));
        }
        let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
        Some(HttpRequest {
            method,
            path: template,
            headers,
            body,
        })
    }

    fn headers(&mut self, written: &BTreeMap<String, At<String>>) -> Vec<(HeaderName, Template)> {
        let mut headers = Vec::new();
        for (name, at) in written {
            if is_secret_header(name) && !at.value.contains("{{") {
                let resolved = self.compiler.resolve(at);
                self.compiler.secrets.add(&resolved);
            }
            match (HeaderName::try_from(name), self.text(at, Encoding::Plain)) {
                (Ok(name), Some(value)) => headers.push((name, value)),
                (Err(_), _) => self.compiler.problem(
                    at,
                    format!("not a header: {name}"),
                    "the name has characters that HTTP does not allow",
                    None,
                ),
                (_, None) => {}
            }
        }
        headers
    }

    fn sql(&mut self, target: Option<usize>, written: &scenario::Step) -> Option<Statement> {
        self.statement(target, written.sql.as_ref()?, written.params.as_ref())
    }

    fn transaction(&mut self, target: Option<usize>, written: &scenario::Step) -> Option<Vec<Statement>> {
        let statements = written.transaction.as_ref()?;
        if statements.value.is_empty() {
            self.compiler
                .problem(statements, "an empty transaction", "no statements", None);
        }
        let mut compiled = Vec::new();
        for at in &statements.value {
            let Some(sql) = &at.value.sql else {
                self.compiler
                    .problems
                    .add_missing(at.span(), "a statement without SQL", "`sql` is missing", None);
                continue;
            };
            compiled.extend(self.statement(target, sql, at.value.params.as_ref()));
        }
        Some(compiled)
    }

    fn statement(
        &mut self,
        target: Option<usize>,
        sql: &At<String>,
        params: Option<&At<Vec<At<Scalar>>>>,
    ) -> Option<Statement> {
        let text = self.compiler.resolve(sql);
        let given = params.map_or(0, |params| params.value.len());
        match sql::count_parameters(&text) {
            Err(reason) => self
                .compiler
                .problem(sql, "placeholders that make no sense", reason, None),
            Ok(wanted) if wanted != given => {
                let label = format!(
                    "the statement has {wanted} placeholder{}, `params` has {given}",
                    if wanted == 1 { "" } else { "s" }
                );
                self.compiler.problem(sql, "parameters do not match", label, None);
            }
            Ok(_) => {}
        }
        if text.contains("{{") {
            let help = Some("write $1 in the SQL and put the template into params = [\"{{ … }}\"]".into());
            self.compiler.problem(
                sql,
                "a template inside SQL",
                "values are bound, never written into the text",
                help,
            );
        }
        let parameters = params
            .map_or(&[][..], |params| &params.value)
            .iter()
            .filter_map(|param| self.parameter(param))
            .collect();
        let target = &mut self.targets[target?].target;
        let text = if matches!(target.kind, Kind::Sqlite { .. }) {
            sql::for_sqlite(&text)
        } else {
            text
        };
        let index = target
            .statements
            .iter()
            .position(|known| *known == text)
            .unwrap_or_else(|| {
                target.statements.push(text);
                target.statements.len() - 1
            });
        Some(Statement { index, parameters })
    }

    fn parameter(&mut self, at: &At<Scalar>) -> Option<Template> {
        match &at.value {
            Scalar::Text(text) => self.text(
                &At {
                    value: text.clone(),
                    start: at.start,
                    end: at.end,
                },
                Encoding::Plain,
            ),
            other => {
                let constant = self.variable(
                    format!("constant {other:?}"),
                    Variable::Drawn(super::Draw::constant(other.into())),
                );
                Template::compile("{{ constant }}", Encoding::Plain, &mut |_| Some(constant)).ok()
            }
        }
    }

    fn expect(&mut self, at: Option<&At<scenario::Expect>>, http: bool) -> Expect {
        let Some(at) = at else { return Expect::default() };
        let scenario::Expect {
            status,
            body_contains,
            json,
            rows,
            affected,
        } = &at.value;
        for (key, present, fits) in [
            ("status", status.is_some(), http),
            ("body_contains", body_contains.is_some(), http),
            ("rows", rows.is_some(), !http),
            ("affected", affected.is_some(), !http),
        ] {
            if present && !fits {
                self.compiler.problem(
                    at,
                    format!("`{key}` cannot be expected here"),
                    if fits {
                        ""
                    } else if http {
                        "it is for SQL"
                    } else {
                        "it is for HTTP"
                    },
                    None,
                );
            }
        }
        Expect {
            status: self.statuses(status.as_ref()),
            body_contains: body_contains.as_ref().and_then(|at| self.text(at, Encoding::Plain)),
            json: json
                .iter()
                .filter_map(|(path, value)| Some((self.path(path, value)?, Value::from(&value.value))))
                .collect(),
            rows: rows
                .as_ref()
                .map(|rows| self.compiler.integer(Some(rows), "`rows`", 0..=i64::MAX, 0) as u64),
            affected: affected
                .as_ref()
                .map(|rows| self.compiler.integer(Some(rows), "`affected`", 0..=i64::MAX, 0) as u64),
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
                .problem(at, "not an HTTP status", "a status is from 100 to 999", None);
        }
        written
            .iter()
            .filter_map(|status| u16::try_from(*status).ok())
            .collect()
    }

    fn save(&mut self, written: &BTreeMap<String, At<String>>) -> Vec<(usize, JsonPath)> {
        let mut save = Vec::new();
        for (name, at) in written {
            if self.data.draws.contains_key(name) {
                self.compiler.problem(
                    at,
                    format!("\"{name}\" is already the name of data"),
                    "save it under another name",
                    None,
                );
                continue;
            }
            if let Some(path) = self.path(&at.value, at) {
                let index = self.variable(name.clone(), Variable::Saved);
                self.saved.insert(name.clone());
                save.push((index, path));
            }
        }
        save
    }

    fn path<T>(&mut self, path: &str, at: &At<T>) -> Option<JsonPath> {
        match JsonPath::compile(path) {
            Ok(path) => Some(path),
            Err(reason) => {
                self.compiler.problem(at, "not a JSON path", reason, None);
                None
            }
        }
    }

    fn json(&mut self, at: &At<Json>) -> Option<Template> {
        let mut parts = Vec::new();
        self.json_parts(&at.value, at, &mut parts)
            .then(|| Template::concat(parts))
    }

    /// JSON text as templates; a string that is one variable keeps the variable's type.
    fn json_parts(&mut self, json: &Json, at: &At<Json>, parts: &mut Vec<Template>) -> bool {
        let literal = |text: &str| Template::literal(text);
        match json {
            Json::String(text) if text.contains("{{") || text.contains("${") => {
                let Some(template) = self.text(
                    &At {
                        value: text.clone(),
                        start: at.start,
                        end: at.end,
                    },
                    Encoding::JsonText,
                ) else {
                    return false;
                };
                if template.is_single_variable() {
                    parts.push(template.with_encoding(Encoding::Json));
                } else {
                    parts.extend([literal("\""), template.escape_literals(), literal("\"")]);
                }
                true
            }
            Json::Array(items) => {
                parts.push(literal("["));
                let fine = items.iter().enumerate().all(|(number, item)| {
                    parts.extend((number > 0).then(|| literal(",")));
                    self.json_parts(item, at, parts)
                });
                parts.push(literal("]"));
                fine
            }
            Json::Object(members) => {
                parts.push(literal("{"));
                let fine = members.iter().enumerate().all(|(number, (key, member))| {
                    let mut name = if number > 0 { ",".to_owned() } else { String::new() };
                    write_json_string(key, &mut name, true);
                    parts.push(literal(&format!("{name}:")));
                    self.json_parts(member, at, parts)
                });
                parts.push(literal("}"));
                fine
            }
            plain => {
                parts.push(literal(&plain.to_string()));
                true
            }
        }
    }

    /// Text with templates, `${…}` resolved.
    fn text(&mut self, at: &At<String>, encoding: Encoding) -> Option<Template> {
        let resolved = self.compiler.resolve(at);
        let compiled = Template::compile(&resolved, encoding, &mut |name| self.find(name));
        match compiled {
            Ok(template) => Some(template),
            Err(TemplateError::Unclosed) => {
                self.compiler
                    .problem(at, "a template that does not end", "`{{` without `}}`", None);
                None
            }
            Err(TemplateError::Unknown(name)) => {
                let known: Vec<&str> = self.data.draws.keys().chain(&self.saved).map(String::as_str).collect();
                let help = if known.is_empty() {
                    "declare it under [data], or save it in an earlier step".to_owned()
                } else {
                    format!("known here: {}", known.join(", "))
                };
                self.compiler.problem(
                    at,
                    format!("unknown variable \"{name}\""),
                    "neither data nor saved before this step",
                    Some(help),
                );
                None
            }
        }
    }

    /// The index of a variable that is known where the current step stands.
    fn find(&mut self, name: &str) -> Option<usize> {
        if let Some(draw) = self.data.draws.get(name) {
            return Some(self.variable(name.to_owned(), Variable::Drawn(draw.clone())));
        }
        self.saved
            .contains(name)
            .then(|| self.variable(name.to_owned(), Variable::Saved))
    }

    fn variable(&mut self, name: String, variable: Variable) -> usize {
        *self.indices.entry(name).or_insert_with(|| {
            self.variables.push(variable);
            self.variables.len() - 1
        })
    }
}

fn is_http(kind: &str) -> bool {
    !matches!(kind, "sql" | "transaction" | "pause" | "repeat")
}

fn kinds_of(step: &scenario::Step) -> Vec<&'static str> {
    [
        ("get", step.get.is_some()),
        ("post", step.post.is_some()),
        ("put", step.put.is_some()),
        ("patch", step.patch.is_some()),
        ("delete", step.delete.is_some()),
        ("head", step.head.is_some()),
        ("options", step.options.is_some()),
        ("sql", step.sql.is_some()),
        ("transaction", step.transaction.is_some()),
        ("pause", step.pause.is_some()),
        ("repeat", step.repeat.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, present)| present.then_some(kind))
    .collect()
}

/// What a step without a name is called: its request line or the start of its SQL.
fn default_name(step: &scenario::Step, kind: &str) -> String {
    let scenario::Step {
        get,
        post,
        put,
        patch,
        delete,
        head,
        options,
        sql,
        ..
    } = step;
    let path = [get, post, put, patch, delete, head, options]
        .into_iter()
        .flatten()
        .next();
    match (path, sql) {
        (Some(path), _) => format!("{} {}", kind.to_ascii_uppercase(), path.value),
        (None, Some(sql)) => {
            let line = sql.value.split_whitespace().collect::<Vec<_>>().join(" ");
            line.chars().take(60).collect()
        }
        (None, None) => kind.to_owned(),
    }
}
