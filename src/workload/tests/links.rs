//! Links and poolers of targets: what they mean, and what is told of those that mean nothing.

use std::time::Duration;

use super::{compiled, told};
use crate::workload::{Fault, FaultKind, Link};

fn scenario(db: &str, more: &str) -> String {
    format!(
        "name = \"t\"\n[target.db]\n{db}\n{more}\n[load]\nusers = 1\nduration = \"10s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\ntarget = \"db\"\nsql = \"SELECT 1\"\n"
    )
}

fn linked(link: &str) -> String {
    scenario(&format!("postgres = \"postgres://h/d\"\nlink = {link}"), "")
}

#[test]
fn a_link_is_read_in_numbers() {
    let workload = compiled(&linked(
        "{ delay = \"25ms\", jitter = \"2ms\", bandwidth = \"10 MB/s\", fault = [{ at = \"5s\", for = \"1s\", kind = \"blackhole\" }, { at = \"1s\", kind = \"reset\" }, { at = \"2s\", for = \"3s\", delay = \"1s\" }] }",
    ));
    let fault = |at, lasting, kind| Fault {
        at: Duration::from_secs(at),
        lasting: Duration::from_secs(lasting),
        kind,
    };
    let expected = Link {
        delay: Duration::from_millis(25),
        connect_delay: Duration::ZERO,
        jitter: Duration::from_millis(2),
        bandwidth: Some(10_000_000),
        tap: true,
        faults: vec![
            fault(5, 1, FaultKind::Blackhole),
            fault(1, 0, FaultKind::Reset),
            fault(2, 3, FaultKind::Delay(Duration::from_secs(1))),
        ],
    };
    assert_eq!(workload.targets[0].link, Some(expected));
    assert_eq!(
        compiled(&linked("{ tap = false }")).targets[0]
            .link
            .as_ref()
            .map(|link| link.tap),
        Some(false)
    );
}

#[test]
fn a_link_that_only_counts_changes_no_fingerprint() {
    let print = |text: &str| compiled(text).fingerprint.flows;
    let none = print(&scenario("postgres = \"postgres://h/d\"", ""));
    assert_eq!(print(&linked("{}")), none);
    assert_ne!(print(&linked("{ delay = \"1ms\" }")), none);
}

#[test]
fn links_that_mean_nothing_are_told() {
    for (link, wanted) in [
        (
            "{ delay = \"5m\" }",
            "not a delay: longer than 60s; what never arrives is a `blackhole`",
        ),
        (
            "{ bandwidth = \"10 MB\" }",
            "not a bandwidth: bytes per second are written like \"10 MB/s\"",
        ),
        (
            "{ bandwidth = \"0B/s\" }",
            "not a bandwidth: nothing would pass; that is a `blackhole`",
        ),
        (
            "{ fault = [{ at = \"1s\", for = \"1s\", kind = \"fire\" }] }",
            "unknown word: use \"refuse\" or \"blackhole\" or \"reset\"",
        ),
        (
            "{ fault = [{ at = \"1s\", for = \"1s\" }] }",
            "not a fault: exactly one of `kind`, `delay`",
        ),
        (
            "{ fault = [{ for = \"1s\", kind = \"refuse\" }] }",
            "a fault without a time: `at` is missing",
        ),
        (
            "{ fault = [{ at = \"1s\", kind = \"refuse\" }] }",
            "a fault without a length: `for` is missing",
        ),
        (
            "{ fault = [{ at = \"1s\", for = \"1s\", kind = \"reset\" }] }",
            "a reset has no length: it happens at that moment",
        ),
        (
            "{ fault = [{ at = \"20s\", kind = \"reset\" }] }",
            "a fault that never comes: the load ends after 10 s",
        ),
    ] {
        assert_eq!(told(&linked(link)), [wanted], "{link}");
    }
    let several = scenario("postgres = \"postgres://a,b/d\"\nlink = {}", "");
    assert_eq!(
        told(&several),
        ["a link to several servers: the address names more than one"]
    );
    let file = scenario("sqlite = \"a.db\"\nlink = {}", "");
    assert_eq!(
        told(&file),
        ["`link` does not belong here: it is for what is reached over a network"]
    );
}

#[test]
fn a_pooler_stands_before_a_database() {
    let with = |bouncer: &str| scenario("postgres = \"ephemeral\"", &format!("[target.pool]\n{bouncer}"));
    let workload = compiled(&with(
        "pgbouncer = \"db\"\nsettings = { default_pool_size = 5, server_check_query = \"select 1\" }",
    ));
    let pooler = workload.targets[1].pooler.as_ref().unwrap();
    assert_eq!(workload.targets[pooler.before].name, "db");
    assert_eq!(pooler.settings["default_pool_size"], "5");
    for (bouncer, wanted) in [
        (
            "pgbouncer = \"shop\"",
            "no database \"shop\" to stand before: names a target with `postgres` and without `start`",
        ),
        (
            "pgbouncer = \"pool\"",
            "no database \"pool\" to stand before: names a target with `postgres` and without `start`",
        ),
        (
            "pgbouncer = \"db\"\nsettings = { \"a b\" = 1 }",
            "not a setting: `a b` is no name of a setting of PgBouncer",
        ),
        (
            "pgbouncer = \"db\"\nsettings = { auth_type = \"any\" }",
            "not a setting to choose: loadgate itself chooses `auth_type`",
        ),
        (
            "pgbouncer = \"db\"\nsettings = { pool_mode = \"a\\nb\" }",
            "not a value of a setting: a value is one line of 200 bytes at most",
        ),
        (
            "pgbouncer = \"db\"\nfixture = \"x\"",
            "`fixture` does not belong here: it is for a database itself, not for a `pgbouncer` before it",
        ),
    ] {
        assert_eq!(told(&with(bouncer)), [wanted], "{bouncer}");
    }
}
