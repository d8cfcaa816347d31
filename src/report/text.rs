//! The summary for a terminal: tables, and the verdict as its last line.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    document::Document,
    tables::{self, StepRow},
    words::{self, NAME, SENTENCE, printable},
};
use crate::{
    comparison::{Comparison, Verdict},
    run::Run,
};

/// More errors than this are left to the other reports.
const MOST_ERRORS: usize = 10;

/// Lays out the summary in `width` columns; `report` is where the files are.
pub(super) fn render(
    run: &Run,
    comparison: &Comparison,
    document: &Document,
    report: Option<&Path>,
    colour: bool,
    width: u16,
) -> String {
    let paint = Paint { colour };
    let mut blocks = vec![head(run, comparison, paint), steps(document, width)];
    blocks.extend(errors(document, width));
    blocks.extend(gates(comparison, paint, width));
    blocks.push(facts(comparison, document, report, paint));
    let exit = format!("[exit {}]", document.exit_code);
    let sentence = paint.verdict(Some(comparison.verdict), &printable(&comparison.sentence, SENTENCE));
    blocks.push(format!("{sentence}   {exit}"));
    blocks.join("\n\n") + "\n"
}

/// Scenario, load, seed, targets, baseline.
fn head(run: &Run, comparison: &Comparison, paint: Paint) -> String {
    let targets: Vec<String> = run
        .targets
        .iter()
        .map(|target| {
            format!(
                "{} {}",
                printable(&target.name, NAME),
                printable(&target.address, 2 * NAME)
            )
        })
        .collect();
    let mut lines = vec![format!(
        " {}  {}  seed {}  →  {}",
        paint.bold(&printable(&run.scenario, NAME)),
        words::load(&run.load),
        run.seed,
        if targets.is_empty() {
            "no target".into()
        } else {
            targets.join(", ")
        }
    )];
    if let Some(baseline) = &comparison.baseline {
        let revision = words::revision(baseline.branch.as_deref(), baseline.commit.as_deref());
        let mut line = format!(
            " baseline {} · run {}",
            printable(&baseline.name, NAME),
            printable(&baseline.run_id, NAME)
        );
        line.extend(revision.map(|revision| format!(" · {revision}")));
        line.push_str(&format!(" · {}", baseline.started.strftime("%Y-%m-%d %H:%M UTC")));
        lines.push(line);
    }
    if let Some(partial) = &run.partial {
        lines.push(paint.verdict(
            Some(Verdict::Warning),
            &format!(" partial: {}", printable(partial, SENTENCE)),
        ));
    }
    lines.join("\n")
}

/// One row per step, of response times; a second one of service times where they differ.
fn steps(document: &Document, width: u16) -> String {
    let mut table = table(
        width,
        &["step", "count", "errors", "/s", "p50", "p95", "p99", "max"],
        1..8,
    );
    for step in tables::steps(document) {
        let StepRow {
            name,
            count,
            failed,
            throughput,
            response,
            service,
            ..
        } = step;
        table.add_row([
            name,
            count,
            failed,
            throughput,
            response.p50.clone(),
            response.p95,
            response.p99.clone(),
            response.max,
        ]);
        if (&response.p50, &response.p99) != (&service.p50, &service.p99) {
            let none = String::new;
            table.add_row([
                "· service time".into(),
                none(),
                none(),
                none(),
                service.p50,
                service.p95,
                service.p99,
                service.max,
            ]);
        }
    }
    lines(&table)
}

fn errors(document: &Document, width: u16) -> Option<String> {
    let errors = tables::errors(document);
    let mut table = table(width, &["step", "error", "count", "example"], 2..3);
    for error in errors.iter().take(MOST_ERRORS) {
        table.add_row([&error.step, &error.class, &error.count, &printable(&error.example, 80)]);
    }
    let rest = errors.len().saturating_sub(MOST_ERRORS);
    let more = if rest > 0 {
        format!("\n … {rest} more kinds of error")
    } else {
        String::new()
    };
    (!errors.is_empty()).then(|| lines(&table) + &more)
}

