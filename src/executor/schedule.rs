//! When flows are due: a pure function of the seed and the number of the arrival.

use std::time::Duration;

use rand::RngExt as _;

use crate::workload::{Arrivals, stream};

/// The stream of random numbers that arrivals draw from.
const ARRIVALS: u64 = 0x6172_7269;

/// One flow start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// When it is due, from the start of the window.
    pub due: Duration,
}

/// All arrivals of a window, in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    rate: f64,
    spacing: Arrivals,
    seed: u64,
    window: Duration,
    number: u64,
    /// Seconds; exact for even spacing only through `number`.
    poisson_at: f64,
}

impl Schedule {
    /// `rate` in flow starts per second, above zero.
    pub fn new(rate: f64, spacing: Arrivals, seed: u64, window: Duration) -> Self {
        let mut schedule = Self {
            rate,
            spacing,
            seed,
            window,
            number: 0,
            poisson_at: 0.0,
        };
        schedule.poisson_at = schedule.gap(0);
        schedule
    }

    /// The arrivals of one of several workers: every `workers`-th one.
    pub fn shard(self, worker: usize, workers: usize) -> impl Iterator<Item = Arrival> {
        self.filter(move |arrival| arrival.number % workers as u64 == worker as u64)
    }

    /// The gap before arrival `number` in seconds, exponential with mean 1/rate.
    fn gap(&self, number: u64) -> f64 {
        let uniform: f64 = stream(self.seed, ARRIVALS, number).random();
        -(1.0 - uniform).ln() / self.rate
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let seconds = match self.spacing {
            Arrivals::Even => self.number as f64 / self.rate,
            Arrivals::Poisson => self.poisson_at,
        };
        // What is too far away for a Duration is past the window, too.
        let due = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|due| *due < self.window)?;
        let arrival = Arrival {
            number: self.number,
            due,
        };
        self.number += 1;
        if self.spacing == Arrivals::Poisson {
            self.poisson_at += self.gap(self.number);
        }
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(spacing: Arrivals) -> Schedule {
        Schedule::new(300.0, spacing, 7, Duration::from_secs(10))
    }

    #[test]
    fn even_arrivals_are_a_gap_apart_and_fill_the_window() {
        let all: Vec<Arrival> = schedule(Arrivals::Even).collect();
        assert_eq!(all.len(), 3000);
        assert_eq!(all[0].due, Duration::ZERO);
        assert_eq!(all[2999].due.as_micros(), 9_996_666);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread() {
        let all: Vec<Arrival> = schedule(Arrivals::Poisson).collect();
        // 3,000 expected, standard deviation 55.
        assert!((2780..3220).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all
            .windows(2)
            .map(|pair| (pair[1].due - pair[0].due).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        let coefficient = variance.sqrt() / mean;
        assert!((0.9..1.1).contains(&coefficient), "{coefficient}");
    }

    #[test]
    fn shards_together_are_the_whole() {
        for spacing in [Arrivals::Even, Arrivals::Poisson] {
            let mut together: Vec<Arrival> = (0..3).flat_map(|worker| schedule(spacing).shard(worker, 3)).collect();
            together.sort_by_key(|arrival| arrival.number);
            assert_eq!(together, schedule(spacing).collect::<Vec<_>>());
        }
    }
}
