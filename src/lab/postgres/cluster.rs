//! A private server with its fixtures: made or taken from the cache, started, stopped, gone.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use rustix::process::Pid;

use super::{
    Databases, PostgresError, Site,
    account::Account,
    cache::{Cache, Key},
    guard::Guard,
    programs::Programs,
    server::{Place, Server, USER, init, init_arguments},
    settings::{LOADING, Settings, owned},
};
use crate::{
    lab::{RunDirectory, free_port},
    workload::{Durability, Fixture},
};

/// Beside a cluster in memory there must be room for its log (4 GiB, as `max_wal_size` says) and as much as a clone may grow.
const ROOM: u64 = 5 << 30;
/// A template, two clones, and one more.
const COPIES: u64 = 4;
/// Of the path of a socket, in bytes.
const LONGEST_SOCKET: usize = 107;
/// Another process may take the port between its choice and its use.
const PORT_TRIES: usize = 3;
const MEMORY: &str = "/dev/shm";

/// What kind of server is wanted.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// What of the machine it uses.
    pub site: &'a Site,
    /// How much it does for durability.
    pub durability: Durability,
    /// The user's settings, by name.
    pub settings: &'a BTreeMap<String, String>,
    /// Templates to have on it.
    pub fixtures: &'a [&'a Fixture],
    /// Whether it listens on 127.0.0.1 too, for programs that want host and port.
    pub tcp: bool,
    /// Sessions of the load.
    pub connections: usize,
}

/// A running private server. Dropped without [`Cluster::stop`] it is ended all the same, its data removed.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    databases: Databases,
    password: String,
    place: Place,
    guard: Guard,
    kind: ServerKind,
    /// Those of its command line.
    settings: Vec<(String, String)>,
    _directory: RunDirectory,
    _socket: Option<RunDirectory>,
}

/// What decides which settings a server can have.
#[derive(Debug, Clone)]
struct ServerKind {
    programs: Programs,
    account: Option<Account>,
    durability: Durability,
    connections: usize,
}

impl ServerKind {
    fn settings(&self, wanted: &BTreeMap<String, String>) -> Result<Settings, PostgresError> {
        let account = self.account.as_ref();
        Settings::new(&self.programs, account, self.durability, self.connections, wanted)
    }
}

/// Everything that is decided before anything is started.
struct Plan<'a> {
    spec: &'a Spec<'a>,
    kind: ServerKind,
    cache: Cache,
    empty: Key,
    loaded: Key,
    settings: Settings,
}

impl Cluster {
    /// Starts a server that has the fixtures: from the cache where that knows them.
    ///
    /// # Errors
    /// Where no server is installed or can be started, and where a fixture fails. Nothing is left then.
    pub async fn start(spec: &Spec<'_>) -> Result<Self, PostgresError> {
        let plan = Plan::new(spec)?;
        match plan.start().await {
            Err(PostgresError::Start { .. }) => {
                // What was cut off while it was written, by a machine that lost its power: made anew.
                plan.cache.discard(&plan.loaded);
                plan.cache.discard(&plan.empty);
                plan.start().await
            }
            started => started,
        }
    }

    /// What a database is to be set to for these wishes; `None` where they take a server of their own.
    ///
    /// # Errors
    /// A setting that this server does not have, or that nobody can set.
    pub fn database_settings(
        &self,
        wanted: &BTreeMap<String, String>,
    ) -> Result<Option<Vec<(String, String)>>, PostgresError> {
        let settings = self.kind.settings(wanted)?;
        Ok((settings.server == self.settings).then_some(settings.database))
    }

    /// Its databases.
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// How to connect to a database of it by its socket, as a connection string.
    pub fn connection(&self, database: &str) -> String {
        self.place.connection(database)
    }

    /// How other programs connect to it: by host and port where it listens there, else by its socket. Holds the password.
    pub fn url(&self, database: &str) -> String {
        if self.place.tcp {
            return format!(
                "postgres://{USER}:{}@127.0.0.1:{}/{database}",
                self.password, self.place.port
            );
        }
        let socket: String = self.place.socket.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@/{database}?host={socket}")
    }

