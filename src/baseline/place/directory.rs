//! Files in a directory: read with bounds, written beside and renamed, changed under a lock.
//!
//! The lock is the system's (`flock`), on the directory of the file: it ends with
//! the process that holds it, so nothing of it can be left behind.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{BaselineError, Change};
use crate::run::{self, StoreError};

/// The content of a file; `None` where there is none.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, BaselineError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if !metadata.is_file() => {
            return Err(BaselineError::Malformed {
                path: path.to_owned(),
                reason: "it is no file".into(),
            });
        }
        _ => {}
    }
    run::read_bounded(path, limit)
        .map(Some)
        .map_err(BaselineError::Unreadable)
}

/// Changes a file while nobody else changes one beside it.
pub(super) fn update(path: &Path, limit: u64, change: Change<'_>) -> Result<(), BaselineError> {
    let lock = lock(path).map_err(|source| unwritable(path, source))?;
    if let Some(bytes) = change(read(path, limit)?)? {
        run::write_atomically(path, &bytes).map_err(BaselineError::Unwritable)?;
    }
    drop(lock);
    Ok(())
}

/// Appends a line to a log.
pub(super) fn note(path: &Path, line: &str) -> Result<(), BaselineError> {
    let appended = lock(path).and_then(|_lock| {
        let mut log = File::options().create(true).append(true).open(path)?;
        log.write_all(line.as_bytes())
    });
    appended.map_err(|source| BaselineError::Log {
        path: path.to_owned(),
        source,
    })
}

/// The files in the directories of a directory.
pub(super) fn list(directory: &Path) -> Result<Vec<String>, BaselineError> {
    let mut paths = Vec::new();
    for below in entries(directory)?.into_iter().filter(|path| path.is_dir()) {
        let files = entries(&below)?;
        let relative = files
            .iter()
            .filter_map(|path| path.strip_prefix(directory).ok()?.to_str());
        paths.extend(relative.map(str::to_owned));
    }
    Ok(paths)
}

/// The directory of a file, locked until it is dropped.
fn lock(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let lock = File::open(directory)?;
    lock.lock()?;
    Ok(lock)
}

fn unwritable(path: &Path, source: io::Error) -> BaselineError {
    BaselineError::Unwritable(StoreError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The paths in a directory; none when there is no such directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, BaselineError> {
    let failed = |source| BaselineError::Directory {
        path: directory.to_owned(),
        source,
    };
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
        Ok(found) => found
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
    }
}
