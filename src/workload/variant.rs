//! The `[[variant]]`s and the `[trial]` of a scenario → what is done to each
//! variant's databases, and how all are measured beside each other.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Action, Kind, Request, Script, Statement, Target, Workload, claims,
    compile::{Compiler, place},
    script,
};
use crate::{
    run::MOST_VARIANTS,
    scenario::{self, At, Scenario, Text},
    units,
};

/// Epochs are no shorter than this where that leaves [`ENOUGH_EPOCHS`],
const EPOCH: Duration = Duration::from_secs(1);

/// and never shorter than this, unless the scenario says how many there are.
const SHORTEST_EPOCH: Duration = Duration::from_millis(500);

/// With fewer epochs there is no interval to speak of.
const FEWEST_EPOCHS: u32 = 3;

/// With fewer epochs no change of a time is critical.
const ENOUGH_EPOCHS: u32 = 12;

/// More do not make an interval much narrower, and every one starts all variants anew.
const MOST_EPOCHS: u32 = 24;

/// Shorter ones hold too few operations, and are mostly lead-in.
const SHORTEST_SLICE: Duration = Duration::from_millis(50);

/// Passes of each flow in a census, unless the scenario says otherwise.
const CENSUS: i64 = 20;

/// One way to do the work.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Name from the scenario.
    pub name: String,
    /// Executed in its databases before its load: index of the target, and the SQL.
    pub setup: Vec<(usize, Script)>,
    /// Takes back what the setup did.
    pub rollback: Vec<(usize, Script)>,
}

/// How variants are measured, and what is counted before the load.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// How often all variants are started anew; `None` leaves it to the length of the load.
    pub epochs: Option<u32>,
    /// Length of what is recorded of a slice; `None` leaves it to the length of operations.
    pub slice: Option<Duration>,
    /// Load at the begin of each slice that is not recorded; `None` leaves it to the length of operations.
    pub lead_in: Option<Duration>,
    /// Passes of each flow that are counted; 0: there is no census.
    pub census: u64,
}

impl Trial {
    /// How many epochs share a load of that length, where a round of all variants takes so long.
    pub fn epochs(&self, load: Duration, round: Duration) -> u32 {
        let fitting = |epoch: Duration| (load.as_secs_f64() / epoch.max(round).as_secs_f64()).round() as u32;
        let enough = fitting(SHORTEST_EPOCH).min(ENOUGH_EPOCHS);
        self.epochs
            .unwrap_or(fitting(EPOCH).max(enough).clamp(FEWEST_EPOCHS, MOST_EPOCHS))
    }
}

