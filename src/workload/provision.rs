//! What a scenario says of databases that are made for the run: servers of its
//! own, fixtures, settings. How they are made is for the lab to know.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    Kind, Script,
    compile::{Compiler, place},
    script,
};
use crate::{
    run::{hash, read_bounded},
    scenario::{self, At, Scalar},
};

/// The address of a target that is made for the run.
pub(super) const EPHEMERAL: &str = "ephemeral";

/// A larger file of SQL is refused: 64 MiB.
const LARGEST_SCRIPT: u64 = 64 << 20;

/// The longest name of a fixture, so that names of databases made from it fit into 63 bytes.
const LONGEST_NAME: usize = 40;

/// Settings that decide where the server is, which is the lab's to say.
const RESERVED: &[&str] = &[
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// A database that is made for the run and gone after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provision {
    /// On a PostgreSQL of the run's own.
    Server(PrivateServer),
    /// On the user's PostgreSQL, who allows it.
    Databases {
        /// What it is a copy of.
        fixture: Fixture,
        /// Settings of the database, by name.
        settings: BTreeMap<String, String>,
    },
    /// A SQLite file, empty without a fixture.
    File(Option<Fixture>),
}

/// A PostgreSQL of the run's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateServer {
    /// How much it does for durability.
    pub durability: Durability,
    /// Settings of the database or, where they are read at start only, of the server; by name.
    pub settings: BTreeMap<String, String>,
    /// What the database is a copy of; an empty one without.
    pub fixture: Option<Fixture>,
    /// Whether managed processes need an address of host and port.
    pub tcp: bool,
}

/// How much a PostgreSQL of the run's own does for durability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In memory where it fits, without fsync: for counts, plans and CPU time.
    Ci,
    /// On a disk, with fsync: for the time that writes take.
    Durable,
}

impl Durability {
    /// `ci` or `durable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Durable => "durable",
        }
    }
}

/// A database as it is before the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixture {
    /// Name from the scenario.
    pub name: String,
    /// What `:scale` was in its SQL.
    pub scale: i64,
    /// What it is made from.
    pub source: Source,
}

/// What a fixture is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// SQL, `:scale` filled in.
    Scripts(Vec<Script>),
    /// A SQLite database to copy.
    File(PathBuf),
}

impl Provision {
    /// What decides the work beside the kind of the target, for its fingerprint.
    pub(super) fn words(&self) -> String {
        let of = |fixture: Option<&Fixture>| fixture.map_or(String::new(), |fixture| fixture.words());
        match self {
            Self::Server(server) => format!(
                "{} {}{}",
                EPHEMERAL,
                server.durability.name(),
                of(server.fixture.as_ref())
            ),
            Self::Databases { fixture, .. } => format!("created{}", of(Some(fixture))),
            Self::File(fixture) => format!("{EPHEMERAL}{}", of(fixture.as_ref())),
        }
    }

    /// What its database is a copy of.
    pub fn fixture(&self) -> Option<&Fixture> {
        match self {
            Self::Server(server) => server.fixture.as_ref(),
            Self::Databases { fixture, .. } => Some(fixture),
            Self::File(fixture) => fixture.as_ref(),
        }
    }
}

impl Fixture {
    /// Name and content, not the place of its files.
    fn words(&self) -> String {
        format!(" {} {}", self.name, self.digest())
    }

    /// A hash of all that decides what is in the database.
    ///
    /// Of a file it is that of its content as it is now; empty where it cannot be read.
    pub fn digest(&self) -> String {
        match &self.source {
            Source::Scripts(scripts) => {
                let statements = scripts.iter().flat_map(|script| &script.statements);
                let texts: Vec<&str> = statements.map(|statement| statement.sql.as_str()).collect();
                hash(texts.join(";\n").as_bytes())
            }
            Source::File(path) => file_digest(path).unwrap_or_default(),
        }
    }
}

