//! An encoded histogram as the values that it holds, without a histogram in between.
//!
//! A run has one for each second and step, most of them with a few values; a
//! histogram has room for 37,000. The V2 encoding and its layout:
//! <https://github.com/HdrHistogram/HdrHistogram> (`encodeIntoByteBuffer`, `valueFromIndex`).

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

use super::HIGHEST_NS;

/// Values with their counts, ascending; each value the largest of those that a histogram does not tell apart.
pub type Counts = Vec<(u64, u64)>;

/// The sum of many distributions, in little more room than it needs itself.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    sum: Counts,
    pending: Counts,
}

impl Merge {
    /// So many values wait until they are added up.
    const PENDING: usize = 1 << 16;

    /// Adds the values of one more.
    pub fn add(&mut self, part: &[(u64, u64)]) {
        self.pending.extend_from_slice(part);
        if self.pending.len() > Self::PENDING.max(self.sum.len()) {
            self.settle();
        }
    }

    /// The sum.
    pub fn finish(mut self) -> Counts {
        self.settle();
        self.sum
    }

    fn settle(&mut self) {
        self.sum.append(&mut self.pending);
        self.sum.sort_unstable_by_key(|(value, _)| *value);
        self.sum.dedup_by(|(value, more), (known, count)| {
            let same = value == known;
            if same {
                *count = count.saturating_add(*more);
            }
            same
        });
    }
}

/// How many values.
pub fn total(counts: &[(u64, u64)]) -> u64 {
    counts.iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
}

/// The value at a quantile above 0 and up to 1, as a histogram has it: the first that so many are at most.
pub fn quantile(counts: &[(u64, u64)], q: f64) -> Option<u64> {
    let wanted = ((q * total(counts) as f64).ceil() as u64).max(1);
    let mut passed: u64 = 0;
    let found = counts.iter().find(|(_, count)| {
        passed = passed.saturating_add(*count);
        passed >= wanted
    });
    found.or(counts.last()).map(|(value, _)| *value)
}

/// The first bytes of the two layers, as numbers.
const COMPRESSED: u32 = 0x1c84_9314;
const V2: u32 = 0x1c84_9313;

/// Bytes of the head of the inner layer.
const HEAD: usize = 40;

/// Ours have 37,000 counts of nine bytes at most.
const LARGEST: usize = 1 << 20;

/// Values of three significant digits from 1 on: 2,048 in the first bucket, half as many in each that follows.
const HALF_BITS: u32 = 10;

/// Values, each the largest of those that are not told apart, with their counts, in order; none where the
/// histogram is not laid out as ours are.
pub(super) fn read(bytes: &[u8]) -> Option<Counts> {
    let (cookie, rest) = number(bytes)?;
    let (length, rest) = number(rest)?;
    if cookie != COMPRESSED {
        return None;
    }
    let inner = inflated(rest.get(..length as usize)?)?;
    let (cookie, rest) = number(&inner)?;
    let (length, rest) = number(rest)?;
    let (offset, rest) = number(rest)?;
    let (digits, rest) = number(rest)?;
    let word = |at: usize| Some(u64::from_be_bytes(rest.get(at..at + 8)?.try_into().ok()?));
    let (lowest, highest, ratio) = (word(0)?, word(8)?, f64::from_bits(word(16)?));
    let ours = (cookie, offset, digits, lowest, highest) == (V2, 0, 3, 1, HIGHEST_NS) && ratio == 1.0;
    if !ours {
        return None;
    }
    values(inner.get(HEAD..HEAD + length as usize)?)
}

thread_local! {
    /// Its tables are larger than most histograms: made once, used again.
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

fn inflated(compressed: &[u8]) -> Option<Vec<u8>> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(true);
        let mut inner = Vec::with_capacity(1 << 12);
        loop {
            let read = compressed.get(inflate.total_in() as usize..)?;
            match inflate.decompress_vec(read, &mut inner, FlushDecompress::None).ok()? {
                Status::StreamEnd => return Some(inner),
                // There was no more room; where there is, something is missing.
                _ if inner.len() < inner.capacity() || inner.capacity() >= LARGEST => return None,
                _ => inner.reserve(inner.capacity()),
            }
        }
    })
}