impl Compiler<'_> {
    /// `counted`: there is a census also where the scenario does not speak of one.
    pub(super) fn trial(&mut self, written: Option<&At<scenario::Trial>>, counted: bool) -> Trial {
        let default = scenario::Trial::default();
        let written = written.map_or(&default, |at| &at.value);
        let epochs = written.epochs.as_ref();
        let census = if counted { CENSUS } else { 0 };
        Trial {
            epochs: epochs.map(|_| self.integer(epochs, "`epochs`", 1..=1000, 1) as u32),
            slice: written.slice.as_ref().and_then(|at| self.slice(at)),
            lead_in: written
                .lead_in
                .as_ref()
                .map(|at| self.duration(Some(at), Duration::ZERO)),
            census: self.integer(written.census.as_ref(), "`census`", 0..=10_000, census) as u64,
        }
    }

    fn slice(&mut self, at: &At<String>) -> Option<Duration> {
        self.quantity(at, "length of a slice", |text| match units::parse_duration(text)? {
            slice if slice < SHORTEST_SLICE => Err("a slice lasts at least 50ms".into()),
            slice => Ok(slice),
        })
    }

    /// The scenario with fewer and with more records in an operation, and how many these are.
    pub(super) fn sizes(&mut self, scenario: &Scenario) -> Option<([u64; 2], [Scenario; 2])> {
        let at = scenario.trial.as_ref()?.value.records.as_ref()?;
        let scenario::Records {
            data: Some(data),
            from: Some(from @ 1..),
            to: Some(to),
        } = &at.value
        else {
            let help = Some("write records = { data = \"records\", from = 10, to = 50 }".into());
            self.problem(at, "not two sizes", "needs `data`, `from` and `to`, from 1 on", help);
            return None;
        };
        if from >= to {
            self.problem(at, "not two sizes", "`from` must be below `to`", None);
            return None;
        }
        if !scenario.data.contains_key(data) {
            let known: Vec<_> = scenario.data.keys().map(String::as_str).collect();
            let help = Some(format!("data: {}", known.join(", ")));
            self.problem(at, format!("no data is called \"{data}\""), "unknown data", help);
            return None;
        }
        let sized = |size: i64| {
            let mut scenario = scenario.clone();
            if let Some(written) = scenario.data.get_mut(data) {
                let size = at.with(size);
                match written.value.repeat {
                    Some(_) => written.value.times = Some(size),
                    None => written.value.constant = Some(size.with(scenario::Scalar::Int(size.value))),
                }
            }
            scenario
        };
        Some(([*from as u64, *to as u64], [sized(*from), sized(*to)]))
    }

    /// The only variant of this scenario, if it is one.
    pub(super) fn variant(&mut self, scenario: &Scenario, targets: &[Target], text: &Text) -> Option<Variant> {
        let [at] = scenario.variant.as_slice() else { return None };
        let scenario::Variant {
            name, setup, rollback, ..
        } = &at.value;
        let Some(name) = name else {
            let help = Some("write name = \"before\"".into());
            self.problems
                .add_missing(at.span(), "a variant without a name", "`name` is missing", help);
            return None;
        };
        if name.value.trim().is_empty() || name.value.len() > 40 || name.value.chars().any(char::is_control) {
            self.problem(
                name,
                "not a usable name",
                "a name has 1 to 40 characters on one line",
                None,
            );
        }
        Some(Variant {
            name: name.value.clone(),
            setup: self.scripts(setup, targets, text),
            rollback: self.scripts(rollback, targets, text),
        })
    }

    fn scripts(
        &mut self,
        written: &BTreeMap<String, At<String>>,
        targets: &[Target],
        text: &Text,
    ) -> Vec<(usize, Script)> {
        let scripts = written.iter();
        scripts
            .filter_map(|(target, sql)| self.script(target, sql, targets, text))
            .collect()
    }

    fn script(&mut self, target: &str, sql: &At<String>, targets: &[Target], text: &Text) -> Option<(usize, Script)> {
        let found = targets.iter().position(|known| known.name == target);
        let Some(index) = found.filter(|index| !matches!(targets[*index].kind, Kind::Http(_))) else {
            let databases = targets.iter().filter(|target| !matches!(target.kind, Kind::Http(_)));
            let names: Vec<_> = databases.map(|target| target.name.as_str()).collect();
            let title = format!("no database is called \"{target}\"");
            let help = Some(format!("databases: {}", names.join(", ")));
            self.problem(sql, title, "unknown target", help);
            return None;
        };
        let before = &text.toml[..text.toml.floor_char_boundary(sql.start)];
        let written = self.resolve(sql)?;
        // The text begins on the line of its quotes, or on the next one where it has three of them.
        let quotes = text.toml[before.len()..].trim_start_matches(['"', '\'']);
        let first = before.matches('\n').count() + usize::from(quotes.starts_with('\n') || quotes.starts_with("\r\n"));
        match script::parse(&written, 1) {
            Ok(mut statements) => {
                statements.iter_mut().for_each(|statement| statement.line += first);
                let path = text.path.clone();
                Some((index, Script { path, statements }))
            }
            Err(misfit) => {
                self.problem(sql, "not SQL to execute", misfit.reason, None);
                None
            }
        }
    }
}

/// What variants must have in common, and what each must have of its own.
pub(super) fn check(compiler: &mut Compiler<'_>, written: &[Scenario], workloads: &[Workload]) {
    let entries: Vec<&At<scenario::Variant>> = written.iter().filter_map(|scenario| scenario.variant.first()).collect();
    let names: Vec<&str> = entries
        .iter()
        .filter_map(|entry| Some(entry.value.name.as_ref()?.value.as_str()))
        .collect();
    claims::check_variants(compiler, &written[0].claim, &names);
    let Some(first) = entries.first() else { return };
    if entries.len() == 1 {
        let help = Some("add a second [[variant]] to compare with it".into());
        compiler.problem(first, "one variant alone", "there is nothing beside it", help);
    }
    if let Some(last) = entries.get(MOST_VARIANTS) {
        let label = format!("a scenario has at most {MOST_VARIANTS}");
        compiler.problem(last, "too many variants", label, None);
    }
    let names: Vec<Option<&At<String>>> = entries.iter().map(|entry| entry.value.name.as_ref()).collect();
    for (at, name) in names.iter().enumerate() {
        if let Some(name) = name
            && names[..at].iter().flatten().any(|earlier| earlier.value == name.value)
        {
            let title = format!("two variants are called \"{}\"", name.value);
            compiler.problem(name, title, "a name must be unique", None);
        }
    }
    steady(compiler, &written[0]);
    if workloads.len() == entries.len() {
        own_databases(compiler, &entries, workloads);
    }
}

