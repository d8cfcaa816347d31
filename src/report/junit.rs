//! `junit.xml`: a test case per limit and per condition of the measurement, for CI systems that show tests.
//!
//! Class and name of a case are the same in the next run and no two are alike:
//! GitLab drops repetitions and compares by name. Whether a job fails is
//! decided by the exit code; the cases only show why.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite, XmlString};

use super::{
    chart::Chart,
    tables::{self, GateRow},
    words::{self, NAME, SENTENCE, distinct, printable},
};
use crate::{
    comparison::{Check, Comparison, Judgement, Verdict},
    run::Run,
    threshold::Source,
};

/// The exit code of a warning that was asked to fail.
const FAILED_ON_WARNING: u8 = 5;

/// One suite with all cases.
///
/// # Errors
/// When the XML cannot be written.
pub(super) fn render(run: &Run, comparison: &Comparison, exit_code: u8) -> Result<String, SerializeError> {
    let scenario = segment(&run.scenario);
    let mut cases = limits(run, comparison, &scenario, exit_code == FAILED_ON_WARNING);
    cases.extend(comparison.checks.iter().map(|check| condition(check, &scenario)));
    cases.push(verdict(comparison, &scenario, exit_code == FAILED_ON_WARNING));
    words::number_repeated(cases.iter_mut().map(|case| &mut case.key));

    let mut suite = TestSuite::new(distinct(&run.scenario));
    // CI systems add the times of cases up: the first one has all of it.
    let mut time = Duration::try_from_secs_f64(run.duration_s).unwrap_or_default();
    suite.set_time(time);
    for case in cases {
        suite.add_test_case(case.finish(std::mem::take(&mut time)));
    }
    let mut report = Report::new("loadgate");
    report.add_test_suite(suite);
    report.to_string()
}

/// A test case to be.
struct Case {
    class: String,
    /// Class and name, which no other case has; the name follows [`Case::class`] and a line end.
    key: String,
    status: TestCaseStatus,
    out: String,
    source: Option<Source>,
}

impl Case {
    fn new(class: String, name: &str, status: TestCaseStatus, out: String) -> Self {
        Self {
            key: format!("{class}\n{name}"),
            class,
            status,
            out,
            source: None,
        }
    }

    fn finish(self, time: Duration) -> TestCase {
        let name = self.key.split_once('\n').map_or("", |(_, name)| name);
        let mut case = TestCase::new(name, self.status);
        case.set_classname(self.class).set_time(time);
        if !self.out.is_empty() {
            case.set_system_out(self.out);
        }
        if let Some(source) = self.source.filter(|source| !source.file.is_empty()) {
            let mut add = |key: &str, value: String| case.extra.insert(XmlString::new(key), XmlString::new(value));
            add("file", printable(&source.file, SENTENCE));
            add("line", source.line.to_string());
        }
        case
    }
}

/// One case per limit, in an order that does not depend on the verdicts.
fn limits(run: &Run, comparison: &Comparison, scenario: &str, fail_on_warning: bool) -> Vec<Case> {
    let mut judged: Vec<(&Judgement, GateRow)> = comparison.judgements.iter().zip(tables::gates(comparison)).collect();
    judged.sort_by_key(|(judgement, _)| &judgement.id);
    let case = |(judgement, row): (&Judgement, GateRow)| {
        let step = segment(judgement.step.as_deref().unwrap_or("all steps"));
        let variant = judgement
            .variant
            .as_deref()
            .map(|variant| format!("{}.", segment(variant)));
        let class = format!("loadgate.{scenario}.{}{step}", variant.unwrap_or_default());
        let name = format!("{}, limit {}", row.metric, row.limit);
        let body = format!(
            "{}\n{} {}, now {}, change {}, limit {}\n{}",
            row.reason,
            words::reference(run),
            row.baseline,
            row.now,
            row.change,
            row.limit,
            row.source
        );
        let status = status(judgement.verdict, fail_on_warning, &row.reason, &body);
        let out = output(judgement.verdict, &status, body);
        Case {
            source: Some(judgement.source.clone()),
            ..Case::new(class, &name, status, out)
        }
    };
    judged.into_iter().map(case).collect()
}

