//! The flows of a scenario → actions: their order, kinds, names and targets.
//!
//! What a step asks is compiled in `requests`, what its answer must be in `answers`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    Action, Breaker, Cache, DEFAULT_TIMEOUT, Flow, Group, Kind as TargetKind, MeasuredStep, Request, Retry, Step,
    Target, Variable, caching,
    compile::Compiler,
    data::DataSet,
    generator::purpose,
    kind::{KINDS, Kind},
    scope::Scope,
    target::Compiled as CompiledTarget,
};
use crate::scenario::{self, At, Scenario};

/// No more rounds than this in one pass, all nested repeats multiplied.
const MOST_ROUNDS: u64 = 1_000_000;

/// What came of the flows.
pub(super) struct Compiled {
    pub(super) targets: Vec<Target>,
    pub(super) groups: Vec<Group>,
    pub(super) statements: Vec<String>,
    pub(super) setup: Vec<Action>,
    pub(super) flows: Vec<Flow>,
    pub(super) teardown: Vec<Action>,
    pub(super) user_setup: Vec<Action>,
    pub(super) user_teardown: Vec<Action>,
    pub(super) measured: Vec<MeasuredStep>,
    pub(super) breakers: Vec<Breaker>,
    pub(super) caches: Vec<Cache>,
    /// Names of all steps of flows, those with problems included.
    pub(super) names: Vec<String>,
    pub(super) variables: Vec<Variable>,
    pub(super) variable_names: Vec<String>,
    pub(super) draws_per_pass: u64,
}

/// Compiles setup, flows and teardown; problems go to the compiler.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    scenario: &Scenario,
    targets: Vec<CompiledTarget>,
    groups: Vec<Group>,
    data: &DataSet,
) -> Compiled {
    let mut steps = Steps {
        compiler,
        written_targets: scenario.target.keys().cloned().collect(),
        targets,
        groups,
        statements: Vec::new(),
        scope: Scope::new(data),
        measured: Vec::new(),
        breakers: Vec::new(),
        caches: caching::announced(&scenario.flow),
        names: Vec::new(),
        flow: None,
        pauses: 0,
    };
    let setup = steps.bounded(&scenario.setup);
    let globals = steps.scope.saved();
    let user_setup = steps.bounded(&scenario.user_setup);
    let users_know = steps.scope.saved();
    let flows = steps.flows(&scenario.flow);
    steps.scope.forget_all_but(&users_know);
    let user_teardown = steps.bounded(&scenario.user_teardown);
    steps.scope.forget_all_but(&globals);
    let teardown = steps.bounded(&scenario.teardown);
    steps.check_inherited_credentials();

    let draws_per_pass = flows.iter().map(|flow| rounds(&flow.actions)).max().unwrap_or(1);
    let (variables, variable_names) = steps.scope.into_variables();
    Compiled {
        targets: steps.targets.into_iter().map(|compiled| compiled.target).collect(),
        groups: steps.groups,
        statements: steps.statements,
        setup,
        flows,
        teardown,
        user_setup,
        user_teardown,
        measured: steps.measured,
        breakers: steps.breakers,
        caches: steps.caches,
        names: steps.names,
        variables,
        variable_names,
        draws_per_pass,
    }
}

/// How many times data is drawn in one pass: once, and once more per round of a repeat.
fn rounds(actions: &[Action]) -> u64 {
    actions.iter().fold(1, |sum: u64, action| match action {
        Action::Repeat { times, actions } => sum.saturating_add(times.saturating_mul(rounds(actions))),
        Action::Step(step) => sum.saturating_add(redraws(step)),
        Action::Pause(..) => sum,
    })
}

fn redraws(step: &Step) -> u64 {
    match &step.request {
        Request::Copy(copy) => copy.times - 1,
        request => request.statements().iter().filter(|statement| statement.redraw).count() as u64,
    }
}

/// What steps share while they are compiled.
pub(super) struct Steps<'c, 'a> {
    pub(super) compiler: &'c mut Compiler<'a>,
    /// Names of all targets, those with problems included.
    written_targets: Vec<String>,
    pub(super) targets: Vec<CompiledTarget>,
    groups: Vec<Group>,
    /// The distinct SQL statements so far.
    pub(super) statements: Vec<String>,
    pub(super) scope: Scope<'c>,
    measured: Vec<MeasuredStep>,
    breakers: Vec<Breaker>,
    pub(super) caches: Vec<Cache>,
    names: Vec<String>,
    /// The number and name of the flow being compiled; `None` in setup and teardown.
    flow: Option<(usize, String)>,
    /// How many pauses there are so far.
    pauses: u64,
}

