//! What the load generator itself used and was given: a generator at its limit measures itself.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use super::machine::Counters;
use crate::run::Generator;

/// Measures CPU time of this whole process, all threads, against wall time.
#[derive(Debug, Clone, Copy)]
pub struct ProcessClock {
    cpu: Duration,
    wall: Instant,
    machine: Counters,
}

impl ProcessClock {
    /// Starts measuring, at the begin of the measured window.
    pub fn start() -> Self {
        Self {
            cpu: cpu_time(),
            wall: Instant::now(),
            machine: Counters::now(),
        }
    }

    /// CPU time that was used since the start.
    pub fn cpu(&self) -> Duration {
        cpu_time().saturating_sub(self.cpu)
    }

    /// What was used since the start. The clock may be read again later.
    pub fn stop(&self) -> Generator {
        let wall = self.wall.elapsed();
        let machine = Counters::now();
        Generator {
            cpu_s: self.cpu().as_secs_f64(),
            wall_s: wall.as_secs_f64(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            steal_share: machine.steal_since(&self.machine),
            pressure_share: machine.pressure_since(&self.machine, wall),
            throttled_share: machine.throttled_since(&self.machine, wall),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            open_files_limit: getrlimit(Resource::Nofile).current,
            ..Generator::default()
        }
    }
}

/// CPU time of this process since its start, user and system.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_as_cpu_time_within_what_the_cores_can_give() {
        let clock = ProcessClock::start();
        let mut sum = 0_u64;
        while cpu_time() < clock.cpu + Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let used = clock.stop();
        assert!(used.cpu_s >= 0.020, "{used:?}");
        assert!(used.wall_s > 0.0 && used.cores >= 1, "{used:?}");
        assert!(clock.stop().cpu_s >= used.cpu_s, "the clock only goes forward");
    }
}
