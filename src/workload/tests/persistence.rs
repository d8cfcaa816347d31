//! Retry policies and breakers: their values, whose they are, and what makes no sense.

use std::time::Duration;

use super::{Action, Step, Workload, compiled, told};
use crate::{
    sample::ErrorClass,
    workload::{BreakerLimits, Jitter, Retryable},
};

const MS: Duration = Duration::from_millis(1);

fn text(target: &str, step: &str) -> String {
    format!(
        "name = \"t\"\n[target.db]\npostgres = \"postgres://h/d\"\n{target}\n[load]\nusers = 1\nduration = \"1s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"a\"\nsql = \"SELECT 1\"\n{step}\n\
         [[flow.step]]\nname = \"b\"\nsql = \"SELECT 2\"\n"
    )
}

fn steps(workload: &Workload) -> Vec<&Step> {
    let actions = workload.flows[0].actions.iter();
    actions
        .map(|action| match action {
            Action::Step(step) => step,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn policies_have_their_values() {
    for (name, attempts, base, max) in [
        ("default", 5, 1000, 30_000),
        ("database", 3, 500, 5000),
        ("transaction", 5, 100, 2000),
    ] {
        let workload = compiled(&text(&format!("retry = \"{name}\""), ""));
        let policy = steps(&workload)[1].retry.clone().unwrap();
        assert_eq!(
            (
                policy.attempts,
                policy.base,
                policy.max,
                policy.multiplier,
                policy.jitter
            ),
            (attempts, base * MS, max * MS, 2.0, Jitter::Full)
        );
        let sql = |code: &[u8; 5]| Retryable::Class(ErrorClass::SqlState(*code));
        for retried in [sql(b"40001"), sql(b"40P01"), sql(b"53300"), Retryable::SqlClass(*b"08")] {
            assert!(policy.on.contains(&retried), "{name}: {retried:?}");
        }
        let status = Retryable::Class(ErrorClass::Status(503));
        assert_eq!(policy.on.contains(&status), name == "default");
    }
}

#[test]
fn the_policy_of_a_step_replaces_that_of_its_target() {
    let own = "retry = { policy = \"database\", attempts = 7, base = \"1ms\", max = \"9ms\", multiplier = 3, \
               jitter = \"equal\", on = [\"40P01\", \"55\", \"http 503\", \"rejected\"] }";
    let workload = compiled(&text("retry = \"transaction\"", own));
    let [a, b] = steps(&workload)[..] else { panic!() };
    let policy = a.retry.clone().unwrap();
    assert_eq!(
        (
            policy.attempts,
            policy.base,
            policy.max,
            policy.multiplier,
            policy.jitter
        ),
        (7, MS, 9 * MS, 3.0, Jitter::Equal)
    );
    assert_eq!(
        policy.on,
        [
            Retryable::Class(ErrorClass::SqlState(*b"40P01")),
            Retryable::SqlClass(*b"55"),
            Retryable::Class(ErrorClass::Status(503)),
            Retryable::Class(ErrorClass::Rejected),
        ]
    );
    assert_eq!(b.retry.as_ref().map(|policy| policy.attempts), Some(5));
    let workload = compiled(&text("retry = \"transaction\"", "retry = \"none\""));
    let [a, b] = steps(&workload)[..] else { panic!() };
    assert!(a.retry.is_none() && b.retry.is_some());
    assert_eq!(
        (workload.measured[0].persistent, workload.measured[1].persistent),
        (false, true)
    );
}

#[test]
fn steps_share_the_breaker_of_their_target_unless_they_have_their_own() {
    let workload = compiled(&text("breaker = true", ""));
    let breakers: Vec<_> = steps(&workload).iter().map(|step| step.breaker).collect();
    assert_eq!(breakers, [Some(0), Some(0)]);
    assert_eq!(workload.breakers.len(), 1);
    assert_eq!(workload.breakers[0].limits, BreakerLimits::default());

    let own = "breaker = { success = 0.5, window = \"1s\", minimum = 2, open = \"3s\", probes = 1 }";
    let workload = compiled(&text("breaker = true", own));
    let names: Vec<_> = workload
        .breakers
        .iter()
        .map(|breaker| breaker.step.as_deref())
        .collect();
    assert_eq!(names, [Some("a"), None]);
    let expected = BreakerLimits {
        success: 0.5,
        window: 1000 * MS,
        minimum: 2,
        open: 3000 * MS,
        probes: 1,
    };
    assert_eq!(workload.breakers[0].limits, expected);

    let workload = compiled(&text("breaker = true", "breaker = false"));
    assert_eq!(steps(&workload)[0].breaker, None);
    let workload = compiled(&text("", ""));
    assert!(workload.breakers.is_empty() && steps(&workload).iter().all(|step| !step.is_persistent()));
}

#[test]
fn setup_is_performed_once_whatever_the_policy_of_the_target() {
    let text = text("retry = \"transaction\"\nbreaker = true", "");
    let workload = compiled(&format!("{text}[[setup]]\nsql = \"SELECT 3\"\n"));
    let Action::Step(setup) = &workload.setup[0] else {
        panic!()
    };
    assert!(!setup.is_persistent());
    assert_eq!(
        told(&format!(
            "{text}[[setup]]\nsql = \"SELECT 3\"\nretry = \"database\"\nbreaker = true\n"
        )),
        [
            "`retry` does not belong here: steps of setup and teardown are performed once, whatever their target's policy",
            "`breaker` does not belong here: steps of setup and teardown are performed once, whatever their target's policy",
        ]
    );
}

#[test]
fn policies_that_make_no_sense_say_so() {
    for (policy, problem) in [
        (
            "retry = \"often\"",
            "no such retry policy: \"often\" is none of \"default\", \"database\", \"transaction\", \"none\"",
        ),
        (
            "retry = { policy = \"none\" }",
            "no such retry policy: \"none\" has no values",
        ),
        (
            "retry = { attempts = 0 }",
            "`attempts` is out of bounds: must be from 1 to 100",
        ),
        (
            "retry = { multiplier = 0.5 }",
            "`multiplier` is out of bounds: must be from 1 to 100",
        ),
        (
            "retry = { base = \"2s\", max = \"1s\" }",
            "waits the wrong way round: `base` is longer than `max`",
        ),
        (
            "retry = { jitter = \"some\" }",
            "unknown word: use \"full\" or \"equal\" or \"decorrelated\" or \"none\"",
        ),
        ("retry = { on = [] }", "nothing to try again: `on` is empty"),
        (
            "retry = { on = [\"4000\"] }",
            "\"4000\" is no failure to try again: in `on`",
        ),
        (
            "breaker = { success = 0.0 }",
            "`success` is out of bounds: must be above 0 and at most 1",
        ),
        (
            "breaker = { success = 80 }",
            "`success` is out of bounds: must be above 0 and at most 1",
        ),
        (
            "breaker = { window = \"1ms\" }",
            "a window too short: `window` must be 100ms at least",
        ),
        (
            "breaker = { minimum = 0 }",
            "`minimum` is out of bounds: must be from 1 to 1000000",
        ),
        ("breaker = { open = \"0s\" }", "not a timeout: it must be above zero"),
        (
            "breaker = { probes = 0 }",
            "`probes` is out of bounds: must be from 1 to 1000",
        ),
        (
            "breaker = { probe = 3 }",
            "unknown key `probe`: `target.db.breaker` has no such key",
        ),
    ] {
        assert_eq!(told(&text(policy, "")), [problem], "{policy}");
    }
    let pause = "[[flow.step]]\npause = \"1s\"\nretry = \"default\"\n";
    assert_eq!(
        told(&format!("{}{pause}", text("", ""))),
        ["`retry` does not belong here: a step with `pause` has no `retry`"]
    );
}

#[test]
fn policies_are_part_of_the_work() {
    let fingerprint = |target: &str, step: &str| compiled(&text(target, step)).fingerprint;
    let plain = fingerprint("", "");
    for (target, step) in [
        ("retry = \"transaction\"", ""),
        ("breaker = true", ""),
        ("", "retry = \"transaction\""),
        ("", "breaker = true"),
    ] {
        assert_eq!(
            plain.differences(&fingerprint(target, step)),
            ["flows"],
            "{target}{step}"
        );
    }
}
