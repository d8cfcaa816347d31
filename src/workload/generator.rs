//! Seeded data: the value of draw `n` is a function of (seed, stream, n).

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _, distr::Distribution as _, rngs::Xoshiro256PlusPlus};
use rand_distr::Zipf;

use super::value::Value;

/// A random stream for one purpose and one number: the same on every platform.
pub fn stream(seed: u64, purpose: u64, number: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(mix(mix(seed ^ mix(purpose)) ^ number))
}

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a: turns the name of a data item into the number of its stream.
pub(super) fn purpose(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// One drawn variable: a generator and the stream it draws from.
#[derive(Debug, Clone)]
pub struct Draw {
    pub(super) purpose: u64,
    pub(super) generator: Generator,
}

/// A kind of data.
#[derive(Debug, Clone)]
pub enum Generator {
    /// Always the same.
    Constant(Value),
    /// Integers, both bounds included.
    Uniform {
        /// Lower bound.
        from: i64,
        /// Upper bound.
        to: i64,
    },
    /// `from` is the most frequent; ranks follow a Zipf law.
    Zipf {
        /// The most frequent value.
        from: i64,
        /// The least frequent value.
        to: i64,
        /// Law of the ranks 1 to n.
        ranks: Zipf<f64>,
    },
    /// Counting up from `from`, starting over after `count` values where given.
    Sequence {
        /// First value.
        from: i64,
        /// Number of values before it starts over.
        count: Option<u64>,
    },
    /// One of these.
    Choice(Vec<Value>),
    /// The value of the stage of the load in which the pass is due.
    ByStage(Vec<Value>),
    /// Several of them in one, as an array of PostgreSQL.
    Array(Box<Generator>, u64),
    /// A random version-4 UUID.
    Uuid,
    /// Random letters and digits.
    Text {
        /// Number of characters.
        length: usize,
    },
    /// A random second between two bounds (Unix time).
    Time {
        /// Earliest.
        from: i64,
        /// Latest.
        to: i64,
        /// Seconds since 1970 instead of RFC 3339.
        unix: bool,
    },
    /// A column of a CSV file. Columns of one file share the stream, so they give the same row.
    Column {
        /// The rows of that column.
        rows: Arc<[Arc<str>]>,
        /// A random row instead of the next one.
        random: bool,
    },
}

impl Draw {
    /// The value of draw `number` in that stage of the load.
    pub fn value(&self, seed: u64, number: u64, stage: usize) -> Value {
        match &self.generator {
            Generator::ByStage(values) => values[stage.min(values.len() - 1)].clone(),
            generator => generator.value(seed, self.purpose, number),
        }
    }
}

impl Generator {
    fn value(&self, seed: u64, purpose: u64, number: u64) -> Value {
        let random = || stream(seed, purpose, number);
        match self {
            Self::Constant(value) => value.clone(),
            // Only an array asks here, and none is made of these.
            Self::ByStage(values) => values[0].clone(),
            Self::Uniform { from, to } => Value::Int(random().random_range(*from..=*to)),
            // Ranks are floating-point numbers: beyond 2^53 they may round past the last.
            Self::Zipf { from, to, ranks } => {
                let rank = ranks.sample(&mut random()) as i64;
                Value::Int(from.saturating_add(rank - 1).min(*to))
            }
            Self::Sequence { from, count } => {
                let step = count.map_or(number, |count| number % count);
                Value::Int(from.wrapping_add(step as i64))
            }
            Self::Choice(values) => values[random().random_range(0..values.len())].clone(),
            Self::Array(of, length) => {
                let first = number.wrapping_mul(*length);
                let elements = (0..*length).map(|at| of.value(seed, purpose, first.wrapping_add(at)));
                Value::Text(array(elements).into())
            }
            Self::Uuid => Value::Text(uuid(random().random()).into()),
            Self::Text { length } => Value::Text(text(&mut random(), *length).into()),
            Self::Time { from, to, unix } => time(random().random_range(*from..=*to), *unix),
            Self::Column { rows, random: false } => Value::Text(Arc::clone(&rows[number as usize % rows.len()])),
            Self::Column { rows, random: true } => Value::Text(Arc::clone(&rows[random().random_range(0..rows.len())])),
        }
    }
}

/// `{3,"a b"}`: what is not a number stands in quotes.
fn array(elements: impl Iterator<Item = Value>) -> String {
    let elements = elements.map(|element| match element {
        Value::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        other => {
            let mut text = String::new();
            other.write_json(&mut text);
            text
        }
    });
    format!("{{{}}}", elements.collect::<Vec<_>>().join(","))
}

/// RFC 9562, version 4.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    hyphenated(bits)
}

/// A UUID as text: RFC 9562, 4.
pub fn hyphenated(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn text(random: &mut Xoshiro256PlusPlus, length: usize) -> String {
    const CHARACTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length)
        .map(|_| char::from(CHARACTERS[random.random_range(0..CHARACTERS.len())]))
        .collect()
}

fn time(second: i64, unix: bool) -> Value {
    match jiff::Timestamp::from_second(second) {
        Ok(time) if !unix => Value::Text(time.to_string().into()),
        _ => Value::Int(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(generator: Generator) -> impl Fn(u64) -> Value {
        let draw = Draw {
            purpose: purpose("x"),
            generator,
        };
        move |number| draw.value(7, number, 0)
    }

    #[test]
    fn the_same_number_gives_the_same_value() {
        let uniform = draw(Generator::Uniform { from: 1, to: 1_000_000 });
        assert_eq!(uniform(5), uniform(5));
        assert_ne!(uniform(5), uniform(6));
    }

    #[test]
    fn uniform_keeps_its_bounds_and_reaches_both() {
        let uniform = draw(Generator::Uniform { from: 3, to: 5 });
        let mut seen: Vec<Value> = (0..200).map(uniform).collect();
        seen.sort_by_key(|value| format!("{value:?}"));
        seen.dedup();
        assert_eq!(seen, [Value::Int(3), Value::Int(4), Value::Int(5)]);
    }

    #[test]
    fn zipf_prefers_the_first_and_keeps_its_bounds() {
        let zipf = draw(Generator::Zipf {
            from: 10,
            to: 109,
            ranks: Zipf::new(100.0, 1.0).unwrap(),
        });
        let values: Vec<i64> = (0..5000)
            .map(|n| if let Value::Int(v) = zipf(n) { v } else { panic!() })
            .collect();
        assert!(values.iter().all(|value| (10..110).contains(value)));
        // P(rank 1) = 1/H(100) = 0.193; 5,000 draws: 964 ± 28.
        let first = values.iter().filter(|value| **value == 10).count();
        assert!((850..1080).contains(&first), "{first}");
    }

    #[test]
    fn a_sequence_counts_and_starts_over() {
        let sequence = draw(Generator::Sequence {
            from: 5,
            count: Some(3),
        });
        assert_eq!((0..4).map(sequence).collect::<Vec<_>>(), [5, 6, 7, 5].map(Value::Int));
    }

    #[test]
    fn uuids_have_version_and_variant() {
        let uuid = draw(Generator::Uuid);
        let Value::Text(text) = uuid(1) else { panic!() };
        assert_eq!((text.len(), &text[14..15]), (36, "4"));
        assert!("89ab".contains(&text[19..20]), "{text}");
    }

    #[test]
    fn times_lie_between_their_bounds() {
        let time = draw(Generator::Time {
            from: 0,
            to: 86399,
            unix: false,
        });
        let Value::Text(text) = time(1) else { panic!() };
        assert!(text.starts_with("1970-01-01T"), "{text}");
    }
}
