//! E25, shorter: a database that cannot be reached for a while, behind a pool and a breaker.

use loadgate::run::{Breaker, BreakerState, Run};

use super::{Slots, Told, experiments::experiment, support::postgres::installed};

/// From the second to the fifth second of nine.
const OUTAGE: [f64; 2] = [2.0, 5.0];
const OPEN_S: f64 = 2.0;

fn told(kind: &str, more: &[&str]) -> Told {
    let kind = format!("target.db.link.fault.0.kind={kind}");
    let sets = [
        "load.duration=10s",
        "target.db.link.fault.0.at=2s",
        "target.db.link.fault.0.for=3s",
        &kind,
    ];
    experiment("e25-breaker-outage.toml", &[&sets, more].concat())
}

/// Tries that began during the outage.
fn attempts(run: &Run) -> u64 {
    let during = run.intervals.iter().filter(|interval| {
        let second = interval.k as f64;
        (OUTAGE[0]..OUTAGE[1]).contains(&second)
    });
    during
        .flat_map(|interval| &interval.attempts)
        .map(|tried| tried.attempts)
        .sum()
}

/// It opened once, and closed again soon after the link was back.
#[track_caller]
fn recovered(breaker: &Breaker) {
    assert_eq!(breaker.tripped, 1, "{breaker:?}");
    let last = breaker.transitions.last().unwrap();
    assert_eq!(last.to, BreakerState::Closed, "{breaker:?}");
    assert!(last.at_s <= OUTAGE[1] + OPEN_S + 1.0, "{breaker:?}");
    assert!(breaker.rejected > 100, "{breaker:?}");
}

#[test]
fn e25_an_outage_is_met_by_few_and_ends_without_a_stampede() {
    if !installed() {
        return;
    }
    let _slots = Slots::all();
    for (kind, most) in [("refuse", 30), ("blackhole", 150)] {
        let run = told(kind, &["target.db.breaker.open=2s"]).ended.stored();
        recovered(&run.breakers[0]);
        assert!(attempts(&run) <= most, "{kind}: {}", attempts(&run));
        let [pool] = &run.pools[..] else {
            panic!("{:?}", run.pools)
        };
        let after = pool.samples.iter().filter(|sample| sample.at_s > OUTAGE[1]);
        for sample in after {
            assert!(sample.used + sample.free <= 150, "{kind}: {sample:?}");
        }
    }
}

#[test]
fn e25_without_a_breaker_everything_that_is_due_meets_the_outage() {
    if !installed() {
        return;
    }
    let _slots = Slots::all();
    let run = told("blackhole", &["target.db.breaker=false"]).ended.stored();
    assert!(run.breakers.is_empty());
    // Of 300 that were due in it.
    assert!(run.steps[0].failed() > 200, "{}", run.steps[0].failed());
}
