//! Counters of the machine that only grow: what they gained during the load
//! tells what else the machine did. Linux keeps them as files; elsewhere they are
//! not known.

use std::{fs, time::Duration};

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Counters {
    /// CPU time of all kinds, in ticks, and of it what the host gave to others: proc_stat(5).
    ticks: Option<(u64, u64)>,
    /// Time in which something waited for a CPU: Documentation/accounting/psi.rst of Linux.
    pressure: Option<Duration>,
    /// Time in which the control group was not allowed to run: Documentation/admin-guide/cgroup-v2.rst.
    throttled: Option<Duration>,
}

impl Counters {
    /// Reads them; what cannot be read is not known.
    pub(super) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        Self {
            ticks: read("/proc/stat").and_then(|text| ticks(&text)),
            pressure: read("/proc/pressure/cpu").and_then(|text| pressure(&text)),
            throttled: own_group(&read("/proc/self/cgroup").unwrap_or_default())
                .iter()
                .find_map(|directory| throttled(&read(&format!("{directory}/cpu.stat"))?)),
        }
    }

    /// Share of the machine's CPU time that its host gave to others since `before`.
    pub(super) fn steal_since(&self, before: &Self) -> Option<f64> {
        let ((all, stolen), (all_before, stolen_before)) = (self.ticks?, before.ticks?);
        let passed = all.checked_sub(all_before).filter(|passed| *passed > 0)?;
        Some(stolen.saturating_sub(stolen_before) as f64 / passed as f64)
    }

    /// Share of `wall` in which something waited for a CPU.
    pub(super) fn pressure_since(&self, before: &Self, wall: Duration) -> Option<f64> {
        share(self.pressure?, before.pressure?, wall)
    }

    /// Share of `wall` in which the control group was not allowed to run.
    pub(super) fn throttled_since(&self, before: &Self, wall: Duration) -> Option<f64> {
        share(self.throttled?, before.throttled?, wall)
    }
}

fn share(now: Duration, before: Duration, wall: Duration) -> Option<f64> {
    (!wall.is_zero()).then(|| now.saturating_sub(before).as_secs_f64() / wall.as_secs_f64())
}

/// All ticks and the stolen ones, from the first line of /proc/stat:
/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`.
/// Time of guests is part of user and nice already.
fn ticks(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map_while(|field| field.parse().ok())
        .collect();
    Some((fields.iter().sum(), *fields.get(7)?))
}

/// The total of `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`, microseconds.
fn pressure(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some.split_whitespace().find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

/// Directories that may hold the counters of this process's control group, the likeliest first.
fn own_group(text: &str) -> Vec<String> {
    let unified = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let by_controller = text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "cpu").then_some(path)
    });
    let mut directories = vec![format!("/sys/fs/cgroup{}", unified.trim_end_matches('/'))];
    // Inside a container the file names a path outside of it, and its own group is the root.
    directories.push("/sys/fs/cgroup".to_owned());
    directories.extend(by_controller.map(|path| format!("/sys/fs/cgroup/cpu{}", path.trim_end_matches('/'))));
    directories.push("/sys/fs/cgroup/cpu".to_owned());
    directories
}

/// `throttled_usec` of version 2, `throttled_time` (nanoseconds) of version 1.
fn throttled(text: &str) -> Option<Duration> {
    text.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_usec", value) => Some(Duration::from_micros(value.trim().parse().ok()?)),
        ("throttled_time", value) => Some(Duration::from_nanos(value.trim().parse().ok()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        let stat = "cpu  100 0 50 800 0 0 0 50 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(ticks(stat), Some((1000, 50)));
        assert_eq!(ticks("cpu  1 2 3\n"), None);
        let psi = "some avg10=1.00 avg60=2.00 avg300=3.00 total=4000000\nfull avg10=0.00 total=9\n";
        assert_eq!(pressure(psi), Some(Duration::from_secs(4)));
        assert_eq!(
            throttled("usage_usec 5\nnr_throttled 3\nthrottled_usec 2000\n"),
            Some(Duration::from_millis(2))
        );
        assert_eq!(
            throttled("nr_periods 1\nthrottled_time 3000000\n"),
            Some(Duration::from_millis(3))
        );
    }

    #[test]
    fn what_was_gained_is_a_share() {
        let counters = |ticks, pressure| Counters {
            ticks: Some(ticks),
            pressure: Some(Duration::from_millis(pressure)),
            throttled: None,
        };
        let (before, now) = (counters((1000, 50), 100), counters((1200, 60), 350));
        assert_eq!(now.steal_since(&before), Some(0.05));
        assert_eq!(now.pressure_since(&before, Duration::from_secs(1)), Some(0.25));
        assert_eq!(now.throttled_since(&before, Duration::from_secs(1)), None);
        assert_eq!(before.steal_since(&before), None, "no time has passed");
    }

    #[test]
    fn the_group_of_a_process_is_looked_for_where_it_may_be() {
        let directories = own_group("4:memory:/m\n1:cpu,cpuacct:/job\n0::/app.slice/x\n");
        assert_eq!(directories[0], "/sys/fs/cgroup/app.slice/x");
        assert!(directories.contains(&"/sys/fs/cgroup/cpu/job".to_owned()));
    }
}
