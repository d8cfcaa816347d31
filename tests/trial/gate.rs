//! A limit on a count, where the machine is anything but quiet.

use std::{
    env,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{
    Slots, Told,
    support::{postgres::installed, program::Desk},
};

/// How often each is done; more by `LOADGATE_REPEAT`.
const REPEAT: usize = 3;

const SCENARIO: &str = r#"
name = "one query more"
[target.db]
postgres = "ephemeral"
[load]
users = 1
duration = "200ms"
[trial]
epochs = 1
slice = "100ms"
census = 5
[data.number]
uniform = { from = 1, to = 1000 }
[[flow]]
name = "read"
[[flow.step]]
name = "read"
statements = [{ sql = "SELECT $1::int + 1 AS next", params = ["{{ number }}"] }]
[[variant]]
name = "before"
[[variant]]
name = "after"
"#;

const ONE_MORE: &str = r#"
[[variant.flow]]
name = "read"
[[variant.flow.step]]
name = "read"
statements = [
    { sql = "SELECT sum(i) FROM generate_series(1, 10) AS g(i)" },
    { sql = "SELECT $1::int + 1 AS next", params = ["{{ number }}"] },
]
"#;

const LIMIT: &str = r#"
[[threshold]]
step = "read"
metric = "queries_per_operation"
critical = "+0"
"#;

/// Threads that compute until it is dropped.
struct Busy {
    enough: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    fn with(threads: usize) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|seed| {
            let enough = Arc::clone(&enough);
            thread::spawn(move || {
                let mut number = seed as u64;
                while !enough.load(Ordering::Relaxed) {
                    number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            })
        });
        Self {
            threads: threads.collect(),
            enough,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn one_query_more_fails_every_time_and_none_more_never_on_a_busy_machine() {
    if !installed() {
        return;
    }
    let _slots = Slots::all();
    let _busy = Busy::with(4);
    let repeat = env::var("LOADGATE_REPEAT").map_or(REPEAT, |times| times.parse().unwrap());
    let same = Desk::with_scenario(&format!("{SCENARIO}{LIMIT}"));
    let more = Desk::with_scenario(&format!("{SCENARIO}{ONE_MORE}{LIMIT}"));
    for _ in 0..repeat {
        thread::scope(|both| {
            both.spawn(|| passes(&same));
            both.spawn(|| fails(&more));
        });
    }
}

fn passes(desk: &Desk) {
    let told = Told::of(desk, "scenario.toml", &[]).exits(0);
    assert_eq!(told.counted("after", "read", "queries_per_operation"), 1.0);
}

fn fails(desk: &Desk) {
    let told = Told::of(desk, "scenario.toml", &[]).exits(3);
    assert_eq!(told.counted("before", "read", "queries_per_operation"), 1.0);
    assert_eq!(told.counted("after", "read", "queries_per_operation"), 2.0);
    // The statement that both have is performed the same way in both.
    assert!(told.page.contains("Function Scan") && !told.page.contains("is gone"));
    let reason = told.report["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("after: read queries per operation"), "{reason}");
}
