//! A server that nobody ended: loadgate was killed, and its guard too.
//!
//! What is known of it stands in the `postmaster.pid` of its data: on line 1 its
//! process id, on line 7 key and id of its shared memory.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long an immediate shutdown may take.
const END_WITHIN: Duration = Duration::from_secs(6);

/// Ends the server whose data lie in this directory, if there is one, and frees its shared memory.
///
/// Only a process that works in these data is touched, and only memory that it made and nobody uses.
pub(in crate::lab) fn end(directory: &Path) {
    let data = directory.join("data");
    let Ok(file) = fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    let lines: Vec<&str> = file.lines().collect();
    // Below zero it is a server that initdb uses for itself.
    let number = lines.first().and_then(|line| line.trim().parse::<i32>().ok());
    if let Some(pid) = number.and_then(|number| Pid::from_raw(number.checked_abs()?)) {
        for signal in [Signal::QUIT, Signal::KILL] {
            let deadline = Instant::now() + END_WITHIN;
            while works_in(pid, &data) && Instant::now() < deadline {
                let _ = kill_process(pid, signal);
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    if let Some((key, id)) = lines.get(6).and_then(|line| numbers(line)) {
        // Its children end a moment later.
        for _ in 0..20 {
            let memory = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
            match users(&memory, key, id) {
                None => return,
                Some(0) => return free(id),
                Some(_) => thread::sleep(Duration::from_millis(50)),
            }
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

/// How many processes have that segment, if it is there. Columns: key, id, mode, size, two pids, users, …
fn users(memory: &str, key: i64, id: i64) -> Option<i64> {
    memory.lines().find_map(|line| {
        let columns: Vec<i64> = line
            .split_whitespace()
            .filter_map(|column| column.parse().ok())
            .collect();
        // The kernel prints the key signed, PostgreSQL without a sign.
        let same = columns.len() > 6 && columns[0] as u32 == key as u32 && columns[1] == id;
        same.then(|| columns[6])
    })
}

fn free(id: i64) {
    let mut command = Command::new("ipcrm");
    command.args(["--shmem-id", &id.to_string()]);
    let _ = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_that_nobody_uses_is_freed() {
        let memory = "       key      shmid perms       size  cpid  lpid nattch   uid\n\
                      1146903  5  600   56 13 13      6   101\n  -98  6  600   56 13 13      0   101\n";
        assert_eq!(users(memory, 1_146_903, 5), Some(6));
        assert_eq!(users(memory, 4_294_967_198, 6), Some(0));
        assert_eq!((users(memory, 4_294_967_198, 7), users(memory, 97, 6)), (None, None));
        assert_eq!((numbers("  98  6 "), numbers("98")), (Some((98, 6)), None));
    }

    #[test]
    fn a_process_elsewhere_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .current_dir(directory.path())
            .spawn()
            .unwrap();
        fs::write(data.join("postmaster.pid"), format!("{}\n", sleeper.id())).unwrap();
        end(directory.path());
        assert!(sleeper.try_wait().unwrap().is_none());
        let mut server = Command::new("sleep").arg("60").current_dir(&data).spawn().unwrap();
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