fn file_digest(path: &Path) -> io::Result<String> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut digest = Sha256::new();
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(chunk);
        let read = chunk.len();
        file.consume(read);
    }
}

/// Compiles the keys of a target that make a database for it; problems go to the compiler.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    kind: &Kind,
    address: &At<String>,
    written: &scenario::Target,
) -> Option<Provision> {
    let ephemeral = is_ephemeral(kind);
    let created = written.create.as_ref().is_some_and(|create| create.value);
    misplaced(compiler, kind, ephemeral, written);
    if ephemeral && let Some(start) = &written.start {
        let help = Some("leave out `start`: loadgate starts the server by itself".into());
        compiler.problem(start, "started twice", "the target is ephemeral", help);
    }
    let fixture = fixture(compiler, kind, written);
    let settings = settings(compiler, written);
    match kind {
        Kind::Sqlite { .. } if ephemeral => Some(Provision::File(fixture)),
        Kind::Postgres(_) if ephemeral => {
            let profiles = [("ci", Durability::Ci), ("durable", Durability::Durable)];
            Some(Provision::Server(PrivateServer {
                durability: compiler.word(written.profile.as_ref(), &profiles, Durability::Ci),
                settings,
                fixture,
                tcp: false,
            }))
        }
        Kind::Postgres(_) if written.fixture.is_some() && !created => {
            let help = "add create = true, which lets loadgate create databases named lg_… there and drop them \
                        at the end, or use postgres = \"ephemeral\"";
            let label = "the fixture would create databases on this server";
            compiler.problem(
                address,
                "nothing is created on a server of yours",
                label,
                Some(help.into()),
            );
            None
        }
        Kind::Postgres(_) if created && written.start.is_some() => {
            let help = Some("use postgres = \"ephemeral\" without `start`".into());
            compiler.problem(
                address,
                "a fixture on a managed server",
                "it has none yet when fixtures are made",
                help,
            );
            None
        }
        Kind::Postgres(_) if created => Some(Provision::Databases {
            fixture: fixture?,
            settings,
        }),
        _ => None,
    }
}

/// Whether it is made for the run. Its address is then empty.
fn is_ephemeral(kind: &Kind) -> bool {
    match kind {
        Kind::Postgres(postgres) => postgres.connection.is_empty(),
        Kind::Sqlite { path } => path.is_empty(),
        Kind::Http(_) => false,
    }
}

/// Keys that mean nothing for this target.
fn misplaced(compiler: &mut Compiler<'_>, kind: &Kind, ephemeral: bool, written: &scenario::Target) {
    let postgres = matches!(kind, Kind::Postgres(_));
    let created = written.create.as_ref().is_some_and(|create| create.value);
    let made = ephemeral || (postgres && created);
    let keys = [
        (
            "profile",
            place(&written.profile),
            postgres && ephemeral,
            "postgres = \"ephemeral\"",
        ),
        (
            "settings",
            written.settings.values().next().map(At::span),
            postgres && made,
            "postgres = \"ephemeral\", or a fixture with create = true",
        ),
        (
            "fixture",
            place(&written.fixture),
            postgres || ephemeral,
            "postgres, and for sqlite = \"ephemeral\"",
        ),
        (
            "scale",
            place(&written.scale),
            written.fixture.is_some(),
            "targets with a `fixture`",
        ),
        (
            "create",
            place(&written.create),
            postgres && !ephemeral && written.fixture.is_some(),
            "a `fixture` on a PostgreSQL server of yours",
        ),
    ];
    compiler.misplaced(keys);
}

fn settings(compiler: &mut Compiler<'_>, written: &scenario::Target) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (name, at) in &written.settings {
        if !is_name(name) {
            compiler.problem(at, "not a setting", format!("`{name}` is no name of a setting"), None);
        } else if RESERVED.contains(&name.as_str()) {
            compiler.problem(
                at,
                "not a setting to choose",
                format!("loadgate itself chooses `{name}`"),
                None,
            );
        } else if let Some(value) = setting(compiler, at) {
            settings.insert(name.clone(), value);
        }
    }
    settings
}

