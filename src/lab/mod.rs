//! Things set up for a run and torn down after it: private directories, managed
//! processes, databases, programs built from a commit, links between clients and servers.
//!
//! Nothing here may outlive a run: a process is stopped with its whole group, a
//! directory is removed, and what a killed loadgate left behind is swept by the
//! next one. The lab knows no load; commands arrive with their ports and
//! directories filled in, fixtures split into statements.

mod build;
mod directory;
mod groups;
mod link;
mod output;
mod pgbouncer;
pub mod postgres;
mod probe;
mod process;
pub mod sqlite;
mod usage;

use std::{io, net::TcpListener, process::ExitStatus, time::Duration};

use self::postgres::PostgresError;
pub use self::{
    build::{Build, BuildError, BuildSpec},
    directory::RunDirectory,
    groups::kill_all,
    link::{Link, Switch, Upstream},
    pgbouncer::{PgBouncer, PgBouncerSpec},
    probe::Ready,
    process::{PARENT_PIPE, Process, Spec},
    usage::{Usage, own_memory, usage_of},
};
use crate::units::format_duration;

/// Why a managed process could not be started. Secrets are masked in every text.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The command line cannot be split into words.
    #[error("{name}: the command `{command}` {reason}")]
    Command {
        /// What the process is called.
        name: String,
        /// Its command line.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program is not installed.
    #[error("{name}: {what}")]
    Missing {
        /// What the process is called.
        name: String,
        /// What is missing, and the mend.
        what: String,
    },
    /// The program could not be executed.
    #[error("{name}: `{command}` cannot be started: {source}")]
    Start {
        /// What the process is called.
        name: String,
        /// Its command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("{name}: `{command}` ended before it was ready ({status}){}", last_words(output))]
    Exited {
        /// What the process is called.
        name: String,
        /// Its command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
    },
    /// It did not become ready in time, and was stopped.
    #[error(
        "{name}: `{command}` was not ready within {}: {reason}{}",
        format_duration(*within),
        last_words(output)
    )]
    NotReady {
        /// What the process is called.
        name: String,
        /// Its command line.
        command: String,
        /// How long it was waited for.
        within: Duration,
        /// What the last probe found.
        reason: String,
        /// The last lines of its output.
        output: String,
    },
    /// The readiness probe itself cannot be made.
    #[error("{name}: the readiness probe cannot be made: {reason}")]
    Probe {
        /// What the process is called.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A server or database could not be made.
    #[error("{name}: {source}")]
    Postgres {
        /// What it is called.
        name: String,
        /// What is wrong.
        source: PostgresError,
    },
    /// What a process is started from could not be built.
    #[error("{name}: {source}")]
    Build {
        /// What it is called.
        name: String,
        /// What is wrong.
        source: BuildError,
    },
    /// The system refused something else.
    #[error("{name}: {source}")]
    System {
        /// What the process is called.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl LabError {
    /// Whether the scenario is at fault, and not the environment.
    pub fn is_scenario(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => source.is_scenario(),
            Self::Build { source, .. } => source.is_scenario(),
            _ => false,
        }
    }

    /// Whether the process ended because its port was taken: worth a try with another port.
    pub fn is_address_in_use(&self) -> bool {
        match self {
            Self::Exited { output, .. } => {
                let output = output.to_lowercase();
                ["address already in use", "eaddrinuse", "address in use"]
                    .iter()
                    .any(|said| output.contains(said))
            }
            _ => false,
        }
    }
}

fn last_words(output: &str) -> String {
    if output.is_empty() {
        "; it printed nothing".into()
    } else {
        format!("; it printed last:\n{output}")
    }
}

/// A TCP port of 127.0.0.1 that is free now. Another process may take it before it is used.
///
/// # Errors
/// When the system has none to give.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
