//! `loadgate compare`: judges a stored run again; exits like `run`.

use jiff::Timestamp;

use super::{
    args::CompareArgs,
    ci,
    exit::{Exit, Failure},
    print::Console,
    run::{find_baseline, judge, show},
};
use crate::{
    baseline::{self, Baseline},
    run::{self, Run},
};

/// Performs the verb.
pub(super) fn compare(args: &CompareArgs, console: &Console) -> Result<Exit, Failure> {
    let run = run::load(&args.run).map_err(Failure::usage)?;
    let baseline = match &args.with {
        Some(path) => Some(as_baseline(
            run::load(path).map_err(Failure::usage)?,
            path.display().to_string(),
        )),
        None => find_baseline(&args.judging, &run.scenario)?,
    };
    let comparison = judge(&run, baseline.as_ref(), &args.judging);
    let exit = show(&run, &comparison, baseline.as_ref(), &args.judging, None, console)?;
    ci::tell(args.ci, &run, &comparison, exit, None, console);
    Ok(exit)
}

/// Any run can serve as the reference of one comparison.
fn as_baseline(run: Run, name: String) -> Baseline {
    Baseline {
        format: baseline::FORMAT.into(),
        name,
        accepted: Timestamp::UNIX_EPOCH,
        reason: None,
        run,
        since: Vec::new(),
    }
}
