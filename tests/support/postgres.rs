//! A real PostgreSQL for one test: a cluster in a private directory, a server
//! on a free port of the loopback, gone with everything when it is dropped.
//!
//! Knows nothing of loadgate. Needs the server's programs, not a running
//! server; where they are missing a test says so and ends, but with `CI` set
//! it fails.

use std::{
    env, fs,
    io::Write as _,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::certificates::Identity;

/// Starting takes well under a second; a loaded machine gets more.
const START_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(10);
const WAIT_WITHIN: Duration = Duration::from_secs(60);

/// Another process may take the port between its choice and its use.
const PORT_TRIES: usize = 3;

/// A cluster with its server.
pub(crate) struct Postgres {
    programs: PathBuf,
    owner: Option<Owner>,
    directory: TempDir,
    port: u16,
    server: Option<Child>,
}

/// PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// A new, empty server; `None` where PostgreSQL is not installed, which has then been said.
    pub(crate) fn start() -> Option<Self> {
        let programs = found_programs()?;
        let owner = geteuid().is_root().then(Owner::find);
        // Short: the path of a socket has room for 107 bytes.
        let directory = TempDir::with_prefix("pg-").unwrap();
        if let Some(Owner { uid, gid }) = owner {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut postgres = Self {
            programs,
            owner,
            directory,
            port: 0,
            server: None,
        };
        postgres.init();
        for _ in 0..PORT_TRIES {
            postgres.port = free_port();
            if postgres.serve() {
                return Some(postgres);
            }
        }
        panic!("PostgreSQL does not start:\n{}", postgres.log());
    }

    /// For the scenario's `postgres` key.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket.
    pub(crate) fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Performs statements and gives all rows as text, NULL as "NULL".
    pub(crate) fn sql(&self, statements: &str) -> Vec<Vec<String>> {
        self.try_sql(statements)
            .unwrap_or_else(|error| panic!("{statements}: {error:?}"))
    }

    /// The only value of the only row, as a number.
    pub(crate) fn number(&self, query: &str) -> u64 {
        let rows = self.sql(query);
        rows[0][0].parse().unwrap_or_else(|_| panic!("{query}: {rows:?}"))
    }

    /// Waits until a question is answered by yes.
    pub(crate) fn wait_until(&self, question: &str) {
        let give_up = Instant::now() + WAIT_WITHIN;
        while self.sql(question)[0][0] != "t" {
            assert!(Instant::now() < give_up, "still not so: {question}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets in whom these lines of pg_hba.conf let in.
    pub(crate) fn admit(&self, rules: &[&str]) {
        fs::write(self.data().join("pg_hba.conf"), rules.join("\n") + "\n").unwrap();
        self.reload();
    }

    /// Offers TLS with this certificate.
    pub(crate) fn secure(&self, identity: &Identity) {
        for (name, pem) in [("server.crt", &identity.cert), ("server.key", &identity.key)] {
            let path = self.data().join(name);
            fs::write(&path, pem).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some(Owner { uid, gid }) = self.owner {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        self.sql("ALTER SYSTEM SET ssl = on");
        self.reload();
    }

    /// Returns when new connections see the settings as they are in the files.
    fn reload(&self) {
        let before = self.sql("SELECT pg_conf_load_time(), pg_reload_conf()")[0][0].clone();
        self.wait_until(&format!("SELECT pg_conf_load_time() > '{before}'"));
    }

    /// Ends the server as a crash does: connections are cut, nothing is written back.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        // SIGQUIT and not SIGKILL, which would leave its children behind.
        signal(&server, Signal::QUIT);
        server.wait().unwrap();
    }

    /// Starts the server again, on the same port.
    pub(crate) fn restart(&mut self) {
        if self.server.is_some() {
            self.kill();
        }
        assert!(self.serve(), "PostgreSQL does not start again:\n{}", self.log());
    }

    fn init(&self) {
        let output = self
            .command("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                "postgres",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(self.data())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts the server and waits until it answers; false when it ended instead.
    fn serve(&mut self) -> bool {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let port = self.port.to_string();
        let settings = [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_connections=50",
            "autovacuum=off",
        ];
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.directory.path())
            .args(["-p", &port]);
        for setting in settings {
            command.args(["-c", setting]);
        }
        let mut server = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let give_up = Instant::now() + START_WITHIN;
        loop {
            if server.try_wait().unwrap().is_some() {
                return false;
            }
            if self.try_sql("SELECT 1").is_ok() {
                self.server = Some(server);
                return true;
            }
            if Instant::now() > give_up {
                stop(server);
                panic!("PostgreSQL did not answer within {START_WITHIN:?}:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// One of PostgreSQL's programs, as a user that it accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // Root's own directory may be closed to that user.
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .env_clear()
            .env("LC_ALL", "C");
        if let Some(Owner { uid, gid }) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn try_sql(&self, statements: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
        query(&self.url(), statements)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            stop(server);
        }
    }
}

impl Owner {
    /// Debian makes the user `postgres` with the package; `nobody` is everywhere.
    fn find() -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let entry = |name: &str| {
            let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
            Some(Self {
                uid: fields.next()??,
                gid: fields.next()??,
            })
        };
        entry("postgres")
            .or_else(|| entry("nobody"))
            .expect("no user to run PostgreSQL as")
    }
}

/// Performs statements on a connection of their own and gives all rows as text, NULL as "NULL".
pub(crate) fn query(address: &str, statements: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
        tokio::spawn(connection);
        let messages = client.simple_query(statements).await?;
        Ok(messages.iter().filter_map(cells).collect())
    })
}

fn cells(message: &SimpleQueryMessage) -> Option<Vec<String>> {
    match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|at| row.get(at).unwrap_or("NULL").to_owned())
                .collect(),
        ),
        _ => None,
    }
}

/// Whether servers can be started here; where not it is said, and with `CI` set it fails.
pub(crate) fn installed() -> bool {
    found_programs().is_some()
}

fn found_programs() -> Option<PathBuf> {
    let found = find_programs();
    if found.is_none() {
        let missing = "PostgreSQL's server programs were not found: set PG_BINDIR, or run ci/test, which installs them";
        assert!(env::var_os("CI").is_none(), "{missing}");
        // Not eprintln, whose output the test harness swallows.
        let _ = writeln!(std::io::stderr(), "SKIPPED a test: {missing}");
    }
    found
}

/// `$PG_BINDIR`, else what is in `$PATH`, else the newest that Debian has installed.
fn find_programs() -> Option<PathBuf> {
    let has_both = |directory: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| directory.join(program).is_file())
    };
    if let Some(given) = env::var_os("PG_BINDIR") {
        return Some(PathBuf::from(given)).filter(has_both);
    }
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    installed.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let in_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&in_path)
        .chain(installed.into_iter().map(|path| path.join("bin")))
        .find(has_both)
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn signal(server: &Child, signal: Signal) {
    // A server that has ended meanwhile is what was wanted.
    let _ = kill_process(Pid::from_child(server), signal);
}

/// Orderly if it can be, else at once. Not a method, so that dropping cannot recurse.
fn stop(mut server: Child) {
    signal(&server, Signal::INT);
    let give_up = Instant::now() + STOP_WITHIN;
    while let Ok(None) = server.try_wait() {
        if Instant::now() > give_up {
            signal(&server, Signal::QUIT);
            let _ = server.wait();
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
