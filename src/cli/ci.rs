//! Tells the service that runs a gate what came of it, in the way of that service.
//!
//! What goes wrong here is told and changes no exit code.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::Path,
};

use super::{args::Ci, exit::Exit, print::Console};
use crate::{
    comparison::Comparison,
    report,
    run::{self, Run},
};

/// For later jobs of GitLab (`artifacts: reports: dotenv`), beside the reports.
const DOTENV: &str = "loadgate.env";

/// Tells it to the service that was named or found.
pub(super) fn tell(ci: Ci, run: &Run, comparison: &Comparison, exit: Exit, out: Option<&Path>, console: &Console) {
    let outputs = report::ci_outputs(comparison, exit as u8);
    let outputs = outputs
        .into_iter()
        .chain(out.map(|out| ("report", out.join(report::PAGE).display().to_string())));
    match found(ci) {
        Ci::Github => {
            let annotations = report::github_annotations(comparison);
            if !annotations.is_empty() {
                console.commands(&annotations);
            }
            let lines: String = outputs.map(|(name, value)| format!("{name}={value}\n")).collect();
            append("GITHUB_OUTPUT", &lines, console);
            let summary = report::summary_text(run, comparison, exit as u8);
            append("GITHUB_STEP_SUMMARY", &summary, console);
        }
        Ci::Gitlab => {
            let line =
                |(name, value): (&str, String)| format!("LOADGATE_{}={value}\n", name.to_uppercase().replace('-', "_"));
            let lines: String = outputs.map(line).collect();
            if let Some(path) = out.map(|out| out.join(DOTENV)) {
                let written = run::write_atomically(&path, lines.as_bytes());
                written.unwrap_or_else(|error| console.warning(&error.to_string()));
            }
        }
        Ci::Auto | Ci::None => {}
    }
}

/// The service in whose job this is.
fn found(ci: Ci) -> Ci {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| value == "true");
    match ci {
        Ci::Auto if is_set("GITHUB_ACTIONS") => Ci::Github,
        Ci::Auto if is_set("GITLAB_CI") => Ci::Gitlab,
        ci => ci,
    }
}

/// Adds to the file that a variable names; outside of a job there is none.
fn append(variable: &str, text: &str, console: &Console) {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) else {
        return;
    };
    let appended = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(text.as_bytes())
    };
    if let Err(error) = appended() {
        console.warning(&format!("{variable} could not be written: {error}"));
    }
}
