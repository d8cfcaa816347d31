//! One run in the figures that a series of runs keeps of it, and what makes two of them comparable.
//!
//! A record is small (a few kilobytes) where a run has megabytes; how it was
//! measured in full is in the run alone.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    metric::{METRICS, Metric},
    run::{Fingerprint, MachineClass, Run},
};

/// A run in a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Id of the run.
    pub run: String,
    /// When its measured window began (UTC).
    pub started: Timestamp,
    /// Its commit, where known.
    pub commit: Option<String>,
    /// Its branch, where known.
    pub branch: Option<String>,
    /// The version of loadgate that measured, and how it was built: `0.1.0 release`.
    pub loadgate: String,
    /// The verdict it had when it came into the series, where it was judged.
    pub verdict: Option<String>,
    /// Where it was accepted as a change: a new set begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
    /// What must agree with another run's.
    pub key: Key,
    /// The figures of all steps together, and of each step.
    pub figures: Vec<StepFigures>,
}

/// When and why a run was accepted as a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// When (UTC).
    pub at: Timestamp,
    /// Why, in the words of who accepted it.
    pub reason: Option<String>,
}

/// What must agree for the figures of two runs to belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The file format of the run.
    pub format: String,
    /// The work it did.
    pub fingerprint: Fingerprint,
    /// The targets in the order of the scenario.
    pub targets: Vec<TargetKey>,
    /// The machine.
    pub machine: MachineClass,
}

/// A target as far as it matters for comparing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetKey {
    /// Name from the scenario.
    pub name: String,
    /// `http`, `sqlite`, `postgres`.
    pub kind: String,
    /// Major version, where it told one.
    pub major: Option<u64>,
}

/// The figures of one step, or of all together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepFigures {
    /// Name of the step; `None` means all together, and the figures of the whole run.
    pub step: Option<String>,
    /// Value by name of the metric, in its base unit.
    pub values: BTreeMap<String, f64>,
    /// 95 % interval within the run, by name of the metric; of those that were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<String, [f64; 2]>,
}

impl Record {
    /// A run's record: neither judged nor accepted, without intervals.
    pub fn of(run: &Run) -> Self {
        let environment = &run.environment;
        let labels = run.steps.iter().map(|step| Some(step.label()));
        let figures = [None].into_iter().chain(labels).map(|step| {
            let value = |metric: &Metric| run.value(step.as_deref(), metric).filter(|value| value.is_finite());
            let named = METRICS
                .iter()
                .filter_map(|metric| Some((metric.name.to_owned(), value(metric)?)));
            StepFigures {
                values: named.collect(),
                intervals: BTreeMap::new(),
                step,
            }
        });
        Self {
            run: run.id.clone(),
            started: run.started,
            commit: environment.commit.clone(),
            branch: environment.branch.clone(),
            loadgate: format!("{} {}", run.loadgate, environment.build),
            verdict: None,
            accepted: None,
            key: Key::of(run),
            figures: figures.collect(),
        }
    }

    /// The figures of a step, or of all together.
    pub fn step(&self, step: Option<&str>) -> Option<&StepFigures> {
        self.figures.iter().find(|figures| figures.step.as_deref() == step)
    }

    /// The value of a metric; `None` where it had none.
    pub fn value(&self, step: Option<&str>, metric: &Metric) -> Option<f64> {
        self.step(step)?.values.get(metric.name).copied()
    }

    /// The 95 % interval of a metric within the run, where it is known.
    pub fn interval(&self, step: Option<&str>, metric: &Metric) -> Option<[f64; 2]> {
        self.step(step)?.intervals.get(metric.name).copied()
    }
}

impl Key {
    /// A run's key.
    pub fn of(run: &Run) -> Self {
        let targets = run.targets.iter().filter(|target| target.variant.is_none());
        Self {
            format: run.format.clone(),
            fingerprint: run.fingerprint.clone(),
            targets: targets
                .map(|target| TargetKey {
                    name: target.name.clone(),
                    kind: target.kind.clone(),
                    major: target.version.as_deref().and_then(major),
                })
                .collect(),
            machine: run.environment.machine_class(),
        }
    }

    /// What differs of the work and of what did it, not of the machine: `flows`, `db: postgres 17, was 16`.
    ///
    /// A version that one of them did not tell does not differ.
    pub fn other_work(&self, before: &Self) -> Vec<String> {
        let parts = before.fingerprint.differences(&self.fingerprint);
        let mut differences: Vec<String> = parts.into_iter().map(str::to_owned).collect();
        if self.format != before.format {
            differences.push(format!("file format: {}, was {}", self.format, before.format));
        }
        for now in &self.targets {
            let same = |target: &&TargetKey| target.name == now.name && target.kind == now.kind;
            let was = before.targets.iter().find(same).and_then(|target| target.major);
            if let (Some(major), Some(was)) = (now.major, was)
                && major != was
            {
                differences.push(format!("{}: {} {major}, was {was}", now.name, now.kind));
            }
        }
        differences
    }

    /// Whether both did the same work on the same class of machine.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.machine == other.machine && self.other_work(other).is_empty()
    }
}

/// The first number in what a target calls itself: 16 of `PostgreSQL 16.4 (Debian)`.
fn major(version: &str) -> Option<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit());
    digits.into_iter().find(|number| !number.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{baseline::testing::Shape, metric, run::Target};

    fn on(version: Option<&str>) -> Run {
        let target = Target {
            name: "db".into(),
            variant: None,
            build: None,
            kind: "postgres".into(),
            address: "127.0.0.1".into(),
            version: version.map(str::to_owned),
            database: None,
            command: None,
            died: false,
            members: Vec::new(),
        };
        Run {
            targets: vec![target],
            ..Shape::default().run()
        }
    }

    #[test]
    fn a_record_has_the_values_of_its_run_and_survives_json() {
        let run = Shape::default().run();
        let record = Record::of(&run);
        let p95 = metric::find("p95").unwrap();
        for step in [None, Some("pay"), Some("list orders")] {
            assert_eq!(record.value(step, p95), run.value(step, p95));
        }
        assert_eq!(record.value(Some("gone"), p95), None);
        assert_eq!(record.value(None, metric::find("queries_per_operation").unwrap()), None);
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.len() < 8_000, "{}", text.len());
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn another_major_version_is_other_work_and_an_unknown_one_is_not() {
        let key = |version| Key::of(&on(version));
        let sixteen = key(Some("PostgreSQL 16.4 (Debian 16.4-1)"));
        assert_eq!(
            key(Some("PostgreSQL 17.0")).other_work(&sixteen),
            ["db: postgres 17, was 16"]
        );
        assert!(key(Some("PostgreSQL 16.9")).agrees_with(&sixteen));
        assert!(key(None).agrees_with(&sixteen) && sixteen.agrees_with(&key(None)));
        assert!(key(Some("devel")).agrees_with(&sixteen));
    }

    #[test]
    fn another_machine_is_no_other_work() {
        let run = on(None);
        let mut other = run.clone();
        other.environment.cores = 64;
        let (here, there) = (Key::of(&run), Key::of(&other));
        assert!(there.other_work(&here).is_empty() && !there.agrees_with(&here));
        other.fingerprint.load = "other".into();
        assert_eq!(Key::of(&other).other_work(&here), ["load"]);
    }
}
