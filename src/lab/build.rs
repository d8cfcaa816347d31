//! A program built from a commit, so that a run can measure it beside another commit.
//!
//! The files of the commit are written into a directory of a cache, by git with
//! an index that lies there too. `git worktree add` would register a directory
//! that a kill leaves in the user's repository; `git archive` leaves out what
//! `.gitattributes` keep from releases. So the user's work tree, index and
//! references are not touched, and no hook runs.
//!
//! What is written is no repository: a build that asks git for a version finds
//! none. Submodules are out of scope: their directories are empty. This module
//! knows neither scenarios nor how a program is started.

mod git;
mod job;
mod place;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use self::{git::Source, place::Place};
use super::output;
use crate::units::format_duration;

/// A build that takes longer is given up, as is the wait for that of another loadgate.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What must not come from outside: builds of two commits would overwrite each other's programs.
const SHARED_PLACES: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildSpec<'a> {
    /// Any directory inside a work tree; the command runs in the same directory of the commit.
    pub repository: &'a Path,
    /// A branch, tag or commit, or as in `HEAD~1`.
    pub revision: &'a str,
    /// The command line, split as a shell would, run without one.
    pub command: &'a str,
    /// Directory that keeps builds for the next run; without it a temporary one, removed with the [`Build`].
    pub cache: Option<&'a Path>,
    /// Texts that must not appear in any message.
    pub secrets: &'a [String],
}

/// The files of one commit, in which the command succeeded. While it is held no other loadgate drops it.
#[derive(Debug)]
pub struct Build {
    /// Full hash.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
    directory: PathBuf,
    _place: Place,
}

/// Why there is no build. Secrets are masked in every text.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no git.
    #[error("git is not installed, and a build of a revision needs it; on Debian and Ubuntu: apt-get install git")]
    GitMissing,
    /// The directory is in no work tree of git, or git does not trust it.
    #[error("{path} is not in a work tree of git: {reason}")]
    NotARepository {
        /// The directory.
        path: PathBuf,
        /// What git said.
        reason: String,
    },
    /// The repository does not have the revision.
    #[error("{path} has no revision `{revision}`; {mend}")]
    UnknownRevision {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        revision: String,
        /// How to come by it.
        mend: String,
    },
    /// The commit does not have the directory in which the command is to run.
    #[error("commit {commit} has no directory `{directory}`")]
    NoDirectory {
        /// Its short hash.
        commit: String,
        /// Relative to the root of the work tree.
        directory: String,
    },
    /// The command line cannot be split into words.
    #[error("the command `{command}` {reason}")]
    Command {
        /// The command line.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The program could not be executed.
    #[error("`{command}` cannot be started in commit {commit}: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Short hash of the commit.
        commit: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command failed.
    #[error("`{command}` failed in commit {commit} ({status}){}", super::last_words(output))]
    Failed {
        /// The command line.
        command: String,
        /// Short hash of the commit.
        commit: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
    },
    /// It did not end in time, and was killed.
    #[error("{what} took longer than {}", format_duration(LONGEST))]
    TooLong {
        /// What was waited for.
        what: String,
    },
    /// The files of the commit could not be written.
    #[error("the files of commit {commit} cannot be written: {reason}")]
    Export {
        /// Its short hash.
        commit: String,
        /// What git said.
        reason: String,
    },
    /// The system refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BuildError {
    /// Whether the scenario is at fault, and not the environment.
    pub fn is_scenario(&self) -> bool {
        !matches!(self, Self::GitMissing | Self::Export { .. } | Self::System { .. })
    }

    fn system(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::System { what, source }
    }
}

impl Build {
    /// Builds the revision, or finds it built. Takes as long as the command, at most 30 minutes.
    ///
    /// Of two that want the same at once, one builds and the other waits. What
    /// the command has started is killed when this is dropped, and when loadgate is.
    ///
    /// # Errors
    /// When git, the revision or the command fails; nothing is left running then.
    pub async fn make(spec: &BuildSpec<'_>) -> Result<Self, BuildError> {
        let words = words(spec)?;
        let source = Source::find(spec.repository, spec.revision).await?;
        let mut place = Place::take(spec.cache, &source.key(spec.command)).await?;
        let directory = place.tree().join(&source.prefix);
        if !place.is_finished() {
            place.clear()?;
            source.export(&place).await?;
            execute(spec, &words, &source, &place).await?;
            place.finish()?;
        }
        Ok(Self {
            commit: source.commit,
            subject: source.subject,
            directory,
            _place: place,
        })
    }

    /// Where the command ran: the commit's counterpart of [`BuildSpec::repository`].
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

fn words(spec: &BuildSpec<'_>) -> Result<Vec<String>, BuildError> {
    let wrong = |reason: &str| BuildError::Command {
        command: output::mask(spec.command, spec.secrets),
        reason: reason.into(),
    };
    let words = shell_words::split(spec.command).map_err(|_| wrong("has a quote that is not closed"))?;
    (!words.is_empty()).then_some(words).ok_or_else(|| wrong("is empty"))
}

/// Runs the command to its end, its output in the log.
async fn execute(spec: &BuildSpec<'_>, words: &[String], source: &Source, place: &Place) -> Result<(), BuildError> {
    let directory = place.tree().join(&source.prefix);
    if !directory.is_dir() {
        return Err(BuildError::NoDirectory {
            commit: source.short().into(),
            directory: source.prefix.display().to_string(),
        });
    }
    let log = place.log();
    let file = private(&log).map_err(BuildError::system("no log for the build"))?;
    let command = command(words, &directory, &file).map_err(BuildError::system("no log for the build"))?;
    let said = output::mask(spec.command, spec.secrets);
    match job::run(command, place.lock(), LONGEST).await {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(BuildError::Failed {
            command: said,
            commit: source.short().into(),
            status,
            output: output::last_lines(&output::mask(&output::end_of(&log).unwrap_or_default(), spec.secrets)),
        }),
        Ok(None) => Err(BuildError::TooLong {
            what: format!("`{said}` in commit {}", source.short()),
        }),
        Err(error) => Err(BuildError::Start {
            command: said,
            commit: source.short().into(),
            source: error,
        }),
    }
}

/// The command, ready to start: without a shell, both streams into the log.
fn command(words: &[String], directory: &Path, log: &File) -> io::Result<Command> {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(directory)
        // A cache may lie in a repository, which is not the one that is built.
        .env("GIT_CEILING_DIRECTORIES", directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    for name in SHARED_PLACES.iter().chain(git::VARIABLES) {
        command.env_remove(name);
    }
    Ok(command)
}

/// A file that only this user can read: what a build prints may hold what nobody masks there.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
