//! `loadgate init`: a first scenario for a URL or a database, to be made one's own.

use std::{fs, path::Path};

use super::{
    args::InitArgs,
    exit::{Exit, Failure},
    print::Console,
};

/// What a first scenario is about.
enum Subject<'u> {
    /// Origin and path.
    Http(&'u str, String),
    /// The address, and whether it holds a password.
    Postgres(&'u str, bool),
    Sqlite(&'u str),
}

/// Performs the verb.
pub(super) fn init(args: &InitArgs, console: &Console) -> Result<Exit, Failure> {
    let subject = Subject::of(&args.url).map_err(Failure::usage)?;
    let text = subject.scenario();
    if args.out.exists() {
        let place = args.out.display();
        return Err(Failure::usage(format!(
            "{place} is there already; choose another file with --out"
        )));
    }
    if let Some(directory) = args.out.parent().filter(|directory| *directory != Path::new("")) {
        fs::create_dir_all(directory).map_err(|error| unwritable(&args.out, &error))?;
    }
    fs::write(&args.out, text).map_err(|error| unwritable(&args.out, &error))?;
    let place = args.out.display();
    let secret = match subject.has_password() {
        true => "\nThe address has a password, so the file reads it from DATABASE_URL: set that first.",
        false => "",
    };
    console.result(&format!(
        "{place} is a first scenario.{secret}\n\n  loadgate run {place} --once    performs it once and shows every answer\n  \
         loadgate run {place}           measures, and writes a report\n"
    ));
    Ok(Exit::Pass)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!(
        "{} cannot be written: {error}; choose another file with --out",
        path.display()
    ))
}

impl<'u> Subject<'u> {
    fn of(url: &'u str) -> Result<Self, String> {
        if url.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
            return Err("not an address: it has quotes, backslashes or control characters".into());
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let parsed = url::Url::parse(url).map_err(|error| format!("not a URL: {error}"))?;
            if !parsed.username().is_empty() || parsed.password().is_some() {
                return Err("an address with a user or password belongs into `auth`; leave it out here".into());
            }
            let host = url.find("://").map_or(0, |at| at + 3);
            let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
            let path = url[end..].split('#').next().unwrap_or_default();
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Ok(Self::Http(&url[..end], format!("{slash}{path}")));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let config = url.parse::<tokio_postgres::Config>();
            let config = config.map_err(|error| format!("not a PostgreSQL address: {error}"))?;
            return Ok(Self::Postgres(url, config.get_password().is_some()));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) => Ok(Self::Sqlite(path)),
            None if [".db", ".sqlite", ".sqlite3"].iter().any(|end| url.ends_with(end)) => Ok(Self::Sqlite(url)),
            None => Err(format!(
                "\"{url}\" is no address: http://…, https://…, postgres://… or sqlite:FILE"
            )),
        }
    }

    fn has_password(&self) -> bool {
        match self {
            Self::Postgres(_, has_password) => *has_password,
            Self::Http(..) | Self::Sqlite(_) => false,
        }
    }

    fn scenario(&self) -> String {
        let (target, step) = match self {
            Self::Http(origin, path) => (
                format!("[target.api]\nhttp = \"{origin}\"\n"),
                format!("get = \"{path}\"\nexpect = {{ status = 200 }}\n"),
            ),
            Self::Postgres(url, has_password) => {
                let url = if *has_password { "${DATABASE_URL}" } else { url };
                let step = "# Parameters are $1, $2, …: sql = \"SELECT * FROM users WHERE id = $1\", params = [\"{{ id }}\"]\nsql = \"SELECT 1\"\n";
                (format!("[target.db]\npostgres = \"{url}\"\n"), step.to_owned())
            }
            Self::Sqlite(path) => (
                format!("[target.db]\nsqlite = \"{path}\"\n"),
                "sql = \"SELECT 1\"\n".to_owned(),
            ),
        };
        format!(
            r#"# A first scenario, made by `loadgate init`. All keys: `loadgate schema`, or scenarios/README.md.
name = "first"

{target}
# An open model: visitors come at this rate, however long the answers take.
# `users = 10` instead of `rate` is the closed one: so many wait for their answers.
[load]
rate = "50/s"
duration = "30s"
warm_up = "5s"

[data.id]
uniform = {{ from = 1, to = 1000 }}

[[flow]]
name = "main"

[[flow.step]]
name = "first step"
{step}
# The first run has nothing to compare with: accept it with `loadgate baseline accept`.
[[threshold]]
step = "first step"
metric = "p95"
warning = "+5% and 200us"
critical = "+10% and 200us"

[[threshold]]
metric = "error_rate"
critical = "1%"
"#
        )
    }
}
