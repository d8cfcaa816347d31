//! What was measured, as a page of Markdown. Every figure comes from the measurement.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;

use super::{
    cases::Case,
    machine::Machine,
    measure::{Duel, Extent, Pair, Spread},
};

/// Everything that the page says.
pub(crate) struct Findings {
    pub(crate) machine: Machine,
    pub(crate) loadgate: String,
    pub(crate) began: Timestamp,
    pub(crate) minutes: f64,
    /// As it was called.
    pub(crate) command: String,
    pub(crate) extent: Extent,
    /// Share of all cores' time that a hypervisor took meanwhile.
    pub(crate) stolen: f64,
    pub(crate) cases: Vec<Case>,
}

const GUIDE: &str = "\
- **Cost** is user and system time of the one who makes the load, per operation: the slope between a short and a long \
run, so what starting and reporting cost does not count. A ratio below 1 means that loadgate takes less.
- **Ratios** are taken within a pair, two contenders one after the other, whose order turns from pair to pair; then \
the median of the pairs, and in brackets the lowest and the highest of them. That is a range, no confidence interval: \
where it reaches over 1, this measurement does not tell the two apart.
- **Throughput** is what one core of load drew from one core of server. Where the server is the limit, it is the same \
for all, and the cost tells them apart; where the one who makes the load is the limit, throughput follows the cost.
- Only what each printed of failures is checked: a run with any is refused, not measured.
- They do not all do the same work for an operation. loadgate keeps full histograms of response and service time \
second by second; ab speaks HTTP/1.0 and does not look at what it receives; each tool decides for itself what it keeps \
of an answer.
";

/// The finding in one sentence, from the ratios of CPU alone.
pub(crate) fn finding(cases: &[Case]) -> String {
    let duels = || cases.iter().filter(|case| !case.own).flat_map(|case| &case.duels);
    let names = |wanted: &dyn Fn(Spread) -> bool| -> Vec<&str> {
        duels()
            .filter(|duel| wanted(duel.cpu_ratio()))
            .map(|duel| duel.theirs.as_str())
            .collect()
    };
    let parts: Vec<String> = [
        ("less than", names(&|ratio| ratio.max < 1.0)),
        ("about as much as", names(&|ratio| ratio.min <= 1.0 && ratio.max >= 1.0)),
        ("more than", names(&|ratio| ratio.min > 1.0)),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(how, names)| format!("{how} {}", and(&names)))
    .collect();
    if !parts.is_empty() {
        return format!("CPU per operation: loadgate takes {}", parts.join(", "));
    }
    let own = cases.iter().flat_map(|case| &case.duels).next();
    own.map_or_else(String::new, |duel| {
        let ratio = duel.cpu_ratio().median;
        format!(
            "CPU per request: {} takes {ratio:.2} times that of {}",
            duel.ours, duel.theirs
        )
    })
}

fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The page.
pub(crate) fn page(findings: &Findings) -> String {
    let mut out = String::from("# Peers, side by side\n\n");
    let title = finding(&findings.cases);
    let _ = writeln!(
        out,
        "{title}.\n\n![{title}](peers.png)\n\nWritten by `{}` on {} (UTC), in {:.0} minutes.\n",
        findings.command,
        findings.began.strftime("%Y-%m-%d"),
        findings.minutes.ceil()
    );
    machine(&mut out, findings);
    let _ = writeln!(out, "## How to read it\n\n{GUIDE}");
    for case in &findings.cases {
        section(&mut out, case);
    }
    pairs(&mut out, findings);
    out
}

fn machine(out: &mut String, findings: &Findings) {
    let machine = &findings.machine;
    let siblings = if machine.siblings {
        " (two threads of one core)"
    } else {
        ""
    };
    let versions: Vec<&str> = findings
        .cases
        .iter()
        .flat_map(|case| &case.versions)
        .map(String::as_str)
        .collect();
    let mut seen = Vec::new();
    for version in versions {
        if !seen.contains(&version) {
            seen.push(version);
        }
    }
    let rows = [
        ("processor", machine.processor.clone()),
        (
            "cores",
            format!(
                "{}; who makes load on core 0, the server on core 1{siblings}",
                machine.cores
            ),
        ),
        ("kernel", machine.kernel.clone()),
        ("load average at the start", machine.load.clone()),
        (
            "taken by a hypervisor",
            format!("{:.2} % of all cores' time", findings.stolen * 100.0),
        ),
        ("measured", findings.loadgate.clone()),
        ("beside it", seen.join("; ")),
        (
            "extent",
            format!(
                "{} pairs each, of runs of {} s and {} s",
                findings.extent.pairs, findings.extent.long, findings.extent.short
            ),
        ),
    ];
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(out, "| {name} | {} |", cell(&value));
    }
    out.push('\n');
}

