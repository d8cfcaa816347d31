//! The runs that a new one is compared with: sessions, the spread between them, outliers.
//!
//! Runs of one afternoon share its mood (the neighbours on the host, the state
//! of caches), so they are one witness: a *session* takes the runs that start
//! less than [`SESSION_HOURS`] after its first one. Knows nothing of limits.

use jiff::Timestamp;

use super::{Baseline, Key, Record};
use crate::{
    metric::Metric,
    run::Run,
    stats::{mean, variance},
};

/// A session ends so many hours after it began.
pub const SESSION_HOURS: i64 = 4;

/// No more sessions than this are looked at, the newest.
pub const MOST_SESSIONS: usize = 20;

/// From so many values on it can be said of one that it lies apart.
const FEWEST_FOR_OUTLIERS: usize = 8;

/// A value lies apart whose distance from the median is more than this many (robust) deviations:
/// Iglewicz and Hoaglin, "How to Detect and Handle Outliers", ASQC 1993.
const APART: f64 = 3.5;

/// For normal values: standard deviation over the median of the absolute deviations.
const BY_MEDIAN: f64 = 1.482_602_218_505_602;

/// A run of a set: whole, or what the series keeps of it.
#[derive(Debug, Clone, Copy)]
enum Member<'a> {
    Whole(&'a Run),
    Kept(&'a Record),
}

impl<'a> Member<'a> {
    fn id(self) -> &'a str {
        match self {
            Self::Whole(run) => &run.id,
            Self::Kept(record) => &record.run,
        }
    }

    fn started(self) -> Timestamp {
        match self {
            Self::Whole(run) => run.started,
            Self::Kept(record) => record.started,
        }
    }

    fn key(self) -> Key {
        match self {
            Self::Whole(run) => Key::of(run),
            Self::Kept(record) => record.key.clone(),
        }
    }

    fn value(self, step: Option<&str>, metric: &Metric) -> Option<f64> {
        match self {
            Self::Whole(run) => run.value(step, metric),
            Self::Kept(record) => record.value(step, metric),
        }
    }
}

/// The runs of a baseline that agree with another run's key, by session, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Set<'a> {
    sessions: Vec<Vec<Member<'a>>>,
}

/// What a metric was in the runs of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// Its geometric mean over the sessions, in the metric's base unit.
    pub centre: f64,
    /// The mean logarithm of each session.
    pub logs: Vec<f64>,
    /// How many runs had it.
    pub runs: usize,
    /// Smallest and largest value.
    pub range: [f64; 2],
    /// Ids of the runs that lie apart from the others; they are marked, not dropped.
    pub outliers: Vec<String>,
}

impl Baseline {
    /// The runs that a run with this id and key can be compared with: the accepted one and those
    /// added since, of the same work and class of machine. Empty where all are of others.
    ///
    /// A run is not its own witness, unless there is no other.
    pub fn set(&self, id: &str, key: &Key) -> Set<'_> {
        let mut members: Vec<Member<'_>> = self.since.iter().map(Member::Kept).collect();
        if members.is_empty() {
            members.push(Member::Whole(&self.run));
        }
        members.retain(|member| key.agrees_with(&member.key()));
        if members.iter().any(|member| member.id() != id) {
            members.retain(|member| member.id() != id);
        }
        Set::of(members)
    }
}

impl<'a> Set<'a> {
    fn of(mut members: Vec<Member<'a>>) -> Self {
        members.sort_by_key(|member| member.started());
        let mut sessions: Vec<Vec<Member<'a>>> = Vec::new();
        for member in members {
            let within =
                |first: &Member<'a>| member.started().duration_since(first.started()).as_secs() < SESSION_HOURS * 3600;
            match sessions.last_mut() {
                Some(session) if session.first().is_some_and(within) => session.push(member),
                _ => sessions.push(vec![member]),
            }
        }
        let old = sessions.len().saturating_sub(MOST_SESSIONS);
        sessions.drain(..old);
        Self { sessions }
    }

    /// Whether there is no run to compare with.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Ids of its runs, oldest first.
    pub fn ids(&self) -> Vec<&'a str> {
        self.sessions.iter().flatten().map(|member| member.id()).collect()
    }

    /// The spread of a metric that is above zero; `None` where no run has it.
    pub fn spread(&self, step: Option<&str>, metric: &Metric) -> Option<Spread> {
        let positive = |member: &Member<'a>| {
            let value = member.value(step, metric)?;
            (value > 0.0 && value.is_finite()).then_some((member.id(), value))
        };
        let by_session = self
            .sessions
            .iter()
            .map(|session| session.iter().filter_map(positive).collect());
        let by_session: Vec<Vec<(&str, f64)>> = by_session.filter(|found: &Vec<_>| !found.is_empty()).collect();
        let all: Vec<(&str, f64)> = by_session.iter().flatten().copied().collect();
        let logs: Vec<f64> = by_session
            .iter()
            .map(|session| mean(&session.iter().map(|(_, value)| value.ln()).collect::<Vec<_>>()))
            .collect();
        let centre = match all.as_slice() {
            [] => return None,
            // Its logarithm and back would not be quite the same.
            [(_, only)] => *only,
            _ => mean(&logs).exp(),
        };
        Some(Spread {
            centre,
            logs,
            runs: all.len(),
            range: all.iter().fold([f64::INFINITY, 0.0], |[low, high], (_, value)| {
                [value.min(low), value.max(high)]
            }),
            outliers: outliers(&all),
        })
    }
}

