//! A PgBouncer of the run's own, before a PostgreSQL server.
//!
//! It refuses root as PostgreSQL does, so it drops to the same user. Only a Unix
//! socket in a private directory leads to it, and whoever enters there is let in
//! (`auth_type = any`). It runs below a shell that ends it when loadgate is gone:
//! the shell's standard input is a pipe that ends with its parent.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::{Config, config::Host};

use super::{
    LabError, Process, Ready, RunDirectory, Spec,
    postgres::{Account, Site},
};

/// Debian keeps the program here, which is not in everybody's path.
const DEBIAN: &str = "/usr/sbin";

const MISSING: &str = "PgBouncer is not installed; on Debian and Ubuntu: apt-get install pgbouncer";

/// What clients call the database.
const DATABASE: &str = "loadgate";

/// Part of the name of its socket.
const PORT: u16 = 6432;

/// Starting takes some milliseconds; a loaded machine gets more.
const START_WITHIN: Duration = Duration::from_secs(30);

/// `$0` is the program. The shell keeps no other child, and ends with it.
const SCRIPT: &str = r#"
exec 3<&0
"$0" "$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill "$child"; } 2>/dev/null &
wait "$child"
"#;

/// What to start.
#[derive(Debug)]
pub struct PgBouncerSpec<'a> {
    /// What messages call it, such as `target "bouncer"`.
    pub name: &'a str,
    /// What of the machine it uses.
    pub site: &'a Site,
    /// The database that it stands before.
    pub before: &'a Config,
    /// The user's settings, by name.
    pub settings: &'a BTreeMap<String, String>,
    /// Connections that may come at once.
    pub connections: usize,
    /// Texts that must not appear in any message.
    pub secrets: &'a [String],
}

/// A PgBouncer that takes connections.
#[derive(Debug)]
pub struct PgBouncer {
    /// Its process, below a shell.
    pub process: Process,
    /// How to connect to it, as a connection string.
    pub connection: String,
    /// Where its socket and its configuration are; to be held as long as the process.
    pub directory: RunDirectory,
}

impl PgBouncer {
    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    /// Where it is not installed, and when it ends instead, with its last words.
    pub async fn start(spec: &PgBouncerSpec<'_>) -> Result<Self, LabError> {
        let system = |source| LabError::System {
            name: spec.name.into(),
            source,
        };
        let places = env::split_paths(&spec.site.path).chain([DEBIAN.into()]);
        let program = program(places).ok_or_else(|| LabError::Missing {
            name: spec.name.into(),
            what: MISSING.into(),
        })?;
        let account = Account::find(spec.site.account.as_deref()).map_err(|source| LabError::Postgres {
            name: spec.name.into(),
            source,
        })?;
        // Short, as the path of a socket is; and to be passed through by its user.
        let directory = RunDirectory::new_in(Path::new("/tmp")).map_err(system)?;
        let socket = directory.path().join("s");
        let file = directory.path().join("pgbouncer.ini");
        let prepared = || -> io::Result<()> {
            fs::create_dir(&socket)?;
            fs::set_permissions(&socket, Permissions::from_mode(0o700))?;
            fs::write(&file, ini(spec, &socket))?;
            fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            if account.is_some() {
                Account::give(account.as_ref(), &socket)?;
                Account::give(account.as_ref(), &file)?;
                fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
            }
            Ok(())
        };
        prepared().map_err(system)?;
        let user = account.map(|account| format!("--user={}", account.name));
        let words = [
            "/bin/sh".into(),
            "-c".into(),
            SCRIPT.into(),
            program.display().to_string(),
        ];
        let words = words.into_iter().chain(user).chain([file.display().to_string()]);
        let command = shell_words::join(words);
        let process = Process::start(&Spec {
            name: spec.name,
            command: &command,
            loadgate: Path::new("loadgate"),
            ready: Ready::Unix(socket.join(format!(".s.PGSQL.{PORT}"))),
            ready_within: START_WITHIN,
            secrets: spec.secrets,
        })
        .await
        .map_err(|error| error.calling_it("pgbouncer"))?;
        Ok(Self {
            process,
            connection: format!(
                "host='{}' port={PORT} user=loadgate dbname={DATABASE}",
                socket.display()
            ),
            directory,
        })
    }
}

