//! Logins as servers want them, TLS, and what one session counts.

use std::{fs, sync::Arc};

use loadgate::{
    sample::Outcome,
    scenario::{Text, parse},
    target::{Connector, Operation, Reply, Session as _, Sessions},
    workload::{Action, Values, Workload, compile},
};

use super::{ONE, PROTOCOLS, Postgres, run, scenario};
use crate::support::{
    certificates::Authority,
    program::{Desk, errors, step},
};

const FEW: &str = "users = 2\niterations = 10";

fn completes(address: &str, keys: &str, authority: Option<&str>) {
    let text = scenario(address, "prepared", FEW, ONE).replace("[load]", &format!("{keys}\n[load]"));
    let desk = Desk::with_scenario(&text);
    if let Some(pem) = authority {
        fs::write(desk.path().join("authority.pem"), pem).unwrap();
    }
    let ended = desk.run();
    assert!(!ended.printed().contains("right-word"), "{}", ended.printed());
    assert_eq!(ended.stored().accounting.completed, 10, "{address}: {}", ended.stderr);
}

#[test]
fn every_form_of_password_is_known() {
    let postgres = postgres_or_skip!();
    for (name, encryption) in [("scram", "scram-sha-256"), ("hashed", "md5"), ("plain", "md5")] {
        postgres.sql(&format!(
            "SET password_encryption = '{encryption}'; CREATE ROLE {name} LOGIN PASSWORD 'right-word'"
        ));
    }
    postgres.admit(&[
        "host all scram all scram-sha-256",
        "host all hashed all md5",
        "host all plain all password",
        "host all all all trust",
    ]);
    for name in ["scram", "hashed", "plain"] {
        let address = |password: &str| format!("postgres://{name}{password}@127.0.0.1:{}/postgres", postgres.port());
        completes(&address(":right-word"), "", None);
        for (password, reason) in [(":wrong-word", "28P01"), ("", "wants a password")] {
            let refused = Desk::with_scenario(&scenario(&address(password), "prepared", FEW, ONE)).run();
            assert_eq!(refused.code, 4, "{name}: {}", refused.stderr);
            assert!(refused.stderr.contains(reason), "{name}: {}", refused.stderr);
        }
    }
}

#[test]
fn tls_is_used_as_the_address_wants_it() {
    let postgres = postgres_or_skip!();
    let authority = Authority::new();
    postgres.secure(&authority.sign(&["127.0.0.1"]));
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'right-word'");
    postgres.admit(&[
        "hostssl all guest all scram-sha-256",
        "hostnossl all postgres all trust",
    ]);
    let address = |options: &str| {
        format!(
            "postgres://guest:right-word@127.0.0.1:{}/postgres?{options}",
            postgres.port()
        )
    };
    let (trusting, pem) = ("ca = \"authority.pem\"", Some(authority.pem.as_str()));
    for options in [
        "sslmode=require",
        "sslmode=prefer",
        // The login is bound to the certificate, which only the right server has.
        "sslmode=require&channel_binding=require",
        "sslmode=require&channel_binding=disable",
    ] {
        completes(&address(options), trusting, pem);
    }
    completes(&address("sslmode=require"), "insecure = true", None);

    let unknown = Desk::with_scenario(&scenario(&address("sslmode=require"), "prepared", FEW, ONE)).run();
    assert_eq!(unknown.code, 4, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("UnknownIssuer"), "{}", unknown.stderr);

    let open = Desk::with_scenario(&scenario(&address("sslmode=disable"), "prepared", FEW, ONE)).run();
    assert_eq!(open.code, 4, "{}", open.stderr);
    assert!(open.stderr.contains("28000"), "{}", open.stderr);

    // What is cut off is cancelled over TLS too.
    let slow =
        "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nsql = \"SELECT pg_sleep(600)\"\ntimeout = \"100ms\"\n";
    let text = scenario(
        &address("sslmode=require"),
        "prepared",
        "users = 1\niterations = 3",
        slow,
    )
    .replace("[load]", "insecure = true\n[load]");
    let run = Desk::with_scenario(&text).run().stored();
    assert_eq!(errors(step(&run, "s")), [("timeout".to_owned(), 3)]);
    postgres
        .wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)' AND state = 'active'");
}

#[test]
fn a_server_without_tls_is_refused_where_tls_is_required() {
    let postgres = postgres_or_skip!();
    let refused = Desk::with_scenario(&scenario(
        &format!("{}?sslmode=require", postgres.url()),
        "prepared",
        FEW,
        ONE,
    ))
    .run();
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("does not support TLS"), "{}", refused.stderr);
}

