//! `loadgate demo`: the built-in service, until Ctrl-C.

use super::{
    args::DemoArgs,
    exit::{Exit, Failure},
    interrupt,
    print::Console,
    run::runtime,
};
use crate::{
    demo::{self, Demo, Faults, Options, Storage},
    lab,
};

/// Performs the verb.
pub(super) fn demo(args: &DemoArgs, console: &Console) -> Result<Exit, Failure> {
    let database = args.database.as_deref().map(Storage::parse).transpose();
    let options = Options {
        listen: args.listen,
        database: database.map_err(|reason| Failure::usage(format!("--database: {reason}")))?,
        faults: faults(args)?,
    };
    let interrupt = interrupt::install();
    runtime()?.block_on(async {
        interrupt::watch_sigterm(interrupt.clone());
        let demo = Demo::bind(options).await.map_err(Failure::usage)?;
        console.note(&format!("demo on http://{} (Ctrl-C stops it)", demo.address()));
        let parent_pipe = std::env::var(lab::PARENT_PIPE).ok();
        let shutdown = async move {
            tokio::select! {
                () = interrupt.stop.cancelled() => {}
                () = demo::parent_gone(parent_pipe.as_deref()) => {}
            }
        };
        demo.run(shutdown).await.map_err(Failure::unexpected)
    })?;
    // Ctrl-C is how a demo ends well.
    Ok(Exit::Pass)
}

/// A flag goes before its variable.
fn faults(args: &DemoArgs) -> Result<Faults, Failure> {
    let from_variables = Faults::from_variables(|name| std::env::var(name).ok()).map_err(Failure::usage)?;
    let flag = |name: &str, reason: String| Failure::usage(format!("--{name}: {reason}"));
    Ok(Faults {
        delay: match &args.delay {
            Some(text) => demo::parse_delay(text).map_err(|reason| flag("delay", reason))?,
            None => from_variables.delay,
        },
        error_rate: match &args.error_rate {
            Some(text) => demo::parse_error_rate(text).map_err(|reason| flag("error-rate", reason))?,
            None => from_variables.error_rate,
        },
        extra_query: match &args.extra_query {
            Some(text) => demo::parse_extra_query(text).map_err(|reason| flag("extra-query", reason))?,
            None => from_variables.extra_query,
        },
    })
}