/// The program, in the first of these directories that has it.
fn program(mut directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    directories.find_map(|directory| Some(directory.join("pgbouncer")).filter(|path| path.is_file()))
}

/// Its configuration.
fn ini(spec: &PgBouncerSpec<'_>, socket: &Path) -> String {
    let defaults = [
        ("pool_mode", "transaction".to_owned()),
        ("max_client_conn", (spec.connections + 100).to_string()),
        ("ignore_startup_parameters", "extra_float_digits,options".to_owned()),
        ("log_connections", "0".to_owned()),
        ("log_disconnections", "0".to_owned()),
    ];
    let mut settings: BTreeMap<&str, String> = defaults.into();
    let own = spec.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
    settings.extend(own);
    settings.insert("auth_type", "any".into());
    settings.insert("unix_socket_dir", socket.display().to_string());
    settings.insert("listen_port", PORT.to_string());
    let settings: String = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    format!(
        "[databases]\n{DATABASE} = {}\n\n[pgbouncer]\n{settings}",
        server(spec.before)
    )
}

/// Where it connects to, in its own words.
fn server(config: &Config) -> String {
    let host = match (config.get_hostaddrs().first(), config.get_hosts().first()) {
        (Some(address), _) => address.to_string(),
        (None, Some(Host::Tcp(host))) => host.clone(),
        (None, Some(Host::Unix(directory))) => directory.display().to_string(),
        (None, None) => "127.0.0.1".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
    let password = config.get_password().map(String::from_utf8_lossy);
    let user = config.get_user().unwrap_or("postgres");
    let words = [
        ("host", Some(host.as_str())),
        ("port", Some(port.as_str())),
        ("user", Some(user)),
        ("password", password.as_deref()),
        ("dbname", Some(config.get_dbname().unwrap_or(user))),
    ];
    let given = words.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let given = given.map(|(key, value)| format!("{key}='{}'", value.replace('\'', "''").replace(['\n', '\r'], "")));
    given.collect::<Vec<_>>().join(" ")
}

impl LabError {
    /// The same of a program that people know by a shorter name than its command line.
    fn calling_it(self, short: &str) -> Self {
        let command = short.to_owned();
        match self {
            Self::Start { name, source, .. } => Self::Start { name, command, source },
            Self::Exited {
                name, status, output, ..
            } => Self::Exited {
                name,
                command,
                status,
                output,
            },
            Self::NotReady {
                name,
                within,
                reason,
                output,
                ..
            } => Self::NotReady {
                name,
                command,
                within,
                reason,
                output,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_looked_for_in_order() {
        let [without, with] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let path = with.path().join("pgbouncer");
        fs::write(&path, "").unwrap();
        let places = || [without.path().to_owned(), with.path().to_owned()].into_iter();
        assert_eq!(program(places()), Some(path));
        assert_eq!(program(places().take(1)), None);
    }

    #[test]
    fn its_configuration_has_the_users_settings_and_quotes_what_it_is_given() {
        let before: Config = "host=/var/run user=app password='it\\'s' dbname='a b'".parse().unwrap();
        let settings = [("pool_mode", "session"), ("default_pool_size", "5")];
        let spec = PgBouncerSpec {
            name: "target \"bouncer\"",
            site: &Site::default(),
            before: &before,
            settings: &settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            connections: 8,
            secrets: &[],
        };
        let ini = ini(&spec, Path::new("/tmp/x/s"));
        let database = "loadgate = host='/var/run' port='5432' user='app' password='it''s' dbname='a b'\n";
        assert!(
            ini.starts_with(&format!("[databases]\n{database}\n[pgbouncer]\n")),
            "{ini}"
        );
        for line in [
            "pool_mode = session",
            "default_pool_size = 5",
            "max_client_conn = 108",
            "auth_type = any",
        ] {
            assert!(ini.contains(&format!("\n{line}\n")), "{line}: {ini}");
        }
        assert!(!ini.contains("transaction") && !ini.contains("listen_addr"));
    }
}
