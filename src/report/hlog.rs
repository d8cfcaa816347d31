//! `latency.hlog`: response times second by second, for the HdrHistogram tools.
//!
//! The format is the interval log of HdrHistogram (`HistogramLogReader`), its
//! histograms in the V2 encoding, in nanoseconds; the column for people is in
//! milliseconds. Each step is a tag.

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::{
    V2DeflateSerializeError, V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError},
};

use super::words;
use crate::run::{Interval, Run};

/// Why the log could not be written.
pub(super) type LogError = IntervalLogWriterError<V2DeflateSerializeError>;

/// What the largest value of an interval is divided by for people: nanoseconds in a millisecond.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// One line per second (or slice) and step; a comment where the run's own histogram cannot be read.
///
/// # Errors
/// When a histogram cannot be written.
pub(super) fn render(run: &Run) -> Result<Vec<u8>, LogError> {
    let tags = tags(run);
    let mut intervals: Vec<&Interval> = run.intervals.iter().collect();
    intervals.sort_by(|a, b| start_s(a).total_cmp(&start_s(b)));

    let (mut log, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let started = SystemTime::from(run.started);
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!(
            "[loadgate {}: response times in nanoseconds]",
            env!("CARGO_PKG_VERSION")
        ))
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(MAX_VALUE_DIVISOR)
        .begin_log_with(&mut log, &mut serializer)?;
    for interval in intervals {
        let start = duration(start_s(interval)).as_secs_f64();
        let length = duration(interval.slice.map_or(1.0, |slice| slice.length_s)).as_secs_f64();
        for step in &interval.steps {
            let tag = tags
                .get(step.step)
                .map_or_else(String::new, |tag| format!("Tag={tag},"));
            // What the run holds is what the log wants: to encode it again would take most of the time of a report.
            let line = match step.response_time.counts() {
                Ok(values) => {
                    let max = values.last().map_or(0, |(value, _)| *value) as f64 / MAX_VALUE_DIVISOR;
                    format!("{tag}{start:.3},{length:.3},{max:.3},{}\n", step.response_time.0)
                }
                Err(_) => format!("#[second {} of a step: not readable]\n", interval.k),
            };
            log.extend_from_slice(line.as_bytes());
        }
    }
    Ok(log)
}

/// Where an interval begins, in seconds of the measured window; a slice, in seconds of load.
fn start_s(interval: &Interval) -> f64 {
    interval.slice.map_or(interval.k as f64, |slice| slice.start_s)
}

/// A time from a file, which may claim anything.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The name of each step: unique, and without characters that separate the columns or steer a tool.
fn tags(run: &Run) -> Vec<String> {
    let safe = |text: &str| -> String {
        words::distinct(text)
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect()
    };
    let tag = |step: &crate::run::Step| match &step.variant {
        Some(variant) => format!("{}/{}", safe(variant), safe(&step.name)),
        None => safe(&step.name),
    };
    let mut tags: Vec<String> = run.steps.iter().map(tag).collect();
    words::number_repeated(&mut tags);
    tags
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    use hdrhistogram::{
        Histogram,
        serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry, Tag},
        },
    };

    use super::*;
    use crate::{report::example, run::Slice};

    #[test]
    fn what_is_read_back_is_what_the_run_holds() {
        let run = example::run();
        let log = render(&run).unwrap();
        let entries: Vec<LogEntry<'_>> = IntervalLogIterator::new(&log).map(Result::unwrap).collect();
        let started = Duration::from_secs(run.started.as_second().unsigned_abs());
        assert_eq!(entries[0], LogEntry::StartTime(started));
        assert_eq!(entries[1], LogEntry::BaseTime(started));

        let tags = ["pay", "list-orders", "order-by-id", "refresh-stock"];
        let parts = run
            .intervals
            .iter()
            .flat_map(|interval| interval.steps.iter().map(move |step| (interval.k, step)));
        assert_eq!(entries.len() - 2, parts.clone().count());
        for (entry, (k, step)) in entries[2..].iter().zip(parts) {
            let LogEntry::Interval(line) = entry else {
                panic!("{entry:?}")
            };
            assert_eq!(line.tag().unwrap().as_str(), tags[step.step]);
            assert_eq!((line.start_timestamp().as_secs(), line.duration().as_secs()), (k, 1));
            let bytes = BASE64.decode(line.encoded_histogram()).unwrap();
            let hdr: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            assert_eq!(hdr, step.response_time.decode().unwrap());
            assert!((line.max() - hdr.max() as f64 / 1e6).abs() < 0.001, "in milliseconds");
        }
    }

    #[test]
    fn slices_of_variants_stand_where_their_load_was() {
        let mut run = example::run();
        for step in &mut run.steps {
            step.variant = Some("a fter".into());
        }
        run.intervals.truncate(2);
        for (at, interval) in run.intervals.iter_mut().enumerate() {
            interval.slice = Some(Slice {
                epoch: 0,
                round: 0,
                variant: 0,
                // Stored in another order than they were loaded.
                start_s: [2.5, 0.0][at],
                length_s: 2.5,
            });
        }
        let log = render(&run).unwrap();
        let lines: Vec<_> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(line) => Some((line.tag().unwrap().to_string(), line)),
                _ => None,
            })
            .map(|(tag, line)| (tag, line.start_timestamp().as_millis(), line.duration().as_millis()))
            .collect();
        assert_eq!(lines[0], ("a-fter/pay".into(), 0, 2500));
        assert_eq!(lines[4], ("a-fter/pay".into(), 2500, 2500));
    }

    #[test]
    fn tags_are_unique_and_separate_nothing() {
        let mut run = example::run();
        for (step, name) in run.steps.iter_mut().zip(["a,b c", "a\nb\u{202e},c", "a-b-c", "a-b-c"]) {
            step.name = name.into();
        }
        let tags = tags(&run);
        assert_eq!(
            (tags[0].as_str(), tags[2].as_str(), tags[3].as_str()),
            ("a-b-c", "a-b-c#2", "a-b-c#3")
        );
        assert!(
            tags[1].starts_with("a-b-c-") && tags.iter().all(|tag| Tag::new(tag).is_some()),
            "{tags:?}"
        );
    }
}