impl Spread {
    /// Standard deviation between sessions, on the log scale: 0.03 is about 3 %. `None` for one session.
    pub fn deviation(&self) -> Option<f64> {
        variance(&self.logs).map(f64::sqrt)
    }
}

/// Of values by run: who lies apart.
fn outliers(all: &[(&str, f64)]) -> Vec<String> {
    if all.len() < FEWEST_FOR_OUTLIERS {
        return Vec::new();
    }
    let logs: Vec<f64> = all.iter().map(|(_, value)| value.ln()).collect();
    let centre = median(logs.clone());
    let deviation = BY_MEDIAN * median(logs.iter().map(|log| (log - centre).abs()).collect());
    let apart = |log: &f64| (log - centre).abs() > APART * deviation;
    all.iter()
        .zip(&logs)
        .filter(|(_, log)| deviation > 0.0 && apart(log))
        .map(|((id, _), _)| (*id).to_owned())
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baseline::testing::{Shape, accepted},
        metric,
    };

    const P50: &str = "p50";

    /// A baseline with records of these p50 in milliseconds, started so many minutes after the first.
    fn baseline(figures: &[(i64, f64)]) -> Baseline {
        let run = Shape::default().run();
        let record = Record::of(&run);
        let since = figures.iter().enumerate().map(|(at, (minutes, p50))| {
            let mut record = record.clone();
            if at > 0 {
                record.run = format!("added{at}");
            }
            record.started = run.started + jiff::SignedDuration::from_mins(*minutes);
            record.figures[0].values.insert(P50.into(), p50 * 1e6);
            record
        });
        Baseline {
            since: since.collect(),
            ..accepted(run.clone())
        }
    }

    fn spread(baseline: &Baseline) -> Spread {
        let set = baseline.set("candidate", &Key::of(&baseline.run));
        set.spread(None, metric::find(P50).unwrap()).unwrap()
    }

    #[test]
    fn runs_of_one_afternoon_are_one_session() {
        let runs = [(0, 10.0), (239, 14.4), (240, 20.0), (400, 20.0), (3_000, 30.0)];
        let baseline = baseline(&runs);
        let found = spread(&baseline);
        assert_eq!((found.logs.len(), found.runs), (3, 5));
        assert!((found.logs[0] - (12e6_f64).ln()).abs() < 1e-12);
        let centre = (12.0_f64 * 20.0 * 30.0).cbrt() * 1e6;
        assert!((found.centre / centre - 1.0).abs() < 1e-12);
        assert_eq!(found.range, [10e6, 30e6]);
    }

    #[test]
    fn only_the_last_twenty_sessions_count() {
        let runs: Vec<(i64, f64)> = (0..30)
            .map(|day| (day * 1440, if day < 10 { 99.0 } else { 10.0 }))
            .collect();
        let found = spread(&baseline(&runs));
        assert_eq!((found.logs.len(), found.range), (20, [10e6, 10e6]));
        assert!(found.deviation().unwrap() < 1e-12);
    }

    #[test]
    fn an_outlier_is_marked_and_still_counts() {
        let calm = |day: i64| 10.0 + 0.1 * (day % 3) as f64;
        let runs: Vec<(i64, f64)> = (0..10)
            .map(|day| (day * 1440, if day == 4 { 20.0 } else { calm(day) }))
            .collect();
        let found = spread(&baseline(&runs));
        assert_eq!(found.outliers, ["added4"]);
        assert_eq!((found.runs, found.range[1]), (10, 20e6));
        assert!(found.deviation().unwrap() > 0.2);
        // Seven are too few to say so.
        assert!(spread(&baseline(&runs[..7])).outliers.is_empty());
    }

    #[test]
    fn a_single_run_has_its_own_value_and_no_deviation() {
        let run = Shape::default().run();
        let alone = accepted(run.clone());
        let found = spread(&alone);
        assert_eq!(Some(found.centre), run.value(None, metric::find(P50).unwrap()));
        assert_eq!((found.deviation(), found.runs), (None, 1));
    }

    #[test]
    fn a_run_is_no_witness_of_itself_unless_it_is_the_only_one() {
        let baseline = baseline(&[(0, 10.0), (1_440, 11.0)]);
        let key = Key::of(&baseline.run);
        assert_eq!(baseline.set("added1", &key).ids(), [baseline.run.id.as_str()]);
        let alone = accepted(baseline.run.clone());
        assert_eq!(alone.set(&baseline.run.id, &key).ids().len(), 1);
    }

    #[test]
    fn other_machines_and_other_work_are_left_out() {
        let mut baseline = baseline(&[(0, 10.0), (1_440, 11.0), (2_880, 12.0)]);
        baseline.since[1].key.machine.cores = 64;
        baseline.since[2].key.fingerprint.load = "other".into();
        let key = Key::of(&baseline.run);
        assert_eq!(baseline.set("x", &key).ids().len(), 1);
        let mut elsewhere = key;
        elsewhere.machine.cores = 64;
        assert_eq!(baseline.set("x", &elsewhere).ids(), ["added1"]);
        elsewhere.machine.cores = 128;
        assert!(baseline.set("x", &elsewhere).is_empty());
    }
}
