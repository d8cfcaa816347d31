//! Where a build lies: a directory of the cache under a lock, marked when it is finished.
//!
//! ```text
//! <cache>/builds/<repository>-<commit>-<command>/
//!   tree/      the files of the commit, and what the command made of them
//!   index      of git, for the writing of the files
//!   log        what the command printed
//!   finished   written last; its time is that of the last use
//! ```
//!
//! Who builds holds the lock alone, who uses shares it: so two never build the
//! same at once, and what is in use is not dropped. A build that was cut off
//! has no mark and is made anew. This module knows nothing of git.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::{FlockOperation, flock};
use tokio::time::{Duration, Instant, sleep};

use super::{BuildError, LONGEST};
use crate::lab::RunDirectory;

/// Those used last are kept.
const MOST_BUILDS: usize = 8;
/// Between two tries of a lock that another loadgate holds.
const POLL: Duration = Duration::from_millis(100);

/// A directory for one build, locked.
#[derive(Debug)]
pub(super) struct Place {
    entry: PathBuf,
    lock: File,
    finished: bool,
    /// Where nothing is to be kept: removed with all that is in it.
    _temporary: Option<RunDirectory>,
}

impl Place {
    /// Locks the place of that key: shared with others where the build is finished, else alone.
    ///
    /// # Errors
    /// When the system refuses, or another loadgate holds it for too long.
    pub(super) async fn take(cache: Option<&Path>, key: &str) -> Result<Self, BuildError> {
        let refused = || BuildError::system("no directory for builds");
        let temporary = cache.is_none().then(RunDirectory::new).transpose().map_err(refused())?;
        let parent = temporary.as_ref().map(|directory| directory.path().to_owned());
        let parent = parent.or_else(|| Some(cache?.join("builds"))).unwrap_or_default();
        let entry = parent.join(key);
        let deadline = Instant::now() + LONGEST;
        loop {
            if let Some((lock, finished)) = locked(&entry).map_err(refused())? {
                return Ok(Self {
                    entry,
                    lock,
                    finished,
                    _temporary: temporary,
                });
            }
            if Instant::now() >= deadline {
                let what = format!("the wait for another loadgate that builds in {}", entry.display());
                return Err(BuildError::TooLong { what });
            }
            sleep(POLL).await;
        }
    }

    /// Whether a build is here already.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.entry.join("tree")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.entry.join("index")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.entry.join("log")
    }

    /// For a process to hold as well.
    pub(super) fn lock(&self) -> &File {
        &self.lock
    }

    /// Removes what a build left that was cut off or failed.
    pub(super) fn clear(&self) -> Result<(), BuildError> {
        let cleared = fs::read_dir(&self.entry).and_then(|entries| {
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)?;
                } else {
                    fs::remove_file(path)?;
                }
            }
            fs::create_dir(self.tree())
        });
        cleared.map_err(BuildError::system("the remains of a build cannot be removed"))
    }

    /// Marks the build as finished, lets others use it, and drops those not used for longest.
    pub(super) fn finish(&mut self) -> Result<(), BuildError> {
        let marked = File::create(mark(&self.entry)).and_then(|_| Ok(flock(&self.lock, FlockOperation::LockShared)?));
        marked.map_err(BuildError::system("the build cannot be marked as finished"))?;
        self.finished = true;
        if let Some(builds) = self.entry.parent() {
            shrink(builds, MOST_BUILDS);
        }
        Ok(())
    }
}

fn mark(entry: &Path) -> PathBuf {
    entry.join("finished")
}

/// The lock of an entry, which is made where it is absent, and whether a build is in it. `None` when others hold it.
fn locked(entry: &Path) -> io::Result<Option<(File, bool)>> {
    // What a build prints and makes is nobody else's.
    DirBuilder::new().recursive(true).mode(0o700).create(entry)?;
    let lock = File::open(entry)?;
    let mark = mark(entry);
    let finished = mark.exists();
    let tried = if finished {
        lock.try_lock_shared()
    } else {
        lock.try_lock()
    };
    // Until it was locked another may have finished, or dropped, what is there.
    let same = || fs::metadata(entry).is_ok_and(|found| lock.metadata().is_ok_and(|own| own.ino() == found.ino()));
    if tried.is_err() || !same() || mark.exists() != finished {
        return Ok(None);
    }
    if finished {
        File::open(mark)?.set_modified(SystemTime::now())?;
    }
    Ok(Some((lock, finished)))
}

/// Drops all but so many, those used last; and none that is in use.
fn shrink(builds: &Path, most: usize) {
    let used = |entry: &Path| {
        // One that failed has no mark.
        let found = fs::metadata(mark(entry)).or_else(|_| fs::metadata(entry));
        found.and_then(|found| found.modified()).ok()
    };
    let entries = fs::read_dir(builds).into_iter().flatten().flatten();
    let mut entries: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| Some((used(&entry.path())?, entry.path())))
        .collect();
    entries.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    for (_, entry) in entries.into_iter().skip(most) {
        let Ok(lock) = File::open(&entry) else { continue };
        if lock.try_lock().is_ok() {
            // The mark first: cut off in between, what is left is no build.
            let _ = fs::remove_file(mark(&entry));
            let _ = fs::remove_dir_all(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_used_last_are_kept_and_those_in_use_too() {
        let builds = tempfile::tempdir().unwrap();
        let entries: Vec<PathBuf> = (0..4).map(|number| builds.path().join(number.to_string())).collect();
        for (age, entry) in entries.iter().enumerate() {
            fs::create_dir(entry).unwrap();
            let mark = File::create(mark(entry)).unwrap();
            mark.set_modified(SystemTime::now() - Duration::from_secs(60 * age as u64))
                .unwrap();
        }
        let (in_use, _) = locked(&entries[3]).unwrap().unwrap();
        File::open(mark(&entries[3]))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        let there = || -> Vec<bool> { entries.iter().map(|entry| entry.exists()).collect() };
        shrink(builds.path(), 2);
        assert_eq!(there(), [true, true, false, true]);
        drop(in_use);
        shrink(builds.path(), 2);
        assert_eq!(there(), [true, true, false, false]);
    }

    #[tokio::test]
    async fn who_builds_is_alone_and_who_uses_is_not() {
        let cache = tempfile::tempdir().unwrap();
        let mut first = Place::take(Some(cache.path()), "key").await.unwrap();
        assert!(!first.is_finished());
        let entry = cache.path().join("builds/key");
        assert!(locked(&entry).unwrap().is_none());
        first.finish().unwrap();
        assert!(locked(&entry).unwrap().is_some_and(|(_, finished)| finished));
        assert!(Place::take(Some(cache.path()), "key").await.unwrap().is_finished());
    }

    #[test]
    fn nothing_is_kept_where_no_cache_is_named() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let place = runtime.block_on(Place::take(None, "key")).unwrap();
        let entry = place.entry.clone();
        assert!(entry.exists());
        drop(place);
        assert!(!entry.exists());
    }
}
