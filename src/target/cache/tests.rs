//! Caches under a paused clock: what is kept, what goes, who waits for whom.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use proptest::{collection::vec, prelude::*};
use tokio::{
    task::{LocalSet, spawn_local},
    time::{advance, sleep},
};

use super::*;
use crate::{
    scenario,
    target::{self, Operation},
    workload::{Action, Workload, compile},
};

const TTL: Duration = Duration::from_secs(60);

fn cache(max: usize) -> Caches {
    Caches::new(&[workload::Cache {
        name: "read".into(),
        ttl: TTL,
        max,
    }])
}

fn answer(number: u64) -> Answer {
    Answer {
        affected: number,
        ..Answer::default()
    }
}

/// What the key held, else what it holds from now on.
fn ask(cache: &Cache, key: &str, number: u64) -> Option<u64> {
    match cache.look(key) {
        Found::Answer(answer) => Some(answer.affected),
        Found::Nothing(claim) => {
            claim.store(&answer(number));
            None
        }
        Found::Fetched(_) => panic!("nobody else is there"),
    }
}

fn counts(caches: &Caches) -> [u64; 6] {
    let run::Cache {
        hits,
        misses,
        evictions,
        expirations,
        invalidations,
        stale_reads,
        ..
    } = caches.counts().remove(0);
    [hits, misses, evictions, expirations, invalidations, stale_reads]
}

