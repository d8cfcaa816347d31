//! The key `pool` of a target → whose connections its operations use.

use std::time::Duration;

use super::compile::Compiler;
use crate::{
    scenario::{self, At, PoolTable},
    units,
};

/// Whose connections the operations on a target use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connections {
    /// Each session has its own, for as long as it lasts.
    PerSession,
    /// Each operation makes one and closes it.
    PerOperation,
    /// All sessions share them.
    Pooled(PoolLimits),
}

impl Connections {
    /// How many there are at most under a load of so many sessions, and flows that use it.
    pub fn most(&self, sessions: usize, flows: usize) -> usize {
        match self {
            Self::PerSession | Self::PerOperation => sessions,
            Self::Pooled(limits) if limits.bulkheads => limits.max.saturating_mul(flows),
            Self::Pooled(limits) => limits.max,
        }
    }
}

/// What a pool is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Name of the profile that decided what was not written.
    pub profile: &'static str,
    /// Connections made before the load.
    pub initial: usize,
    /// Connections that are kept, idle or not.
    pub min: usize,
    /// Connections at most; above zero.
    pub max: usize,
    /// How many operations may wait for a connection.
    pub queue: usize,
    /// After so long without work a connection is closed, down to `min`.
    pub idle: Duration,
    /// So old a connection is replaced.
    pub lifetime: Duration,
    /// How long an operation may wait for a connection.
    pub acquire_timeout: Duration,
    /// A connection that did nothing for so long is asked before it is given out.
    pub validate: Duration,
    /// Whether each flow has a pool of its own.
    pub bulkheads: bool,
}

/// Named limits. `initial` is `min` where a profile does not say otherwise.
struct Profile {
    name: &'static str,
    initial: i64,
    min: i64,
    max: i64,
    idle: Duration,
}

const fn profile(name: &'static str, [initial, min, max]: [i64; 3], idle_s: u64) -> Profile {
    Profile {
        name,
        initial,
        min,
        max,
        idle: Duration::from_secs(idle_s),
    }
}

const PROFILES: [Profile; 6] = [
    profile("development", [1, 1, 5], 10),
    profile("test", [1, 1, 3], 5),
    profile("staging", [5, 5, 20], 60),
    PRODUCTION,
    profile("high-load", [20, 20, 50], 600),
    profile("auth", [5, 2, 20], 300),
];

/// Decides where no profile is named.
const PRODUCTION: Profile = profile("production", [10, 10, 30], 300);

/// No pool at all: every operation makes a connection of its own.
const NONE: &str = "none";

const LIFETIME: Duration = Duration::from_secs(30 * 60);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
const VALIDATE: Duration = Duration::from_secs(30);
const QUEUE: i64 = 1000;

/// More connections than a server takes.
const MOST_CONNECTIONS: i64 = 10_000;
const LONGEST_QUEUE: i64 = 1_000_000;

/// Compiles the key; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, written: Option<&At<scenario::Pool>>) -> Connections {
    let Some(at) = written else {
        return Connections::PerSession;
    };
    let by_name = PoolTable::default();
    let table = match &at.value {
        scenario::Pool::Named(name) if name == NONE => return Connections::PerOperation,
        scenario::Pool::Named(name) => {
            let profile = found(compiler, at, name);
            return Connections::Pooled(limits(compiler, at, &by_name, profile));
        }
        scenario::Pool::Limits(table) => table,
    };
    let profile = match &table.profile {
        Some(name) => found(compiler, at, name),
        None => &PRODUCTION,
    };
    Connections::Pooled(limits(compiler, at, table, profile))
}

fn found(compiler: &mut Compiler<'_>, at: &At<scenario::Pool>, name: &str) -> &'static Profile {
    let Some(name) = compiler.resolve(&at.with(name.to_owned())) else {
        return &PRODUCTION;
    };
    let known = PROFILES.iter().find(|profile| profile.name == name);
    known.unwrap_or_else(|| {
        let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
        let label = format!("no profile is called \"{name}\"");
        let help = format!(
            "profiles: {}; for a connection per operation write pool = \"{NONE}\"",
            names.join(", ")
        );
        compiler.problem(at, "unknown pool", label, Some(help));
        &PRODUCTION
    })
}

fn limits(
    compiler: &mut Compiler<'_>,
    at: &At<scenario::Pool>,
    table: &PoolTable,
    profile: &'static Profile,
) -> PoolLimits {
    let mut number = |key: &str, written: Option<i64>, least: i64, most: i64| {
        written.filter(|number| {
            let fits = (least..=most).contains(number);
            if !fits {
                let title = format!("`{key}` of the pool is out of bounds");
                compiler.problem(at, title, format!("must be from {least} to {most}"), None);
            }
            fits
        })
    };
    let max = number("max", table.max, 1, MOST_CONNECTIONS).unwrap_or(profile.max);
    let min = number("min", table.min, 0, MOST_CONNECTIONS);
    let initial = number("initial", table.initial, 0, MOST_CONNECTIONS);
    let queue = number("queue", table.queue, 0, LONGEST_QUEUE).unwrap_or(QUEUE);
    for (key, written) in [("min", min), ("initial", initial)] {
        if let Some(count) = written.filter(|count| *count > max) {
            let title = format!("`{key}` of the pool is above its `max`");
            let label = match table.max {
                Some(_) => format!("{key} = {count}, max = {max}"),
                None => format!(
                    "{key} = {count}, and `max` is {max} by the profile \"{}\"",
                    profile.name
                ),
            };
            let help = format!("write max = {count} or more, or a smaller `{key}`");
            compiler.problem(at, title, label, Some(help));
        }
    }
    // What is written outranks what a profile says.
    let kept = min.unwrap_or(profile.min.min(max));
    let first = initial.unwrap_or(match min {
        Some(min) => min,
        None => profile.initial.min(max),
    });
    PoolLimits {
        profile: profile.name,
        initial: first as usize,
        min: kept as usize,
        max: max as usize,
        queue: queue as usize,
        idle: length(compiler, at, "idle", table.idle.as_ref(), true).unwrap_or(profile.idle),
        lifetime: length(compiler, at, "lifetime", table.lifetime.as_ref(), true).unwrap_or(LIFETIME),
        acquire_timeout: length(compiler, at, "acquire_timeout", table.acquire_timeout.as_ref(), true)
            .unwrap_or(ACQUIRE_TIMEOUT),
        validate: length(compiler, at, "validate", table.validate.as_ref(), false).unwrap_or(VALIDATE),
        bulkheads: table.bulkheads.unwrap_or(false),
    }
}

/// A duration, `above_zero` where none at all would make no sense.
fn length(
    compiler: &mut Compiler<'_>,
    at: &At<scenario::Pool>,
    key: &str,
    written: Option<&String>,
    above_zero: bool,
) -> Option<Duration> {
    let text = at.with(written?.clone());
    let what = format!("duration for `{key}` of the pool");
    compiler.quantity(&text, &what, |text| match units::parse_duration(text)? {
        Duration::ZERO if above_zero => Err("it must be above zero".into()),
        length => Ok(length),
    })
}