/// Slices can only be compared where the load is the same in each.
fn steady(compiler: &mut Compiler<'_>, scenario: &Scenario) {
    let Some(load) = &scenario.load else { return };
    let scenario::Load {
        search,
        stages,
        iterations,
        ramp,
        abort_when,
        ..
    } = &load.value;
    let help = "a scenario without variants";
    compiler.misplaced([
        ("search", place(search), false, help),
        ("stages", place(stages), false, help),
        ("iterations", place(iterations), false, help),
        ("ramp", place(ramp), false, help),
        ("abort_when", abort_when.first().map(At::span), false, help),
    ]);
}

/// What one variant does to its database, no other one may see.
fn own_databases(compiler: &mut Compiler<'_>, entries: &[&At<scenario::Variant>], workloads: &[Workload]) {
    for (entry, workload) in entries.iter().zip(workloads) {
        let Some(variant) = &workload.variant else { continue };
        for (index, script) in &variant.setup {
            let target = &workload.targets[*index];
            let shared = workloads
                .iter()
                .filter(|other| !std::ptr::eq(*other, workload))
                .flat_map(|other| &other.targets)
                .any(|other| {
                    target.provision.is_none()
                        && other.provision.is_none()
                        && other.kind.address() == target.kind.address()
                });
            let undone = variant.rollback.iter().any(|(rolled_back, _)| rolled_back == index);
            let place = entry.value.setup.get(&target.name);
            match place {
                Some(place) if shared => {
                    let help = "give each variant a database of its own: postgres = \"ephemeral\", or a `fixture` with create = true";
                    let title = format!("all variants use the same database \"{}\"", target.name);
                    compiler.problem(place, title, "the others would see what it does", Some(help.into()));
                }
                Some(place) if target.provision.is_none() && !undone && !script.statements.is_empty() => {
                    let help = format!("add rollback = {{ {} = \"…\" }}", target.name);
                    let label = "nothing takes it back";
                    compiler.problem(place, "a setup that would stay on a server of yours", label, Some(help));
                }
                _ => {}
            }
        }
    }
}

fn is_own(target: &Target) -> bool {
    target.provision.is_some() || target.managed.is_some() || target.pooler.is_some()
}

impl Workload {
    /// Name of the variant, for people.
    pub fn variant_name(&self) -> Option<&str> {
        self.variant.as_ref().map(|variant| variant.name.as_str())
    }

    /// Whether flows only read, as far as their words tell.
    pub fn only_reads(&self) -> bool {
        self.flows.iter().all(|flow| self.reads(&flow.actions))
    }

    fn reads(&self, actions: &[Action]) -> bool {
        actions.iter().all(|action| match action {
            Action::Step(step) => match &step.request {
                Request::Http(http) => http.method.is_safe(),
                request => {
                    let mut statements = request.statements().iter();
                    statements.all(|statement| self.is_query(statement))
                }
            },
            Action::Repeat { actions, .. } => self.reads(actions),
            Action::Pause(..) => true,
        })
    }

    fn is_query(&self, statement: &Statement) -> bool {
        let sql = self.statements[statement.index].trim_start();
        let word: String = sql.chars().take_while(char::is_ascii_alphabetic).collect();
        ["select", "values", "table"]
            .iter()
            .any(|query| word.eq_ignore_ascii_case(query))
    }

    /// Whether all that it changes is its own: made for the run, or a process of its own.
    pub fn has_stores_of_its_own(&self) -> bool {
        self.targets.iter().all(is_own)
    }

    /// Whether another variant works on a store that this one works on.
    pub fn shares_a_store_with(&self, other: &Self) -> bool {
        let shared = |target: &Target| {
            let same = |known: &Target| !is_own(known) && known.kind.address() == target.kind.address();
            !is_own(target) && other.targets.iter().any(same)
        };
        self.targets.iter().any(shared)
    }
}
