//! Targets with `of` → groups of targets that share the load of their steps.

use std::collections::BTreeMap;

use super::{Kind, Target, compile::Compiler, target::Compiled};
use crate::scenario::{self, At};

/// More members than this are a cluster to put a balancer before.
const MOST_MEMBERS: usize = 16;

/// Keys that say where a target is and what stands there; members may differ in these.
const PLACES: [&str; 16] = [
    "http",
    "sqlite",
    "postgres",
    "pgbouncer",
    "profile",
    "settings",
    "fixture",
    "scale",
    "link",
    "create",
    "start",
    "build",
    "revision",
    "ready",
    "ready_timeout",
    "pool",
];

/// Targets that do the same work: each operation goes to one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name from the scenario.
    pub name: String,
    /// Indices into [`super::Workload::targets`]; one at least. Operations outside of load go to the first.
    pub members: Vec<usize>,
    /// Which of them the next operation goes to.
    pub balance: Balance,
}

/// How operations are shared among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// To the one with the fewest operations of the group under way; among equals, one after the other.
    LeastBusy,
}

impl Balance {
    /// `round_robin`, `least_busy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastBusy => "least_busy",
        }
    }
}

/// Compiles all groups; problems go to the compiler.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    targets: &BTreeMap<String, At<scenario::Target>>,
    compiled: &[Compiled],
) -> Vec<Group> {
    let groups = targets.iter().filter(|(_, written)| written.value.of.is_some());
    groups
        .filter_map(|(name, written)| one(compiler, name, written, targets, compiled))
        .collect()
}

fn one(
    compiler: &mut Compiler<'_>,
    name: &str,
    written: &At<scenario::Target>,
    targets: &BTreeMap<String, At<scenario::Target>>,
    compiled: &[Compiled],
) -> Option<Group> {
    let of = written.value.of.as_ref()?;
    no_target_of_its_own(compiler, written);
    let balance = balance(compiler, written.value.balance.as_ref());
    if !(1..=MOST_MEMBERS).contains(&of.value.len()) {
        let label = format!("`of` names 1 to {MOST_MEMBERS} targets");
        let help = Some("write of = [\"first\", \"second\"]".into());
        compiler.problem(
            of,
            format!("target \"{name}\" is a group of none or too many"),
            label,
            help,
        );
        return None;
    }
    let mut members: Vec<usize> = Vec::new();
    let mut complete = true;
    for at in &of.value {
        match compiled.iter().position(|known| known.target.name == at.value) {
            Some(member) if members.contains(&member) => {
                compiler.problem(at, "a target twice in one group", "the second time", None);
            }
            Some(member) => {
                if let Some(first) = members.first() {
                    alike(
                        compiler,
                        at,
                        targets,
                        [&compiled[*first].target, &compiled[member].target],
                    );
                }
                members.push(member);
            }
            None => {
                complete = false;
                unknown(compiler, at, targets, compiled);
            }
        }
    }
    complete.then(|| Group {
        name: name.to_owned(),
        members,
        balance,
    })
}

/// A member that had a problem of its own is told once.
fn unknown(
    compiler: &mut Compiler<'_>,
    at: &At<String>,
    targets: &BTreeMap<String, At<scenario::Target>>,
    compiled: &[Compiled],
) {
    let label = match targets.get(&at.value) {
        Some(other) if other.value.of.is_some() => "it is a group itself",
        Some(_) => return,
        None => "unknown target",
    };
    let known: Vec<&str> = compiled.iter().map(|known| known.target.name.as_str()).collect();
    let help = (!known.is_empty()).then(|| format!("targets: {}", known.join(", ")));
    compiler.problem(
        at,
        format!("no target to share load is called \"{}\"", at.value),
        label,
        help,
    );
}

fn balance(compiler: &mut Compiler<'_>, at: Option<&At<String>>) -> Balance {
    match at.map(|at| at.value.as_str()) {
        None | Some("round_robin") => Balance::RoundRobin,
        Some("least_busy") => Balance::LeastBusy,
        Some(_) => {
            if let Some(at) = at {
                compiler.problem(at, "not a way to share load", "`round_robin` or `least_busy`", None);
            }
            Balance::RoundRobin
        }
    }
}

/// All that is asked of a group is asked of its members as they are.
fn no_target_of_its_own(compiler: &mut Compiler<'_>, written: &At<scenario::Target>) {
    for key in keys(&written.value) {
        if key != "of" && key != "balance" {
            let title = format!("`{key}` does not belong here");
            compiler.problem(
                written,
                title,
                "a group has `of` and `balance`; write it in its members",
                None,
            );
        }
    }
}

/// Steps are made for one kind of target: what is sent must be the same wherever it goes.
fn alike(
    compiler: &mut Compiler<'_>,
    at: &At<String>,
    targets: &BTreeMap<String, At<scenario::Target>>,
    [first, other]: [&Target; 2],
) {
    let help = Some("the members of a group differ in nothing but where they are, and what stands there".into());
    if first.kind.name() != other.kind.name() || prefix(first) != prefix(other) {
        let label = match first.kind.name() == other.kind.name() {
            true => "its URL has another path".to_owned(),
            false => format!(
                "it speaks {}, \"{}\" {}",
                other.kind.name(),
                first.name,
                first.kind.name()
            ),
        };
        compiler.problem(at, "members of a group that are not alike", label, help);
        return;
    }
    let [one, two] = [first, other].map(|target| json(&targets[&target.name].value));
    let differs = one
        .iter()
        .find(|(key, value)| !PLACES.contains(&key.as_str()) && two.get(*key) != Some(*value));
    if let Some((key, _)) = differs {
        let label = format!("its `{key}` is not that of \"{}\"", first.name);
        compiler.problem(at, "members of a group that are not alike", label, help);
    }
}

fn prefix(target: &Target) -> &str {
    match &target.kind {
        Kind::Http(http) => &http.prefix,
        Kind::Sqlite { .. } | Kind::Postgres(_) => "",
    }
}

/// The keys that are written.
fn keys(written: &scenario::Target) -> impl Iterator<Item = String> {
    let is_written = |value: &serde_json::Value| match value {
        serde_json::Value::Null => false,
        serde_json::Value::Object(object) => !object.is_empty(),
        _ => true,
    };
    json(written)
        .into_iter()
        .filter(move |(_, value)| is_written(value))
        .map(|(key, _)| key)
}

/// What was read from TOML can be written as JSON.
fn json(written: &scenario::Target) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(written) {
        Ok(serde_json::Value::Object(object)) => object,
        _ => serde_json::Map::new(),
    }
}
