//! `loadgate baseline accept|list|show`.

use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::{
    args::{BaselineArgs, BaselineVerb},
    exit::{Exit, Failure},
    print::Console,
};
use crate::{
    baseline::{Baseline, Baselines},
    metric, run,
};

/// Performs the verb.
pub(super) fn baseline(args: &BaselineArgs, console: &Console) -> Result<Exit, Failure> {
    match &args.verb {
        BaselineVerb::Accept {
            run,
            name,
            reason,
            baselines,
        } => {
            let run = run::load(run).map_err(Failure::usage)?;
            let baselines = Baselines {
                directory: baselines.clone(),
            };
            let path = baselines
                .accept(&run, name, reason.as_deref(), Timestamp::now())
                .map_err(Failure::usage)?;
            console.result(&format!(
                "accepted run {} of {} as baseline \"{name}\": {}",
                run.id,
                run.scenario,
                path.display()
            ));
        }
        BaselineVerb::List { baselines } => list(
            &Baselines {
                directory: baselines.clone(),
            },
            console,
        )?,
        BaselineVerb::Show {
            scenario,
            name,
            baselines,
        } => {
            let baselines = Baselines {
                directory: baselines.clone(),
            };
            let found = baselines.find(scenario, name).map_err(Failure::usage)?;
            let baseline = found.ok_or_else(|| {
                Failure::usage(format!(
                    "{scenario} has no baseline \"{name}\" in {}",
                    baselines.directory.display()
                ))
            })?;
            console.result(&shown(&baseline));
        }
    }
    Ok(Exit::Pass)
}

fn list(baselines: &Baselines, console: &Console) -> Result<(), Failure> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["scenario", "name", "accepted", "run", "commit", "reason"]);
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
                    content.reason.unwrap_or_default(),
                ]);
            }
            Err(error) => console.note(&error.to_string()),
        }
    }
    if table.is_empty() {
        console.note(&format!(
            "no baselines in {}; accept one with: loadgate baseline accept RUN",
            baselines.directory.display()
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
            run.value(Some(&step.name), metric)
                .map_or_else(|| "–".into(), |value| metric.unit.format(value))
        });
        table.add_row([step.name.clone()].into_iter().chain(figures));
    }
    text + &table.to_string()
}
