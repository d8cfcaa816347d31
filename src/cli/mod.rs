//! Arguments and verbs: the only code that prints, reads the environment or
//! chooses an exit code.
//!
//! stdout carries the result, stderr everything else.

mod args;
mod baseline;
mod calibrate;
mod changes;
mod check;
mod ci;
mod compare;
mod demo;
mod exit;
mod history;
mod init;
mod interrupt;
mod metrics;
mod oneliner;
mod print;
mod progress;
mod report;
mod run;
mod suite;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::{
    args::{Arguments, Verb},
    exit::{Exit, Failure},
    print::Console,
};

/// The program: parses arguments, performs the verb, says what went wrong.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Pass };
            // Should even this not be printable, the exit code still tells.
            let _ = error.print();
            return code.into();
        }
    };
    let console = Console::new(arguments.quiet, arguments.log_format);
    match perform(arguments.verb, &console) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            console.failure(&failure);
            failure.exit.into()
        }
    }
}

fn perform(verb: Verb, console: &Console) -> Result<Exit, Failure> {
    match verb {
        Verb::Run(args) => run::run(&args, console),
        Verb::Http(args) => oneliner::http(&args, console),
        Verb::Sql(args) => oneliner::sql(&args, console),
        Verb::Check(args) => check::check(&args, console),
        Verb::Compare(args) => compare::compare(&args, console),
        Verb::Report(args) => report::report(&args, console),
        Verb::Baseline(args) => baseline::baseline(&args, console),
        Verb::History(args) => history::history(&args, console),
        Verb::Changes(args) => changes::changes_of(&args, console),
        Verb::Calibrate(args) => calibrate::calibrate(&args, console),
        Verb::Suite(args) => suite::suite(&args, console),
        Verb::Init(args) => init::init(&args, console),
        Verb::Demo(args) => demo::demo(&args, console),
        Verb::Schema(args) => check::schema(&args, console),
        Verb::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Arguments::command(), "loadgate", &mut script);
            console.result(&String::from_utf8_lossy(&script));
            Ok(Exit::Pass)
        }
        Verb::Man => {
            let mut page = Vec::new();
            let man = clap_mangen::Man::new(Arguments::command());
            man.render(&mut page).map_err(Failure::unexpected)?;
            console.result(&String::from_utf8_lossy(&page));
            Ok(Exit::Pass)
        }
    }
}
