//! Retry policies and circuit breakers with the real program: nothing is done
//! twice, every try is counted, and an outage is met by few.

use std::{
    fs,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crate::support::{
    postgres::Postgres,
    program::{Desk, Ended, errors, step},
};
use loadgate::run::{BreakerState, Retries, Run};
use serde_json::Value;

use crate::server::{self, Server, ok};

/// Few passes, so that all policies together take seconds.
const PASSES: u64 = 240;

/// Serializable transactions on ten rows, by eight users.
fn counters(postgres: &Postgres, retry: &str) -> String {
    format!(
        r#"
name = "counters"
[target.db]
postgres = "{}"
retry = {retry}
[load]
users = 8
iterations = {PASSES}
drain = "60s"
[data.counter]
uniform = {{ from = 1, to = 10 }}
[[flow]]
name = "count"
[[flow.step]]
name = "count"
transaction = [
    {{ sql = "SELECT sum(n) FROM counters" }},
    {{ sql = "UPDATE counters SET n = n + 1 WHERE id = $1", params = ["{{{{ counter }}}}"] }},
]
"#,
        postgres.url()
    )
}

/// A server with ten rows, on which every transaction is serializable.
fn with_counters() -> Option<Postgres> {
    let postgres = Postgres::start()?;
    postgres.sql(
        "CREATE TABLE counters (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
         INSERT INTO counters SELECT i, 0 FROM generate_series(1, 10) AS g(i);
         ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'",
    );
    Some(postgres)
}

fn run(scenario: &str) -> (Ended, Run, Value) {
    let desk = Desk::with_scenario(scenario);
    let ended = desk.run();
    let run = ended.stored();
    let report = fs::read_to_string(desk.path().join("out/report.json")).unwrap();
    (ended, run, serde_json::from_str(&report).unwrap())
}

fn attempts_by_interval(run: &Run) -> u64 {
    let all = run.intervals.iter().flat_map(|interval| &interval.attempts);
    all.map(|tried| tried.attempts).sum()
}

#[test]
fn whatever_the_policy_every_success_is_done_exactly_once() {
    let Some(postgres) = with_counters() else { return };
    for (retry, most) in [
        ("\"none\"", 1),
        ("{ policy = \"transaction\", base = \"0s\", jitter = \"none\" }", 5),
        ("\"transaction\"", 5),
        ("{ policy = \"transaction\", base = \"2ms\", max = \"50ms\" }", 5),
        (
            "{ policy = \"transaction\", base = \"2ms\", max = \"50ms\", jitter = \"decorrelated\" }",
            5,
        ),
        (
            "{ policy = \"transaction\", base = \"2ms\", max = \"50ms\", jitter = \"none\" }",
            5,
        ),
    ] {
        postgres.sql("UPDATE counters SET n = 0");
        let (_, run, report) = run(&counters(&postgres, retry));
        let count = step(&run, "count");
        assert_eq!(count.completed() + count.failed(), PASSES, "{retry}");
        // The promise: no success is lost, and none is done twice.
        assert_eq!(
            postgres.number("SELECT sum(n) FROM counters"),
            count.completed(),
            "{retry}"
        );
        for (class, _) in errors(count) {
            assert!(
                ["sqlstate 40001", "sqlstate 40P01"].contains(&class.as_str()),
                "{retry}: {class}"
            );
        }
        if most == 1 {
            assert!(
                run.retries.is_empty() && attempts_by_interval(&run) == 0,
                "{:?}",
                run.retries
            );
            assert!(count.failed() > 0, "eight users on ten rows never met");
            continue;
        }
        let [tried] = run.retries[..] else {
            panic!("{:?}", run.retries)
        };
        let Retries {
            attempts,
            retries,
            recovered,
            exhausted,
            ..
        } = tried;
        assert_eq!(attempts, PASSES + retries, "{retry}");
        assert_eq!(attempts, attempts_by_interval(&run), "{retry}");
        assert_eq!(exhausted, count.failed(), "{retry}");
        assert!(
            retries >= recovered + 4 * exhausted && retries <= 4 * PASSES,
            "{retry}: {tried:?}"
        );
        assert!(recovered > 0, "{retry}: {tried:?}");
        let metrics = &report["retries"][0]["metrics"];
        assert_eq!(metrics["database.retry.attempt"], retries);
        assert_eq!(metrics["database.operation.duration"]["count"], PASSES);
    }
}

/// When a server is out of order, after the first request that it was asked.
const DOWN: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(2600)];

/// A server that closes every connection for a while, and how many requests met that.
fn with_outage() -> (Server, Arc<AtomicUsize>) {
    let met = Arc::new(AtomicUsize::new(0));
    let (count, first) = (Arc::clone(&met), OnceLock::new());
    let server = Server::start(move |mut connection, _| {
        while connection.request().is_some() {
            let since = first.get_or_init(Instant::now).elapsed();
            if (DOWN[0]..DOWN[1]).contains(&since) {
                count.fetch_add(1, SeqCst);
                return;
            }
            connection.send(ok("hello").as_bytes());
        }
    });
    (server, met)
}

