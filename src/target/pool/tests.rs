//! The promises of a pool, with a scripted source under a paused clock.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use proptest::prelude::*;
use tokio::{
    runtime::{Builder, LocalOptions},
    task::{spawn_local, yield_now},
    time::{advance, sleep},
};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// tokio's timers tick at one millisecond.
const TICK: Duration = Duration::from_millis(2);

/// What connections come from, and what is known of them.
#[derive(Default)]
struct Script {
    takes: Duration,
    open: AtomicUsize,
    most_open: AtomicUsize,
    made: AtomicUsize,
    asked: AtomicUsize,
    /// No connection can be made any more.
    refuses: AtomicBool,
    /// What is open does not answer.
    is_silent: AtomicBool,
}

struct Scripted(Arc<Script>);

struct Fake {
    number: usize,
    broken: bool,
    script: Arc<Script>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.script.open.fetch_sub(1, SeqCst);
    }
}

impl Source for Scripted {
    type Connection = Fake;
    type Failure = &'static str;

    async fn connect(&self) -> Result<Fake, &'static str> {
        let script = &self.0;
        if !script.takes.is_zero() {
            sleep(script.takes).await;
        }
        if script.refuses.load(SeqCst) {
            return Err("refused");
        }
        let open = script.open.fetch_add(1, SeqCst) + 1;
        script.most_open.fetch_max(open, SeqCst);
        Ok(Fake {
            number: script.made.fetch_add(1, SeqCst),
            broken: false,
            script: Arc::clone(script),
        })
    }

    async fn is_open(&self, connection: &mut Fake) -> bool {
        !connection.broken
    }

    async fn answers(&self, _: &mut Fake) -> bool {
        self.0.asked.fetch_add(1, SeqCst);
        !self.0.is_silent.load(SeqCst)
    }
}

fn limits() -> PoolLimits {
    PoolLimits {
        profile: "production",
        initial: 0,
        min: 0,
        max: 2,
        queue: 100,
        idle: 60 * SECOND,
        lifetime: 3600 * SECOND,
        acquire_timeout: SECOND,
        validate: 30 * SECOND,
        bulkheads: false,
    }
}

fn pool(limits: PoolLimits) -> (Arc<Pool<Scripted>>, Arc<Script>) {
    pool_of(limits, Script::default())
}

fn pool_of(limits: PoolLimits, script: Script) -> (Arc<Pool<Scripted>>, Arc<Script>) {
    let script = Arc::new(script);
    let pool = Pool::new(Scripted(Arc::clone(&script)), limits).unwrap();
    (Arc::new(pool), script)
}

/// The number of the connection that is given out now, and given back at once.
async fn number(pool: &Pool<Scripted>) -> usize {
    let mut got = take(pool).await;
    let number = got.connection().unwrap().number;
    got.give_back();
    number
}

async fn take(pool: &Pool<Scripted>) -> Lease<'_, Scripted> {
    match pool.acquire(Instant::now() + SECOND).await {
        Ok(got) => got.lease,
        Err(refused) => panic!("{refused:?}"),
    }
}

