//! Policies on scripted sessions, by a clock that stands still unless somebody waits.

use std::{cell::RefCell, future::Future};

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    run::{self, BreakerState},
    scenario::{Text, parse},
    target::Operation,
    workload::{Action, Workload, compile},
};

const MS: Duration = Duration::from_millis(1);
const CONFLICT: Outcome = Outcome::Failed(ErrorClass::SqlState(*b"40001"));

/// A session that does as it is told: how long the n-th try takes, and how it ends.
struct Scripted<F> {
    script: F,
    /// When each try began, and with which draw.
    tries: Vec<(Instant, u64)>,
}

impl<F> Scripted<F> {
    fn new(script: F) -> Self {
        Self {
            script,
            tries: Vec::new(),
        }
    }
}

impl<F: FnMut(usize) -> (Duration, Outcome)> Session for Scripted<F> {
    async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        reply.begin();
        self.tries.push((reply.start, operation.values.draw()));
        let (length, outcome) = (self.script)(self.tries.len());
        sleep(length).await;
        // As a step with several statements does.
        operation.values.redraw();
        reply.phases.connect = Some(2 * MS);
        (reply.round_trips, reply.queries) = (3, 1);
        reply.end = Instant::now();
        outcome
    }
}

fn workload(policies: &str) -> Workload {
    let toml = format!(
        "name = \"t\"\n[target.t]\nhttp = \"http://127.0.0.1:1\"\n[load]\nusers = 1\nduration = \"1s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nget = \"/\"\n{policies}\n"
    );
    let text = Text {
        path: "t.toml".into(),
        toml,
    };
    let rejected =
        |rejected: Box<crate::workload::Rejected>| panic!("{}", rejected.problems.render(&rejected.text, false));
    compile(parse(text, &[]).unwrap(), &|_| None).unwrap_or_else(rejected)
}

fn step(workload: &Workload) -> &Step {
    match &workload.flows[0].actions[0] {
        Action::Step(step) => step,
        other => panic!("{other:?}"),
    }
}

/// Performs one operation of that pass.
async fn operation<S: Session>(workload: &Workload, session: &mut S, pass: u64) -> (Outcome, Option<RetryEnd>, Reply) {
    let mut values = Values::new(workload);
    values.begin(pass, &[]);
    let (breakers, mut reply) = (Breakers::new(workload), Reply::default());
    let (outcome, end) = persist(session, step(workload), &mut values, &mut reply, &breakers, |_| {}).await;
    (outcome, end, reply)
}

