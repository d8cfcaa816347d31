//! loadgate beside its peers: CPU per operation and throughput, as ratios.
//!
//! `ci/peers` builds the program in release and calls this. It starts its own
//! servers, lets two contenders at a time make load in turns, and writes what
//! came of it as a page and a picture.
//!
//! ```text
//! servers   nginx and PostgreSQL, started and stopped here
//! tools     the contenders' command lines
//! output    what they print → operations and seconds
//! measure   CPU per operation: the slope; pairs; medians
//! cases     who meets whom
//! machine   where it was measured
//! report    → Markdown
//! picture   → PNG
//! ```

#![allow(clippy::print_stderr, reason = "a program that tells how it goes")]

mod cases;
mod machine;
mod measure;
mod output;
mod picture;
mod report;
mod servers;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    time::Instant,
};

use clap::{Parser, ValueEnum};
use jiff::Timestamp;

use self::{
    cases::{Bench, Case},
    machine::{Machine, Ticks},
    measure::{Extent, INTERRUPTED},
    report::Findings,
    tools::Loadgate,
};

/// Why there is no answer.
type Failed = Box<dyn std::error::Error>;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// loadgate beside its peers
#[derive(Debug, Parser)]
#[command(name = "ci/peers")]
struct Args {
    /// The loadgate to measure, built for release
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Pairs of every two contenders
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds of the long runs
    #[arg(long, default_value_t = 15)]
    long: u32,
    /// Seconds of the short runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    short: u32,
    /// Only this case; may be given again
    #[arg(long, value_enum)]
    only: Vec<Which>,
    /// Where peers.md and peers.png go [default: reports/ of the repository]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The cases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A small page by nginx
    Http,
    /// A prepared SELECT by PostgreSQL
    Postgres,
    /// loadgate beside itself
    #[value(name = "self")]
    Own,
}

impl Which {
    const ALL: [Self; 3] = [Self::Http, Self::Postgres, Self::Own];

    fn perform(self, bench: &mut Bench<'_>) -> Result<Case, Failed> {
        match self {
            Self::Http => cases::http(bench),
            Self::Postgres => cases::postgres(bench),
            Self::Own => cases::own(bench),
        }
    }
}

fn main() -> ExitCode {
    match perform(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ci/peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(args: &Args) -> Result<(), Failed> {
    check(args)?;
    // Not ended by it at once: servers and directories have to go first.
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new(REPOSITORY).join("reports"));
    fs::create_dir_all(&out)?;
    let findings = measured(args)?;
    if findings.cases.iter().all(|case| case.duels.is_empty()) {
        return Err("nothing was measured, so nothing is written".into());
    }
    let picture = picture::png(&findings)?;
    fs::write(out.join("peers.md"), report::page(&findings))?;
    fs::write(out.join("peers.png"), picture)?;
    eprintln!("ci/peers: {}", report::finding(&findings.cases));
    eprintln!("ci/peers: wrote {}", out.join("peers.md").display());
    Ok(())
}

/// What can be known to be wrong before half an hour has passed.
fn check(args: &Args) -> Result<(), Failed> {
    if args.long <= args.short {
        return Err("--long has to be longer than --short: the cost is the slope between them".into());
    }
    if !args.program.is_file() {
        return Err(format!("there is no {}", args.program.display()).into());
    }
    for program in ["taskset", "setpriv"] {
        if tools::first_line(std::process::Command::new(program).arg("--version")).is_none() {
            return Err(format!("{program} is not installed (Debian: util-linux)").into());
        }
    }
    if std::thread::available_parallelism()?.get() < 2 {
        return Err("it takes two cores: one for who makes load, one for the server".into());
    }
    Ok(())
}

fn measured(args: &Args) -> Result<Findings, Failed> {
    let directory = tempfile::TempDir::with_prefix("peers-")?;
    let program = fs::canonicalize(&args.program)?;
    let (machine, began, clock, ticks) = (Machine::look(), Timestamp::now(), Instant::now(), Ticks::now());
    let extent = Extent {
        pairs: args.pairs,
        long: args.long,
        short: args.short,
    };
    let mut say = |text: &str| eprintln!("ci/peers: {text}");
    let mut bench = Bench {
        loadgate: Loadgate(program.clone()),
        extent,
        directory: directory.path(),
        say: &mut say,
    };
    let wanted = |which: &Which| args.only.is_empty() || args.only.contains(which);
    let mut cases = Vec::new();
    for which in Which::ALL.iter().filter(|which| wanted(which)) {
        cases.push(which.perform(&mut bench)?);
    }
    Ok(Findings {
        machine,
        loadgate: machine::loadgate_version(&program, Path::new(REPOSITORY)),
        began,
        minutes: clock.elapsed().as_secs_f64() / 60.0,
        command: command(args),
        extent,
        stolen: Ticks::now().stolen_since(ticks),
        cases,
    })
}

/// The command as a person types it.
fn command(args: &Args) -> String {
    let mut line = format!(
        "ci/peers --pairs {} --long {} --short {}",
        args.pairs, args.long, args.short
    );
    for only in &args.only {
        if let Some(value) = only.to_possible_value() {
            line.push_str(" --only ");
            line.push_str(value.get_name());
        }
    }
    line
}
