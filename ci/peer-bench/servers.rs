//! The systems under test: an nginx with one worker and a PostgreSQL, each in a
//! private directory, on a free port of the loopback, pinned to one core, gone
//! with everything when dropped or when this program dies.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::{Failed, measure::without_postgres_variables, tools};

/// The core of the servers.
const SERVER_CORE: &str = "1";

/// Body of the static page in bytes.
pub(crate) const PAGE_BYTES: usize = 600;

/// A loaded machine gets this much.
const START_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A server that is stopped when dropped.
struct Server {
    child: Child,
    stop_by: Signal,
}

impl Server {
    /// Starts it on its core, waits for its port. `as_user`: user and group ids.
    fn start(
        program: &Path,
        arguments: &[String],
        as_user: Option<(u32, u32)>,
        (stop_by, name): (Signal, &str),
        port: u16,
        log: &Path,
    ) -> Result<Self, Failed> {
        let mut command = Command::new("taskset");
        // With the death signal no server outlives this program, however that ends.
        command.args(["-c", SERVER_CORE, "setpriv", "--pdeathsig", name]);
        if let Some((user, group)) = as_user {
            command.args([
                &format!("--reuid={user}"),
                &format!("--regid={group}"),
                "--clear-groups",
            ]);
        }
        command.arg("--").arg(program).args(arguments);
        without_postgres_variables(&mut command);
        let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()?;
        let mut server = Self { child, stop_by };
        server.wait_for(port).map_err(|reason| {
            let said = fs::read_to_string(log).unwrap_or_default();
            format!("{}: {reason}:\n{said}", program.display())
        })?;
        Ok(server)
    }