/// A number of four bytes, and what follows.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Counts by index; below zero, so many indices without any.
fn values(mut counts: &[u8]) -> Option<Counts> {
    let mut values = Vec::new();
    let mut index: u64 = 0;
    while !counts.is_empty() {
        let (count, rest) = zigzag(counts)?;
        counts = rest;
        match u64::try_from(count) {
            Ok(count) => {
                if count > 0 {
                    values.push((highest_at(index)?, count));
                }
                index = index.checked_add(1)?;
            }
            Err(_) => index = index.checked_add(count.unsigned_abs())?,
        }
    }
    Some(values)
}

/// A signed number: seven bits a byte, the lowest first, nine bytes at most, of which the last has eight.
fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value: u64 = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        let last = at == 8;
        let bits = if last { u64::from(*byte) } else { u64::from(byte & 0x7f) };
        value |= bits << (7 * at);
        if last || byte & 0x80 == 0 {
            let signed = (value >> 1) as i64 ^ -((value & 1) as i64);
            return Some((signed, &bytes[at + 1..]));
        }
    }
    None
}

/// The largest value that is counted at an index; none beyond those that are recorded.
fn highest_at(index: u64) -> Option<u64> {
    let half = 1_u64 << HALF_BITS;
    let (bucket, within) = match (index >> HALF_BITS).checked_sub(1) {
        Some(bucket) => (bucket, (index & (half - 1)) + half),
        None => (0, index),
    };
    let width = 1_u64.checked_shl(u32::try_from(bucket).ok()?)?;
    let lowest = within.checked_mul(width)?;
    (lowest <= HIGHEST_NS).then_some(lowest + (width - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Encoded, HIGHEST_NS, Latency},
        Merge, quantile, total,
    };

    fn by_the_library(encoded: &Encoded) -> Vec<(u64, u64)> {
        let hdr = encoded.decode().unwrap();
        let values = hdr.iter_recorded();
        values
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect()
    }

    #[test]
    fn our_own_are_read_without_the_library() {
        let mut latency = Latency::new();
        latency.record(123_456);
        let bytes = latency.encode().bytes().unwrap();
        assert_eq!(super::read(&bytes), Some(latency.encode().counts().unwrap()));
        assert_eq!(super::read(&bytes[..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn values_are_those_that_the_library_reads(
            recorded in prop::collection::vec((0..HIGHEST_NS, 1_u64..100_000), 0..40),
            near in prop::collection::vec(0_u64..5000, 0..40),
        ) {
            let mut latency = Latency::new();
            for (value, count) in recorded {
                latency.hdr.saturating_record_n(value, count);
            }
            for value in near {
                latency.record(value);
            }
            let encoded = latency.encode();
            let counts = encoded.counts().unwrap();
            prop_assert_eq!(&counts, &by_the_library(&encoded));
            prop_assert_eq!(total(&counts), latency.count());
            for q in [0.001, 0.25, 0.5, 0.99, 1.0] {
                prop_assert_eq!(quantile(&counts, q).map(|value| value as f64), latency.quantile(q));
            }
            let mut twice = latency.clone();
            twice.add(&latency);
            let mut merge = Merge::default();
            merge.add(&counts);
            merge.add(&counts);
            prop_assert_eq!(merge.finish(), twice.encode().counts().unwrap());
        }

        #[test]
        fn nothing_that_is_damaged_is_read_as_something_else(at in 0_usize..200, byte: u8) {
            let mut latency = Latency::new();
            [5, 1000, 70_000, 12_345_678].into_iter().for_each(|value| latency.record(value));
            let mut text = latency.encode().0.into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(text) = String::from_utf8(text) {
                let encoded = Encoded(text);
                if let (Ok(ours), Ok(_)) = (encoded.counts(), encoded.decode()) {
                    prop_assert_eq!(ours, by_the_library(&encoded));
                }
            }
        }
    }
}
