//! The summary for a terminal: tables, and the verdict as its last line.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    Detail, Terminal, claims,
    counted::{Counted, DifferenceRow, counted, differences},
    document::Document,
    links,
    pools::{self, PoolRow},
    tables::{self, StepRow},
    tried,
    words::{self, NAME, SENTENCE, printable},
};
use crate::{
    comparison::{Comparison, Verdict},
    run::{Run, Search},
};

/// More errors than this are left to the other reports.
const MOST_ERRORS: usize = 10;

/// More limits that hold than this are told by their number.
const MOST_HOLDING: usize = 5;

/// More changes without a limit than this are left to the other reports.
const MOST_SHOWN: usize = 10;

/// Lays out the summary in `width` columns; `report` is where the files are.
pub(super) fn render(
    run: &Run,
    comparison: &Comparison,
    document: &Document,
    report: Option<&Path>,
    Terminal { colour, width, detail }: Terminal,
) -> String {
    let paint = Paint::new(colour);
    if detail == Detail::Verdict {
        return verdict(comparison, document, paint);
    }
    let mut blocks = vec![head(run, comparison, paint), steps(document, width)];
    blocks.extend(errors(document, width));
    blocks.extend(retries(document, width));
    blocks.extend(breakers(run, width));
    blocks.extend(pools(document, width));
    blocks.extend(run.search.as_ref().map(|search| rates(search, width)));
    blocks.extend(caches(document, width));
    let counted = counted(run).filter(|counted| !counted.rows.is_empty() || !counted.notes.is_empty());
    blocks.extend(counted.map(|counted| counters(&counted, width)));
    blocks.extend(links::block(run, width));
    blocks.extend(differences(run).and_then(|(_, rows)| answers(run, &rows, width)));
    blocks.extend(gates(run, comparison, paint, width, detail));
    blocks.extend(shown(run, comparison, width));
    blocks.extend(claimed(comparison, width));
    blocks.push(facts(comparison, document, report, paint));
    blocks.push(verdict(comparison, document, paint));
    blocks.join("\n\n") + "\n"
}

/// The last line.
fn verdict(comparison: &Comparison, document: &Document, paint: Paint) -> String {
    let sentence = paint.verdict(Some(comparison.verdict), &printable(&comparison.sentence, SENTENCE));
    format!("{sentence}   [exit {}]", document.exit_code)
}