/// The place of the first value of a table.
fn first<T>(values: &BTreeMap<String, At<T>>) -> Option<Range<usize>> {
    values.values().next().map(At::span)
}

/// Whether there is an operation among the steps, or one that could not be read.
fn has_operation(steps: &[At<scenario::Step>]) -> bool {
    steps.iter().any(|step| {
        let kinds = Kind::all(&step.value);
        kinds.is_empty() || kinds.iter().any(Kind::is_operation) || has_operation(&step.value.step)
    })
}

impl Steps<'_, '_> {
    fn flows(&mut self, written: &[At<scenario::Flow>]) -> Vec<Flow> {
        if written.is_empty() {
            let help = Some("add [[flow]] with name = \"…\" and [[flow.step]]".into());
            self.compiler
                .problems
                .add_missing_at_top("the scenario has no flow", "`[[flow]]` is missing", help);
        }
        let globals = self.scope.saved();
        let mut names = BTreeSet::new();
        let mut cumulative_weight = 0;
        let flows = written
            .iter()
            .enumerate()
            .map(|(number, flow)| {
                let name = self.flow_name(flow, &mut names);
                let weight = flow.value.weight.as_ref();
                cumulative_weight += self.compiler.integer(weight, "the weight", 1..=1_000_000, 1) as u64;
                self.scope.forget_all_but(&globals);
                self.flow = Some((number, name.clone()));
                if !has_operation(&flow.value.step) {
                    let help = Some("add [[flow.step]] with a request or a statement".into());
                    self.compiler.problems.add_missing(
                        flow.span(),
                        "a flow that measures nothing",
                        "no step with a request or statement",
                        help,
                    );
                }
                Flow {
                    name,
                    cumulative_weight,
                    actions: self.bounded(&flow.value.step),
                }
            })
            .collect();
        self.flow = None;
        flows
    }

    fn flow_name(&mut self, flow: &At<scenario::Flow>, names: &mut BTreeSet<String>) -> String {
        let Some(name) = &flow.value.name else {
            self.compiler
                .problems
                .add_missing(flow.span(), "a flow without a name", "`name` is missing", None);
            return String::new();
        };
        if !names.insert(name.value.clone()) {
            let title = format!("two flows are called \"{}\"", name.value);
            self.compiler.problem(name, title, "a name must be unique", None);
        }
        self.check_name(name, &name.value);
        name.value.clone()
    }

    /// Steps that are performed in one go.
    fn bounded(&mut self, steps: &[At<scenario::Step>]) -> Vec<Action> {
        let actions = self.actions(steps);
        if rounds(&actions) > MOST_ROUNDS
            && let Some(repeat) = steps.iter().find_map(|step| step.value.repeat.as_ref())
        {
            let label = "nested repeats multiply to more than 1,000,000";
            self.compiler
                .problem(repeat, "too many rounds in one pass", label, None);
        }
        actions
    }

    fn actions(&mut self, steps: &[At<scenario::Step>]) -> Vec<Action> {
        steps.iter().filter_map(|step| self.action(step)).collect()
    }

