//! The report over a suite: what was tested, wanted, claimed and counted, in one document.
//!
//! ```text
//! suite.json   for programs
//! suite.md     for comments and wikis
//! suite.html   one page for people
//! ```
//!
//! Every figure comes from a run whose own report lies in a directory beside it.

use std::path::Path;

use askama::Template;
use serde::Serialize;

use super::{
    Detail, ReportError, Terminal, bundle, claims,
    counted::{Counted, counted, differences},
    document::ClaimEntry,
    files, html,
    summary::code,
    tables::{self, GateRow, ShownRow},
    text::{Paint, lines, table},
    words::{self, NAME, SENTENCE, printable},
};
use crate::{
    comparison::{Comparison, Outcome, Verdict},
    run::{self, Run},
    suite::{Profile, Test},
};

/// The form of `suite.json`.
pub const SUITE_SCHEMA: &str = "loadgate.suite/1";

/// Name of the page.
pub const SUITE_PAGE: &str = "suite.html";

const DOCUMENT: &str = "suite.json";
const MARKDOWN: &str = "suite.md";
const BUNDLE: &str = "suite.zip";

/// All that was done of a suite.
pub struct Suite {
    /// How much of it, and what decided.
    pub profile: Profile,
    /// The tests, in order.
    pub tests: Vec<&'static Test>,
    /// Their experiments, each once.
    pub parts: Vec<Part>,
}

/// One experiment that was performed, or could not be.
pub struct Part {
    experiment: &'static str,
    verdict: Verdict,
    sentence: String,
    run: Option<Box<Performed>>,
}

/// What is shown of a run.
struct Performed {
    id: String,
    started: String,
    took_s: f64,
    machine: String,
    build: String,
    commit: Option<String>,
    /// The limits, worst first.
    gates: Vec<GateRow>,
    /// Changes that no limit is about.
    shown: Vec<ShownRow>,
    counted: Option<Counted>,
    /// On which inputs variants answered otherwise.
    answers: Vec<String>,
    claims: Vec<[String; 5]>,
    claim_entries: Vec<ClaimEntry>,
    notes: Vec<String>,
    /// Paths of its files, relative to the directory of the suite.
    files: Vec<String>,
}

impl Part {
    /// What was measured and judged; `files` are its report's, within the directory of the suite.
    pub fn performed(experiment: &'static str, run: &Run, comparison: &Comparison, files: Vec<String>) -> Self {
        let environment = &run.environment;
        let machine = [
            environment.cpu.clone().unwrap_or_else(|| environment.arch.clone()),
            words::counted(environment.cores as u64, "core", "cores"),
            environment.os.clone().unwrap_or_default(),
        ];
        let (_, answers) = differences(run).unwrap_or_default();
        let performed = Performed {
            id: printable(&run.id, NAME),
            started: run.started.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            took_s: run.duration_s,
            machine: printable(&machine.join(", "), 2 * NAME),
            build: printable(&environment.build, NAME),
            commit: words::revision(environment.branch.as_deref(), environment.commit.as_deref()),
            gates: tables::gates(comparison),
            shown: tables::shown(comparison),
            counted: counted(run),
            answers: answers
                .into_iter()
                .map(|row| {
                    format!(
                        "{}: for {}, {} instead of {}",
                        row.step, row.input, row.answers[1], row.answers[0]
                    )
                })
                .collect(),
            claims: claims::rows(comparison),
            claim_entries: claims::entries(comparison),
            notes: run
                .incidents
                .iter()
                .chain(&comparison.notes)
                .map(|note| printable(note, SENTENCE))
                .collect(),
            files,
        };
        Self {
            experiment,
            verdict: comparison.verdict,
            sentence: without_verdict(&printable(&comparison.sentence, SENTENCE)),
            run: Some(Box::new(performed)),
        }
    }

