//! What git knows: which commit a revision is, and the commit's files.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::{BuildError, LONGEST, job, place::Place, private};
use crate::{lab::output, run::hash};

/// Set where a hook of git starts loadgate; they would lead away from the directory that is meant.
pub(super) const VARIABLES: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
];

/// A repository on a dead network drive must not hold up a run for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 200;

/// What keeps git from changing anything but the directory it writes to, and from starting anything.
const HARMLESS: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    // Its shared part would be written into the repository.
    "-c",
    "core.splitIndex=false",
    "-c",
    "submodule.recurse=false",
];

/// A commit of a repository, and the directory in it that was named.
#[derive(Debug)]
pub(super) struct Source {
    root: PathBuf,
    git: PathBuf,
    /// Of the named directory, from the root; empty at the root.
    pub(super) prefix: PathBuf,
    pub(super) commit: String,
    pub(super) subject: String,
}

impl Source {
    /// # Errors
    /// When there is no git, no repository, or no such revision.
    pub(super) async fn find(repository: &Path, revision: &str) -> Result<Self, BuildError> {
        let place = ["rev-parse", "--show-toplevel", "--absolute-git-dir", "--show-prefix"];
        let found = ask(repository, &place)
            .await?
            .map_err(|reason| BuildError::NotARepository {
                path: repository.to_owned(),
                reason,
            })?;
        let mut lines = found.lines();
        let mut line = || PathBuf::from(lines.next().unwrap_or_default());
        let (root, git, prefix) = (line(), line(), line());
        let Some(commit) = commit(repository, revision).await? else {
            return Err(unknown(repository, revision).await?);
        };
        let subject = ["log", "--max-count=1", "--no-show-signature", "--format=%s", &commit];
        let subject = ask(repository, &subject).await?.unwrap_or_default();
        Ok(Self {
            root,
            git,
            prefix,
            subject: subject
                .chars()
                .filter(|c| !c.is_control())
                .take(LONGEST_SUBJECT)
                .collect(),
            commit,
        })
    }

    /// What decides a build, fit for the name of a directory.
    pub(super) fn key(&self, command: &str) -> String {
        let short = |text: String| hash(text.as_bytes())[..16].to_owned();
        let root = short(self.root.display().to_string());
        let prefix = self.prefix.display().to_string();
        let command = short(format!("{}:{prefix}{command}", prefix.len()));
        format!("{root}-{}-{command}", self.commit)
    }

    /// The commit as people write it.
    pub(super) fn short(&self) -> &str {
        &self.commit[..self.commit.len().min(10)]
    }

    /// Writes the files of the commit into the tree of a place.
    ///
    /// # Errors
    /// With what git said.
    pub(super) async fn export(&self, place: &Place) -> Result<(), BuildError> {
        let log = place.log().with_file_name("export");
        let refused = || BuildError::system("git cannot be started");
        let file = private(&log).map_err(refused())?;
        let mut command = git();
        command
            .args(HARMLESS)
            .args(["read-tree", "--reset", "-u", "--no-sparse-checkout", &self.commit])
            .current_dir(place.tree())
            .env("GIT_DIR", &self.git)
            .env("GIT_WORK_TREE", place.tree())
            .env("GIT_INDEX_FILE", place.index())
            .stdout(Stdio::null())
            .stderr(file);
        match job::run(command, place.lock(), LONGEST).await.map_err(refused())? {
            Some(status) if status.success() => Ok(()),
            Some(_) => Err(BuildError::Export {
                commit: self.short().into(),
                reason: output::last_lines(&output::end_of(&log).unwrap_or_default())
                    .trim()
                    .into(),
            }),
            None => Err(BuildError::TooLong {
                what: format!("writing the files of commit {}", self.short()),
            }),
        }
    }
}

/// The full hash of a revision, if there is one.
async fn commit(repository: &Path, revision: &str) -> Result<Option<String>, BuildError> {
    // git would read it as an option.
    if revision.is_empty() || revision.starts_with('-') {
        return Ok(None);
    }
    let wanted = format!("{revision}^{{commit}}");
    let answer = ask(repository, &["rev-parse", "--verify", "--quiet", &wanted]).await?;
    Ok(answer
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty()))
}

/// Says how to come by a revision that is not there.
async fn unknown(repository: &Path, revision: &str) -> Result<BuildError, BuildError> {
    let remote = format!("origin/{revision}");
    let shallow = ask(repository, &["rev-parse", "--is-shallow-repository"]).await?;
    let mend = if commit(repository, &remote).await?.is_some() {
        format!("there is `{remote}`: name that")
    } else if shallow.is_ok_and(|answer| answer.trim() == "true") {
        format!(
            "it is a shallow clone, which has few commits: git fetch --unshallow, \
             or git fetch origin {revision} and name FETCH_HEAD"
        )
    } else {
        format!("git fetch origin {revision} may bring it, as FETCH_HEAD; else see git branch --all")
    };
    Ok(BuildError::UnknownRevision {
        path: repository.to_owned(),
        revision: revision.to_owned(),
        mend,
    })
}

fn git() -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

/// What git answers, or why it does not.
async fn ask(repository: &Path, arguments: &[&str]) -> Result<Result<String, String>, BuildError> {
    let mut command = Command::from(git());
    command.arg("-C").arg(repository).args(arguments).kill_on_drop(true);
    let answered = timeout(PATIENCE, command.output()).await;
    let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let Output { status, stdout, stderr } = answered.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => BuildError::GitMissing,
        _ => BuildError::system("git does not answer")(source),
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
    if status.success() {
        return Ok(Ok(text(&stdout)));
    }
    Ok(Err(output::last_lines(&text(&stderr)).trim().to_owned()))
}
