//! `summary.md`: what a reviewer must see, for step summaries, comments on changes and annotations.
//!
//! Markdown as GitHub, GitLab and Buildkite read it. Names and messages are
//! somebody else's words: they stand in code spans only, without what ends a
//! span or a cell of a table, so that none becomes markup, a link or a mention.

use super::{
    claims,
    document::Document,
    tables::{self, GateRow},
    words::{self, NAME, SENTENCE, printable},
};
use crate::{
    comparison::{Comparison, Verdict},
    run::{self, Run},
};

/// Comments may have 65,536 bytes on GitHub; some of that is for who embeds it.
pub(super) const MOST_BYTES: usize = 60_000;

/// Lines that may be left out are, from this size on. What must stand needs less than the rest.
const FULL: usize = MOST_BYTES - 12_000;

const GATE_HEAD: &str =
    "| | step | metric | REFERENCE | now | change (95 %) | limit |\n|---|---|---|--:|--:|--:|--:|\n";

/// The summary; at most [`MOST_BYTES`].
pub(super) fn render(run: &Run, comparison: &Comparison, document: &Document) -> String {
    let mut page = Page::default();
    head(&mut page, run, comparison);
    let (bad, rest): (Vec<_>, Vec<_>) = tables::gates(comparison)
        .into_iter()
        .partition(|gate| gate.verdict.is_some_and(|verdict| verdict > Verdict::Pass));
    let gate_head = GATE_HEAD.replace("REFERENCE", &reference(run));
    if !bad.is_empty() {
        page.must(&format!("\n{gate_head}"));
        page.may(bad.iter().map(gate_row));
        page.must(&within(&rest));
    }
    facts(&mut page, run, comparison, document);
    if !rest.is_empty() {
        page.folded(&words::counted(rest.len() as u64, "other limit", "other limits"));
        page.must(&gate_head);
        page.may(rest.iter().map(gate_row));
        page.must("\n</details>\n");
    }
    claimed(&mut page, comparison);
    findings(&mut page, comparison);
    steps(&mut page, document);
    errors(&mut page, document);
    page.finish()
}

/// The marker by which a comment is found again, the verdict, the sentence.
fn head(page: &mut Page, run: &Run, comparison: &Comparison) {
    let verdict = Some(comparison.verdict);
    page.must(&format!("<!-- loadgate:{} -->\n", slug(&run.scenario)));
    page.must(&format!(
        "### {} loadgate: {} is **{}**\n\n",
        words::shape(verdict),
        code(&run.scenario, NAME),
        words::word(verdict)
    ));
    page.must(&format!("{}\n", code(&comparison.sentence, SENTENCE)));
    if let Some(partial) = &run.partial {
        page.must(&format!("\nThis run is partial: {}\n", code(partial, SENTENCE)));
    }
}

/// The last line of the table of what matters: how many limits are well.
fn within(rest: &[GateRow]) -> String {
    let passed = rest.iter().filter(|gate| gate.verdict.is_some()).count();
    let line = |mark: String, count: usize, what: &str| match count {
        0 => String::new(),
        count => format!("| {mark} | {count} more | | | | {what} | |\n"),
    };
    let pass = line(words::mark(Some(Verdict::Pass)), passed, "within limits");
    pass + &line(words::mark(None), rest.len() - passed, "without a baseline")
}

/// Load, baseline, notes, and how to do it again.
fn facts(page: &mut Page, run: &Run, comparison: &Comparison, document: &Document) {
    let valid = if document.validity.ok { "valid" } else { "**not valid**" };
    page.must(&format!(
        "\nLoad: {} · measurement {valid}\n",
        tables::load(document).join(" · ")
    ));
    if let Some(baseline) = &comparison.baseline {
        let revision = words::revision(baseline.branch.as_deref(), baseline.commit.as_deref());
        let mut line = format!(
            "\nBaseline: {} run {}",
            code(&baseline.name, NAME),
            code(&baseline.run_id, NAME)
        );
        line.extend(revision.map(|revision| format!(" of {}", code(&revision, NAME))));
        line.extend(words::set(baseline).map(|set| format!(", {set}")));
        page.must(&(line + "\n"));
    }
    page.must(&format!("\nReproduce: {}\n", code(&words::reproduce(run), SENTENCE)));
    let notes = run.incidents.iter().chain(&comparison.notes);
    page.must("\n");
    page.may(notes.map(|note| format!("- {}\n", code(note, SENTENCE))));
}

