//! Commit and branch of the repository in a directory, as `git` tells them.
//!
//! One command, a short time limit, and no answer is an answer: a run needs no
//! repository and no git.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// A repository on a dead network drive must not hold up a run.
const PATIENCE: Duration = Duration::from_secs(2);
/// Read of git's answer; more changed files than this change nothing.
const LONGEST_ANSWER: u64 = 1 << 20;

/// What is checked out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repository {
    /// Full hash.
    pub(super) commit: Option<String>,
    /// `None` when the head is detached.
    pub(super) branch: Option<String>,
    /// Whether tracked files have changes that are not committed.
    pub(super) dirty: bool,
}

/// Asks git about the repository that holds the directory.
pub(super) fn repository(directory: &Path) -> Option<Repository> {
    let child = Command::new("git")
        .args(["status", "--porcelain=v2", "--branch", "--untracked-files=no"])
        // `status` would otherwise write to the index.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    answer_within(child, PATIENCE).map(|answer| parse(&answer))
}

/// The output of a child that succeeds in time; the child is gone in any case.
fn answer_within(mut child: Child, patience: Duration) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take()?;
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(LONGEST_ANSWER).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    let Ok(Ok(bytes)) = receiver.recv_timeout(patience) else {
        let _ = child.kill();
        let _ = child.wait();
        return None;
    };
    // Beyond the bound git is still writing, into a pipe that nobody reads: it ends by that.
    let cut = bytes.len() as u64 >= LONGEST_ANSWER;
    let succeeded = child.wait().ok()?.success() || cut;
    succeeded.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

fn parse(answer: &str) -> Repository {
    let header = |key: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(' '))
    };
    let named = |value: Option<&str>| value.filter(|value| !value.starts_with('(')).map(str::to_owned);
    Repository {
        commit: named(header("branch.oid")),
        branch: named(header("branch.head")),
        dirty: answer.lines().any(|line| !line.starts_with('#')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    #[test]
    fn a_real_repository_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        git(path, &["init", "--quiet", "--initial-branch=topic/x"]);
        assert_eq!(
            repository(path).unwrap(),
            Repository {
                commit: None,
                branch: Some("topic/x".into()),
                dirty: false
            }
        );

        std::fs::write(path.join("tracked"), "1").unwrap();
        git(path, &["add", "tracked"]);
        git(path, &["commit", "--quiet", "-m", "first", "--no-verify"]);
        std::fs::write(path.join("untracked"), "1").unwrap();
        let clean = repository(path).unwrap();
        assert_eq!(clean.commit.as_ref().map(String::len), Some(40));
        assert!(!clean.dirty, "a file that git does not know is no change");

        std::fs::write(path.join("tracked"), "2").unwrap();
        assert_eq!(repository(path).unwrap(), Repository { dirty: true, ..clean });
    }

    #[test]
    fn a_directory_without_repository_gives_nothing() {
        assert_eq!(repository(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn a_detached_head_has_no_branch() {
        let parsed =
            parse("# branch.oid 0123abcd\n# branch.head (detached)\n1 .M N... 100644 100644 100644 a b file\n");
        assert_eq!(
            parsed,
            Repository {
                commit: Some("0123abcd".into()),
                branch: None,
                dirty: true
            }
        );
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let child = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(answer_within(child, Duration::from_millis(20)), None);
    }
}
