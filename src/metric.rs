//! Every metric that loadgate measures, one row each.
//!
//! Thresholds name a metric, the comparison asks a run for it, reports print
//! it: all through [`METRICS`]. A new metric is a new row here. This module
//! knows how a metric is *called* and which way is better, not how a run
//! stores it (that is [`crate::run`]).

use crate::units::Unit;

/// A named figure of one step or of the whole run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// The key in scenarios and JSON: `p95`.
    pub name: &'static str,
    /// What it is called in sentences: `p95 response time`.
    pub title: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// What it is computed from.
    pub measure: Measure,
}

/// Which direction of a metric is the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller values are better (latency, errors).
    Lower,
    /// Larger values are better (throughput).
    Higher,
}

/// What a metric is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// A statistic of a latency.
    Latency(Span, Statistic),
    /// Failed and unfinished operations as a share of all that were started.
    ErrorRate,
    /// Operations completed per second of the measured window.
    Throughput,
    /// Flow starts that were due and could not be started, as a share of all due. Whole run only.
    DroppedRate,
    /// The highest rate at which the absolute limits held, of a search. Whole run only.
    HighestRate,
    /// CPU time of the targets that loadgate started, per operation. Whole run only.
    CpuPerOperation,
    /// Lookups that a cache answered, as a share of all.
    HitRatio,
    /// Counted by a single client before the load.
    Counter(Counter),
}

/// What is counted per operation, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counter {
    /// Statements that a database executed, without those that begin and end transactions.
    Queries,
    /// Statements more for each record more that an operation is about.
    QueriesPerRecord,
    /// Times that the client waited for an answer of the database.
    RoundTrips,
    /// Rows returned or changed.
    Rows,
    /// Pages looked at, in memory or not.
    Buffers,
    /// Pages of temporary files written.
    TempBlocks,
    /// Records written to the log; images of whole pages are parts of them.
    WalRecords,
    /// Transactions that ended, well or not; a statement outside of any is one of its own.
    Transactions,
    /// Connections to a database that were made.
    Sessions,
    /// Plans made: what is prepared is planned a few times and then no more.
    Plans,
}

impl Measure {
    /// Whether it is a figure of the whole run and not of its steps.
    pub fn is_of_run(self) -> bool {
        matches!(self, Self::DroppedRate | Self::HighestRate | Self::CpuPerOperation)
    }

    /// Whether it is a full count or a single value, so that resampling says nothing about it.
    pub fn is_exact(self) -> bool {
        matches!(
            self,
            Self::DroppedRate
                | Self::HighestRate
                | Self::HitRatio
                | Self::Latency(_, Statistic::Max)
                | Self::Counter(_)
        )
    }
}

/// Which stretch of an operation's life a latency covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Span {
    /// From when the operation was due to its end.
    ResponseTime,
    /// From its start to its end.
    ServiceTime,
}

impl Span {
    /// The key in JSON: `response_time`.
    pub fn key(self) -> &'static str {
        match self {
            Self::ResponseTime => "response_time",
            Self::ServiceTime => "service_time",
        }
    }
}

/// One figure that stands for a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// The arithmetic mean, from an exact sum.
    Mean,
    /// The value below which this share of operations lies.
    Quantile(f64),
    /// The largest value.
    Max,
}

const fn latency(name: &'static str, title: &'static str, span: Span, statistic: Statistic) -> Metric {
    Metric {
        name,
        title,
        unit: Unit::Ns,
        better: Better::Lower,
        measure: Measure::Latency(span, statistic),
    }
}

use Span::{ResponseTime, ServiceTime};
use Statistic::{Max, Mean, Quantile};

const fn counter(name: &'static str, title: &'static str, counter: Counter) -> Metric {
    Metric {
        name,
        title,
        unit: Unit::Count,
        better: Better::Lower,
        measure: Measure::Counter(counter),
    }
}