fn section(out: &mut String, case: &Case) {
    let _ = writeln!(out, "## {}\n\n{}\n", case.title, case.about);
    if !case.duels.is_empty() {
        table(out, case);
        doubts(out, case);
        out.push_str("```text\n");
        for line in lines(case) {
            let _ = writeln!(out, "{line}");
        }
        out.push_str("```\n\n");
    }
    if !case.left_out.is_empty() {
        let _ = writeln!(out, "Left out: {}.\n", cell(&case.left_out.join("; ")));
    }
}

fn table(out: &mut String, case: &Case) {
    let [one, many] = case.operation;
    let _ = writeln!(
        out,
        "| A / B | A: CPU per {one}, µs | B: CPU per {one}, µs | **A / B** | A: {many} per s | B: {many} per s | **A / B** |"
    );
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for duel in &case.duels {
        let rate_ratio = of_asked(duel).unwrap_or_else(|| bold_ratio(duel.rate_ratio()));
        let cpu = |of: fn(&Pair) -> f64| figures(duel.spread(of), 2);
        let rate = |of: fn(&Pair) -> f64| figures(duel.spread(of), 0);
        let _ = writeln!(
            out,
            "| {} / {} | {} | {} | {} | {} | {} | {rate_ratio} |",
            duel.ours,
            duel.theirs,
            cpu(|pair| pair.ours.cpu_us),
            cpu(|pair| pair.theirs.cpu_us),
            bold_ratio(duel.cpu_ratio()),
            rate(|pair| pair.ours.per_s),
            rate(|pair| pair.theirs.per_s),
        );
    }
    out.push('\n');
}

/// What loadgate itself said against its runs.
fn doubts(out: &mut String, case: &Case) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for doubt in case.duels.iter().flat_map(|duel| &duel.doubts) {
        *counts.entry(doubt).or_default() += 1;
    }
    for (check, count) in counts {
        let why = match check {
            "generator-cpu" => ": it was given one core and drove it to the full, as a load generator should not",
            "send-lag" => ": flows started late, so that run's latencies would not be believed",
            _ => "",
        };
        let _ = writeln!(
            out,
            "In {count} of its runs here loadgate's own check `{check}` did not hold{why}.\n"
        );
    }
}

/// Every command line once, without directories.
fn lines(case: &Case) -> Vec<String> {
    let mut all = Vec::new();
    for line in case.duels.iter().flat_map(|duel| &duel.lines) {
        let mut words = line.clone();
        for word in words.iter_mut().filter(|word| word.starts_with('/')) {
            word.drain(..=word.rfind('/').unwrap_or(0));
        }
        let line = format!("taskset -c 0 {}", shell_words::join(&words));
        if !all.contains(&line) {
            all.push(line);
        }
    }
    all
}

fn pairs(out: &mut String, findings: &Findings) {
    out.push_str("## Every pair\n\nIn odd pairs A went first, in even ones B.\n\n");
    out.push_str("| A / B | pair | A: CPU, µs | B: CPU, µs | A / B | A: per s | B: per s |\n");
    out.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for duel in findings.cases.iter().flat_map(|case| &case.duels) {
        for (number, pair) in duel.pairs.iter().enumerate() {
            let Pair { ours, theirs } = pair;
            let _ = writeln!(
                out,
                "| {} | {} | {:.2} | {:.2} | {:.2} | {} | {} |",
                versus(duel),
                number + 1,
                ours.cpu_us,
                theirs.cpu_us,
                ours.cpu_us / theirs.cpu_us,
                number_text(ours.per_s, 0),
                number_text(theirs.per_s, 0)
            );
        }
    }
}

/// How much of the throughput that was asked for came about.
pub(crate) fn of_asked(duel: &Duel) -> Option<String> {
    let share = duel.spread(|pair| pair.ours.per_s).median / duel.asked? as f64;
    Some(format!("{:.0} % of asked", share * 100.0))
}