    fn wait_for(&mut self, port: u16) -> Result<(), Failed> {
        let give_up = Instant::now() + START_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("it ended with {status}").into());
            }
            if Instant::now() > give_up {
                return Err(format!("it did not listen within {START_WITHIN:?}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = Pid::from_child(&self.child);
        // One that has ended meanwhile is what was wanted.
        let _ = kill_process(id, self.stop_by);
        let give_up = Instant::now() + STOP_WITHIN;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > give_up {
                let _ = kill_process(id, Signal::QUIT);
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// An nginx that serves one page.
pub(crate) struct Nginx {
    // Before its directory: fields are dropped in order.
    _server: Server,
    _directory: TempDir,
    /// The address of the page.
    pub(crate) url: String,
}

impl Nginx {
    pub(crate) fn start(program: &Path) -> Result<Self, Failed> {
        let directory = TempDir::with_prefix("peers-nginx-")?;
        let place = directory.path();
        // As root, nginx gives its worker another user, who has to read the page.
        fs::set_permissions(place, fs::Permissions::from_mode(0o755))?;
        fs::write(place.join("page.html"), page())?;
        let port = free_port()?;
        let configuration = place.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(place, port))?;
        let log = place.join("log");
        let arguments = [
            "-p".into(),
            place.display().to_string(),
            "-e".into(),
            log.display().to_string(),
            "-c".into(),
            configuration.display().to_string(),
        ];
        let server = Server::start(program, &arguments, None, (Signal::TERM, "TERM"), port, &log)?;
        Ok(Self {
            _server: server,
            _directory: directory,
            url: format!("http://127.0.0.1:{port}/page.html"),
        })
    }

    /// The address without the path.
    pub(crate) fn origin(&self) -> &str {
        self.url.trim_end_matches("/page.html")
    }
}

fn page() -> String {
    let text = "<!doctype html><title>A small page</title><p>It is always the same.</p>\n";
    text.chars().cycle().take(PAGE_BYTES).collect()
}

fn nginx_configuration(place: &Path, port: u16) -> String {
    let place = place.display();
    format!(
        "daemon off;
worker_processes 1;
pid {place}/pid;
error_log {place}/log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type text/html;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  open_file_cache max=16;
  client_body_temp_path {place}/t1;
  proxy_temp_path {place}/t2;
  fastcgi_temp_path {place}/t3;
  uwsgi_temp_path {place}/t4;
  scgi_temp_path {place}/t5;
  server {{
    listen 127.0.0.1:{port};
    root {place};
  }}
}}
"
    )
}

/// A PostgreSQL with nothing in it yet.
pub(crate) struct Postgres {
    _server: Server,
    _directory: TempDir,
    programs: PathBuf,
    pub(crate) port: u16,
}

impl Postgres {
    /// `programs`: the directory of initdb and postgres.
    pub(crate) fn start(programs: PathBuf) -> Result<Self, Failed> {
        // Short: the path of a socket has room for 107 bytes.
        let directory = TempDir::with_prefix("peers-pg-")?;
        let place = directory.path();
        // PostgreSQL refuses to run as root.
        let owner = if geteuid().is_root() {
            Some(unprivileged()?)
        } else {
            None
        };
        if let Some((user, group)) = owner {
            chown(place, Some(user), Some(group))?;
        }
        let data = place.join("data");
        init(&programs, &data, owner)?;
        let port = free_port()?;
        let mut arguments: Vec<String> = ["-D", &data.display().to_string(), "-k", &place.display().to_string()]
            .map(str::to_owned)
            .into();
        arguments.extend(["-p".into(), port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "shared_buffers=256MB",
            "max_connections=100",
            "fsync=off",
            "autovacuum=off",
            "checkpoint_timeout=1d",
            "max_wal_size=4GB",
        ] {
            arguments.extend(["-c".into(), setting.into()]);
        }
        let postgres = programs.join("postgres");
        let log = place.join("log");
        let server = Server::start(&postgres, &arguments, owner, (Signal::INT, "INT"), port, &log)?;
        let postgres = Self {
            _server: server,
            _directory: directory,
            programs,
            port,
        };
        postgres.wait_until_it_answers()?;
        Ok(postgres)
    }

    /// One of PostgreSQL's own programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// For loadgate.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Where libpq's tools find it.
    pub(crate) fn place(&self) -> [String; 6] {
        ["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"].map(str::to_owned)
    }

    /// Makes the hint bits, the visibility map and the statistics of what was loaded.
    pub(crate) fn vacuum(&self) -> Result<(), Failed> {
        let mut arguments = self.place().to_vec();
        arguments.extend(["--analyze", "--quiet", "-d", "postgres"].map(str::to_owned));
        tools::call(&self.program("vacuumdb"), &arguments)
    }

    /// It listens before it takes connections.
    fn wait_until_it_answers(&self) -> Result<(), Failed> {
        let give_up = Instant::now() + START_WITHIN;
        while let Err(error) = tools::call(&self.program("pg_isready"), &self.place()) {
            if Instant::now() > give_up {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn init(programs: &Path, data: &Path, owner: Option<(u32, u32)>) -> Result<(), Failed> {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(programs.join("initdb"));
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    without_postgres_variables(&mut command);
    let output = command
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
        .arg(data)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Debian makes the user `postgres` with the package; `nobody` is everywhere.
fn unprivileged() -> Result<(u32, u32), Failed> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let ids = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        Some((fields.next()??, fields.next()??))
    };
    ids("postgres")
        .or_else(|| ids("nobody"))
        .ok_or_else(|| "there is no user to run PostgreSQL as".into())
}

/// The directory of PostgreSQL's programs: `$PG_BINDIR`, else the newest that Debian has, else one of `$PATH`.
pub(crate) fn find_postgres() -> Option<PathBuf> {
    let complete = |directory: &PathBuf| {
        ["initdb", "postgres", "vacuumdb", "pg_isready"]
            .iter()
            .all(|program| directory.join(program).is_file())
    };
    if let Some(given) = env::var_os("PG_BINDIR") {
        return Some(PathBuf::from(given)).filter(complete);
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
    installed
        .into_iter()
        .map(|path| path.join("bin"))
        .chain(env::split_paths(&in_path))
        .find(complete)
}

fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_size() {
        assert_eq!(page().len(), PAGE_BYTES);
    }
}