/// One row per threshold, worst first.
fn gates(comparison: &Comparison, paint: Paint, width: u16) -> Option<String> {
    let mut table = table(
        width,
        &["step", "metric", "baseline", "now", "change (95 %)", "limit", "verdict"],
        2..6,
    );
    for gate in tables::gates(comparison) {
        let mark = words::mark(gate.verdict);
        table.add_row([
            &gate.step,
            gate.metric,
            &gate.baseline,
            &gate.now,
            &gate.change,
            &gate.limit,
            &mark,
        ]);
    }
    (!comparison.judgements.is_empty()).then(|| paint.marks(&lines(&table)))
}

/// Load, checks that failed, notes, and where the report is.
fn facts(comparison: &Comparison, document: &Document, report: Option<&Path>, paint: Paint) -> String {
    let validity = if document.validity.ok { "valid" } else { "NOT VALID" };
    let mut lines = vec![format!(" load    {}: {validity}", tables::load(document).join(", "))];
    for check in comparison.checks.iter().filter(|check| !check.ok) {
        let text = format!(
            " check   {} failed: {}",
            printable(&check.id, NAME),
            printable(&check.text, SENTENCE)
        );
        lines.push(paint.verdict(Some(Verdict::Invalid), &text));
    }
    let incidents = document
        .run
        .incidents
        .iter()
        .map(|text| format!(" note    {}", printable(text, SENTENCE)));
    lines.extend(incidents);
    lines.extend(
        comparison
            .notes
            .iter()
            .map(|text| format!(" note    {}", printable(text, SENTENCE))),
    );
    lines.extend(report.map(|path| format!(" report  {}", path.display())));
    lines.join("\n")
}

/// A table without lines; the columns of `right` hold numbers.
fn table(width: u16, header: &[&str], right: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.max(20));
    table.set_header(header.iter().copied());
    for at in right {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn lines(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    colour: bool,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    fn verdict(self, verdict: Option<Verdict>, text: &str) -> String {
        let colour = match verdict {
            Some(Verdict::Pass) => AnsiColor::Green,
            Some(Verdict::Warning) => AnsiColor::Yellow,
            Some(Verdict::Inconclusive) => AnsiColor::Magenta,
            Some(Verdict::Critical | Verdict::Invalid) => AnsiColor::Red,
            None => return text.to_owned(),
        };
        self.with(Style::new().bold().fg_color(Some(colour.into())), text)
    }

    /// Colours the marks in a table that is laid out: the layout counts characters, so it must not see colours.
    fn marks(self, table: &str) -> String {
        words::VERDICTS.iter().fold(table.to_owned(), |table, verdict| {
            let mark = words::mark(*verdict);
            table.replace(&mark, &self.verdict(*verdict, &mark))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{example, json};

    fn text(run: &Run, comparison: &Comparison, colour: bool, width: u16) -> String {
        let document = json::document(run, comparison, 3, vec![]);
        render(
            run,
            comparison,
            &document,
            Some(Path::new("reports/runs/x/report.html")),
            colour,
            width,
        )
    }

    #[test]
    fn the_summary_shows_load_steps_errors_gates_and_ends_in_the_verdict() {
        insta::assert_snapshot!(text(&example::run(), &example::comparison(), false, 120));
    }

    #[test]
    fn without_a_baseline_it_says_how_to_accept_one() {
        let text = text(&example::run(), &example::alone(), false, 120);
        assert!(
            text.contains("loadgate baseline accept") && text.contains("○ not judged"),
            "{text}"
        );
    }

    #[test]
    fn colour_stands_only_beside_words() {
        let (plain, coloured) = (
            text(&example::run(), &example::comparison(), false, 120),
            text(&example::run(), &example::comparison(), true, 120),
        );
        assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}["));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn hostile_text_neither_steers_the_terminal_nor_widens_the_table() {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        example::rename(
            &mut run,
            &mut comparison,
            &format!("\u{1b}]0;x\u{7}\n\u{202e}{}", "y".repeat(10_000)),
        );
        let text = text(&run, &comparison, false, 100);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && !text.contains('\u{202e}'));
        assert!(text.lines().all(|line| line.chars().count() < 700));
        assert!(text.trim_end().ends_with("[exit 3]"));
    }
}
