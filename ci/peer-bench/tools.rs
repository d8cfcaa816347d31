//! The tools: where they are, which version, and their command lines.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Failed,
    measure::{Contender, without_postgres_variables},
    output,
    servers::{Nginx, Postgres},
};

/// Connections of the HTTP cases.
pub(crate) const HTTP_CONNECTIONS: u32 = 32;

/// Connections of the SQL cases.
pub(crate) const SQL_CONNECTIONS: u32 = 16;

/// pgbench's table at scale 1, and sysbench's here.
pub(crate) const ROWS: u32 = 100_000;

/// The page, five times in one flow.
const FLOW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/peer-bench/flow.toml");
/// One page, as a scenario.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/peer-bench/page.toml");

/// A program that may be on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// How it gets there.
    pub(crate) from: &'static str,
    /// What makes it tell its version.
    version: &'static [&'static str],
}

pub(crate) const NGINX: Tool = Tool::debian("nginx", "Debian: nginx-light", &["-v"]);
pub(crate) const WRK: Tool = Tool::debian("wrk", "Debian: wrk", &["-v"]);
pub(crate) const AB: Tool = Tool::debian("ab", "Debian: apache2-utils", &["-V"]);
pub(crate) const HEY: Tool = Tool::debian("hey", "Debian: hey", &[]);
pub(crate) const OHA: Tool = Tool::debian("oha", "cargo install oha; or OHA=PATH", &["--version"]);
pub(crate) const PGBENCH: Tool = Tool::debian("pgbench", "Debian: postgresql", &["--version"]);
pub(crate) const SYSBENCH: Tool = Tool::debian("sysbench", "Debian: sysbench", &["--version"]);

impl Tool {
    const fn debian(name: &'static str, from: &'static str, version: &'static [&'static str]) -> Self {
        Self { name, from, version }
    }

    /// `$OHA` and its like, else in `$PATH`, else where Debian keeps servers.
    pub(crate) fn find(self) -> Option<PathBuf> {
        let given = env::var_os(self.name.to_uppercase()).map(PathBuf::from);
        let path = env::var_os("PATH").unwrap_or_default();
        let in_path = env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
            .map(|directory| directory.join(self.name));
        given.into_iter().chain(in_path).find(|path| path.is_file())
    }

    /// Its version in its own words; hey knows none, but its package does.
    pub(crate) fn version(self, path: &Path) -> String {
        let told = if self.version.is_empty() {
            first_line(Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version} (Debian)", self.name]))
        } else {
            first_line(Command::new(path).args(self.version))
        };
        told.unwrap_or_else(|| format!("{}, version unknown", self.name))
    }
}

/// The first line that a command prints, wherever, without the words around a version.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    let line = line.split(" Copyright").next()?.trim_end_matches(" <$Revision$>");
    let line = line
        .trim_start_matches("nginx version: ")
        .trim_start_matches("This is ")
        .trim()
        .to_owned();
    (!line.is_empty()).then_some(line)
}

/// Runs a program that has to succeed.
pub(crate) fn call(program: &Path, arguments: &[String]) -> Result<(), Failed> {
    let mut command = Command::new(program);
    without_postgres_variables(&mut command);
    let output = command.args(arguments).current_dir("/").stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&said).trim()).into())
}

/// The program under test.
#[derive(Debug, Clone)]
pub(crate) struct Loadgate(pub(crate) PathBuf);

impl Loadgate {
    /// The one-liner for a page, closed.
    pub(crate) fn http(&self, name: &str, url: &str) -> Contender {
        self.contender(name, vec!["http".into(), url.into()], HTTP_CONNECTIONS)
    }

    /// The same at a rate.
    pub(crate) fn http_at(&self, name: &str, url: &str, rate: u64) -> Contender {
        let verb = vec!["http".into(), url.into(), "-r".into(), rate.to_string()];
        Contender {
            asked: Some(rate),
            ..self.contender(name, verb, HTTP_CONNECTIONS)
        }
    }

    /// The flow of five pages.
    pub(crate) fn flow(&self, nginx: &Nginx) -> Contender {
        self.scenario("flow of five", FLOW, nginx, None)
    }

    /// The closed model, held to a rate.
    pub(crate) fn throttled(&self, nginx: &Nginx, rate: u64) -> Contender {
        let throttle = format!("load.throttle={rate}/s");
        self.scenario("closed at half", PAGE, nginx, Some(throttle))
    }

    fn scenario(&self, name: &str, file: &'static str, nginx: &Nginx, setting: Option<String>) -> Contender {
        let program = self.0.display().to_string();
        let address = format!("target.page.http={}", nginx.origin());
        Contender {
            name: name.into(),
            line: Box::new(move |seconds| {
                let duration = format!("load.duration={seconds}s");
                let mut line = strings(&[&program, "run", file]);
                for setting in [&address, &duration].into_iter().chain(&setting) {
                    line.extend(strings(&["--set", setting]));
                }
                line.extend(strings(&["--format", "json"]));
                line
            }),
            read: output::loadgate,
            asked: None,
        }
    }