/// Waits between the tries of an operation that never succeeds.
async fn waits(policies: &str, pass: u64) -> Vec<Duration> {
    let workload = workload(policies);
    let mut session = Scripted::new(|_| (Duration::ZERO, CONFLICT));
    operation(&workload, &mut session, pass).await;
    session.tries.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

fn with_paused_clock<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = Builder::new_current_thread();
    runtime
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

#[tokio::test(start_paused = true)]
async fn max_attempts() {
    let workload = workload("retry = { policy = \"transaction\", jitter = \"none\" }");
    let mut session = Scripted::new(|_| (10 * MS, CONFLICT));
    let began = Instant::now();
    let (outcome, end, reply) = operation(&workload, &mut session, 0).await;
    assert_eq!((outcome, end), (CONFLICT, Some(RetryEnd::Exhausted)));
    assert_eq!(session.tries.len(), 5);
    // It starts with the first try and ends with the last: five of 10 ms, and 100 + 200 + 400 + 800 ms of waiting.
    assert_eq!(reply.start, began);
    let length = reply.end - reply.start;
    assert!(length.abs_diff(1550 * MS) <= 10 * MS, "{length:?}");
    // What it cost is the sum.
    assert_eq!((reply.round_trips, reply.queries), (15, 5));
    assert_eq!(reply.phases.connect, Some(10 * MS));
    assert_eq!(reply.phases.body, None);
}

#[tokio::test(start_paused = true)]
async fn an_operation_recovers_and_its_tries_are_done_with_the_same_data() {
    let workload = workload("retry = \"transaction\"");
    let mut session = Scripted::new(|number| match number {
        3 => (MS, Outcome::Completed),
        _ => (MS, CONFLICT),
    });
    let (outcome, end, _) = operation(&workload, &mut session, 7).await;
    assert_eq!((outcome, end), (Outcome::Completed, Some(RetryEnd::Recovered)));
    let draws: Vec<u64> = session.tries.iter().map(|(_, draw)| *draw).collect();
    assert_eq!(draws, [7, 7, 7]);
}

#[tokio::test(start_paused = true)]
async fn what_no_policy_names_is_tried_once() {
    let duplicate = Outcome::Failed(ErrorClass::SqlState(*b"23505"));
    for (policies, outcome, tries) in [
        ("", CONFLICT, 1),
        ("retry = \"none\"", CONFLICT, 1),
        ("retry = \"transaction\"", duplicate, 1),
        ("retry = { policy = \"transaction\", on = [\"23\"] }", duplicate, 5),
        ("retry = { policy = \"transaction\", on = [\"23\"] }", CONFLICT, 1),
        ("retry = \"default\"", Outcome::Failed(ErrorClass::Status(503)), 5),
        ("retry = \"database\"", Outcome::Failed(ErrorClass::Status(503)), 1),
        ("retry = \"database\"", Outcome::Failed(ErrorClass::Disconnected), 3),
        ("retry = \"database\"", Outcome::Failed(ErrorClass::Timeout), 1),
    ] {
        let workload = workload(policies);
        let mut session = Scripted::new(|_| (Duration::ZERO, outcome));
        let (ended, end, _) = operation(&workload, &mut session, 0).await;
        assert_eq!((ended, session.tries.len()), (outcome, tries), "{policies}");
        assert_eq!(end, (tries > 1).then_some(RetryEnd::Exhausted), "{policies}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_are_a_function_of_seed_and_pass() {
    let policy = "retry = \"transaction\"";
    let first = waits(policy, 1).await;
    assert_eq!(first, waits(policy, 1).await);
    assert_ne!(first, waits(policy, 2).await);
    assert_eq!(first.len(), 4);
}

proptest! {
    #[test]
    fn attempts_are_never_more_than_allowed_and_no_wait_is_beyond_the_cap(
        attempts in 1_usize..20,
        failures in 0_usize..30,
        base in 0_u64..50,
        more in 0_u64..100,
        jitter in prop::sample::select(vec!["full", "equal", "decorrelated", "none"]),
    ) {
        let max = base + more;
        let policies = format!(
            "retry = {{ attempts = {attempts}, base = \"{base}ms\", max = \"{max}ms\", jitter = \"{jitter}\", on = [\"40\"] }}"
        );
        let workload = workload(&policies);
        let mut session = Scripted::new(|number| match number > failures {
            true => (Duration::ZERO, Outcome::Completed),
            false => (Duration::ZERO, CONFLICT),
        });
        let (outcome, ..) = with_paused_clock(operation(&workload, &mut session, 3));
        prop_assert_eq!(session.tries.len(), attempts.min(failures + 1));
        prop_assert_eq!(outcome == Outcome::Completed, failures < attempts);
        let longest = session.tries.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or_default();
        // tokio's timers tick at one millisecond.
        prop_assert!(longest <= Duration::from_millis(max) + 2 * MS, "{longest:?} of {max} ms");
    }
}

/// A target that is down for a while: when tries reached it, and how many there were at once.
struct Outage {
    began: Instant,
    down: [Duration; 2],
    /// How long a try takes while it is down.
    patience: Duration,
    seen: RefCell<Vec<Duration>>,
    under_way: RefCell<[usize; 2]>,
}

impl Outage {
    fn new(down: [Duration; 2], patience: Duration) -> Self {
        Self {
            began: Instant::now(),
            down,
            patience,
            seen: RefCell::default(),
            under_way: RefCell::default(),
        }
    }

    fn while_down(&self) -> usize {
        let seen = self.seen.borrow();
        seen.iter()
            .filter(|at| (self.down[0]..self.down[1]).contains(*at))
            .count()
    }
}

impl Session for &Outage {
    async fn perform(&mut self, _: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        reply.begin();
        let at = self.began.elapsed();
        self.seen.borrow_mut().push(at);
        let is_down = (self.down[0]..self.down[1]).contains(&at);
        {
            let mut under_way = self.under_way.borrow_mut();
            under_way[0] += 1;
            // Only the probes of the first second after the breaker was open for its time are of interest.
            if at >= self.down[0] + Duration::from_secs(5) && is_down {
                under_way[1] = under_way[1].max(under_way[0]);
            }
        }
        sleep(if is_down { self.patience } else { MS }).await;
        self.under_way.borrow_mut()[0] -= 1;
        reply.end = Instant::now();
        match is_down {
            true => Outcome::Failed(ErrorClass::Connect),
            false => Outcome::Completed,
        }
    }
}

/// A hundred operations a second for 30 seconds, each on a session of its own; what the breaker did.
async fn load(workload: &Workload, outage: &Outage) -> (run::Breaker, usize) {
    let breakers = Breakers::new(workload);
    breakers.count_from(outage.began);
    let rejected = RefCell::new(0);
    let operations = (0..3000).map(|number| {
        let (breakers, rejected) = (&breakers, &rejected);
        async move {
            sleep(10 * MS * number).await;
            let mut values = Values::new(workload);
            values.begin(number.into(), &[]);
            let (mut session, mut reply) = (outage, Reply::default());
            let (outcome, _) = persist(&mut session, step(workload), &mut values, &mut reply, breakers, |_| {}).await;
            if outcome == Outcome::Failed(ErrorClass::Rejected) {
                assert_eq!(reply.end, reply.start);
                *rejected.borrow_mut() += 1;
            }
        }
    });
    join_all(operations).await;
    (breakers.counted(workload).remove(0), rejected.into_inner())
}

#[tokio::test(start_paused = true)]
async fn an_outage_opens_the_breaker_once_and_few_tries_meet_it() {
    let workload = workload("breaker = { window = \"1s\" }");
    let down = [5, 10].map(Duration::from_secs);
    // A target that refuses, and one that swallows for a second.
    for (patience, most) in [(Duration::ZERO, 30), (Duration::from_secs(1), 150)] {
        let outage = Outage::new(down, patience);
        let (breaker, rejected) = load(&workload, &outage).await;
        assert_eq!(breaker.tripped, 1, "{breaker:?}");
        assert!(outage.while_down() <= most, "{} of {most}", outage.while_down());
        assert_eq!(breaker.rejected, rejected as u64);
        assert!(rejected > 300, "{rejected}");
        let states: Vec<_> = breaker.transitions.iter().map(|transition| transition.to).collect();
        assert_eq!(states.first(), Some(&BreakerState::Open));
        assert_eq!(states.last(), Some(&BreakerState::Closed));
        assert_eq!(breaker.success + breaker.failure + breaker.rejected, 3000);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_keep_it_open_and_are_never_more_at_once_than_allowed() {
    let workload = workload("breaker = { window = \"1s\", open = \"2s\", probes = 2 }");
    let outage = Outage::new([5, 20].map(Duration::from_secs), Duration::from_secs(1));
    let (breaker, _) = load(&workload, &outage).await;
    assert_eq!(breaker.tripped, 1);
    let reopened = breaker
        .transitions
        .iter()
        .filter(|transition| transition.from == BreakerState::HalfOpen);
    // Open for two seconds and half-open for one, over and over; the last time it closes.
    assert!((4..=6).contains(&reopened.count()), "{breaker:?}");
    let most = outage.under_way.borrow()[1];
    assert_eq!(most, 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cut_off_gives_its_place_back() {
    let workload = workload("breaker = { minimum = 1, probes = 1, open = \"1s\" }");
    let breakers = Breakers::new(&workload);
    breakers.count_from(Instant::now());
    let mut values = Values::new(&workload);
    let mut reply = Reply::default();
    for (length, patience, ended) in [
        (MS, 10 * MS, Some(Outcome::Failed(ErrorClass::Connect))),
        (MS, 10 * MS, Some(Outcome::Failed(ErrorClass::Rejected))),
        (Duration::from_secs(60), 2000 * MS, None),
        (MS, 10 * MS, Some(Outcome::Failed(ErrorClass::Connect))),
    ] {
        let mut session = Scripted::new(|_| (length, Outcome::Failed(ErrorClass::Connect)));
        let one = persist(
            &mut session,
            step(&workload),
            &mut values,
            &mut reply,
            &breakers,
            |_| {},
        );
        let outcome = timeout(patience, one).await.ok().map(|(outcome, _)| outcome);
        assert_eq!(outcome, ended, "{length:?}");
        if ended == Some(Outcome::Failed(ErrorClass::Rejected)) {
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(breakers.counted(&workload)[0].failure, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_tried_again_only_where_the_policy_says_so() {
    let breaker = "breaker = { minimum = 1, open = \"1s\", probes = 1 }";
    let retry = "retry = { attempts = 9, base = \"300ms\", max = \"300ms\", jitter = \"none\"";
    for (on, tries, ended) in [
        ("[\"connect\"]", 1, Outcome::Failed(ErrorClass::Rejected)),
        ("[\"connect\", \"rejected\"]", 2, Outcome::Completed),
    ] {
        let workload = workload(&format!("{breaker}\n{retry}, on = {on} }}"));
        let mut session = Scripted::new(|number| match number {
            1 => (Duration::ZERO, Outcome::Failed(ErrorClass::Connect)),
            _ => (Duration::ZERO, Outcome::Completed),
        });
        let (outcome, ..) = operation(&workload, &mut session, 0).await;
        assert_eq!((outcome, session.tries.len()), (ended, tries), "{on}");
    }
}
