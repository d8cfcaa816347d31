//! `loadgate check` and `loadgate schema`.

use super::{
    args::{CheckArgs, SchemaArgs, SchemaOf},
    exit::{Exit, Failure},
    print::Console,
    run::compile,
};
use crate::{report, scenario};

/// Reports every problem of every file.
pub(super) fn check(args: &CheckArgs, console: &Console) -> Result<Exit, Failure> {
    let mut worst = Exit::Pass;
    for path in &args.scenarios {
        let checked = scenario::load(path, &args.set)
            .map_err(Failure::usage)
            .and_then(|loaded| compile(loaded, console));
        match checked {
            Ok(workload) => console.result(&format!(
                "{}: ok ({} steps in {} flows, fingerprint {})",
                path.display(),
                workload.measured.len(),
                workload.flows.len(),
                workload.fingerprint.short()
            )),
            Err(failure) => {
                console.failure(&failure);
                worst = failure.exit;
            }
        }
    }
    Ok(worst)
}

/// Prints a JSON Schema.
pub(super) fn schema(args: &SchemaArgs, console: &Console) -> Result<Exit, Failure> {
    let schema = match args.of {
        SchemaOf::Scenario => scenario::json_schema(),
        SchemaOf::Report => report::json_schema(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(Failure::unexpected)?;
    console.result(&text);
    Ok(Exit::Pass)
}
