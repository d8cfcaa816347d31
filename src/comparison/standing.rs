//! Where a limit stands after the measurement, and what verdict follows.
//!
//! The rules in numbers; `judge` says them in words and brings the figures.

use super::Verdict;
use crate::stats::Bounds;

/// A figure or its change with its 95 % bounds, turned so that more is worse.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) estimate: f64,
    pub(super) bounds: Bounds,
}

/// Where a limit stands after the measurement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// The limit is broken.
    Broken,
    /// It was broken at a look, and fresh epochs did not confirm it.
    Unconfirmed,
    /// That it is broken is ruled out.
    RuledOut,
    /// Neither; `load` times as much load would tell.
    Open { beyond: bool, load: f64 },
    /// Cannot be told at all, and why.
    Unknown(String),
    /// Broken within the runs, but runs may differ by as much; and why.
    Luck(String),
    /// Relative, and there is no comparable baseline.
    Unjudged,
}

/// The verdict, and whether the critical limit (or else the warning limit) decided it.
pub(super) fn decide(critical: Option<&Standing>, warning: Option<&Standing>) -> (Option<Verdict>, bool) {
    use Standing::{Broken, Luck, Open, RuledOut, Unconfirmed, Unjudged, Unknown};
    match (critical, warning) {
        (Some(Broken), _) => (Some(Verdict::Critical), true),
        (Some(Unconfirmed), _) => (Some(Verdict::Warning), true),
        // Neither a pass nor a mere warning: what it seems is critical.
        (Some(Luck(_)), _) => (Some(Verdict::Inconclusive), true),
        (_, Some(Broken | Unconfirmed)) => (Some(Verdict::Warning), false),
        (Some(Unknown(_)), _) => (Some(Verdict::Inconclusive), true),
        (_, Some(Unknown(_) | Luck(_))) => (Some(Verdict::Inconclusive), false),
        (Some(RuledOut), _) => (Some(Verdict::Pass), true),
        (Some(Open { .. }), _) => (Some(Verdict::Inconclusive), true),
        (_, Some(RuledOut | Open { beyond: false, .. })) => (Some(Verdict::Pass), false),
        (_, Some(Open { beyond: true, .. })) => (Some(Verdict::Inconclusive), false),
        (Some(Unjudged), _) => (None, true),
        (None, _) => (None, false),
    }
}

impl Reading {
    /// More becomes less.
    pub(super) fn mirrored(self) -> Self {
        Self {
            estimate: -self.estimate,
            bounds: [-self.bounds[1], -self.bounds[0]],
        }
    }

    /// Against the largest value that is allowed.
    pub(super) fn within(self, limit: f64) -> Standing {
        let [lower, upper] = self.bounds;
        match () {
            () if lower > limit => Standing::Broken,
            () if upper <= limit => Standing::RuledOut,
            () => self.open(self.estimate > limit, limit, limit),
        }
    }

    /// Against a worsening that is too much, when it is certainly more than another.
    pub(super) fn against(self, limit: f64, certainly: f64) -> Standing {
        let [lower, upper] = self.bounds;
        // With a limit of +0%, no worsening is still no break.
        let beyond = self.estimate >= limit && self.estimate > 0.0;
        match () {
            () if beyond && lower > certainly => Standing::Broken,
            () if upper < limit || upper <= 0.0 => Standing::RuledOut,
            () => self.open(beyond, limit, certainly),
        }
    }

    /// The width of an interval falls with the root of the load.
    fn open(self, beyond: bool, limit: f64, certainly: f64) -> Standing {
        let [lower, upper] = self.bounds;
        let (width, distance) = match beyond {
            true => (self.estimate - lower, self.estimate - certainly),
            false => (upper - self.estimate, limit - self.estimate),
        };
        Standing::Open {
            beyond,
            load: (width / distance).powi(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(estimate: f64, bounds: Bounds, limit: f64, certainly: f64) -> Standing {
        Reading { estimate, bounds }.against(limit, certainly)
    }

    #[test]
    fn a_change_is_broken_only_by_effect_and_certainty() {
        assert_eq!(against(0.2, [0.1, 0.3], 0.1, 0.0), Standing::Broken);
        assert_eq!(
            against(0.2, [0.1, 0.3], 0.1, 0.15).rounded(),
            Standing::Open {
                beyond: true,
                load: 4.0
            }
        );
        assert!(matches!(
            against(0.2, [-0.1, 0.5], 0.1, 0.0),
            Standing::Open { beyond: true, .. }
        ));
        assert!(matches!(
            against(0.05, [0.01, 0.2], 0.1, 0.0),
            Standing::Open { beyond: false, .. }
        ));
        assert_eq!(against(0.05, [0.01, 0.09], 0.1, 0.0), Standing::RuledOut);
        assert_eq!(against(0.0, [0.0, 0.0], 0.0, 0.0), Standing::RuledOut);
    }

    impl Standing {
        /// Without the last digits of the load.
        fn rounded(self) -> Self {
            match self {
                Self::Open { beyond, load } => Self::Open {
                    beyond,
                    load: load.round(),
                },
                other => other,
            }
        }
    }

    #[test]
    fn a_value_is_judged_by_its_bounds() {
        let within = |bounds: Bounds, limit| {
            Reading {
                estimate: (bounds[0] + bounds[1]) / 2.0,
                bounds,
            }
            .within(limit)
        };
        assert_eq!(within([81.0, 90.0], 80.0), Standing::Broken);
        assert_eq!(within([70.0, 80.0], 80.0), Standing::RuledOut);
        assert_eq!(
            within([76.0, 80.5], 80.0).rounded(),
            Standing::Open {
                beyond: false,
                load: 2.0
            }
        );
        let throughput = Reading {
            estimate: 270.0,
            bounds: [260.0, 275.0],
        };
        assert_eq!(throughput.mirrored().within(-280.0), Standing::Broken);
    }

    #[test]
    fn a_warning_limit_alone_never_asks_for_more_than_it_must() {
        let open = |beyond| Standing::Open { beyond, load: 2.0 };
        assert_eq!(decide(None, Some(&open(false))).0, Some(Verdict::Pass));
        assert_eq!(decide(None, Some(&open(true))).0, Some(Verdict::Inconclusive));
        assert_eq!(decide(None, Some(&Standing::Broken)).0, Some(Verdict::Warning));
        assert_eq!(
            decide(Some(&open(false)), Some(&Standing::Broken)).0,
            Some(Verdict::Warning)
        );
        assert_eq!(
            decide(Some(&open(false)), Some(&Standing::RuledOut)).0,
            Some(Verdict::Inconclusive)
        );
        assert_eq!(
            decide(Some(&Standing::RuledOut), Some(&open(true))).0,
            Some(Verdict::Pass)
        );
        assert_eq!(
            decide(Some(&Standing::Unjudged), Some(&Standing::RuledOut)).0,
            Some(Verdict::Pass)
        );
        assert_eq!(decide(Some(&Standing::Unjudged), None).0, None);
    }
}