    /// It could not be performed, for this reason.
    pub fn failed(experiment: &'static str, why: &str) -> Self {
        Self {
            experiment,
            verdict: Verdict::Invalid,
            sentence: printable(why, SENTENCE),
            run: None,
        }
    }

    /// The verdict on it.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What was found: `● pass: 2 of 2 limits hold`.
    pub fn finding(&self) -> String {
        format!("{}: {}", words::mark(Some(self.verdict)), self.sentence)
    }
}

impl Suite {
    /// The worst of all parts.
    pub fn verdict(&self) -> Verdict {
        worst(self.parts.iter())
    }

    fn of<'s>(&'s self, test: &'s Test) -> impl Iterator<Item = &'s Part> {
        self.parts
            .iter()
            .filter(|part| test.experiments.contains(&part.experiment))
    }

    fn performed(&self) -> impl Iterator<Item = (&'static str, &Performed)> {
        let parts = self.parts.iter();
        parts.filter_map(|part| Some((part.experiment, part.run.as_deref()?)))
    }

    /// `6 of 8 tests pass; connection_pool is critical`.
    fn sentence(&self) -> String {
        let verdicts: Vec<(&str, Verdict)> = self
            .tests
            .iter()
            .map(|test| (test.name, worst(self.of(test))))
            .collect();
        let passed = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Pass).count();
        let mut sentence = format!(
            "{passed} of {} pass",
            words::counted(verdicts.len() as u64, "test", "tests")
        );
        for (name, verdict) in verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Pass) {
            sentence.push_str(&format!("; {name} is {}", words::word(Some(*verdict))));
        }
        sentence
    }
}

/// A sentence that stands beside its verdict need not begin with it.
fn without_verdict(sentence: &str) -> String {
    let mut words = words::VERDICTS.iter().map(|verdict| words::word(*verdict));
    let rest = words.find_map(|word| sentence.strip_prefix(word)?.strip_prefix(": "));
    rest.unwrap_or(sentence).to_owned()
}

fn worst<'p>(parts: impl Iterator<Item = &'p Part>) -> Verdict {
    parts.map(|part| part.verdict).max().unwrap_or(Verdict::Invalid)
}

/// Writes `suite.json`, `suite.md`, `suite.html` and `suite.zip`, which holds the reports of all runs too.
///
/// # Errors
/// When a file cannot be rendered or written.
pub fn write_suite(out: &Path, suite: &Suite, exit_code: u8) -> Result<(), ReportError> {
    let page = Page::new(suite, exit_code);
    let document = serde_json::to_string_pretty(&Document::new(suite, &page))? + "\n";
    run::write_atomically(&out.join(DOCUMENT), document.as_bytes())?;
    run::write_atomically(&out.join(MARKDOWN), markdown(&page).as_bytes())?;
    run::write_atomically(&out.join(SUITE_PAGE), page.render()?.as_bytes())?;
    let own = [DOCUMENT, MARKDOWN, SUITE_PAGE].into_iter();
    let of_runs = suite.performed().flat_map(|(_, run)| &run.files).map(String::as_str);
    let packed = bundle::pack(out, own.chain(of_runs)).map_err(files::failed(BUNDLE))?;
    run::write_atomically(&out.join(BUNDLE), &packed)?;
    Ok(())
}

