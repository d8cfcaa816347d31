//! Quantities as people write and read them: durations, rates, sizes, shares.
//!
//! Parsing is for scenario files and arguments, formatting for reports. Inside
//! the program a time is nanoseconds, a rate is operations per second and a
//! share is between 0 and 1. This module knows nothing of load or of judging.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest duration that is accepted anywhere: 7 days.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The physical unit of a [`crate::metric::Metric`], as stored in runs and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// A share of all operations, 0 to 1.
    Share,
    /// Operations per second.
    #[serde(rename = "per_s")]
    PerSecond,
    /// A plain number of things, per operation.
    Count,
}

impl Unit {
    /// The value with its unit as people read it: `18.2 ms`, `0.31 %`, `299.8/s`.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Ns => format_ns(value),
            Self::Share => format_share(value),
            Self::PerSecond => format!("{}/s", significant(value)),
            Self::Count => format_count(value),
        }
    }
}

/// Reads a duration such as `80ms`, `1.5s`, `2m`, `1h`, `200us` or `10ns`.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text)?;
    let seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        "" => return Err(format!("a duration needs a unit, as in \"{text}s\" or \"{text}ms\"")),
        other => return Err(format!("\"{other}\" is no unit of time; use ns, us, ms, s, m, h or d")),
    };
    let total = number * seconds;
    if total < 0.0 {
        return Err("a duration cannot be negative".into());
    }
    if total > LONGEST.as_secs_f64() {
        return Err("longer than 7 days".into());
    }
    Ok(Duration::from_secs_f64(total))
}

/// Reads a rate such as `300/s`, `90/m` or `5000/h` as operations per second.
///
/// # Errors
/// A sentence saying what is wrong with the text; a rate must be above zero.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, per) = text
        .split_once('/')
        .ok_or_else(|| format!("a rate is a number per time, as in \"{}/s\"", text.trim()))?;
    let (number, rest) = split_number(number)?;
    if !rest.is_empty() {
        return Err(format!(
            "\"{rest}\" does not belong before the slash; write for example \"300/s\""
        ));
    }
    let seconds = match per.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("\"/{other}\" is no rate; use /s, /m or /h")),
    };
    let rate = number / seconds;
    if rate <= 0.0 {
        return Err("a rate must be above zero".into());
    }
    if rate > 1e7 {
        return Err("more than 10,000,000/s".into());
    }
    Ok(rate)
}

/// Reads a size such as `1MB`, `64KiB` or `100B` as bytes.
///
/// # Errors
/// A sentence saying what is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text)?;
    let bytes = match unit {
        "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "" => return Err(format!("a size needs a unit, as in \"{text}KB\" or \"{text}B\"")),
        other => return Err(format!("\"{other}\" is no unit of size; use B, KB, MB, KiB or MiB")),
    };
    let total = number * bytes;
    if total < 0.0 {
        return Err("a size cannot be negative".into());
    }
    Ok(total.round() as u64)
}

