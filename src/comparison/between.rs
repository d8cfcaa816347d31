//! How much runs differ from each other, and what that leaves of a change beside a baseline.
//!
//! The interval of one run beside one other cannot hold what differs from run to
//! run. A set of [`KNOWN`] sessions shows it: the change then lies in the hull of
//! the interval within the runs and the prediction interval over the sessions.
//! With fewer the spread is not known. It is taken as at least [`ASSUMED`], and
//! only refuses to call a change critical that such luck could explain; what
//! passes is decided within the runs, and a note says so. (Were the assumed
//! spread to decide what passes, ±28 % would pass no limit, and a first baseline
//! would be of no use.)

use crate::{
    baseline::{SESSION_HOURS, Set, Spread},
    metric::{Better, Metric},
    stats::{Bounds, Located, prediction::prediction},
    units::{Unit, format_change},
};

/// From so many sessions on the spread between runs is known.
pub(super) const KNOWN: usize = 8;

/// The least spread that is assumed until then, on the log scale.
const ASSUMED: f64 = 0.10;

/// No machine repeats itself better than this, even where a few runs agree to the digit.
const LEAST: f64 = 0.005;

/// A change is called worse when less than this is left on the other side.
const ALARM: f64 = 0.01;

/// A worse one is ruled out when less than this is left beyond.
const RULED_OUT: f64 = 0.05;

/// Where a run's metric is to be expected, by the runs of the baseline.
#[derive(Debug, Clone)]
pub(super) struct Between {
    /// What the runs of the baseline say.
    pub(super) spread: Spread,
    /// Of the logarithm of the change from their centre.
    change: Located,
    better: Better,
}

impl Between {
    /// For a value beside a set; `None` for what does not depend on the machine's mood, and
    /// without any value to compare with.
    pub(super) fn new(set: &Set<'_>, step: Option<&str>, metric: &Metric, value: f64) -> Option<Self> {
        if !is_of_time(metric.unit) || value <= 0.0 {
            return None;
        }
        let spread = set.spread(step, metric)?;
        let known = spread.logs.len() >= KNOWN;
        let expected = prediction(&spread.logs, 1, if known { LEAST } else { ASSUMED })?;
        let change = Located {
            estimate: (value / spread.centre).ln(),
            // Few values say too little of their own spread: what is assumed is taken as known.
            freedom: if known { expected.freedom } else { f64::INFINITY },
            ..expected
        };
        Some(Self {
            spread,
            change,
            better: metric.better,
        })
    }

    /// Whether there are enough sessions to know the spread.
    pub(super) fn is_known(&self) -> bool {
        self.spread.logs.len() >= KNOWN
    }

    /// The 95 % interval of the worsening.
    pub(super) fn interval(&self) -> Bounds {
        self.worsening(self.change.interval())
    }

    /// What the verdict goes by: bounds for calling it worse, and for ruling that out.
    pub(super) fn bounds(&self) -> Bounds {
        let (alarm, ruled_out) = match self.better {
            Better::Lower => (ALARM, RULED_OUT),
            Better::Higher => (RULED_OUT, ALARM),
        };
        self.worsening([self.change.lower(alarm), self.change.upper(ruled_out)])
    }

    /// The bounds of a change from `reference` as bounds of the change from the centre.
    pub(super) fn recentred(&self, bounds: Bounds, reference: f64) -> Bounds {
        let shift = reference / self.spread.centre;
        // Dividing and multiplying by the same would not be quite the same.
        if shift == 1.0 {
            return bounds;
        }
        bounds.map(|worse| match self.better {
            Better::Lower => (1.0 + worse) * shift - 1.0,
            Better::Higher => 1.0 - (1.0 - worse) * shift,
        })
    }

    /// Of logarithms of a ratio, as a share of the reference; more is worse.
    fn worsening(&self, [lower, upper]: Bounds) -> Bounds {
        match self.better {
            Better::Lower => [lower.exp_m1(), upper.exp_m1()],
            Better::Higher => [-upper.exp_m1(), -lower.exp_m1()],
        }
    }

    /// Why a change may be luck.
    pub(super) fn luck(&self) -> String {
        let sessions = self.spread.logs.len();
        let assumed = self.spread.deviation().filter(|found| *found > ASSUMED);
        let size = match assumed {
            Some(found) => format!("by {}", percent(found)),
            None => format!("by an assumed {}", percent(ASSUMED)),
        };
        format!(
            "runs differ from one another {size} while the baseline has {sessions} of the {KNOWN} sessions that tell, \
             so this may be luck; add runs to the baseline (`loadgate baseline add RUN`) or measure both as variants of one run"
        )
    }

    /// Why it cannot tell.
    pub(super) fn too_wide(&self) -> String {
        let spread = percent(self.spread.deviation().unwrap_or(ASSUMED));
        format!(
            "the runs of the baseline differ from one another by {spread}; measure both as variants of one run, or widen the limit"
        )
    }
}

/// Whether a metric of this unit depends on the machine and its mood.
pub(super) fn is_of_time(unit: Unit) -> bool {
    matches!(unit, Unit::Ns | Unit::PerSecond)
}

/// The smallest interval that holds both.
pub(super) fn hull(one: Bounds, other: Bounds) -> Bounds {
    [one[0].min(other[0]), one[1].max(other[1])]
}

/// What the reader must know of the spread between the runs of a set.
pub(super) fn note(sessions: usize) -> Option<String> {
    (sessions > 0 && sessions < KNOWN).then(|| {
        format!(
            "How much runs differ from one another is not known yet: the baseline has {sessions} of the {KNOWN} sessions \
             that it takes (runs within {SESSION_HOURS} hours are one). Until then passing is about this run alone, and only \
             a change far beyond an assumed {} is critical. `loadgate baseline add RUN` adds runs.",
            percent(ASSUMED)
        )
    })
}

fn percent(share: f64) -> String {
    format_change(share).trim_start_matches('+').to_owned()
}
