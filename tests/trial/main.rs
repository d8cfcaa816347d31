//! Trials of the real program: variants measured beside each other, on real
//! PostgreSQL servers, SQLite files and services, some of them built from git.
//!
//! What is counted is held to the digit; of times only what no machine can hide.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod claims;
mod counted;
mod disturbed;
mod experiments;
mod gate;
mod groups;
mod kinds;
mod links;
mod modes;
mod outage;
mod overload;
mod poolers;
mod pools;
mod refused;
mod revisions;
mod rollback;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    postgres::Postgres,
    program::{Desk, Ended},
};

/// All that is waited for takes far less; a loaded machine gets more.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many servers are up at once.
const SLOTS: usize = 2;

static FREE: Mutex<usize> = Mutex::new(SLOTS);
static FREED: Condvar = Condvar::new();

/// A share of the machine, given back when it is dropped.
struct Slots(usize);

impl Slots {
    /// For a test with one server.
    fn one() -> Self {
        Self::take(1)
    }

    /// For a test that looks at times, or spoils them.
    fn all() -> Self {
        Self::take(SLOTS)
    }

    fn take(wanted: usize) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = FREED.wait_while(free, |free| *free < wanted);
        *enough.unwrap_or_else(PoisonError::into_inner) -= wanted;
        Self(wanted)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}

/// What a trial left.
struct Told {
    ended: Ended,
    /// `report.json`, null without one.
    report: Value,
    /// `report.html`, empty without one.
    page: String,
}

impl Told {
    /// `loadgate run FILE` with these values set, on that desk.
    fn of(desk: &Desk, scenario: &str, sets: &[&str]) -> Self {
        Self::by(desk, with_cache(run_command(desk, scenario, sets)))
    }

    fn by(desk: &Desk, mut command: Command) -> Self {
        Self::left(desk, command.output().unwrap())
    }

    /// Of a program that has ended.
    fn left(desk: &Desk, output: Output) -> Self {
        let ended = desk.ended(output);
        let out = |name: &str| fs::read_to_string(desk.path().join("out").join(name)).unwrap_or_default();
        Self {
            report: serde_json::from_str(&out("report.json")).unwrap_or_default(),
            page: out("report.html"),
            ended,
        }
    }

    /// The program's exit code is this one.
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.ended.code, code, "{}", self.ended.printed());
        self
    }

    /// The measured step of that name in that variant.
    #[track_caller]
    fn step(&self, variant: &str, name: &str) -> &Value {
        let steps = self.report["steps"].as_array();
        let mut steps = steps.unwrap_or_else(|| panic!("{}", self.ended.printed())).iter();
        steps
            .find(|step| step["variant"] == variant && step["name"] == name)
            .unwrap_or_else(|| panic!("no step \"{name}\" in \"{variant}\""))
    }

    /// Both takings of the census counted this.
    #[track_caller]
    fn counted(&self, variant: &str, step: &str, counter: &str) -> f64 {
        let count = &self.step(variant, step)["counters"][counter];
        assert_eq!(count["exact"], true, "{variant}: {step}: {counter}: {count}");
        count["low"].as_f64().unwrap()
    }

    #[track_caller]
    fn p50(&self, variant: &str, step: &str) -> f64 {
        let p50 = self.step(variant, step)["response_time"]["p50"].as_f64();
        p50.unwrap_or_else(|| panic!("{variant}: {step} was never performed"))
    }

    fn notes(&self) -> String {
        self.report["notes"].to_string()
    }

    fn incidents(&self) -> &Value {
        &self.report["run"]["incidents"]
    }
}

/// `loadgate run FILE --out out` with these values set, not yet started.
fn run_command(desk: &Desk, scenario: &str, sets: &[&str]) -> Command {
    let mut command = desk.loadgate(&["run", scenario, "--out", "out"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command
}

/// Fixtures are loaded once for all tests of this file, and stay for the next time.
fn with_cache(mut command: Command) -> Command {
    command.env(
        "LOADGATE_CACHE",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("trial-cache"),
    );
    command.envs(env::var_os("PG_BINDIR").map(|directory| ("PG_BINDIR", directory)));
    command
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "still waiting for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Of a database of that server.
fn address(server: &Postgres, database: &str) -> String {
    let url = server.url();
    format!("{}/{database}", url.rsplit_once('/').unwrap().0)
}