/// Bytes as `parse_size` reads them: `1 MB`, `64 KiB`, `1234 B`; only whole units.
pub fn format_size(bytes: u64) -> String {
    let units = [("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1000)];
    let whole = units.iter().find(|(_, size)| bytes > 0 && bytes.is_multiple_of(*size));
    let (unit, size) = whole.copied().unwrap_or(("B", 1));
    format!("{} {unit}", bytes / size)
}

/// Splits `"80ms"` into 80.0 and `"ms"`.
///
/// # Errors
/// When the text does not start with a finite number.
pub fn split_number(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || matches!(c, '.' | '_') || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    let number: f64 = text[..end]
        .replace('_', "")
        .parse()
        .map_err(|_| format!("\"{text}\" does not start with a number"))?;
    if !number.is_finite() {
        return Err(format!("\"{text}\" is too large"));
    }
    Ok((number, text[end..].trim()))
}

/// A number of things, exact to the digit where it is whole: `1,979`, `4`, `2.35`.
pub fn format_count(value: f64) -> String {
    let whole = value.round();
    if (value - whole).abs() < 1e-9 || value.abs() >= 1e6 {
        return group_thousands(whole as i64);
    }
    let text = format!("{:.2}", value - value.trunc());
    let fraction = text
        .trim_start_matches('-')
        .trim_start_matches('0')
        .trim_end_matches('0');
    format!("{}{fraction}", group_thousands(value.trunc() as i64))
}

/// Nanoseconds with the unit that suits their size and three significant digits.
pub fn format_ns(ns: f64) -> String {
    let (scale, unit) = match ns.abs() {
        x if x < 1e3 => (1.0, "ns"),
        x if x < 1e6 => (1e3, "µs"),
        x if x < 1e9 => (1e6, "ms"),
        x if x < 120e9 => (1e9, "s"),
        _ => (60e9, "min"),
    };
    format!("{} {unit}", significant(ns / scale))
}

/// A [`Duration`] as [`format_ns`] writes it.
pub fn format_duration(duration: Duration) -> String {
    format_ns(duration.as_nanos() as f64)
}

/// A share of 1 as a percentage: 0.0031 is `0.31 %`.
pub fn format_share(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

/// A relative change: 0.41 is `+41 %`, always signed, one decimal below 10 %. Next to all
/// of something gets a digit more: -0.997 is `-99.7 %`.
pub fn format_change(change: f64) -> String {
    let percent = change * 100.0;
    if percent.abs() < 9.95 || (-99.95..-99.0).contains(&percent) {
        format!("{percent:+.1} %")
    } else if (-99.995..-99.0).contains(&percent) {
        format!("{percent:+.2} %")
    } else {
        format!("{percent:+.0} %")
    }
}

/// Three significant digits without an exponent, thousands grouped: `0.0412`, `18.2`, `12,345`.
pub fn significant(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || !magnitude.is_finite() {
        return format!("{value}");
    }
    if magnitude >= 999.5 {
        return group_thousands(value.round() as i64);
    }
    let digits = (2 - magnitude.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `1234567` as `1,234,567`.
pub fn group_thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        out.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        assert_eq!(parse_duration("80ms"), Ok(Duration::from_millis(80)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1_000us"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn a_duration_without_unit_or_sense_says_why() {
        assert!(parse_duration("80").unwrap_err().contains("unit"));
        assert!(parse_duration("-1s").unwrap_err().contains("negative"));
        assert!(parse_duration("soon").unwrap_err().contains("number"));
        assert!(parse_duration("9999d").unwrap_err().contains("7 days"));
    }

    #[test]
    fn a_rate_is_per_second_and_above_zero() {
        assert_eq!(parse_rate("300/s"), Ok(300.0));
        assert_eq!(parse_rate("90/m"), Ok(1.5));
        assert!(parse_rate("0/s").unwrap_err().contains("above zero"));
        assert!(parse_rate("300").unwrap_err().contains("300/s"));
    }

    #[test]
    fn sizes_are_read_and_written_in_decimal_and_binary_units() {
        for (text, bytes) in [
            ("100B", 100),
            ("1.5KB", 1500),
            ("1MB", 1_000_000),
            ("64KiB", 65536),
            ("2MiB", 2 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        assert!(parse_size("5").unwrap_err().contains("unit"));
        assert!(parse_size("5GB").unwrap_err().contains("no unit of size"));
        assert!(parse_size("-5B").unwrap_err().contains("negative"));
        assert_eq!(
            [1_000_000, 64 << 20, 1234, 0].map(format_size),
            ["1 MB", "64 MiB", "1234 B", "0 B"]
        );
    }

    #[test]
    fn numbers_are_written_with_three_significant_digits() {
        assert_eq!(format_ns(18_234_000.0), "18.2 ms");
        assert_eq!(format_ns(999.0), "999 ns");
        assert_eq!(format_ns(1_500.0), "1.5 µs");
        assert_eq!(format_share(0.0031), "0.31 %");
        assert_eq!(format_change(0.414), "+41 %");
        assert_eq!(format_change(-0.021), "-2.1 %");
        assert_eq!(significant(12345.4), "12,345");
        assert_eq!(group_thousands(-1_234_567), "-1,234,567");
    }
}
