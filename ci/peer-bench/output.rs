//! What each tool says it has done, read from what it printed.
//!
//! A run with failures measures something else, so it is refused here. Knows
//! nothing of how the tools were called.

use serde_json::Value;

/// What a tool did in one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Done {
    /// Operations that ended well.
    pub(crate) operations: u64,
    /// How long it made load.
    pub(crate) seconds: f64,
    /// Checks of its own that did not hold.
    pub(crate) doubts: Vec<String>,
}

/// Reads the output of one tool.
pub(crate) type Read = fn(&str) -> Result<Done, String>;

fn done(operations: u64, seconds: f64) -> Result<Done, String> {
    if operations == 0 || !seconds.is_finite() || seconds <= 0.0 {
        return Err(format!("it says that it did {operations} operations in {seconds} s"));
    }
    Ok(Done {
        operations,
        seconds,
        doubts: Vec::new(),
    })
}

/// loadgate's `report.json`.
pub(crate) fn loadgate(text: &str) -> Result<Done, String> {
    let report: Value = serde_json::from_str(text).map_err(|error| format!("no report.json: {error}"))?;
    let steps = report["steps"].as_array().ok_or("no steps")?;
    let sum = |key: &str| steps.iter().filter_map(|step| step[key].as_u64()).sum::<u64>();
    if sum("failed") > 0 {
        return Err(format!("{} operations failed", sum("failed")));
    }
    let seconds = report["run"]["duration_s"].as_f64().ok_or("no duration")?;
    let checks = report["validity"]["checks"].as_array().ok_or("no checks")?;
    let broken = checks.iter().filter(|check| check["ok"] == Value::Bool(false));
    Ok(Done {
        doubts: broken
            .filter_map(|check| check["id"].as_str())
            .map(str::to_owned)
            .collect(),
        ..done(sum("completed"), seconds)?
    })
}

/// wrk's `59607 requests in 1.10s` and `Requests/sec:`, which has more digits.
pub(crate) fn wrk(text: &str) -> Result<Done, String> {
    refuse(text, &["Non-2xx", "Socket errors"])?;
    let operations = line_with(text, " requests in ").and_then(first_number)?;
    let rate = number_after(text, "Requests/sec:")?;
    done(operations as u64, operations / rate)
}

/// ab's table of names and values.
pub(crate) fn ab(text: &str) -> Result<Done, String> {
    refuse(text, &["Non-2xx"])?;
    let operations = number_after(text, "Complete requests:")?;
    let failed = number_after(text, "Failed requests:")?;
    let kept = number_after(text, "Keep-Alive requests:")?;
    if failed > 0.0 {
        return Err(format!("{failed} requests failed"));
    }
    if kept < 0.99 * operations {
        return Err(format!(
            "only {kept} of {operations} requests were on a kept connection"
        ));
    }
    done(operations as u64, number_after(text, "Time taken for tests:")?)
}

/// hey's summary. It keeps a million answers at most, so its rate is the count.
pub(crate) fn hey(text: &str) -> Result<Done, String> {
    refuse(text, &["Error distribution"])?;
    answers(text)?;
    let seconds = number_after(text, "Total:")?;
    let operations = number_after(text, "Requests/sec:")? * seconds;
    done(operations.round() as u64, seconds)
}

/// oha's summary. Requests cut off by its deadline are no failures and not counted.
pub(crate) fn oha(text: &str) -> Result<Done, String> {
    let errors = text.split("Error distribution:").nth(1).unwrap_or_default();
    for error in errors.lines().map(str::trim).filter(|line| line.starts_with('[')) {
        if !error.ends_with("aborted due to deadline") {
            return Err(format!("failures: {error}"));
        }
    }
    let total = line_with(text, "Total:")?;
    let scale = if total.trim_end().ends_with(" ms") { 1e-3 } else { 1.0 };
    done(answers(text)?, number_after(text, "Total:")? * scale)
}

/// Lines like `[200] 35509 responses`; any other status is refused.
fn answers(text: &str) -> Result<u64, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.ends_with(" responses"))
        .collect();
    match lines.as_slice() {
        [only] => only
            .strip_prefix("[200]")
            .and_then(|rest| rest.trim().strip_suffix(" responses"))
            .and_then(|count| count.trim().parse().ok())
            .ok_or_else(|| format!("not all answers were 200: {only}")),
        _ => Err(format!("not all answers were 200: {}", lines.join(", "))),
    }
}

/// pgbench's count and rate without connecting.
pub(crate) fn pgbench(text: &str) -> Result<Done, String> {
    let operations = number_after(text, "number of transactions actually processed:")?;
    // Not told before PostgreSQL 15.
    if let Ok(failed) = number_after(text, "number of failed transactions:")
        && failed > 0.0
    {
        return Err(format!("{failed} transactions failed"));
    }
    done(operations as u64, operations / number_after(text, "tps =")?)
}

/// sysbench's `transactions:` and `total time:`.
pub(crate) fn sysbench(text: &str) -> Result<Done, String> {
    let errors = number_after(text, "ignored errors:")?;
    if errors > 0.0 {
        return Err(format!("{errors} statements failed"));
    }
    let operations = number_after(text, "transactions:")?;
    done(operations as u64, number_after(text, "total time:")?)
}

