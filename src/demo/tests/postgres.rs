//! The demo on PostgreSQL: the same fixture, and what only a server brings with it.

use super::*;

/// Rows that describe the fixture, and must not depend on where it is.
const FIXTURE: [&str; 7] = [
    "SELECT sum(id * length(email || name || status)) * 1 FROM users",
    "SELECT sum(id * total_grams + created_at) * 1 FROM users",
    "SELECT sum(user_id * role_id) * 1 FROM user_roles",
    "SELECT sum(role_id * 100 + permission_id) * 1 FROM role_permissions",
    "SELECT sum(id * length(resource) * length(action)) * 1 FROM permissions",
    "SELECT sum(id * user_id + created_at + last_activity + expires_at) * 1 FROM sessions",
    "SELECT sum(id * user_id + grams * length(kind) + recorded_at) * 1 FROM emissions",
];

#[tokio::test]
async fn the_fixture_is_the_same_in_both_databases() {
    let mut seen: Vec<Vec<i64>> = Vec::new();
    for store in Store::all().await {
        for _ in 0..2 {
            // The second start finds it and changes nothing.
            store.start("demo", Faults::default()).await.end().await;
        }
        let mut sums = Vec::new();
        for sql in FIXTURE {
            sums.push(match &store {
                Store::Sqlite(directory) => {
                    let connection = Connection::open(directory.path().join("demo")).unwrap();
                    connection.query_row(sql, [], |row| row.get(0)).unwrap()
                }
                Store::Postgres(cluster) => {
                    let sql = sql.replace(" * 1 ", "::bigint ");
                    client(cluster, "demo").await.query_one(&sql, &[]).await.unwrap().get(0)
                }
            });
        }
        seen.push(sums);
        store.end().await;
    }
    assert!(seen[0].iter().all(|sum| *sum > 0), "{seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[tokio::test]
async fn connections_that_were_lost_are_made_again() {
    let Some(store) = Store::postgres().await else { return };
    let Store::Postgres(cluster) = &store else {
        panic!("it is one")
    };
    let demo = store.start("demo", Faults::default()).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loadgate demo'";
    let cut = client(cluster, "demo").await.query(cut, &[]).await.unwrap();
    assert_eq!(cut.len(), 10, "made when it started");
    tokio::time::sleep(Duration::from_millis(500)).await;
    for id in 1..=20 {
        assert_eq!(demo.get(&format!("/api/users/{id}")).await.0, 200);
    }
    demo.end().await;
    store.end().await;
}

#[tokio::test]
async fn requests_for_the_same_users_do_not_block_each_other_for_ever() {
    let Some(store) = Store::postgres().await else { return };
    let demo = Arc::new(store.start("demo", Faults::default()).await);
    let body = |users: Vec<i64>| {
        let records: Vec<_> = users
            .iter()
            .map(|user| json!({ "user_id": user, "kind": "x", "kg": 1 }))
            .collect();
        json!({ "emissions": records })
    };
    let bodies = Arc::new([body((1..=50).collect()), body((1..=50).rev().collect())]);
    let post = |number: usize| {
        let (demo, bodies) = (Arc::clone(&demo), Arc::clone(&bodies));
        tokio::spawn(async move { demo.post("/api/emissions/bulk-optimized", &bodies[number % 2]).await })
    };
    for request in (0..100).map(post).collect::<Vec<_>>() {
        let (status, statements, answer) = request.await.unwrap();
        assert_eq!((status, statements), (200, 4), "{answer}");
    }
    let (rows, wrong) = store.effects("demo").await;
    assert_eq!((rows.len(), wrong), (5000, 0));
    Arc::into_inner(demo).unwrap().end().await;
    store.end().await;
}

#[tokio::test]
async fn what_keeps_a_demo_from_a_postgres_database_is_said() {
    let Some(store) = Store::postgres().await else { return };
    let Store::Postgres(cluster) = &store else {
        panic!("it is one")
    };
    let bind = async |database: Storage| {
        let listen = ([127, 0, 0, 1], 0).into();
        let faults = Faults::default();
        let bound = Demo::bind(Options {
            listen,
            database: Some(database),
            faults,
        })
        .await;
        let text = bound.err().unwrap().to_string();
        text.split_once(", ").unwrap().1.to_owned()
    };
    let other = store.storage("other").await;
    let made = client(cluster, "other")
        .await
        .batch_execute("CREATE SCHEMA s; CREATE TABLE s.t (x int)")
        .await;
    made.unwrap();
    insta::assert_snapshot!(bind(other).await, @"database other: holds the tables of another application; name an empty database for the demo");
    let absent = Storage::parse(&cluster.connection("absent")).unwrap();
    insta::assert_snapshot!(bind(absent).await, @r#"database absent: database "absent" does not exist (SQLSTATE 3D000)"#);
    let port = crate::lab::free_port().unwrap();
    let nobody = Storage::parse(&format!("postgres://u:hunter2@127.0.0.1:{port}/x")).unwrap();
    let said = bind(nobody).await;
    assert!(said.contains("refused") && !said.contains("hunter2"), "{said}");
    store.end().await;
}
