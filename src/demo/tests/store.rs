//! Databases for the demos of a test, of both kinds, and what is in them.

use std::{collections::BTreeMap, env, io::Write as _, path::Path};

use rusqlite::Connection;

use super::{running::Running, *};
use crate::{
    lab::postgres::{self as private, Cluster, Site},
    target::{PostgresConnection, connect_postgres},
    workload::{Durability, Tls},
};

/// Where the demos of one test keep their data.
pub(super) enum Store {
    Sqlite(tempfile::TempDir),
    Postgres(Box<Cluster>),
}

/// The part of the database that storing emissions changes: rows, and how many totals are wrong.
pub(super) type Effects = (Vec<(i64, i64, String, i64)>, i64);

const STORED: &str = "SELECT id, user_id, kind, grams FROM emissions WHERE id > 50000 ORDER BY id";
const WRONG: &str = "SELECT count(*) FROM users
    WHERE total_grams <> (SELECT coalesce(sum(grams), 0) FROM emissions WHERE user_id = users.id)";

impl Store {
    /// Both kinds, where a PostgreSQL server is installed.
    pub(super) async fn all() -> Vec<Self> {
        let sqlite = Self::Sqlite(tempfile::tempdir().unwrap());
        [Some(sqlite), Self::postgres().await].into_iter().flatten().collect()
    }

    /// A private server; where none is installed it is said, and with `CI` set it fails.
    pub(super) async fn postgres() -> Option<Self> {
        let settings = BTreeMap::new();
        let site = Site {
            cache: None,
            ..Site::new(|name| env::var(name).ok())
        };
        let spec = private::Spec {
            site: &site,
            durability: Durability::Ci,
            settings: &settings,
            fixtures: &[],
            tcp: false,
            connections: 20,
        };
        match Cluster::start(&spec).await {
            Ok(cluster) => Some(Self::Postgres(Box::new(cluster))),
            Err(private::PostgresError::Missing { .. }) => {
                let missing = "PostgreSQL's server programs were not found: run ci/test, which installs them";
                assert!(env::var_os("CI").is_none(), "{missing}");
                let _ = writeln!(io::stderr(), "SKIPPED half a test: {missing}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The database of that name; where there is none, an empty one.
    pub(super) async fn storage(&self, name: &str) -> Storage {
        match self {
            Self::Sqlite(directory) => Storage::File(directory.path().join(name)),
            Self::Postgres(cluster) => {
                // It may be there.
                let _ = cluster.databases().clone_database(None, name, &[]).await;
                Storage::parse(&cluster.connection(name)).unwrap()
            }
        }
    }

    pub(super) async fn start(&self, name: &str, faults: Faults) -> Running {
        Running::start_on(Some(self.storage(name).await), faults).await
    }

    pub(super) async fn effects(&self, name: &str) -> Effects {
        match self {
            Self::Sqlite(directory) => in_sqlite(&directory.path().join(name)),
            Self::Postgres(cluster) => {
                let client = client(cluster, name).await;
                let rows = client.query(STORED, &[]).await.unwrap();
                let rows = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)));
                (rows.collect(), client.query_one(WRONG, &[]).await.unwrap().get(0))
            }
        }
    }

    pub(super) async fn end(self) {
        if let Self::Postgres(cluster) = self {
            cluster.stop().await;
        }
    }
}

pub(super) async fn client(cluster: &Cluster, name: &str) -> PostgresConnection {
    let config = cluster.connection(name).parse().unwrap();
    connect_postgres(&config, &Tls::default()).await.unwrap()
}

fn in_sqlite(path: &Path) -> Effects {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(STORED).unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    (
        rows.map(Result::unwrap).collect(),
        connection.query_row(WRONG, [], |row| row.get(0)).unwrap(),
    )
}