    fn action(&mut self, at: &At<scenario::Step>) -> Option<Action> {
        let mut kinds = Kind::all(&at.value);
        if kinds.len() > 1 {
            let keys: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.key())).collect();
            let help = Some("make a step of each".into());
            self.compiler
                .problem(at, "several kinds in one step", keys.join(" and "), help);
            return self.skip(at);
        }
        let Some(kind) = kinds.pop() else {
            let help = Some(format!("exactly one of {KINDS}"));
            self.compiler
                .problems
                .add_missing(at.span(), "a step that does nothing", "no kind of step", help);
            return self.skip(at);
        };
        self.misplaced(&at.value, &kind);
        match kind {
            Kind::Pause(pause) => self.pause(pause),
            Kind::Repeat(times) => Some(self.repeat(at, times)),
            kind => self.step(at, kind).map(Action::Step),
        }
    }

    /// Lets later steps and thresholds know the names in a step that cannot be compiled.
    fn skip(&mut self, at: &At<scenario::Step>) -> Option<Action> {
        if let (Some(name), Some(_)) = (&at.value.name, &self.flow) {
            self.names.push(name.value.clone());
        }
        self.save(&at.value.save, true);
        None
    }

    fn pause(&mut self, at: &At<scenario::Wait>) -> Option<Action> {
        self.pauses += 1;
        let number = purpose(&format!("pause {}", self.pauses));
        self.compiler.wait(at).map(|wait| Action::Pause(wait, number))
    }

    fn repeat(&mut self, at: &At<scenario::Step>, times: &At<i64>) -> Action {
        if at.value.step.is_empty() {
            let help = Some("add step = [ … ] or [[flow.step.step]]".into());
            self.compiler
                .problems
                .add_missing(at.span(), "nothing to repeat", "no steps below it", help);
        }
        Action::Repeat {
            times: self.compiler.integer(Some(times), "`repeat`", 1..=1_000_000, 1) as u64,
            actions: self.actions(&at.value.step),
        }
    }

    /// Keys that mean nothing for this kind of step.
    fn misplaced(&mut self, step: &scenario::Step, kind: &Kind<'_>) {
        let (http, operation) = (kind.is_http(), kind.is_operation());
        let sql = matches!(kind, Kind::Sql(_));
        let repeat = matches!(kind, Kind::Repeat(_));
        let several = matches!(kind, Kind::Transaction(_) | Kind::Statements(_));
        let keys: [(&str, Option<Range<usize>>, bool); 21] = [
            ("for_each", step.for_each.as_ref().map(At::span), sql),
            ("cache", step.cache.as_ref().map(At::span), operation),
            ("writes", step.writes.first().map(At::span), operation),
            ("times", step.times.as_ref().map(At::span), several),
            ("params", step.params.as_ref().map(At::span), sql),
            ("headers", first(&step.headers), http),
            ("body", step.body.as_ref().map(At::span), http),
            ("json", step.json.as_ref().map(At::span), http),
            ("form", first(&step.form), http),
            ("multipart", step.multipart.as_ref().map(At::span), http),
            ("body_file", step.body_file.as_ref().map(At::span), http),
            ("auth", step.auth.as_ref().map(At::span), http),
            ("redirects", step.redirects.as_ref().map(At::span), http),
            (
                "first_byte_timeout",
                step.first_byte_timeout.as_ref().map(At::span),
                http,
            ),
            ("step", step.step.first().map(At::span), repeat),
            ("expect", step.expect.as_ref().map(At::span), operation),
            ("save", first(&step.save), operation),
            ("timeout", step.timeout.as_ref().map(At::span), operation),
            ("target", step.target.as_ref().map(At::span), operation),
            ("retry", step.retry.as_ref().map(At::span), operation),
            ("breaker", step.breaker.as_ref().map(At::span), operation),
        ];
        for (key, place, fits) in keys {
            if let (Some(place), false) = (place, fits) {
                let label = format!("a step with `{}` has no `{key}`", kind.key());
                self.compiler
                    .problems
                    .add(place, format!("`{key}` does not belong here"), label, None);
            }
        }
        self.several_bodies(step);
    }

    fn several_bodies(&mut self, step: &scenario::Step) {
        let bodies = [
            ("body", step.body.as_ref().map(At::span)),
            ("json", step.json.as_ref().map(At::span)),
            ("form", first(&step.form)),
            ("multipart", step.multipart.as_ref().map(At::span)),
            ("body_file", step.body_file.as_ref().map(At::span)),
        ];
        let mut written = bodies.into_iter().filter_map(|(key, place)| Some((key, place?)));
        if let (Some((one, _)), Some((other, place))) = (written.next(), written.next()) {
            let label = format!("`{one}` and `{other}` exclude each other");
            self.compiler.problems.add(place, "two bodies", label, None);
        }
    }

    fn step(&mut self, at: &At<scenario::Step>, kind: Kind<'_>) -> Option<Step> {
        let written = &at.value;
        let target = self.target(at, &kind);
        let group = written.target.as_ref().and_then(|name| self.group(&name.value));
        let name = self.step_name(at, &kind);
        let inherited = target.map_or(DEFAULT_TIMEOUT, |target| self.targets[target].timeout);
        let timeout = self.compiler.timeout(written.timeout.as_ref(), inherited);
        let http = kind.is_http();
        let request = match kind {
            Kind::Http(_, method, path) => self
                .http(method, path, written, target)
                .map(|request| Request::Http(Box::new(request))),
            Kind::Sql(sql) => {
                let statement = self.statement(target, sql, written.params.as_ref());
                match &written.for_each {
                    Some(for_each) => self.for_each(target, statement, for_each),
                    None => statement.map(Request::Sql),
                }
            }
            Kind::Copy(copy) => self.copy(target, copy),
            Kind::Transaction(statements) => {
                let statements = self.statements(target, statements, written.times.as_ref());
                Some(Request::Transaction(statements))
            }
            Kind::Statements(statements) => {
                let statements = self.statements(target, statements, written.times.as_ref());
                Some(Request::Statements(statements))
            }
            Kind::Pause(_) | Kind::Repeat(_) => None,
        };
        let expect = self.expect(written.expect.as_ref(), http);
        let cache = self.cache(&name, written.cache.as_ref());
        let writes = self.writes(&written.writes);
        // What a step saves is known to the steps after it, not to itself.
        let save = self.save(&written.save, http);
        let retry = self.retry(written, target);
        let breaker = self.breaker(written, &name, target, group);
        let (target, request) = (target?, request?);
        let measured = MeasuredStep {
            name: name.clone(),
            flow: self.flow.as_ref().map_or_else(String::new, |(_, name)| name.clone()),
            target,
            group,
            comparable: written.comparable.unwrap_or(true),
            persistent: retry.is_some() || breaker.is_some(),
        };
        Some(Step {
            index: self.measure(measured),
            flow: self.flow.as_ref().map_or(0, |(number, _)| *number),
            retry,
            breaker,
            ordered: orders(written),
            name,
            target,
            group,
            request,
            expect,
            save,
            timeout,
            cache,
            writes,
        })
    }

    /// Whether the step at hand is one of a flow.
    pub(super) fn is_in_flow(&self) -> bool {
        self.flow.is_some()
    }

    /// The index of a new measured step; past all of them in setup and teardown.
    fn measure(&mut self, step: MeasuredStep) -> usize {
        if self.flow.is_none() {
            return usize::MAX;
        }
        self.measured.push(step);
        self.measured.len() - 1
    }

    /// The policy of a step of a flow: its own, else the target's.
    fn retry(&mut self, step: &scenario::Step, target: Option<usize>) -> Option<Retry> {
        if self.flow.is_none() {
            self.not_measured("retry", step.retry.as_ref());
            return None;
        }
        let inherited = target.and_then(|target| self.targets[target].retry.as_ref());
        self.compiler.retry(step.retry.as_ref(), inherited)
    }

    /// The breaker of a step of a flow: its own, else that of its target, which all share.
    fn breaker(
        &mut self,
        step: &scenario::Step,
        name: &str,
        target: Option<usize>,
        group: Option<usize>,
    ) -> Option<usize> {
        if self.flow.is_none() {
            self.not_measured("breaker", step.breaker.as_ref());
            return None;
        }
        let own = step.breaker.as_ref().map(|at| self.compiler.breaker(at));
        let target = target?;
        let group = group.map(|group| &self.groups[group].name);
        let breaker = Breaker {
            target: group.unwrap_or(&self.targets[target].target.name).clone(),
            step: own.is_some().then(|| name.to_owned()),
            limits: own.unwrap_or_else(|| self.targets[target].breaker.clone())?,
        };
        let known = self.breakers.iter().position(|known| *known == breaker);
        known.or_else(|| {
            self.breakers.push(breaker);
            Some(self.breakers.len() - 1)
        })
    }

    /// A failure outside of flows is told, not tried again.
    fn not_measured<T>(&mut self, key: &str, at: Option<&At<T>>) {
        if let Some(at) = at {
            let label = "steps of setup and teardown are performed once, whatever their target's policy";
            let title = format!("`{key}` does not belong here");
            self.compiler.problem(at, title, label, None);
        }
    }

    fn step_name(&mut self, at: &At<scenario::Step>, kind: &Kind<'_>) -> String {
        let name = match &at.value.name {
            Some(name) => {
                self.check_name(name, &name.value);
                name.value.clone()
            }
            None => kind.default_name(),
        };
        if self.flow.is_some() {
            if self.names.contains(&name) {
                let title = format!("two steps are called \"{name}\"");
                let help = Some("give each step its own `name`; thresholds and reports go by it".into());
                let place = at.value.name.as_ref().map_or_else(|| at.span(), At::span);
                self.compiler.problems.add(place, title, "the second of them", help);
            }
            self.names.push(name.clone());
        }
        name
    }

    fn check_name<T>(&mut self, at: &At<T>, name: &str) {
        if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            let label = "a name has 1 to 200 characters on one line";
            self.compiler.problem(at, "not a usable name", label, None);
        }
    }

    /// The target named, or the only one that fits.
    fn target(&mut self, at: &At<scenario::Step>, kind: &Kind<'_>) -> Option<usize> {
        match &at.value.target {
            Some(name) => self.named_target(name, kind),
            None => self.only_target(at, kind),
        }
    }

    fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// Of a group its first member, like all of them.
    fn named_target(&mut self, name: &At<String>, kind: &Kind<'_>) -> Option<usize> {
        let mut targets = self.targets.iter();
        let group = self.group(&name.value).map(|group| self.groups[group].members[0]);
        let found = group.or_else(|| targets.position(|compiled| compiled.target.name == name.value));
        match found {
            Some(index) if fits(&self.targets[index].target, kind) => return found,
            Some(_) => {
                let title = format!("the target \"{}\" cannot do this", name.value);
                let label = format!("`{}` needs another kind of target", kind.key());
                self.compiler.problem(name, title, label, None);
            }
            // It was left out for a problem of its own, or there is none at all, which is told once.
            None if self.written_targets.is_empty() || self.written_targets.contains(&name.value) => {}
            None => {
                let title = format!("no target is called \"{}\"", name.value);
                let help = Some(format!("targets: {}", self.written_targets.join(", ")));
                self.compiler.problem(name, title, "unknown target", help);
            }
        }
        None
    }

    fn only_target(&mut self, at: &At<scenario::Step>, kind: &Kind<'_>) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.targets.len())
            .filter(|index| fits(&self.targets[*index].target, kind))
            .collect();
        match fitting.as_slice() {
            [only] => return Some(*only),
            // That there is none at all is told once; one left out for a problem of its own may be meant.
            [] if self.written_targets.is_empty()
                || self.written_targets.len() > self.targets.len() + self.groups.len() => {}
            [] => {
                let (what, help) = if kind.is_http() {
                    ("HTTP", "add [target.api] with http = \"http://…\"")
                } else {
                    ("SQL", "add [target.db] with sqlite = \"…\" or postgres = \"…\"")
                };
                let label = format!("`{}` needs a target for {what}", kind.key());
                self.compiler
                    .problems
                    .add_missing(at.span(), "no target fits this step", label, Some(help.into()));
            }
            several => {
                let names = several.iter().map(|index| self.targets[*index].target.name.as_str());
                let groups = self.groups.iter().filter(|group| several.contains(&group.members[0]));
                let names: Vec<_> = names.chain(groups.map(|group| group.name.as_str())).collect();
                let help = Some(format!("one of: {}", names.join(", ")));
                self.compiler.problems.add_missing(
                    at.span(),
                    "several targets fit this step",
                    "`target` is missing",
                    help,
                );
            }
        }
        None
    }
}

/// Whether the step's rows come in an order that it asks for.
fn orders(step: &scenario::Step) -> bool {
    // A step of several statements answers what the last of them does.
    let last = step.statements.as_ref().and_then(|statements| statements.value.last());
    let sql = last.map_or(step.sql.as_ref(), |last| last.value.sql.as_ref());
    sql.is_some_and(|sql| {
        let words: Vec<String> = outermost(&sql.value)
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .collect();
        words.windows(2).any(|pair| pair == ["order", "by"])
    })
}

/// Without what stands in parentheses: the order of a subquery or a window is not that of the rows.
fn outermost(sql: &str) -> String {
    let mut depth = 0_usize;
    let mut text = String::new();
    for c in sql.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        text.push(if depth == 0 { c } else { ' ' });
    }
    text
}

fn fits(target: &Target, kind: &Kind<'_>) -> bool {
    matches!(target.kind, TargetKind::Http(_)) == kind.is_http()
}