fn versus(duel: &Duel) -> String {
    format!("{} / {}", duel.ours, duel.theirs)
}

fn bold_ratio(spread: Spread) -> String {
    let Spread { median, min, max } = spread;
    format!("**{median:.2}** [{min:.2}–{max:.2}]")
}

fn figures(spread: Spread, digits: usize) -> String {
    let text = |value: f64| number_text(value, digits);
    format!("{} [{}–{}]", text(spread.median), text(spread.min), text(spread.max))
}

/// With commas between thousands.
fn number_text(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

/// Text that cannot end a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::Cost;

    /// A duel whose ratios are these.
    pub(crate) fn duel(theirs: &str, ratios: &[f64]) -> Duel {
        let cost = |cpu_us: f64| Cost {
            cpu_us,
            per_s: 100_000.0 / cpu_us,
        };
        Duel {
            ours: "loadgate".into(),
            theirs: theirs.into(),
            lines: [
                vec!["/opt/loadgate".into(), "http".into()],
                vec!["/usr/bin/wrk".into(), "SELECT 1".into()],
            ],
            pairs: ratios
                .iter()
                .map(|ratio| Pair {
                    ours: cost(6.0 * ratio),
                    theirs: cost(6.0),
                })
                .collect(),
            doubts: vec!["generator-cpu".into(); 4],
            asked: None,
        }
    }

    /// A case of such duels.
    pub(crate) fn case(title: &str, own: bool, duels: Vec<Duel>) -> Case {
        Case {
            title: title.into(),
            operation: ["request", "requests"],
            about: "What was done.".into(),
            own,
            duels,
            left_out: vec!["hey: not installed (Debian: hey)".into()],
            versions: vec!["wrk 4.1.0".into(), "wrk 4.1.0".into()],
        }
    }

    #[test]
    fn the_finding_tells_apart_only_what_the_ranges_tell_apart() {
        let cases = [
            case(
                "http",
                false,
                vec![
                    duel("wrk", &[1.1, 1.3]),
                    duel("oha", &[0.9, 1.01]),
                    duel("hey", &[0.3, 0.4]),
                ],
            ),
            case("sql", false, vec![duel("pgbench", &[1.2])]),
            case("own", true, vec![duel("one-liner", &[0.5])]),
        ];
        assert_eq!(
            finding(&cases),
            "CPU per operation: loadgate takes less than hey, about as much as oha, more than wrk and pgbench"
        );
        assert_eq!(
            finding(&cases[2..]),
            "CPU per request: loadgate takes 0.50 times that of one-liner"
        );
    }

    #[test]
    fn the_page_holds_the_figures_the_machine_and_who_was_left_out() {
        let findings = Findings {
            machine: Machine::look(),
            loadgate: "loadgate 0.1.0".into(),
            began: Timestamp::UNIX_EPOCH,
            minutes: 11.2,
            command: "ci/peers".into(),
            extent: Extent {
                pairs: 3,
                long: 15,
                short: 5,
            },
            stolen: 0.0123,
            cases: vec![case("HTTP", false, vec![duel("wrk", &[1.5, 1.25, 2.0])])],
        };
        let page = page(&findings);
        for wanted in [
            "on 1970-01-01 (UTC), in 12 minutes",
            "1.23 % of all cores' time",
            "| beside it | wrk 4.1.0 |",
            "| loadgate / wrk | 9.00 [7.50–12.00] | 6.00 [6.00–6.00] | **1.50** [1.25–2.00] | 11,111 [8,333–13,333] |",
            "taskset -c 0 loadgate http\ntaskset -c 0 wrk 'SELECT 1'\n",
            "In 4 of its runs here loadgate's own check `generator-cpu`",
            "Left out: hey: not installed (Debian: hey).",
            "| loadgate / wrk | 3 | 12.00 | 6.00 | 2.00 |",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
    }

    #[test]
    fn a_rate_that_was_asked_for_is_compared_with_what_came() {
        let open = Duel {
            asked: Some(20_000),
            ..duel("closed model", &[1.0])
        };
        assert_eq!(of_asked(&open).as_deref(), Some("83 % of asked"));
        assert_eq!(of_asked(&duel("wrk", &[1.0])), None);
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(number_text(1_234_567.0, 0), "1,234,567");
        assert_eq!(number_text(999.5, 2), "999.50");
    }
}