/// What was claimed, and what it is worth.
fn claimed(page: &mut Page, comparison: &Comparison) {
    if comparison.claims.is_empty() {
        return;
    }
    page.must("\n| claim | about | claimed | measured (95 %) | so it is |\n|---|---|--:|--:|---|\n");
    let row = |[claim, about, claimed, measured, outcome]: [String; 5]| {
        let (claim, about) = (code(&claim, SENTENCE), code(&about, 2 * NAME));
        format!("| {claim} | {about} | {claimed} | {measured} | **{outcome}** |\n")
    };
    page.may(claims::rows(comparison).into_iter().map(row));
}

/// All that made the verdict, and the conditions that failed.
fn findings(page: &mut Page, comparison: &Comparison) {
    if comparison.reasons.len() > 1 {
        page.folded(&words::counted(comparison.reasons.len() as u64, "finding", "findings"));
        page.may(
            comparison
                .reasons
                .iter()
                .map(|reason| format!("- {}\n", code(reason, SENTENCE))),
        );
        page.must("\n</details>\n");
    }
}

fn steps(page: &mut Page, document: &Document) {
    let rows = tables::steps(document);
    page.folded(&words::counted(rows.len() as u64, "step", "steps"));
    page.must("| step | count | failed | /s | p50 | p95 | p99 | max |\n|---|--:|--:|--:|--:|--:|--:|--:|\n");
    page.may(rows.iter().map(|row| {
        let times = &row.response;
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
            code(&row.name, NAME),
            row.count,
            row.failed,
            row.throughput,
            times.p50,
            times.p95,
            times.p99,
            times.max
        )
    }));
    page.must("\nResponse times: from when an operation was due to its end.\n\n</details>\n");
}

fn errors(page: &mut Page, document: &Document) {
    let rows = tables::errors(document);
    if rows.is_empty() {
        return;
    }
    page.folded(&words::counted(rows.len() as u64, "kind of error", "kinds of error"));
    page.must("| step | error | count | first message |\n|---|---|--:|---|\n");
    page.may(rows.iter().map(|row| {
        let example = code(&row.example, 2 * NAME);
        format!(
            "| {} | {} | {} | {example} |\n",
            code(&row.step, NAME),
            row.class,
            row.count
        )
    }));
    page.must("\n</details>\n");
}

fn gate_row(gate: &GateRow) -> String {
    let label = gate.label.map_or_else(String::new, |label| format!(" ({label})"));
    format!(
        "| {} {}{label} | {} | {} | {} | {} | {} | {} |\n",
        gate.shape,
        gate.word,
        code(&gate.step, NAME),
        gate.metric,
        gate.baseline,
        gate.now,
        gate.change,
        gate.limit
    )
}

/// What the figures stand beside: a word of ours, or the name of a variant.
fn reference(run: &Run) -> String {
    match run.variants.first() {
        Some(variant) => code(&variant.name, NAME),
        None => words::reference(run),
    }
}

/// Somebody else's words as a code span: what would end it or a cell of a table is replaced.
pub(super) fn code(text: &str, longest: usize) -> String {
    let text = printable(text, longest).replace('`', "'").replace('|', "¦");
    match text.as_str() {
        "" => words::UNKNOWN.to_owned(),
        text => format!("`{text}`"),
    }
}

/// The scenario's name for the marker: nothing in it can end an HTML comment, and names that differ stay different.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let slug: String = words.collect::<Vec<_>>().join("-").chars().take(NAME).collect();
    if slug == name {
        return slug;
    }
    let hash = run::hash(name.as_bytes());
    format!("{slug}-{}", &hash[..8]).trim_start_matches('-').to_owned()
}

/// Text of bounded size.
#[derive(Default)]
struct Page {
    text: String,
    left_out: u64,
}

