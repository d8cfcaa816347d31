//! The three states of a breaker, and that there are no other ways between them.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn breaker(begin: Instant) -> Breaker {
    let mut breaker = Breaker::new(BreakerLimits::default(), begin);
    breaker.count_from(begin);
    breaker
}

/// So many calls that end at once.
fn calls(breaker: &mut Breaker, count: usize, sign: Sign, now: Instant) -> usize {
    let let_through = (0..count).filter_map(|_| {
        let ticket = breaker.admit(now)?;
        breaker.tell(ticket, sign, now);
        Some(())
    });
    let_through.count()
}

fn states(breaker: &Breaker) -> Vec<(f64, BreakerState)> {
    let transitions = breaker.counted().transitions;
    transitions
        .iter()
        .map(|transition| (transition.at_s, transition.to))
        .collect()
}

#[test]
fn breaker_transitions() {
    let begin = Instant::now();
    let mut breaker = breaker(begin);
    assert_eq!(calls(&mut breaker, 80, Sign::Success, begin), 80);
    // 20 failures of 100 are just enough successes, one more is not.
    assert_eq!(calls(&mut breaker, 30, Sign::Failure, begin + SECOND), 21);
    // Rejected until the time is up.
    assert_eq!(calls(&mut breaker, 10, Sign::Success, begin + 5 * SECOND), 0);
    // A probe fails: rejected for as long again.
    assert_eq!(calls(&mut breaker, 10, Sign::Failure, begin + 6 * SECOND), 1);
    assert_eq!(calls(&mut breaker, 10, Sign::Success, begin + 10 * SECOND), 0);
    // Three probes succeed, then all is as at the begin.
    assert_eq!(calls(&mut breaker, 10, Sign::Success, begin + 11 * SECOND), 10);
    assert_eq!(calls(&mut breaker, 19, Sign::Failure, begin + 40 * SECOND), 19);
    use BreakerState::{Closed, HalfOpen, Open};
    assert_eq!(
        states(&breaker),
        [
            (1.0, Open),
            (6.0, HalfOpen),
            (6.0, Open),
            (11.0, HalfOpen),
            (11.0, Closed)
        ]
    );
    let counted = breaker.counted();
    assert_eq!(
        (counted.success, counted.failure, counted.rejected, counted.tripped),
        (90, 41, 38, 1)
    );
    let ratio = counted.transitions[0].success_ratio.unwrap();
    assert!((ratio - 80.0 / 101.0).abs() < 1e-9, "{ratio}");
}

#[test]
fn too_few_calls_open_nothing_and_what_is_long_ago_does_not_count() {
    let begin = Instant::now();
    let mut breaker = breaker(begin);
    assert_eq!(calls(&mut breaker, 19, Sign::Failure, begin), 19);
    // 11 s later those are forgotten.
    assert_eq!(calls(&mut breaker, 19, Sign::Failure, begin + 11 * SECOND), 19);
    assert_eq!(calls(&mut breaker, 19, Sign::None, begin + 11 * SECOND), 19);
    assert!(states(&breaker).is_empty());
    assert_eq!(calls(&mut breaker, 1, Sign::Failure, begin + 12 * SECOND), 1);
    assert_eq!(states(&breaker), [(12.0, BreakerState::Open)]);
}

#[test]
fn who_was_let_through_before_says_nothing_of_the_state_after() {
    let begin = Instant::now();
    let mut breaker = breaker(begin);
    let early = breaker.admit(begin).unwrap();
    calls(&mut breaker, 20, Sign::Failure, begin);
    let probe = breaker.admit(begin + 5 * SECOND).unwrap();
    breaker.tell(early, Sign::Failure, begin + 6 * SECOND);
    assert_eq!(states(&breaker).len(), 2, "still half-open");
    // A probe that is cut off leaves its place to another.
    breaker.tell(probe, Sign::None, begin + 6 * SECOND);
    assert_eq!(calls(&mut breaker, 3, Sign::Success, begin + 7 * SECOND), 3);
    assert_eq!(states(&breaker).last(), Some(&(7.0, BreakerState::Closed)));
}

