//! The machine, and whether it had anything else to do.

use std::{fs, path::Path, process::Command};

use super::tools;

/// What it is.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// Whether the two pinned cores are threads of one.
    pub(crate) siblings: bool,
    pub(crate) kernel: String,
    /// Over 1, 5 and 15 minutes, when the measurement began.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let siblings = text("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
        let load = text("/proc/loadavg");
        Self {
            processor: processor(&text("/proc/cpuinfo")).unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            siblings: matches!(siblings.trim(), "0,1" | "0-1"),
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.split_whitespace().take(3).collect::<Vec<_>>().join(", "),
        }
    }
}

/// `loadgate 0.1.0, commit 1a2b3c4`, with what is not committed named.
pub(crate) fn loadgate_version(program: &Path, repository: &Path) -> String {
    let version = tools::first_line(Command::new(program).arg("--version")).unwrap_or_else(|| "loadgate".into());
    let git = |arguments: &[&str]| tools::first_line(Command::new("git").arg("-C").arg(repository).args(arguments));
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return version;
    };
    let changed = git(&["status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"]).is_some();
    let changed = if changed { " with changes" } else { "" };
    format!("{version}, commit {commit}{changed}")
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Ticks of all cores since the machine started: all of them, and those that a hypervisor took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    pub(crate) fn now() -> Self {
        Self::read(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn read(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; guests are within user.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        Self {
            all: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
        }
    }

    /// The share that was taken since then.
    pub(crate) fn stolen_since(self, then: Self) -> f64 {
        self.stolen.saturating_sub(then.stolen) as f64 / self.all.saturating_sub(then.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let then = Ticks::read("cpu  100 0 100 700 0 0 0 100 0 0\ncpu0 …");
        let now = Ticks::read("cpu  200 0 200 1300 0 0 0 300 50 0\n");
        assert!((now.stolen_since(then) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(
            processor("processor\t: 0\nmodel name\t: A Chip\n").as_deref(),
            Some("A Chip")
        );
    }
}
