//! Where baselines are kept: a directory, or an object store.
//!
//! Both know small files by their path, and to change one on the condition that
//! nobody else has changed it meanwhile. Knows nothing of what is in the files.

mod directory;
#[cfg(feature = "object-store")]
mod objects;

use std::path::{Path, PathBuf};

use super::BaselineError;

/// A place for the files of baselines.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Below a directory.
    Directory(PathBuf),
    /// Below a prefix of an object store.
    #[cfg(feature = "object-store")]
    Objects(objects::Objects),
}

/// What a file becomes, from what it is; `None` leaves it alone.
pub(super) type Change<'a> = &'a mut dyn FnMut(Option<Vec<u8>>) -> Result<Option<Vec<u8>>, BaselineError>;

impl Place {
    /// A directory, `file://…`, or the URL of an object store; the variables have its credentials.
    ///
    /// # Errors
    /// When there is no such kind of store, or this program was built without any.
    pub(super) fn at(
        location: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BaselineError> {
        let text = location.to_str().filter(|text| text.contains("://"));
        let Some(text) = text else {
            return Ok(Self::Directory(location.to_owned()));
        };
        // What is wrong with a URL is told without its credentials.
        let url = url::Url::parse(text).map_err(|error| BaselineError::Location {
            location: text.split("://").next().unwrap_or_default().to_owned() + "://…",
            reason: error.to_string(),
        })?;
        if url.scheme() == "file" {
            let directory = url.to_file_path().map_err(|()| BaselineError::Location {
                location: text.to_owned(),
                reason: "it names no file of this machine; write file:///path".into(),
            })?;
            return Ok(Self::Directory(directory));
        }
        Self::in_store(url, variables)
    }

    #[cfg(feature = "object-store")]
    fn in_store(url: url::Url, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, BaselineError> {
        objects::Objects::at(url, variables).map(Self::Objects)
    }

    #[cfg(not(feature = "object-store"))]
    fn in_store(url: url::Url, _: impl IntoIterator<Item = (String, String)>) -> Result<Self, BaselineError> {
        Err(BaselineError::Location {
            location: without_secrets(url).to_string(),
            reason: "this program was built without object stores; build it with \
                     `cargo install --path . --locked --features object-store`, or give a directory"
                .into(),
        })
    }

    /// What people call a file of it: its path or URL.
    pub(super) fn shown(&self, path: &str) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.join(path),
            #[cfg(feature = "object-store")]
            Self::Objects(objects) => objects.shown(path),
        }
    }

    /// A file of at most so many bytes; `None` where there is none.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, BaselineError> {
        match self {
            Self::Directory(directory) => directory::read(&directory.join(path), limit),
            #[cfg(feature = "object-store")]
            Self::Objects(objects) => objects.read(path, limit),
        }
    }

    /// Changes a file from what it is, as one step for everybody else; `change` may be asked again.
    pub(super) fn update(&self, path: &str, limit: u64, change: Change<'_>) -> Result<(), BaselineError> {
        match self {
            Self::Directory(directory) => directory::update(&directory.join(path), limit, change),
            #[cfg(feature = "object-store")]
            Self::Objects(objects) => objects.update(path, limit, change),
        }
    }

    /// Appends a line to the log of the directory that a path begins with.
    pub(super) fn note(&self, path: &str, line: &str) -> Result<(), BaselineError> {
        match self {
            Self::Directory(directory) => directory::note(&directory.join(path), line),
            #[cfg(feature = "object-store")]
            Self::Objects(objects) => objects.note(path, line),
        }
    }

    /// Paths of the files one directory down, sorted.
    pub(super) fn list(&self) -> Result<Vec<String>, BaselineError> {
        let mut all = match self {
            Self::Directory(directory) => directory::list(directory)?,
            #[cfg(feature = "object-store")]
            Self::Objects(objects) => objects.list()?,
        };
        all.sort();
        Ok(all)
    }
}

/// The name of the log beside the files of a scenario.
pub(super) const LOG: &str = "accepted.log";

/// A URL without user and password, and without a query, which may hold a signature. (In `abfs` the
/// user is the container.)
fn without_secrets(mut url: url::Url) -> url::Url {
    // Some kinds of URL have no place for them, and so have none.
    if !url.scheme().starts_with("abfs") {
        let _ = url.set_username("");
    }
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_directory_unless_it_is_a_url() {
        let directory = |text: &str| match Place::at(Path::new(text), []) {
            Ok(Place::Directory(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(directory("reports/baselines"), Path::new("reports/baselines"));
        #[cfg(unix)]
        assert_eq!(directory("file:///srv/a%20b"), Path::new("/srv/a b"));
        let refused = |text: &str| Place::at(Path::new(text), []).unwrap_err().to_string();
        assert!(refused("file://host/x").contains("file:///path"));
        assert!(refused("ftp://me:secret@host/x?sig=secret").contains("ftp://host/x"));
        for text in ["ftp://me:secret@host/x?sig=secret", "s3://me:secret@[bad/x"] {
            assert!(!refused(text).contains("secret"), "{}", refused(text));
        }
    }

    #[cfg(not(feature = "object-store"))]
    #[test]
    fn without_object_stores_it_says_how_to_get_them() {
        let message = Place::at(Path::new("s3://bucket/loadgate"), [])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("s3://bucket/loadgate") && message.contains("--features object-store"),
            "{message}"
        );
    }
}