    /// The group of its processes.
    pub fn group(&self) -> Pid {
        self.guard.group()
    }

    /// What must not be shown.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Waits until the server ends by itself. May be dropped and called again.
    ///
    /// # Errors
    /// When the system cannot say.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.server.wait().await
    }

    /// The last lines of the server's log.
    pub fn last_output(&self) -> String {
        self.server.last_output()
    }

    /// Stops the server and removes its data.
    pub async fn stop(self) {
        self.server.stop().await;
        self.guard.dismiss();
    }
}

impl<'a> Plan<'a> {
    fn new(spec: &'a Spec<'a>) -> Result<Self, PostgresError> {
        let kind = ServerKind {
            programs: Programs::find(spec.site)?,
            account: Account::find(spec.site.account.as_deref())?,
            durability: spec.durability,
            connections: spec.connections,
        };
        let settings = kind.settings(spec.settings)?;
        let arguments = init_arguments(&kind.programs).join(" ");
        let empty = Key::new(&["1", &kind.programs.version, &arguments]);
        let fixtures: Vec<String> = spec
            .fixtures
            .iter()
            .map(|fixture| format!("{} {}", fixture.name, fixture.digest()))
            .collect();
        let loading: Vec<String> = LOADING.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let loaded = Key::new(&[empty.text(), &loading.join(" "), &fixtures.join("\n")]);
        Ok(Self {
            spec,
            kind,
            cache: Cache::new(spec.site.cache.as_deref()),
            empty,
            loaded,
            settings,
        })
    }

    async fn start(&self) -> Result<Cluster, PostgresError> {
        let directory = self.directory()?;
        let socket = self.socket(directory.path())?;
        let place = Place {
            directory: directory.path().to_owned(),
            socket: socket.as_ref().map_or(directory.path(), RunDirectory::path).join("s"),
            port: 5432,
            tcp: self.spec.tcp,
        };
        self.private_directory(&place.socket)?;
        let guard = Guard::set(&directory)?;
        self.prepare(&guard, &place).await?;
        let (server, place) = self.serve(&guard, place).await?;
        let password = ulid::Ulid::new().to_string();
        let databases = Databases::private(place.config("postgres"));
        if place.tcp {
            let alter = format!("ALTER ROLE {USER} PASSWORD '{password}'");
            databases.execute(&alter).await?;
        }
        // The view of what is counted; without its library there is none.
        let _ = databases
            .execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            .await;
        Ok(Cluster {
            server,
            databases,
            password,
            place,
            guard,
            kind: self.kind.clone(),
            settings: self.settings.server.clone(),
            _directory: directory,
            _socket: socket,
        })
    }

    /// Puts the data in place: with the fixtures, from the cache or made.
    async fn prepare(&self, guard: &Guard, place: &Place) -> Result<(), PostgresError> {
        let (account, data) = (self.kind.account.as_ref(), place.data());
        let fixtures = self.spec.fixtures;
        if !fixtures.is_empty() && self.cache.copy_out(&self.loaded, &data, account) {
            return self.synced(&data);
        }
        if !self.cache.copy_out(&self.empty, &data, account) {
            self.private_directory(&data)?;
            init(&self.kind.programs, account, guard, &data).await?;
            self.cache.publish(&self.empty, &data);
        }
        if !fixtures.is_empty() {
            self.load(guard, place).await?;
            self.cache.publish(&self.loaded, &data);
        }
        self.synced(&data)
    }

    /// Loads the fixtures with a server of their own, and shuts that down.
    async fn load(&self, guard: &Guard, place: &Place) -> Result<(), PostgresError> {
        let quiet = Place {
            tcp: false,
            ..place.clone()
        };
        let mut settings = self.settings.server.clone();
        settings.extend(owned(LOADING));
        let server = Server::start(
            &self.kind.programs,
            self.kind.account.as_ref(),
            guard,
            &quiet,
            &settings,
        )
        .await?;
        let databases = Databases::private(quiet.config("postgres"));
        let mut loaded = Ok(());
        for fixture in self.spec.fixtures {
            if loaded.is_ok() {
                loaded = databases.load(fixture).await;
            }
        }
        server.stop().await;
        loaded
    }

