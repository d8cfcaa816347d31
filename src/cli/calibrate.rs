//! `loadgate calibrate`: a scenario against itself, again and again, to know what the machine can tell.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    args::{CalibrateArgs, Format, Injected},
    exit::{Exit, Failure},
    interrupt,
    print::Console,
    run::{baselines, compile, conduct, setting},
};
use crate::{
    baseline::{Baselines, Calibration},
    comparison::{self, Options, calibration},
    report,
    run::MachineClass,
    scenario,
    trial::Setting,
    workload::Workload,
};

/// Names of the two sides.
const SIDES: [&str; 2] = ["reference", "copy"];

/// Performs the verb.
pub(super) fn calibrate(args: &CalibrateArgs, console: &Console) -> Result<Exit, Failure> {
    let troubles: Vec<Option<&Injected>> = match args.inject.as_slice() {
        [] => vec![None],
        injected => injected.iter().map(Some).collect(),
    };
    let mut calibrations = Vec::new();
    for trouble in troubles {
        let (calibration, exit) = trials(args, trouble, console)?;
        calibrations.push(calibration);
        if let Some(exit) = exit {
            show(args, &calibrations, console)?;
            return Ok(exit);
        }
    }
    show(args, &calibrations, console)?;
    Ok(Exit::Pass)
}

/// As many trials as are missing, each kept as soon as it has ended; an exit code where it was interrupted.
fn trials(
    args: &CalibrateArgs,
    trouble: Option<&Injected>,
    console: &Console,
) -> Result<(Calibration, Option<Exit>), Failure> {
    let store = baselines(&args.baselines)?;
    let setting = Setting {
        injection: trouble.and_then(Injected::by_generator),
        ..setting(BTreeMap::new())?
    };
    let first = workload(args, trouble, None, console)?;
    let machine = setting.environment.machine_class();
    let mut calibration = known(args, &store, &first, machine, trouble.map(Injected::to_string))?;
    while calibration.trials.len() < args.trials {
        let number = calibration.trials.len();
        let injected = trouble.map_or_else(String::new, |trouble| format!(" with {trouble}"));
        console.note(&format!("trial {} of {}{injected}", number + 1, args.trials));
        let workload = workload(args, trouble, Some(first.seed + 1 + number as u64), console)?;
        let run = conduct(workload, &setting, None, console)?;
        if let Some(exit) = interrupt::exit() {
            return Ok((calibration, Some(exit)));
        }
        let comparison = comparison::compare(&run, None, &Options::default());
        calibration.trials.push(calibration::trial(&run, &comparison));
        store.keep_calibration(&calibration).map_err(Failure::usage)?;
    }
    Ok((calibration, None))
}

/// The trials that there are of this very work on this class of machine.
fn known(
    args: &CalibrateArgs,
    store: &Baselines,
    first: &Workload,
    machine: MachineClass,
    injected: Option<String>,
) -> Result<Calibration, Failure> {
    let known = store
        .calibration(&first.name, &machine, injected.as_deref())
        .map_err(Failure::usage)?;
    let same = known.filter(|known| !args.fresh && known.fingerprint == first.fingerprint);
    Ok(same.unwrap_or_else(|| Calibration::new(&first.name, first.fingerprint.clone(), machine, injected)))
}

/// The scenario with a copy of itself beside it, which may have another setting.
fn workload(
    args: &CalibrateArgs,
    trouble: Option<&Injected>,
    seed: Option<u64>,
    console: &Console,
) -> Result<Workload, Failure> {
    let mut set = args.set.clone();
    set.extend(seed.map(|seed| format!("seed={seed}")));
    let load = |set: &[String]| scenario::load(&args.scenario, set).map_err(Failure::usage);
    let reference = load(&set)?;
    if let Some(Injected::Setting(setting)) = trouble {
        set.push(setting.clone());
        // Each by itself first: a problem is to be shown in the text that has it.
        for one in [load(&set[..set.len() - 1])?, load(&set)?] {
            compile(one, console)?;
        }
    }
    compile(reference.beside(load(&set)?, SIDES), console)
}

fn show(args: &CalibrateArgs, calibrations: &[Calibration], console: &Console) -> Result<(), Failure> {
    let runs_per_day = f64::from(args.runs_per_day);
    match args.format {
        Format::Json => {
            let entries: Vec<_> = calibrations
                .iter()
                .map(|calibration| {
                    json!({
                        "scenario": calibration.scenario,
                        "machine": calibration.machine,
                        "injected": calibration.injected,
                        "summary": calibration::summary(calibration, runs_per_day),
                    })
                })
                .collect();
            console.result(&serde_json::to_string_pretty(&entries).map_err(Failure::unexpected)?);
        }
        Format::Text => {
            let texts: Vec<String> = calibrations
                .iter()
                .map(|calibration| {
                    let summary = calibration::summary(calibration, runs_per_day);
                    report::calibration(calibration, &summary, args.runs_per_day, console.width)
                })
                .collect();
            console.result(&texts.join("\n"));
        }
    }
    Ok(())
}
