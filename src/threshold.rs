//! Limits on metrics, as a scenario states them and a run stores them.
//!
//! `+5%` means five per cent *worse*, whatever the metric's direction; `+0.5pp`
//! half a percentage point worse; `80ms`, `1%` and `280/s` are absolute; a floor
//! stands beside a change, as in `+5% and 200us`. This module reads and writes
//! limits; judging by them is [`crate::comparison`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    metric::{self, Metric},
    units::{self, Unit},
};

/// One `[[threshold]]` of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The step it is about; `None` means all steps together.
    pub step: Option<String>,
    /// The metric it limits.
    #[serde(deserialize_with = "metric::deserialize")]
    pub metric: &'static Metric,
    /// From here the verdict is a warning.
    pub warning: Option<Limit>,
    /// From here the verdict is critical.
    pub critical: Option<Limit>,
    /// Where it was written.
    pub source: Source,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Source {
    /// The path as the user gave it.
    pub file: String,
    /// Line number from 1.
    pub line: usize,
}

/// A limit on one metric. Stored as numbers in base units, never as formatted text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The value itself, in the base unit of the metric (ns, share, per second).
    Absolute {
        /// Upper limit where lower is better, lower limit where higher is better.
        value: f64,
        /// For writing it back.
        unit: Unit,
    },
    /// Worse than the reference by this share of it.
    Relative {
        /// 0.05 is five per cent worse.
        change: f64,
        /// A change smaller than this, in the metric's base unit, is none.
        floor: Option<f64>,
        /// The unit of the floor.
        unit: Unit,
    },
    /// Worse than the reference by this many points of share (0.005 is half a percentage point).
    Points(f64),
    /// Worse than the reference by more than this many of what is counted; `+0` allows none.
    More(f64),
}

impl Limit {
    /// Reads a limit for a metric.
    ///
    /// # Errors
    /// A sentence saying what is wrong and how it could be written.
    pub fn parse(text: &str, metric: &Metric) -> Result<Self, String> {
        let text = text.trim();
        let (main, floor) = match text.split_once(" and ") {
            Some((main, floor)) => (main.trim(), Some(floor.trim())),
            None => (text, None),
        };
        if !main.starts_with('+') {
            if main.starts_with('-') {
                return Err("a limit says how much worse is allowed, so it cannot be negative".into());
            }
            if floor.is_some() {
                return Err("a floor belongs to a change, as in \"+5% and 200us\"".into());
            }
            return Ok(Self::Absolute {
                value: parse_value(main, metric.unit)?,
                unit: metric.unit,
            });
        }
        let (number, unit) = units::split_number(main)?;
        match unit {
            "%" => {
                let floor = floor.map(|text| parse_value(text, metric.unit)).transpose()?;
                Ok(Self::Relative {
                    change: number / 100.0,
                    floor,
                    unit: metric.unit,
                })
            }
            "pp" if metric.unit == Unit::Share && floor.is_none() => Ok(Self::Points(number / 100.0)),
            "" if metric.unit == Unit::Count && floor.is_none() => Ok(Self::More(number)),
            "pp" => Err(format!(
                "points (pp) are for rates such as error_rate, not for {}",
                metric.name
            )),
            _ => Err(format!(
                "a change is written \"+5%\"{}",
                match metric.unit {
                    Unit::Share => " or \"+0.5pp\"",
                    Unit::Count => " or \"+0\"",
                    Unit::Ns | Unit::PerSecond => "",
                }
            )),
        }
    }

    /// Whether it is in points of share.
    pub fn is_points(&self) -> bool {
        matches!(self, Self::Points(_))
    }

    /// Whether judging by it needs a reference.
    pub fn is_relative(&self) -> bool {
        !matches!(self, Self::Absolute { .. })
    }
}

/// A value in the base unit of a metric.
///
/// # Errors
/// A sentence saying what is wrong.
pub(crate) fn parse_value(text: &str, unit: Unit) -> Result<f64, String> {
    match unit {
        Unit::Ns => units::parse_duration(text).map(|duration| duration.as_nanos() as f64),
        Unit::PerSecond => units::parse_rate(text),
        Unit::Share => match units::split_number(text)? {
            (number, "%") if (0.0..=100.0).contains(&number) => Ok(number / 100.0),
            _ => Err(format!("\"{text}\" is no share; write for example \"1%\"")),
        },
        Unit::Count => match units::split_number(text)? {
            (number, "") if number >= 0.0 => Ok(number),
            _ => Err(format!("\"{text}\" is no number of things; write for example \"6\"")),
        },
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absolute { value, unit } => f.write_str(&unit.format(value)),
            Self::Relative { change, floor, unit } => {
                write!(f, "+{}%", units::significant(change * 100.0))?;
                floor.map_or(Ok(()), |floor| write!(f, " and {}", unit.format(floor)))
            }
            Self::Points(points) => write!(f, "+{}pp", units::significant(points * 100.0)),
            Self::More(count) => write!(f, "+{}", units::format_count(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, metric: &str) -> Result<Limit, String> {
        Limit::parse(text, metric::find(metric).unwrap())
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for (text, metric, written) in [
            ("80ms", "p95", "80 ms"),
            ("+5%", "p95", "+5%"),
            ("+5% and 200us", "p95", "+5% and 200 µs"),
            ("+0.5pp", "error_rate", "+0.5pp"),
            ("1%", "error_rate", "1 %"),
            ("280/s", "throughput", "280/s"),
            ("+0", "queries_per_operation", "+0"),
            ("+2% and 1", "buffers_per_operation", "+2% and 1"),
            ("1979", "buffers_per_operation", "1,979"),
        ] {
            assert_eq!(parse(text, metric).unwrap().to_string(), written);
        }
    }

    #[test]
    fn nonsense_says_how_to_write_it() {
        assert!(parse("5", "p95").unwrap_err().contains("unit"));
        assert!(parse("+5", "p95").unwrap_err().contains("+5%"));
        assert!(parse("+1pp", "p95").unwrap_err().contains("points"));
        assert!(parse("-5%", "p95").unwrap_err().contains("negative"));
        assert!(parse("80ms and 1ms", "p95").unwrap_err().contains("floor"));
    }
}
