//! Run beside baseline → verdict. Pure: the same inputs give the same verdict.
//!
//! Everything a report says about *good or bad* is decided here and nowhere
//! else; a report only shows it.
//!
//! ```text
//! checks     could the measurement be believed at all?
//! carried    did the target take the load it was offered?
//! evidence   a run's figures with their uncertainty
//! figures    both sides of a threshold, and the change between them
//! judge      one threshold → one judgement
//! between    how much the runs of a baseline differ, and what that leaves of a change
//! record     a run as the series of its baseline keeps it
//! variants   one threshold per variant, beside the first
//! paired     the change of a variant, from slices that take turns
//! plans      statements that a variant performs otherwise
//! history    runs in a row: trends, accepted and detected changes
//! shown      changes that no limit is about: to say where a change comes from
//! claims     what somebody said beside what was measured
//! standing   where a limit stands: broken, ruled out, open
//! sentence   findings in words
//! calibration  trials of a scenario against itself → what the machine can see
//! ```

mod between;
#[cfg(test)]
mod between_tests;
pub mod calibration;
mod carried;
mod checks;
mod claims;
mod evidence;
mod figures;
pub mod history;
mod judge;
mod paired;
mod plans;
mod record;
mod sentence;
mod shown;
mod standing;
#[cfg(test)]
mod tests;
mod variants;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

pub use self::paired::{Label, Next, Pairing, StepOf, next};
pub use self::{
    claims::{Held, Outcome},
    record::{gauged, record},
    shown::Shown,
};
use self::{
    evidence::{Evidence, Role},
    judge::Judge,
};
use crate::{
    baseline::{Baseline, Key, Set},
    metric::{Better, Metric},
    run::{Fingerprint, Run},
    threshold::{Limit, Source, Threshold},
    units::Unit,
};

/// The answer, from best to worst: of several findings the worst decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No limit is broken.
    Pass,
    /// A warning limit is broken.
    Warning,
    /// The measurement cannot tell.
    Inconclusive,
    /// A critical limit is broken.
    Critical,
    /// The measurement's own conditions failed.
    Invalid,
}

/// Every judged metric beside its reference, and the verdict over all.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// The worst of the judgements and checks.
    pub verdict: Verdict,
    /// The verdict in one sentence, naming step, metric, value and limit of the worst finding.
    pub sentence: String,
    /// What made the verdict worse than pass, worst first, one sentence each.
    pub reasons: Vec<String>,
    /// What the reader must know besides: no baseline, another machine, a partial run.
    pub notes: Vec<String>,
    /// The conditions under which the measurement can be believed.
    pub checks: Vec<Check>,
    /// The baseline it was compared with.
    pub baseline: Option<Reference>,
    /// One per threshold, worst first.
    pub judgements: Vec<Judgement>,
    /// Changes of variants that no limit is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Shown>,
    /// Claims of the scenario beside what was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Held>,
}

/// One precondition of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Check {
    /// Stable name: `send-lag`, `accounting`.
    pub id: String,
    /// What was checked, with value and limit, in words.
    pub text: String,
    /// Whether it held.
    pub ok: bool,
    /// The value, where it is a number.
    pub value: Option<f64>,
    /// The limit, where it is a number.
    pub limit: Option<f64>,
}

/// The baseline of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Name of the baseline.
    pub name: String,
    /// Id of the run that was accepted.
    pub run_id: String,
    /// When that run started (UTC).
    pub started: jiff::Timestamp,
    /// Its commit and branch, where known.
    pub commit: Option<String>,
    /// See `commit`.
    pub branch: Option<String>,
    /// What it measured.
    pub fingerprint: Fingerprint,
    /// Whether relative limits were judged against it.
    pub comparable: bool,
    /// Ids of the runs that times are compared with: those of its set on this class of machine, oldest first.
    #[serde(default)]
    pub runs: Vec<String>,
    /// In how many sessions they were measured.
    #[serde(default)]
    pub sessions: usize,
    /// What differs from the run: parts of the fingerprint, the machine.
    pub differences: Vec<String>,
}

