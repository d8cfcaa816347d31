//! `loadgate baseline accept|add|list|show`.

use std::path::Path;

use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::{
    args::{BaselineArgs, BaselineVerb},
    exit::{Exit, Failure},
    print::Console,
};
use crate::{
    baseline::{Baseline, Baselines, Key, Set},
    comparison::{self, Comparison, Options, Reference, Verdict},
    metric,
    run::{self, Run},
    units::format_change,
};

/// Performs the verb.
pub(super) fn baseline(args: &BaselineArgs, console: &Console) -> Result<Exit, Failure> {
    match &args.verb {
        BaselineVerb::Accept {
            run,
            name,
            reason,
            baselines,
        } => accept(
            run,
            &super::run::baselines(baselines)?,
            name,
            reason.as_deref(),
            console,
        )?,
        BaselineVerb::Add {
            run,
            name,
            branch,
            baselines,
        } => add(run, &super::run::baselines(baselines)?, name, branch, console)?,
        BaselineVerb::List { baselines } => list(&super::run::baselines(baselines)?, console)?,
        BaselineVerb::Show {
            scenario,
            name,
            baselines,
        } => {
            let baselines = super::run::baselines(baselines)?;
            let found = baselines.find(scenario, name).map_err(Failure::usage)?;
            let baseline = found.ok_or_else(|| {
                Failure::usage(format!(
                    "{scenario} has no baseline \"{name}\" in {}",
                    baselines.location().display()
                ))
            })?;
            console.result(&shown(&baseline));
        }
    }
    Ok(Exit::Pass)
}

fn accept(
    run: &Path,
    baselines: &Baselines,
    name: &str,
    reason: Option<&str>,
    console: &Console,
) -> Result<(), Failure> {
    let run = run::load(run).map_err(Failure::usage)?;
    // A damaged baseline is no reason against another one: it is the mend.
    let before = baselines.find(&run.scenario, name).unwrap_or_default();
    let verdict = comparison::compare(&run, before.as_ref(), &Options::default()).verdict;
    let record = comparison::record(&run, Some(verdict));
    let path = baselines
        .accept(&run, record, name, reason, Timestamp::now())
        .map_err(Failure::usage)?;
    console.result(&format!(
        "accepted run {} of {} as baseline \"{name}\": {}",
        run.id,
        run.scenario,
        path.display()
    ));
    Ok(())
}

/// Limits never loosen by themselves: only what passes, on the main branch, becomes part of the set.
fn add(run: &Path, baselines: &Baselines, name: &str, branches: &[String], console: &Console) -> Result<(), Failure> {
    let run = run::load(run).map_err(Failure::usage)?;
    let refused = |why: String| Failure::usage(format!("run {} was not added: {why}", run.id));
    match &run.environment.branch {
        Some(branch) if branches.contains(branch) => {}
        Some(branch) => {
            return Err(refused(format!(
                "it is of the branch {branch}, not of {}; --branch names others",
                branches.join(" or ")
            )));
        }
        None => {
            return Err(refused(format!(
                "its branch is not known; measure in a repository with {} checked out (`git checkout -B BRANCH` on a detached head)",
                branches.join(" or ")
            )));
        }
    }
    let before = baselines.find(&run.scenario, name).map_err(Failure::usage)?;
    let comparison = compared(&run, before.as_ref());
    if before.is_some() && comparison.verdict != Verdict::Pass {
        return Err(refused(format!(
            "{}; if that is how it shall be from now on, accept it with a reason",
            comparison.sentence
        )));
    }
    let record = comparison::record(&run, Some(comparison.verdict));
    let runs = baselines.add(&run, &record, name).map_err(Failure::usage)?;
    console.result(&format!(
        "added run {} of {} to the set of baseline \"{name}\": {runs} runs",
        run.id, run.scenario
    ));
    Ok(())
}

