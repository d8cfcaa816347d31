//! The `retry` of a target or step → a policy: how often, after how long, over which failures.

use std::time::Duration;

use super::compile::Compiler;
use crate::{
    sample::ErrorClass,
    scenario::{self, At, RetryKeys},
};

/// No policy tries an operation more often.
const MOST_ATTEMPTS: i64 = 100;

/// No wait grows by more than this from one to the next.
const LARGEST_MULTIPLIER: f64 = 100.0;

/// What takes a policy away.
const NEVER: &str = "none";

/// What is tried again unless the scenario says otherwise: transactions that lost against another (class 40 of
/// SQLSTATE, appendix "PostgreSQL Error Codes"), connections that are gone or cannot be had, a busy SQLite file.
const TRANSIENT: [&str; 10] = [
    "40001",
    "40P01",
    "08",
    "57P01",
    "57P02",
    "57P03",
    "53300",
    "sqlite 5",
    "connect",
    "disconnected",
];

/// What the policy `default` tries again besides: services that are overloaded or gone for a while.
const TRANSIENT_HTTP: [&str; 4] = ["http 429", "http 502", "http 503", "http 504"];

/// When an operation that failed is tried again, and after how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// How often it is tried in all, the first time included.
    pub attempts: u32,
    /// The wait before the second try, without jitter.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How many times as long each further wait is.
    pub multiplier: f64,
    /// What chance does to a wait.
    pub jitter: Jitter,
    /// What is tried again.
    pub on: Vec<Retryable>,
}

/// What chance does to a wait, so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Anything up to the wait.
    Full,
    /// Half of the wait, and anything up to the other half.
    Equal,
    /// Anything from the base up to three times the wait before, whatever the multiplier.
    Decorrelated,
    /// Nothing.
    None,
}

/// A failure that is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retryable {
    /// Of exactly that class.
    Class(ErrorClass),
    /// Any SQLSTATE of that class: its first two characters.
    SqlClass([u8; 2]),
}

/// The named policies: tries, base and cap in milliseconds.
const POLICIES: [(&str, u32, u64, u64); 3] = [
    (DEFAULT, 5, 1000, 30_000),
    ("database", 3, 500, 5000),
    ("transaction", 5, 100, 2000),
];

const DEFAULT: &str = "default";

impl Retry {
    fn named(name: &str) -> Option<Self> {
        let (name, attempts, base, max) = POLICIES.into_iter().find(|(known, ..)| *known == name)?;
        let more: &[&str] = if name == DEFAULT { &TRANSIENT_HTTP } else { &[] };
        Some(Self {
            attempts,
            base: Duration::from_millis(base),
            max: Duration::from_millis(max),
            multiplier: 2.0,
            jitter: Jitter::Full,
            on: TRANSIENT
                .iter()
                .chain(more)
                .filter_map(|text| retryable(text))
                .collect(),
        })
    }
}

/// A SQLSTATE, a class of them, or a class of errors as reports print it.
fn retryable(text: &str) -> Option<Retryable> {
    let is_code = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    match <[u8; 5]>::try_from(text.as_bytes()) {
        Ok(code) if is_code => return Some(Retryable::Class(ErrorClass::SqlState(code))),
        _ => {}
    }
    match <[u8; 2]>::try_from(text.as_bytes()) {
        Ok(class) if is_code => Some(Retryable::SqlClass(class)),
        _ => text.parse().ok().map(Retryable::Class),
    }
}

impl Compiler<'_> {
    /// The policy that is written, else the one inherited.
    pub(super) fn retry(&mut self, at: Option<&At<scenario::Retry>>, inherited: Option<&Retry>) -> Option<Retry> {
        let Some(at) = at else { return inherited.cloned() };
        match &at.value {
            scenario::Retry::Policy(name) if name == NEVER => None,
            scenario::Retry::Policy(name) => self.named_policy(at, name),
            scenario::Retry::Keys(keys) => self.policy(at, keys),
        }
    }

    fn named_policy(&mut self, at: &At<scenario::Retry>, name: &str) -> Option<Retry> {
        let policy = Retry::named(name);
        if policy.is_none() {
            let label = format!("\"{name}\" is none of \"default\", \"database\", \"transaction\", \"none\"");
            let help = "or write its values: { policy = \"transaction\", attempts = 3 }".into();
            self.problem(at, "no such retry policy", label, Some(help));
        }
        policy
    }

    fn policy(&mut self, at: &At<scenario::Retry>, keys: &RetryKeys) -> Option<Retry> {
        let name = keys.policy.as_deref().unwrap_or(DEFAULT);
        if name == NEVER {
            let help = Some("write retry = \"none\"".into());
            self.problem(at, "no such retry policy", "\"none\" has no values", help);
            return None;
        }
        let mut policy = self.named_policy(at, name)?;
        let attempts = keys.attempts.map(|attempts| at.with(attempts));
        let attempts = self.integer(
            attempts.as_ref(),
            "`attempts`",
            1..=MOST_ATTEMPTS,
            policy.attempts.into(),
        );
        policy.attempts = attempts as u32;
        let mut wait = |text: &Option<String>, default| {
            let written = text.as_ref().map(|text| at.with(text.clone()));
            self.duration(written.as_ref(), default)
        };
        policy.base = wait(&keys.base, policy.base);
        // A base beyond the cap of the policy lifts it, unless the cap is written too.
        policy.max = wait(&keys.max, policy.max.max(policy.base));
        if policy.base > policy.max {
            let help = Some("make `max` as long as `base` at least".into());
            self.problem(at, "waits the wrong way round", "`base` is longer than `max`", help);
        }
        policy.multiplier = self.multiplier(at, keys).unwrap_or(policy.multiplier);
        policy.jitter = self.jitter(at, keys).unwrap_or(policy.jitter);
        if let Some(on) = &keys.on {
            policy.on = self.retryables(at, on);
        }
        Some(policy)
    }

    fn multiplier(&mut self, at: &At<scenario::Retry>, keys: &RetryKeys) -> Option<f64> {
        let multiplier = keys.multiplier?;
        if !(1.0..=LARGEST_MULTIPLIER).contains(&multiplier) {
            let label = format!("must be from 1 to {LARGEST_MULTIPLIER}");
            let help = Some("with 1 every wait is as long as `base`".into());
            self.problem(at, "`multiplier` is out of bounds", label, help);
        }
        Some(multiplier)
    }

    fn jitter(&mut self, at: &At<scenario::Retry>, keys: &RetryKeys) -> Option<Jitter> {
        let words = [
            ("full", Jitter::Full),
            ("equal", Jitter::Equal),
            ("decorrelated", Jitter::Decorrelated),
            ("none", Jitter::None),
        ];
        let written = at.with(keys.jitter.clone()?);
        Some(self.word(Some(&written), &words, Jitter::Full))
    }

    fn retryables(&mut self, at: &At<scenario::Retry>, on: &[String]) -> Vec<Retryable> {
        if on.is_empty() {
            let help = Some("write retry = \"none\", or name what is tried again".into());
            self.problem(at, "nothing to try again", "`on` is empty", help);
        }
        let mut read = |text: &String| {
            let found = retryable(text);
            if found.is_none() {
                let help = "write a SQLSTATE (\"40001\"), the first two characters of several (\"08\"), \"http 503\", \
                            or a class of errors as reports print it (\"connect\", \"disconnected\", \"timeout\")";
                let title = format!("\"{text}\" is no failure to try again");
                self.problem(at, title, "in `on`", Some(help.into()));
            }
            found
        };
        on.iter().filter_map(&mut read).collect()
    }
}
