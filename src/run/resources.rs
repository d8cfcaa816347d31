//! What the systems under test used while load ran, where loadgate started them.

use serde::{Deserialize, Serialize};

/// What the processes of one target used in one window of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Resources {
    /// Name of the target.
    pub target: String,
    /// Name of its variant; `None` for a server that all variants share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The epoch, from 0; 0 where there are no variants.
    pub epoch: u32,
    /// CPU time in seconds, of all processes and threads that lived until the end of the window.
    pub cpu_s: f64,
    /// Resident memory at its end, in bytes.
    pub memory_bytes: u64,
    /// How long it was loaded, in seconds, what was not recorded included.
    pub loaded_s: f64,
}

/// More samples are not kept: neighbours are then merged, so that a long run needs no more room.
const MOST_SAMPLES: usize = 1200;

/// What processes used over the measured window; the windows of epochs follow each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsageOverTime {
    /// Name of the target; `None` for the load generator itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Name of its variant; `None` without variants and for what all share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// One for each second; of a long run, fewer.
    pub samples: Vec<UsageSample>,
}

/// What was used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UsageSample {
    /// Seconds since the measured window began.
    pub at_s: f64,
    /// CPU time in seconds since the sample before, of threads that live: who has ended takes his with him.
    pub cpu_s: f64,
    /// Resident memory at that moment, in bytes.
    pub memory_bytes: u64,
}

impl UsageOverTime {
    /// Takes what came later in the same window. What follows another within half a second joins it:
    /// a share of so short a time says nothing.
    pub fn push(&mut self, sample: UsageSample) {
        let before = self.samples.iter().rev().nth(1).map_or(0.0, |sample| sample.at_s);
        match self.samples.last_mut() {
            Some(last) if sample.at_s - last.at_s < 0.5 && last.at_s > before => {
                *last = UsageSample {
                    cpu_s: last.cpu_s + sample.cpu_s,
                    ..sample
                };
            }
            _ => self.samples.push(sample),
        }
        if self.samples.len() > MOST_SAMPLES {
            self.halve();
        }
    }

    /// Takes what was used in the next window, which began `at_s` seconds after the first one.
    pub fn add(&mut self, later: Self, at_s: f64) {
        for sample in later.samples {
            self.push(UsageSample {
                at_s: at_s + sample.at_s,
                ..sample
            });
        }
    }

    /// The same with as few samples as are kept of a measurement.
    pub fn bounded(&self) -> Self {
        let mut bounded = self.clone();
        while bounded.samples.len() > MOST_SAMPLES {
            bounded.halve();
        }
        bounded
    }

    /// How many cores were busy with it up to each sample, in order.
    pub fn cores(&self) -> impl Iterator<Item = (f64, f64)> {
        let before = [0.0].into_iter().chain(self.samples.iter().map(|sample| sample.at_s));
        let samples = self.samples.iter().zip(before);
        samples.filter_map(|(sample, before)| {
            let lasted = sample.at_s - before;
            (lasted > 0.0).then(|| (sample.at_s, sample.cpu_s / lasted))
        })
    }

    fn halve(&mut self) {
        let merged = self.samples.chunks(2).filter_map(|pair| {
            let cpu_s = pair.iter().map(|sample| sample.cpu_s).sum();
            pair.last().map(|last| UsageSample { cpu_s, ..*last })
        });
        self.samples = merged.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_s: f64, cpu_s: f64) -> UsageSample {
        UsageSample {
            at_s,
            cpu_s,
            memory_bytes: 1 << 20,
        }
    }

    fn series(samples: &[UsageSample]) -> UsageOverTime {
        let mut series = UsageOverTime {
            target: None,
            variant: None,
            samples: Vec::new(),
        };
        for sample in samples {
            series.push(*sample);
        }
        series
    }

    #[test]
    fn windows_follow_each_other_and_short_ends_join_what_was_before() {
        let mut all = series(&[sample(1.0, 0.5), sample(2.0, 1.0), sample(2.1, 0.05)]);
        all.add(series(&[sample(1.0, 2.0)]), 2.1);
        let cores: Vec<(f64, f64)> = all.cores().collect();
        let expected = [(1.0, 0.5), (2.1, 1.05 / 1.1), (3.1, 2.0)];
        assert_eq!(cores.len(), expected.len());
        for (seen, expected) in cores.iter().zip(expected) {
            assert!((seen.0 - expected.0).abs() < 1e-9 && (seen.1 - expected.1).abs() < 1e-9);
        }
    }

    #[test]
    fn a_long_run_needs_no_more_room_and_loses_no_time() {
        let seconds = 5_000;
        let all: Vec<UsageSample> = (1..=seconds).map(|at| sample(f64::from(at), 0.25)).collect();
        let all = series(&all);
        assert!(all.samples.len() <= MOST_SAMPLES);
        let used: f64 = all.samples.iter().map(|sample| sample.cpu_s).sum();
        assert!((used - 0.25 * f64::from(seconds)).abs() < 1e-6);
        assert!(all.cores().all(|(_, cores)| (cores - 0.25).abs() < 1e-9));
    }
}
