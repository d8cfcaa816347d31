//! A private directory per run, removed at its end; and the removal of those left behind.

use std::{
    fs::{self, DirEntry, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::process::{Pid, getuid, test_kill_process};
use tempfile::TempDir;

use super::postgres;

/// Where they may lie beside the system's temporary files: in memory, on a disk, under a short path.
const PLACES: &[&str] = &["/dev/shm", "/var/tmp", "/tmp"];

/// A directory that only this user can enter, removed with all it holds when dropped.
///
/// It is named `loadgate-<pid>-…` and lies among the system's temporary files.
/// The kernel holds a lock on it for as long as the process lives.
#[derive(Debug)]
pub struct RunDirectory {
    directory: TempDir,
    lock: File,
}

impl RunDirectory {
    /// Makes one.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// Makes one in that directory.
    pub(super) fn new_in(parent: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("loadgate-{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::open(directory.path())?;
        lock.lock()?;
        Ok(Self { directory, lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The lock, for another process to hold as well: until it ends the directory is not swept.
    pub(super) fn lock(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Removes the directories of this user whose process is dead, with the
    /// servers in them, and returns how many.
    ///
    /// What cannot be read or removed is left: sweeping is a courtesy.
    pub fn sweep() -> usize {
        let mut parents: Vec<PathBuf> = PLACES.iter().map(PathBuf::from).collect();
        parents.push(std::env::temp_dir());
        parents.sort();
        parents.dedup();
        parents.iter().map(|parent| Self::sweep_in(parent)).sum()
    }

    /// The same in one directory.
    pub(super) fn sweep_in(parent: &Path) -> usize {
        let Ok(entries) = fs::read_dir(parent) else {
            return 0;
        };
        entries
            .flatten()
            .filter(is_stale)
            .filter(|entry| {
                postgres::abandoned::end(&entry.path());
                fs::remove_dir_all(entry.path()).is_ok()
            })
            .count()
    }
}

fn is_stale(entry: &DirEntry) -> bool {
    let owner = entry.file_name().to_str().and_then(owner_in);
    // `metadata` of an entry does not follow links: a link planted under our name is no directory.
    let ours = entry
        .metadata()
        .is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw());
    // The number may mean another process in another container that shares the directory; the lock does not.
    let unlocked = || File::open(entry.path()).is_ok_and(|directory| directory.try_lock().is_ok());
    ours && owner.is_some_and(is_dead) && unlocked()
}

fn owner_in(name: &str) -> Option<Pid> {
    let (pid, _) = name.strip_prefix("loadgate-")?.split_once('-')?;
    Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?)
}

fn is_dead(pid: Pid) -> bool {
    test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pid of a process that has ended.
    fn dead_pid() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn a_run_directory_is_private_and_removed_on_drop() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDirectory::new_in(parent.path()).unwrap();
        let path = run.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::write(path.join("file"), "content").unwrap();
        drop(run);
        assert!(!path.exists());
    }

    #[test]
    fn only_what_the_dead_left_behind_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let living = RunDirectory::new_in(parent.path()).unwrap();
        let make = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir_all(path.join("within")).unwrap();
            path
        };
        let dead = dead_pid();
        let stale = make(&format!("loadgate-{dead}-abc"));
        let locked = make(&format!("loadgate-{dead}-elsewhere"));
        let lock = File::open(&locked).unwrap();
        lock.lock().unwrap();
        let others = [
            make("loadgate-x-abc"),
            make("loadgate-0-abc"),
            make(&format!("other-{dead}-abc")),
        ];
        let link = parent.path().join(format!("loadgate-{dead}-link"));
        std::os::unix::fs::symlink(&others[0], &link).unwrap();

        assert_eq!(RunDirectory::sweep_in(parent.path()), 1);
        assert!(!stale.exists());
        assert!(living.path().exists() && locked.exists() && link.exists() && others.iter().all(|path| path.exists()));
    }
}
