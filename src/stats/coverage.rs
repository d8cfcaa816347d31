//! Simulated observations whose truth is known: how often the intervals hold
//! it, and how often a variant against itself raises an alarm.
//!
//! The limits are those of longer simulations of the same cells (20,000
//! repetitions, 24 units), with four standard errors of the shorter ones here.

use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution as _, StandardNormal, StudentT};

use super::{
    Located, Scale,
    flips::sign_flip,
    looks::{FEWEST_UNITS_FOR_CRITICAL, alpha, looks},
    totals::{Totals, pseudo_values, ratio_of_totals},
    trimmed::trimmed_mean,
};

const UNITS: usize = 24;

/// One way observations may be spread.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// Student's t with three degrees of freedom, not the normal distribution.
    heavy: bool,
    autocorrelation: f64,
}

const CELLS: [Cell; 6] = [
    Cell::new(false, 0.0),
    Cell::new(false, 0.3),
    Cell::new(false, 0.6),
    Cell::new(true, 0.0),
    Cell::new(true, 0.3),
    Cell::new(true, 0.6),
];

impl Cell {
    const fn new(heavy: bool, autocorrelation: f64) -> Self {
        Self { heavy, autocorrelation }
    }

    /// An autoregressive series of mean 0 and deviation 1.
    fn series(self, rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
        const WARM_UP: usize = 40;
        let t = StudentT::new(3.0).unwrap();
        let fresh = (1.0 - self.autocorrelation * self.autocorrelation).sqrt();
        let mut last = 0.0;
        let mut series: Vec<f64> = (0..WARM_UP + UNITS)
            .map(|_| {
                let normal: f64 = StandardNormal.sample(rng);
                let noise = if self.heavy {
                    t.sample(rng) / 3.0_f64.sqrt()
                } else {
                    normal
                };
                last = self.autocorrelation * last + fresh * noise;
                last
            })
            .collect();
        series.split_off(WARM_UP)
    }

    /// Two variants whose means, `change` apart on the logarithmic scale, differ in every unit with this deviation.
    fn totals(self, rng: &mut Xoshiro256PlusPlus, deviation: f64, change: f64) -> Vec<Totals> {
        let half = deviation / 2.0_f64.sqrt();
        let (reference, candidate) = (self.series(rng), self.series(rng));
        let side = |log: f64| [800.0 * (half * log).exp(), 800.0];
        reference
            .into_iter()
            .zip(candidate)
            .map(|(r, c)| Totals {
                reference: side(r),
                candidate: side(c + change / half),
            })
            .collect()
    }
}

fn covers(located: &Located, truth: f64) -> bool {
    (0.025..=0.975).contains(&located.p_above(truth))
}

fn share(hits: impl Iterator<Item = bool>) -> f64 {
    let hits: Vec<bool> = hits.collect();
    hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64
}

#[test]
fn intervals_hold_the_truth_about_as_often_as_they_say() {
    for cell in CELLS {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let trimmed = share((0..1_500).map(|_| covers(&trimmed_mean(&cell.series(&mut rng)).unwrap(), 0.0)));
        let ratio = share((0..1_500).map(|_| {
            let units = cell.totals(&mut rng, 0.1, 0.05);
            covers(&ratio_of_totals(&units).unwrap(), 0.05)
        }));
        // .943 to .968 and .920 to .967 in the longer ones; the standard error is .006.
        assert!((0.92..=0.99).contains(&trimmed), "{cell:?}: {trimmed}");
        assert!((0.895..=0.99).contains(&ratio), "{cell:?}: {ratio}");
    }
}

/// What three looks at a run find: a warning, and a critical finding.
fn judged(units: &[Totals], seed: u64) -> [bool; 2] {
    let mut found = [false, false];
    for (look, count) in looks(units.len()).into_iter().enumerate() {
        let located = ratio_of_totals(&units[..count]).unwrap();
        let above = |null: f64| located.p_above(null) <= alpha(look);
        if located.estimate < 1.03_f64.ln() || !above(0.0) {
            continue;
        }
        let observations = pseudo_values(&units[..count], Scale::Relative).unwrap();
        if sign_flip(&observations, seed) <= alpha(look) {
            found[0] = true;
            let gross = located.estimate >= 1.1_f64.ln() && above(1.03_f64.ln());
            found[1] |= gross && count >= FEWEST_UNITS_FOR_CRITICAL;
        }
    }
    found
}

#[test]
fn a_variant_against_itself_rarely_raises_an_alarm() {
    for cell in CELLS {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
        let found: Vec<_> = (0..1_000)
            .map(|seed| judged(&cell.totals(&mut rng, 0.12, 0.0), seed))
            .collect();
        let [warnings, criticals] = [0, 1].map(|at| share(found.iter().map(|found| found[at])));
        // Warnings .4 to .5 %, 1.4 to 1.6 %, 2.5 to 3.0 % with the autocorrelation; criticals up to .7 %.
        let limit = [0.014, 0.032, 0.052][(cell.autocorrelation / 0.3).round() as usize];
        assert!(warnings <= limit, "{cell:?}: {warnings}");
        assert!(criticals <= 0.018, "{cell:?}: {criticals}");
    }
}

#[test]
fn a_change_of_a_fifth_is_found() {
    let cell = CELLS[0];
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let found: Vec<_> = (0..25)
        .map(|seed| judged(&cell.totals(&mut rng, 0.05, 0.18), seed))
        .collect();
    assert!(found.iter().all(|found| *found == [true, true]), "{found:?}");
}
