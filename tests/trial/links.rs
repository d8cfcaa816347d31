//! Links between clients and servers: what they add shows in latency, what goes wrong shows in
//! errors, and what their taps count is what the servers and the clients count themselves.

use hyper::Response;
use loadgate::run::{Count, Link, Run, Wire};

use super::{
    Slots, Told, address,
    support::{
        certificates::Authority,
        postgres::{Postgres, installed},
        program::{Desk, errors, step},
        web::Web,
    },
};

/// The demo on a database of its own behind a link, both of its endpoints, with 10 and 50 records.
fn demo(database: &str) -> Desk {
    let desk = Desk::with_scenario(&format!(
        r#"
name = "records"
[target.db]
{database}
link = {{ tap = true }}
[fixture.empty]
sql = "empty.sql"
[target.shop]
http = "http://127.0.0.1:{{port}}"
start = "loadgate demo --listen 127.0.0.1:{{port}} --database {{target.db.url}}"
ready = "/api/health"
[load]
users = 1
duration = "200ms"
[data.emissions]
repeat = '{{"user_id": 7, "kind": "travel", "kg": 1.5}}'
times = 50
[trial]
epochs = 1
slice = "100ms"
lead_in = "50ms"
census = 2
records = {{ data = "emissions", from = 10, to = 50 }}
[[variant]]
name = "naive"
[[variant.flow]]
name = "store"
[[variant.flow.step]]
name = "store"
target = "shop"
post = "/api/emissions/bulk"
body = '{{"emissions": [{{{{ emissions }}}}]}}'
[[variant]]
name = "optimised"
[[variant.flow]]
name = "store"
[[variant.flow.step]]
name = "store"
target = "shop"
post = "/api/emissions/bulk-optimized"
body = '{{"emissions": [{{{{ emissions }}}}]}}'
"#
    ));
    std::fs::write(desk.path().join("empty.sql"), "SELECT 1;\n").unwrap();
    desk
}

/// What was counted of both endpoints: queries and round trips per request, queries per record.
fn endpoints(told: &Told) -> Vec<[f64; 3]> {
    let counters = [
        "queries_per_operation",
        "round_trips_per_operation",
        "queries_per_record",
    ];
    let of = |variant| counters.map(|counter| told.counted(variant, "store", counter));
    ["naive", "optimised"].map(of).to_vec()
}

#[test]
fn the_tap_and_the_server_count_the_same() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    // Here pg_stat_statements counts queries, and the tap round trips; a note tells where the tap saw other queries.
    let both = Told::of(&demo("postgres = \"ephemeral\""), "scenario.toml", &[]);
    // Here nobody counts but the tap.
    let own = format!("postgres = \"{}\"\nfixture = \"empty\"\ncreate = true", server.url());
    let alone = Told::of(&demo(&own), "scenario.toml", &[]);
    let census = |told: &Told| told.ended.stored().census.unwrap().notes.join("\n");
    let agreed = census(&both);
    assert!(
        !agreed.contains("pg_stat_statements") && !agreed.contains("the links saw"),
        "{agreed}"
    );
    assert!(census(&alone).contains("pg_stat_statements"), "{}", census(&alone));
    let counted = endpoints(&both);
    assert_eq!(endpoints(&alone), counted);
    let [naive, optimised] = [counted[0], counted[1]];
    assert_eq!([naive[0], naive[2], optimised[2]], [150.0, 3.0, 0.0]);
    assert!(naive[1] >= 150.0 && optimised[1] < 10.0, "{counted:?}");
    for variant in ["naive", "optimised"] {
        assert_eq!(
            both.counted(variant, "store", "queries_per_operation"),
            alone.counted(variant, "store", "queries_per_operation")
        );
    }
    let run = both.ended.stored();
    assert_eq!(run.links.len(), 2);
    assert!(
        run.links.iter().all(|link| link.wire.as_ref().unwrap().queries > 0),
        "{:?}",
        run.links
    );
    assert!(both.page.contains("id=\"links\"") && both.ended.stdout.contains("round trips"));
    assert_eq!(both.report["links"].as_array().unwrap().len(), 2);
}

