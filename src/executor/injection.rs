//! Trouble put into the operations of one variant on purpose, to see whether the verdict finds it.
//!
//! It happens between the session and the recorder, so it needs nothing of the
//! target, works with any, and is exact. Nothing here is random.

use std::{fmt, str::FromStr, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    sample::{ErrorClass, Outcome},
    target::Reply,
    units::{self, significant},
};

/// Stalls come this often.
const STALL_EVERY: Duration = Duration::from_secs(2);

/// A longer stall would be an outage.
const LONGEST_STALL: Duration = Duration::from_secs(1);

/// Trouble of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Injection {
    /// Operations are recorded as longer by exactly this share of their own length. Nobody waits for it: sessions
    /// that idled would ease the target, which then answers sooner.
    Slower(f64),
    /// This share of operations fails, spread evenly.
    Errors(f64),
    /// Every two seconds nothing ends for so long.
    Stalls(Duration),
}

/// What one session remembers of it.
#[derive(Debug)]
pub(super) struct Trouble {
    injection: Injection,
    operations: u64,
}

impl Trouble {
    pub(super) fn new(injection: Injection) -> Self {
        Self {
            injection,
            operations: 0,
        }
    }

    /// Changes how an operation went; `since` is the begin of the load.
    pub(super) async fn meddle(&mut self, since: Instant, reply: &mut Reply, outcome: Outcome) -> Outcome {
        self.operations += 1;
        match self.injection {
            Injection::Slower(share) => {
                reply.end += (reply.end - reply.start).mul_f64(share);
                outcome
            }
            Injection::Errors(share) => {
                // The nudge keeps 10 × 0.1 at 1.
                let failures = |operations: u64| (operations as f64 * share + 1e-9) as u64;
                match failures(self.operations) > failures(self.operations - 1) {
                    true => Outcome::Failed(ErrorClass::Expectation),
                    false => outcome,
                }
            }
            Injection::Stalls(length) => {
                let into = since.elapsed().as_nanos() % STALL_EVERY.as_nanos();
                let left = length.saturating_sub(Duration::from_nanos(into as u64));
                if !left.is_zero() {
                    sleep_until(Instant::now() + left).await;
                    reply.end = Instant::now();
                }
                outcome
            }
        }
    }
}

impl FromStr for Injection {
    type Err = String;

    /// Reads `slower=5%`, `errors=1%` or `stalls=100ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, amount) = text.split_once('=').unwrap_or((text, ""));
        let share = |most: f64| match units::split_number(amount)? {
            (number, "%") if number > 0.0 && number <= most => Ok(number / 100.0),
            _ => Err(format!(
                "\"{amount}\" is no share from 0 to {most}%; write for example {kind}=5%"
            )),
        };
        match kind {
            "slower" => share(1000.0).map(Self::Slower),
            "errors" => share(100.0).map(Self::Errors),
            "stalls" => match units::parse_duration(amount)? {
                length if !length.is_zero() && length <= LONGEST_STALL => Ok(Self::Stalls(length)),
                _ => Err("a stall is longer than nothing and at most 1s".into()),
            },
            _ => Err(format!(
                "\"{kind}\" cannot be injected; use slower=5%, errors=1%, stalls=100ms or a setting of the scenario"
            )),
        }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slower(share) => write!(f, "slower={}%", significant(share * 100.0)),
            Self::Errors(share) => write!(f, "errors={}%", significant(share * 100.0)),
            Self::Stalls(length) => write!(f, "stalls={}ms", length.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(length: Duration) -> Reply {
        let start = Instant::now();
        Reply {
            start,
            end: start + length,
            ..Reply::default()
        }
    }

    #[test]
    fn every_kind_is_read_and_written_back() {
        for text in ["slower=5%", "slower=2.5%", "errors=1%", "stalls=100ms"] {
            assert_eq!(text.parse::<Injection>().unwrap().to_string(), text);
        }
        for text in [
            "slower",
            "slower=5",
            "slower=0%",
            "errors=101%",
            "stalls=2s",
            "stalls=0ms",
            "noise=1%",
        ] {
            assert!(text.parse::<Injection>().is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_takes_longer_by_a_share_of_itself_and_nobody_waits() {
        let mut trouble = Trouble::new(Injection::Slower(0.05));
        let mut reply = reply(Duration::from_millis(10));
        let outcome = trouble.meddle(reply.start, &mut reply, Outcome::Completed).await;
        assert_eq!(outcome, Outcome::Completed);
        assert_eq!(reply.end - reply.start, Duration::from_micros(10_500));
        assert_eq!(Instant::now(), reply.start);
    }

    #[tokio::test]
    async fn every_hundredth_operation_fails() {
        let mut trouble = Trouble::new(Injection::Errors(0.01));
        let mut failed = 0;
        for _ in 0..1_000 {
            let mut reply = reply(Duration::ZERO);
            let outcome = trouble.meddle(reply.start, &mut reply, Outcome::Completed).await;
            failed += u32::from(outcome != Outcome::Completed);
        }
        assert_eq!(failed, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_holds_all_that_ends_in_it() {
        let mut trouble = Trouble::new(Injection::Stalls(Duration::from_millis(100)));
        let since = Instant::now();
        let mut ends = Vec::new();
        for _ in 0..5 {
            let mut reply = reply(Duration::ZERO);
            trouble.meddle(since, &mut reply, Outcome::Completed).await;
            ends.push(reply.end - since);
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        let expected = [100, 700, 1300, 1900, 2500].map(Duration::from_millis);
        let late = |(end, expected): (&Duration, &Duration)| end.abs_diff(*expected) < Duration::from_millis(5);
        assert!(ends.iter().zip(&expected).all(late), "{ends:?}");
    }
}
