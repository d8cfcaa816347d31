//! Pools of connections on a real server: who waits, who is turned away, what is
//! closed and what is replaced.

use loadgate::run::{Health, Pool, Run};

use super::run;
use crate::support::{
    postgres::Postgres,
    program::{Desk, errors, step},
};

const SLEEPER: &str = r#"
[[flow]]
name = "f"
[[flow.step]]
name = "sleep"
sql = "SELECT pg_sleep(0.5)"
"#;

fn pooled(postgres: &Postgres, pool: &str, load: &str, rest: &str) -> Run {
    let url = postgres.url();
    let scenario = format!("name = \"test\"\n[target.db]\npostgres = \"{url}\"\npool = {pool}\n[load]\n{load}\n{rest}");
    Desk::with_scenario(&scenario).run().stored()
}

#[track_caller]
fn pool(run: &Run) -> &Pool {
    let [pool] = run.pools.as_slice() else {
        panic!("{:?}", run.pools)
    };
    let events = &pool.events;
    assert_eq!(events.acquire_request, events.acquire_success + events.acquire_fail);
    assert_eq!(events.acquire_success, events.release);
    assert_eq!(events.create_success, events.destroy_success, "some were left open");
    pool
}

#[test]
fn one_gets_the_connection_one_waits_too_long_and_the_others_are_turned_away() {
    let postgres = postgres_or_skip!();
    let run = pooled(
        &postgres,
        "{ max = 1, queue = 1, acquire_timeout = \"100ms\" }",
        "users = 4\niterations = 4",
        SLEEPER,
    );
    let sleep = step(&run, "sleep");
    assert_eq!(sleep.completed(), 1);
    let told = [("shed".to_owned(), 2), ("pool timeout".to_owned(), 1)];
    assert_eq!(errors(sleep), told);
    assert_eq!(sleep.acquire.count(), 4);
    let pool = pool(&run);
    // Who is turned away is so at once, perhaps before anybody has begun to look.
    assert!(pool.window.timeouts == 1 && pool.window.shed <= 2, "{pool:?}");
    assert_eq!(pool.health, Health::Critical);
    assert!(pool.health_score.unwrap() <= 0.5, "{pool:?}");
    assert_eq!((pool.events.create_success, pool.events.acquire_fail), (1, 3));
}

#[test]
fn many_users_share_few_connections_and_each_is_served() {
    let postgres = postgres_or_skip!();
    let statement = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"who\"\nsql = \"SELECT pg_backend_pid()\"\n";
    let run = pooled(
        &postgres,
        "{ max = 3, initial = 2 }",
        "users = 12\niterations = 3000",
        statement,
    );
    let who = step(&run, "who");
    assert_eq!((who.completed(), errors(who)), (3000, vec![]));
    let latencies = [&who.acquire, &who.first_byte, &who.body];
    assert_eq!(latencies.map(loadgate::run::Latency::count), [3000; 3]);
    assert!(who.connect.count() <= 1, "{}", who.connect.count());
    let pool = pool(&run);
    assert!(pool.events.create_success <= 3 && pool.most_used() <= 3, "{pool:?}");
    assert_eq!(pool.events.acquire_success, 3000);
    assert_eq!(pool.health_score, Some(1.0));
}

#[test]
fn a_connection_that_the_server_ended_is_replaced() {
    let postgres = postgres_or_skip!();
    let statement = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"end\"\nsql = \"SELECT pg_terminate_backend(pg_backend_pid())\"\n";
    let run = pooled(&postgres, "{ max = 1 }", "users = 1\niterations = 3", statement);
    assert_eq!(errors(step(&run, "end")), [("sqlstate 57P01".to_owned(), 3)]);
    let pool = pool(&run);
    // The first was made before the load; the last that broke may be replaced still, by who tends the pool.
    assert!((3..=4).contains(&pool.events.create_success), "{:?}", pool.events);
    assert_eq!(pool.events.error, 3);
}

#[test]
fn a_transaction_that_is_left_open_is_not_passed_on() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE note (id int)");
    let rest = r#"
[[flow]]
name = "f"
[[flow.step]]
name = "leave"
statements = [{ sql = "BEGIN" }, { sql = "INSERT INTO note VALUES (1)" }]
[[flow.step]]
name = "look"
sql = "SELECT id FROM note"
expect = { rows = 0 }
"#;
    let run = pooled(&postgres, "{ max = 1 }", "users = 2\niterations = 10", rest);
    assert_eq!(
        (step(&run, "look").completed(), errors(step(&run, "look"))),
        (10, vec![])
    );
    assert_eq!(postgres.number("SELECT count(*) FROM note"), 0);
    assert!(pool(&run).events.create_success > 10);
}

#[test]
fn idle_connections_are_closed_while_load_goes_on() {
    let postgres = postgres_or_skip!();
    let statement = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"one\"\nsql = \"SELECT 1\"\n";
    let limits = "{ initial = 4, min = 2, max = 5, idle = \"1s\" }";
    let run = pooled(
        &postgres,
        limits,
        "users = 1\nthink = \"10ms\"\nduration = \"4s\"",
        statement,
    );
    let pool = pool(&run);
    // Not the last: the window has ended then, and connections are being closed.
    let open = |at: usize| pool.samples[at].used + pool.samples[at].free;
    assert_eq!(
        (open(0) >= 2, open(pool.samples.len() - 2)),
        (true, 2),
        "{:?}",
        pool.samples
    );
    assert_eq!(pool.events.create_success, 4);
    assert_eq!(errors(step(&run, "one")), []);
}

#[test]
fn a_connection_per_operation_is_made_and_closed_for_each() {
    let postgres = postgres_or_skip!();
    let statement = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"one\"\nsql = \"SELECT 1\"\n";
    let run = pooled(&postgres, "\"none\"", "users = 2\niterations = 50", statement);
    let one = step(&run, "one");
    assert_eq!((one.completed(), one.connect.count(), one.acquire.count()), (50, 50, 0));
    assert!(run.pools.is_empty());
    postgres.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'loadgate'");
    let own = run_without_pool(&postgres, statement);
    let one = step(&own, "one");
    assert_eq!(
        (one.connect.count(), one.first_byte.count(), one.body.count()),
        (0, 50, 50)
    );
}

fn run_without_pool(postgres: &Postgres, statement: &str) -> Run {
    run(postgres, "prepared", "users = 2\niterations = 50", statement).stored()
}