#[test]
fn settings_of_the_address_reach_the_server_and_the_first_that_answers_is_taken() {
    let postgres = postgres_or_skip!();
    // Nothing listens on port 1.
    let address = format!(
        "host=127.0.0.1,127.0.0.1 port=1,{} user=postgres dbname=postgres application_name=loader \
         options='-c statement_timeout=77s' target_session_attrs=read-write",
        postgres.port()
    );
    let rest = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\n\
        sql = \"SELECT current_setting('application_name') AS a, current_setting('statement_timeout') AS b\"\n\
        expect = { json = { \"$[0].a\" = \"loader\", \"$[0].b\" = \"77s\" } }\n";
    for protocol in PROTOCOLS {
        let run = Desk::with_scenario(&scenario(&address, protocol, FEW, rest))
            .run()
            .stored();
        assert_eq!(
            (run.accounting.completed, errors(step(&run, "s"))),
            (10, vec![]),
            "{protocol}"
        );
    }
    let read_only = format!("{address} target_session_attrs=read-only");
    let refused = Desk::with_scenario(&scenario(&read_only, "prepared", FEW, ONE)).run();
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("not read only"), "{}", refused.stderr);
}

#[test]
fn types_of_the_databases_own_are_read_in_every_protocol() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TYPE mood AS ENUM ('sad', 'so-so'); CREATE DOMAIN small AS int CHECK (VALUE < 10)");
    // Kept by what it expects.
    let rest = "[[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\n\
        sql = \"SELECT 'sad'::mood AS one, ARRAY['sad', 'so-so']::mood[] AS more, ARRAY[1, 2] AS numbers, 7::small::text AS small\"\n\
        expect = { json = { \"$[0].one\" = \"sad\", \"$[0].more[1]\" = \"so-so\", \"$[0].numbers[1]\" = 2, \"$[0].small\" = \"7\" } }\n";
    for protocol in ["prepared", "extended"] {
        let run = run(&postgres, protocol, FEW, rest).stored();
        assert_eq!(
            (run.accounting.completed, errors(step(&run, "s"))),
            (10, vec![]),
            "{protocol}"
        );
    }
}

fn compiled(address: &str, protocol: &str, rest: &str) -> Workload {
    let text = Text {
        path: "t.toml".into(),
        toml: scenario(address, protocol, FEW, rest),
    };
    compile(parse(text, &[]).unwrap(), &|_| None).unwrap_or_else(|rejected| panic!("{:?}", rejected.problems))
}

/// What the steps of the only flow need, each performed once on one session: round trips and queries.
async fn counts(address: &str, protocol: &str, rest: &str) -> Vec<(u32, u32)> {
    let workload = compiled(address, protocol, rest);
    let connector = Connector::bind(&workload, 0, workload.targets[0].kind.address(), None, 1)
        .await
        .unwrap();
    let mut sessions = Sessions::new(&[connector]);
    sessions.connect().await;
    let (mut values, mut reply) = (Values::new(&workload), Reply::default());
    values.begin(0, &Arc::from([]));
    let mut counted = Vec::new();
    for action in &workload.flows[0].actions {
        let Action::Step(step) = action else { continue };
        let operation = Operation {
            step,
            values: &mut values,
        };
        let outcome = sessions.perform(operation, &mut reply).await;
        assert_eq!(outcome, Outcome::Completed, "{:?}", reply.message);
        counted.push((reply.round_trips, reply.queries));
    }
    counted
}

#[test]
fn round_trips_and_queries_are_counted() {
    let postgres = postgres_or_skip!();
    postgres.sql("CREATE TABLE t (id int)");
    let rest = r#"
[[flow]]
name = "f"
[[flow.step]]
name = "one"
sql = "SELECT 1"
[[flow.step]]
name = "table"
sql = "CREATE TABLE later (id int)"
[[flow.step]]
name = "transaction"
transaction = [{ sql = "INSERT INTO t VALUES (1)" }, { sql = "INSERT INTO later VALUES (1)" }]
[[flow.step]]
name = "again"
transaction = [{ sql = "INSERT INTO t VALUES (1)" }, { sql = "INSERT INTO later VALUES (1)" }]
"#;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for protocol in PROTOCOLS {
        postgres.sql("DROP TABLE IF EXISTS later");
        let counted = runtime.block_on(counts(&postgres.url(), protocol, rest));
        // What could not be prepared ahead takes one more, once.
        let (first, again) = match protocol {
            "prepared" => (5, 4),
            "pipelined" => (2, 1),
            _ => (4, 4),
        };
        assert_eq!(counted, [(1, 1), (1, 1), (first, 2), (again, 2)], "{protocol}");
    }
}