fn setting(compiler: &mut Compiler<'_>, at: &At<Scalar>) -> Option<String> {
    Some(match &at.value {
        Scalar::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => compiler.resolve(&at.with(text.clone()))?,
    })
}

/// `work_mem`, `pg_stat_statements.track`.
fn is_name(name: &str) -> bool {
    name.split('.').count() <= 2
        && name.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
}

/// The fixture that the target names, read and split into statements.
fn fixture(compiler: &mut Compiler<'_>, kind: &Kind, written: &scenario::Target) -> Option<Fixture> {
    let scale = compiler.integer(written.scale.as_ref(), "the scale", 1..=1_000_000_000, 1);
    let at = written.fixture.as_ref()?;
    let Some(fixture) = compiler.fixtures.get(&at.value).cloned() else {
        let known: Vec<_> = compiler.fixtures.keys().map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => format!("write [fixture.{}] with sql = \"….sql\"", at.value),
            known => format!("known fixtures: {}", known.join(", ")),
        };
        compiler.problem(
            at,
            format!("no fixture is called \"{}\"", at.value),
            "unknown fixture",
            Some(help),
        );
        return None;
    };
    if !is_name(&at.value) || at.value.contains('.') || at.value.len() > LONGEST_NAME {
        let label = format!("the name of a fixture is made of letters, digits and `_`, {LONGEST_NAME} at most");
        compiler.problem(at, "not a usable name", label, None);
    }
    let source = match (&fixture.value.sql, &fixture.value.file) {
        (Some(sql), None) => Source::Scripts(scripts(compiler, sql, scale)?),
        (None, Some(file)) if matches!(kind, Kind::Sqlite { .. }) => Source::File(compiler.file(Some(file))?),
        (None, Some(file)) => {
            compiler.problem(
                file,
                "not for PostgreSQL",
                "a `file` is a SQLite database",
                Some("use `sql`".into()),
            );
            return None;
        }
        _ => {
            let help = Some("write sql = \"….sql\", or file = \"….db\" for SQLite".into());
            compiler.problem(&fixture, "a fixture of nothing", "exactly one of `sql`, `file`", help);
            return None;
        }
    };
    Some(Fixture {
        name: at.value.clone(),
        scale,
        source,
    })
}

fn scripts(compiler: &mut Compiler<'_>, sql: &At<scenario::Texts>, scale: i64) -> Option<Vec<Script>> {
    let paths = sql.value.all().iter();
    let scripts: Vec<Option<Script>> = paths
        .map(|path| script(compiler, &sql.with(path.clone()), scale))
        .collect();
    let scripts: Option<Vec<Script>> = scripts.into_iter().collect();
    if scripts
        .as_ref()
        .is_some_and(|scripts| scripts.iter().all(|script| script.statements.is_empty()))
    {
        compiler.problem(sql, "a fixture of nothing", "no statement in it", None);
    }
    scripts
}

fn script(compiler: &mut Compiler<'_>, at: &At<String>, scale: i64) -> Option<Script> {
    let path = PathBuf::from(compiler.resolve(at)?);
    match read(&compiler.directory.join(&path), &path, scale) {
        Ok(script) => Some(script),
        Err(reason) => {
            compiler.problem(at, "the fixture cannot be used", reason, None);
            None
        }
    }
}

/// Reads a script from `path`; messages call it `name`.
fn read(path: &Path, name: &Path, scale: i64) -> Result<Script, String> {
    let name = name.display().to_string();
    let bytes = read_bounded(path, LARGEST_SCRIPT).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        format!("{name}:{line}: not UTF-8 text")
    })?;
    let statements =
        script::parse(&text, scale).map_err(|misfit| format!("{name}:{}: {}", misfit.line, misfit.reason))?;
    Ok(Script { path: name, statements })
}