/// One threshold, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Stable name: `checkout/pay:response_time:p99`; `all` stands for all steps together.
    pub id: String,
    /// The step; `None` means all together.
    pub step: Option<String>,
    /// The variant that is judged beside the first one, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The metric.
    #[serde(deserialize_with = "crate::metric::deserialize")]
    pub metric: &'static Metric,
    /// Unit of reference, candidate and absolute limits.
    pub unit: Unit,
    /// Which direction is better.
    pub better: Better,
    /// Value of the baseline.
    pub reference: Option<f64>,
    /// Value of this run.
    pub candidate: Option<f64>,
    /// Worsening relative to the reference: 0.41 is 41 % worse, whatever the direction.
    /// In points of share instead where [`Judgement::in_points`], a number where [`Judgement::in_counts`].
    pub change: Option<f64>,
    /// 95 % interval of `change`.
    pub interval: Option<[f64; 2]>,
    /// The warning limit.
    pub warning: Option<Limit>,
    /// The critical limit.
    pub critical: Option<Limit>,
    /// What a verdict on a variant says besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// `None`: a relative limit without a baseline is not judged.
    pub verdict: Option<Verdict>,
    /// The finding in one sentence.
    pub reason: String,
    /// Where the limit was written.
    pub source: Source,
}

/// How to judge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Without a comparable baseline the verdict is inconclusive.
    pub require_baseline: bool,
}

/// Something that made the verdict what it is.
struct Finding {
    verdict: Verdict,
    text: String,
}

/// Judges a run by its own limits, beside its baseline where there is one.
///
/// The same run, baseline and options give the same comparison to the byte:
/// resampling is seeded from the ids of the runs.
///
/// The variants of a run are judged beside its first one, and beside no baseline.
pub fn compare(run: &Run, baseline: Option<&Baseline>, options: &Options) -> Comparison {
    let baseline = baseline.filter(|_| run.variants.is_empty());
    let reference = baseline.map(|baseline| reference(run, baseline));
    let comparable = baseline.filter(|_| reference.as_ref().is_some_and(|r| r.comparable));
    let mut checks = checks::checks(run);
    checks.extend(variants::checks(run));
    let (mut judgements, more_notes) = if run.variants.is_empty() {
        beside_baseline(run, baseline, comparable)
    } else {
        variants::judge(run)
    };
    number_repeated(&mut judgements);
    judgements.sort_by_key(|judgement| Reverse(judgement.verdict));

    let mut notes = checks::notes(run, baseline, reference.as_ref());
    notes.extend(more_notes);
    notes.extend(variants::growing(run));
    let findings = findings(run, comparable.is_some(), options, &checks, &judgements);
    Comparison {
        verdict: findings.first().map_or(Verdict::Pass, |finding| finding.verdict),
        sentence: findings.first().map_or_else(
            || sentence::pass(&judgements, baseline.is_some() || !run.variants.is_empty()),
            |finding| format!("{}: {}", finding.verdict.word(), finding.text),
        ),
        reasons: findings.into_iter().map(|finding| finding.text).collect(),
        notes,
        checks,
        baseline: reference,
        judgements,
        shown: shown::shown(run),
        claims: claims::held(run, comparable),
    }
}

/// What the thresholds say of a run beside its baseline, where that is comparable.
fn beside_baseline(
    run: &Run,
    baseline: Option<&Baseline>,
    comparable: Option<&Baseline>,
) -> (Vec<Judgement>, Vec<String>) {
    let set = comparable.map(|baseline| baseline.set(&run.id, &Key::of(run)));
    let mut judge = Judge {
        candidate: Evidence::new(run, Role::Candidate),
        reference: comparable.map(|baseline| Evidence::new(&baseline.run, Role::Reference)),
        other_machine: set.as_ref().is_some_and(Set::is_empty),
        set,
        baseline: sentence::baseline_name(baseline),
    };
    let judgements = run.thresholds.iter().map(|threshold| judge.judge(threshold)).collect();
    let mut notes: Vec<String> = judge.independence_note().into_iter().collect();
    if let Some(set) = &judge.set {
        notes.extend(spread_notes(run, set));
    }
    (judgements, notes)
}

/// Whether a threshold compares what depends on the machine and its mood.
pub fn depends_on_machine(threshold: &Threshold) -> bool {
    let limits = [threshold.warning, threshold.critical];
    limits.iter().flatten().any(Limit::is_relative) && between::is_of_time(threshold.metric.unit)
}