#[test]
fn an_outage_opens_the_breaker_once_which_rejects_probes_and_closes() {
    let (server, met) = with_outage();
    let scenario = format!(
        r#"
name = "outage"
[target.api]
http = "http://127.0.0.1:{}"
breaker = {{ window = "1s", minimum = 10, open = "1s", probes = 2 }}
[load]
rate = "100/s"
duration = "6s"
[[flow]]
name = "get"
[[flow.step]]
name = "get"
get = "/"
"#,
        server.port
    );
    let (ended, run, report) = run(&scenario);
    let [breaker] = &run.breakers[..] else {
        panic!("{:?}", run.breakers)
    };
    let get = step(&run, "get");
    assert_eq!(breaker.tripped, 1, "{breaker:?}");
    let transitions: Vec<_> = breaker
        .transitions
        .iter()
        .map(|change| (change.from, change.to))
        .collect();
    use BreakerState::{Closed, HalfOpen, Open};
    assert_eq!(transitions.first(), Some(&(Closed, Open)), "{breaker:?}");
    assert!(transitions.contains(&(Open, HalfOpen)), "{breaker:?}");
    assert_eq!(transitions.last(), Some(&(HalfOpen, Closed)), "{breaker:?}");
    let times: Vec<f64> = breaker.transitions.iter().map(|change| change.at_s).collect();
    assert!(times.is_sorted() && times[0] >= 0.5, "{times:?}");

    // Every operation is one that was answered, one that met the outage, or one that was rejected.
    assert_eq!(breaker.success + breaker.failure + breaker.rejected, get.count());
    assert_eq!(breaker.success, get.completed());
    assert!(breaker.rejected > 50, "{breaker:?}");
    let rejected = errors(get).into_iter().find(|(class, _)| class == "rejected");
    assert_eq!(rejected, Some(("rejected".to_owned(), breaker.rejected)));
    // The 160 that were due in the outage were not all sent to it.
    assert!(met.load(SeqCst) < 100, "{met:?}");
    assert_eq!(run.retries[0].attempts, breaker.success + breaker.failure);
    assert_eq!(attempts_by_interval(&run), run.retries[0].attempts);

    let entry = &report["breakers"][0];
    assert_eq!(entry["metrics"]["circuit_breaker.tripped"], 1);
    assert_eq!(entry["metrics"]["circuit_breaker.rejected"], breaker.rejected);
    assert_eq!(entry["transitions"][0]["to"], "open");
    assert!(ended.stdout.contains("half-open at"), "{}", ended.printed());
}

/// What is asked, tried and completed of one variant.
#[test]
fn what_is_tried_again_in_slices_belongs_to_its_variant() {
    let server = Server::start({
        let asked = AtomicUsize::new(0);
        move |mut connection, _| {
            while connection.request().is_some() {
                let status = match asked.fetch_add(1, SeqCst) % 3 {
                    0 => server::answer("503 Service Unavailable", "busy"),
                    _ => ok("hello"),
                };
                connection.send(status.as_bytes());
            }
        }
    });
    let scenario = format!(
        r#"
name = "variants"
[target.api]
http = "http://127.0.0.1:{}"
[load]
users = 2
duration = "2s"
[trial]
epochs = 2
slice = "100ms"
census = 0
[[flow]]
name = "get"
[[flow.step]]
name = "get"
get = "/"
[[variant]]
name = "once"
[[variant]]
name = "again"
target.api.retry = {{ policy = "default", base = "1ms" }}
target.api.breaker = {{ success = 0.1 }}
[[threshold]]
metric = "error_rate"
critical = "+1pp"
"#,
        server.port
    );
    let (ended, run, report) = run(&scenario);
    assert_eq!(ended.code, 0, "{}", ended.printed());
    let [tried] = run.retries[..] else {
        panic!("{:?}", run.retries)
    };
    assert_eq!(run.steps[tried.step].variant.as_deref(), Some("again"));
    assert!(tried.recovered > 0 && tried.attempts > tried.retries, "{tried:?}");
    assert_eq!(attempts_by_interval(&run), tried.attempts);
    assert_eq!(report["retries"][0]["variant"], "again");
    let [breaker] = &run.breakers[..] else {
        panic!("{:?}", run.breakers)
    };
    // Lead-ins count for breakers.
    assert!(breaker.variant.as_deref() == Some("again") && breaker.success > tried.recovered);
    let alone = run.of_variant(1).unwrap();
    assert_eq!((alone.retries[0].step, alone.breakers.len()), (0, 1));
    assert_eq!(attempts_by_interval(&alone), tried.attempts);
    assert!(run.of_variant(0).unwrap().retries.is_empty());
}
