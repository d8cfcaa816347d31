//! A command run to its end in a process group that ends with it, and with loadgate.
//!
//! A shell leads the group and reads from a pipe that only loadgate holds: its
//! end means that loadgate is gone, however it went, and the shell kills the
//! group. Until then it holds the lock of the place, so that nobody builds there
//! while something of the group still does.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command as AsyncCommand};

use crate::lab::groups;

const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r word
kill -s KILL -- "-$$"
"#;

/// The shell, and the group that it leads. Dropped, it kills the group.
struct Group {
    shell: Child,
    id: Pid,
}

/// Runs a command. `None` when it did not end in time; what is left of its group is killed in any case.
///
/// # Errors
/// When it cannot be started.
pub(super) async fn run(mut command: Command, lock: &File, within: Duration) -> io::Result<Option<ExitStatus>> {
    let group = Group::lead(lock)?;
    command.process_group(group.id.as_raw_pid());
    let mut child = AsyncCommand::from(command).kill_on_drop(true).spawn()?;
    let ended = tokio::time::timeout(within, child.wait()).await;
    let status = ended.ok().transpose();
    group.end().await;
    status
}

impl Group {
    fn lead(lock: &File) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "loadgate-build"])
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            // Nothing is written there.
            .stdout(lock.try_clone()?)
            .stderr(Stdio::null());
        let mut command = AsyncCommand::from(command);
        let shell = groups::spawn(Signal::KILL, || command.kill_on_drop(true).spawn(), id_of)?;
        let id = id_of(&shell).ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self { shell, id })
    }

    /// Kills all of it and waits for the shell, so that the lock is free.
    async fn end(mut self) {
        self.kill();
        let _ = self.shell.wait().await;
    }

    /// The shell is not reaped yet, so the number is still its own.
    fn kill(&self) {
        if self.shell.id().is_some() {
            let _ = kill_process_group(self.id, Signal::KILL);
            groups::forget(self.id);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// It was started as the leader of a group: the numbers are the same.
fn id_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(child.id()?.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[tokio::test]
    async fn where_loadgate_is_gone_the_shell_kills_the_group() {
        let lock = tempfile::tempfile().unwrap();
        let mut group = Group::lead(&lock).unwrap();
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").process_group(group.id.as_raw_pid()).spawn().unwrap();
        drop(group.shell.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn what_does_not_end_in_time_is_killed() {
        let lock = tempfile::tempfile().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        assert_eq!(run(command, &lock, Duration::from_millis(50)).await.unwrap(), None);
        assert!(
            run(Command::new("false"), &lock, Duration::from_secs(60))
                .await
                .unwrap()
                .is_some()
        );
    }
}
