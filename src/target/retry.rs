//! Which failures are tried again, and after how long.
//!
//! Pure: nobody waits here, and chance comes from a stream of random numbers
//! that is handed in. The same stream gives the same waits.

use std::time::Duration;

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

use crate::{
    sample::ErrorClass,
    workload::{Jitter, Retry, Retryable},
};

/// How many times the wait before a decorrelated one may be.
const DECORRELATED: u32 = 3;

/// Whether a policy tries again what failed like this.
pub(super) fn is_retryable(policy: &Retry, class: ErrorClass) -> bool {
    policy.on.iter().any(|retryable| match (retryable, class) {
        (Retryable::Class(retried), class) => *retried == class,
        (Retryable::SqlClass(retried), ErrorClass::SqlState(code)) => code.starts_with(retried),
        (Retryable::SqlClass(_), _) => false,
    })
}

/// The waits between the tries of one operation.
#[derive(Debug)]
pub(super) struct Backoff<'p> {
    policy: &'p Retry,
    random: Xoshiro256PlusPlus,
    /// How many waits there were.
    waits: i32,
    previous: Duration,
}

impl<'p> Backoff<'p> {
    pub(super) fn new(policy: &'p Retry, random: Xoshiro256PlusPlus) -> Self {
        Self {
            policy,
            random,
            waits: 0,
            previous: policy.base,
        }
    }

    /// The wait before the next try.
    ///
    /// Exponential with a cap: min(max, base · multiplier^(k−1)) before the k-th retry. The kinds of jitter are those
    /// of M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    pub(super) fn next(&mut self) -> Duration {
        let Retry { base, max, jitter, .. } = *self.policy;
        let wait = self.exponential();
        self.waits = self.waits.saturating_add(1);
        let wait = match jitter {
            Jitter::None => wait,
            Jitter::Full => self.up_to(wait),
            Jitter::Equal => {
                let half = wait / 2;
                half + self.up_to(wait - half)
            }
            Jitter::Decorrelated => {
                let most = self.previous.saturating_mul(DECORRELATED).max(base);
                (base + self.up_to(most - base)).min(max)
            }
        };
        self.previous = wait;
        wait
    }

    fn exponential(&self) -> Duration {
        let Retry {
            base, max, multiplier, ..
        } = *self.policy;
        let wait = base.as_secs_f64() * multiplier.powi(self.waits);
        // What is too long for a duration is beyond any cap.
        Duration::try_from_secs_f64(wait).map_or(max, |wait| wait.min(max))
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random()).min(most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::stream;

    const MS: Duration = Duration::from_millis(1);

    fn policy(jitter: Jitter) -> Retry {
        Retry {
            attempts: 5,
            base: 100 * MS,
            max: 2000 * MS,
            multiplier: 2.0,
            jitter,
            on: vec![
                Retryable::Class(ErrorClass::SqlState(*b"40001")),
                Retryable::SqlClass(*b"08"),
                Retryable::Class(ErrorClass::Connect),
                Retryable::Class(ErrorClass::Status(503)),
            ],
        }
    }

    fn waits(policy: &Retry, number: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(policy, stream(1, 2, number));
        (0..8).map(|_| backoff.next()).collect()
    }

    #[test]
    fn backoff_calculation() {
        let waits = waits(&policy(Jitter::None), 1);
        assert_eq!(waits, [100, 200, 400, 800, 1600, 2000, 2000, 2000].map(|ms| ms * MS));
    }

    #[test]
    fn full_jitter_reaches_down_to_nothing_and_equal_jitter_to_the_half() {
        let first = |jitter| {
            let policy = policy(jitter);
            (0..500)
                .map(move |number| waits(&policy, number)[0])
                .collect::<Vec<_>>()
        };
        let (full, equal) = (first(Jitter::Full), first(Jitter::Equal));
        assert!(full.iter().any(|wait| *wait < 5 * MS) && full.iter().any(|wait| *wait > 95 * MS));
        assert!(equal.iter().all(|wait| *wait >= 50 * MS));
        assert!(equal.iter().any(|wait| *wait < 55 * MS) && equal.iter().any(|wait| *wait > 95 * MS));
        // The mean of what is equally likely up to 100 ms: 50 ms, 500 times, ± 3 · 1.3 ms.
        let mean = full.iter().sum::<Duration>() / 500;
        assert!(mean.abs_diff(50 * MS) < 4 * MS, "{mean:?}");
    }

    #[test]
    fn decorrelated_waits_follow_the_one_before() {
        for number in 0..200 {
            let mut before = 100 * MS;
            for wait in waits(&policy(Jitter::Decorrelated), number) {
                assert!(
                    wait >= 100 * MS && wait <= (3 * before).min(2000 * MS),
                    "{wait:?} after {before:?}"
                );
                before = wait;
            }
        }
    }

    #[test]
    fn retryable_detection() {
        let policy = policy(Jitter::None);
        let sql = |code: &[u8; 5]| ErrorClass::SqlState(*code);
        for class in [
            sql(b"40001"),
            sql(b"08006"),
            sql(b"08P01"),
            ErrorClass::Connect,
            ErrorClass::Status(503),
        ] {
            assert!(is_retryable(&policy, class), "{class}");
        }
        for class in [
            sql(b"40002"),
            sql(b"23505"),
            sql(b"42601"),
            sql(b"57014"),
            ErrorClass::Status(500),
            ErrorClass::Timeout,
            ErrorClass::Rejected,
        ] {
            assert!(!is_retryable(&policy, class), "{class}");
        }
    }

    fn jitters() -> impl Strategy<Value = Jitter> {
        prop::sample::select(vec![Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None])
    }

    proptest! {
        #[test]
        fn no_wait_is_beyond_the_cap_and_the_same_seed_gives_the_same_waits(
            jitter in jitters(),
            base_ns in 0_u64..10_000_000_000,
            beyond_ns in 0_u64..100_000_000_000,
            multiplier in 1.0_f64..=100.0,
            seed in any::<u64>(),
        ) {
            let base = Duration::from_nanos(base_ns);
            let policy = Retry {
                attempts: 100,
                base,
                max: base + Duration::from_nanos(beyond_ns),
                multiplier,
                jitter,
                on: Vec::new(),
            };
            let waits = || {
                let mut backoff = Backoff::new(&policy, stream(seed, 2, 3));
                (0..99).map(|_| backoff.next()).collect::<Vec<_>>()
            };
            let first = waits();
            prop_assert!(first.iter().all(|wait| *wait <= policy.max), "{first:?}");
            prop_assert_eq!(first, waits());
        }
    }
}
