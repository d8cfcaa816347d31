//! The exit codes, in one place, and failures that carry one.

use std::process::ExitCode;

use crate::comparison::Verdict;

/// How the program ends; see the table in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Pass, or warnings without `--fail-on warning`.
    Pass = 0,
    /// Something unexpected.
    Unexpected = 1,
    /// The command line or the scenario is wrong.
    Usage = 2,
    /// The gate failed.
    Critical = 3,
    /// No trustworthy answer.
    NoAnswer = 4,
    /// A warning, with `--fail-on warning`.
    Warning = 5,
    /// Interrupted by SIGINT.
    Interrupted = 130,
    /// Interrupted by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// What a verdict exits with.
    pub(super) fn of(verdict: Verdict, fail_on_warning: bool) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Warning if fail_on_warning => Self::Warning,
            Verdict::Warning => Self::Pass,
            Verdict::Critical => Self::Critical,
            Verdict::Inconclusive | Verdict::Invalid => Self::NoAnswer,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Something that ended the program early, with its exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl ToString) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// The command line, a file or the scenario is wrong.
    pub(super) fn usage(message: impl ToString) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something unexpected.
    pub(super) fn unexpected(message: impl ToString) -> Self {
        Self::new(Exit::Unexpected, message)
    }
}
