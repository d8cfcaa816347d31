//! The runs of a scenario in a row: the trend of each metric, accepted and detected changes.
//!
//! Only runs of the same key stand in one row: other work or another machine
//! has other figures for other reasons. Knows nothing of where the records came from.

use super::Verdict;
use crate::{
    baseline::{Acceptance, Key, Record},
    metric::{Better, Metric},
    stats::{Bounds, changes::changes},
};

/// The history of a scenario.
#[derive(Debug, Clone)]
pub struct History {
    /// Name of the scenario.
    pub scenario: String,
    /// What agrees of its runs; `None` where there are none.
    pub key: Option<Key>,
    /// The runs, oldest first.
    pub entries: Vec<Entry>,
    /// One per metric that was asked for and has values.
    pub trends: Vec<Trend>,
    /// What the reader must know besides.
    pub notes: Vec<String>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its id.
    pub run: String,
    /// When it started (UTC).
    pub started: jiff::Timestamp,
    /// Its commit, where known.
    pub commit: Option<String>,
    /// Its branch, where known.
    pub branch: Option<String>,
    /// The verdict it was given, where it was.
    pub verdict: Option<Verdict>,
    /// Where it was accepted as a change.
    pub accepted: Option<Acceptance>,
    /// Whether it is in the series of the baseline, not only in a directory of reports.
    pub kept: bool,
}

/// One metric over the runs.
#[derive(Debug, Clone)]
pub struct Trend {
    /// The step; `None` means all together.
    pub step: Option<String>,
    /// The metric.
    pub metric: &'static Metric,
    /// Its value in each entry of [`History::entries`]; `None` where it had none.
    pub points: Vec<Option<Point>>,
    /// Where its level changed for good, in order.
    pub shifts: Vec<Shift>,
}

/// A value with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// In the metric's base unit.
    pub value: f64,
    /// 95 % interval within the run, where it is known.
    pub interval: Option<Bounds>,
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The first entry of the new level.
    pub at: usize,
    /// Median of the level before.
    pub before: f64,
    /// Median of the level after.
    pub after: f64,
}

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Steps by their labels, `None` for all together; empty for all steps that are usual.
    pub steps: Vec<Option<String>>,
    /// Metrics; empty for those with limits, or the usual ones.
    pub metrics: Vec<&'static Metric>,
    /// What has limits, or is usual of a step: see [`super::gauged`].
    pub usual: Vec<(Option<String>, &'static Metric)>,
}

/// Puts records in a row. `kept` are those of the series; with `key` only its like are taken,
/// else the like of the newest.
pub fn history(
    scenario: &str,
    kept: Vec<Record>,
    found: Vec<Record>,
    key: Option<Key>,
    asked: &Asked,
    notes: Vec<String>,
) -> History {
    let mut all: Vec<(Record, bool)> = kept.into_iter().map(|record| (record, true)).collect();
    all.extend(found.into_iter().map(|record| (record, false)));
    all.sort_by(|(one, _), (other, _)| (one.started, &one.run).cmp(&(other.started, &other.run)));
    let key = key.or_else(|| all.last().map(|(newest, _)| newest.key.clone()));
    let mut notes = notes;
    let before = all.len();
    all.retain(|(record, _)| key.as_ref().is_some_and(|key| key.agrees_with(&record.key)));
    if all.len() < before {
        notes.push(format!(
            "{} of {before} runs are not shown: they did other work, or on another class of machine.",
            before - all.len()
        ));
    }
    let records: Vec<&Record> = all.iter().map(|(record, _)| record).collect();
    let trends = asked.of(&records).into_iter();
    let trends = trends
        .filter_map(|(step, metric)| Trend::of(&records, step, metric))
        .collect();
    History {
        scenario: scenario.to_owned(),
        key,
        trends,
        entries: all.into_iter().map(Entry::of).collect(),
        notes,
    }
}

