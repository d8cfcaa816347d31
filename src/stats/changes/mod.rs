//! Where a series of figures changed for good: one value per run, night or build.
//!
//! Such series have spikes, drift, and levels that go up and come back; nobody
//! knows their noise beforehand. So in four steps:
//!
//! 1. `Steadied`: spikes are cut down to where they no longer pull a mean, and
//!    the ordinary noise σ is taken from differences of neighbours, which levels
//!    do not touch.
//! 2. `candidates`: binary segmentation by the mean (Scott and Knott,
//!    "A cluster analysis method for grouping means", Biometrics 30, 1974) with
//!    the penalty 3·σ²·ln n, segments of six points or more. It proposes too many.
//! 3. `Steadied::weight`: each candidate is weighed by how *certain* it is
//!    (Welch's t) times how much it *stands out* beside the single points that
//!    leave their neighbours. A series that jumps about without a reason has to
//!    show a larger change than a quiet one.
//! 4. `weeded`: the lightest candidate goes, its neighbours are weighed again
//!    over their longer segments, until all that are left weigh enough.
//!
//! Nothing is relative to the level, so a series may be shifted, scaled or turned
//! upside down without moving its change points; read backwards it has them in
//! the same places, but for equals in a choice of the largest.
//!
//! The constants were chosen on 114 performance series of a database, labelled
//! by up to five people each; half or twice of any one of them costs at most
//! .013 of their F1, except `ENOUGH`, which trades misses for false alarms. `ci/changes-exam` scores them. This module knows nothing of files.

mod steadied;
#[cfg(test)]
mod tests;

use self::steadied::Steadied;

/// A segment has at least so many points; so a series shorter than two of them has no changes.
const SHORTEST: usize = 6;

/// What a split must gain, in σ²·ln n, to become a candidate.
const PENALTY: f64 = 3.0;

/// A change weighs at least this much.
const ENOUGH: f64 = 9.0;

/// A point at which the level of a series changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Position of the first value of the new level.
    pub at: usize,
    /// Median since the change before it, or since the beginning.
    pub before: f64,
    /// Median until the change after it, or until the end.
    pub after: f64,
}

/// The changes of a series, in order.
///
/// None where the series is constant, shorter than twelve values, or has a value
/// that is not finite. Takes about n·log n steps for n values, and at worst, when
/// it changes all the time, n².
pub fn changes(values: &[f64]) -> Vec<Change> {
    let Some(steadied) = Steadied::of(values) else {
        return Vec::new();
    };
    let cuts = weeded(candidates(steadied.values()), &steadied);
    cuts.windows(3)
        .map(|cut| Change {
            at: cut[1],
            before: median(&values[cut[0]..cut[1]]),
            after: median(&values[cut[1]..cut[2]]),
        })
        .collect()
}

/// Binary segmentation: where to cut `values` (in units of σ), with both ends.
fn candidates(values: &[f64]) -> Vec<usize> {
    let sums = prefix_sums(values);
    let penalty = PENALTY * (values.len() as f64).ln();
    let mut cuts = vec![0, values.len()];
    let mut open = vec![(0, values.len())];
    while let Some((from, to)) = open.pop() {
        if let Some((cut, gain)) = best_cut(&sums, from, to)
            && gain > penalty
        {
            cuts.push(cut);
            open.extend([(from, cut), (cut, to)]);
        }
    }
    cuts.sort_unstable();
    cuts
}

/// Sums of the first 0, 1, 2, … values.
fn prefix_sums(values: &[f64]) -> Vec<f64> {
    let mut total = 0.0;
    let mut sums = vec![total];
    sums.extend(values.iter().map(|value| {
        total += value;
        total
    }));
    sums
}

/// The cut between two means that leaves the least sum of squares, and by how much it lowers it:
///
/// gain = (S₁·n − S·n₁)² / (n₁·n₂·n), with sums S and numbers n of the whole and its parts.
fn best_cut(sums: &[f64], from: usize, to: usize) -> Option<(usize, f64)> {
    let (n, sum) = ((to - from) as f64, sums[to] - sums[from]);
    let gain = |cut: usize| {
        let (left, right) = ((cut - from) as f64, (to - cut) as f64);
        ((sums[cut] - sums[from]) * n - sum * left).powi(2) / (left * right * n)
    };
    (from + SHORTEST..(to + 1).saturating_sub(SHORTEST))
        .map(|cut| (cut, gain(cut)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// Takes the lightest cut away until all weigh [`ENOUGH`]; the ends stay.
fn weeded(mut cuts: Vec<usize>, steadied: &Steadied) -> Vec<usize> {
    let weigh = |cuts: &[usize], at: usize| steadied.weight(cuts[at - 1], cuts[at], cuts[at + 1]);
    // weights[i] belongs to cuts[i + 1].
    let mut weights: Vec<f64> = (1..cuts.len() - 1).map(|at| weigh(&cuts, at)).collect();
    while let Some((lightest, _)) = weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| **weight < ENOUGH)
        .min_by(|one, other| one.1.total_cmp(other.1))
    {
        weights.remove(lightest);
        cuts.remove(lightest + 1);
        for neighbour in [lightest.checked_sub(1), Some(lightest)].into_iter().flatten() {
            if let Some(weight) = weights.get_mut(neighbour) {
                *weight = weigh(&cuts, neighbour + 1);
            }
        }
    }
    cuts
}

/// The middle value, or the mean of the two; `values` must not be empty.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    let middle = sorted.len() / 2;
    let (below, &mut upper, _) = sorted.select_nth_unstable_by(middle, f64::total_cmp);
    if values.len() % 2 == 1 {
        return upper;
    }
    // Halved first: the sum of two huge values is infinite.
    below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper) / 2.0 + upper / 2.0
}