/// A run beside the baseline. The first of a class of machine is not judged by times from another
/// one: its own are what later runs there are compared with.
fn compared(run: &Run, baseline: Option<&Baseline>) -> Comparison {
    let options = Options::default();
    let comparison = comparison::compare(run, baseline, &options);
    let elsewhere = |reference: &Reference| reference.comparable && reference.sessions == 0;
    if !comparison.baseline.as_ref().is_some_and(elsewhere) {
        return comparison;
    }
    let mut judged = run.clone();
    judged
        .thresholds
        .retain(|threshold| !comparison::depends_on_machine(threshold));
    comparison::compare(&judged, baseline, &options)
}

fn list(baselines: &Baselines, console: &Console) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "scenario", "name", "accepted", "run", "commit", "runs", "sessions", "reason",
    ]);
    for summary in baselines.list().map_err(Failure::usage)? {
        match summary.content {
            Ok(content) => {
                table.add_row([
                    content.scenario,
                    content.name,
                    content.accepted.strftime("%Y-%m-%d %H:%M").to_string(),
                    content.run_id,
                    content
                        .commit
                        .map_or_else(String::new, |commit| commit.chars().take(10).collect()),
                    content.runs.to_string(),
                    content.sessions.to_string(),
                    content.reason.unwrap_or_default(),
                ]);
            }
            Err(error) => console.note(&error.to_string()),
        }
    }
    if table.is_empty() {
        console.note(&format!(
            "no baselines in {}; accept one with: loadgate baseline accept RUN",
            baselines.location().display()
        ));
    } else {
        console.result(&table.to_string());
    }
    Ok(())
}

fn shown(baseline: &Baseline) -> String {
    let run = &baseline.run;
    let mut text = format!(
        "{} baseline \"{}\"\n  run {} started {}, accepted {}\n",
        run.scenario,
        baseline.name,
        run.id,
        run.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        baseline.accepted.strftime("%Y-%m-%d %H:%M UTC"),
    );
    if let Some(reason) = &baseline.reason {
        text.push_str(&format!("  because: {reason}\n"));
    }
    let set = baseline.set("", &Key::of(run));
    let (runs, sessions) = (set.ids().len(), set.sessions());
    text.push_str(&format!(
        "  {runs} {} in {sessions} {} on this class of machine ({}, {} cores)\n",
        if runs == 1 { "run" } else { "runs" },
        if sessions == 1 { "session" } else { "sessions" },
        run.environment.machine_class().cpu,
        run.environment.cores,
    ));
    let others = baseline.since.len().max(1) - runs.min(baseline.since.len().max(1));
    if others > 0 {
        text.push_str(&format!("  {others} more on other machines, or older\n"));
    }
    text.push_str(&figures(run));
    if runs > 1 {
        text.push_str("\n\n");
        text.push_str(&spreads(run, &set));
    }
    text
}

/// The figures of the accepted run, a row per step.
fn figures(run: &Run) -> String {
    let shown: Vec<_> = ["p50", "p95", "p99", "error_rate", "throughput"]
        .iter()
        .filter_map(|name| metric::find(name))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["step"].into_iter().chain(shown.iter().map(|metric| metric.name)));
    for step in &run.steps {
        let figures = shown.iter().map(|metric| {
            run.value(Some(&step.label()), metric)
                .map_or_else(|| "–".into(), |value| metric.unit.format(value))
        });
        table.add_row([step.label()].into_iter().chain(figures));
    }
    table.to_string()
}

/// How much the runs of the set differ, a row per limited metric, or a few of every step.
fn spreads(run: &Run, set: &Set<'_>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "step", "metric", "runs", "centre", "spread", "lowest", "highest", "outliers",
    ]);
    for (step, metric) in comparison::gauged(run) {
        let Some(spread) = set.spread(step.as_deref(), metric) else {
            continue;
        };
        let deviation = spread.deviation();
        table.add_row([
            step.unwrap_or_else(|| "all steps".into()),
            metric.name.to_owned(),
            spread.runs.to_string(),
            metric.unit.format(spread.centre),
            deviation.map_or_else(|| "–".into(), |sd| format_change(sd).trim_start_matches('+').to_owned()),
            metric.unit.format(spread.range[0]),
            metric.unit.format(spread.range[1]),
            spread.outliers.join(", "),
        ]);
    }
    table.to_string()
}
