//! The `pgbouncer` of a target → which database it stands before, and its settings.

use std::collections::BTreeMap;

use super::{
    Kind, PostgresTarget, Target, Tls,
    compile::{Compiler, place},
    pool,
};
use crate::scenario::{self, At, Scalar};

/// A longer value is a mistake.
const LONGEST_VALUE: usize = 200;

/// Settings that decide where it is and who may enter, which is loadgate's to say.
const RESERVED: &[&str] = &[
    "auth_file",
    "auth_hba_file",
    "auth_query",
    "auth_type",
    "auth_user",
    "conffile",
    "job_name",
    "listen_addr",
    "listen_port",
    "logfile",
    "pidfile",
    "service_name",
    "so_reuseport",
    "unix_socket_dir",
    "unix_socket_group",
    "unix_socket_mode",
    "user",
];

/// A PgBouncer that is started before a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooler {
    /// Index of the target that it stands before.
    pub before: usize,
    /// Its settings, by name.
    pub settings: BTreeMap<String, String>,
}

impl Pooler {
    /// What decides the work beside the kind of the target, for its fingerprint.
    pub(super) fn words(&self) -> String {
        let settings = self.settings.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("pgbouncer{}", settings.collect::<String>())
    }
}

/// What speaks to it: PostgreSQL's protocol, to an address that is known once it stands.
pub(super) fn kind(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Kind {
    let no = "a database itself, not for a `pgbouncer` before it";
    compiler.misplaced([
        ("start", place(&written.start), false, no),
        ("profile", place(&written.profile), false, no),
        ("fixture", place(&written.fixture), false, no),
        ("scale", place(&written.scale), false, no),
        ("create", place(&written.create), false, no),
        ("ca", place(&written.ca), false, no),
        ("statement_timeout", place(&written.statement_timeout), false, no),
        ("lock_timeout", place(&written.lock_timeout), false, no),
        (
            "idle_in_transaction_session_timeout",
            place(&written.idle_in_transaction_session_timeout),
            false,
            no,
        ),
    ]);
    Kind::Postgres(PostgresTarget {
        connection: String::new(),
        protocol: super::target::protocol(compiler, written),
        connections: pool::compile(compiler, written.pool.as_ref()),
        tls: Tls::default(),
        settings: Vec::new(),
    })
}

/// The pooler of a target, all targets being known by their names.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    name: &At<String>,
    written: &scenario::Target,
    targets: &[&Target],
) -> Option<Pooler> {
    let databases = |target: &&Target| {
        let stands = |postgres: &PostgresTarget| !postgres.connection.is_empty() || target.provision.is_some();
        matches!(&target.kind, Kind::Postgres(postgres) if stands(postgres)) && target.managed.is_none()
    };
    let settings = settings(compiler, written);
    let found = targets.iter().position(|target| target.name == name.value);
    match found.filter(|at| databases(&targets[*at])) {
        Some(before) => Some(Pooler { before, settings }),
        None => {
            let fitting = targets.iter().copied().filter(|target| databases(target));
            let names: Vec<&str> = fitting.map(|target| target.name.as_str()).collect();
            let help = match names.as_slice() {
                [] => "add [target.db] with postgres = \"ephemeral\" or an address".to_owned(),
                names => format!("targets that fit: {}", names.join(", ")),
            };
            let title = format!("no database \"{}\" to stand before", name.value);
            let label = "names a target with `postgres` and without `start`";
            compiler.problem(name, title, label, Some(help));
            None
        }
    }
}

fn settings(compiler: &mut Compiler<'_>, written: &scenario::Target) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (name, at) in &written.settings {
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let label = format!("`{name}` is no name of a setting of PgBouncer");
            compiler.problem(at, "not a setting", label, None);
        } else if RESERVED.contains(&name.as_str()) {
            let label = format!("loadgate itself chooses `{name}`");
            compiler.problem(at, "not a setting to choose", label, None);
        } else if let Some(value) = value(compiler, at) {
            settings.insert(name.clone(), value);
        }
    }
    settings
}

fn value(compiler: &mut Compiler<'_>, at: &At<Scalar>) -> Option<String> {
    let value = match &at.value {
        Scalar::Bool(on) => u8::from(*on).to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => compiler.resolve(&at.with(text.clone()))?,
    };
    if value.len() > LONGEST_VALUE || value.chars().any(char::is_control) {
        let label = format!("a value is one line of {LONGEST_VALUE} bytes at most");
        compiler.problem(at, "not a value of a setting", label, None);
        return None;
    }
    Some(value)
}