/// Statements on a database behind a link.
fn statements(database: &str, more: &str) -> Desk {
    Desk::with_scenario(&format!(
        r#"
name = "linked"
[target.db]
{database}
[load]
users = 1
iterations = 5
[[flow]]
name = "read"
{more}"#
    ))
}

const ONE_AND_THREE: &str = r#"
[[flow.step]]
name = "one"
sql = "SELECT 1 AS a"
[[flow.step]]
name = "three"
transaction = [{ sql = "SELECT 1 AS a" }, { sql = "SELECT 2 AS a" }, { sql = "SELECT 3 AS a" }]
[trial]
census = 2
"#;

fn wire(link: &Link) -> &Wire {
    link.wire.as_ref().unwrap()
}

/// What the client counted of a step, per operation.
fn round_trips(run: &Run, name: &str) -> f64 {
    let at = run.steps.iter().position(|step| step.name == name).unwrap();
    let counted = run.census.as_ref().unwrap().step(at).unwrap();
    let Count { first, .. } = counted.counts[&loadgate::metric::Counter::RoundTrips];
    first as f64 / counted.operations as f64
}

#[test]
fn every_round_trip_takes_the_delay() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let database = "postgres = \"ephemeral\"\nlink = { delay = \"20ms\", connect_delay = \"30ms\" }";
    let told = Told::of(&statements(database, ONE_AND_THREE), "scenario.toml", &[]).exits(0);
    let run = told.ended.stored();
    for name in ["one", "three"] {
        let least = 20e6 * round_trips(&run, name);
        let quickest = step(&run, name).response_time.completed.min().unwrap();
        // A histogram knows three digits.
        assert!(quickest >= least * 0.999, "{name}: {quickest} {least}");
        assert!(quickest < least * 1.9, "{name}: {quickest} {least}");
    }
    let [link] = run.links.as_slice() else {
        panic!("{:?}", run.links)
    };
    assert_eq!(
        (link.delay_s, link.connect_delay_s, &link.faults),
        (0.02, 0.03, &Vec::new())
    );
    // Five passes of four queries, and the version, which is asked for once.
    assert_eq!(wire(link).queries, 5 * 4 + 1, "{link:?}");
    assert_eq!(
        (wire(link).errors, wire(link).unreadable, wire(link).encrypted),
        (0, 0, 0)
    );
    let busiest = link.connections.first().unwrap();
    let each = round_trips(&run, "one") + round_trips(&run, "three");
    assert!(
        (5.0 * each..5.0 * each + 4.0).contains(&(busiest.round_trips as f64)),
        "{busiest:?}"
    );
}

#[test]
fn large_answers_and_what_is_given_up_pass_through() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    let database = format!(
        "postgres = \"{}\"\nlink = {{ delay = \"2ms\", bandwidth = \"200 MB/s\" }}",
        server.url()
    );
    let steps = r#"
[[flow.step]]
name = "large"
sql = "SELECT repeat('x', 1000) AS t FROM generate_series(1, 8000)"
[[flow.step]]
name = "late"
sql = "SELECT pg_sleep(60)"
timeout = "300ms"
"#;
    let told = Told::of(&statements(&database, steps), "scenario.toml", &[]);
    let run = told.ended.stored();
    assert_eq!(step(&run, "large").response_time.completed.count(), 5);
    assert_eq!(errors(step(&run, "late")), [("timeout".to_owned(), 5)]);
    let link = &run.links[0];
    assert!(link.traffic.received_bytes > 5 * 8_000_000, "{link:?}");
    assert_eq!(wire(link).cancels, 5);
    server.wait_until(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()",
    );
}

#[test]
fn an_encrypted_connection_passes_and_is_not_read() {
    let _slot = Slots::one();
    let Some(server) = Postgres::start() else { return };
    let authority = Authority::new();
    server.secure(&authority.sign(&["127.0.0.1"]));
    let database = format!(
        "postgres = \"{}?sslmode=require\"\ninsecure = true\nlink = {{}}",
        server.url()
    );
    let steps = "[[flow.step]]\nname = \"one\"\nsql = \"SELECT 1 AS a\"\n";
    let told = Told::of(&statements(&database, steps), "scenario.toml", &[]).exits(0);
    let run = told.ended.stored();
    let link = &run.links[0];
    assert_eq!((wire(link).queries, wire(link).logins), (0, 0));
    assert!(wire(link).encrypted >= 2, "{link:?}");
    assert!(
        told.ended.stdout.contains("could not be read: encrypted"),
        "{}",
        told.ended.stdout
    );
}

