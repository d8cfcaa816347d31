//! One operation as measured, and how it ended.
//!
//! These are the smallest words of the measured path: plain `Copy` data, no
//! strings, no clock. Recorders count them, runs store the counts.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// One operation as measured. Times are offsets from the start of the measured window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Index of the step in the workload's list of measured steps.
    pub step: usize,
    /// When it was due. In the closed model this is its start.
    pub due: Duration,
    /// When it started.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

impl Sample {
    /// From due to end.
    pub fn response_time(&self) -> Duration {
        self.end.saturating_sub(self.due)
    }

    /// From start to end.
    pub fn service_time(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// Where the time of an operation went, as far as its protocol tells; `None` where a phase did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// Waiting for a connection of the pool, without making one.
    pub acquire: Option<Duration>,
    /// Making a connection, without TLS; of PostgreSQL all of it.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From sending the request to the head of the answer; of SQL from sending statements to the first messages
    /// of their answers, summed.
    pub first_byte: Option<Duration>,
    /// From the head of the answer to its end; of SQL summed over the answers.
    pub body: Option<Duration>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ended as expected.
    Completed,
    /// It ended otherwise.
    Failed(ErrorClass),
    /// It had not ended when the drain ended; its times are lower bounds.
    Unfinished,
}

/// What became of an operation that was tried more than once, or might have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryEnd {
    /// It completed, though not at the first try.
    Recovered,
    /// It failed at the last try that it had.
    Exhausted,
}

/// Why an operation failed: a class and, where the target gave one, its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// No connection: refused, unreachable, name not found.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No connection within its own timeout.
    ConnectTimeout,
    /// No connection of the pool within its `acquire_timeout`.
    PoolTimeout,
    /// Not let into the queue of the pool, which was full.
    Shed,
    /// No head of an answer within its own timeout.
    FirstByteTimeout,
    /// No answer within the timeout.
    Timeout,
    /// A redirect away from the target, or one too many.
    Redirect,
    /// The connection was lost during the operation.
    Disconnected,
    /// The answer broke the protocol.
    Protocol,
    /// The answer was larger than allowed.
    TooLarge,
    /// An HTTP status that was not expected.
    Status(u16),
    /// An error of PostgreSQL, by SQLSTATE.
    SqlState([u8; 5]),
    /// An error of SQLite, by extended result code.
    Sqlite(i32),
    /// A parameter could not be converted to the type the statement wants.
    Parameter,
    /// An expectation other than the status did not hold.
    Expectation,
    /// A value to be saved was not in the answer.
    Extraction,
    /// A circuit breaker did not let it through: it never reached the target.
    Rejected,
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Tls => f.write_str("tls"),
            Self::ConnectTimeout => f.write_str("connect timeout"),
            Self::PoolTimeout => f.write_str("pool timeout"),
            Self::Shed => f.write_str("shed"),
            Self::FirstByteTimeout => f.write_str("first byte timeout"),
            Self::Timeout => f.write_str("timeout"),
            Self::Redirect => f.write_str("redirect"),
            Self::Disconnected => f.write_str("disconnected"),
            Self::Protocol => f.write_str("protocol"),
            Self::TooLarge => f.write_str("too large"),
            Self::Status(code) => write!(f, "http {code}"),
            Self::SqlState(code) => write!(f, "sqlstate {}", String::from_utf8_lossy(code)),
            Self::Sqlite(code) => write!(f, "sqlite {code}"),
            Self::Parameter => f.write_str("parameter"),
            Self::Expectation => f.write_str("expectation"),
            Self::Extraction => f.write_str("extraction"),
            Self::Rejected => f.write_str("rejected"),
        }
    }
}

impl Serialize for ErrorClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ErrorClass {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for ErrorClass {
    type Err = String;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, String> {
        parse_class(text).ok_or_else(|| format!("\"{text}\" is no class of error"))
    }
}

fn parse_class(text: &str) -> Option<ErrorClass> {
    Some(match text.split_once(' ') {
        Some(("http", code)) => ErrorClass::Status(code.parse().ok()?),
        Some(("sqlstate", code)) => ErrorClass::SqlState(code.as_bytes().try_into().ok()?),
        Some(("sqlite", code)) => ErrorClass::Sqlite(code.parse().ok()?),
        _ => match text {
            "connect" => ErrorClass::Connect,
            "tls" => ErrorClass::Tls,
            "connect timeout" => ErrorClass::ConnectTimeout,
            "pool timeout" => ErrorClass::PoolTimeout,
            "shed" => ErrorClass::Shed,
            "first byte timeout" => ErrorClass::FirstByteTimeout,
            "timeout" => ErrorClass::Timeout,
            "redirect" => ErrorClass::Redirect,
            "disconnected" => ErrorClass::Disconnected,
            "protocol" => ErrorClass::Protocol,
            "too large" => ErrorClass::TooLarge,
            "parameter" => ErrorClass::Parameter,
            "expectation" => ErrorClass::Expectation,
            "extraction" => ErrorClass::Extraction,
            "rejected" => ErrorClass::Rejected,
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_read_back_from_what_was_written() {
        use ErrorClass::*;
        for class in [
            Connect,
            Tls,
            ConnectTimeout,
            PoolTimeout,
            Shed,
            FirstByteTimeout,
            Timeout,
            Redirect,
            Disconnected,
            Protocol,
            TooLarge,
            Status(503),
            SqlState(*b"23505"),
            Sqlite(2067),
            Parameter,
            Expectation,
            Extraction,
            Rejected,
        ] {
            let text = serde_json::to_string(&class).unwrap();
            assert_eq!(serde_json::from_str::<ErrorClass>(&text).unwrap(), class);
        }
        assert!(serde_json::from_str::<ErrorClass>("\"bad luck\"").is_err());
    }
}
