//! What somebody said a change gains, to be held against what is measured.

use serde::{Deserialize, Serialize};

use crate::{
    metric::{self, Metric},
    threshold::parse_value,
    units,
};

/// A claim about one figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What was said, in its own words.
    pub text: String,
    /// Where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The variant that it is about, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The step; without it all steps together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The metric.
    #[serde(deserialize_with = "metric::deserialize")]
    pub metric: &'static Metric,
    /// The figure.
    pub value: Claimed,
}

/// The figure of a claim, with half a unit of the last digit that was written: so exact was it meant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// A change beside the reference, as a share of it: −0.6 is 60 % less.
    Change {
        /// The share.
        value: f64,
        /// Half a unit of its last digit.
        tolerance: f64,
    },
    /// The value itself, in the base unit of the metric.
    Value {
        /// The value.
        value: f64,
        /// Half a unit of its last digit.
        tolerance: f64,
    },
}

impl Claimed {
    /// Reads `-60%`, `+149 %`, `45ms`, `112/s`, `78%` (of a share) or `3` (of counts).
    ///
    /// # Errors
    /// A sentence saying what is wrong and how it could be written.
    pub fn parse(text: &str, metric: &Metric) -> Result<Self, String> {
        let text = text.trim();
        let half = half_of_last_digit(text);
        if !text.starts_with(['+', '-']) {
            let value = parse_value(text, metric.unit)?;
            let (number, _) = units::split_number(text)?;
            // So much of the value is one of the number as it is written.
            let scale = if number == 0.0 { 0.0 } else { value / number };
            return Ok(Self::Value {
                value,
                tolerance: half * scale,
            });
        }
        match units::split_number(text)? {
            (number, "%") if number >= -100.0 => Ok(Self::Change {
                value: number / 100.0,
                tolerance: half / 100.0,
            }),
            _ => Err("a change is written \"-60%\" (less) or \"+149%\" (more)".into()),
        }
    }
}

/// 0.5 for `60`, 0.05 for `60.1`.
fn half_of_last_digit(text: &str) -> f64 {
    let decimals = text.split_once('.').map_or(0, |(_, rest)| {
        let digits = rest.chars().take_while(char::is_ascii_digit);
        digits.count()
    });
    0.5 / 10f64.powi(decimals.min(12) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, metric: &str) -> Result<Claimed, String> {
        Claimed::parse(text, metric::find(metric).unwrap())
    }

    #[test]
    fn claims_are_as_exact_as_they_are_written() {
        let change = |value, tolerance| Ok(Claimed::Change { value, tolerance });
        assert_eq!(parsed("-60%", "p50"), change(-0.6, 0.005));
        assert_eq!(parsed("+149 %", "throughput"), change(1.49, 0.005));
        let value = |value, tolerance| Ok(Claimed::Value { value, tolerance });
        assert_eq!(parsed("8.2ms", "mean"), value(8.2e6, 0.05 * (8.2e6 / 8.2)));
        assert_eq!(parsed("112/s", "throughput"), value(112.0, 0.5));
        assert_eq!(parsed("3", "queries_per_operation"), value(3.0, 0.5));
    }

    #[test]
    fn what_is_none_is_told() {
        for text in ["-60", "+3ms", "fast", "-160%", "3%"] {
            assert!(parsed(text, "p50").is_err(), "{text}");
        }
    }
}