/// All metrics. Names are unique; the order is that of reports.
pub const METRICS: &[Metric] = &[
    latency("mean", "mean response time", ResponseTime, Mean),
    latency("p50", "p50 response time", ResponseTime, Quantile(0.50)),
    latency("p90", "p90 response time", ResponseTime, Quantile(0.90)),
    latency("p95", "p95 response time", ResponseTime, Quantile(0.95)),
    latency("p99", "p99 response time", ResponseTime, Quantile(0.99)),
    latency("p999", "p99.9 response time", ResponseTime, Quantile(0.999)),
    latency("max", "maximum response time", ResponseTime, Max),
    latency("service_mean", "mean service time", ServiceTime, Mean),
    latency("service_p50", "p50 service time", ServiceTime, Quantile(0.50)),
    latency("service_p90", "p90 service time", ServiceTime, Quantile(0.90)),
    latency("service_p95", "p95 service time", ServiceTime, Quantile(0.95)),
    latency("service_p99", "p99 service time", ServiceTime, Quantile(0.99)),
    latency("service_p999", "p99.9 service time", ServiceTime, Quantile(0.999)),
    latency("service_max", "maximum service time", ServiceTime, Max),
    Metric {
        name: "error_rate",
        title: "error rate",
        unit: Unit::Share,
        better: Better::Lower,
        measure: Measure::ErrorRate,
    },
    Metric {
        name: "throughput",
        title: "throughput",
        unit: Unit::PerSecond,
        better: Better::Higher,
        measure: Measure::Throughput,
    },
    Metric {
        name: "dropped_rate",
        title: "dropped rate",
        unit: Unit::Share,
        better: Better::Lower,
        measure: Measure::DroppedRate,
    },
    Metric {
        name: "highest_rate",
        title: "highest rate",
        unit: Unit::PerSecond,
        better: Better::Higher,
        measure: Measure::HighestRate,
    },
    Metric {
        name: "hit_ratio",
        title: "cache hit ratio",
        unit: Unit::Share,
        better: Better::Higher,
        measure: Measure::HitRatio,
    },
    Metric {
        name: "cpu_per_operation",
        title: "CPU time per operation",
        unit: Unit::Ns,
        better: Better::Lower,
        measure: Measure::CpuPerOperation,
    },
    counter("queries_per_operation", "queries per operation", Counter::Queries),
    counter("queries_per_record", "queries per record", Counter::QueriesPerRecord),
    counter(
        "round_trips_per_operation",
        "round trips per operation",
        Counter::RoundTrips,
    ),
    counter("rows_per_operation", "rows per operation", Counter::Rows),
    counter("buffers_per_operation", "buffers per operation", Counter::Buffers),
    counter(
        "temp_blocks_per_operation",
        "temporary blocks per operation",
        Counter::TempBlocks,
    ),
    counter(
        "wal_records_per_operation",
        "WAL records per operation",
        Counter::WalRecords,
    ),
    counter(
        "transactions_per_operation",
        "transactions per operation",
        Counter::Transactions,
    ),
    counter(
        "sessions_per_operation",
        "sessions opened per operation",
        Counter::Sessions,
    ),
    counter("plans_per_operation", "plans made per operation", Counter::Plans),
];

/// The metric of that name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

impl Metric {
    /// The part of a comparison's id after the step: `response_time:p99`, `error_rate`.
    pub fn id(&self) -> String {
        match self.measure {
            Measure::Latency(span, _) => format!("{}:{}", span.key(), self.name.trim_start_matches("service_")),
            _ => self.name.to_owned(),
        }
    }
}

/// Stored by its name.
impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// Reads a metric by its name; for fields of runs.
///
/// # Errors
/// When no metric has that name.
pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'static Metric, D::Error> {
    let name: String = serde::Deserialize::deserialize(deserializer)?;
    find(&name).ok_or_else(|| serde::de::Error::custom(format!("no metric is called \"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for metric in METRICS {
            assert_eq!(find(metric.name), Some(metric));
            assert_eq!(
                METRICS.iter().filter(|m| m.name == metric.name).count(),
                1,
                "{}",
                metric.name
            );
        }
        assert_eq!(find("p42"), None);
    }

    #[test]
    fn ids_tell_response_from_service() {
        assert_eq!(find("p99").map(Metric::id).as_deref(), Some("response_time:p99"));
        assert_eq!(find("service_p99").map(Metric::id).as_deref(), Some("service_time:p99"));
        assert_eq!(find("error_rate").map(Metric::id).as_deref(), Some("error_rate"));
    }
}
