//! Faults on demand, so that people can watch a gate catch a slower service.
//!
//! A fault changes how the demo answers, never what it stores. This module
//! reads them from text and decides which request is hit; it knows nothing of
//! HTTP or SQL, and nothing here is random: the same requests meet the same
//! faults.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::DemoError;
use crate::units;

/// Environment variable for [`Faults::delay`], such as `5ms`.
pub const DELAY_VARIABLE: &str = "LOADGATE_DEMO_DELAY";
/// Environment variable for [`Faults::error_rate`], such as `0.05` or `5%`.
pub const ERROR_RATE_VARIABLE: &str = "LOADGATE_DEMO_ERROR_RATE";
/// Environment variable for [`Faults::extra_query`], such as `1`.
pub const EXTRA_QUERY_VARIABLE: &str = "LOADGATE_DEMO_EXTRA_QUERY";

/// A longer delay is refused: it could not be told from a hung service.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// More additional statements per request are refused.
const MOST_EXTRA_QUERIES: u32 = 10_000;

/// What is to be wrong with every request but `GET /api/health`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Added before each answer.
    pub delay: Duration,
    /// Share of requests answered with status 500, 0 to 1; 0.1 is every tenth.
    pub error_rate: f64,
    /// Additional statements executed per request that reaches the database.
    pub extra_query: u32,
}

impl Faults {
    /// Reads the faults from variables; an absent or empty one is no fault.
    ///
    /// # Errors
    /// When a variable does not hold what it should, naming the variable.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, DemoError> {
        Ok(Self {
            delay: variable(&lookup, DELAY_VARIABLE, parse_delay)?,
            error_rate: variable(&lookup, ERROR_RATE_VARIABLE, parse_error_rate)?,
            extra_query: variable(&lookup, EXTRA_QUERY_VARIABLE, parse_extra_query)?,
        })
    }
}

fn variable<T: Default>(
    lookup: impl Fn(&str) -> Option<String>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, DemoError> {
    match lookup(name).filter(|text| !text.trim().is_empty()) {
        None => Ok(T::default()),
        Some(text) => parse(&text).map_err(|reason| DemoError::Variable { name, reason }),
    }
}

/// Reads a delay such as `5ms`, at most one minute.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = units::parse_duration(text)?;
    if delay > LONGEST_DELAY {
        return Err(format!("a delay is at most {}", units::format_duration(LONGEST_DELAY)));
    }
    Ok(delay)
}

/// Reads a share such as `0.05` or `5%`.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_error_rate(text: &str) -> Result<f64, String> {
    let share = match units::split_number(text)? {
        (number, "") => number,
        (number, "%") => number / 100.0,
        (_, other) => {
            return Err(format!("\"{other}\" is no unit of a share; write 0.05 or 5%"));
        }
    };
    if !(0.0..=1.0).contains(&share) {
        return Err("a share of requests is between 0 and 1, or 0% and 100%".into());
    }
    Ok(share)
}

/// Reads a number of additional statements per request.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_extra_query(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(count) if count <= MOST_EXTRA_QUERIES => Ok(count),
        _ => Err(format!("expected a whole number from 0 to {MOST_EXTRA_QUERIES}")),
    }
}

/// Decides which requests fail, spread evenly: a rate of 0.1 is every tenth.
#[derive(Debug)]
pub(super) struct ErrorRate {
    rate: f64,
    requests: AtomicU64,
}

impl ErrorRate {
    pub(super) fn new(rate: f64) -> Self {
        Self {
            rate,
            requests: AtomicU64::new(0),
        }
    }

    /// Counts one request and says whether it is to fail.
    pub(super) fn hits(&self) -> bool {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures_after(before + 1) > self.failures_after(before)
    }

    /// How many of the first requests fail. The nudge keeps 10 × 0.1 at 1.
    fn failures_after(&self, requests: u64) -> u64 {
        (requests as f64 * self.rate + 1e-9) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn variables_become_faults() {
        let faults = Faults::from_variables(lookup(&[
            (DELAY_VARIABLE, "5ms"),
            (ERROR_RATE_VARIABLE, "5%"),
            (EXTRA_QUERY_VARIABLE, "2"),
        ]));
        let expected = Faults {
            delay: Duration::from_millis(5),
            error_rate: 0.05,
            extra_query: 2,
        };
        assert_eq!(faults.unwrap(), expected);
        assert_eq!(
            Faults::from_variables(lookup(&[(DELAY_VARIABLE, " ")])).unwrap(),
            Faults::default()
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let message = |name, value| {
            Faults::from_variables(lookup(&[(name, value)]))
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(message(DELAY_VARIABLE, "5"), @r#"LOADGATE_DEMO_DELAY: a duration needs a unit, as in "5s" or "5ms""#);
        insta::assert_snapshot!(message(DELAY_VARIABLE, "2h"), @"LOADGATE_DEMO_DELAY: a delay is at most 60 s");
        insta::assert_snapshot!(message(ERROR_RATE_VARIABLE, "5"), @"LOADGATE_DEMO_ERROR_RATE: a share of requests is between 0 and 1, or 0% and 100%");
        insta::assert_snapshot!(message(ERROR_RATE_VARIABLE, "5ms"), @r#"LOADGATE_DEMO_ERROR_RATE: "ms" is no unit of a share; write 0.05 or 5%"#);
        insta::assert_snapshot!(message(EXTRA_QUERY_VARIABLE, "-1"), @"LOADGATE_DEMO_EXTRA_QUERY: expected a whole number from 0 to 10000");
    }

    #[test]
    fn errors_are_spread_evenly() {
        let tenth = ErrorRate::new(0.1);
        let hit: Vec<usize> = (1..=40).filter(|_| tenth.hits()).collect();
        assert_eq!(hit, [10, 20, 30, 40]);
        let share = |rate: f64| {
            let errors = ErrorRate::new(rate);
            (0..1000).filter(|_| errors.hits()).count()
        };
        assert_eq!([0.0, 0.05, 0.333, 1.0].map(share), [0, 50, 333, 1000]);
    }
}