#[tokio::test(start_paused = true)]
async fn answers_are_used_until_their_time_is_over() {
    let caches = cache(10);
    let cache = &caches.all[0];
    assert_eq!(ask(cache, "a", 1), None);
    advance(TTL - Duration::from_millis(1)).await;
    assert_eq!(ask(cache, "a", 2), Some(1));
    // A hit makes it live no longer.
    advance(Duration::from_millis(1)).await;
    assert_eq!(ask(cache, "a", 3), None);
    assert_eq!(ask(cache, "a", 4), Some(3));
    assert_eq!(counts(&caches), [2, 2, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_answer_goes_first() {
    let caches = cache(2);
    let cache = &caches.all[0];
    for (key, known) in [
        ("a", false),
        ("b", false),
        ("a", true),
        ("c", false),
        ("a", true),
        ("b", false),
    ] {
        assert_eq!(ask(cache, key, 0).is_some(), known, "{key}");
    }
    assert_eq!(counts(&caches), [2, 4, 2, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_reads_what_was_changed_since_reads_stale() {
    let caches = cache(10);
    let cache = &caches.all[0];
    ask(cache, "a", 1);
    advance(Duration::from_secs(1)).await;
    cache.wrote("a", Instant::now(), false);
    cache.wrote("unknown", Instant::now(), false);
    assert_eq!([ask(cache, "a", 2), ask(cache, "a", 2)], [Some(1), Some(1)]);
    assert_eq!(counts(&caches), [2, 1, 0, 0, 0, 2]);
    cache.wrote("a", Instant::now(), true);
    cache.wrote("a", Instant::now(), true);
    assert_eq!([ask(cache, "a", 3), ask(cache, "a", 4)], [None, Some(3)]);
    assert_eq!(counts(&caches), [3, 2, 0, 0, 1, 2]);
    // Stored while the change was under way: nobody can say.
    cache.wrote("a", Instant::now() - Duration::from_millis(1), false);
    ask(cache, "a", 5);
    assert_eq!(counts(&caches)[5], 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_fetched_once_however_many_ask() {
    let caches = Arc::new(cache(10));
    let asked = (0..8).map(|_| {
        let caches = Arc::clone(&caches);
        tokio::spawn(async move {
            let cache = &caches.all[0];
            loop {
                match cache.look("a") {
                    Found::Answer(answer) => return answer.affected,
                    Found::Fetched(done) => done.cancelled().await,
                    Found::Nothing(claim) => {
                        sleep(Duration::from_secs(1)).await;
                        claim.store(&answer(7));
                    }
                }
            }
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 7);
    }
    // The one who fetched it looked again.
    assert_eq!(counts(&caches), [8, 1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_on_when_a_fetch_fails_or_is_out_of_date() {
    let caches = cache(10);
    let cache = &caches.all[0];
    for invalidated in [false, true] {
        let Found::Nothing(claim) = cache.look("a") else {
            panic!()
        };
        let Found::Fetched(done) = cache.look("a") else {
            panic!()
        };
        if invalidated {
            cache.wrote("a", Instant::now(), true);
            assert!(done.is_cancelled());
            claim.store(&answer(1));
        } else {
            drop(claim);
            assert!(done.is_cancelled());
        }
        assert!(cache.state().entries.is_empty() && cache.state().fetched.is_empty());
    }
    assert_eq!(counts(&caches), [0, 2, 0, 0, 0, 0]);
}

proptest! {
    /// Against a list that is searched from begin to end.
    #[test]
    fn a_cache_keeps_what_was_used_last(keys in vec(0_u64..12, 1..200), max in 1_usize..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let caches = cache(max);
        let (mut known, mut used): (Vec<u64>, BTreeMap<u64, usize>) = (Vec::new(), BTreeMap::new());
        let (mut hits, mut evictions) = (0, 0);
        for (at, key) in keys.iter().enumerate() {
            let found = runtime.block_on(async { ask(&caches.all[0], &key.to_string(), 0) });
            prop_assert_eq!(found.is_some(), known.contains(key));
            used.insert(*key, at);
            if known.contains(key) {
                hits += 1;
            } else {
                known.push(*key);
            }
            if known.len() > max {
                let oldest = *known.iter().min_by_key(|key| used[key]).unwrap();
                known.retain(|key| *key != oldest);
                evictions += 1;
            }
        }
        prop_assert_eq!(counts(&caches), [hits, keys.len() as u64 - hits, evictions, 0, 0, 0]);
    }
}

/// A target that takes a second for an answer, counts how often it is asked, and fails as often as it is told to.
#[derive(Default)]
struct Slow {
    asked: u64,
    failures: u64,
}

struct Scripted {
    caches: Arc<Caches>,
    target: Rc<RefCell<Slow>>,
}

impl Session for Scripted {
    async fn perform(&mut self, _: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        reply.begin();
        sleep(Duration::from_secs(1)).await;
        reply.end = Instant::now();
        let mut target = self.target.borrow_mut();
        target.asked += 1;
        reply.answer = answer(target.asked);
        if target.asked <= target.failures {
            return Outcome::Failed(ErrorClass::Disconnected);
        }
        Outcome::Completed
    }

    fn caches(&self) -> Option<Arc<Caches>> {
        Some(Arc::clone(&self.caches))
    }
}

fn workload(timeout: &str) -> Workload {
    let toml = format!(
        "name = \"cached\"\n[target.t]\nhttp = \"http://127.0.0.1:1\"\n[load]\nusers = 1\nduration = \"1s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"read\"\nget = \"/\"\ntimeout = \"{timeout}\"\n\
         cache = {{ key = \"a\", ttl = \"60s\" }}\n\
         [[flow.step]]\nname = \"write\"\npost = \"/\"\nwrites = [{{ cache = \"read\", key = \"a\", invalidate = true }}]\n"
    );
    let text = scenario::Text {
        path: "cached.toml".into(),
        toml,
    };
    compile(scenario::parse(text, &[]).unwrap(), &|_| None).unwrap()
}

/// What sessions that perform these steps, each beginning at its second, got and how long it took them.
async fn performed(
    workload: &Rc<Workload>,
    failures: u64,
    begin: &[(u64, usize)],
) -> (Vec<(Outcome, u64, u64)>, [u64; 6]) {
    let caches = Arc::new(Caches::new(&workload.caches));
    let target = Rc::new(RefCell::new(Slow { failures, asked: 0 }));
    let sessions = begin.iter().map(|(second, step)| {
        let mut session = Scripted {
            caches: Arc::clone(&caches),
            target: Rc::clone(&target),
        };
        let (workload, second, step) = (Rc::clone(workload), *second, *step);
        async move {
            sleep(Duration::from_millis(second)).await;
            let Action::Step(step) = &workload.flows[0].actions[step] else {
                panic!()
            };
            let (mut values, mut reply) = (Values::new(&workload), Reply::default());
            let outcome = target::perform(&mut session, step, &mut values, &mut reply).await;
            let took = (reply.end - reply.start).as_millis() as u64;
            (outcome, reply.answer.affected, took)
        }
    });
    let sessions: Vec<_> = sessions.map(spawn_local).collect();
    let mut results = Vec::new();
    for session in sessions {
        results.push(session.await.unwrap());
    }
    (results, counts(&caches))
}

const READ: usize = 0;
const WRITE: usize = 1;

#[tokio::test(start_paused = true)]
async fn sessions_that_ask_at_a_time_ask_the_target_once() {
    let work = async {
        let workload = Rc::new(workload("30s"));
        let (results, counts) = performed(&workload, 0, &[(0, READ), (200, READ), (400, READ), (2000, READ)]).await;
        let completed = |took| (Outcome::Completed, 1, took);
        assert_eq!(results, [completed(1000), completed(800), completed(600), completed(0)]);
        assert_eq!(counts, [3, 1, 0, 0, 0, 0]);

        // The second fetches it himself when the first has failed; the third waits for him.
        let (results, counts) = performed(&workload, 1, &[(0, READ), (200, READ), (400, READ)]).await;
        assert_eq!(results[0].0, Outcome::Failed(ErrorClass::Disconnected));
        assert_eq!(
            results[1..],
            [(Outcome::Completed, 2, 1800), (Outcome::Completed, 2, 1600)]
        );
        assert_eq!(counts, [1, 2, 0, 0, 0, 0]);

        // What was removed is asked for again.
        let (results, counts) = performed(&workload, 0, &[(0, READ), (1500, WRITE), (3000, READ)]).await;
        assert_eq!(results[2], (Outcome::Completed, 3, 1000));
        assert_eq!(counts, [0, 2, 0, 0, 1, 0]);
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_has_his_own_patience() {
    let work = async {
        let workload = Rc::new(workload("500ms"));
        // The scripted target knows no timeout; only who waits keeps it here.
        let (results, counts) = performed(&workload, 0, &[(0, READ), (100, READ)]).await;
        assert_eq!(results[0].0, Outcome::Completed);
        assert_eq!(results[1].0, Outcome::Failed(ErrorClass::Timeout));
        assert!((500..=502).contains(&results[1].2), "{}", results[1].2);
        assert_eq!(counts, [0, 1, 0, 0, 0, 0]);
    };
    LocalSet::new().run_until(work).await;
}
