//! What a group of processes uses: CPU time to the nanosecond, and memory.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use rustix::process::Pid;

/// What a group of processes has used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time of all threads that are alive; who has ended takes his with him.
    pub cpu: Duration,
    /// Memory that is resident now, shared pages counted once for each process.
    pub memory: u64,
}

/// Of all processes of each group and of what these have started, as the kernel's scheduler
/// accounts for them: `/proc` counts ticks of 10 ms in its older files, which is too coarse
/// for an operation. PostgreSQL's backends leave the group of their server.
pub fn usage_of(groups: &[Pid]) -> Vec<Usage> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes: Vec<Process> = entries.filter_map(|entry| Process::read(&entry.path())).collect();
    groups.iter().map(|group| usage(*group, &processes)).collect()
}

/// Resident memory of this process alone, in bytes.
pub fn own_memory() -> u64 {
    memory(Path::new("/proc/self"))
}

fn usage(group: Pid, processes: &[Process]) -> Usage {
    let mut found: BTreeSet<i32> = processes
        .iter()
        .filter(|process| process.group == group.as_raw_nonzero().get())
        .map(|process| process.id)
        .collect();
    // Each round finds one generation more.
    loop {
        let children = processes.iter().filter(|process| found.contains(&process.parent));
        let known = found.len();
        found.extend(children.map(|process| process.id).collect::<Vec<_>>());
        if found.len() == known {
            break;
        }
    }
    let mut all = Usage::default();
    for id in found {
        let path = Path::new("/proc").join(id.to_string());
        all.cpu += cpu(&path);
        all.memory += memory(&path);
    }
    all
}

/// A process and where it belongs.
struct Process {
    id: i32,
    parent: i32,
    group: i32,
}

impl Process {
    /// The fourth and fifth field of `stat`, counted behind the name, which may hold anything.
    fn read(path: &Path) -> Option<Self> {
        let id = path.file_name()?.to_str()?.parse().ok()?;
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        Some(Self {
            id,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }
}

/// Nanoseconds on a CPU are the first number of `schedstat`.
fn cpu(process: &Path) -> Duration {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// `VmRSS` of `status`, in KiB.
fn memory(process: &Path) -> u64 {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use rustix::process::getpgrp;

    use super::*;

    #[test]
    fn work_of_a_group_is_seen_as_its_cpu_time() {
        let now = || usage_of(&[getpgrp()])[0];
        let before = now();
        let mut sum = 0_u64;
        while now().cpu < before.cpu + Duration::from_millis(20) {
            for number in 0..1_000_000_u64 {
                sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
            }
        }
        assert!(now().memory > 1 << 20 && own_memory() > 1 << 20);
    }

    #[test]
    fn a_group_that_is_not_there_uses_nothing() {
        let nobody = Pid::from_raw(i32::MAX - 1).unwrap();
        assert_eq!(usage_of(&[nobody]), [Usage::default()]);
    }
}