    /// What a copy left in memory would be written to the disk while it is measured.
    fn synced(&self, data: &Path) -> Result<(), PostgresError> {
        if self.spec.durability == Durability::Ci {
            return Ok(());
        }
        let synced = fs::File::open(data).and_then(|open| Ok(rustix::fs::syncfs(open)?));
        synced.map_err(|source| PostgresError::system("the data cannot be written to the disk", source))
    }

    async fn serve(&self, guard: &Guard, mut place: Place) -> Result<(Server, Place), PostgresError> {
        let mut tries = 0;
        loop {
            if place.tcp {
                place.port = free_port().map_err(|source| PostgresError::system("no free port", source))?;
            }
            let started = Server::start(
                &self.kind.programs,
                self.kind.account.as_ref(),
                guard,
                &place,
                &self.settings.server,
            );
            tries += 1;
            match started.await {
                Ok(server) => return Ok((server, place)),
                Err(PostgresError::Start { output, .. })
                    if output.contains("Address already in use") && tries < PORT_TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A directory of the server's own user, closed to others.
    fn private_directory(&self, path: &Path) -> Result<(), PostgresError> {
        fs::create_dir(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
            .and_then(|()| Account::give(self.kind.account.as_ref(), path))
            .map_err(|source| PostgresError::system("a directory of the server cannot be made", source))
    }

    /// Where data and log are: in memory for `ci` where they fit, on a disk for `durable`.
    fn directory(&self) -> Result<RunDirectory, PostgresError> {
        let temporary = [std::env::temp_dir(), "/var/tmp".into(), "/tmp".into()];
        let mut reasons = Vec::new();
        let mut candidates: Vec<PathBuf> = Vec::new();
        if self.spec.durability == Durability::Ci && self.fits_into_memory() {
            candidates.push(MEMORY.into());
        }
        // A disk first where a disk is meant; without one the next best.
        let (disk, memory): (Vec<_>, Vec<_>) = temporary.into_iter().partition(|path| !is_memory(path));
        candidates.extend(disk.into_iter().chain(memory));
        for parent in candidates {
            if !Account::reaches(self.kind.account.as_ref(), &parent) {
                reasons.push(format!("{} is closed to the server's user", parent.display()));
                continue;
            }
            match self.directory_in(&parent) {
                Ok(directory) => return Ok(directory),
                Err(error) => reasons.push(format!("{}: {error}", parent.display())),
            }
        }
        Err(PostgresError::Directory {
            reason: reasons.join("; "),
        })
    }

    fn directory_in(&self, parent: &Path) -> io::Result<RunDirectory> {
        let directory = RunDirectory::new_in(parent)?;
        if self.kind.account.is_some() {
            // To be passed through by the server's user, not to be read.
            fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
        }
        Ok(directory)
    }

    /// The path of a socket has little room: a directory of its own where the data's is too long.
    fn socket(&self, directory: &Path) -> Result<Option<RunDirectory>, PostgresError> {
        let longest = directory.join("s/.s.PGSQL.65535");
        if longest.as_os_str().len() <= LONGEST_SOCKET {
            return Ok(None);
        }
        let made = self.directory_in(Path::new("/tmp")).map(Some);
        made.map_err(|source| PostgresError::system("no directory for the server's socket", source))
    }

    fn fits_into_memory(&self) -> bool {
        let known = self.cache.size(&self.loaded).unwrap_or(0);
        let free = rustix::fs::statvfs(MEMORY).map_or(0, |found| found.f_bavail * found.f_frsize);
        free >= ROOM + COPIES * known
    }
}

/// Whether files there are in memory.
fn is_memory(path: &Path) -> bool {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == TMPFS)
}
