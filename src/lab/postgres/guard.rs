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

use super::{PostgresError, memory};
use crate::lab::{RunDirectory, groups};

/// `$1` is the directory. SIGQUIT is PostgreSQL's immediate shutdown; 5 s is
/// what it grants its own children. Where loadgate is a shell's background job
/// SIGQUIT is ignored by all who have not yet asked for it, so SIGTERM follows;
/// a server in its immediate shutdown makes nothing of that.
///
/// A server that is only about to start dies of them and leaves its shared
/// memory. Its id ends line 7 of `postmaster.pid`; before that is written it is
/// known by its key: see [`super::memory`]. The servers that initdb uses have
/// POSIX memory as well, whose names nobody else knows: they are looked up while
/// all of the group stand still.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
read -r word && exit 0
others() {
  others=
  for stat in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$stat" || continue
    set -- ${line##*) }
    [ "$3" != "$$" ] || [ "$1" = Z ] || [ "${line%% *}" = "$$" ] || others="$others ${line%% *}"
  done
  [ -n "$others" ]
}
others && kill -s STOP $others
mapped=$(for pid in $others; do
  sed -n 's|.* \(/dev/shm/PostgreSQL[.][0-9]*\)$|\1|p' "/proc/$pid/maps"
done 2>/dev/null)
for signal in QUIT TERM CONT; do kill -s "$signal" -- "-$$"; done
tries=0
while others && [ "$tries" -lt 140 ]; do
  [ "$tries" -lt 120 ] || kill -s KILL $others
  sleep 0.05
  tries=$((tries + 1))
done
memory=$(sed -n '7s/.* //p' "$1/data/postmaster.pid" 2>/dev/null)
[ -z "$memory" ] || ipcrm --shmem-id "$memory" 2>/dev/null
is_alive() {
  read -r line 2>/dev/null <"/proc/$1/stat" || return 1
  case ${line##*) } in Z*|X*) return 1 ;; esac
}
free_like() {
  while read -r key id mode size maker last users uid gid owner rest; do
    [ "$size" = "$SIZE" ] && [ "$users" = 0 ] && [ "$owner" = "$4" ] || continue
    [ $(((key - $1) & 0xffffffff)) -lt "$KEYS" ] || continue
    is_alive "$maker" || ipcrm --shmem-id "$id"
  done </proc/sysvipc/shm
}
[ -z "$mapped" ] || rm -f -- $mapped
[ ! -d "$1/data" ] || free_like $(ls -din -- "$1/data")
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
            .env("SIZE", memory::SIZE.to_string())
            .env("KEYS", memory::KEYS.to_string())
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

    /// The group of processes that the shell leads.
    pub(super) fn group(&self) -> Pid {
        self.group
    }

    /// All processes of the group have ended: nothing is to be done any more.
    pub(super) fn dismiss(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            let _ = pipe.write_all(b"well\n");
        }
    }
}

impl Drop for Guard {
    /// Lets the shell do its work where it was not dismissed, and waits for it: some 7 s at most.
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        groups::forget(self.group);
    }
}
