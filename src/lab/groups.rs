//! The process groups that are alive because of us, for an exit in a hurry.
//!
//! An ordinary end stops each [`super::Process`]; this register is for the
//! second or third Ctrl-C, when no destructor will run.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Each with the signal that ends it at once.
static GROUPS: Mutex<BTreeMap<i32, Signal>> = Mutex::new(BTreeMap::new());

/// Ends every living managed process with all its children, at once and without asking.
///
/// To be followed by the exit of this process. Waits for nothing, takes only a
/// short lock, and may be called from any thread but not from a signal handler.
pub fn kill_all() {
    kill_each(&groups(&GROUPS));
}

/// Starts a process that leads its own group and remembers the group, with the
/// signal that ends it at once: SIGKILL but for those who then leave something behind.
///
/// Both under one lock, so that [`kill_all`] cannot come between.
///
/// # Errors
/// Those of `spawn`.
pub(super) fn spawn<T>(
    signal: Signal,
    spawn: impl FnOnce() -> io::Result<T>,
    group: impl FnOnce(&T) -> Option<Pid>,
) -> io::Result<T> {
    let mut groups = groups(&GROUPS);
    let child = spawn()?;
    groups.extend(group(&child).map(|group| (group.as_raw_pid(), signal)));
    Ok(child)
}

/// Forgets a group whose leader has been reaped: its number may be given to others.
pub(super) fn forget(group: Pid) {
    groups(&GROUPS).remove(&group.as_raw_pid());
}

fn groups(register: &Mutex<BTreeMap<i32, Signal>>) -> MutexGuard<'_, BTreeMap<i32, Signal>> {
    register.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_each(groups: &BTreeMap<i32, Signal>) {
    for (raw, signal) in groups {
        // One that has gone meanwhile needs no killing.
        let _ = Pid::from_raw(*raw).map(|group| kill_process_group(group, *signal));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

    use super::*;

    // Not through `kill_all`, which would also kill the children of other tests.
    #[test]
    fn every_group_of_the_register_is_killed() {
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                std::process::Command::new("sleep")
                    .arg("60")
                    .process_group(0)
                    .spawn()
                    .unwrap()
            })
            .collect();
        let ids = children.iter().map(|child| child.id() as i32);
        kill_each(&ids.zip([Signal::KILL, Signal::TERM]).collect());
        let signals = children.iter_mut().map(|child| child.wait().unwrap().signal());
        assert_eq!(signals.collect::<Vec<_>>(), [Some(9), Some(15)]);
    }
}
