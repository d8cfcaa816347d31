//! The `[target]`s of a scenario → targets with one protocol each.

use std::{collections::BTreeMap, time::Duration};

use super::{
    BreakerLimits, BuildWanted, DEFAULT_TIMEOUT, Kind, Managed, PostgresTarget, Protocol, Retry, Target, Tls,
    compile::{Compiler, place},
    http::{Inherited, compile_target},
    link, pool, pooler,
    provision::{self, EPHEMERAL, Provision},
};
use crate::{
    scenario::{self, At},
    units,
};

/// A compiled target and what its steps inherit.
pub(super) struct Compiled {
    pub(super) target: Target,
    pub(super) timeout: Duration,
    pub(super) retry: Option<Retry>,
    pub(super) breaker: Option<BreakerLimits>,
    /// What only requests inherit.
    pub(super) http: Inherited,
}

/// Compiles all targets; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, targets: &BTreeMap<String, At<scenario::Target>>) -> Vec<Compiled> {
    if targets.is_empty() {
        let help = Some("add [target.api] with http = \"http://…\", or a database".into());
        compiler
            .problems
            .add_missing_at_top("the scenario has no target", "`[target.…]` is missing", help);
    }
    // Groups are compiled from what they consist of.
    let alone = targets.iter().filter(|(_, written)| written.value.of.is_none());
    let mut compiled: Vec<Compiled> = alone
        .filter_map(|(name, written)| one(compiler, name, written))
        .collect();
    references(compiler, targets, &mut compiled);
    poolers(compiler, targets, &mut compiled);
    compiled
}

/// Poolers stand before other targets, which are known now.
fn poolers(compiler: &mut Compiler<'_>, targets: &BTreeMap<String, At<scenario::Target>>, compiled: &mut [Compiled]) {
    for at in 0..compiled.len() {
        let written = &targets[&compiled[at].target.name].value;
        if let Some(name) = &written.pgbouncer {
            let known: Vec<&Target> = compiled.iter().map(|other| &other.target).collect();
            let pooler = pooler::compile(compiler, name, written, &known);
            compiled[at].target.pooler = pooler;
        }
    }
}

/// Commands may name the databases of other targets: `{target.db.url}`.
fn references(
    compiler: &mut Compiler<'_>,
    targets: &BTreeMap<String, At<scenario::Target>>,
    compiled: &mut [Compiled],
) {
    for start in targets.values().filter_map(|written| written.value.start.as_ref()) {
        for name in named_databases(&start.value) {
            let found = compiled.iter_mut().find(|other| other.target.name == name);
            match found.map(|other| &mut other.target) {
                Some(Target {
                    provision: Some(Provision::Server(server)),
                    ..
                }) => server.tcp = true,
                Some(Target {
                    kind: Kind::Postgres(_) | Kind::Sqlite { .. },
                    managed: None,
                    name,
                    ..
                }) if targets[name.as_str()].value.pgbouncer.is_none() => {}
                // A target with a problem of its own is not among the compiled.
                None if targets.contains_key(name) => {}
                _ => {
                    let title = format!("no database to name by {{target.{name}.url}}");
                    let help = "it names a target with `postgres` or `sqlite` and without `start`".into();
                    compiler.problem(
                        start,
                        title,
                        format!("\"{name}\" has no address to fill in"),
                        Some(help),
                    );
                }
            }
        }
    }
}

/// The names in all `{target.NAME.url}` of a command.
fn named_databases(command: &str) -> impl Iterator<Item = &str> {
    command
        .split("{target.")
        .skip(1)
        .filter_map(|rest| rest.split_once('}')?.0.strip_suffix(".url"))
}