    /// The one-liner for a statement with an id.
    pub(crate) fn sql(&self, postgres: &Postgres, statement: &str) -> Contender {
        let ids = format!("uniform:1..{ROWS}");
        let verb = strings(&["sql", &postgres.url(), statement, "-p", &ids]);
        self.contender("loadgate", verb, SQL_CONNECTIONS)
    }

    fn contender(&self, name: &str, verb: Vec<String>, connections: u32) -> Contender {
        let program = self.0.display().to_string();
        Contender {
            name: name.into(),
            line: Box::new(move |seconds| {
                let mut line = vec![program.clone()];
                line.extend(verb.iter().cloned());
                let (connections, duration) = (connections.to_string(), format!("{seconds}s"));
                line.extend(strings(&["-c", &connections, "-d", &duration, "--format", "json"]));
                line
            }),
            read: output::loadgate,
            asked: None,
        }
    }
}

/// A peer of the HTTP case.
pub(crate) fn http_peer(tool: Tool, path: &Path, url: &str) -> Contender {
    let (program, url) = (path.display().to_string(), url.to_owned());
    let connections = HTTP_CONNECTIONS.to_string();
    let line = move |seconds: u32| {
        let time = format!("{seconds}s");
        match tool.name {
            "wrk" => strings(&[&program, "-t1", "-c", &connections, "-d", &time, &url]),
            "ab" => {
                // -t sets -n to 50,000, so -n comes after it: more than a second's requests can be.
                let (seconds, most) = (seconds.to_string(), (u64::from(seconds) * 1_000_000).to_string());
                strings(&[
                    &program,
                    "-q",
                    "-k",
                    "-c",
                    &connections,
                    "-t",
                    &seconds,
                    "-n",
                    &most,
                    &url,
                ])
            }
            "hey" => strings(&[&program, "-c", &connections, "-z", &time, &url]),
            _ => strings(&[&program, "--no-tui", "-c", &connections, "-z", &time, &url]),
        }
    };
    let read = match tool.name {
        "wrk" => output::wrk,
        "ab" => output::ab,
        "hey" => output::hey,
        _ => output::oha,
    };
    Contender {
        name: tool.name.into(),
        line: Box::new(line),
        read,
        asked: None,
    }
}

/// pgbench on its own table.
pub(crate) fn pgbench(path: &Path, postgres: &Postgres) -> Contender {
    let (program, place) = (path.display().to_string(), postgres.place());
    let connections = SQL_CONNECTIONS.to_string();
    let line = move |seconds: u32| {
        let mut line = strings(&[
            &program,
            "-n",
            "-S",
            "-M",
            "prepared",
            "-c",
            &connections,
            "-j",
            "1",
            "-T",
        ]);
        line.push(seconds.to_string());
        line.extend(place.iter().cloned());
        line.push("postgres".into());
        line
    };
    Contender {
        name: "pgbench".into(),
        line: Box::new(line),
        read: output::pgbench,
        asked: None,
    }
}

/// sysbench on its own table.
pub(crate) fn sysbench(path: &Path, postgres: &Postgres) -> Contender {
    let common = sysbench_line(path, postgres);
    let threads = format!("--threads={SQL_CONNECTIONS}");
    let line = move |seconds: u32| {
        let mut line = common.clone();
        let time = format!("--time={seconds}");
        line.extend(strings(&[&threads, &time, "--events=0", "--rand-type=uniform", "run"]));
        line
    };
    Contender {
        name: "sysbench".into(),
        line: Box::new(line),
        read: output::sysbench,
        asked: None,
    }
}

/// Fills the tables of pgbench, and of sysbench where it is there.
pub(crate) fn fill(postgres: &Postgres, pgbench: Option<&Path>, sysbench: Option<&Path>) -> Result<(), Failed> {
    if let Some(path) = pgbench {
        let mut arguments = strings(&["-i", "-q", "-s", "1"]);
        arguments.extend(postgres.place());
        arguments.push("postgres".into());
        call(path, &arguments)?;
    }
    if let Some(path) = sysbench {
        let mut arguments = sysbench_line(path, postgres).split_off(1);
        arguments.push("prepare".into());
        call(path, &arguments)?;
    }
    postgres.vacuum()
}

fn sysbench_line(path: &Path, postgres: &Postgres) -> Vec<String> {
    strings(&[
        &path.display().to_string(),
        "oltp_point_select",
        "--db-driver=pgsql",
        "--pgsql-host=127.0.0.1",
        &format!("--pgsql-port={}", postgres.port),
        "--pgsql-user=postgres",
        "--pgsql-db=postgres",
        "--tables=1",
        &format!("--table-size={ROWS}"),
    ])
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
