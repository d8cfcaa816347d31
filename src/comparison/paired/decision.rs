//! What is known of a threshold of a variant: where its limits stand, and by which figures.

use super::effect::Effect;
use crate::{
    comparison::{judge::change_limit, standing::Standing},
    stats::Bounds,
    threshold::Limit,
};

/// A pass that says more, or a warning that wanted to be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Even a change worth a warning is ruled out.
    NoChange,
    /// It is better, by more than would be a warning if it were worse.
    Improved,
    /// It was critical, and fresh epochs did not confirm it.
    Unconfirmed,
}

impl Label {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoChange => "no change",
            Self::Improved => "improved",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// What is known of one threshold of one variant.
#[derive(Debug, Clone)]
pub(in crate::comparison) struct Decision {
    /// Of its critical limit, if that is relative.
    pub(in crate::comparison) critical: Option<Decided>,
    /// Of its warning limit, if that is relative.
    pub(in crate::comparison) warning: Option<Decided>,
    pub(in crate::comparison) label: Option<Label>,
    /// Fresh epochs that were to confirm a critical finding, where there were any.
    pub(in crate::comparison) confirmation: Option<u32>,
}

/// What is known of one limit.
#[derive(Debug, Clone)]
pub(in crate::comparison) struct Decided {
    pub(in crate::comparison) standing: Standing,
    /// What was measured, where it could be compared.
    pub(in crate::comparison) measured: Option<Measured>,
}

/// The figures of a decision.
#[derive(Debug, Clone, Copy)]
pub(in crate::comparison) struct Measured {
    /// Of reference and candidate.
    pub(in crate::comparison) values: [f64; 2],
    /// How much worse.
    pub(in crate::comparison) change: f64,
    /// 95 %.
    pub(in crate::comparison) interval: Bounds,
}

/// The levels of one look.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    /// For what is worse, over all limits.
    pub(super) reject: f64,
    /// For ruling out that something is worse.
    pub(super) pass: f64,
    /// Fewer observations are never critical.
    pub(super) fewest: usize,
}

/// Where a limit stands, given whether it is certain that the change is beyond `below`.
pub(super) fn decided(
    limit: Limit,
    effect: &Result<Effect, String>,
    certain: bool,
    below: f64,
    levels: Levels,
) -> Decided {
    let effect = match effect {
        Ok(effect) => effect,
        Err(why) => {
            let standing = Standing::Unknown(why.clone());
            return Decided {
                standing,
                measured: None,
            };
        }
    };
    let (size, change, upper) = (size(limit, effect), effect.change(), effect.upper(levels.pass));
    // With a limit of +0%, no worsening is still no break.
    let beyond = change >= size && change > 0.0;
    let interval = effect.interval();
    let standing = match () {
        () if beyond && certain => Standing::Broken,
        () if upper < size || upper <= 0.0 => Standing::RuledOut,
        // "Not one more" is a matter of counting.
        () if size == 0.0 && limit.is_points() && change <= 0.0 => Standing::RuledOut,
        () => {
            // The width of an interval falls with the root of the load.
            let (width, distance) = match beyond {
                true => (change - interval[0], change - below),
                false => (upper - change, size - change),
            };
            Standing::Open {
                beyond,
                load: (width / distance).powi(2),
            }
        }
    };
    let measured = Measured {
        values: effect.values,
        change,
        interval,
    };
    Decided {
        standing,
        measured: Some(measured),
    }
}

/// How much worse is too much.
pub(super) fn size(limit: Limit, effect: &Effect) -> f64 {
    change_limit(limit, effect.values[0])
}

impl Decision {
    /// What was measured, on the scale of its critical limit, or else of its warning limit.
    pub(in crate::comparison) fn measured(&self) -> Option<Measured> {
        [&self.critical, &self.warning]
            .into_iter()
            .flatten()
            .find_map(|decided| decided.measured)
    }

    pub(super) fn is_critical(&self) -> bool {
        self.critical.as_ref().is_some_and(Decided::is_broken)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_critical() || self.warning.as_ref().is_some_and(Decided::is_broken)
    }

    /// Whether more load would say no more that matters.
    pub(super) fn is_settled(&self) -> bool {
        let warned = self.warning.as_ref().is_some_and(Decided::is_broken);
        let ruled_out = |decided: &Decided| decided.standing == Standing::RuledOut;
        self.label.is_some() || (warned && self.critical.as_ref().is_none_or(ruled_out))
    }

    /// What is critical is so no more.
    pub(super) fn unconfirm(&mut self) {
        if let Some(critical) = self.critical.as_mut().filter(|critical| critical.is_broken()) {
            critical.standing = Standing::Unconfirmed;
            self.label = Some(Label::Unconfirmed);
        }
    }

    /// Takes over the figures of another look.
    pub(super) fn tell(&mut self, other: Self) {
        for (own, other) in [(&mut self.critical, other.critical), (&mut self.warning, other.warning)] {
            if let (Some(own), Some(other)) = (own, other) {
                own.measured = other.measured.or(own.measured);
            }
        }
    }
}

impl Decided {
    fn is_broken(&self) -> bool {
        self.standing == Standing::Broken
    }
}
