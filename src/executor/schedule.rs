//! When flows are due: a pure function of the seed and the number of the arrival.

use std::time::Duration;

use rand::RngExt as _;

use crate::workload::{Arrivals, Rates, stream};

/// The stream of random numbers that arrivals draw from.
const ARRIVALS: u64 = 0x6172_7269;

/// One flow start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number, from 0.
    pub number: u64,
    /// When it is due, from the start of the window.
    pub due: Duration,
    /// Index of the variant that serves it.
    pub variant: usize,
}

/// All arrivals of a window, in order.
///
/// Arrival `n` is due when the rate, summed up over time, has reached `n` (even
/// spacing) or the sum of `n` exponential gaps of mean one (a Poisson process
/// whose rate changes: Lewis and Shedler 1979, by inversion).
#[derive(Debug, Clone)]
pub struct Schedule {
    pieces: Vec<Piece>,
    /// Index of the piece in which the next arrival lies.
    piece: usize,
    spacing: Arrivals,
    seed: u64,
    window: Duration,
    number: u64,
    /// Sum of the exponential gaps so far.
    gaps: f64,
}

/// A stretch in which the rate follows a straight line.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Its begin, in seconds.
    begin: f64,
    /// Its length; the last one is endless.
    length: f64,
    /// Arrivals before it.
    before: f64,
    /// Rate at its begin.
    from: f64,
    /// Rate at its end.
    to: f64,
}

impl Piece {
    /// Arrivals before its end.
    fn after(&self) -> f64 {
        self.before + (self.from + self.to) / 2.0 * self.length
    }

    /// When the summed rate reaches `arrivals`, in seconds.
    fn when(&self, arrivals: f64) -> f64 {
        let within = arrivals - self.before;
        if self.from == self.to {
            return self.begin + within / self.from;
        }
        // The root of from·t + (to − from)/(2·length)·t² = within, in the form that does not cancel.
        let slope = (self.to - self.from) / self.length;
        let root = (self.from * self.from + 2.0 * slope * within).max(0.0).sqrt();
        self.begin + 2.0 * within / (self.from + root)
    }
}

impl Schedule {
    /// The arrivals at these rates, as far as they are due within the window.
    pub fn new(rates: &Rates, spacing: Arrivals, seed: u64, window: Duration) -> Self {
        let mut schedule = Self {
            pieces: pieces(rates),
            piece: 0,
            spacing,
            seed,
            window,
            number: 0,
            gaps: 0.0,
        };
        schedule.gaps = schedule.gap(0);
        schedule
    }

    /// The arrivals of one of several workers. They are dealt out to the sessions in
    /// turn, and these to the workers: who has more sessions gets more of them.
    pub fn shard(self, worker: usize, workers: usize, sessions: usize) -> impl Iterator<Item = Arrival> {
        let (workers, sessions) = (workers.max(1) as u64, sessions.max(1) as u64);
        self.filter(move |arrival| arrival.number % sessions % workers == worker as u64)
    }

    /// The gap before arrival `number`, exponential with mean 1.
    fn gap(&self, number: u64) -> f64 {
        let uniform: f64 = stream(self.seed, ARRIVALS, number).random();
        -(1.0 - uniform).ln()
    }
}

fn pieces(rates: &Rates) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut begin, mut before, mut from) = (0.0, 0.0, rates.start);
    for (to, length) in &rates.stages {
        let piece = Piece {
            begin,
            length: length.as_secs_f64(),
            before,
            from,
            to: *to,
        };
        if !length.is_zero() {
            (begin, before) = (begin + piece.length, piece.after());
            pieces.push(piece);
        }
        from = *to;
    }
    pieces.push(Piece {
        begin,
        length: f64::INFINITY,
        before,
        from,
        to: from,
    });
    pieces
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let arrivals = match self.spacing {
            Arrivals::Even => self.number as f64,
            Arrivals::Poisson => self.gaps,
        };
        while self.piece + 1 < self.pieces.len() && self.pieces[self.piece].after() <= arrivals {
            self.piece += 1;
        }
        // What is too far away for a Duration is past the window, too.
        let due = Duration::try_from_secs_f64(self.pieces[self.piece].when(arrivals))
            .ok()
            .filter(|due| *due < self.window)?;
        let arrival = Arrival {
            number: self.number,
            due,
            variant: 0,
        };
        self.number += 1;
        if self.spacing == Arrivals::Poisson {
            self.gaps += self.gap(self.number);
        }
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(spacing: Arrivals) -> Schedule {
        Schedule::new(&Rates::constant(300.0), spacing, 7, Duration::from_secs(10))
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
            let mut together: Vec<Arrival> = (0..3)
                .flat_map(|worker| schedule(spacing).shard(worker, 3, 5))
                .collect();
            together.sort_by_key(|arrival| arrival.number);
            assert_eq!(together, schedule(spacing).collect::<Vec<_>>());
        }
    }

    fn staged() -> Rates {
        let stage = |rate: f64, seconds: f64| (rate, Duration::from_secs_f64(seconds));
        Rates {
            start: 100.0,
            stages: vec![
                stage(300.0, 2.0),
                stage(300.0, 1.0),
                stage(50.0, 0.0),
                stage(50.0, 1.0),
                stage(10.0, 2.0),
            ],
        }
    }

    #[test]
    fn stages_have_the_area_under_their_rate_and_arrivals_come_in_order() {
        for spacing in [Arrivals::Even, Arrivals::Poisson] {
            let all: Vec<Arrival> = Schedule::new(&staged(), spacing, 7, Duration::from_secs(6)).collect();
            let before = |seconds: f64| all.iter().filter(|a| a.due.as_secs_f64() < seconds).count();
            // A trapezium, a rectangle, a jump and a rectangle, a ramp down: 400, 300, 50, 60.
            for (seconds, wanted) in [(2.0, 400), (3.0, 700), (4.0, 750), (6.0, 810)] {
                let spread = if spacing == Arrivals::Even {
                    1
                } else {
                    4 * (wanted as f64).sqrt() as usize
                };
                let found = before(seconds);
                assert!(
                    found.abs_diff(wanted) <= spread,
                    "{found} before {seconds} s, {wanted} expected"
                );
            }
            assert!(all.is_sorted_by_key(|arrival| arrival.due));
            assert!(all.iter().enumerate().all(|(n, arrival)| arrival.number == n as u64));
        }
    }

    #[test]
    fn a_ramp_is_half_way_when_three_eighths_of_its_arrivals_are_due() {
        // From 100/s to 300/s in 2 s: ∫ = 100·t + 50·t², 150 of 400 at t = 1.
        let all: Vec<Arrival> = Schedule::new(&staged(), Arrivals::Even, 1, Duration::from_secs(2)).collect();
        assert!(
            all[150].due.as_secs_f64().mul_add(1.0, -1.0).abs() < 1e-6,
            "{:?}",
            all[150]
        );
    }

    #[test]
    fn a_schedule_is_a_function_of_seed_and_number() {
        let poisson = |seed| Schedule::new(&staged(), Arrivals::Poisson, seed, Duration::from_secs(6));
        assert!(poisson(7).eq(poisson(7)));
        assert!(!poisson(7).eq(poisson(8)));
        let mut shards: Vec<Arrival> = (0..3).flat_map(|worker| poisson(7).shard(worker, 3, 5)).collect();
        shards.sort_by_key(|arrival| arrival.number);
        assert!(poisson(7).eq(shards));
    }
}