fn one(compiler: &mut Compiler<'_>, name: &str, written: &At<scenario::Target>) -> Option<Compiled> {
    let scenario::Target {
        http,
        sqlite,
        postgres,
        pgbouncer,
        timeout,
        ..
    } = &written.value;
    let timeout = compiler.timeout(timeout.as_ref(), DEFAULT_TIMEOUT);
    let retry = compiler.retry(written.value.retry.as_ref(), None);
    let breaker = written.value.breaker.as_ref().and_then(|at| compiler.breaker(at));
    let managed = managed(compiler, &written.value);
    let mut inherited = Inherited::default();
    let kind = match (http, sqlite, postgres, pgbouncer) {
        (Some(base), None, None, None) => compile_target(compiler, base, &written.value).map(|(target, passed_on)| {
            inherited = passed_on;
            Kind::Http(target)
        }),
        (None, Some(path), None, None) => self::sqlite(compiler, path),
        (None, None, Some(url), None) => self::postgres(compiler, url, &written.value),
        (None, None, None, Some(_)) => Some(pooler::kind(compiler, &written.value)),
        (None, None, None, None) => {
            let help = Some("write http = \"http://…\", sqlite = \"file.db\" or postgres = \"postgres://…\"".into());
            compiler.problems.add_missing(
                written.span(),
                format!("target \"{name}\" has no address"),
                "none of `http`, `sqlite`, `postgres`, `pgbouncer`, `of`",
                help,
            );
            None
        }
        _ => {
            let help = Some("make a target of each".into());
            compiler.problem(
                written,
                format!("target \"{name}\" has several kinds"),
                "exactly one of `http`, `sqlite`, `postgres`, `pgbouncer`",
                help,
            );
            None
        }
    }?;
    misplaced(compiler, &kind, &written.value);
    let provision = [sqlite, postgres, http]
        .into_iter()
        .find_map(Option::as_ref)
        .and_then(|address| provision::compile(compiler, &kind, address, &written.value));
    let link = written.value.link.as_ref();
    let link = link.map(|link| link::compile(compiler, &kind, link));
    Some(Compiled {
        target: Target {
            name: name.to_owned(),
            kind,
            managed,
            provision,
            link,
            pooler: None,
        },
        timeout,
        retry,
        breaker,
        http: inherited,
    })
}

/// Keys that mean nothing for this kind of target.
fn misplaced(compiler: &mut Compiler<'_>, kind: &Kind, written: &scenario::Target) {
    let built = written.build.is_some();
    let (http, sqlite) = (matches!(kind, Kind::Http(_)), matches!(kind, Kind::Sqlite { .. }));
    let postgres = matches!(kind, Kind::Postgres(_));
    let (managed, service) = (written.start.is_some(), http && written.start.is_some());
    let keys = [
        ("protocol", place(&written.protocol), postgres, "PostgreSQL"),
        (
            "statement_timeout",
            place(&written.statement_timeout),
            postgres,
            "PostgreSQL",
        ),
        ("lock_timeout", place(&written.lock_timeout), postgres, "PostgreSQL"),
        (
            "idle_in_transaction_session_timeout",
            place(&written.idle_in_transaction_session_timeout),
            postgres,
            "PostgreSQL",
        ),
        ("pool", place(&written.pool), postgres, "PostgreSQL"),
        ("ca", place(&written.ca), !sqlite, "connections over TLS"),
        ("link", place(&written.link), !sqlite, "what is reached over a network"),
        ("balance", place(&written.balance), false, "a target with `of`"),
        ("headers", written.headers.values().next().map(At::span), http, "HTTP"),
        ("auth", place(&written.auth), http, "HTTP"),
        ("host", place(&written.host), http, "HTTP"),
        ("http2", place(&written.http2), http, "HTTP"),
        ("redirects", place(&written.redirects), http, "HTTP"),
        ("cookies", place(&written.cookies), http, "HTTP"),
        ("compression", place(&written.compression), http, "HTTP"),
        ("connect_timeout", place(&written.connect_timeout), http, "HTTP"),
        ("first_byte_timeout", place(&written.first_byte_timeout), http, "HTTP"),
        ("cert", place(&written.cert), http, "HTTP"),
        ("key", place(&written.key), http, "HTTP"),
        (
            "build",
            place(&written.build),
            managed,
            "a managed process, with `start`",
        ),
        (
            "revision",
            place(&written.revision),
            built,
            "what is built, with `build`",
        ),
        (
            "ready",
            place(&written.ready),
            service,
            "a managed HTTP service, with `start`",
        ),
        (
            "ready_timeout",
            place(&written.ready_timeout),
            managed,
            "a managed process, with `start`",
        ),
    ];
    compiler.misplaced(keys);
}