/// Of the runs of a baseline, where limits on times are judged beside them.
fn spread_notes(run: &Run, set: &Set<'_>) -> Vec<String> {
    let judged: Vec<&Threshold> = run
        .thresholds
        .iter()
        .filter(|limit| depends_on_machine(limit))
        .collect();
    let apart = judged.iter().filter_map(|threshold| {
        let (step, metric) = (threshold.step.as_deref(), threshold.metric);
        let outliers = set.spread(step, metric)?.outliers;
        let (subject, ids) = (sentence::subject(step, metric), outliers.join(", "));
        (!ids.is_empty()).then(|| format!("In {subject} some runs of the baseline lie apart: {ids}. They count."))
    });
    let unknown = between::note(set.sessions()).filter(|_| !judged.is_empty());
    unknown.into_iter().chain(apart).collect()
}

/// What made the verdict worse than pass, worst first; of equals the one that explains the others first.
fn findings(run: &Run, comparable: bool, options: &Options, checks: &[Check], judged: &[Judgement]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| Finding {
            verdict: Verdict::Invalid,
            text: check.text.clone(),
        })
        .collect();
    findings.extend(variants::other_answers(run));
    findings.extend(variants::not_carried(run));
    findings.extend(plans::changed(run));
    findings.extend(carried::findings(run).into_iter().map(|text| Finding {
        verdict: Verdict::Critical,
        text,
    }));
    findings.extend(run.left_behind.iter().map(|text| Finding {
        verdict: Verdict::Critical,
        text: text.clone(),
    }));
    if let Some(why) = &run.partial {
        let text = format!("the run is partial ({why}), so it cannot pass; run it again to the end");
        findings.push(Finding {
            verdict: Verdict::Inconclusive,
            text,
        });
    }
    if options.require_baseline && !comparable && run.variants.is_empty() {
        let text = format!(
            "a baseline is required and there is no comparable one; {}",
            sentence::HOW_TO_ACCEPT
        );
        findings.push(Finding {
            verdict: Verdict::Inconclusive,
            text,
        });
    }
    findings.extend(judged.iter().filter_map(|judgement| {
        let verdict = judgement.verdict.filter(|verdict| *verdict > Verdict::Pass)?;
        Some(Finding {
            verdict,
            text: judgement.reason.clone(),
        })
    }));
    findings.sort_by_key(|finding| Reverse(finding.verdict));
    findings
}

/// Two thresholds on the same metric of the same step get different ids: `…`, `…#2`.
fn number_repeated(judgements: &mut [Judgement]) {
    for at in (1..judgements.len()).rev() {
        let (before, rest) = judgements.split_at_mut(at);
        let repeated = before.iter().filter(|judgement| judgement.id == rest[0].id).count();
        if repeated > 0 {
            rest[0].id = format!("{}#{}", rest[0].id, repeated + 1);
        }
    }
}

/// The baseline as a comparison names it, and what differs from the run.
fn reference(run: &Run, baseline: &Baseline) -> Reference {
    let Baseline {
        name, run: accepted, ..
    } = baseline;
    let key = Key::of(run);
    let mut differences = key.other_work(&Key::of(accepted));
    let comparable = differences.is_empty();
    let set = baseline.set(&run.id, &key);
    differences.extend(sentence::machine_differences(&accepted.environment, &run.environment));
    Reference {
        name: name.clone(),
        run_id: accepted.id.clone(),
        started: accepted.started,
        commit: accepted.environment.commit.clone(),
        branch: accepted.environment.branch.clone(),
        fingerprint: accepted.fingerprint.clone(),
        comparable,
        runs: set.ids().into_iter().map(str::to_owned).collect(),
        sessions: set.sessions(),
        differences,
    }
}

impl Verdict {
    /// The verdict of a word, where it is one.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Pass,
            Self::Warning,
            Self::Inconclusive,
            Self::Critical,
            Self::Invalid,
        ];
        all.into_iter().find(|verdict| verdict.word() == word)
    }

    /// The word in sentences and JSON: `pass`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warning => "warning",
            Self::Inconclusive => "inconclusive",
            Self::Critical => "critical",
            Self::Invalid => "invalid",
        }
    }
}

impl Judgement {
    /// Whether [`Judgement::change`] and its interval are points of share (0.005 is half a
    /// percentage point) and not relative: so where the limit is.
    pub fn in_points(&self) -> bool {
        [self.critical, self.warning]
            .into_iter()
            .flatten()
            .find(Limit::is_relative)
            .is_some_and(|limit| matches!(limit, Limit::Points(_)))
    }

    /// Whether they are plain numbers of what is counted: so where the limit is.
    pub fn in_counts(&self) -> bool {
        [self.critical, self.warning]
            .into_iter()
            .flatten()
            .find(Limit::is_relative)
            .is_some_and(|limit| matches!(limit, Limit::More(_)))
    }
}
