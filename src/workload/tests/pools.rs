//! Whose connections operations use: what profiles say, what is written over them, and slips.

use std::time::Duration;

use super::{super::Kind, compiled, told};
use crate::workload::{Connections, PoolLimits, Workload};

fn text(target: &str, rest: &str) -> String {
    format!(
        "name = \"test\"\n[target.db]\npostgres = \"postgres://h/d\"\n{target}\n[load]\nusers = 1\nduration = \"1s\"\n\
         [[flow]]\nname = \"f\"\nstep = [{{ sql = \"SELECT 1\" }}]\n{rest}"
    )
}

fn connections(workload: &Workload) -> Connections {
    match &workload.targets[0].kind {
        Kind::Postgres(postgres) => postgres.connections.clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn limits(pool: &str) -> PoolLimits {
    match connections(&compiled(&text(&format!("pool = {pool}"), ""))) {
        Connections::Pooled(limits) => limits,
        other => panic!("{other:?}"),
    }
}

#[test]
fn profiles_have_the_figures_that_people_know_them_by() {
    for (name, initial, min, max, idle_s) in [
        ("development", 1, 1, 5, 10),
        ("test", 1, 1, 3, 5),
        ("staging", 5, 5, 20, 60),
        ("production", 10, 10, 30, 300),
        ("high-load", 20, 20, 50, 600),
        ("auth", 5, 2, 20, 300),
    ] {
        let limits = limits(&format!("\"{name}\""));
        let figures = (limits.initial, limits.min, limits.max, limits.idle.as_secs());
        assert_eq!((limits.profile, figures), (name, (initial, min, max, idle_s)));
        assert_eq!(limits.acquire_timeout, Duration::from_secs(30));
    }
}

#[test]
fn what_is_written_goes_before_the_profile() {
    let written = limits(
        "{ profile = \"staging\", initial = 3, min = 1, max = 7, idle = \"2s\", lifetime = \"1m\", \
         acquire_timeout = \"1s\", queue = 4, validate = \"0s\" }",
    );
    let expected = PoolLimits {
        profile: "staging",
        initial: 3,
        min: 1,
        max: 7,
        queue: 4,
        idle: Duration::from_secs(2),
        lifetime: Duration::from_secs(60),
        acquire_timeout: Duration::from_secs(1),
        validate: Duration::ZERO,
        bulkheads: false,
    };
    assert_eq!(written, expected);
    // A profile asks for no more than there may be.
    let small = limits("{ max = 2 }");
    assert_eq!(
        (small.profile, small.initial, small.min, small.max),
        ("production", 2, 2, 2)
    );
    let kept = limits("{ min = 4 }");
    assert_eq!((kept.initial, kept.min, kept.max), (4, 4, 30));
}

#[test]
fn without_a_pool_a_session_or_an_operation_has_its_own_connection() {
    assert_eq!(connections(&compiled(&text("", ""))), Connections::PerSession);
    assert_eq!(
        connections(&compiled(&text("pool = \"none\"", ""))),
        Connections::PerOperation
    );
}

#[test]
fn a_variant_has_a_pool_of_its_own_or_changes_that_of_all() {
    let variants = "[[variant]]\nname = \"a\"\n[[variant]]\nname = \"b\"\ntarget.db.pool.max = 3\n\
                    [[variant]]\nname = \"c\"\ntarget.db.pool = \"none\"\n";
    let workload = compiled(&text("pool = { profile = \"auth\", queue = 9 }", variants));
    let figures = |workload: &Workload| match connections(workload) {
        Connections::Pooled(limits) => Some((limits.profile, limits.max, limits.queue)),
        _ => None,
    };
    assert_eq!(figures(&workload), Some(("auth", 20, 9)));
    assert_eq!(figures(&workload.others[0]), Some(("auth", 3, 9)));
    assert_eq!(connections(&workload.others[1]), Connections::PerOperation);
}

#[test]
fn slips_are_told_with_what_is_allowed() {
    for (pool, wanted) in [
        (
            "{ max = 0 }",
            "`max` of the pool is out of bounds: must be from 1 to 10000",
        ),
        (
            "{ min = -1 }",
            "`min` of the pool is out of bounds: must be from 0 to 10000",
        ),
        (
            "{ queue = -1 }",
            "`queue` of the pool is out of bounds: must be from 0 to 1000000",
        ),
        (
            "{ min = 5, max = 4 }",
            "`min` of the pool is above its `max`: min = 5, max = 4",
        ),
        (
            "{ profile = \"test\", initial = 9 }",
            "`initial` of the pool is above its `max`: initial = 9, and `max` is 3 by the profile \"test\"",
        ),
        ("\"prod\"", "unknown pool: no profile is called \"prod\""),
        ("{ profile = \"none\" }", "unknown pool: no profile is called \"none\""),
        (
            "{ idle = \"0s\" }",
            "not a duration for `idle` of the pool: it must be above zero",
        ),
        (
            "{ acquire_timeout = \"5\" }",
            "not a duration for `acquire_timeout` of the pool: a duration needs a unit, as in \"5s\" or \"5ms\"",
        ),
        ("{ size = 5 }", "unknown key `size`: `target.db.pool` has no such key"),
    ] {
        assert_eq!(told(&text(&format!("pool = {pool}"), "")), [wanted], "{pool}");
    }
    let sqlite = text("pool = \"auth\"", "").replace("postgres = \"postgres://h/d\"", "sqlite = \"x.db\"");
    assert_eq!(told(&sqlite), ["`pool` does not belong here: it is for PostgreSQL"]);
}

#[test]
fn a_pool_is_other_work_and_its_limits_are_not() {
    let fingerprint = |pool: &str| compiled(&text(pool, "")).fingerprint;
    let auth = fingerprint("pool = \"auth\"");
    assert_eq!(auth, fingerprint("pool = { max = 3 }"));
    for other in ["", "pool = \"none\""] {
        assert_eq!(auth.differences(&fingerprint(other)), ["flows"]);
    }
}