/// One who uses the pool.
#[derive(Debug, Clone)]
struct User {
    /// Comes so long after the one before,
    comes: Duration,
    /// keeps what it gets for so long,
    keeps: Duration,
    /// and then does this with it.
    then: Then,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    GivesBack,
    /// Gives back what is closed meanwhile.
    Breaks,
    Drops,
    /// Has no patience: does not even wait so long for a connection.
    LeavesAfter(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Got {
    Connection,
    Timeout { waited: Duration },
    Shed { inside: usize },
    Refused,
    Left,
}

fn users() -> impl Strategy<Value = Vec<User>> {
    let then = prop_oneof![
        6 => Just(Then::GivesBack),
        1 => Just(Then::Breaks),
        1 => Just(Then::Drops),
        1 => (0_u32..30).prop_map(|wait| Then::LeavesAfter(MS * wait)),
    ];
    let user = (0_u32..8, 0_u32..40, then).prop_map(|(comes, keeps, then)| User {
        comes: MS * comes,
        keeps: MS * keeps,
        then,
    });
    prop::collection::vec(user, 1..40)
}

/// Who asked and who got a connection, in this order and when, and what became of each.
#[derive(Debug, Default)]
struct Seen {
    asked: Vec<usize>,
    got: Vec<(usize, Instant)>,
    ends: Vec<(usize, Got)>,
    inside: usize,
}

async fn visit(pool: Arc<Pool<Scripted>>, user: User, number: usize, seen: Rc<RefCell<Seen>>) {
    let began = Instant::now();
    let inside = seen.borrow().inside;
    {
        let mut seen = seen.borrow_mut();
        seen.inside += 1;
        seen.asked.push(number);
    }
    let asking = pool.acquire(began + pool.acquire_timeout());
    let asked = match user.then {
        Then::LeavesAfter(wait) => timeout(wait, asking).await.ok(),
        _ => Some(asking.await),
    };
    let end = match asked {
        None => Got::Left,
        Some(Err(Refused::Timeout)) => Got::Timeout {
            waited: began.elapsed(),
        },
        Some(Err(Refused::Shed)) => Got::Shed { inside },
        Some(Err(_)) => Got::Refused,
        Some(Ok(Acquired { mut lease, .. })) => {
            seen.borrow_mut().got.push((number, Instant::now()));
            sleep(user.keeps).await;
            match user.then {
                Then::Drops => drop(lease),
                then => {
                    lease.connection().unwrap().broken = then == Then::Breaks;
                    lease.give_back();
                }
            }
            Got::Connection
        }
    };
    let mut seen = seen.borrow_mut();
    seen.inside -= 1;
    seen.ends.push((number, end));
}

async fn visits(pool: &Arc<Pool<Scripted>>, users: Vec<User>) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut visits = Vec::new();
    for (number, user) in users.into_iter().enumerate() {
        sleep(user.comes).await;
        visits.push(spawn_local(visit(Arc::clone(pool), user, number, Rc::clone(&seen))));
    }
    for visit in visits {
        visit.await.unwrap();
    }
    Rc::into_inner(seen).unwrap().into_inner()
}

fn run<F: Future>(future: F) -> F::Output {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true);
    runtime.build_local(LocalOptions::default()).unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_lost_and_nothing_is_beyond_its_limit(
        users in users(),
        max in 1_usize..5,
        queue in 0_usize..8,
        min in 0_usize..3,
        takes in prop_oneof![Just(0_u32), 1_u32..30],
        timeout in 5_u32..100,
    ) {
        let limits = PoolLimits {
            min: min.min(max),
            max,
            queue,
            acquire_timeout: MS * timeout,
            ..limits()
        };
        let count = users.len();
        let takes = MS * takes;
        let (seen, pool, script) = run(async {
            let (pool, script) = pool_of(limits.clone(), Script { takes, ..Script::default() });
            let tending = spawn_local({
                let pool = Arc::clone(&pool);
                async move { pool.tend().await }
            });
            let seen = visits(&pool, users.clone()).await;
            tending.abort();
            let _ = tending.await;
            // Whatever happened before, the next one is served.
            sleep(takes).await;
            drop(take(&pool).await);
            (seen, pool, script)
        });
        prop_assert_eq!(seen.ends.len(), count);
        prop_assert!(script.most_open.load(SeqCst) <= max);
        for (number, end) in &seen.ends {
            match end {
                Got::Timeout { waited } => {
                    prop_assert!(*waited >= limits.acquire_timeout && *waited <= limits.acquire_timeout + TICK);
                }
                Got::Shed { inside } => prop_assert!(*inside >= max + queue, "{} inside", inside),
                Got::Refused => prop_assert!(false, "nothing was refused to {}", number),
                Got::Connection | Got::Left => {}
            }
        }
        if takes.is_zero() {
            // Who need not wait for his connection to be made is served no later than who asks after him.
            let when = |asked: &usize| seen.got.iter().find(|(number, _)| number == asked).map(|(_, when)| *when);
            let served: Vec<Instant> = seen.asked.iter().filter_map(when).collect();
            prop_assert!(served.is_sorted(), "{:?}", seen.got);
        }
        let events = pool.books.events();
        prop_assert_eq!(events.acquire_request, events.acquire_success + events.acquire_fail);
        prop_assert_eq!(events.acquire_success, events.release);
        prop_assert_eq!(events.create_request, events.create_success + events.create_fail);
        prop_assert_eq!(pool.books.inside(), [0, 0]);
        prop_assert_eq!(pool.books.open(), script.open.load(SeqCst) as u64);
        pool.empty();
        prop_assert_eq!(script.open.load(SeqCst), 0);
        prop_assert_eq!(pool.books.open(), 0);
    }
}

#[test]
fn the_queue_has_room_for_as_many_as_allowed() {
    run(async {
        let (pool, _) = pool(PoolLimits {
            max: 1,
            queue: 2,
            ..limits()
        });
        let held = take(&pool).await;
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let pool = Arc::clone(&pool);
                spawn_local(async move { number(&pool).await })
            })
            .collect();
        yield_now().await;
        assert_eq!(pool.books.inside(), [1, 2]);
        let refused = pool.acquire(Instant::now() + SECOND).await;
        assert!(matches!(refused, Err(Refused::Shed)));
        held.give_back();
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), 0);
        }
        assert_eq!(pool.books.used().shed, 1);
    });
}

#[test]
fn idle_connections_are_closed_down_to_the_fewest_and_the_rest_is_used() {
    run(async {
        let (pool, script) = pool(PoolLimits {
            initial: 5,
            min: 2,
            max: 5,
            idle: 10 * SECOND,
            ..limits()
        });
        pool.open().await;
        assert_eq!(script.open.load(SeqCst), 5);
        let first = pool
            .acquire(Instant::now() + SECOND)
            .await
            .map_err(|_| "refused")
            .unwrap();
        assert_eq!(first.making, None, "it was made ahead, and nobody waited for it");
        first.lease.give_back();
        let tending = spawn_local({
            let pool = Arc::clone(&pool);
            async move { pool.tend().await }
        });
        // The one used last is used next, so that the others become idle.
        for _ in 0..9 {
            sleep(SECOND).await;
            assert_eq!(number(&pool).await, 4);
        }
        assert_eq!(script.open.load(SeqCst), 5);
        sleep(2 * SECOND).await;
        assert_eq!(script.open.load(SeqCst), 2);
        sleep(60 * SECOND).await;
        assert_eq!(script.open.load(SeqCst), 2);
        assert_eq!(script.made.load(SeqCst), 5);
        tending.abort();
    });
}

