//! The program, run as a person runs it: a directory with a scenario in it, a
//! command line, what it printed and the `run.json` it left.
//!
//! Knows nothing of what the scenarios are about.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use loadgate::run::{self, Run, Step};
use tempfile::TempDir;

/// The program with these arguments in that directory, not yet started. It sees
/// no variables that name a database or make the demo faulty.
pub(crate) fn loadgate(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgate"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["PG", "DB_", "LOADGATE_DEMO_", "GITHUB_", "GITLAB_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command
}

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

    /// The program with these arguments, not yet started.
    pub(crate) fn loadgate(&self, arguments: &[&str]) -> Command {
        loadgate(self.path(), arguments)
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
        self.run_command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What an ended program printed and left.
    pub(crate) fn ended(&self, output: Output) -> Ended {
        let out = self.path().join("out");
        Ended {
            code: output.status.code().expect("the program was killed by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            stored_text: fs::read_to_string(out.join(run::FILE_NAME)).unwrap_or_default(),
            stored: run::load(&out).map_err(|error| error.to_string()),
        }
    }
}

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The text of `run.json`, empty without one.
    pub(crate) stored_text: String,
    stored: Result<Run, String>,
}

impl Ended {
    /// The run it stored; its accounting has been checked.
    pub(crate) fn stored(&self) -> Run {
        let run = self.stored.clone();
        let run = run.unwrap_or_else(|error| panic!("{error}\nexit {}\n{}", self.code, self.stderr));
        assert!(run.accounting.adds_up(), "{:?}", run.accounting);
        run
    }

    /// Everything it printed.
    pub(crate) fn printed(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// The measured step of that name.
pub(crate) fn step<'a>(run: &'a Run, name: &str) -> &'a Step {
    run.steps
        .iter()
        .find(|step| step.name == name)
        .unwrap_or_else(|| panic!("no step \"{name}\""))
}

/// Classes of the errors of a step, with their counts.
pub(crate) fn errors(step: &Step) -> Vec<(String, u64)> {
    step.errors
        .iter()
        .map(|error| (error.class.to_string(), error.count))
        .collect()
}
