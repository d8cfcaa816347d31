//! Words that every rendering shares: verdict marks, phrases, and text made safe to show.
//!
//! Names come from scenarios and messages from targets, so nothing here trusts
//! them: control characters (which would drive a terminal) and direction marks
//! (which would reorder a line) never pass [`printable`].

use std::collections::BTreeSet;

use crate::{
    comparison::{Judgement, Label, Reference, Verdict},
    metric::Better,
    run::{self, Build, Load, Member, Model, Run},
    threshold::Limit,
    units,
};

/// The longest name that is shown, in characters.
pub(super) const NAME: usize = 48;

/// The longest sentence that is shown, in characters.
pub(super) const SENTENCE: usize = 600;

/// What stands where a figure is unknown.
pub(super) const UNKNOWN: &str = "–";

/// The text on one line, without characters that steer the display, cut at `longest` characters.
pub(super) fn printable(text: &str, longest: usize) -> String {
    let mut out = String::with_capacity(text.len().min(4 * longest));
    let mut count = 0;
    for c in text.chars().filter(|c| !steers(*c)) {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if count == longest {
            out.truncate(out.trim_end().len());
            out.pop();
            out.push('…');
            break;
        }
        out.push(c);
        count += 1;
    }
    out.truncate(out.trim_end().len());
    without_commands(&out)
}

/// Build servers take lines that begin with `::` or hold `##[` for commands to them.
fn without_commands(line: &str) -> String {
    let line = line.replace("##[", "# #[").replace(" ::", " : :");
    match line.strip_prefix("::") {
        Some(rest) => format!(": :{rest}"),
        None => line,
    }
}

/// The text, printable and bounded, where names that differ must stay different: with a hash where something is lost.
pub(super) fn distinct(text: &str) -> String {
    let shown = printable(text, 2 * NAME);
    if shown == text {
        return shown;
    }
    let hash = run::hash(text.as_bytes());
    format!("{shown} {}", &hash[..8]).trim_start().to_owned()
}

/// Makes names that repeat unique: the second becomes `…#2`.
pub(super) fn number_repeated<'n>(names: impl IntoIterator<Item = &'n mut String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let mut unique = name.clone();
        let mut number = 1;
        while !seen.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}#{number}");
        }
        *name = unique;
    }
}

/// Text of several lines, without characters that steer the display other than line ends and tabs.
pub(super) fn printable_lines(text: &str, longest: usize) -> String {
    text.chars()
        .filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || steers(*c)))
        .take(longest)
        .collect()
}

/// Direction marks, joiners and other characters without a picture of their own.
fn steers(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
        || matches!(c, '\u{FFF9}'..='\u{FFFB}' | '\u{FFFE}' | '\u{FFFF}' | '\u{E0000}'..='\u{E007F}')
}

/// The shape that stands beside a verdict's word, so that colour never stands alone.
pub(super) fn shape(verdict: Option<Verdict>) -> char {
    match verdict {
        Some(Verdict::Pass) => '●',
        Some(Verdict::Warning) => '▲',
        Some(Verdict::Critical | Verdict::Invalid) => '■',
        Some(Verdict::Inconclusive) => '◆',
        None => '○',
    }
}

/// The word for a verdict, as in `report.json`.
pub(super) fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Warning) => "warning",
        Some(Verdict::Critical) => "critical",
        Some(Verdict::Inconclusive) => "inconclusive",
        Some(Verdict::Invalid) => "invalid",
        None => "not judged",
    }
}

/// Every answer there is, for legends and colouring.
pub(super) const VERDICTS: [Option<Verdict>; 6] = [
    Some(Verdict::Pass),
    Some(Verdict::Warning),
    Some(Verdict::Inconclusive),
    Some(Verdict::Critical),
    Some(Verdict::Invalid),
    None,
];

/// Shape and word: `▲ warning`.
pub(super) fn mark(verdict: Option<Verdict>) -> String {
    format!("{} {}", shape(verdict), word(verdict))
}