/// Scenario, load, seed, targets, baseline.
fn head(run: &Run, comparison: &Comparison, paint: Paint) -> String {
    let targets: Vec<String> = run
        .targets
        .iter()
        .map(|target| {
            format!(
                "{}{} {}{}{}",
                target
                    .variant
                    .as_deref()
                    .map_or_else(String::new, |variant| format!("{}: ", printable(variant, NAME))),
                printable(&target.name, NAME),
                printable(&target.address, 2 * NAME),
                target.build.as_ref().map_or_else(String::new, words::build),
                words::shares(&target.members),
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
        line.extend(words::set(baseline).map(|set| format!(" · {set}")));
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

/// One row per step that might be tried more than once.
fn retries(document: &Document, width: u16) -> Option<String> {
    let header = ["step", "tries", "retries", "recovered", "given up", "tries per success"];
    let mut table = table(width, &header, 1..6);
    let rows = tried::retry_rows(document);
    for row in &rows {
        table.add_row(std::iter::once(&row.step).chain(&row.figures));
    }
    (!rows.is_empty()).then(|| lines(&table))
}

/// One row per circuit breaker.
fn breakers(run: &Run, width: u16) -> Option<String> {
    let header = ["breaker", "success", "failure", "rejected", "tripped", "states"];
    let mut table = table(width, &header, 1..5);
    let rows = tried::breaker_rows(run);
    for row in &rows {
        table.add_row(std::iter::once(&row.guards).chain(&row.figures).chain([&row.states]));
    }
    (!rows.is_empty()).then(|| lines(&table))
}

/// One row per pool of connections.
fn pools(document: &Document, width: u16) -> Option<String> {
    let mut table = table(width, &pools::HEADER, 1..7);
    for PoolRow { name, cells, health } in pools::rows(&document.pools) {
        table.add_row([name].into_iter().chain(cells).chain([health]));
    }
    (!document.pools.is_empty()).then(|| lines(&table))
}

/// One row per rate that a search tried.
fn rates(search: &Search, width: u16) -> String {
    let mut table = table(width, &["rate tried", "achieved", "p50", "p99", "held"], 0..4);
    for row in tables::rates(search) {
        let held = if row.held {
            "yes".to_owned()
        } else {
            format!("no: {}", row.reason)
        };
        table.add_row([row.rate, row.achieved, row.p50, row.p99, printable(&held, 60)]);
    }
    lines(&table)
}

/// One row per cache.
fn caches(document: &Document, width: u16) -> Option<String> {
    let header = [
        "cache",
        "hit ratio",
        "hits",
        "misses",
        "evicted",
        "expired",
        "invalidated",
        "stale reads",
    ];
    let mut table = table(width, &header, 1..8);
    let rows = tables::caches(document);
    for row in &rows {
        let cells = [row.step.clone(), row.ratio.clone()].into_iter();
        table.add_row(cells.chain(row.counts.clone()));
    }
    (!rows.is_empty()).then(|| lines(&table))
}

/// One row per step and counter, a column per variant.
fn counters(counted: &Counted, width: u16) -> String {
    let mut header = vec!["step", "counted"];
    header.extend(counted.columns.iter().map(String::as_str));
    let columns = 2..header.len();
    let mut table = table(width, &header, columns);
    for row in &counted.rows {
        let cells = [row.step.as_str(), row.counter].into_iter();
        table.add_row(cells.chain(row.values.iter().map(String::as_str)));
    }
    let plans = counted.plans.iter().flat_map(|plan| {
        let of = |difference| format!("\n plan    {}: {difference}", plan.step);
        plan.differences.iter().map(of)
    });
    let notes = counted.notes.iter().map(|note| format!("\n note    {note}"));
    let more: String = plans.chain(notes).collect();
    format!("{}{more}", lines(&table))
}

/// One row per input on which a variant answered otherwise.
fn answers(run: &Run, rows: &[DifferenceRow], width: u16) -> Option<String> {
    let reference = words::reference(run);
    let mut table = table(width, &["other answer", "input", &reference, "now"], 0..0);
    for row in rows {
        let [before, now] = &row.answers;
        table.add_row([
            &row.step,
            &printable(&row.input, 60),
            &printable(before, 120),
            &printable(now, 120),
        ]);
    }
    (!rows.is_empty()).then(|| lines(&table))
}

/// One row per threshold, worst first.
fn gates(run: &Run, comparison: &Comparison, paint: Paint, width: u16, detail: Detail) -> Option<String> {
    let reference = words::reference(run);
    let mut table = table(
        width,
        &["step", "metric", &reference, "now", "change (95 %)", "limit", "verdict"],
        2..6,
    );
    let gates = tables::gates(comparison);
    let (mut holding, mut folded) = (0, 0);
    for gate in &gates {
        holding += usize::from(gate.verdict == Some(Verdict::Pass));
        if detail == Detail::Usual && gate.verdict == Some(Verdict::Pass) && holding > MOST_HOLDING {
            folded += 1;
            continue;
        }
        let mark = words::mark(gate.verdict);
        let mark = gate.label.map_or(mark.clone(), |label| format!("{mark} ({label})"));
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
    let mut text = paint.marks(&lines(&table));
    if folded > 0 {
        text.push_str(&format!("\n … {folded} more hold (--all shows them)"));
    }
    (!comparison.judgements.is_empty()).then_some(text)
}

/// One row per claim.
fn claimed(comparison: &Comparison, width: u16) -> Option<String> {
    let mut table = table(width, &claims::HEADER, 2..4);
    for row in claims::rows(comparison) {
        table.add_row(row);
    }
    (!table.is_empty()).then(|| lines(&table))
}

/// One row per change that stands out and that no limit is about.
fn shown(run: &Run, comparison: &Comparison, width: u16) -> Option<String> {
    let reference = words::reference(run);
    let mut table = table(
        width,
        &["also changed", "metric", &reference, "now", "change (95 %)"],
        2..5,
    );
    let rows = tables::shown(comparison);
    for row in rows.iter().filter(|row| row.stands_out).take(MOST_SHOWN) {
        let [before, now] = &row.values;
        table.add_row([&row.step, row.metric, before, now, &row.change]);
    }
    (!table.is_empty()).then(|| lines(&table))
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
pub(super) fn table(width: u16, header: &[&str], right: std::ops::Range<usize>) -> Table {
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

pub(super) fn lines(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Colours, or none.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour }
    }

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

    pub(super) fn verdict(self, verdict: Option<Verdict>, text: &str) -> String {
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
    pub(super) fn marks(self, table: &str) -> String {
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
            Terminal {
                colour,
                width,
                detail: Detail::Usual,
            },
        )
    }

    #[test]
    fn the_summary_shows_load_steps_errors_gates_and_ends_in_the_verdict() {
        insta::assert_snapshot!(text(&example::run(), &example::comparison(), false, 120), @r#"
         checkout  open 180/s for 20 s  seed 7  →  shop http://127.0.0.1:8080, db postgres://app@127.0.0.1:5432/shop, local stock.db
         baseline default · run 01JC8XK2M3N4P5Q6R7S8T9V0W1 · main 4f2c1e0aa · 2026-11-18 09:00 UTC

         step            count  errors    /s      p50      p95      p99      max
         pay             1,203      22    59  29.9 ms    93 ms   170 ms   321 ms
         · service time                       29.9 ms  83.8 ms   130 ms   214 ms
         list orders     2,403       0   120   7.4 ms  21.3 ms  40.1 ms  91.8 ms
         · service time                       7.32 ms  19.2 ms    30 ms  61.2 ms
         order by id     2,403       0   120  1.29 ms  3.93 ms  7.12 ms  13.7 ms
         · service time                       1.25 ms  3.38 ms  5.38 ms  9.15 ms
         refresh stock     803       0  40.1   379 µs  1.11 ms  1.92 ms  4.04 ms
         · service time                        339 µs   939 µs  1.54 ms  2.69 ms

         step  error     count  example
         pay   http 503     22  503 Service Unavailable: {"error":"pool exhausted"}

         step           metric             baseline      now         change (95 %)            limit  verdict
         pay            p99 response time    134 ms   170 ms     +26 % (+18 … +34)      +10% / +20%  ■ critical
         list orders    p95 response time   19.2 ms  21.3 ms    +11 % (+6.8 … +15)      +10% / +25%  ▲ warning
         refresh stock  p95 response time   1.04 ms  1.11 ms   +6.3 % (-6.7 … +19)      +10% / +25%  ◆ inconclusive
         order by id    p95 response time   3.81 ms  3.93 ms  +3.3 % (+1.3 … +5.3)      +10% / +25%  ● pass
         pay            p95 response time   67.6 ms    93 ms     +38 % (+28 … +48)  150 ms / 250 ms  ● pass

         load    3,591 of 3,600 flows sent (99.75 %), 60 failed, 9 dropped, 38 unfinished, send lag p99 787 µs, generator CPU 31 %: valid
         note    The repository had uncommitted changes.
         report  reports/runs/x/report.html

        critical: pay p99 response time is 26 % slower than the baseline (170 ms, limit +20%)   [exit 3]
        "#);
    }

    #[test]
    fn many_limits_that_hold_are_told_by_their_number_unless_all_are_wanted() {
        let (run, mut comparison) = (example::run(), example::comparison());
        let passing = comparison
            .judgements
            .iter()
            .find(|j| j.verdict == Some(Verdict::Pass))
            .cloned()
            .unwrap();
        comparison.judgements.extend(vec![passing; 10]);
        let shown = |detail| {
            let terminal = Terminal {
                colour: false,
                width: 120,
                detail,
            };
            render(
                &run,
                &comparison,
                &json::document(&run, &comparison, 3, vec![]),
                None,
                terminal,
            )
        };
        let (usual, all) = (shown(Detail::Usual), shown(Detail::All));
        assert_eq!(usual.matches("● pass").count(), MOST_HOLDING);
        assert!(usual.contains("… 7 more hold (--all shows them)"), "{usual}");
        assert_eq!(all.matches("● pass").count(), MOST_HOLDING + 7);
        assert!(!all.contains("--all"), "{all}");
        let verdict = shown(Detail::Verdict);
        assert_eq!(verdict, all.lines().last().unwrap());
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
