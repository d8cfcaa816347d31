//! `loadgate history`: the runs of a scenario in a row.

use std::{collections::BTreeSet, path::Path};

use super::{
    args::{Format, HistoryArgs},
    exit::{Exit, Failure},
    print::Console,
    run::{baselines, directory_of_runs},
};
use crate::{
    baseline::{Key, Record, found_runs},
    comparison::{
        self, Verdict,
        history::{Asked, History},
    },
    metric::{self, METRICS, Metric},
    report, scenario,
};

/// Performs the verb.
pub(super) fn history(args: &HistoryArgs, console: &Console) -> Result<Exit, Failure> {
    let path = Path::new(&args.scenario);
    let is_file = path.is_file();
    let name = if is_file {
        let named = scenario::load(path, &[]).map_err(Failure::usage)?.scenario.name;
        let unnamed = || {
            Failure::usage(format!(
                "{}: the scenario has no name; `loadgate check` says more",
                path.display()
            ))
        };
        named.ok_or_else(unnamed)?.value
    } else {
        args.scenario.clone()
    };
    let history = gathered(args, &name)?;
    if history.entries.is_empty() {
        let nothing = nothing(args, &name);
        if !is_file {
            return Err(Failure::usage(nothing));
        }
        console.note(&nothing);
        if args.format == Format::Json {
            console.result(&report::history_json(&history));
        }
        return Ok(Exit::Pass);
    }
    if let Some(out) = &args.out {
        let chart = report::write_history(out, &history).map_err(Failure::usage)?;
        console.note(&format!("chart {}", chart.display()));
    }
    console.result(&match args.format {
        Format::Json => report::history_json(&history),
        Format::Text => report::history_text(&history),
    });
    Ok(Exit::Pass)
}

/// The runs of the series, and those that lie about.
fn gathered(args: &HistoryArgs, name: &str) -> Result<History, Failure> {
    let metrics = metrics(&args.metric)?;
    let baselines = baselines(&args.baselines)?;
    let baseline = baselines.find(name, &args.baseline).map_err(Failure::usage)?;
    let mut kept = baselines.series(name, &args.baseline).map_err(Failure::usage)?.records;
    if let Some(baseline) = &baseline
        && !kept.iter().any(|record| record.run == baseline.run.id)
    {
        kept.push(Record {
            accepted: Some(crate::baseline::Acceptance {
                at: baseline.accepted,
                reason: baseline.reason.clone(),
            }),
            ..comparison::record(&baseline.run, None)
        });
    }
    let known: BTreeSet<String> = kept.iter().map(|record| record.run.clone()).collect();
    let mut usual = baseline.as_ref().map(|baseline| comparison::gauged(&baseline.run));
    let mut found = Vec::new();
    let directory = directory_of_runs(&args.runs, name);
    let notes = found_runs(&directory, &known, &mut |run, verdict| {
        if run.scenario == name {
            usual.get_or_insert_with(|| comparison::gauged(run));
            found.push(comparison::record(run, verdict.and_then(Verdict::of_word)));
        }
    });
    let asked = Asked {
        steps: steps(&args.step, kept.iter().chain(&found))?,
        metrics,
        usual: usual.unwrap_or_default(),
    };
    let key = baseline.map(|baseline| Key::of(&baseline.run));
    Ok(comparison::history::history(name, kept, found, key, &asked, notes))
}

fn metrics(names: &[String]) -> Result<Vec<&'static Metric>, Failure> {
    let find = |name: &String| {
        metric::find(name).ok_or_else(|| {
            let all: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            Failure::usage(format!("no metric is called \"{name}\"; there are {}", all.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

/// The labels of steps that some run has; `all` stands for all together.
fn steps<'a>(names: &[String], records: impl Iterator<Item = &'a Record>) -> Result<Vec<Option<String>>, Failure> {
    let labels: BTreeSet<String> = records
        .flat_map(|record| &record.figures)
        .filter_map(|figures| figures.step.clone())
        .collect();
    let find = |name: &String| match name.as_str() {
        label if labels.is_empty() || labels.contains(label) => Ok(Some(name.clone())),
        "all" => Ok(None),
        _ => {
            let all: Vec<&str> = labels.iter().map(String::as_str).collect();
            Err(Failure::usage(format!(
                "no step of a stored run is called \"{name}\"; there are all, {}",
                all.join(", ")
            )))
        }
    };
    names.iter().map(find).collect()
}

fn nothing(args: &HistoryArgs, name: &str) -> String {
    format!(
        "no runs of {name} are stored, neither as baseline \"{}\" in {} nor in {}; \
         `loadgate run` leaves runs there, `loadgate baseline accept RUN` and `baseline add RUN` keep them",
        args.baseline,
        args.baselines.display(),
        directory_of_runs(&args.runs, name).display()
    )
}