/// A condition under which the measurement can be believed.
fn condition(check: &Check, scenario: &str) -> Case {
    let text = printable(&check.text, SENTENCE);
    let verdict = if check.ok { Verdict::Pass } else { Verdict::Invalid };
    let status = status(Some(verdict), false, &text, &text);
    Case::new(
        format!("loadgate.{scenario}.validity"),
        &printable(&check.id, NAME),
        status,
        text,
    )
}

/// What made the verdict and belongs to no limit and no condition: a plan that changed, a partial run.
fn verdict(comparison: &Comparison, scenario: &str, fail_on_warning: bool) -> Case {
    let told = |reason: &&String| {
        let of_limit = comparison
            .judgements
            .iter()
            .any(|judgement| judgement.reason == **reason);
        of_limit || comparison.checks.iter().any(|check| check.text == **reason)
    };
    let others = comparison.reasons.iter().filter(|reason| !told(reason));
    let others: Vec<String> = others.map(|reason| printable(reason, SENTENCE)).collect();
    let sentence = printable(&comparison.sentence, SENTENCE);
    let verdict = if others.is_empty() {
        Verdict::Pass
    } else {
        comparison.verdict
    };
    let status = status(Some(verdict), fail_on_warning, &sentence, &others.join("\n"));
    let out = [vec![sentence], others].concat().join("\n");
    let out = output(Some(verdict), &status, out);
    Case::new(format!("loadgate.{scenario}"), "verdict", status, out)
}

