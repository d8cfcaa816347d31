//! The demo over real sockets: every endpoint, every refusal, every fault.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// A demo on a free port that the test talks to.
struct Running {
    client: Client,
    base: String,
    stop: CancellationToken,
    served: JoinHandle<Result<(), DemoError>>,
}

/// Status, statements and body of an answer.
type Answer = (u16, u32, Value);

impl Running {
    async fn start(faults: Faults) -> Self {
        Self::start_on(None, faults).await
    }

    async fn start_on(database: Option<PathBuf>, faults: Faults) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let demo = Demo::bind(Options {
            listen,
            database,
            faults,
        })
        .await
        .unwrap();
        let stop = CancellationToken::new();
        let base = format!("http://{}", demo.address());
        let client = Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        Self {
            client,
            base,
            served: tokio::spawn(demo.run(stop.clone().cancelled_owned())),
            stop,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let statements = response.headers()[STATEMENTS_HEADER].to_str().unwrap().parse().unwrap();
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (status, statements, body)
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, body.to_string()).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

fn error((status, statements, body): Answer) -> String {
    format!("{status} after {statements}: {}", body["error"].as_str().unwrap())
}

#[tokio::test]
async fn users_and_sessions_are_read_in_one_statement() {
    let demo = Running::start(Faults::default()).await;
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
    insta::assert_snapshot!(post(one(1, "travel", -1.0)).await, @"400 after 0: emissions[0].kg: needs a number from 0 to 1e9");
    insta::assert_snapshot!(post(one(1, "travel", 1e300)).await, @"400 after 0: emissions[0].kg: needs a number from 0 to 1e9");
    let many: Vec<_> = (0..1001)
        .map(|_| json!({ "user_id": 1, "kind": "x", "kg": 1 }))
        .collect();
    insta::assert_snapshot!(post(json!({ "emissions": many }).to_string()).await, @"413 after 0: emissions: 1001 records, at most 1000 are taken");
    insta::assert_snapshot!(post(" ".repeat(api::LARGEST_BODY + 1)).await, @"413 after 0: the body: more than 262144 bytes");
    demo.end().await;
}

/// The part of the database that storing emissions changes.
fn effects(path: &Path) -> (Vec<(i64, i64, String, i64)>, i64) {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare("SELECT id, user_id, kind, grams FROM emissions WHERE id > 50000 ORDER BY id")
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .unwrap();
    let wrong = "SELECT count(*) FROM users
        WHERE total_grams <> (SELECT coalesce(sum(grams), 0) FROM emissions WHERE user_id = users.id)";
    (
        rows.map(Result::unwrap).collect(),
        connection.query_row(wrong, [], |row| row.get(0)).unwrap(),
    )
}

#[tokio::test]
async fn both_ways_of_storing_emissions_have_the_same_effect_and_answer() {
    // User 7 twice, so that adding to a total twice is seen to work.
    let body = json!({ "emissions": [
        { "user_id": 9, "kind": "travel", "kg": 0.1 },
        { "user_id": 7, "kind": "freight", "kg": 2.25 },
        { "user_id": 7, "kind": "it's \"heating\"", "kg": 0 },
    ]});
    let directory = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for (path, expected) in [("/api/emissions/bulk", 9), ("/api/emissions/bulk-optimized", 4)] {
        let file = directory.path().join(format!("{expected}.db"));
        let demo = Running::start_on(Some(file.clone()), Faults::default()).await;
        let (status, statements, answer) = demo.post(path, &body).await;
        assert_eq!((status, statements), (200, expected), "{answer}");
        assert_eq!(
            answer,
            json!({ "count": 3, "ids": [50001, 50002, 50003], "total_kg": 2.35 })
        );
        demo.end().await;
        seen.push(effects(&file));
    }
    let freight = (50002, 7, "freight".to_owned(), 2250);
    assert_eq!(seen[0], seen[1]);
    assert_eq!((seen[0].0.len(), &seen[0].0[1], seen[0].1), (3, &freight, 0));
}

#[tokio::test]
async fn an_unknown_user_is_refused_and_only_the_naive_way_leaves_traces() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("demo.db");
    let demo = Running::start_on(Some(file.clone()), Faults::default()).await;
    let record = |user: i64| json!({ "user_id": user, "kind": "travel", "kg": 1 });
    let body = json!({ "emissions": [record(1), record(99_999)] });
    insta::assert_snapshot!(error(demo.post("/api/emissions/bulk-optimized", &body).await), @"422 after 3: emissions: 1 of 2 records name no user");
    assert_eq!(effects(&file), (vec![], 0));
    insta::assert_snapshot!(error(demo.post("/api/emissions/bulk", &body).await), @"422 after 4: emissions[1].user_id: no user 99999");
    assert_eq!(effects(&file), (vec![(50001, 1, "travel".to_owned(), 1000)], 0));
    demo.end().await;
}

#[tokio::test]
async fn faults_strike_requests_but_not_health() {
    let faults = Faults {
        delay: Duration::from_millis(60),
        error_rate: 0.5,
        extra_query: 2,
    };
    let demo = Running::start(faults).await;
    let begin = std::time::Instant::now();
    let (status, statements, _) = demo.get("/api/users/1").await;
    assert!(begin.elapsed() >= faults.delay);
    assert_eq!((status, statements), (200, 3));
    assert_eq!(
        demo.get("/api/health").await.0,
        200,
        "is not counted among the requests either"
    );
    insta::assert_snapshot!(error(demo.get("/api/users/1").await), @"500 after 0: the error rate asked of this demo");
    assert_eq!(demo.get("/api/sessions/1").await.0, 200);
    demo.end().await;
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
        let demo = Running::start_on(Some(file.clone()), Faults::default()).await;
        assert_eq!(demo.get("/api/users/10000").await.0, 200);
        demo.end().await;
    }
}

#[tokio::test]
async fn what_keeps_a_demo_from_starting_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let bind = async |listen: SocketAddr, name: &str| {
        let database = Some(directory.path().join(name));
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
