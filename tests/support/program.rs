//! The program, run as a person runs it: a directory with a scenario in it, a
//! command line, what it printed and the `run.json` it left.
//!
//! Knows nothing of what the scenarios are about.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use loadgate::run::{self, Run, Step};
use tempfile::TempDir;

/// A directory to call the program in.
pub(crate) struct Desk {
    directory: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            directory: TempDir::with_prefix("loadgate-test-").unwrap(),
        }
    }

    /// With a scenario in `scenario.toml`.
    pub(crate) fn with_scenario(text: &str) -> Self {
        let desk = Self::new();
        fs::write(desk.path().join("scenario.toml"), text).unwrap();
        desk
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The program with these arguments, not yet started. It sees no variables that name a database.
    pub(crate) fn loadgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgate"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("DB_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// `loadgate run scenario.toml --out out`, not yet started.
    pub(crate) fn run_command(&self) -> Command {
        self.loadgate(&["run", "scenario.toml", "--out", "out"])
    }

    /// Runs the scenario to its end.
    pub(crate) fn run(&self) -> Ended {
        self.ended(self.run_command().output().unwrap())
    }

    /// Starts the scenario, for tests that interfere.
    pub(crate) fn start(&self) -> Child {
        self.run_command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What an ended program printed and left.
    pub(crate) fn ended(&self, output: Output) -> Ended {
        Ended {
            code: output.status.code().expect("the program was killed by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            out: self.path().join("out"),
        }
    }
}

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    out: PathBuf,
}

impl Ended {
    /// The run it stored; its accounting has been checked.
    pub(crate) fn stored(&self) -> Run {
        let run = run::load(&self.out).unwrap_or_else(|error| panic!("{error}\nexit {}\n{}", self.code, self.stderr));
        assert!(run.accounting.adds_up(), "{:?}", run.accounting);
        run
    }

    /// The text of `run.json`.
    pub(crate) fn stored_text(&self) -> String {
        fs::read_to_string(self.out.join(run::FILE_NAME)).unwrap()
    }

    /// Everything it printed.
    pub(crate) fn printed(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// The measured step of that name.
pub(crate) fn step<'a>(run: &'a Run, name: &str) -> &'a Step {
    run.steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step \"{name}\""))
}

/// Classes of the errors of a step, with their counts.
pub(crate) fn errors(step: &Step) -> Vec<(String, u64)> {
    step.errors.iter().map(|error| (error.class.to_string(), error.count)).collect()
}
