//! What a real PostgreSQL tells of the work that was done on it: counters, plans, activity.

use std::{
    collections::BTreeMap,
    env,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use crate::support::postgres::Postgres;
use loadgate::{
    lab::postgres::{Cluster, PostgresError, Site, Spec},
    observer::postgres::{Activity, Reading, Statements, explain, is_transaction_control},
    run::{Plan, StatementCounts},
    target::{PostgresConnection, connect_postgres},
    workload::{Durability, Tls},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{runtime, time::sleep};
use tokio_postgres::Config;

/// 20,000 rows, the same in every run, on some 300 pages.
const USERS: &str = "CREATE TABLE users (id bigint PRIMARY KEY, username text NOT NULL, email text NOT NULL);
    INSERT INTO users SELECT i, 'user_' || lpad(i::text, 7, '0'), md5(i::text) || '@example.com'
    FROM generate_series(1, 20000) AS g(i);
    VACUUM (FREEZE, ANALYZE) users";

const BY_NAME: &str = "SELECT id, email FROM users WHERE username = 'user_0000123'";

/// For counters that come late.
const PATIENCE: Duration = Duration::from_secs(1);

/// A private server with a database "app" that holds [`USERS`].
struct Server(Cluster);

impl Server {
    /// `None` where PostgreSQL is not installed, which has then been said.
    async fn start() -> Option<Self> {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Option<Self> {
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let settings = settings.collect();
        let site = Site {
            cache: None,
            ..Site::new(|name| env::var(name).ok())
        };
        let spec = Spec {
            site: &site,
            durability: Durability::Ci,
            settings: &settings,
            fixtures: &[],
            tcp: false,
            connections: 4,
        };
        let cluster = match Cluster::start(&spec).await {
            Err(missing @ PostgresError::Missing { .. }) => {
                assert!(env::var_os("CI").is_none(), "{missing}");
                // Not eprintln, whose output the test harness swallows.
                let _ = writeln!(std::io::stderr(), "SKIPPED a test: {missing}");
                return None;
            }
            started => started.unwrap(),
        };
        cluster.databases().clone_database(None, "app", &[]).await.unwrap();
        let server = Self(cluster);
        for statement in USERS.split(';') {
            server.execute(statement).await;
        }
        server.rest().await;
        Some(server)
    }

    /// Waits until the sessions of "app" have ended, which report only then what they did.
    async fn rest(&self) {
        let postgres = self.connect("postgres").await;
        let sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = 'app'";
        while !postgres.query(sessions, &[]).await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn config(&self, database: &str) -> Config {
        self.0.connection(database).parse().unwrap()
    }

    async fn connect(&self, database: &str) -> PostgresConnection {
        connect_postgres(&self.config(database), &Tls::default()).await.unwrap()
    }

    /// Executes SQL in the database "app".
    async fn execute(&self, sql: &str) {
        let done = self.connect("app").await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn watch(&self) -> Activity {
        Activity::start(&self.config("postgres"), &Tls::default(), "app")
            .await
            .unwrap()
    }

    /// Of the database "app", asked for from the one that is named.
    async fn statements(&self, from: &str) -> Statements {
        Statements::connect(&self.config(from), &Tls::default(), "app")
            .await
            .unwrap()
    }
}

/// What was counted since then, by text.
async fn counted(statements: &Statements, before: &Reading) -> BTreeMap<String, StatementCounts> {
    let gained = statements.read().await.unwrap().since(before).unwrap();
    let ids: Vec<i64> = gained.keys().copied().collect();
    let texts = statements.texts(&ids).await.unwrap();
    assert_eq!(texts.len(), ids.len(), "{texts:?}");
    gained
        .into_iter()
        .map(|(id, counts)| (texts[&id].clone(), counts))
        .collect()
}

#[tokio::test]
async fn statements_are_counted_exactly() {
    let Some(server) = Server::start().await else { return };
    let statements = server.statements("postgres").await;
    let app = server.connect("app").await;
    let before = statements.read().await.unwrap();
    assert!(before.since(&before).unwrap().is_empty());

    app.batch_execute("BEGIN").await.unwrap();
    for id in 1..=5_i64 {
        let found = app
            .query("SELECT username FROM users WHERE id <= $1", &[&id])
            .await
            .unwrap();
        assert_eq!(found.len() as i64, id);
    }
    app.batch_execute("UPDATE users SET email = '' WHERE id = 7; COMMIT")
        .await
        .unwrap();

    let counted = counted(&statements, &before).await;
    let (control, queries): (Vec<_>, Vec<_>) = counted.iter().partition(|(text, _)| is_transaction_control(text));
    assert_eq!((control.len(), queries.len()), (2, 2), "{counted:?}");
    let select = counted["SELECT username FROM users WHERE id <= $1"];
    assert_eq!(
        (select.calls, select.plans, select.rows, select.wal_records),
        (5, 5, 15, 0),
        "{select:?}"
    );
    // Ten for the rows; planning for the first time reads the catalogue.
    assert!((10..=300).contains(&select.buffers), "{select:?}");
    let update = counted["UPDATE users SET email = $1 WHERE id = $2"];
    assert_eq!((update.calls, update.rows), (1, 1));
    assert!(
        update.wal_records >= 1 && update.wal_bytes > update.wal_records,
        "{update:?}"
    );
    server.0.stop().await;
}

#[tokio::test]
async fn the_same_work_is_counted_the_same_and_an_index_saves_pages() {
    let Some(server) = Server::start().await else { return };
    let statements = server.statements("postgres").await;
    let app = server.connect("app").await;
    let mut counts = Vec::new();
    for index in [false, false, true, true] {
        if index {
            let create = "CREATE INDEX IF NOT EXISTS users_username ON users (username)";
            app.batch_execute(create).await.unwrap();
        }
        // What a session looks up once is in its catalogue cache from then on.
        app.batch_execute(BY_NAME).await.unwrap();
        let before = statements.read().await.unwrap();
        app.batch_execute(BY_NAME).await.unwrap();
        let gained: Vec<_> = statements
            .read()
            .await
            .unwrap()
            .since(&before)
            .unwrap()
            .into_values()
            .collect();
        assert_eq!(gained.len(), 1, "the observer's own statements are counted: {gained:?}");
        counts.push(gained[0]);
    }
    assert_eq!((counts[0], counts[2]), (counts[1], counts[3]));
    assert!(counts[0].buffers > 100 && counts[2].buffers <= 4, "{counts:?}");
    assert_eq!((counts[0].rows, counts[2].rows), (1, 1));
    server.0.stop().await;
}

#[tokio::test]
async fn a_sort_that_does_not_fit_is_counted_in_temporary_blocks() {
    let Some(server) = Server::start().await else { return };
    let statements = server.statements("postgres").await;
    let app = server.connect("app").await;
    let mut temporary = Vec::new();
    for memory in ["64kB", "64MB"] {
        app.batch_execute(&format!("SET work_mem = '{memory}'")).await.unwrap();
        let before = statements.read().await.unwrap();
        app.query("SELECT id FROM users ORDER BY email", &[]).await.unwrap();
        let gained = statements.read().await.unwrap().since(&before).unwrap();
        temporary.push(gained.into_values().map(|counts| counts.temp_blocks).sum::<u64>());
    }
    assert!(temporary[0] > 50 && temporary[1] == 0, "{temporary:?}");
    server.0.stop().await;
}

#[tokio::test]
async fn a_plan_tells_what_an_index_changes() {
    let Some(server) = Server::start().await else { return };
    let app = server.connect("app").await;
    let plan = async |sql: &str| -> Plan { explain(&app, sql).await.unwrap() };
    let (before, again) = (plan(BY_NAME).await, plan(BY_NAME).await);
    assert_eq!((&before.shape, before.buffers()), (&again.shape, again.buffers()));
    assert_eq!(before.nodes[0].rows_removed, Some(19_999));
    app.batch_execute("CREATE INDEX users_username ON users (username)")
        .await
        .unwrap();
    let after = plan(BY_NAME).await;
    assert_eq!(
        before.differences(&after),
        ["Seq Scan on users became Index Scan using users_username"]
    );
    assert!(before.buffers() > 100 && after.buffers() <= 4, "{before:?} {after:?}");
    assert!(after.uses_index() && !before.uses_index() && before.shape != after.shape);

    // The table's pages are known to be visible to all until one of them is changed.
    let count = "SELECT count(*) FROM users WHERE username < 'user_0000500'";
    let clean = plan(count).await;
    app.batch_execute("UPDATE users SET email = 'x' WHERE id < 100")
        .await
        .unwrap();
    let dirty = plan(count).await;
    assert_eq!(clean.heap_fetches(), Some(0), "{clean:?}");
    assert!(
        dirty.heap_fetches() > Some(90) && dirty.differences(&clean).is_empty(),
        "{dirty:?}"
    );
    server.0.stop().await;
}

#[tokio::test]
async fn a_plan_tells_of_a_sort_that_spills() {
    let Some(server) = Server::start().await else { return };
    let app = server.connect("app").await;
    let sort = "SELECT id FROM users ORDER BY email";
    app.batch_execute("SET work_mem = '64kB'").await.unwrap();
    let small = explain(&app, sort).await.unwrap();
    app.batch_execute("SET work_mem = '64MB'").await.unwrap();
    let large = explain(&app, sort).await.unwrap();
    assert!(small.spills() && small.temp_blocks() > 50, "{small:?}");
    assert!(
        small.nodes[0].sort.as_ref().unwrap().starts_with("external merge"),
        "{small:?}"
    );
    assert!(!large.spills(), "{large:?}");
    assert_eq!(small.shape, large.shape);
    server.0.stop().await;
}

#[tokio::test]
async fn what_a_statement_changes_is_rolled_back_and_a_refused_one_leaves_no_transaction() {
    let Some(server) = Server::start().await else { return };
    let app = server.connect("app").await;
    let deleted = explain(&app, "DELETE FROM users WHERE id = 1;").await.unwrap();
    assert_eq!((deleted.nodes[0].node.as_str(), deleted.nodes[1].rows), ("Delete", 1.0));
    for refused in [
        "SELECT * FROM nowhere",
        "SELECT 1; DELETE FROM users",
        "VACUUM",
        "SELECT 1/0",
    ] {
        assert!(explain(&app, refused).await.is_err(), "{refused}");
    }
    let rows = app.query_one("SELECT count(*), current_setting('statement_timeout') FROM users", &[]);
    let rows = rows.await.unwrap();
    assert_eq!(
        (rows.get::<_, i64>(0), rows.get::<_, String>(1)),
        (20_000, "0".to_owned())
    );
    server.0.stop().await;
}

#[tokio::test]
async fn beside_or_within_the_observer_never_counts_itself() {
    let Some(server) = Server::start().await else { return };
    server
        .execute("CREATE SCHEMA \"Odd one\"; CREATE EXTENSION pg_stat_statements SCHEMA \"Odd one\"")
        .await;
    let within = server.statements("app").await;
    let beside = server.statements("postgres").await;
    let app = server.connect("app").await;
    let before = within.read().await.unwrap();
    for _ in 0..3 {
        within.texts(&[1, 2]).await.unwrap();
    }
    assert!(within.read().await.unwrap().since(&before).unwrap().is_empty());
    let seen_beside = beside.read().await.unwrap();
    app.batch_execute(BY_NAME).await.unwrap();
    let from_within = counted(&within, &before).await;
    assert_eq!(from_within.len(), 1, "{from_within:?}");
    // From beside those of the observer within are statements as any.
    assert!(counted(&beside, &seen_beside).await.len() > 1);
    server.0.stop().await;
}

#[tokio::test]
async fn a_role_without_rights_counts_its_own_or_says_what_it_needs() {
    let Some(server) = Server::start().await else { return };
    server
        .execute("CREATE ROLE app LOGIN; GRANT SELECT ON users TO app")
        .await;
    let mut config = server.config("postgres");
    config.user("app");
    let statements = Statements::connect(&config, &Tls::default(), "app").await.unwrap();
    let own = connect_postgres(config.clone().dbname("app"), &Tls::default())
        .await
        .unwrap();
    let before = statements.read().await.unwrap();
    own.batch_execute(BY_NAME).await.unwrap();
    assert_eq!(counted(&statements, &before).await.len(), 1);

    server.execute(BY_NAME).await;
    let refused = statements.read().await.unwrap().since(&before).unwrap_err();
    assert!(refused.contains("GRANT pg_read_all_stats TO app"), "{refused}");
    server.execute("GRANT pg_read_all_stats TO app").await;
    let all = Statements::connect(&config, &Tls::default(), "app").await.unwrap();
    let before = all.read().await.unwrap();
    server.execute(BY_NAME).await;
    assert_eq!(counted(&all, &before).await.len(), 1);
    server.0.stop().await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_said_with_its_mend() {
    let Some(server) = Server::start().await else { return };
    let refused = async |from: &str, database: &str| {
        let config = server.config(from);
        Statements::connect(&config, &Tls::default(), database)
            .await
            .unwrap_err()
    };
    assert!(refused("postgres", "none").await.contains("no database \"none\""));
    let missing = refused("app", "app").await;
    assert!(missing.contains("CREATE EXTENSION pg_stat_statements"), "{missing}");

    let statements = server.statements("postgres").await;
    let before = statements.read().await.unwrap();
    let postgres = server.connect("postgres").await;
    postgres
        .batch_execute("SELECT pg_stat_statements_reset()")
        .await
        .unwrap();
    let reset = statements.read().await.unwrap().since(&before).unwrap_err();
    assert!(reset.contains("reset"), "{reset}");
    let none = "ALTER DATABASE postgres SET pg_stat_statements.track = 'none'";
    postgres.batch_execute(none).await.unwrap();
    let off = refused("postgres", "app").await;
    assert!(off.contains("pg_stat_statements.track is none"), "{off}");
    server.0.stop().await;
}

#[tokio::test]
async fn counters_that_the_server_dropped_are_missed() {
    let few = [("pg_stat_statements.max", "100")];
    let Some(server) = Server::with(&few).await else { return };
    let statements = server.statements("postgres").await;
    let app = server.connect("app").await;
    let before = statements.read().await.unwrap();
    for columns in 1..=120 {
        let select = format!("SELECT {}", vec!["1"; columns].join(", "));
        app.batch_execute(&select).await.unwrap();
    }
    let dropped = statements.read().await.unwrap().since(&before).unwrap_err();
    assert!(dropped.contains("raise pg_stat_statements.max"), "{dropped}");
    server.0.stop().await;
}

#[tokio::test]
async fn a_watch_sees_what_a_load_does_and_not_itself() {
    let Some(server) = Server::start().await else { return };
    let idle = server.watch().await;
    sleep(Duration::from_millis(500)).await;
    let idle = idle.stop(PATIENCE).await;
    assert!(
        idle.samples >= 1 && idle.waits.is_empty() && idle.events.is_empty(),
        "{idle:?}"
    );
    assert!(
        idle.database["sessions"] == 0 && idle.database["xact_commit"] == 0,
        "{idle:?}"
    );

    let watch = server.watch().await;
    let app = server.connect("app").await;
    app.batch_execute("INSERT INTO users SELECT i, 'x', 'y' FROM generate_series(30001, 30100) AS g(i)")
        .await
        .unwrap();
    app.batch_execute("SET work_mem = '64kB'; SELECT id FROM users ORDER BY email")
        .await
        .unwrap();
    app.batch_execute("SELECT pg_sleep(0.5)").await.unwrap();
    app.batch_execute("CHECKPOINT").await.unwrap();
    app.batch_execute("ROLLBACK; SELECT 1/0").await.unwrap_err();
    app.batch_execute("SELECT count(*) FROM generate_series(1, 3000000)")
        .await
        .unwrap();
    drop(app);
    server.rest().await;
    let seen = watch.stop(PATIENCE).await;
    assert!(seen.waits["Timeout:PgSleep"] >= 1 && seen.waits["CPU"] >= 1, "{seen:?}");
    // What did not fit: the sort, and the rows of generate_series.
    assert_eq!(
        (seen.database["tup_inserted"], seen.database["temp_files"]),
        (100, 2),
        "{seen:?}"
    );
    assert_eq!(
        (seen.database["sessions"], seen.database["deadlocks"]),
        (1, 0),
        "{seen:?}"
    );
    assert!(
        seen.wal["wal_records"] >= 100 && seen.wal["wal_bytes"] > 1000,
        "{seen:?}"
    );
    assert_eq!(seen.checkpoints, 1, "{seen:?}");
    assert!(
        seen.events.len() == 1 && seen.events[0].what == "checkpoint",
        "{seen:?}"
    );
    assert_eq!(seen.unavailable, None);
    server.0.stop().await;
}

#[tokio::test]
async fn what_a_session_that_stays_did_last_may_be_missing_and_is_told() {
    let Some(server) = Server::start().await else { return };
    let app = server.connect("app").await;
    let watch = server.watch().await;
    app.batch_execute("SELECT 1").await.unwrap();
    let seen = watch.stop(Duration::from_millis(50)).await;
    drop(app);
    let missing = seen.unavailable.clone().unwrap_or_default();
    assert!(missing.contains("sessions stay open"), "{seen:?}");
    assert_eq!(seen.database["sessions"], 0, "{seen:?}");
    server.0.stop().await;
}

#[tokio::test]
async fn an_autovacuum_is_an_event() {
    let slow = [
        ("autovacuum", "on"),
        ("autovacuum_naptime", "1s"),
        ("autovacuum_vacuum_cost_delay", "100ms"),
        ("autovacuum_vacuum_cost_limit", "1"),
    ];
    let Some(server) = Server::with(&slow).await else {
        return;
    };
    let watch = server.watch().await;
    server.execute("DELETE FROM users WHERE id % 2 = 0").await;
    let app = server.connect("app").await;
    let give_up = Instant::now() + Duration::from_secs(60);
    let vacuuming = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%public.users%'";
    while app.query(vacuuming, &[]).await.unwrap().is_empty() {
        assert!(Instant::now() < give_up, "no autovacuum begins");
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let seen = watch.stop(PATIENCE).await;
    let events = seen.events.iter().filter(|event| event.what.contains("public.users"));
    assert!(events.count() >= 1, "{seen:?}");
    assert!(seen.waits.keys().all(|wait| wait != "Timeout:VacuumDelay"), "{seen:?}");
    server.0.stop().await;
}

#[tokio::test]
async fn a_role_without_rights_is_told_that_it_does_not_see_all() {
    let Some(server) = Server::start().await else { return };
    server.execute("CREATE ROLE app LOGIN").await;
    let mut config = server.config("postgres");
    config.user("app");
    let watch = Activity::start(&config, &Tls::default(), "app").await.unwrap();
    server.execute("SELECT pg_sleep(0.4)").await;
    let seen = watch.stop(PATIENCE).await;
    let reason = seen.unavailable.clone().unwrap_or_default();
    assert!(reason.contains("GRANT pg_read_all_stats TO app"), "{seen:?}");
    let none = Activity::start(&config, &Tls::default(), "none").await.unwrap_err();
    assert!(none.contains("no database \"none\""), "{none}");
    server.0.stop().await;
}

#[tokio::test]
async fn a_server_that_hangs_holds_nobody_up() {
    let Some(server) = Server::start().await else { return };
    let watch = server.watch().await;
    let postgres = server.connect("postgres").await;
    let asker = "SELECT pid FROM pg_stat_activity WHERE application_name = 'loadgate observer'";
    let asker: i32 = postgres.query_one(asker, &[]).await.unwrap().get(0);
    let asker = Pid::from_raw(asker).unwrap();
    kill_process(asker, Signal::STOP).unwrap();
    let began = Instant::now();
    let seen = watch.stop(PATIENCE).await;
    let took = began.elapsed();
    kill_process(asker, Signal::CONT).unwrap();
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(seen.unavailable.is_some(), "{seen:?}");
    server.0.stop().await;
}

#[test]
fn a_server_that_dies_and_comes_back_is_noted() {
    let Some(mut postgres) = Postgres::start() else { return };
    // The server is started and stopped from outside of any runtime.
    let runtime = runtime::Runtime::new().unwrap();
    let config: Config = postgres.url().parse().unwrap();
    let watch = runtime.block_on(Activity::start(&config, &Tls::default(), "postgres"));
    let watch = watch.unwrap();
    thread::sleep(Duration::from_millis(300));
    postgres.kill();
    thread::sleep(Duration::from_millis(700));
    postgres.restart();
    // Not only connected: it has asked what it asks ten times a second.
    postgres.wait_until(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'loadgate observer' \
         AND state = 'idle' AND query LIKE 'WITH a AS%' AND now() - backend_start > interval '200 ms'",
    );
    postgres.sql("CREATE TABLE back (n int); INSERT INTO back SELECT generate_series(1, 77)");
    let seen = runtime.block_on(watch.stop(PATIENCE));
    let events: Vec<&str> = seen.events.iter().map(|event| event.what.as_str()).collect();
    let lost = events
        .iter()
        .position(|what| what.starts_with("the server cannot be asked: "));
    let back = events.iter().position(|what| *what == "the server can be asked again");
    assert!(lost.is_some() && lost < back, "{seen:?}");
    assert_eq!(
        events.iter().filter(|what| what.contains("asked")).count(),
        2,
        "{seen:?}"
    );
    assert!(seen.database["tup_inserted"] >= 77, "{seen:?}");
    assert_eq!(seen.unavailable, None);

    let watch = runtime.block_on(Activity::start(&config, &Tls::default(), "postgres"));
    let watch = watch.unwrap();
    postgres.kill();
    thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let seen = runtime.block_on(watch.stop(PATIENCE));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(seen.unavailable.is_some_and(|reason| reason.contains("at the end")));
    assert!(
        runtime
            .block_on(Activity::start(&config, &Tls::default(), "postgres"))
            .is_err()
    );
}
