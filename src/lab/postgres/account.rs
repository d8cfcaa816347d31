//! The user that PostgreSQL runs as: it refuses root.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::Path,
    process::Command,
};

use rustix::process::geteuid;

use super::PostgresError;

/// A user of the system to drop to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lab) struct Account {
    pub(in crate::lab) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Whom to drop to: nobody unless this process is root's; else the wanted user, or `postgres`, or `nobody`.
    ///
    /// # Errors
    /// When there is no such user.
    pub(in crate::lab) fn find(wanted: Option<&str>) -> Result<Option<Self>, PostgresError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = match wanted {
            Some(name) => named(&passwd, name),
            // Debian makes the user `postgres` with the package; `nobody` is everywhere.
            None => named(&passwd, "postgres").or_else(|| named(&passwd, "nobody")),
        };
        found.map(Some).ok_or_else(|| PostgresError::Account {
            wanted: wanted.unwrap_or("postgres").to_owned(),
        })
    }

    /// Makes the command run as this user.
    pub(super) fn apply(account: Option<&Self>, command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        if let Some(Self { uid, gid, .. }) = account {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Gives a file or directory to this user.
    ///
    /// # Errors
    /// Those of `chown`.
    pub(in crate::lab) fn give(account: Option<&Self>, path: &Path) -> std::io::Result<()> {
        account.map_or(Ok(()), |Self { uid, gid, .. }| chown(path, Some(*uid), Some(*gid)))
    }

    /// Whether the user can reach what lies in this directory: no directory above it is closed to others.
    pub(super) fn reaches(account: Option<&Self>, directory: &Path) -> bool {
        let Ok(directory) = directory.canonicalize() else {
            return false;
        };
        account.is_none_or(|account| {
            directory.ancestors().all(|above| {
                above
                    .metadata()
                    .is_ok_and(|found| found.mode() & 0o001 != 0 || found.uid() == account.uid)
            })
        })
    }
}

fn named(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(|field| field.parse().ok());
    let (uid, gid) = (numbers.next()??, numbers.next()??);
    // PostgreSQL would refuse it as well.
    (uid != 0).then(|| Account {
        name: name.to_owned(),
        uid,
        gid,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn users_are_found_by_name_and_root_is_none() {
        let passwd = "root:x:0:0::/:/bin/sh\npost:x:7:8::/:\npostgres:x:101:104:,,,:/var:/bin/bash\nbad:x:q:1::\n";
        let postgres = named(passwd, "postgres").unwrap();
        assert_eq!(
            (postgres.name.as_str(), postgres.uid, postgres.gid),
            ("postgres", 101, 104)
        );
        assert_eq!((named(passwd, "root"), named(passwd, "bad")), (None, None));
        assert_eq!(named(passwd, "nobody"), None);
    }

    #[test]
    fn a_directory_closed_to_others_is_not_reached() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let stranger = Account {
            name: "stranger".into(),
            uid: 4_000_000,
            gid: 1,
        };
        let mut reached = Vec::new();
        for mode in [0o700, 0o711] {
            fs::set_permissions(outer.path(), fs::Permissions::from_mode(mode)).unwrap();
            reached.push(Account::reaches(Some(&stranger), &inner));
        }
        assert_eq!(reached, [false, true]);
        assert!(Account::reaches(None, &inner));
    }
}
