//! The programs of an installed PostgreSQL server: where they are, which version.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::{PostgresError, Site, account::Account};

/// Debian keeps each version's programs below this, outside of the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The programs of one installation.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    directory: PathBuf,
    /// What `postgres --version` says.
    pub(super) version: String,
}

impl Programs {
    /// Those in the directory that the site names; else those of `pg_config`, of
    /// the newest of Debian's packages, of the path.
    ///
    /// # Errors
    /// When none are installed, or do not run.
    pub(super) fn find(site: &Site) -> Result<Self, PostgresError> {
        let directory = match &site.programs {
            Some(given) => Some(given.clone()).filter(|given| is_server(given)),
            None => candidates(&site.path).find(|directory| is_server(directory)),
        };
        let Some(directory) = directory else {
            return Err(PostgresError::Missing {
                given: site.programs.clone(),
            });
        };
        let mut command = Command::new(directory.join("postgres"));
        let version = said(command.arg("--version")).ok_or_else(|| PostgresError::Start {
            what: directory.join("postgres").display().to_string(),
            output: "  it does not say its version".into(),
        })?;
        Ok(Self { directory, version })
    }

    /// One of them as that user, nothing of our environment, readable wherever we stand.
    pub(super) fn command(&self, program: &str, account: Option<&Account>) -> Command {
        let mut command = Command::new(self.directory.join(program));
        command
            .current_dir("/")
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        Account::apply(account, &mut command);
        command
    }

    /// Major version, as in 15.
    pub(super) fn major(&self) -> u32 {
        let number = self
            .version
            .split(' ')
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        let digits = number.and_then(|number| number.split(|c: char| !c.is_ascii_digit()).next());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// Whether a library that a server can load is installed with them.
    pub(super) fn has_library(&self, name: &str) -> bool {
        let configured = said(Command::new(self.directory.join("pg_config")).arg("--pkglibdir"));
        let beside = ["../lib", "../lib/postgresql"].map(|path| self.directory.join(path));
        configured
            .map(PathBuf::from)
            .into_iter()
            .chain(beside)
            .any(|directory| {
                ["so", "dylib"]
                    .iter()
                    .any(|kind| directory.join(format!("{name}.{kind}")).is_file())
            })
    }
}

fn candidates(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    let configured = said(Command::new("pg_config").arg("--bindir")).map(PathBuf::from);
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut packaged: Vec<PathBuf> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    packaged.sort_by_key(|path| std::cmp::Reverse(version(path)));
    let in_path: Vec<PathBuf> = env::split_paths(path).collect();
    configured
        .into_iter()
        .chain(packaged.into_iter().map(|path| path.join("bin")))
        .chain(in_path)
}

fn is_server(directory: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| directory.join(program).is_file())
}

/// The line that a program prints, if it runs.
fn said(command: &mut Command) -> Option<String> {
    let Output { status, stdout, .. } = command.current_dir("/").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(stdout).ok()?.trim().to_owned();
    (status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        let major = |version: &str| {
            Programs {
                directory: PathBuf::new(),
                version: version.into(),
            }
            .major()
        };
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), 15);
        assert_eq!((major("postgres (PostgreSQL) 18beta1"), major("postgres")), (18, 0));
    }

    #[test]
    fn where_nothing_is_installed_the_package_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let site = Site {
            programs: Some(empty.path().to_owned()),
            ..Site::default()
        };
        let told = Programs::find(&site).unwrap_err().to_string();
        assert!(told.contains("apt-get install") && told.contains("PG_BINDIR"), "{told}");
    }
}
