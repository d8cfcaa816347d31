//! What a calibration says, for a terminal.

use super::{
    text::{lines, table},
    words::{NAME, printable},
};
use crate::{
    baseline::Calibration,
    comparison::calibration::{Rate, Summary},
    units::{format_duration, significant},
};

/// Lays it out in `width` columns.
pub(super) fn render(calibration: &Calibration, summary: &Summary, runs_per_day: u32, width: u16) -> String {
    let mut blocks = vec![head(calibration), verdicts(calibration, summary, width)];
    if !summary.metrics.is_empty() {
        blocks.push(metrics(summary, width));
    }
    blocks.push(facts(calibration, summary, runs_per_day));
    blocks.join("\n\n") + "\n"
}

fn head(calibration: &Calibration) -> String {
    let Calibration {
        scenario,
        machine,
        injected,
        trials,
        ..
    } = calibration;
    let what = match injected {
        Some(fault) => format!("against itself with {fault}"),
        None => "against itself".to_owned(),
    };
    format!(
        " {} {what}, {} trials\n on {}, {} cores, {} GiB",
        printable(scenario, NAME),
        trials.len(),
        printable(&machine.cpu, NAME),
        machine.cores,
        machine.memory_gib,
    )
}

fn verdicts(calibration: &Calibration, summary: &Summary, width: u16) -> String {
    let mut rows = table(width, &["", "trials", "share", "at least", "at most"], 1..5);
    let mut row = |name: &str, rate: Rate| {
        let share = rate.count as f64 / rate.of.max(1) as f64;
        rows.add_row([
            name.to_owned(),
            format!("{} of {}", rate.count, rate.of),
            per_cent(share),
            per_cent(rate.at_least),
            per_cent(rate.at_most),
        ]);
    };
    for word in ["pass", "warning", "critical", "inconclusive", "invalid"] {
        if let Some(rate) = summary.verdicts.get(word) {
            row(word, *rate);
        }
    }
    if calibration.injected.is_none() {
        row("critical at first, not confirmed", summary.unconfirmed);
    }
    for (rule, rate) in summary.other_rules {
        row(&format!("alarm by: {rule}"), rate);
    }
    lines(&rows)
}

fn metrics(summary: &Summary, width: u16) -> String {
    let head = ["metric", "spread of trials", "seen with 30 s", "2 min", "10 min"];
    let mut rows = table(width, &head, 1..5);
    for metric in &summary.metrics {
        let [short, middle, long] = match metric.smallest_effects {
            Some(effects) => effects.map(|effect| format!("+{}", per_cent(effect.exp_m1()))),
            None => std::array::from_fn(|_| "–".to_owned()),
        };
        rows.add_row([metric.id.clone(), per_cent(metric.spread), short, middle, long]);
    }
    lines(&rows)
}

fn facts(calibration: &Calibration, summary: &Summary, runs_per_day: u32) -> String {
    let mut facts = vec![format!(
        " load     {} until the verdict stood (median); a change counts as seen when it is found nine times in ten",
        format_duration(std::time::Duration::from_secs_f64(summary.load_s.max(0.0)))
    )];
    if let Some(spread) = summary.instance_spread {
        facts.push(format!(
            " instances of the same program differ by {} in their mean",
            per_cent(spread)
        ));
    }
    if calibration.injected.is_none() {
        let [expected, at_most] = summary.alarms_per_month;
        facts.push(format!(
            " alarms   {} false ones to expect in a month at {runs_per_day} runs a day, no more than {}",
            significant(expected),
            significant(at_most)
        ));
        facts.push(match summary.inflation {
            Some(inflation) => format!(
                " errors   are multiplied by {} in verdicts on this class of machine from now on",
                significant(inflation)
            ),
            None => " errors   are taken as they are: it takes 100 valid trials to know whether they are too small"
                .to_owned(),
        });
    }
    facts.join("\n")
}

fn per_cent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}
