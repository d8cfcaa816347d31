//! The demo over real sockets and on both databases: every endpoint, every refusal, every fault.

mod postgres;
mod running;
mod store;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::json;

use self::{
    running::{Running, error},
    store::{Store, client},
};
use super::*;

#[tokio::test]
async fn users_and_sessions_are_read_in_one_statement() {
    for store in Store::all().await {
        let demo = store.start("demo", Faults::default()).await;
        assert_eq!(demo.get("/api/health").await, (200, 0, json!({ "status": "ok" })));

        let (status, statements, user) = demo.get("/api/users/4").await;
        assert_eq!((status, statements), (200, 1));
        assert_eq!((&user["id"], &user["email"]), (&json!(4), &json!("user4@example.com")));
        let roles = json!([{ "name": "member", "permissions": [
            { "resource": "sessions", "action": "write" }, { "resource": "reports", "action": "read" },
        ]}]);
        assert_eq!(user["roles"], roles);
        assert_eq!(
            demo.get("/api/users/3").await.2["roles"].as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(
            demo.get("/api/users/20").await.2["roles"],
            json!([]),
            "a user without roles has none, not null"
        );

        let session = json!({
            "id": 1, "user_id": 7920, "status": "active",
            "created_at": 1_700_000_001, "last_activity": 1_700_003_601, "expires_at": 4_102_444_800_u64,
        });
        assert_eq!(demo.get("/api/sessions/1").await, (200, 1, session));
        demo.end().await;
        store.end().await;
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let demo = Running::start(Faults::default()).await;
    insta::assert_snapshot!(error(demo.get("/api/users/10001").await), @"404 after 1: no user 10001");
    insta::assert_snapshot!(error(demo.get("/api/sessions/0").await), @"404 after 1: no session 0");
    insta::assert_snapshot!(error(demo.get("/api/users/first").await), @"400 after 0: an id is a whole number");
    insta::assert_snapshot!(error(demo.get("/elsewhere").await), @"404 after 0: no page /elsewhere");
    insta::assert_snapshot!(error(demo.get("/api/emissions/bulk").await), @"405 after 0: /api/emissions/bulk does not take GET");
    demo.end().await;
}

#[tokio::test]
async fn a_body_that_is_not_as_asked_is_refused_with_its_place() {
    let demo = Running::start(Faults::default()).await;
    let post = async |body: String| error(demo.ask(Method::POST, "/api/emissions/bulk-optimized", body).await);
    let one = |user: i64, kind: &str, kg: f64| {
        json!({ "emissions": [{ "user_id": user, "kind": kind, "kg": kg }] }).to_string()
    };
    insta::assert_snapshot!(post("{".into()).await, @"400 after 0: the body: EOF while parsing an object at line 1 column 1");
    insta::assert_snapshot!(post(r#"{"emissions":[{"user_id":1,"kind":"x"}]}"#.into()).await, @"400 after 0: the body: missing field `kg` at line 1 column 38");
    insta::assert_snapshot!(post(r#"{"emissions":[]}"#.into()).await, @"400 after 0: emissions: is empty");
    insta::assert_snapshot!(post(one(1, "", 1.0)).await, @"400 after 0: emissions[0].kind: needs 1 to 64 bytes");
    insta::assert_snapshot!(post(one(1, "a\0b", 1.0)).await, @"400 after 0: emissions[0].kind: holds the character of code 0");
    insta::assert_snapshot!(post(one(1, "travel", -1.0)).await, @"400 after 0: emissions[0].kg: needs a number from 0 to 1e9");
    insta::assert_snapshot!(post(one(1, "travel", 1e300)).await, @"400 after 0: emissions[0].kg: needs a number from 0 to 1e9");
    let many: Vec<_> = (0..1001)
        .map(|_| json!({ "user_id": 1, "kind": "x", "kg": 1 }))
        .collect();
    insta::assert_snapshot!(post(json!({ "emissions": many }).to_string()).await, @"413 after 0: emissions: 1001 records, at most 1000 are taken");
    insta::assert_snapshot!(post(" ".repeat(api::LARGEST_BODY + 1)).await, @"413 after 0: the body: more than 262144 bytes");
    demo.end().await;
}

#[tokio::test]
async fn both_ways_of_storing_emissions_have_the_same_effect_and_answer() {
    for store in Store::all().await {
        // User 7 twice, so that adding to a total twice is seen to work.
        let body = json!({ "emissions": [
            { "user_id": 9, "kind": "travel", "kg": 0.1 },
            { "user_id": 7, "kind": "freight", "kg": 2.25 },
            { "user_id": 7, "kind": "it's \"heating\"", "kg": 0 },
        ]});
        let mut seen = Vec::new();
        for (path, expected) in [("/api/emissions/bulk", 9), ("/api/emissions/bulk-optimized", 4)] {
            let name = format!("demo{expected}");
            let demo = store.start(&name, Faults::default()).await;
            let (status, statements, answer) = demo.post(path, &body).await;
            assert_eq!((status, statements), (200, expected), "{answer}");
            assert_eq!(
                answer,
                json!({ "count": 3, "ids": [50001, 50002, 50003], "total_kg": 2.35 })
            );
            demo.end().await;
            seen.push(store.effects(&name).await);
        }
        let freight = (50002, 7, "freight".to_owned(), 2250);
        assert_eq!(seen[0], seen[1]);
        assert_eq!((seen[0].0.len(), &seen[0].0[1], seen[0].1), (3, &freight, 0));
        store.end().await;
    }
}

#[tokio::test]
async fn an_unknown_user_is_refused_and_only_the_naive_way_leaves_traces() {
    let record = |user: i64| json!({ "user_id": user, "kind": "travel", "kg": 1 });
    let body = json!({ "emissions": [record(1), record(99_999)] });
    for store in Store::all().await {
        let demo = store.start("demo", Faults::default()).await;
        let refused = error(demo.post("/api/emissions/bulk-optimized", &body).await);
        assert_eq!(refused, "422 after 3: emissions: 1 of 2 records name no user");
        assert_eq!(store.effects("demo").await, (vec![], 0));
        let refused = error(demo.post("/api/emissions/bulk", &body).await);
        assert_eq!(refused, "422 after 4: emissions[1].user_id: no user 99999");
        // PostgreSQL does not give the id of the refused row again.
        let id = if matches!(store, Store::Sqlite(_)) {
            50001
        } else {
            50002
        };
        let effects = store.effects("demo").await;
        assert_eq!(effects, (vec![(id, 1, "travel".to_owned(), 1000)], 0));
        demo.end().await;
        store.end().await;
    }
}

#[tokio::test]
async fn faults_strike_requests_but_not_health() {
    for store in Store::all().await {
        let faults = Faults {
            delay: Duration::from_millis(60),
            error_rate: 0.5,
            extra_query: 2,
        };
        let demo = store.start("demo", faults).await;
        let begin = std::time::Instant::now();
        let (status, statements, _) = demo.get("/api/users/1").await;
        assert!(begin.elapsed() >= faults.delay);
        assert_eq!((status, statements), (200, 3));
        assert_eq!(
            demo.get("/api/health").await.0,
            200,
            "is not counted among the requests either"
        );
        let failed = error(demo.get("/api/users/1").await);
        assert_eq!(failed, "500 after 0: the error rate asked of this demo");
        assert_eq!(demo.get("/api/sessions/1").await.0, 200);
        demo.end().await;
        store.end().await;
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let demo = Running::start(Faults {
        delay: Duration::from_secs(1),
        ..Faults::default()
    })
    .await;
    let request = demo.client.get(format!("{}/api/users/1", demo.base)).send();
    let request = tokio::spawn(request);
    tokio::time::sleep(Duration::from_millis(400)).await;
    demo.end().await;
    assert_eq!(request.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_temporary_database_is_removed_and_a_named_one_stays_usable() {
    let listen = ([127, 0, 0, 1], 0).into();
    let demo = Demo::bind(Options {
        listen,
        database: None,
        faults: Faults::default(),
    })
    .await
    .unwrap();
    let temporary = demo._directory.as_ref().unwrap().path().to_owned();
    assert!(temporary.join("demo.db").exists());
    demo.run(std::future::ready(())).await.unwrap();
    assert!(!temporary.exists());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("demo.db");
    for _ in 0..2 {
        let demo = Running::start_on(Some(Storage::File(file.clone())), Faults::default()).await;
        assert_eq!(demo.get("/api/users/10000").await.0, 200);
        demo.end().await;
    }
}

#[tokio::test]
async fn what_keeps_a_demo_from_starting_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let bind = async |listen: SocketAddr, name: &str| {
        let database = Some(Storage::File(directory.path().join(name)));
        let bound = Demo::bind(Options {
            listen,
            database,
            faults: Faults::default(),
        })
        .await;
        let message = bound.err().unwrap().to_string();
        message
            .replace(&directory.path().display().to_string(), "DIR")
            .replace(&listen.port().to_string(), "PORT")
    };
    let free = ([127, 0, 0, 1], 0).into();
    std::fs::write(
        directory.path().join("text.db"),
        "no database, and long enough to be read as one".repeat(50),
    )
    .unwrap();
    insta::assert_snapshot!(bind(free, "text.db").await, @"DIR/text.db: file is not a database");
    Connection::open(directory.path().join("other.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    insta::assert_snapshot!(bind(free, "other.db").await, @"DIR/other.db: holds the tables of another application; name a new file for the demo");
    insta::assert_snapshot!(bind(free, "absent/demo.db").await, @"DIR/absent/demo.db: unable to open database file: DIR/absent/demo.db");
    let taken = TcpListener::bind(free).await.unwrap();
    insta::assert_snapshot!(bind(taken.local_addr().unwrap(), "demo.db").await, @"cannot listen on 127.0.0.1:PORT: Address already in use (os error 98); choose another with --listen");
}