#[test]
fn nothing_counts_before_it_is_to_count() {
    let begin = Instant::now();
    let mut breaker = Breaker::new(BreakerLimits::default(), begin);
    calls(&mut breaker, 30, Sign::Failure, begin);
    breaker.count_from(begin + SECOND);
    calls(&mut breaker, 30, Sign::Failure, begin + SECOND / 2);
    assert_eq!(breaker.counted(), run::Breaker::default());
    calls(&mut breaker, 30, Sign::Failure, begin + SECOND);
    assert_eq!(breaker.counted().rejected, 30);
}

#[test]
fn what_the_caller_is_to_blame_for_is_no_failure_of_the_target() {
    let failed = |class| Sign::of(Outcome::Failed(class));
    let sql = |code: &[u8; 5]| failed(ErrorClass::SqlState(*code));
    assert_eq!(Sign::of(Outcome::Completed), Sign::Success);
    for sign in [
        sql(b"22012"),
        sql(b"23505"),
        sql(b"42P01"),
        failed(ErrorClass::Expectation),
    ] {
        assert_eq!(sign, Sign::Success);
    }
    for sign in [
        sql(b"40001"),
        sql(b"57P01"),
        failed(ErrorClass::Connect),
        failed(ErrorClass::Timeout),
        failed(ErrorClass::Status(503)),
    ] {
        assert_eq!(sign, Sign::Failure);
    }
    for sign in [failed(ErrorClass::Parameter), failed(ErrorClass::Rejected)] {
        assert_eq!(sign, Sign::None);
    }
}

#[test]
fn a_breaker_that_flaps_for_hours_keeps_a_list_that_ends() {
    let begin = Instant::now();
    let mut breaker = breaker(begin);
    calls(&mut breaker, 20, Sign::Failure, begin);
    for round in 1..=1000 {
        calls(&mut breaker, 1, Sign::Failure, begin + round * 5 * SECOND);
    }
    let counted = breaker.counted();
    assert_eq!((counted.transitions.len(), counted.unlisted), (1000, 1001));
}

/// What may happen next.
#[derive(Debug, Clone)]
enum Happening {
    /// Somebody asks.
    Asks,
    /// One of those under way ends so.
    Ends(usize, Sign),
    /// Time passes, in milliseconds.
    Passes(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let sign = prop::sample::select(vec![Sign::Success, Sign::Failure, Sign::Failure, Sign::None]);
    let one = prop_oneof![
        4 => Just(Happening::Asks),
        4 => (any::<usize>(), sign).prop_map(|(which, sign)| Happening::Ends(which, sign)),
        1 => (0_u64..400).prop_map(Happening::Passes),
    ];
    prop::collection::vec(one, 0..400)
}

proptest! {
    #[test]
    fn there_are_no_other_transitions_and_never_too_many_probes(happenings in happenings(), probes in 1_u32..5) {
        use BreakerState::{Closed, HalfOpen, Open};
        let limits = BreakerLimits {
            success: 0.5,
            window: SECOND,
            minimum: 4,
            open: SECOND / 2,
            probes,
        };
        let mut now = Instant::now();
        let mut breaker = Breaker::new(limits, now);
        breaker.count_from(now);
        let mut under_way: Vec<Ticket> = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Asks => under_way.extend(breaker.admit(now)),
                Happening::Ends(which, sign) if !under_way.is_empty() => {
                    let ticket = under_way.swap_remove(which % under_way.len());
                    breaker.tell(ticket, sign, now);
                }
                Happening::Ends(..) => {}
                Happening::Passes(ms) => now += Duration::from_millis(ms),
            }
            if let State::HalfOpen { .. } = breaker.state {
                let of_now = under_way.iter().filter(|ticket| ticket.period == breaker.period);
                prop_assert!(of_now.count() <= probes as usize);
            }
        }
        let mut state = Closed;
        for transition in breaker.counted().transitions {
            prop_assert_eq!(transition.from, state);
            state = transition.to;
            prop_assert!(matches!(
                (transition.from, transition.to),
                (Closed | HalfOpen, Open) | (Open, HalfOpen) | (HalfOpen, Closed)
            ));
        }
        prop_assert_eq!(state, breaker.state.name());
    }
}
