//! PostgreSQL for one run: a private server from the installed programs, and
//! databases made from fixtures, there or on a server of the user's.
//!
//! Nothing stays behind: see `guard.rs` for a killed loadgate, and the sweep of
//! [`super::RunDirectory`] for a guard that was killed as well.

pub(super) mod abandoned;
mod account;
mod cache;
mod cluster;
mod databases;
mod guard;
mod memory;
mod programs;
mod server;
mod settings;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

pub(super) use self::account::Account;
pub use self::{
    cluster::{Cluster, Spec},
    databases::{Databases, Description},
};

/// What of the machine a private server uses.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// Directory of PostgreSQL's programs; without it they are looked for.
    pub programs: Option<PathBuf>,
    /// Where programs are looked for last.
    pub path: OsString,
    /// The user to run as where this process is root's.
    pub account: Option<String>,
    /// Directory that keeps clusters for the next run; without it each is made anew.
    pub cache: Option<PathBuf>,
}

impl Site {
    /// By variables of the environment: `PG_BINDIR`, `LOADGATE_PG_USER`, and
    /// `LOADGATE_CACHE` or the user's directory of caches.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let caches = || {
            let given = set("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute());
            given.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))
        };
        Self {
            programs: set("PG_BINDIR").map(PathBuf::from),
            path: set("PATH").unwrap_or_default().into(),
            account: set("LOADGATE_PG_USER"),
            cache: set("LOADGATE_CACHE")
                .map(PathBuf::from)
                .or_else(|| Some(caches()?.join("loadgate"))),
        }
    }
}

/// Why there is no server or database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No server is installed.
    #[error("{}", missing(given.as_deref()))]
    Missing {
        /// Where they should have been, if that was said.
        given: Option<PathBuf>,
    },
    /// There is no such user to run as.
    #[error(
        "PostgreSQL does not run as root, and there is no user \"{wanted}\" to run it as; \
         name one by the variable LOADGATE_PG_USER"
    )]
    Account {
        /// The user.
        wanted: String,
    },
    /// No directory that the server could use.
    #[error("no directory for the server's data: {reason}")]
    Directory {
        /// Which were looked at, and why they will not do.
        reason: String,
    },
    /// A program ended, or was not ready in time.
    #[error("{what} does not start; it printed last:\n{output}")]
    Start {
        /// The program.
        what: String,
        /// The last lines it printed.
        output: String,
    },
    /// A setting that the server does not take. The scenario is at fault.
    #[error("the setting `{name}`: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A statement of a fixture failed. The scenario is at fault.
    #[error("{path}:{line}: {reason}")]
    Script {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What the database said.
        reason: String,
    },
    /// The server refused something else.
    #[error("{reason}\n  {what}")]
    Sql {
        /// What was asked of it.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl PostgresError {
    /// The system refused something.
    pub fn system(what: &str, source: io::Error) -> Self {
        Self::System {
            what: what.into(),
            source,
        }
    }

    /// Whether the scenario is at fault, and not the environment.
    pub fn is_scenario(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Script { .. })
    }
}

fn missing(given: Option<&Path>) -> String {
    let place = given.map_or_else(
        || "PostgreSQL's server programs (initdb, postgres) are not installed".to_owned(),
        |given| {
            format!(
                "there is no PostgreSQL server (initdb, postgres) in {} (PG_BINDIR)",
                given.display()
            )
        },
    );
    format!(
        "{place}; on Debian and Ubuntu: apt-get install postgresql; elsewhere set PG_BINDIR to the directory of \
         initdb, or use a server of yours: postgres = \"postgres://…\""
    )
}

#[cfg(test)]
mod tests;
