//! The process groups that are alive because of us, for an exit in a hurry.
//!
//! An ordinary end stops each [`super::Process`]; this register is for the
//! second or third Ctrl-C, when no destructor will run.

use std::{
    collections::BTreeSet,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process_group};

static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Kills every living managed process with all its children, at once and without asking.
///
/// To be followed by the exit of this process. Waits for nothing, takes only a
/// short lock, and may be called from any thread but not from a signal handler.
pub fn kill_all() {
    kill_each(&groups(&GROUPS));
}

/// Starts a process that leads its own group and remembers the group.
///
/// Both under one lock, so that [`kill_all`] cannot come between.
///
/// # Errors
/// Those of `spawn`.
pub(super) fn spawn<T>(spawn: impl FnOnce() -> io::Result<T>, group: impl FnOnce(&T) -> Option<Pid>) -> io::Result<T> {
    let mut groups = groups(&GROUPS);
    let child = spawn()?;
    groups.extend(group(&child).map(|group| group.as_raw_pid()));
    Ok(child)
}

/// Forgets a group whose leader has been reaped: its number may be given to others.
pub(super) fn forget(group: Pid) {
    groups(&GROUPS).remove(&group.as_raw_pid());
}

fn groups(register: &Mutex<BTreeSet<i32>>) -> MutexGuard<'_, BTreeSet<i32>> {
    register.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_each(groups: &BTreeSet<i32>) {
    for group in groups.iter().filter_map(|raw| Pid::from_raw(*raw)) {
        // One that has gone meanwhile needs no killing.
        let _ = kill_process_group(group, Signal::KILL);
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
        kill_each(&children.iter().map(|child| child.id() as i32).collect());
        for child in &mut children {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    }
}
