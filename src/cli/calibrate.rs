//! `loadgate calibrate`: a scenario against itself, again and again, to know what the machine can tell.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    args::{CalibrateArgs, Format},
    exit::{Exit, Failure},
    interrupt,
    print::Console,
    run::{baselines, compile, conduct, setting},
};
use crate::{
    baseline::{Baselines, Calibration},
    comparison::{self, Options, calibration},
    executor::Injection,
    report, scenario,
    trial::Setting,
    workload::Workload,
};

/// Names of the two sides.
const SIDES: [&str; 2] = ["reference", "copy"];

/// Performs the verb.
pub(super) fn calibrate(args: &CalibrateArgs, console: &Console) -> Result<Exit, Failure> {
    let faults: Vec<Option<Injection>> = match args.inject.as_slice() {
        [] => vec![None],
        injected => injected.iter().copied().map(Some).collect(),
    };
    let mut calibrations = Vec::new();
    for fault in faults {
        let (calibration, exit) = trials(args, fault, console)?;
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
    fault: Option<Injection>,
    console: &Console,
) -> Result<(Calibration, Option<Exit>), Failure> {
    let store = baselines(&args.baselines)?;
    let setting = Setting {
        injection: fault,
        ..setting(BTreeMap::new())?
    };
    let first = workload(args, None, console)?;
    let mut calibration = known(args, &store, &first, &setting)?;
    while calibration.trials.len() < args.trials {
        let number = calibration.trials.len();
        let injected = calibration
            .injected
            .as_ref()
            .map_or_else(String::new, |fault| format!(" with {fault}"));
        console.note(&format!("trial {} of {}{injected}", number + 1, args.trials));
        let workload = workload(args, Some(first.seed + 1 + number as u64), console)?;
        let run = conduct(workload, &setting, console)?;
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
fn known(args: &CalibrateArgs, store: &Baselines, first: &Workload, setting: &Setting) -> Result<Calibration, Failure> {
    let machine = setting.environment.machine_class();
    let injected = setting.injection.map(|fault| fault.to_string());
    let known = store
        .calibration(&first.name, &machine, injected.as_deref())
        .map_err(Failure::usage)?;
    let same = known.filter(|known| !args.fresh && known.fingerprint == first.fingerprint);
    Ok(same.unwrap_or_else(|| Calibration::new(&first.name, first.fingerprint.clone(), machine, injected)))
}

/// The scenario with a copy of itself beside it.
fn workload(args: &CalibrateArgs, seed: Option<u64>, console: &Console) -> Result<Workload, Failure> {
    let mut set = args.set.clone();
    set.extend(seed.map(|seed| format!("seed={seed}")));
    let loaded = scenario::load(&args.scenario, &set).map_err(Failure::usage)?;
    compile(loaded.beside_itself(SIDES), console)
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