/// The summary for a terminal; its last line is the verdict.
pub fn suite_text(suite: &Suite, exit_code: u8, page: Option<&Path>, terminal: Terminal) -> String {
    let (view, paint) = (Page::new(suite, exit_code), Paint::new(terminal.colour));
    let sentence = paint.verdict(Some(suite.verdict()), &format!("{}: {}", view.word, view.sentence));
    let verdict = format!("{sentence}   [exit {exit_code}]");
    if terminal.detail == Detail::Verdict {
        return verdict;
    }
    let mut tests = table(
        terminal.width,
        &["test", "category", "experiment", "verdict", "finding"],
        0..0,
    );
    for test in &view.tests {
        for (at, part) in test.parts.iter().enumerate() {
            let [name, category] = if at == 0 { [test.name, test.category] } else { [""; 2] };
            let mark = format!("{} {}", part.shape, part.word);
            tests.add_row([name, category, part.experiment, &mark, &part.sentence]);
        }
    }
    let mut blocks = vec![paint.marks(&lines(&tests))];
    if !view.claims.is_empty() {
        let [claim, _, claimed, measured, so] = claims::HEADER;
        let mut claims = table(terminal.width, &[claim, claimed, measured, so], 1..3);
        for [claim, _, claimed, measured, outcome] in view.claims.iter().map(|row| &row.cells) {
            claims.add_row([claim, claimed, measured, outcome]);
        }
        blocks.push(lines(&claims));
    }
    if let Some(page) = page {
        blocks.push(format!(" report  {}", page.display()));
    }
    blocks.push(verdict);
    blocks.join("\n\n") + "\n"
}

/// The content of `suite.json` where it is printed.
///
/// # Errors
/// When it cannot be serialised.
pub fn suite_json(suite: &Suite, exit_code: u8) -> Result<String, ReportError> {
    Ok(serde_json::to_string(&Document::new(suite, &Page::new(suite, exit_code)))? + "\n")
}

/// `suite.json`.
#[derive(Serialize)]
struct Document<'s> {
    schema: &'static str,
    loadgate: &'static str,
    profile: &'static str,
    verdict: Verdict,
    exit_code: u8,
    sentence: &'s str,
    tests: Vec<TestEntry>,
    experiments: Vec<ExperimentEntry<'s>>,
}

#[derive(Serialize)]
struct TestEntry {
    name: &'static str,
    category: &'static str,
    shows: &'static str,
    verdict: Verdict,
    experiments: &'static [&'static str],
}

#[derive(Serialize)]
struct ExperimentEntry<'s> {
    name: &'static str,
    verdict: Verdict,
    sentence: &'s str,
    /// `None` where it could not be performed.
    run: Option<&'s str>,
    /// Its `report.json`, within the same directory.
    report: Option<String>,
    claims: &'s [ClaimEntry],
}

impl<'s> Document<'s> {
    fn new(suite: &'s Suite, page: &'s Page) -> Self {
        let test = |test: &&'static Test| TestEntry {
            name: test.name,
            category: test.category,
            shows: test.shows,
            verdict: worst(suite.of(test)),
            experiments: test.experiments,
        };
        let experiment = |part: &'s Part| ExperimentEntry {
            name: part.experiment,
            verdict: part.verdict,
            sentence: &part.sentence,
            run: part.run.as_ref().map(|run| run.id.as_str()),
            report: part
                .run
                .as_ref()
                .map(|_| format!("{}/{}", part.experiment, super::DOCUMENT)),
            claims: part.run.as_ref().map_or(&[], |run| &run.claim_entries),
        };
        Self {
            schema: SUITE_SCHEMA,
            loadgate: env!("CARGO_PKG_VERSION"),
            profile: suite.profile.name(),
            verdict: suite.verdict(),
            exit_code: page.exit_code,
            sentence: &page.sentence,
            tests: suite.tests.iter().map(test).collect(),
            experiments: suite.parts.iter().map(experiment).collect(),
        }
    }
}