/// The load in one phrase: `open 300/s for 2 min`, `closed up to 20 users for 1 min`.
pub(super) fn load(load: &Load) -> String {
    let up_to = if load.staged { "up to " } else { "" };
    let who = match (load.model, load.rate, load.users) {
        (Model::Open, Some(rate), _) => format!("open {up_to}{}/s", units::significant(rate)),
        (Model::Open, None, _) => "open".to_owned(),
        (Model::Closed, _, Some(users)) => {
            format!("closed {up_to}{}", counted(users as u64, "user", "users"))
        }
        (Model::Closed, _, None) => "closed".to_owned(),
    };
    match (load.iterations, load.duration_s) {
        (Some(passes), _) => format!("{who}, {}", counted(passes, "pass", "passes")),
        (None, Some(seconds)) => format!("{who} for {}", self::seconds(seconds)),
        (None, None) => who,
    }
}

/// A length of time given in seconds, with its unit.
pub(super) fn seconds(seconds: f64) -> String {
    units::format_ns(seconds * 1e9)
}

/// How many runs a baseline consists of, where there are several: `12 runs in 9 sessions`.
pub(super) fn set(reference: &Reference) -> Option<String> {
    let (runs, sessions) = (reference.runs.len() as u64, reference.sessions as u64);
    (runs > 1).then(|| {
        let sessions = counted(sessions, "session", "sessions");
        format!("{} in {sessions}", counted(runs, "run", "runs"))
    })
}

