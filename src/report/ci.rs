//! A verdict as the services take it that run a gate: annotations of GitHub, outputs for later steps.
//!
//! Workflow commands and their escapes: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.

use super::words::{self, NAME, SENTENCE, printable};
use crate::comparison::{Comparison, Judgement, Verdict};

/// GitHub shows so many annotations of a kind for each step; the last says how many more there are.
const MOST_ANNOTATIONS: usize = 10;

/// What later steps may want to know, by name; each value is one line.
pub fn outputs(comparison: &Comparison, exit_code: u8) -> Vec<(&'static str, String)> {
    let of = |verdict: Verdict| {
        let judgements = comparison.judgements.iter();
        judgements
            .filter(move |judgement| judgement.verdict == Some(verdict))
            .count()
    };
    let worst = comparison.judgements.iter().find(|judgement| is_bad(judgement));
    let change = worst.filter(|worst| worst.change.is_some()).map(words::change);
    vec![
        ("verdict", words::word(Some(comparison.verdict)).to_owned()),
        ("exit-code", exit_code.to_string()),
        ("criticals", of(Verdict::Critical).to_string()),
        ("warnings", of(Verdict::Warning).to_string()),
        ("worst-metric", worst.map(subject).unwrap_or_default()),
        ("worst-change", change.unwrap_or_default()),
        ("sentence", printable(&comparison.sentence, SENTENCE)),
    ]
}

/// Workflow commands of GitHub: an annotation where each broken limit was written, worst first.
pub fn github_annotations(comparison: &Comparison) -> String {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for judgement in comparison.judgements.iter().filter(|judgement| is_bad(judgement)) {
        let title = format!("{}: {}", words::word(judgement.verdict), subject(judgement));
        let text = printable(&judgement.reason, SENTENCE);
        let place = Some((judgement.source.file.as_str(), judgement.source.line));
        match judgement.verdict {
            Some(Verdict::Critical | Verdict::Invalid) => errors.push(command("error", place, &title, &text)),
            _ => warnings.push(command("warning", place, &title, &text)),
        }
    }
    // What is no limit's finding: an invalid measurement, something left behind.
    if errors.is_empty() && comparison.verdict >= Verdict::Critical {
        let title = words::word(Some(comparison.verdict));
        errors.push(command(
            "error",
            None,
            title,
            &printable(&comparison.sentence, SENTENCE),
        ));
    }
    bounded(errors, "error") + &bounded(warnings, "warning")
}

fn bounded(mut commands: Vec<String>, kind: &str) -> String {
    if commands.len() > MOST_ANNOTATIONS {
        let more = commands.len() - (MOST_ANNOTATIONS - 1);
        commands.truncate(MOST_ANNOTATIONS - 1);
        let text = format!(
            "and {} in the report",
            words::counted(more as u64, "more finding", "more findings")
        );
        commands.push(command(kind, None, "more", &text));
    }
    commands.concat()
}

fn command(kind: &str, place: Option<(&str, usize)>, title: &str, text: &str) -> String {
    let place = place.filter(|(file, line)| !file.is_empty() && *line > 0);
    let place = place.map_or_else(String::new, |(file, line)| {
        format!("file={},line={line},", property(&printable(file, SENTENCE)))
    });
    format!("::{kind} {place}title={}::{}\n", property(title), data(text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn is_bad(judgement: &Judgement) -> bool {
    judgement.verdict.is_some_and(|verdict| verdict > Verdict::Pass)
}

/// `after: pay p99 response time`.
fn subject(judgement: &Judgement) -> String {
    printable(
        &format!("{} {}", words::judged(judgement), judgement.metric.title),
        2 * NAME,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn each_broken_limit_is_annotated_at_its_own_line() {
        let annotations = github_annotations(&example::comparison());
        let lines: Vec<&str> = annotations.lines().collect();
        assert_eq!(lines.len(), 3, "{annotations}");
        assert!(
            lines[0].starts_with("::error file=perf/checkout.toml,line=31,title=critical%3A pay p99 response time::"),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].starts_with("::warning file=perf/checkout.toml,line="),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn beyond_ten_the_last_says_how_many_more_there_are() {
        let mut comparison = example::comparison();
        let worst = comparison.judgements[0].clone();
        comparison.judgements.extend(vec![worst; 20]);
        let annotations = github_annotations(&comparison);
        assert_eq!(annotations.matches("::error ").count(), 10);
        assert!(
            annotations.contains("::error title=more::and 12 more findings in the report"),
            "{annotations}"
        );
    }

    #[test]
    fn nobodys_words_become_commands() {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        example::rename(&mut run, &mut comparison, "a\n::error::b,c:d%0A");
        comparison.judgements[0].reason = "x\r\n::set-output name=verdict::pass".into();
        let annotations = github_annotations(&comparison);
        // One line for each finding, of which all but the text is ours or escaped.
        assert_eq!(annotations.lines().count(), 3, "{annotations}");
        for line in annotations.lines() {
            let rest = line.strip_prefix("::").unwrap();
            assert!(rest.starts_with("error ") || rest.starts_with("warning "), "{line}");
            let (properties, text) = rest.split_once("::").unwrap();
            assert_eq!(properties.matches([',', ':']).count(), 2, "{line}");
            assert!(!text.starts_with("::") && !text.contains(" ::"), "{line}");
        }
        for (name, value) in outputs(&comparison, 3) {
            assert!(!value.contains('\n') && !value.contains('\r'), "{name}: {value}");
        }
    }
}
