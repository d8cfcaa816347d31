//! Ends a private server when loadgate does, however it ends.
//!
//! The kernel's parent-death signal would have to be set between fork and exec,
//! which safe Rust cannot do. Instead a shell leads the process group that the
//! server joins, and reads from a pipe that only loadgate holds. A line on it
//! means that all is well; its end without one, that loadgate is gone: then the
//! shell ends the group and removes the directory. While the shell lives the
//! number of the group cannot be given to others.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal};

use super::PostgresError;
use crate::lab::{RunDirectory, groups};

/// `$1` is the directory. SIGQUIT is PostgreSQL's immediate shutdown; it removes
/// `postmaster.pid` last. 5 s is what it grants its own children. A server that
/// is only about to start dies of the signal and leaves its shared memory: its
/// id ends line 7, and where the server has removed it nothing is there to do.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r word && exit 0
kill -s QUIT -- "-$$"
tries=0
memory=
while [ -e "$1/data/postmaster.pid" ] && [ "$tries" -lt 120 ]; do
  memory=$(sed -n '7s/.* //p' "$1/data/postmaster.pid" 2>/dev/null)
  sleep 0.05
  tries=$((tries + 1))
done
[ -z "$memory" ] || ipcrm --shmem-id "$memory" 2>/dev/null
rm -rf -- "$1"
"#;

/// The shell, and the group that it leads.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
    group: Pid,
}

impl Guard {
    /// Watches from now on. The directory is removed when this is dropped and not told of a good end.
    pub(super) fn set(directory: &RunDirectory) -> Result<Self, PostgresError> {
        let system = |source| PostgresError::system("the guard of the server cannot be started", source);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "loadgate-guard"])
            .arg(directory.path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            // Nothing is written there: with it the shell holds the lock, and nobody sweeps what it is about to.
            .stdout(directory.lock().map_err(system)?)
            .stderr(Stdio::null());
        // At once and with nothing left behind: the shell ignores SIGQUIT and does the rest.
        let shell = groups::spawn(Signal::QUIT, || command.spawn(), |shell| Some(Pid::from_child(shell)));
        let shell = shell.map_err(system)?;
        let group = Pid::from_child(&shell);
        Ok(Self { shell, group })
    }

    /// Makes a command part of the group.
    pub(super) fn enlist(&self, command: &mut Command) {
        command.process_group(self.group.as_raw_pid());
    }

    /// All processes of the group have ended: nothing is to be done any more.
    pub(super) fn dismiss(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"well\n");
        }
    }
}

impl Drop for Guard {
    /// Lets the shell do its work where it was not dismissed, and waits for it: some 6 s at most.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        groups::forget(self.group);
    }
}