/// What page, Markdown and terminal show: words and cells.
#[derive(Template)]
#[template(path = "suite.html")]
struct Page {
    decides: &'static str,
    shape: char,
    word: &'static str,
    sentence: String,
    exit_code: u8,
    facts: Vec<(&'static str, String)>,
    tests: Vec<TestRows>,
    /// What was wanted and is not so, in sentences.
    not_met: Vec<String>,
    goals: Vec<GoalRow>,
    claims: Vec<ClaimRow>,
    claim_header: [&'static str; 5],
    components: Vec<Component>,
    version: &'static str,
    style: String,
}

struct TestRows {
    name: &'static str,
    category: &'static str,
    shows: &'static str,
    shape: char,
    word: &'static str,
    parts: Vec<PartRow>,
}

struct PartRow {
    experiment: &'static str,
    shape: char,
    word: &'static str,
    sentence: String,
    /// Its page, where there is one.
    page: Option<String>,
}

/// A limit that somebody set, and what came of it.
struct GoalRow {
    experiment: &'static str,
    shape: char,
    word: &'static str,
    /// Step, metric, reference, now, change, limit.
    cells: [String; 6],
}

struct ClaimRow {
    experiment: &'static str,
    cells: [String; 5],
}

/// Before and after, of one experiment.
struct Component {
    experiment: &'static str,
    run: String,
    counted: Option<Counted>,
    /// Step, metric, before, now, change with its interval.
    times: Vec<[String; 5]>,
    answers: Vec<String>,
    notes: Vec<String>,
}

impl Page {
    fn new(suite: &Suite, exit_code: u8) -> Self {
        let verdict = Some(suite.verdict());
        Self {
            decides: match suite.profile {
                Profile::Ci => "Counts and errors decide; times are shown with their intervals.",
                Profile::Full => "Counts, errors and times decide.",
            },
            shape: words::shape(verdict),
            word: words::word(verdict),
            sentence: suite.sentence(),
            exit_code,
            facts: facts(suite),
            tests: suite.tests.iter().map(|test| TestRows::new(suite, test)).collect(),
            not_met: not_met(suite),
            goals: goals(suite),
            claims: claimed(suite),
            claim_header: claims::HEADER,
            components: suite.performed().map(|(name, run)| Component::new(name, run)).collect(),
            version: env!("CARGO_PKG_VERSION"),
            style: html::inline_style(),
        }
    }
}

impl TestRows {
    fn new(suite: &Suite, test: &Test) -> Self {
        let verdict = Some(worst(suite.of(test)));
        let part = |part: &Part| PartRow {
            experiment: part.experiment,
            shape: words::shape(Some(part.verdict)),
            word: words::word(Some(part.verdict)),
            sentence: part.sentence.clone(),
            page: part
                .run
                .as_ref()
                .map(|_| format!("{}/{}", part.experiment, super::PAGE)),
        };
        Self {
            name: test.name,
            category: test.category,
            shows: test.shows,
            shape: words::shape(verdict),
            word: words::word(verdict),
            parts: suite.of(test).map(part).collect(),
        }
    }
}

impl Component {
    fn new(experiment: &'static str, run: &Performed) -> Self {
        let gates = run.gates.iter().filter(|gate| gate.change != words::UNKNOWN);
        let gates = gates.map(|gate| {
            let [reference, now] = [&gate.baseline, &gate.now].map(String::clone);
            [
                gate.step.clone(),
                gate.metric.to_owned(),
                reference,
                now,
                gate.change.clone(),
            ]
        });
        let shown = run.shown.iter().map(|row| {
            let [reference, now] = row.values.clone();
            [
                row.step.clone(),
                row.metric.to_owned(),
                reference,
                now,
                row.change.clone(),
            ]
        });
        let counted = run.counted.as_ref().map(Counted::differing);
        Self {
            experiment,
            run: format!(
                "run {}, {}, {} of load recorded",
                run.id,
                run.started,
                words::seconds(run.took_s)
            ),
            counted: counted.filter(|counted| !counted.rows.is_empty()),
            times: gates.chain(shown).collect(),
            answers: run.answers.clone(),
            notes: run
                .notes
                .iter()
                .chain(run.counted.iter().flat_map(|counted| &counted.notes))
                .cloned()
                .collect(),
        }
    }
}

fn facts(suite: &Suite) -> Vec<(&'static str, String)> {
    let mut facts = vec![("profile", suite.profile.name().to_owned())];
    if let Some((_, first)) = suite.performed().next() {
        facts.push(("begun", first.started.clone()));
        facts.push(("machine", first.machine.clone()));
        facts.push((
            "loadgate",
            format!("{} ({} build)", env!("CARGO_PKG_VERSION"), first.build),
        ));
        facts.extend(first.commit.clone().map(|commit| ("revision", commit)));
    }
    facts.push((
        "experiments",
        words::counted(suite.parts.len() as u64, "experiment", "experiments"),
    ));
    let limits = || suite.performed().flat_map(|(_, run)| &run.gates);
    let held = limits().filter(|gate| gate.verdict == Some(Verdict::Pass)).count();
    let all = words::counted(limits().count() as u64, "limit", "limits");
    facts.push(("targets met", format!("{held} of {all}")));
    let claims = || suite.performed().flat_map(|(_, run)| &run.claim_entries);
    let of = words::counted(claims().count() as u64, "claim", "claims");
    let unknown = claims().filter(|claim| claim.outcome == Outcome::Unknown).count();
    let mut told = format!("{} of {of}", claims().filter(|claim| holds(claim)).count());
    if unknown > 0 {
        told.push_str(&format!(", {unknown} cannot be told"));
    }
    facts.push(("claims that hold", told));
    facts
}

/// Whether there is as much to a claim as was claimed.
fn holds(claim: &ClaimEntry) -> bool {
    matches!(claim.outcome, Outcome::Confirmed | Outcome::Understated)
}

/// Limits that do not hold, claims that do not, answers that differ, experiments that could not be performed.
fn not_met(suite: &Suite) -> Vec<String> {
    let mut all = Vec::new();
    for part in &suite.parts {
        let name = part.experiment;
        let Some(run) = part.run.as_deref() else {
            all.push(format!("{name} was not performed: {}", part.sentence));
            continue;
        };
        let broken = run.gates.iter().filter(|gate| gate.verdict != Some(Verdict::Pass));
        all.extend(broken.map(|gate| format!("{name}: {}", gate.reason)));
        all.extend(
            run.answers
                .iter()
                .map(|answer| format!("{name}: other answers: {answer}")),
        );
        for ([claim, _, claimed, measured, outcome], entry) in run.claims.iter().zip(&run.claim_entries) {
            if !holds(entry) && entry.outcome != Outcome::Unknown {
                all.push(format!(
                    "{name}: \"{claim}\" is {outcome}: claimed {claimed}, measured {measured}"
                ));
            }
        }
        // Plans that changed, conditions that failed.
        if part.verdict != Verdict::Pass && run.gates.iter().all(|gate| gate.verdict == Some(Verdict::Pass)) {
            all.push(format!("{name}: {}", part.sentence));
        }
    }
    all
}

fn goals(suite: &Suite) -> Vec<GoalRow> {
    let row = |experiment, gate: &GateRow| GoalRow {
        experiment,
        shape: gate.shape,
        word: gate.word,
        cells: [
            gate.step.clone(),
            gate.metric.to_owned(),
            gate.baseline.clone(),
            gate.now.clone(),
            gate.change.clone(),
            gate.limit.clone(),
        ],
    };
    let all = suite
        .performed()
        .flat_map(|(name, run)| run.gates.iter().map(move |gate| row(name, gate)));
    all.collect()
}

fn claimed(suite: &Suite) -> Vec<ClaimRow> {
    let all = suite.performed().flat_map(|(experiment, run)| {
        let claims = run.claims.iter().cloned();
        claims.map(move |cells| ClaimRow { experiment, cells })
    });
    all.collect()
}

/// The same as the page, as Markdown.
fn markdown(page: &Page) -> String {
    let mut text = format!(
        "# Performance suite: {} {}\n\n{}. {}\n\n",
        page.shape, page.word, page.sentence, page.decides
    );
    for (name, value) in &page.facts {
        text.push_str(&format!("- {name}: {}\n", code(value, SENTENCE)));
    }
    text.push_str("\n## Tests\n\n");
    let rows = page.tests.iter().map(|test| {
        let experiments: Vec<String> = test.parts.iter().map(|part| format!("`{}`", part.experiment)).collect();
        vec![
            format!("**{}**", test.name),
            test.category.to_owned(),
            format!("{} {}", test.shape, test.word),
            test.shows.to_owned(),
            experiments.join(" "),
        ]
    });
    push_table(
        &mut text,
        &["test", "category", "verdict", "shows", "experiments"],
        rows,
    );
    text.push_str("\n## What is not met\n\n");
    if page.not_met.is_empty() {
        text.push_str("Everything that was wanted or claimed is so, as far as it can be told.\n");
    }
    for sentence in &page.not_met {
        text.push_str(&format!("- {}\n", code(sentence, 2 * SENTENCE)));
    }
    text.push_str("\n## Targets against achieved\n\n");
    let rows = page.goals.iter().map(|goal| {
        let [step, metric, figures @ ..] = &goal.cells;
        let head = [
            format!("{} {}", goal.shape, goal.word),
            format!("`{}`", goal.experiment),
            code(step, NAME),
            metric.clone(),
        ];
        head.into_iter().chain(figures.iter().cloned()).collect()
    });
    let header = [
        "verdict",
        "experiment",
        "step",
        "metric",
        "before",
        "now",
        "change (95 %)",
        "limit",
    ];
    push_table(&mut text, &header, rows);
    if !page.claims.is_empty() {
        text.push_str("\n## Claimed and measured\n\n");
        let rows = page.claims.iter().map(|row| {
            let [claim, about, claimed, measured, outcome] = &row.cells;
            vec![
                format!("`{}`", row.experiment),
                code(claim, SENTENCE),
                code(about, 2 * NAME),
                claimed.clone(),
                measured.clone(),
                format!("**{outcome}**"),
            ]
        });
        let header: Vec<&str> = ["experiment"].into_iter().chain(page.claim_header).collect();
        push_table(&mut text, &header, rows);
    }
    text.push_str("\n## Before and after\n");
    for component in &page.components {
        push_component(&mut text, component);
    }
    text
}

fn push_component(text: &mut String, component: &Component) {
    text.push_str(&format!(
        "\n### {}\n\n{}\n",
        component.experiment,
        code(&component.run, SENTENCE)
    ));
    if let Some(counted) = &component.counted {
        text.push_str(&format!("\nCounted: {}\n\n", counted.how));
        let columns: Vec<String> = counted.columns.iter().map(|column| code(column, NAME)).collect();
        let header: Vec<&str> = ["step", "counted"]
            .into_iter()
            .chain(columns.iter().map(String::as_str))
            .collect();
        let rows = counted.rows.iter().map(|row| {
            let head = [code(&row.step, NAME), row.counter.to_owned()];
            head.into_iter().chain(row.values.iter().cloned()).collect()
        });
        push_table(text, &header, rows);
    }
    if !component.times.is_empty() {
        text.push('\n');
        let rows = component.times.iter().map(|[step, rest @ ..]| {
            let head = [code(step, NAME)];
            head.into_iter().chain(rest.iter().cloned()).collect()
        });
        push_table(text, &["step", "metric", "before", "now", "change (95 %)"], rows);
    }
    if !component.answers.is_empty() || !component.notes.is_empty() {
        text.push('\n');
    }
    for answer in &component.answers {
        text.push_str(&format!("- other answers: {}\n", code(answer, SENTENCE)));
    }
    for note in &component.notes {
        text.push_str(&format!("- {}\n", code(note, SENTENCE)));
    }
}

/// A table; numbers need no alignment to be read.
fn push_table(text: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    text.push_str(&format!(
        "| {} |\n|{}\n",
        header.join(" | "),
        "---|".repeat(header.len())
    ));
    for row in rows {
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
}
