//! `loadgate report`: renders a stored run again; exits 0.

use super::{
    args::ReportArgs,
    exit::{Exit, Failure},
    print::Console,
    run::{find_baseline, judge, show},
};
use crate::run;

/// Performs the verb.
pub(super) fn report(args: &ReportArgs, console: &Console) -> Result<Exit, Failure> {
    let run = run::load(&args.run).map_err(Failure::usage)?;
    let baseline = find_baseline(&args.judging, &run.scenario)?;
    let comparison = judge(&run, baseline.as_ref(), &args.judging);
    show(
        &run,
        &comparison,
        baseline.as_ref(),
        &args.judging,
        args.out.as_deref(),
        console,
    )?;
    Ok(Exit::Pass)
}