impl Asked {
    /// Steps with metrics, each once.
    fn of(&self, records: &[&Record]) -> Vec<(Option<String>, &'static Metric)> {
        let newest = records.last().map_or(&[][..], |record| &record.figures);
        let labels: Vec<Option<String>> = newest.iter().map(|figures| figures.step.clone()).collect();
        let mut all: Vec<(Option<String>, &'static Metric)> = Vec::new();
        let mut take = |step: &Option<String>, metric: &'static Metric| {
            if !all.iter().any(|known| known.0 == *step && known.1.name == metric.name) {
                all.push((step.clone(), metric));
            }
        };
        if self.steps.is_empty() && self.metrics.is_empty() {
            self.usual.iter().for_each(|(step, metric)| take(step, metric));
        } else if self.metrics.is_empty() {
            let usual = || super::record::USUAL.iter().filter_map(|name| crate::metric::find(name));
            for step in &self.steps {
                let limited = self.usual.iter().filter(|(known, _)| known == step);
                limited.for_each(|(step, metric)| take(step, metric));
                usual().for_each(|metric| take(step, metric));
            }
        } else {
            let steps = if self.steps.is_empty() { &labels } else { &self.steps };
            for metric in &self.metrics {
                steps.iter().for_each(|step| take(step, metric));
            }
        }
        all
    }
}

impl Entry {
    fn of((record, kept): (Record, bool)) -> Self {
        Self {
            run: record.run,
            started: record.started,
            commit: record.commit,
            branch: record.branch,
            verdict: record.verdict.as_deref().and_then(Verdict::of_word),
            accepted: record.accepted,
            kept,
        }
    }
}

impl Trend {
    /// `None` where no run has a value.
    fn of(records: &[&Record], step: Option<String>, metric: &'static Metric) -> Option<Self> {
        let point = |record: &&Record| {
            let value = record
                .value(step.as_deref(), metric)
                .filter(|value| value.is_finite())?;
            let interval = record.interval(step.as_deref(), metric);
            Some(Point { value, interval })
        };
        let points: Vec<Option<Point>> = records.iter().map(point).collect();
        points.iter().any(Option::is_some).then(|| Self {
            shifts: shifts(&points),
            step,
            metric,
            points,
        })
    }

    /// The newest value.
    pub fn newest(&self) -> Option<f64> {
        self.points.iter().rev().flatten().next().map(|point| point.value)
    }

    /// How much worse a value is than another, as a share of it; `None` where that is zero.
    pub fn worsening(&self, before: f64, after: f64) -> Option<f64> {
        let change = after / before - 1.0;
        change.is_finite().then_some(match self.metric.better {
            Better::Lower => change,
            Better::Higher => -change,
        })
    }
}