fn managed(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Option<Managed> {
    let start = written.start.as_ref()?;
    let ready_timeout = compiler.timeout(written.ready_timeout.as_ref(), Duration::from_secs(30));
    let ready = match &written.ready {
        Some(at) => ready(compiler, at),
        None => Some("/".to_owned()),
    };
    let command = compiler.resolve(start)?;
    match shell_words::split(&command) {
        Ok(words) if words.is_empty() => compiler.problem(start, "no command", "`start` is empty", None),
        Ok(_) => {}
        Err(error) => compiler.problem(start, "not a command line", error.to_string(), None),
    }
    Some(Managed {
        command,
        build: build(compiler, written),
        ready: ready?,
        ready_timeout,
    })
}

/// What is built for a managed process: the revision that is written, else the last commit.
fn build(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Option<BuildWanted> {
    let command = compiler.resolve(written.build.as_ref()?)?;
    let revision = match &written.revision {
        Some(at) => compiler.resolve(at)?,
        None => "HEAD".to_owned(),
    };
    let repository = compiler.directory.clone();
    Some(BuildWanted {
        repository: if repository.as_os_str().is_empty() {
            ".".into()
        } else {
            repository
        },
        revision,
        command,
    })
}

fn ready(compiler: &mut Compiler<'_>, at: &At<String>) -> Option<String> {
    let path = compiler.resolve(at)?;
    if !path.starts_with('/') {
        compiler.problem(at, "not a path", "a path starts with `/`", None);
    }
    Some(path)
}

fn sqlite(compiler: &mut Compiler<'_>, at: &At<String>) -> Option<Kind> {
    let path = compiler.resolve(at)?;
    if path.is_empty() {
        compiler.problem(at, "no database", "the path is empty", None);
    }
    let path = if path == EPHEMERAL { String::new() } else { path };
    Some(Kind::Sqlite { path })
}

fn postgres(compiler: &mut Compiler<'_>, at: &At<String>, written: &scenario::Target) -> Option<Kind> {
    let protocol = protocol(compiler, written);
    let connections = pool::compile(compiler, written.pool.as_ref());
    let ca = compiler.file(written.ca.as_ref());
    let connection = match compiler.resolve(at)?.as_str() {
        "env" => compiler.postgres_from_variables(),
        given => given.to_owned(),
    };
    let ephemeral = connection == EPHEMERAL;
    compiler.secrets.add_password_of(&connection);
    if let Err(reason) = check_postgres(compiler, &connection, written.start.is_some())
        && !ephemeral
    {
        let help = Some("write for example postgres = \"postgres://user@host:5432/database\"".into());
        compiler.problem(at, "not a PostgreSQL address", reason, help);
    }
    Some(Kind::Postgres(PostgresTarget {
        connection: if ephemeral { String::new() } else { connection },
        protocol,
        connections,
        tls: Tls {
            ca,
            insecure: written.insecure.unwrap_or(false),
            ..Tls::default()
        },
        settings: server_timeouts(compiler, written),
    }))
}

/// The timeouts that PostgreSQL itself keeps, in its milliseconds.
fn server_timeouts(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Vec<(&'static str, String)> {
    let written = [
        ("statement_timeout", &written.statement_timeout),
        ("lock_timeout", &written.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            &written.idle_in_transaction_session_timeout,
        ),
    ];
    let milliseconds = |text: &str| match units::parse_duration(text)?.as_millis() {
        0 => Err("it must be at least 1ms; without the key there is no limit".into()),
        milliseconds => Ok(milliseconds.to_string()),
    };
    let settings = written.into_iter().filter_map(|(name, at)| {
        let value = compiler.quantity(at.as_ref()?, "timeout", milliseconds)?;
        Some((name, value))
    });
    settings.collect()
}

/// How statements are sent.
pub(super) fn protocol(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Protocol {
    let protocols = [
        ("prepared", Protocol::Prepared),
        ("pipelined", Protocol::Pipelined),
        ("extended", Protocol::Extended),
        ("simple", Protocol::Simple),
    ];
    compiler.word(written.protocol.as_ref(), &protocols, Protocol::Prepared)
}

fn check_postgres(compiler: &mut Compiler<'_>, connection: &str, managed: bool) -> Result<(), String> {
    if connection.trim().is_empty() {
        return Err("it is empty".into());
    }
    if connection.contains("{port}") && !managed {
        return Err("`{port}` is the port of a managed process; add `start`".into());
    }
    let config: tokio_postgres::Config =
        connection
            .replace("{port}", "1")
            .parse()
            .map_err(|error: tokio_postgres::Error| {
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
            })?;
    if let Some(password) = config.get_password() {
        compiler.secrets.add(&String::from_utf8_lossy(password));
    }
    Ok(())
}

impl Compiler<'_> {
    /// libpq's variables, else those that many frameworks use.
    fn postgres_from_variables(&mut self) -> String {
        [
            ("host", ["PGHOST", "DB_HOST"], Some("127.0.0.1")),
            ("port", ["PGPORT", "DB_PORT"], None),
            ("user", ["PGUSER", "DB_USER"], Some("postgres")),
            ("password", ["PGPASSWORD", "DB_PASSWORD"], None),
            ("dbname", ["PGDATABASE", "DB_NAME"], None),
            ("sslmode", ["PGSSLMODE", "DB_SSLMODE"], None),
        ]
        .into_iter()
        .filter_map(|(key, names, default)| {
            let value = names
                .iter()
                .find_map(|name| self.lookup(name))
                .or_else(|| default.map(str::to_owned))?;
            Some(format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")))
        })
        .collect::<Vec<_>>()
        .join(" ")
    }
}
