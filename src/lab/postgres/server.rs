//! A running server: started as a child, ready when it takes a connection, stopped.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command as AsyncCommand},
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{Config, NoTls};

use super::{PostgresError, account::Account, guard::Guard, programs::Programs};
use crate::lab::output;

/// Starting takes a tenth of a second; a loaded machine gets more.
const START_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// How long sessions may take to end once asked to.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The superuser of every private server.
pub(super) const USER: &str = "postgres";
/// Where a server has its files: `data` and `log`, and its socket.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    pub(super) socket: PathBuf,
    /// Of the listener on 127.0.0.1, if there is to be one; part of the socket's name anyway.
    pub(super) port: u16,
    pub(super) tcp: bool,
}

/// A server that takes connections, until it ends or is stopped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

impl Place {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// How to reach a database of its server by the socket.
    pub(super) fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.socket)
            .port(self.port)
            .user(USER)
            .dbname(database)
            .application_name("loadgate lab")
            .connect_timeout(Duration::from_secs(10));
        config
    }

    /// The same as text.
    pub(super) fn connection(&self, database: &str) -> String {
        let socket = self.socket.display();
        let port = self.port;
        format!("host='{socket}' port={port} user={USER} dbname='{database}'")
    }
}

/// Makes an empty cluster.
///
/// # Errors
/// With what `initdb` printed.
pub(super) async fn init(
    programs: &Programs,
    account: Option<&Account>,
    guard: &Guard,
    data: &Path,
) -> Result<(), PostgresError> {
    let mut command = programs.command("initdb", account);
    command.args(init_arguments(programs)).arg("-D").arg(data);
    guard.enlist(&mut command);
    let ended = AsyncCommand::from(command).output().await;
    let ended = ended.map_err(|source| PostgresError::system("initdb cannot be started", source))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(PostgresError::Start {
        what: "initdb".into(),
        output: output::last_lines(&String::from_utf8_lossy(&ended.stderr)),
    })
}

/// Those that decide what is in an empty cluster.
pub(super) fn init_arguments(programs: &Programs) -> Vec<&'static str> {
    let mut arguments = vec![
        "--no-sync",
        // Cut off, it would remove the file that tells the guard of its shared memory.
        "--no-clean",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--lc-messages=C",
    ];
    // Older ones do not know it.
    arguments.extend((programs.major() >= 14).then_some("--no-instructions"));
    arguments
}

impl Server {
    /// Starts the server with these settings and waits until it takes connections.
    ///
    /// # Errors
    /// When it ends instead, or takes too long; nothing is left running then.
    pub(super) async fn start(
        programs: &Programs,
        account: Option<&Account>,
        guard: &Guard,
        place: &Place,
        settings: &[(String, String)],
    ) -> Result<Self, PostgresError> {
        let log = place.log();
        let system = |what| move |source| PostgresError::system(what, source);
        let file = File::create(&log).map_err(system("no log for the server"))?;
        let mut command = programs.command("postgres", account);
        command.arg("-D").arg(place.data()).arg("-k").arg(&place.socket);
        command.arg("-p").arg(place.port.to_string());
        command.arg("-h").arg(if place.tcp { "127.0.0.1" } else { "" });
        for (name, value) in settings {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.stdout(Stdio::null()).stderr(file);
        guard.enlist(&mut command);
        let child = AsyncCommand::from(command).spawn();
        let child = child.map_err(system("the server cannot be started"))?;
        let mut server = Self { child, log };
        match server.until_ready(place).await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    async fn until_ready(&mut self, place: &Place) -> Result<(), PostgresError> {
        let deadline = Instant::now() + START_WITHIN;
        let config = place.config("postgres");
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err(self.failed());
            }
            if config.connect(NoTls).await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.failed());
            }
            sleep(POLL).await;
        }
    }

    fn failed(&self) -> PostgresError {
        PostgresError::Start {
            what: "the server".into(),
            output: self.last_output(),
        }
    }

    /// Waits until it ends. May be dropped and called again.
    ///
    /// # Errors
    /// When the system cannot say.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// The last lines of its log.
    pub(super) fn last_output(&self) -> String {
        output::last_lines(&output::end_of(&self.log).unwrap_or_default())
    }

    /// Ends it: sessions are cut off, what is in memory is written; after 5 s at once.
    pub(super) async fn stop(mut self) {
        for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
            let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else {
                return;
            };
            // Not reaped yet, so the number is still its own.
            let _ = kill_process(pid, signal);
            if timeout(STOP_GRACE, self.child.wait()).await.is_ok() {
                return;
            }
        }
    }
}
