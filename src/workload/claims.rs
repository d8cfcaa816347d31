//! The `[[claim]]`s of a scenario → claims about metrics.

use super::compile::Compiler;
use crate::{
    claim::{Claim, Claimed},
    scenario::{self, At, Scenario},
};

/// More claims than this are no scenario's.
const MOST: usize = 100;

/// The longest text of a claim.
const LONGEST: usize = 500;

impl Compiler<'_> {
    /// Compiles all claims; `steps` are the names of all steps, those with problems included.
    pub(super) fn claims(&mut self, scenario: &Scenario, steps: &[String]) -> Vec<Claim> {
        if let Some(first) = scenario.claim.get(MOST) {
            let label = format!("a scenario has at most {MOST}");
            self.problem(first, "too many claims", label, None);
        }
        let claims = scenario.claim.iter();
        claims.filter_map(|written| self.claim(written, steps)).collect()
    }

    fn claim(&mut self, written: &At<scenario::Claim>, steps: &[String]) -> Option<Claim> {
        let scenario::Claim {
            text,
            source,
            variant,
            step,
            metric,
            value,
        } = &written.value;
        self.limited_step(step.as_ref(), steps);
        if metric.is_none() {
            let help = Some("write for example metric = \"p50\"".into());
            let label = "`metric` is missing";
            self.problems
                .add_missing(written.span(), "a claim without a metric", label, help);
            return None;
        }
        let metric = self.metric(written.span(), metric.as_ref())?;
        let (Some(text), Some(value)) = (text, value) else {
            let help = Some("write text = \"60 % faster\" and value = \"-60%\"".into());
            let label = "`text` or `value` is missing";
            self.problems
                .add_missing(written.span(), "a claim that claims nothing", label, help);
            return None;
        };
        for at in [Some(text), source.as_ref()].into_iter().flatten() {
            if at.value.trim().is_empty() || at.value.len() > LONGEST {
                let label = format!("1 to {LONGEST} bytes of text");
                self.problem(at, "not a text of a claim", label, None);
            }
        }
        let value = self.quantity(value, "claim", |text| Claimed::parse(text, metric))?;
        Some(Claim {
            text: text.value.clone(),
            source: source.as_ref().map(|at| at.value.clone()),
            variant: variant.as_ref().map(|at| at.value.clone()),
            step: step.as_ref().map(|at| at.value.clone()),
            metric,
            value,
        })
    }
}

/// A claim is about one variant, which is not the reference.
pub(super) fn check_variants(compiler: &mut Compiler<'_>, claims: &[At<scenario::Claim>], names: &[&str]) {
    let candidates = names.get(1..).unwrap_or_default();
    for written in claims {
        match &written.value.variant {
            Some(at) if !candidates.contains(&at.value.as_str()) => {
                let label = match candidates {
                    [] => "the scenario has no variants".to_owned(),
                    several => format!("one of: {}", several.join(", ")),
                };
                compiler.problem(at, format!("no claim can be about \"{}\"", at.value), label, None);
            }
            None if candidates.len() > 1 => {
                let help = Some(format!("one of: {}", candidates.join(", ")));
                let label = "`variant` is missing";
                compiler
                    .problems
                    .add_missing(written.span(), "a claim about which variant?", label, help);
            }
            _ => {}
        }
    }
}
