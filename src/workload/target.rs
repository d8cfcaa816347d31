//! The `[target]`s of a scenario → targets with one protocol each.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};

use super::{
    DEFAULT_TIMEOUT, HttpTarget, Kind, Managed, PostgresTarget, Protocol, Target, compile::Compiler,
    secrets::is_secret_header,
};
use crate::scenario::{self, At};

/// A compiled target and what its steps inherit.
pub(super) struct Compiled {
    pub(super) target: Target,
    pub(super) timeout: Duration,
}

/// Compiles all targets; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, targets: &BTreeMap<String, At<scenario::Target>>) -> Vec<Compiled> {
    if targets.is_empty() {
        let help = Some("add [target.api] with http = \"http://…\", or a database".into());
        compiler
            .problems
            .add_missing_at_top("the scenario has no target", "`[target.…]` is missing", help);
    }
    targets
        .iter()
        .filter_map(|(name, written)| one(compiler, name, written))
        .collect()
}

fn one(compiler: &mut Compiler<'_>, name: &str, written: &At<scenario::Target>) -> Option<Compiled> {
    let scenario::Target {
        http,
        sqlite,
        postgres,
        timeout,
        ..
    } = &written.value;
    let timeout = compiler.timeout(timeout.as_ref(), DEFAULT_TIMEOUT);
    let managed = managed(compiler, &written.value);
    let kind = match (http, sqlite, postgres) {
        (Some(base), None, None) => self::http(compiler, base, &written.value),
        (None, Some(path), None) => self::sqlite(compiler, path),
        (None, None, Some(url)) => self::postgres(compiler, url, &written.value),
        (None, None, None) => {
            let help = Some("write http = \"http://…\", sqlite = \"file.db\" or postgres = \"postgres://…\"".into());
            compiler.problems.add_missing(
                written.span(),
                format!("target \"{name}\" has no address"),
                "none of `http`, `sqlite`, `postgres`",
                help,
            );
            None
        }
        _ => {
            let help = Some("make a target of each".into());
            compiler.problem(
                written,
                format!("target \"{name}\" has several kinds"),
                "exactly one of `http`, `sqlite`, `postgres`",
                help,
            );
            None
        }
    }?;
    misplaced(compiler, &kind, &written.value);
    Some(Compiled {
        target: Target {
            name: name.to_owned(),
            kind,
            managed,
            statements: Vec::new(),
        },
        timeout,
    })
}

/// Keys that mean nothing for this kind of target.
fn misplaced(compiler: &mut Compiler<'_>, kind: &Kind, written: &scenario::Target) {
    let (http, sqlite) = (matches!(kind, Kind::Http(_)), matches!(kind, Kind::Sqlite { .. }));
    let place = |at: &Option<At<String>>| at.as_ref().map(At::span);
    let keys = [
        ("protocol", place(&written.protocol), !http && !sqlite, "PostgreSQL"),
        ("ca", place(&written.ca), !sqlite, "connections over TLS"),
        ("headers", written.headers.values().next().map(At::span), http, "HTTP"),
        (
            "ready",
            place(&written.ready),
            http && written.start.is_some(),
            "a managed HTTP service, with `start`",
        ),
        (
            "ready_timeout",
            place(&written.ready_timeout),
            written.start.is_some(),
            "a managed process, with `start`",
        ),
    ];
    for (key, place, fits, purpose) in keys {
        if let (Some(place), false) = (place, fits) {
            let title = format!("`{key}` does not belong here");
            compiler
                .problems
                .add(place, title, format!("it is for {purpose}"), None);
        }
    }
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
        ready: ready?,
        ready_timeout,
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
    Some(Kind::Sqlite { path })
}

fn http(compiler: &mut Compiler<'_>, at: &At<String>, written: &scenario::Target) -> Option<Kind> {
    let headers = written
        .headers
        .iter()
        .filter_map(|(name, value)| header(compiler, name, value))
        .collect();
    let ca = ca(compiler, written);
    let base = compiler.resolve(at)?.trim_end_matches('/').to_owned();
    compiler.secrets.add_password_of(&base);
    if let Err(reason) = check_url(&base, written.start.is_some()) {
        let help = Some("write for example http = \"http://127.0.0.1:8080\"".into());
        compiler.problem(at, "not a base URL", reason, help);
    }
    Some(Kind::Http(HttpTarget {
        base,
        headers,
        ca,
        insecure: written.insecure.unwrap_or(false),
    }))
}

fn check_url(base: &str, managed: bool) -> Result<(), String> {
    if base.contains("{port}") && !managed {
        return Err("`{port}` is the port of a managed process; add `start`".into());
    }
    // Any port stands for the one that is chosen later.
    let uri: Uri = base
        .replace("{port}", "1")
        .parse()
        .map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("it must start with http:// or https://".into()),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("credentials do not belong into the URL; use headers = { authorization = \"…\" }".into());
    }
    if uri.query().is_some() {
        return Err("a base URL has no query; put it into the steps".into());
    }
    Ok(())
}

fn header(compiler: &mut Compiler<'_>, name: &str, at: &At<String>) -> Option<(HeaderName, HeaderValue)> {
    let value = compiler.resolve(at)?;
    if is_secret_header(name) {
        compiler.secrets.add_header(&value);
    }
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => Some((name, value)),
        _ => {
            compiler.problem(
                at,
                format!("not a header: {name}"),
                "name or value has characters that HTTP does not allow",
                None,
            );
            None
        }
    }
}

fn ca(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Option<PathBuf> {
    let at = written.ca.as_ref()?;
    let path = PathBuf::from(compiler.resolve(at)?);
    if !path.is_file() {
        compiler.problem(at, "no such file", path.display().to_string(), None);
    }
    Some(path)
}

fn postgres(compiler: &mut Compiler<'_>, at: &At<String>, written: &scenario::Target) -> Option<Kind> {
    let protocols = [
        ("prepared", Protocol::Prepared),
        ("extended", Protocol::Extended),
        ("simple", Protocol::Simple),
    ];
    let protocol = compiler.word(written.protocol.as_ref(), &protocols, Protocol::Prepared);
    let ca = ca(compiler, written);
    let connection = match compiler.resolve(at)?.as_str() {
        "env" => compiler.postgres_from_variables(),
        given => given.to_owned(),
    };
    compiler.secrets.add_password_of(&connection);
    if let Err(reason) = check_postgres(compiler, &connection, written.start.is_some()) {
        let help = Some("write for example postgres = \"postgres://user@host:5432/database\"".into());
        compiler.problem(at, "not a PostgreSQL address", reason, help);
    }
    Some(Kind::Postgres(PostgresTarget {
        connection,
        protocol,
        ca,
        insecure: written.insecure.unwrap_or(false),
    }))
}

fn check_postgres(compiler: &mut Compiler<'_>, connection: &str, managed: bool) -> Result<(), String> {
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
