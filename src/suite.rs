//! The suite: eight tests in six categories, each made of shipped experiments.
//!
//! The experiments are part of the program, so that it needs nothing beside it.

use std::{io, path::Path};

use include_dir::{Dir, include_dir};

use crate::{metric::Measure, threshold::Threshold};

static EXPERIMENTS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/scenarios/experiments");

/// One test of the suite.
#[derive(Debug)]
pub struct Test {
    /// As it is asked for: `index_query`.
    pub name: &'static str,
    /// What kind of work it is about: `indexing`.
    pub category: &'static str,
    /// What it shows, in a sentence.
    pub shows: &'static str,
    /// Names of its experiments: `e01-index-auth-lookup`.
    pub experiments: &'static [&'static str],
}

/// All tests, in the order of reports.
pub const TESTS: [Test; 8] = [
    Test {
        name: "index_query",
        category: "indexing",
        shows: "lookups by an index instead of reading whole tables",
        experiments: &[
            "e01-index-auth-lookup",
            "e02-index-oauth-user-service",
            "e05-index-esg-core",
        ],
    },
    Test {
        name: "bulk_insert",
        category: "bulk_operations",
        shows: "many rows in few statements instead of one by one",
        experiments: &["e18-nplus1-bulk", "e20-bulk-insert-ladder"],
    },
    Test {
        name: "connection_pool",
        category: "connections",
        shows: "what connections cost, and how many are enough",
        experiments: &["e21-connect-per-op", "e22-pool-size"],
    },
    Test {
        name: "partition_query",
        category: "partitioning",
        shows: "reading and removing a month of a time series",
        experiments: &["e27-partition-range", "e28-partition-archive"],
    },
    Test {
        name: "memory_usage",
        category: "memory",
        shows: "a sort that fits into memory and one that spills",
        experiments: &["e29-work-mem-spill"],
    },
    Test {
        name: "query_cache",
        category: "memory",
        shows: "hits, evictions and stale reads of a cache before a lookup",
        experiments: &["e26-query-cache-ttl"],
    },
    Test {
        name: "concurrent_load",
        category: "connections",
        shows: "many clients at once, and N+1 found from outside",
        experiments: &["http-health", "e19-nplus1-http"],
    },
    Test {
        name: "resilience",
        category: "reliability",
        shows: "retries of transactions that lose, a breaker before a database that is gone",
        experiments: &["e24-retry-policies", "e25-breaker-outage"],
    },
];

/// How much is done, and what decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Short loads: exact counts and errors decide, times are shown with their intervals.
    Ci,
    /// The experiments as they are written: times decide too.
    Full,
}

/// What the profile `ci` sets where nothing else is said: as little load as has an interval.
const SHORT: &[&str] = &[
    "load.duration=1s",
    "trial.epochs=3",
    "trial.lead_in=100ms",
    "trial.census=10",
];

/// The same, where slices have a length of their own.
const SHORT_SLICES: &[&str] = &[
    "load.duration=1s",
    "trial.epochs=3",
    "trial.slice=150ms",
    "trial.lead_in=100ms",
    "trial.census=2",
];

/// What it sets in others: instances that take seconds to make, operations as long as slices, and what is no
/// trial of variants.
const OTHERS: [(&str, &[&str]); 10] = [
    ("e19-nplus1-http", &["load.duration=1s", "trial.epochs=1"]),
    ("e20-bulk-insert-ladder", SHORT_SLICES),
    (
        "e22-pool-size",
        &[
            "load.users=8",
            "load.duration=2s",
            "trial.epochs=3",
            "trial.slice=250ms",
            "trial.lead_in=200ms",
            "trial.census=1",
        ],
    ),
    (
        "e24-retry-policies",
        &[
            "load.duration=5s",
            "trial.epochs=3",
            "trial.slice=300ms",
            "trial.lead_in=200ms",
        ],
    ),
    (
        "e25-breaker-outage",
        &[
            "load.duration=14s",
            "target.db.link.fault.0.at=3s",
            "target.db.link.fault.0.for=3s",
            "target.db.breaker.open=2s",
        ],
    ),
    ("e26-query-cache-ttl", &[]),
    ("e27-partition-range", SHORT_SLICES),
    ("e28-partition-archive", SHORT_SLICES),
    ("e29-work-mem-spill", SHORT_SLICES),
    ("http-health", &[]),
];

