//! Files in an object store: read with bounds, changed on the condition that
//! nobody else has changed them meanwhile (conditional put, by the ETag).
//!
//! There are no locks in an object store: who finds the object changed reads it
//! again. S3 itself, and the stores that follow it, know such conditions since 2024.

use std::{
    fmt,
    future::Future,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, parse_url_opts, path::Path,
};
use tokio::runtime::Runtime;

use super::{BaselineError, Change, without_secrets};
use crate::run::StoreError;

/// One question to the store, with all that is tried again on the way.
const PATIENCE: Duration = Duration::from_secs(60);

/// So often others may have been faster.
const TRIES: u32 = 100;

/// The longest pause before the next try; grows up to it.
const LONGEST_PAUSE_MS: u64 = 500;

/// More objects than this are not listed.
const MOST_OBJECTS: usize = 100_000;

/// The longest answer of a store that is repeated, in characters.
const LONGEST_ANSWER: usize = 300;

/// A larger log is not appended to: 16 MiB.
const LARGEST_LOG: u64 = 16 << 20;

/// What the variables of credentials and endpoints begin with.
const VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// A prefix in an object store.
#[derive(Clone)]
pub(in crate::baseline) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The URL without credentials.
    url: String,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Objects {
    /// The store of a URL, with what the environment says of it.
    pub(super) fn at(
        url: url::Url,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BaselineError> {
        let known = |(name, _): &(String, String)| VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        let options: Vec<(String, String)> = variables.into_iter().filter(known).collect();
        let url = without_secrets(url);
        let found = parse_url_opts(&url, options);
        let shown = url.to_string();
        let refused = |reason: String| BaselineError::Location {
            location: shown.clone(),
            reason,
        };
        let (store, prefix) = found.map_err(|error| refused(told(&error)))?;
        Self::new(store.into(), prefix, shown.clone()).map_err(|error| refused(error.to_string()))
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: Path, url: String) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            store,
            prefix,
            url: url.trim_end_matches('/').to_owned(),
            runtime: Arc::new(runtime),
        })
    }

    /// What people call an object.
    pub(super) fn shown(&self, path: &str) -> PathBuf {
        PathBuf::from(if path.is_empty() {
            self.url.clone()
        } else {
            format!("{}/{path}", self.url)
        })
    }

    /// The content of an object; `None` where there is none.
    pub(super) fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, BaselineError> {
        Ok(self.get(path, limit)?.map(|(bytes, _)| bytes))
    }

    /// Changes an object from what it is; asks again where others were faster.
    pub(super) fn update(&self, path: &str, limit: u64, change: Change<'_>) -> Result<(), BaselineError> {
        for attempt in 0..TRIES {
            let (old, mode) = match self.get(path, limit)? {
                Some((bytes, version)) => (Some(bytes), PutMode::Update(version)),
                None => (None, PutMode::Create),
            };
            let Some(new) = change(old)? else { return Ok(()) };
            let place = self.path(path);
            let put = self
                .store
                .put_opts(&place, PutPayload::from(new), PutOptions::from(mode));
            match self.wait(path, put)? {
                Ok(_) => return Ok(()),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => pause(attempt),
                Err(error) => return Err(self.failed(path, told(&error))),
            }
        }
        Err(self.failed(path, format!("others changed it {TRIES} times meanwhile")))
    }

    /// Appends a line to a log.
    pub(super) fn note(&self, path: &str, line: &str) -> Result<(), BaselineError> {
        self.update(path, LARGEST_LOG, &mut |old| {
            let mut log = old.unwrap_or_default();
            log.extend_from_slice(line.as_bytes());
            Ok(Some(log))
        })
    }

    /// The objects one level below the prefix.
    pub(super) fn list(&self) -> Result<Vec<String>, BaselineError> {
        let listing = self.store.list(Some(&self.prefix)).take(MOST_OBJECTS);
        let found = self.wait("", listing.map_ok(|object| object.location).try_collect::<Vec<Path>>())?;
        let found = found.map_err(|error| self.failed("", told(&error)))?;
        let below = found.iter().filter_map(|path| {
            let parts: Vec<_> = path.prefix_match(&self.prefix)?.collect();
            match parts.as_slice() {
                [directory, file] => Some(format!("{}/{}", directory.as_ref(), file.as_ref())),
                _ => None,
            }
        });
        Ok(below.collect())
    }

    fn get(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, UpdateVersion)>, BaselineError> {
        let got = self.wait(path, async {
            let got = self.store.get(&self.path(path)).await?;
            if got.meta.size > limit {
                return Ok(None);
            }
            let version = UpdateVersion {
                e_tag: got.meta.e_tag.clone(),
                version: got.meta.version.clone(),
            };
            Ok(Some((got.bytes().await?.to_vec(), version)))
        })?;
        match got {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) => Err(BaselineError::Unreadable(StoreError::TooLarge {
                path: self.shown(path),
                limit,
            })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, told(&error))),
        }
    }

    fn path(&self, path: &str) -> Path {
        path.split('/').fold(self.prefix.clone(), |all, part| all.join(part))
    }

    /// The store's answer, where it comes in time.
    fn wait<T>(&self, path: &str, answer: impl Future<Output = T>) -> Result<T, BaselineError> {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
            .map_err(|_| self.failed(path, format!("no answer within {} s", PATIENCE.as_secs())))
    }

    fn failed(&self, path: &str, reason: String) -> BaselineError {
        BaselineError::ObjectStore {
            path: self.shown(path),
            reason,
        }
    }
}

