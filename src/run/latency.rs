//! Latencies as HDR histograms, and their form in files.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

use super::sparse::{self, Counts};

/// The largest latency that is told apart: one hour in nanoseconds.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;

/// The encoded form of a histogram may not be larger than this (bytes of base64).
const LARGEST_ENCODED: usize = 4 << 20;

/// A distribution of latencies: a histogram in nanoseconds with three
/// significant digits, and what a histogram cannot keep: the exact sum, and how
/// many values lay above its range (they are counted at the top).
#[derive(Debug, Clone)]
pub struct Latency {
    /// The histogram, 1 ns to one hour.
    pub hdr: Histogram<u64>,
    /// Exact sum in nanoseconds.
    pub sum_ns: u64,
    /// Values above the range.
    pub above_range: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// An empty distribution.
    #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram accepts")]
    pub fn new() -> Self {
        let hdr = Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("constant bounds");
        Self {
            hdr,
            sum_ns: 0,
            above_range: 0,
        }
    }

    /// Counts one value. Neither locks nor allocates.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if ns > HIGHEST_NS {
            self.above_range += 1;
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.hdr.saturating_record(ns);
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        // Both have the bounds of `new`, so the other's values always fit.
        let added = self.hdr.add(&other.hdr);
        debug_assert!(added.is_ok());
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.above_range += other.above_range;
    }

    /// Empties it, keeping its memory; what is empty is not touched, so that unused pages stay unused.
    pub fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        self.hdr.reset();
        self.sum_ns = 0;
        self.above_range = 0;
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.hdr.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.hdr.is_empty()
    }

    /// The mean in nanoseconds, from the exact sum.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.sum_ns as f64 / self.count() as f64)
    }

    /// The value in nanoseconds at a quantile between 0 and 1.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        (!self.is_empty()).then(|| self.hdr.value_at_quantile(q) as f64)
    }

    /// The smallest value in nanoseconds, as precise as the histogram.
    pub fn min(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.hdr.min() as f64)
    }

    /// The largest value in nanoseconds, as precise as the histogram.
    pub fn max(&self) -> Option<f64> {
        (!self.is_empty()).then(|| self.hdr.max() as f64)
    }

    /// The compact form for files.
    pub fn encode(&self) -> Encoded {
        let mut bytes = Vec::new();
        // Writing to memory cannot fail, and a count never exceeds i64.
        let written = V2DeflateSerializer::new().serialize(&self.hdr, &mut bytes);
        debug_assert!(written.is_ok());
        Encoded(BASE64.encode(bytes))
    }
}

/// A histogram as text: HdrHistogram V2, deflated, base64 (`HISTFAAA…`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Encoded(pub String);

impl Encoded {
    /// The histogram it holds.
    ///
    /// # Errors
    /// A sentence, when it is no such histogram or implausibly large.
    pub fn decode(&self) -> Result<Histogram<u64>, String> {
        let bytes = self.bytes()?;
        let hdr: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("not an HDR histogram: {error}"))?;
        if hdr.high() > 2 * HIGHEST_NS || hdr.sigfig() > 3 {
            return Err("a histogram whose range is not that of loadgate".into());
        }
        Ok(hdr)
    }

    /// Its values, each the largest of those that are not told apart, with their counts, in order: much
    /// faster than [`Encoded::decode`] where there are few.
    ///
    /// # Errors
    /// As [`Encoded::decode`].
    pub fn counts(&self) -> Result<Counts, String> {
        if let Some(values) = sparse::read(&self.bytes()?) {
            return Ok(values);
        }
        let hdr = self.decode()?;
        let values = hdr.iter_recorded();
        Ok(values
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect())
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        if self.0.len() > LARGEST_ENCODED {
            return Err("a histogram of more than 4 MiB".into());
        }
        BASE64
            .decode(&self.0)
            .map_err(|error| format!("a histogram is not base64: {error}"))
    }
}

#[derive(Serialize, Deserialize)]
struct StoredLatency {
    count: u64,
    sum_ns: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    above_range: u64,
    hdr: Encoded,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredLatency {
            count: self.count(),
            sum_ns: self.sum_ns,
            above_range: self.above_range,
            hdr: self.encode(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let stored = StoredLatency::deserialize(deserializer)?;
        let decoded = stored.hdr.decode().map_err(D::Error::custom)?;
        if decoded.len() != stored.count {
            return Err(D::Error::custom(format!(
                "a histogram holds {} values, not {}",
                decoded.len(),
                stored.count
            )));
        }
        // Into one of our own bounds, so that any two can be added.
        let mut latency = Self::new();
        latency.hdr.add(&decoded).map_err(D::Error::custom)?;
        latency.sum_ns = stored.sum_ns;
        latency.above_range = stored.above_range;
        Ok(latency)
    }
}

/// One latency per outcome.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LatencyByOutcome {
    /// Operations that ended as expected.
    pub completed: Latency,
    /// Operations that ended otherwise.
    pub failed: Latency,
    /// Operations still under way when the drain ended, at what they had reached: they took at least that long.
    pub unfinished: Latency,
}

impl LatencyByOutcome {
    /// All outcomes together.
    pub fn all(&self) -> Latency {
        let mut all = self.completed.clone();
        all.add(&self.failed);
        all.add(&self.unfinished);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_survives_its_file_form() {
        let mut latency = Latency::new();
        for ns in [1, 1_000, 123_456_789, HIGHEST_NS + 5] {
            latency.record(ns);
        }
        let text = serde_json::to_string(&latency).unwrap();
        assert!(text.contains("HISTFAAA"));
        let back: Latency = serde_json::from_str(&text).unwrap();
        assert_eq!((back.count(), back.sum_ns, back.above_range), (4, latency.sum_ns, 1));
        assert_eq!(back.hdr, latency.hdr);
    }

    #[test]
    fn a_count_that_does_not_fit_the_histogram_is_refused() {
        let mut latency = Latency::new();
        latency.record(5);
        let text = serde_json::to_string(&latency)
            .unwrap()
            .replace("\"count\":1", "\"count\":2");
        assert!(
            serde_json::from_str::<Latency>(&text)
                .unwrap_err()
                .to_string()
                .contains("1 values, not 2")
        );
    }

    #[test]
    fn the_mean_is_exact_and_an_empty_latency_has_no_figures() {
        let mut latency = Latency::new();
        assert_eq!(
            (latency.mean(), latency.quantile(0.5), latency.max()),
            (None, None, None)
        );
        latency.record(1_000_003);
        latency.record(2_000_004);
        assert_eq!(latency.mean(), Some(1_500_003.5));
    }
}
