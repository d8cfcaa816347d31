//! The weights of Harrell and Davis: a quantile as a mean of the values around
//! it, smoother and more precise than the one value at its rank.

use libm::{exp, log1p};

use super::beta::incomplete_beta;

/// With fewer ranks than this beyond the quantile the density has an edge that a table would blur.
const FEW: f64 = 3.0;

/// So many standard deviations, and then so many ranks, from its mean less than
/// 1e-12 of the distribution is left: the first for its middle, the second for
/// the long tail that it has where few ranks lie beyond the quantile.
const REACH: [f64; 2] = [10.0, 35.0];

/// Points of the table: cubic pieces between them are exact to 1e-10.
const NODES: usize = 4_096;

/// The distribution of weight over the ranks, as shares of all ranks: beta with
/// a = q·(n + 1) and b = (1 − q)·(n + 1).
///
/// The value of rank i of n has the weight I(i/n) − I((i − 1)/n), I the
/// distribution function (Harrell & Davis, Biometrika 69, 1982).
#[derive(Debug, Clone)]
pub(super) struct HarrellDavis {
    a: f64,
    b: f64,
    /// There is no weight before the first and after the second.
    reach: [f64; 2],
    /// The distribution function and its slope times the step, at equal steps over the reach; or empty.
    table: Vec<[f64; 2]>,
}

impl HarrellDavis {
    /// For the `q`-quantile of `n` values; `None` where `q` is not between 0 and 1, or `n` is 0.
    pub(super) fn new(q: f64, n: u64) -> Option<Self> {
        if n == 0 || !(q > 0.0 && q < 1.0) {
            return None;
        }
        let (a, b) = (q * (n as f64 + 1.0), (1.0 - q) * (n as f64 + 1.0));
        let deviation = (a * b / (a + b + 1.0)).sqrt() / (a + b);
        let reach = REACH[0] * deviation + REACH[1] / n as f64;
        let mut weights = Self {
            a,
            b,
            reach: [(q - reach).max(0.0), (q + reach).min(1.0)],
            table: Vec::new(),
        };
        if a.min(b) >= FEW {
            weights.tabulate();
        }
        Some(weights)
    }

    /// The share of ranks before which there is no weight.
    pub(super) fn start(&self) -> f64 {
        self.reach[0]
    }

    /// The weight of the first `share` of all ranks.
    pub(super) fn up_to(&self, share: f64) -> f64 {
        let [start, end] = self.reach;
        if share <= start {
            return 0.0;
        }
        if share >= end {
            return 1.0;
        }
        if self.table.is_empty() {
            return incomplete_beta(self.a, self.b, share);
        }
        let steps = (share - start) / (end - start) * (NODES - 1) as f64;
        let at = (steps as usize).min(NODES - 2);
        let ([y, slope], [next, next_slope]) = (self.table[at], self.table[at + 1]);
        // The cubic with the values and slopes of both ends (Hermite).
        let (t, rise) = (steps - at as f64, next - y);
        y + t * (slope + t * (3.0 * rise - 2.0 * slope - next_slope + t * (slope + next_slope - 2.0 * rise)))
    }

    /// The distribution function by Gauss and Legendre's rule of three points
    /// between neighbouring nodes. It needs no gamma function: the whole is 1.
    fn tabulate(&mut self) {
        const OFFSET: f64 = 0.387_298_334_620_741_7; // √(3/5)/2
        let [start, end] = self.reach;
        let step = (end - start) / (NODES - 1) as f64;
        let node = |at: usize| start + step * at as f64;
        let mut table = Vec::with_capacity(NODES);
        let mut sum = 0.0;
        for at in 0..NODES {
            table.push([sum, self.density(node(at))]);
            let middle = node(at) + 0.5 * step;
            let [before, after] = [middle - OFFSET * step, middle + OFFSET * step];
            sum += (5.0 * (self.density(before) + self.density(after)) + 8.0 * self.density(middle)) / 18.0;
        }
        let whole = table[NODES - 1][0];
        self.table = table.into_iter().map(|[y, slope]| [y / whole, slope / whole]).collect();
    }

    /// The density, as a multiple of that at the mode.
    fn density(&self, share: f64) -> f64 {
        if share <= 0.0 || share >= 1.0 {
            return 0.0;
        }
        let (a, b) = (self.a - 1.0, self.b - 1.0);
        let (mode, rest) = (a / (a + b), b / (a + b));
        let away = share - mode;
        exp(a * log1p(away / mode) + b * log1p(-away / rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(q: f64, n: u64) -> Vec<f64> {
        let weights = HarrellDavis::new(q, n).unwrap();
        let up_to = |rank: u64| weights.up_to(rank as f64 / n as f64);
        (1..=n).map(|rank| up_to(rank) - up_to(rank - 1)).collect()
    }

    #[test]
    fn weights_are_those_of_the_paper() {
        // Harrell & Davis (1982) for the median of ten; the digits from SciPy 1.17.1:
        // python -c "from scipy.stats import beta; print([beta.cdf((i+1)/10, 5.5, 5.5) - beta.cdf(i/10, 5.5, 5.5) for i in range(5)])"
        let half = [
            0.000_512_414_728_793_893_5,
            0.014_572_982_853_993_029,
            0.072_740_390_154_717_17,
            0.168_369_111_630_395_75,
            0.243_805_100_632_099_92,
        ];
        let expected = half.iter().chain(half.iter().rev());
        for (weight, expected) in weights(0.5, 10).iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-9, "{weight} {expected}");
        }
        // The same with 9.9 and 1.1, for the 90th percentile: its last four.
        let expected = [
            0.027_321_183_879_324_834,
            0.092_756_413_444_388_97,
            0.264_688_708_635_278_05,
            0.607_419_729_629_247_5,
        ];
        for (weight, expected) in weights(0.9, 10)[6..].iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-9, "{weight} {expected}");
        }
    }

    #[test]
    fn the_table_is_the_function() {
        for (q, n) in [
            (0.5, 6),
            (0.5, 100),
            (0.9, 30),
            (0.99, 400),
            (0.99, 50_000),
            (0.001, 5_000),
        ] {
            let weights = HarrellDavis::new(q, n).unwrap();
            assert_eq!(weights.table.len(), NODES, "{q} {n}");
            for rank in (1..n).step_by(1 + n as usize / 1_000) {
                let share = rank as f64 / n as f64;
                let exact = incomplete_beta(weights.a, weights.b, share);
                assert!((weights.up_to(share) - exact).abs() < 1e-9, "{q} {n} {rank}: {exact}");
            }
        }
    }

    #[test]
    fn only_quantiles_between_the_extremes_have_weights() {
        for (q, n) in [(0.0, 10), (1.0, 10), (f64::NAN, 10), (0.5, 0)] {
            assert!(HarrellDavis::new(q, n).is_none(), "{q} {n}");
        }
        assert_eq!(weights(0.5, 1), [1.0]);
    }
}