fn refuse(text: &str, marks: &[&str]) -> Result<(), String> {
    match text.lines().find(|line| marks.iter().any(|mark| line.contains(mark))) {
        Some(line) => Err(format!("failures: {}", line.trim())),
        None => Ok(()),
    }
}

fn line_with<'a>(text: &'a str, mark: &str) -> Result<&'a str, String> {
    let found = text.lines().find(|line| line.contains(mark));
    found.ok_or_else(|| format!("it did not print \"{}\"", mark.trim()))
}

fn number_after(text: &str, mark: &str) -> Result<f64, String> {
    let line = line_with(text, mark)?;
    first_number(line.split(mark).nth(1).unwrap_or_default())
}

/// The number that a text begins with, whatever follows.
fn first_number(text: &str) -> Result<f64, String> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text[..end].parse().map_err(|_| format!("no number in \"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_done(done: Result<Done, String>, operations: u64, seconds: f64) {
        let done = done.unwrap();
        assert_eq!(done.operations, operations);
        assert!((done.seconds - seconds).abs() < 1e-3, "{}", done.seconds);
    }

    const WRK: &str = "Running 1s test @ http://127.0.0.1:18999/\n  1 threads and 4 connections
  59607 requests in 1.10s, 8.24MB read\nRequests/sec:  54214.20\nTransfer/sec:      7.50MB\n";

    #[test]
    fn wrk_is_read() {
        assert_done(wrk(WRK), 59607, 1.09947);
        let failed = WRK.replace("Requests/sec", "  Non-2xx or 3xx responses: 59607\nRequests/sec");
        assert!(wrk(&failed).unwrap_err().contains("Non-2xx"));
    }

    const AB: &str = "Time taken for tests:   1.000 seconds\nComplete requests:      71858
Failed requests:        0\nKeep-Alive requests:    71858\n";

    #[test]
    fn ab_is_read() {
        assert_done(ab(AB), 71858, 1.0);
        assert!(ab(&AB.replace("Failed requests:        0", "Failed requests:        3")).is_err());
        assert!(ab(&AB.replace("Keep-Alive requests:    71858", "Keep-Alive requests:    0")).is_err());
    }

    const HEY: &str = "\nSummary:\n  Total:\t1.0014 secs\n  Requests/sec:\t35457.9332\n  Total data:\t532635 bytes
\nStatus code distribution:\n  [200]\t35509 responses\n";

    #[test]
    fn hey_is_read_by_its_rate() {
        assert_done(hey(HEY), 35508, 1.0014);
        assert!(hey(&HEY.replace("[200]", "[404]")).unwrap_err().contains("404"));
        assert!(hey(&format!("{HEY}\nError distribution:\n  [3] timeout\n")).is_err());
        assert!(hey(&format!("{HEY}  [503]\t1 responses\n")).is_err());
    }

    const OHA: &str = "Summary:\n  Success rate:\t100.00%\n  Total:\t1001.7886 ms\n  Requests/sec:\t68729.0693
\n  Total data:\t1008.52 KiB\n\nStatus code distribution:\n  [200] 68848 responses
\nError distribution:\n  [4] aborted due to deadline\n";

    #[test]
    fn oha_is_read_in_milliseconds_and_in_seconds() {
        assert_done(oha(OHA), 68848, 1.001_788_6);
        assert_done(oha(&OHA.replace("1001.7886 ms", "15.0018 sec")), 68848, 15.0018);
        assert!(oha(&OHA.replace("aborted due to deadline", "connection refused")).is_err());
    }

    const PGBENCH: &str = "number of clients: 16\nnumber of transactions actually processed: 41234
number of failed transactions: 0 (0.000%)\nlatency average = 0.389 ms
initial connection time = 21.1 ms\ntps = 41100.5 (without initial connection time)\n";

    #[test]
    fn pgbench_is_read() {
        assert_done(pgbench(PGBENCH), 41234, 1.003_248);
        assert!(pgbench(&PGBENCH.replace("transactions: 0 (", "transactions: 2 (")).is_err());
        assert!(pgbench("").is_err());
    }

    const SYSBENCH: &str = "SQL statistics:\n    queries performed:\n        read:  30987
    transactions:                        30987  (30961.22 per sec.)
    queries:                             30987  (30961.22 per sec.)
    ignored errors:                      0      (0.00 per sec.)
\nGeneral statistics:\n    total time:                          1.0007s\n";

    #[test]
    fn sysbench_is_read() {
        assert_done(sysbench(SYSBENCH), 30987, 1.0007);
    }

    #[test]
    fn loadgate_is_read_with_its_doubts() {
        let report = |failed: u64| {
            format!(
                r#"{{"run":{{"duration_s":5.0}},"steps":[{{"completed":10,"failed":{failed}}},{{"completed":9,"failed":0}}],
                "validity":{{"checks":[{{"id":"accounting","ok":true}},{{"id":"generator-cpu","ok":false}}]}}}}"#
            )
        };
        let read = loadgate(&report(0)).unwrap();
        assert_eq!((read.operations, read.seconds), (19, 5.0));
        assert_eq!(read.doubts, ["generator-cpu"]);
        assert!(loadgate(&report(1)).is_err());
        assert!(loadgate("").is_err());
    }
}
