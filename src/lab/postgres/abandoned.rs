//! A server that nobody ended: loadgate was killed, and its guard too.
//!
//! What is known of it stands in the `postmaster.pid` of its data: on line 1 its
//! process id, on line 7 key and id of its shared memory. Killed before it wrote
//! that, its memory is known by its key.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::memory::{self, Maker};

/// How long an immediate shutdown may take.
const END_WITHIN: Duration = Duration::from_secs(6);

/// Ends the server whose data lie in this directory, if there is one, and frees its shared memory.
///
/// Only a process that works in these data is touched, and only memory that it made and nobody uses.
pub(in crate::lab) fn end(directory: &Path) {
    let data = directory.join("data");
    let Some(maker) = Maker::of(&data) else { return };
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = file.lines().collect();
    // Below zero it is a server that initdb uses for itself.
    let number = lines.first().and_then(|line| line.trim().parse::<i32>().ok());
    if let Some(pid) = number.and_then(|number| Pid::from_raw(number.checked_abs()?)) {
        end_process(pid, &data);
    }
    let told = lines.get(6).and_then(|line| numbers(line));
    // Its children end a moment later.
    for _ in 0..20 {
        if memory::free(&maker, told) {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn end_process(pid: Pid, data: &Path) {
    for signal in [Signal::QUIT, Signal::KILL] {
        let deadline = Instant::now() + END_WITHIN;
        while works_in(pid, data) && Instant::now() < deadline {
            let _ = kill_process(pid, signal);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A server stands in its directory of data.
fn works_in(pid: Pid, data: &Path) -> bool {
    let working = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_pid()));
    working.is_ok_and(|working| data.canonicalize().is_ok_and(|data| data == working))
}

fn numbers(line: &str) -> Option<(i64, i64)> {
    let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_id_are_read() {
        assert_eq!((numbers("  98  6 "), numbers("98")), (Some((98, 6)), None));
    }

    #[test]
    fn a_process_elsewhere_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut sleeper = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        fs::write(data.join("postmaster.pid"), format!("{}\n", sleeper.id())).unwrap();
        end(directory.path());
        assert!(sleeper.try_wait().unwrap().is_none());
        let mut server = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(&data)
            .spawn()
            .unwrap();
        fs::write(data.join("postmaster.pid"), format!("{}\n", server.id())).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| end(directory.path()));
            // Reaped here, as the system would for the child of a dead process.
            server.wait().unwrap();
        });
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