impl Profile {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ci => "ci",
            Self::Full => "full",
        }
    }

    /// What is set in an experiment, as `--set` takes it.
    pub fn settings(self, experiment: &str) -> Vec<String> {
        let known = || OTHERS.iter().find(|(name, _)| *name == experiment);
        let settings: &[&str] = match self {
            Self::Full => &[],
            Self::Ci => known().map_or(SHORT, |(_, settings)| settings),
        };
        settings.iter().map(|setting| (*setting).to_owned()).collect()
    }

    /// Whether a limit decides in it.
    pub fn judges(self, threshold: &Threshold) -> bool {
        match threshold.metric.measure {
            Measure::Counter(_) | Measure::ErrorRate | Measure::DroppedRate | Measure::HitRatio => true,
            Measure::Latency(..) | Measure::Throughput | Measure::HighestRate | Measure::CpuPerOperation => {
                self == Self::Full
            }
        }
    }
}

/// The tests of these names, in the order of the suite; all without any name.
///
/// # Errors
/// A sentence that names what there is not, and what there is.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Test>, String> {
    let known = || TESTS.iter().map(|test| test.name);
    if let Some(unknown) = names.iter().find(|name| known().all(|known| known != name.as_str())) {
        let all: Vec<&str> = known().collect();
        return Err(format!(
            "no test of the suite is called \"{unknown}\"; there are {}",
            all.join(", ")
        ));
    }
    let wanted = |test: &&Test| names.is_empty() || names.iter().any(|name| name == test.name);
    Ok(TESTS.iter().filter(wanted).collect())
}

/// The experiments of these tests, each once.
pub fn experiments(tests: &[&'static Test]) -> Vec<&'static str> {
    let mut all: Vec<&'static str> = Vec::new();
    for experiment in tests.iter().flat_map(|test| test.experiments) {
        if !all.contains(experiment) {
            all.push(experiment);
        }
    }
    all
}

/// Writes all experiments with their fixtures into a directory.
///
/// # Errors
/// When one of them cannot be written.
pub fn unpack(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    EXPERIMENTS.extract(directory)
}

/// The file of an experiment in the directory of [`unpack`].
pub fn file_name(experiment: &str) -> String {
    format!("{experiment}.toml")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_experiment_of_a_test_is_part_of_the_program() {
        let directory = tempfile::tempdir().unwrap();
        unpack(directory.path()).unwrap();
        let all = chosen(&[]).unwrap();
        for experiment in experiments(&all) {
            assert!(directory.path().join(file_name(experiment)).is_file(), "{experiment}");
        }
        assert!(directory.path().join("fixtures/a.sql").is_file());
        for (experiment, _) in OTHERS {
            assert!(experiments(&all).contains(&experiment), "{experiment}");
        }
        let categories: BTreeSet<&str> = TESTS.iter().map(|test| test.category).collect();
        assert_eq!((TESTS.len(), categories.len()), (8, 6));
    }

    #[test]
    fn tests_are_chosen_by_name_in_the_order_of_the_suite() {
        let names = ["query_cache".to_owned(), "index_query".to_owned()];
        let chosen_names: Vec<&str> = chosen(&names).unwrap().iter().map(|test| test.name).collect();
        assert_eq!(chosen_names, ["index_query", "query_cache"]);
        let refused = chosen(&["indices".to_owned()]).unwrap_err();
        assert!(
            refused.contains("\"indices\"") && refused.contains("index_query, bulk_insert"),
            "{refused}"
        );
    }
}
