//! Runs as files: read with bounds, written beside and renamed.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::{FORMAT, Run};

/// The name of the file inside a run's directory.
pub const FILE_NAME: &str = "run.json";

/// A larger run file is refused: 512 MiB.
const LARGEST_RUN: u64 = 512 << 20;

/// Why a run could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than allowed.
    #[error("{path}: larger than {limit} bytes, so it is not read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file is no run, or not a whole one.
    #[error("{path}: not a whole run file: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is of another major version.
    #[error("{path}: has the format \"{found}\"; this program reads \"{FORMAT}\"")]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it claims.
        found: String,
    },
}

/// Reads a run from its file, or from the directory that holds it.
///
/// # Errors
/// When it cannot be read, is too large, is cut short, or has another format.
pub fn load(path: &Path) -> Result<Run, StoreError> {
    let path = if path.is_dir() {
        path.join(FILE_NAME)
    } else {
        path.to_owned()
    };
    let bytes = read_bounded(&path, LARGEST_RUN)?;
    let malformed = |error: serde_json::Error| StoreError::Malformed {
        path: path.clone(),
        reason: error.to_string(),
    };

    #[derive(serde::Deserialize)]
    struct Head {
        format: String,
    }
    let head: Head = serde_json::from_slice(&bytes).map_err(malformed)?;
    if head.format != FORMAT {
        return Err(StoreError::Format {
            path,
            found: head.format,
        });
    }
    serde_json::from_slice(&bytes).map_err(malformed)
}

/// Writes a run to a file, whole or not at all.
///
/// # Errors
/// When the file system refuses.
pub fn save(run: &Run, path: &Path) -> Result<(), StoreError> {
    let json = serde_json::to_vec(run).map_err(|error| StoreError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    write_atomically(path, &json)
}

/// Reads a whole file that may not be larger than `limit` bytes.
///
/// # Errors
/// When it is larger or cannot be read.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let io = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Writes a file beside its place and renames it: readers see the old one or the new one, whole.
///
/// # Errors
/// When the directory cannot be made or the file not written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let io = |source| StoreError::Io {
        path: path.to_owned(),
        source,
    };
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(io)?;
    let mut file = tempfile::Builder::new()
        .prefix(".loadgate-")
        .tempfile_in(directory)
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    let written = file.persist(path).map_err(|error| io(error.error))?;
    make_readable(&written).map_err(io)
}

/// Temporary files are private; a report is for everybody the directory is for.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> io::Result<()> {
    Ok(())
}
