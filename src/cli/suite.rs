//! `loadgate suite`: the shipped experiments as tests, with one report over all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    args::{FailOn, Format, SuiteArgs, SuiteProfile},
    exit::{Exit, Failure},
    interrupt,
    print::Console,
    run::{Output, compile, conduct, save, setting},
};
use crate::{
    comparison::{self, Options},
    report::{self, Detail, Part, Suite, Terminal},
    run, scenario,
    suite::{self, Profile},
    trial::Setting,
};

/// Where the experiments are put, within the directory of the suite, so that each can be run again.
const EXPERIMENTS: &str = "experiments";

/// Performs the verb.
pub(super) fn suite(args: &SuiteArgs, console: &Console) -> Result<Exit, Failure> {
    let tests = suite::chosen(&args.tests).map_err(Failure::usage)?;
    let out = args
        .out
        .clone()
        .map_or_else(|| Output::Fresh("suite".into()), Output::Given);
    let out = out.prepare()?.unwrap_or_default();
    suite::unpack(&out.join(EXPERIMENTS)).map_err(Failure::unexpected)?;
    let profile = match args.profile {
        SuiteProfile::Ci => Profile::Ci,
        SuiteProfile::Full => Profile::Full,
    };
    let setting = setting(BTreeMap::new())?;
    let experiments = suite::experiments(&tests);
    let mut parts = Vec::new();
    for (at, experiment) in experiments.iter().enumerate() {
        console.note(&format!("{} of {}  {experiment}", at + 1, experiments.len()));
        let part = match perform(experiment, profile, &setting, &out, console) {
            Ok(part) => part,
            // One that cannot be performed takes no other with it.
            Err(failure) => Part::failed(experiment, &failure.message),
        };
        console.note(&format!("        {}", part.finding()));
        parts.push(part);
        if interrupt::exit().is_some() {
            let missing = experiments.iter().skip(parts.len());
            parts.extend(missing.map(|experiment| Part::failed(experiment, "the suite was interrupted before it")));
            break;
        }
    }
    let suite = Suite { profile, tests, parts };
    let exit = interrupt::exit().unwrap_or_else(|| Exit::of(suite.verdict(), args.fail_on == FailOn::Warning));
    report::write_suite(&out, &suite, exit as u8).map_err(Failure::usage)?;
    show(&suite, exit, &out, args.format, console)?;
    Ok(exit)
}

/// Runs one experiment and judges it; its report goes into a directory of its name.
fn perform(
    experiment: &'static str,
    profile: Profile,
    setting: &Setting,
    out: &Path,
    console: &Console,
) -> Result<Part, Failure> {
    // Nothing of an earlier suite is to stand beside this one.
    let place = out.join(experiment);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).map_err(Failure::unexpected)?;
    let file = out.join(EXPERIMENTS).join(suite::file_name(experiment));
    let loaded = scenario::load(&file, &profile.settings(experiment)).map_err(Failure::usage)?;
    let mut workload = compile(loaded, console)?;
    workload.thresholds.retain(|threshold| profile.judges(threshold));
    let run = conduct(workload, setting, None, console)?;
    save(&run, Some(&place))?;
    let comparison = comparison::compare(&run, None, &Options::default());
    let exit = Exit::of(comparison.verdict, false);
    let mut files = report::write(&place, &run, &comparison, None, exit as u8).map_err(Failure::usage)?;
    files.push(place.join(run::FILE_NAME));
    Ok(Part::performed(experiment, &run, &comparison, relative(&files, out)))
}

/// Paths within the directory of the suite; the bundle of a run is not bundled again.
fn relative(files: &[PathBuf], out: &Path) -> Vec<String> {
    let within = files
        .iter()
        .filter(|path| path.extension().is_none_or(|end| end != "zip"));
    within
        .filter_map(|path| Some(path.strip_prefix(out).ok()?.to_str()?.to_owned()))
        .collect()
}

fn show(suite: &Suite, exit: Exit, out: &Path, format: Format, console: &Console) -> Result<(), Failure> {
    let page = out.join(report::SUITE_PAGE);
    match format {
        Format::Json => console.result(&report::suite_json(suite, exit as u8).map_err(Failure::unexpected)?),
        Format::Text => {
            let terminal = Terminal {
                colour: console.out_colour,
                width: console.width,
                detail: if console.quiet { Detail::Verdict } else { Detail::Usual },
            };
            console.result(&report::suite_text(suite, exit as u8, Some(&page), terminal));
        }
    }
    Ok(())
}