#[test]
fn old_connections_are_replaced_and_the_fewest_are_kept() {
    run(async {
        let (pool, script) = pool(PoolLimits {
            initial: 3,
            min: 3,
            max: 3,
            lifetime: 100 * SECOND,
            ..limits()
        });
        pool.open().await;
        let tending = spawn_local({
            let pool = Arc::clone(&pool);
            async move { pool.tend().await }
        });
        sleep(89 * SECOND).await;
        assert_eq!(script.made.load(SeqCst), 3);
        sleep(13 * SECOND).await;
        // Each once, and not all at the same moment.
        assert_eq!((script.made.load(SeqCst), script.open.load(SeqCst)), (6, 3));
        tending.abort();
        // Without anybody to look after them, old ones are found when they are to be given out.
        sleep(200 * SECOND).await;
        assert!(number(&pool).await >= 6);
    });
}

#[test]
fn what_is_broken_or_silent_is_replaced_before_it_is_given_out() {
    run(async {
        let (pool, script) = pool(limits());
        let mut lease = take(&pool).await;
        lease.connection().unwrap().broken = true;
        lease.give_back();
        assert_eq!(number(&pool).await, 1);
        assert_eq!(script.asked.load(SeqCst), 0, "it has just been used");
        sleep(29 * SECOND).await;
        assert_eq!(number(&pool).await, 1);
        sleep(31 * SECOND).await;
        assert_eq!(number(&pool).await, 1);
        assert_eq!(script.asked.load(SeqCst), 1);
        script.is_silent.store(true, SeqCst);
        sleep(31 * SECOND).await;
        assert_eq!(number(&pool).await, 2);
        let events = pool.books.events();
        assert_eq!((events.error, events.destroy_success), (2, 2));
    });
}

#[test]
fn what_cannot_be_made_is_told_and_later_tried_again() {
    run(async {
        let takes = 20 * MS;
        let (pool, script) = pool_of(
            limits(),
            Script {
                takes,
                ..Script::default()
            },
        );
        script.refuses.store(true, SeqCst);
        match pool.acquire(Instant::now() + SECOND).await {
            Err(Refused::Unmade("refused", took)) => assert!(took >= takes && took <= takes + TICK),
            _ => panic!("it was to be refused"),
        }
        script.refuses.store(false, SeqCst);
        let got = pool
            .acquire(Instant::now() + SECOND)
            .await
            .map_err(|_| "refused")
            .unwrap();
        assert!(got.waited <= TICK, "{:?}", got.waited);
        assert!(got.making.unwrap() >= takes);
        drop(got);
        // Who has no time for that is told so, and nothing is left behind.
        let refused = pool.acquire(Instant::now() + takes / 2).await;
        assert!(matches!(refused, Err(Refused::Timeout)));
        assert_eq!(pool.books.inside(), [0, 0]);
        let events = pool.books.events();
        assert_eq!(
            (events.create_request, events.create_success, events.create_fail),
            (3, 1, 2)
        );
    });
}

#[test]
fn who_looks_sees_each_second_and_what_it_amounts_to() {
    run(async {
        let (pool, _) = pool(PoolLimits {
            max: 4,
            acquire_timeout: 100 * MS,
            ..limits()
        });
        let mut watch = pool.watch("db".into(), None, None);
        pool.ended(false);
        watch.begin();
        let one = take(&pool).await;
        pool.ended(true);
        watch.look(SECOND);
        let others = [take(&pool).await, take(&pool).await, take(&pool).await];
        assert!(pool.acquire(Instant::now() + 100 * MS).await.is_err());
        watch.look(2 * SECOND);
        advance(SECOND).await;
        one.give_back();
        others.into_iter().for_each(Lease::give_back);
        // Too early for another.
        watch.look(Duration::from_millis(2100));
        watch.end(3 * SECOND);
        let seen = watch.result();
        let told: Vec<_> = seen
            .samples
            .iter()
            .map(|sample| (sample.at_s, sample.used, sample.free))
            .collect();
        assert_eq!(told, [(1.0, 1, 0), (2.0, 4, 0), (3.0, 0, 4)]);
        let health: Vec<_> = seen.samples.iter().map(|sample| sample.health).collect();
        use crate::run::Health::{Critical, Healthy};
        assert_eq!(health, [Healthy, Critical, Healthy]);
        assert_eq!(
            (seen.health, seen.window.timeouts, seen.window.acquires),
            (Critical, 1, 5)
        );
        assert_eq!(seen.samples[0].success, Some(1.0));
        assert_eq!(seen.health_score, Some(0.8));
    });
}
