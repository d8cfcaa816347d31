//! Clusters kept for the next run: directories by key, published whole, copied out.
//!
//! Readers hold a shared lock on an entry while they copy it, so that it is not
//! dropped under them. Whoever publishes a key that is there already has lost
//! nothing: keys are hashes of all that decides the content.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::account::Account;
use crate::{lab::RunDirectory, run::hash};

/// The oldest are dropped beyond so many,
const MOST_ENTRIES: usize = 24;
/// or beyond 4 GiB.
const MOST_BYTES: u64 = 4 << 30;

/// A directory of entries, or none: then nothing is ever found and nothing kept.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    directory: Option<PathBuf>,
}

/// What decides the content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// The order counts.
    pub(super) fn new(parts: &[&str]) -> Self {
        // Lengths keep apart what would otherwise run together.
        let text: Vec<String> = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        Self(
            hash(text.concat().as_bytes())
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect(),
        )
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl Cache {
    /// Below that directory. What a killed run was about to publish there is swept.
    pub(super) fn new(directory: Option<&Path>) -> Self {
        let directory = directory.map(|directory| directory.join("postgres"));
        if let Some(directory) = &directory {
            RunDirectory::sweep_in(directory);
        }
        Self { directory }
    }

    /// Copies an entry to a place that must not exist, as that user's. False where there is none, or not all of it.
    pub(super) fn copy_out(&self, key: &Key, to: &Path, owner: Option<&Account>) -> bool {
        let Some(entry) = self.entry(key) else { return false };
        let Ok(lock) = File::open(&entry) else { return false };
        // Dropped between the two: the copy then fails.
        if lock.lock_shared().is_err() {
            return false;
        }
        // The time of last use decides who is dropped first.
        let _ = lock.set_modified(SystemTime::now());
        let copied = copy(&entry.join("data"), to, owner);
        if copied.is_err() {
            let _ = fs::remove_dir_all(to);
        }
        copied.is_ok()
    }

    /// Keeps a copy of a directory, unless there is one. A courtesy to later runs: what fails is not told.
    pub(super) fn publish(&self, key: &Key, from: &Path) {
        let (Some(directory), Some(entry)) = (&self.directory, self.entry(key)) else {
            return;
        };
        if entry.exists() {
            return;
        }
        let _ = self.try_publish(directory, &entry, from);
        self.shrink(MOST_ENTRIES, MOST_BYTES);
    }

    fn try_publish(&self, directory: &Path, entry: &Path, from: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let draft = RunDirectory::new_in(directory)?;
        let whole = draft.path().join("entry");
        fs::create_dir(&whole)?;
        copy(from, &whole.join("data"), None)?;
        fs::rename(&whole, entry)
    }

    /// Bytes of an entry, if there is one.
    pub(super) fn size(&self, key: &Key) -> Option<u64> {
        self.entry(key).filter(|entry| entry.exists()).map(|entry| size(&entry))
    }

    /// Drops an entry that turned out to be of no use.
    pub(super) fn discard(&self, key: &Key) {
        if let Some(entry) = self.entry(key) {
            discard(&entry);
        }
    }

    fn entry(&self, key: &Key) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(&key.0))
    }

    fn shrink(&self, most: usize, bytes: u64) {
        let entries = self.directory.iter().flat_map(fs::read_dir).flatten().flatten();
        let mut entries: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with("loadgate-"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        // The latest first: it is kept, whatever its size.
        entries.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        let mut total = 0;
        for (number, (_, path)) in entries.iter().enumerate() {
            total += size(path);
            if number > 0 && (number >= most || total > bytes) {
                discard(path);
            }
        }
    }
}

/// Removes an entry that nobody reads.
fn discard(entry: &Path) {
    let Ok(lock) = File::open(entry) else { return };
    if lock.try_lock().is_ok() {
        let _ = fs::remove_dir_all(entry);
    }
}

/// Bytes in a directory and below.
fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let found = entry.metadata().ok()?;
            Some(if found.is_dir() {
                size(&entry.path())
            } else {
                found.len()
            })
        })
        .sum()
}

/// Copies a directory of files and directories. Blocks are shared where the file system can do that.
fn copy(from: &Path, to: &Path, owner: Option<&Account>) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target, owner)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            Account::give(owner, &target)?;
        } else {
            return Err(io::Error::other("neither a file nor a directory"));
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(fs::metadata(from)?.mode() & 0o7777))?;
    Account::give(owner, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(content: &str) -> tempfile::TempDir {
        let made = tempfile::tempdir().unwrap();
        fs::create_dir_all(made.path().join("base/1")).unwrap();
        fs::write(made.path().join("base/1/1249"), content).unwrap();
        made
    }

    #[test]
    fn what_is_published_is_copied_out_whole_and_kept_as_it_was_first() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(place.path()));
        let key = Key::new(&["a", "b"]);
        assert!(!cache.copy_out(&key, &place.path().join("none"), None));
        cache.publish(&key, cluster("first").path());
        cache.publish(&key, cluster("second").path());
        let to = place.path().join("copy");
        assert!(cache.copy_out(&key, &to, None));
        assert_eq!(fs::read_to_string(to.join("base/1/1249")).unwrap(), "first");
        assert_ne!(Key::new(&["ab"]), key);
        cache.discard(&key);
        assert!(!cache.copy_out(&key, &place.path().join("gone"), None));
        // Nothing half made is left.
        assert_eq!(fs::read_dir(place.path().join("postgres")).unwrap().count(), 0);
    }

    #[test]
    fn the_oldest_are_dropped_but_not_while_they_are_read() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::new(Some(place.path()));
        let keys: Vec<Key> = (0..4).map(|number| Key::new(&[&number.to_string()])).collect();
        for (age, key) in keys.iter().enumerate() {
            cache.publish(key, cluster("content").path());
            let entry = File::open(cache.entry(key).unwrap()).unwrap();
            entry
                .set_modified(SystemTime::now() - std::time::Duration::from_secs(60 * age as u64))
                .unwrap();
        }
        let there = || -> Vec<bool> { keys.iter().map(|key| cache.entry(key).unwrap().exists()).collect() };
        let read = File::open(cache.entry(&keys[3]).unwrap()).unwrap();
        read.lock_shared().unwrap();
        cache.shrink(2, u64::MAX);
        assert_eq!(there(), [true, true, false, true]);
        drop(read);
        cache.shrink(9, 1);
        assert_eq!(there(), [true, false, false, false]);
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let cache = Cache::new(None);
        let key = Key::new(&["a"]);
        cache.publish(&key, cluster("content").path());
        assert!(!cache.copy_out(&key, Path::new("/nonexistent/x"), None));
    }
}