/// On the logarithmic scale, where all values have one: a change is a factor, at any level.
fn shifts(points: &[Option<Point>]) -> Vec<Shift> {
    let places: Vec<(usize, f64)> = points
        .iter()
        .enumerate()
        .filter_map(|(at, point)| Some((at, (*point)?.value)))
        .collect();
    let logarithmic = places.iter().all(|(_, value)| *value > 0.0);
    let scaled = |value: f64| if logarithmic { value.ln() } else { value };
    let back = |value: f64| if logarithmic { value.exp() } else { value };
    let values: Vec<f64> = places.iter().map(|(_, value)| scaled(*value)).collect();
    let found = changes(&values).into_iter();
    found
        .map(|change| Shift {
            at: places[change.at].0,
            before: back(change.before),
            after: back(change.after),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{baseline::testing::Shape, metric};

    /// A run a day with this p50 in milliseconds.
    fn records(values: &[f64]) -> Vec<Record> {
        let template = Record::of(
            &Shape {
                seconds: 1,
                rate: 5,
                ..Shape::default()
            }
            .run(),
        );
        let day = |(day, value): (i64, &f64)| {
            let mut record = template.clone();
            record.run = format!("r{day:03}");
            record.started += jiff::SignedDuration::from_hours(24 * day);
            record.verdict = Some("pass".into());
            record.figures[0].values.insert("p50".into(), value * 1e6);
            record
        };
        (0..).zip(values).map(day).collect()
    }

    fn p50() -> Asked {
        Asked {
            steps: vec![None],
            metrics: vec![metric::find("p50").unwrap()],
            usual: Vec::new(),
        }
    }

    #[test]
    fn a_change_of_level_is_found_at_its_run() {
        let level = |n: usize| if n < 15 { 10.0 } else { 13.0 };
        let values: Vec<f64> = (0..30).map(|n| level(n) + 0.1 * (n * 7 % 5) as f64).collect();
        let history = history("shop", records(&values), Vec::new(), None, &p50(), Vec::new());
        let [trend] = &history.trends[..] else {
            panic!("{:?}", history.trends)
        };
        let [shift] = trend.shifts[..] else {
            panic!("{:?}", trend.shifts)
        };
        assert_eq!((shift.at, history.entries[shift.at].run.as_str()), (15, "r015"));
        let worse = trend.worsening(shift.before, shift.after).unwrap();
        assert!((worse - 0.29).abs() < 0.02, "{worse}");
        assert_eq!(history.entries[3].verdict, Some(Verdict::Pass));
    }

    #[test]
    fn gaps_and_zeros_do_not_move_a_change() {
        let level = |n: usize| if n < 15 { 0.0 } else { 5.0 };
        let values: Vec<f64> = (0..30).map(|n| level(n) + 0.1 * (n * 7 % 5) as f64).collect();
        let mut records = records(&values);
        for at in [2, 9] {
            records[at].figures[0].values.remove("p50");
        }
        let history = history("shop", records, Vec::new(), None, &p50(), Vec::new());
        assert_eq!(history.trends[0].points[9], None);
        assert_eq!(
            history.trends[0]
                .shifts
                .iter()
                .map(|shift| shift.at)
                .collect::<Vec<_>>(),
            [15]
        );
    }

    #[test]
    fn runs_stand_in_the_order_of_their_time_and_others_are_left_out() {
        let mut all = records(&[10.0, 11.0, 12.0, 13.0, 14.0]);
        all[1].key.machine.cores = 64;
        let key = all[0].key.clone();
        let found = vec![all.remove(2), all.remove(0)];
        let history = history("shop", all, found, Some(key), &p50(), vec!["first".into()]);
        let shown: Vec<(&str, bool)> = history.entries.iter().map(|e| (e.run.as_str(), e.kept)).collect();
        assert_eq!(
            shown,
            [("r000", false), ("r002", false), ("r003", true), ("r004", true)]
        );
        assert_eq!(history.trends[0].newest(), Some(14e6));
        assert!(history.notes[1].starts_with("1 of 5 runs"), "{:?}", history.notes);
    }

    #[test]
    fn what_is_asked_for_is_shown_once() {
        let names = |asked: &Asked| -> Vec<String> {
            let history = history("shop", records(&[1.0]), Vec::new(), None, asked, Vec::new());
            let name = |trend: &Trend| format!("{}:{}", trend.step.as_deref().unwrap_or("all"), trend.metric.name);
            history.trends.iter().map(name).collect()
        };
        let find = |name| metric::find(name).unwrap();
        let usual = vec![(Some("pay".into()), find("p95")), (None, find("error_rate"))];
        let mut asked = Asked {
            usual,
            ..Asked::default()
        };
        assert_eq!(names(&asked), ["pay:p95", "all:error_rate"]);
        asked.steps = vec![Some("pay".into())];
        assert_eq!(names(&asked), ["pay:p95", "pay:p50", "pay:p99", "pay:error_rate"]);
        asked.metrics = vec![find("mean"), find("mean")];
        assert_eq!(names(&asked), ["pay:mean"]);
        asked.steps.clear();
        assert_eq!(names(&asked), ["all:mean", "list orders:mean", "pay:mean"]);
        asked.metrics = vec![find("queries_per_operation")];
        assert!(names(&asked).is_empty());
    }

    #[test]
    fn nothing_stored_is_an_empty_history() {
        let history = history("shop", Vec::new(), Vec::new(), None, &p50(), Vec::new());
        assert!(history.key.is_none() && history.entries.is_empty() && history.trends.is_empty());
    }
}