/// Longer the more often, and not the same for all: else the same ones meet again.
fn pause(attempt: u32) {
    let most = LONGEST_PAUSE_MS.min(4 << attempt.min(10));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let luck = now.map_or(0, |now| u64::from(now.subsec_nanos()) / 1_000);
    thread::sleep(Duration::from_millis(1 + luck % most));
}

/// What a store said, without the queries of URLs, which may hold signatures.
fn told(error: &Error) -> String {
    let text = error.to_string();
    let mut query = false;
    let plain = text.chars().filter(|c| {
        query = *c == '?' || (query && !c.is_whitespace() && !matches!(c, ')' | '"' | '\''));
        !query && !c.is_control()
    });
    plain.take(LONGEST_ANSWER).collect()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::baseline::{Baselines, Record, place::Place, testing::Shape};

    fn objects() -> Objects {
        Objects::new(
            Arc::new(InMemory::new()),
            Path::from("team/loadgate"),
            "s3://bucket/team/loadgate".into(),
        )
        .unwrap()
    }

    /// The same store, as another program would see it.
    fn again(objects: &Objects) -> Baselines {
        let Objects { store, prefix, url, .. } = objects;
        let other = Objects::new(Arc::clone(store), prefix.clone(), url.clone()).unwrap();
        Baselines {
            place: Place::Objects(other),
        }
    }

    #[test]
    fn an_accepted_run_is_found_listed_and_added_to() {
        let objects = objects();
        let baselines = again(&objects);
        let shape = |luck| {
            Shape {
                luck,
                ..Shape::default()
            }
            .run()
        };
        let (run, next) = (shape(1), shape(2));
        assert!(baselines.find("shop", "default").unwrap().is_none());
        let path = baselines
            .accept(&run, Record::of(&run), "default", Some("first"), run.started)
            .unwrap();
        assert_eq!(path, PathBuf::from("s3://bucket/team/loadgate/shop/default.json"));
        assert_eq!(baselines.add(&next, &Record::of(&next), "default").unwrap(), 2);
        let found = again(&objects).find("shop", "default").unwrap().unwrap();
        assert_eq!((found.run.id, found.since.len()), (run.id, 2));
        let list = baselines.list().unwrap();
        assert_eq!((list.len(), list[0].content.as_ref().unwrap().runs), (1, 2));
        let log = objects.read("shop/accepted.log", 1_000).unwrap().unwrap();
        assert!(String::from_utf8(log).unwrap().ends_with("\tabc123\tfirst\n"));
    }

    #[test]
    fn what_is_too_large_or_damaged_is_told_by_its_url() {
        let objects = objects();
        objects
            .update("shop/default.json", 100, &mut |_| Ok(Some(b"{}".to_vec())))
            .unwrap();
        let told = |error: BaselineError| error.to_string();
        let large = told(objects.read("shop/default.json", 1).unwrap_err());
        assert!(
            large.contains("s3://bucket/team/loadgate/shop/default.json: larger than 1 bytes"),
            "{large}"
        );
        let damaged = told(again(&objects).find("shop", "default").unwrap_err());
        assert!(
            damaged.contains("s3://bucket/team/loadgate/shop/default.json"),
            "{damaged}"
        );
    }

    #[test]
    fn eight_that_accept_at_once_lose_nothing() {
        let objects = objects();
        let runs: Vec<_> = (1..=8)
            .map(|luck| {
                let small = Shape {
                    seconds: 1,
                    rate: 5,
                    luck,
                    ..Shape::default()
                };
                small.run()
            })
            .collect();
        thread::scope(|scope| {
            for run in &runs {
                let baselines = again(&objects);
                scope.spawn(move || {
                    baselines
                        .accept(run, Record::of(run), "default", None, run.started)
                        .unwrap()
                });
            }
        });
        let series = again(&objects).series("shop", "default").unwrap();
        let mut known: Vec<&str> = series.records.iter().map(|record| record.run.as_str()).collect();
        let last = (*known.last().unwrap()).to_owned();
        known.sort_unstable();
        assert_eq!(known, runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>());
        // Whose change is the last of the series, that run stands whole.
        assert_eq!(again(&objects).find("shop", "default").unwrap().unwrap().run.id, last);
        let log = objects.read("shop/accepted.log", 10_000).unwrap().unwrap();
        assert_eq!(String::from_utf8(log).unwrap().lines().count(), 8);
    }

    #[test]
    fn a_store_is_made_from_its_url_and_the_variables() {
        let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let url = |url: &str| url::Url::parse(url).unwrap();
        let variables = text(&[
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "y"),
            ("TOKEN", "z"),
        ]);
        let s3 = Objects::at(url("s3://bucket/team/"), variables).unwrap();
        assert_eq!(
            s3.shown("shop/default.json"),
            PathBuf::from("s3://bucket/team/shop/default.json")
        );
        let refused = |address: &str| Objects::at(url(address), []).unwrap_err().to_string();
        let message = refused("ftp://me:secret@host/x?sig=secret");
        assert!(
            message.contains("ftp://host/x") && !message.contains("secret"),
            "{message}"
        );
    }

    #[test]
    fn signatures_are_not_repeated() {
        let error = Error::Generic {
            store: "Azure",
            source: "error sending request for url (https://x.example/a?sig=SECRET&se=1): refused".into(),
        };
        let text = told(&error);
        assert!(
            text.contains("https://x.example/a): refused") && !text.contains("SECRET"),
            "{text}"
        );
    }
}