/// A count with thousands grouped.
pub(super) fn count(value: u64) -> String {
    units::group_thousands(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A count with its noun: `1 user`, `1,200 users`.
pub(super) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A part of a whole as a percentage that never rounds up to 100: `99.99 %`.
pub(super) fn part(part: u64, whole: u64) -> String {
    if whole == 0 {
        return UNKNOWN.to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    if part == whole {
        "100 %".to_owned()
    } else {
        format!("{:.2} %", (percent * 100.0).floor() / 100.0)
    }
}

/// A change with half the width of its interval: `+41 % (+33 … +50 %)`.
pub(super) fn change(judgement: &Judgement) -> String {
    if judgement.in_counts() {
        let change = judgement.change.map(|change| {
            let sign = if change < 0.0 { "" } else { "+" };
            format!("{sign}{}", units::format_count(change))
        });
        return change.unwrap_or_else(|| UNKNOWN.to_owned());
    }
    // As the figure itself went: more throughput is above zero, though it is better.
    let (sign, interval) = match judgement.better {
        Better::Lower => (1.0, judgement.interval),
        Better::Higher => (-1.0, judgement.interval.map(|[low, high]| [-high, -low])),
    };
    match (judgement.change.map(|change| sign * change), interval) {
        (None, _) => UNKNOWN.to_owned(),
        (Some(change), None) => units::format_change(change),
        (Some(change), Some(interval)) => change_within(change, interval),
    }
}

/// A change as a share, with its interval: `+41 % (+33 … +50)`.
pub(super) fn change_within(change: f64, [low, high]: [f64; 2]) -> String {
    let percent = |share: f64| {
        let text = units::format_change(share);
        text.trim_end_matches(" %").to_owned()
    };
    format!(
        "{} ({} … {})",
        units::format_change(change),
        percent(low),
        percent(high)
    )
}

/// What a judgement is about: `pay`, `all steps`, `after: pay`.
pub(super) fn judged(judgement: &Judgement) -> String {
    let step = judgement.step.as_deref().unwrap_or("all steps");
    label(judgement.variant.as_deref(), step)
}

/// What a verdict on a variant says besides: `no change`, `not worse` where it seems better and that is not proven to the limits' standard, `improved`.
pub(super) fn label_of(judgement: &Judgement) -> Option<&'static str> {
    let better = judgement.interval.is_some_and(|[_, high]| high < 0.0);
    match judgement.label? {
        Label::NoChange if better => Some("not worse"),
        label => Some(label.words()),
    }
}

/// The name of something that each variant may have: `db`, `after: db`.
pub(super) fn label(variant: Option<&str>, name: &str) -> String {
    match variant {
        Some(variant) => printable(&format!("{variant}: {name}"), NAME),
        None => printable(name, NAME),
    }
}

/// What a process was built from: ` · main 4f2c1e0aa "Look users up by name"`.
pub(super) fn build(build: &Build) -> String {
    let commit: String = build.commit.chars().take(9).collect();
    let text = format!("{} {commit} \"{}\"", build.revision, build.subject);
    format!(" · {}", printable(&text, 2 * NAME))
}

/// How operations were shared in a group: ` · first 510, second 490`.
pub(super) fn shares(members: &[Member]) -> String {
    let share = |member: &Member| format!("{} {}", printable(&member.target, NAME), count(member.operations));
    match members {
        [] => String::new(),
        several => format!(" · {}", several.iter().map(share).collect::<Vec<_>>().join(", ")),
    }
}

/// What a run's figures stand beside: the baseline, or the first of its variants.
pub(super) fn reference(run: &Run) -> String {
    match run.variants.first() {
        Some(variant) => printable(&variant.name, NAME),
        None => "baseline".to_owned(),
    }
}

/// Both limits in one phrase: `+5% / +10%`; warning first. A limit on how much less there may be is below zero.
pub(super) fn limits(judgement: &Judgement) -> String {
    let text = |limit: Limit| match (judgement.better, limit.is_relative()) {
        (Better::Higher, true) => limit.to_string().replacen('+', "-", 1),
        _ => limit.to_string(),
    };
    match (judgement.warning.map(text), judgement.critical.map(text)) {
        (None, None) => UNKNOWN.to_owned(),
        (Some(limit), None) | (None, Some(limit)) => limit,
        (Some(warning), Some(critical)) => format!("{warning} / {critical}"),
    }
}

/// A version-control state in one phrase: `main 4f2c1e0`.
pub(super) fn revision(branch: Option<&str>, commit: Option<&str>) -> Option<String> {
    let commit = commit.map(|commit| commit.chars().take(9).collect::<String>());
    match (branch, commit) {
        (Some(branch), Some(commit)) => Some(printable(&format!("{branch} {commit}"), NAME)),
        (Some(only), None) => Some(printable(only, NAME)),
        (None, Some(only)) => Some(printable(&only, NAME)),
        (None, None) => None,
    }
}

/// The command that does the same run again.
pub(super) fn reproduce(run: &Run) -> String {
    let path = printable(&run.source.path, SENTENCE);
    if path.starts_with("loadgate ") {
        path
    } else {
        format!("loadgate run {path} --seed {}", run.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_or_a_line_passes() {
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}d\u{200f}", 48), "a [31mb cd");
        assert_eq!(printable(&"x".repeat(10_000), 5), "xxxx…");
        assert_eq!(printable("abcde", 5), "abcde");
        assert_eq!(printable_lines("a\n\u{1b}b\u{202e}", 99), "a\nb");
    }

    #[test]
    fn nothing_is_a_command_to_a_build_server() {
        assert_eq!(
            printable("::error::a::b ::set-x ##[group]", 48),
            ": :error::a::b : :set-x # #[group]"
        );
        assert_eq!(printable("[::1]:80 x::int", 48), "[::1]:80 x::int");
    }

    #[test]
    fn names_that_differ_stay_different() {
        let long = ["x".repeat(10_000), "x".repeat(9_999)];
        assert_eq!(distinct("order by id"), "order by id");
        assert_ne!(distinct(&long[0]), distinct(&long[1]));
        assert_ne!(distinct("a\nb"), distinct("a b"));
        let mut names = ["a", "a", "a#2", "a"].map(String::from);
        number_repeated(&mut names);
        assert_eq!(names, ["a", "a#2", "a#2#2", "a#3"]);
    }

    #[test]
    fn a_part_is_the_whole_only_when_it_is() {
        assert_eq!(part(35_999, 36_000), "99.99 %");
        assert_eq!(part(3_600_000 - 1, 3_600_000), "99.99 %");
        assert_eq!(part(5, 5), "100 %");
        assert_eq!(part(0, 0), "–");
    }
}