/// How a verdict is shown: the sentence as message, the figures in the body, which is what GitLab shows.
fn status(verdict: Option<Verdict>, fail_on_warning: bool, sentence: &str, body: &str) -> TestCaseStatus {
    let mut status = match verdict {
        None => TestCaseStatus::skipped(),
        Some(Verdict::Pass) => return TestCaseStatus::success(),
        Some(Verdict::Warning) if !fail_on_warning => return TestCaseStatus::success(),
        Some(Verdict::Warning | Verdict::Critical) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Some(Verdict::Inconclusive | Verdict::Invalid) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_message(sentence);
    if verdict.is_some() {
        status.set_type(words::word(verdict)).set_description(body);
    }
    status
}

/// What stands beside: of a failure, whose figures are in its body, the picture as GitLab shows it.
fn output(verdict: Option<Verdict>, status: &TestCaseStatus, body: String) -> String {
    match status {
        TestCaseStatus::Success { .. } if verdict == Some(Verdict::Warning) => format!("WARNING: {body}"),
        TestCaseStatus::Success { .. } => body,
        TestCaseStatus::NonSuccess {
            kind: NonSuccessKind::Failure,
            ..
        } => format!("[[ATTACHMENT|{}]]", Chart::Percentiles.path()),
        _ => String::new(),
    }
}

/// A name as one part of a class name, whose parts dots separate.
fn segment(name: &str) -> String {
    distinct(name).replace('.', "·")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use roxmltree::{Document, Node};

    use super::*;
    use crate::report::example;

    fn cases<'d>(xml: &'d Document<'_>) -> Vec<Node<'d, 'd>> {
        xml.descendants().filter(|node| node.has_tag_name("testcase")).collect()
    }

    /// The element inside of a case that says what became of it.
    fn outcome(case: &Node<'_, '_>) -> &'static str {
        ["failure", "error", "skipped"]
            .into_iter()
            .find(|name| case.children().any(|node| node.has_tag_name(*name)))
            .unwrap_or("pass")
    }

    #[test]
    fn every_limit_and_condition_is_a_case() {
        let (run, mut comparison) = (example::run(), example::comparison());
        comparison.checks[0].ok = false;
        let text = render(&run, &comparison, 4).unwrap();
        let xml = Document::parse(&text).unwrap();
        let seen: Vec<_> = cases(&xml)
            .iter()
            .map(|case| {
                let [class, name] = ["classname", "name"].map(|key| case.attribute(key).unwrap());
                format!("{class} | {name} | {}", outcome(case))
            })
            .collect();
        let expected = [
            "loadgate.checkout.list orders | p95 response time, limit +10% / +25% | pass",
            "loadgate.checkout.order by id | p95 response time, limit +10% / +25% | pass",
            "loadgate.checkout.pay | p95 response time, limit 150 ms / 250 ms | pass",
            "loadgate.checkout.pay | p99 response time, limit +10% / +20% | failure",
            "loadgate.checkout.refresh stock | p95 response time, limit +10% / +25% | error",
            "loadgate.checkout.validity | send-lag | error",
            "loadgate.checkout.validity | accounting | pass",
            "loadgate.checkout | verdict | pass",
        ];
        assert_eq!(seen, expected);
        let pay = &cases(&xml)[3];
        assert_eq!(
            (pay.attribute("file"), pay.attribute("line")),
            (Some("perf/checkout.toml"), Some("31"))
        );
        let failure = pay.children().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("type"), Some("critical"));
        assert!(
            failure.text().unwrap().contains("baseline 134 ms, now 170 ms"),
            "{:?}",
            failure.text()
        );
        assert!(text.contains("[[ATTACHMENT|charts/02-percentiles.png]]"));
    }

    #[test]
    fn times_add_up_to_the_measured_window() {
        let text = render(&example::run(), &example::comparison(), 3).unwrap();
        let xml = Document::parse(&text).unwrap();
        let times: Vec<f64> = cases(&xml)
            .iter()
            .map(|case| case.attribute("time").unwrap().parse().unwrap())
            .collect();
        assert_eq!((times[0], times.iter().sum::<f64>()), (20.0, 20.0));
    }

    #[test]
    fn a_warning_passes_unless_it_was_asked_to_fail() {
        for (exit_code, expected) in [(0, "pass"), (5, "failure")] {
            let text = render(&example::run(), &example::comparison(), exit_code).unwrap();
            let xml = Document::parse(&text).unwrap();
            let case = cases(&xml)[0];
            assert_eq!(outcome(&case), expected);
            let out = case.children().find(|node| node.has_tag_name("system-out")).unwrap();
            let (text, warns) = (out.text().unwrap(), exit_code == 0);
            assert_eq!(text.starts_with("WARNING: list orders p95 changed"), warns, "{text}");
            assert_eq!(text.contains("[[ATTACHMENT|"), !warns, "{text}");
        }
    }

    #[test]
    fn what_is_not_judged_is_skipped_and_what_belongs_to_no_limit_has_a_case() {
        let (run, mut comparison) = (example::run(), example::alone());
        comparison.verdict = Verdict::Inconclusive;
        comparison.reasons = vec!["the run is partial".into()];
        let text = render(&run, &comparison, 4).unwrap();
        let xml = Document::parse(&text).unwrap();
        let outcomes: Vec<_> = cases(&xml).iter().map(outcome).collect();
        assert_eq!(
            outcomes,
            [
                "skipped", "skipped", "pass", "skipped", "skipped", "pass", "pass", "error"
            ]
        );
    }

    #[test]
    fn a_variant_is_a_part_of_the_class_and_dots_in_names_are_not() {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        run.scenario = "check.out".into();
        for judgement in &mut comparison.judgements {
            judgement.variant = Some("after".into());
        }
        let text = render(&run, &comparison, 3).unwrap();
        let xml = Document::parse(&text).unwrap();
        let class = cases(&xml)[2].attribute("classname").unwrap();
        assert_eq!(class, "loadgate.check·out.after.pay");
    }

    #[test]
    fn names_are_unique_and_do_not_depend_on_the_verdicts() {
        let (run, mut comparison) = (example::run(), example::comparison());
        comparison.judgements.extend(comparison.judgements.clone());
        for (at, judgement) in comparison.judgements.iter_mut().enumerate() {
            judgement.id = format!("{}#{}", judgement.id, at / 5);
        }
        let names = |comparison: &Comparison| -> Vec<String> {
            let text = render(&run, comparison, 3).unwrap();
            let xml = Document::parse(&text).unwrap();
            let key = |case: &Node<'_, '_>| format!("{:?}", ["classname", "name"].map(|key| case.attribute(key)));
            cases(&xml).iter().map(key).collect()
        };
        let before = names(&comparison);
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 10 + 2 + 1);
        comparison.judgements.reverse();
        for judgement in &mut comparison.judgements {
            judgement.verdict = Some(Verdict::Pass);
        }
        assert_eq!(names(&comparison), before);
    }
}