impl Page {
    /// What must stand; itself bounded.
    fn must(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Lines as long as there is room.
    fn may(&mut self, lines: impl Iterator<Item = String>) {
        for line in lines {
            if self.text.len() + line.len() > FULL {
                self.left_out += 1;
            } else {
                self.text.push_str(&line);
            }
        }
    }

    /// Begins a part that is folded; an empty line lets Markdown begin again.
    fn folded(&mut self, summary: &str) {
        self.must(&format!("\n<details><summary>{summary}</summary>\n\n"));
    }

    fn finish(mut self) -> String {
        if self.left_out > 0 {
            let lines = words::counted(self.left_out, "line was", "lines were");
            self.must(&format!(
                "\n{lines} left out here for size; report.html and report.json have all.\n"
            ));
        }
        self.text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;
    use crate::report::{example, json};

    fn summary(run: &Run, comparison: &Comparison) -> String {
        render(run, comparison, &json::document(run, comparison, 3, vec![]))
    }

    #[test]
    fn it_says_what_matters_first_and_folds_the_rest() {
        insta::assert_snapshot!(summary(&example::run(), &example::comparison()));
    }

    /// Holds the text to what may be in it, as a site would read it.
    pub(in crate::report) fn assert_inert(text: &str) {
        let ours = ["<!-- loadgate:", "<details><summary>", "</summary>", "</details>"];
        for event in Parser::new_ext(text, Options::all()) {
            match event {
                Event::Html(html) | Event::InlineHtml(html) => {
                    let html = html.trim();
                    assert!(ours.iter().any(|known| html.starts_with(known)), "{html}");
                }
                Event::Start(Tag::Link { .. } | Tag::Image { .. }) => panic!("a link or an image in {text}"),
                // Sites find mentions and bare addresses in what is not code.
                Event::Text(words) => {
                    for active in ["@", "://", "www.", "::", "#1", "<", "&"] {
                        assert!(!words.contains(active), "{active} in {words}");
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn hostile_names_stay_in_code_spans() {
        for text in [
            "<script>alert(1)</script>",
            "a | b | c\n\n# head\n- item",
            "``` ` `` \\` ~~~",
            "@everyone see https://evil.example www.evil.example #1 !1",
            "[x](https://evil.example) ![x](https://evil.example/x.png)",
            "</details><img src=x> --> <!-- loadgate:other -->",
            "a\\|b\\",
            "::error::x\n/close\n\u{202e}",
        ] {
            let (mut run, mut comparison) = (example::run(), example::comparison());
            example::rename(&mut run, &mut comparison, text);
            let summary = summary(&run, &comparison);
            assert_inert(&summary);
            let columns = |line: &str| line.matches('|').count();
            for table in summary.split("\n\n").filter(|block| block.starts_with("| ")) {
                let mut rows = table.lines().take_while(|line| line.starts_with('|'));
                let first = rows.next().map(columns);
                assert!(rows.all(|row| Some(columns(row)) == first), "{table}");
            }
        }
    }

    #[test]
    fn it_never_grows_beyond_what_a_comment_can_hold() {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        let text = "𝕏|`<".repeat(2_500);
        example::rename(&mut run, &mut comparison, &text);
        let gate = comparison.judgements[0].clone();
        comparison.judgements = vec![gate; 500];
        comparison.reasons = vec![text.clone(); 500];
        comparison.notes = vec![text; 500];
        let many = summary(&run, &comparison);
        assert!(many.len() <= MOST_BYTES, "{}", many.len());
        assert!(
            many.trim_end()
                .ends_with("lines were left out here for size; report.html and report.json have all.")
        );
        assert_eq!(many.matches("<details>").count(), many.matches("</details>").count());
        assert_inert(&many);
        let few = summary(&example::run(), &example::comparison());
        assert!(!few.contains("left out"), "{few}");
    }

    #[test]
    fn markers_are_stable_and_distinct() {
        assert_eq!(slug("checkout-eu"), "checkout-eu");
        assert_ne!(slug("checkout EU"), slug("checkout-eu"));
        assert!(slug("checkout EU").starts_with("checkout-eu-"));
        assert!(slug("-->\u{202e}").chars().all(|c| c.is_ascii_hexdigit()));
        assert!(!slug("a--b").contains("--"));
    }
}