#[test]
fn a_service_is_as_far_away_as_its_link_is_long() {
    let _slot = Slots::one();
    let web = Web::start(None, |_| Response::new("done".into()));
    let desk = Desk::with_scenario(&format!(
        r#"
name = "far"
[target.api]
http = "http://127.0.0.1:{}"
link = {{ delay = "25ms" }}
[load]
users = 1
iterations = 5
[[flow]]
name = "ask"
[[flow.step]]
name = "ask"
get = "/"
"#,
        web.port
    ));
    let told = Told::of(&desk, "scenario.toml", &[]).exits(0);
    let run = told.ended.stored();
    assert!(step(&run, "ask").response_time.completed.min().unwrap() >= 24_900_000.0);
    assert!(run.links[0].wire.is_none() && run.links[0].traffic.received_bytes > 0);
}

/// A steady load on a database whose link is faulty for a while in its middle.
fn faulty(fault: &str) -> Option<Run> {
    let server = Postgres::start()?;
    let desk = Desk::with_scenario(&format!(
        r#"
name = "faulty"
[target.db]
postgres = "{}"
timeout = "300ms"
link = {{ fault = [{fault}] }}
[load]
rate = "40/s"
duration = "4s"
max_in_flight = 8
[[flow]]
name = "read"
[[flow.step]]
name = "read"
sql = "SELECT 1 AS a"
"#,
        address(&server, "postgres")
    ));
    Some(Told::of(&desk, "scenario.toml", &[]).ended.stored())
}

/// Failed only while it lasted or shortly after, and fine before and at the end.
fn fails_in_the_middle(run: &Run, kinds: &[&str]) {
    let failed = errors(step(run, "read"));
    assert!(!failed.is_empty());
    assert!(
        failed.iter().all(|(class, _)| kinds.contains(&class.as_str())),
        "{failed:?}"
    );
    let completed = |k: u64| -> u64 {
        let second = run.intervals.iter().filter(|interval| interval.k == k);
        second
            .flat_map(|interval| &interval.steps)
            .map(|step| step.completed)
            .sum()
    };
    assert!(completed(0) > 0, "nothing before the fault");
    assert!(completed(3) > 0, "nothing after the fault: {failed:?}");
    for error in &step(run, "read").errors {
        assert!(error.first_s >= 1.0, "{error:?}");
    }
}

#[test]
fn a_link_that_refuses_fails_at_once_and_recovers() {
    let _slot = Slots::one();
    let Some(run) = faulty(r#"{ at = "1s", for = "1s", kind = "refuse" }"#) else {
        return;
    };
    fails_in_the_middle(&run, &["connect", "disconnected"]);
    assert_eq!(
        (run.links[0].faults[0].kind.as_str(), run.links[0].faults[0].at_s),
        ("refuse", 1.0)
    );
}

#[test]
fn a_blackhole_is_met_by_timeouts() {
    let _slot = Slots::one();
    let Some(run) = faulty(r#"{ at = "1s", for = "1s", kind = "blackhole" }"#) else {
        return;
    };
    fails_in_the_middle(&run, &["timeout", "connect timeout"]);
}

#[test]
fn after_a_reset_connections_are_made_anew() {
    let _slot = Slots::one();
    let Some(run) = faulty(r#"{ at = "1500ms", kind = "reset" }, { at = "2s", for = "500ms", delay = "60ms" }"#) else {
        return;
    };
    let logins = wire(&run.links[0]).logins;
    assert!(logins >= 2, "{logins}");
    let slowest = step(&run, "read").response_time.completed.max().unwrap();
    assert!(slowest >= 60_000_000.0, "{slowest}");
    assert_eq!(run.links[0].faults.len(), 2);
}
