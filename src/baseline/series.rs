//! The series of runs beside a baseline: its text, and which of its runs are the set.
//!
//! JSON lines: a head with the format, then one [`Record`] a line, in the order
//! in which they came. Knows nothing of where the text is kept.

use serde::{Deserialize, Serialize};

use super::Record;

/// The format this program writes. Another one is refused.
pub const SERIES_FORMAT: &str = "loadgate.series/1";

/// A series with more runs than this loses its oldest.
const MOST_RECORDS: usize = 1_000;

/// A larger text is not read, and none is written: 16 MiB.
pub(super) const LARGEST_SERIES: u64 = 16 << 20;

/// The runs of a baseline, those accepted and those added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// In the order in which they came.
    pub records: Vec<Record>,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    scenario: String,
}

impl Series {
    /// Reads the text of a series.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub(super) fn parse(text: &[u8], scenario: &str) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let mut lines = text.lines().enumerate();
        let head = lines.next().map_or("", |(_, line)| line);
        let head: Head = serde_json::from_str(head).map_err(|error| format!("line 1: {error}"))?;
        if head.format != SERIES_FORMAT {
            return Err(format!(
                "it has the format \"{}\"; this program reads \"{SERIES_FORMAT}\"",
                head.format
            ));
        }
        if head.scenario != scenario {
            return Err(format!("it belongs to the scenario \"{}\"", head.scenario));
        }
        let records = lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { records })
    }

    /// Its text; the oldest runs are left out where there are too many.
    pub(super) fn text(&self, scenario: &str) -> Result<String, serde_json::Error> {
        let head = serde_json::to_string(&Head {
            format: SERIES_FORMAT.to_owned(),
            scenario: scenario.to_owned(),
        })?;
        let lines: Vec<String> = self
            .records
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?;
        let mut room = (LARGEST_SERIES as usize).saturating_sub(head.len() + 1);
        let kept = lines.iter().rev().take(MOST_RECORDS).take_while(|line| {
            let fits = line.len() < room;
            room = room.saturating_sub(line.len() + 1);
            fits
        });
        let first = lines.len() - kept.count();
        // Without the run that was accepted last there would be no set any more.
        let accepted = self.records.iter().rposition(|record| record.accepted.is_some());
        let accepted = accepted.filter(|at| *at < first).map(|at| &lines[at]);
        let first = (first + usize::from(accepted.is_some())).min(lines.len());
        let mut text = head + "\n";
        for line in accepted.into_iter().chain(&lines[first..]) {
            text.push_str(line);
            text.push('\n');
        }
        Ok(text)
    }

    /// Puts a run at the end, instead of where it was before.
    pub(super) fn push(&mut self, record: Record) {
        self.records.retain(|known| known.run != record.run);
        self.records.push(record);
    }

    /// Whether the run is in it.
    pub(super) fn has(&self, run: &str) -> bool {
        self.records.iter().any(|record| record.run == run)
    }

    /// The accepted run and those added since, up to the next that was accepted: an accepted
    /// change is never averaged over. Empty when the run is not in the series.
    pub(super) fn since(&self, accepted: &str) -> &[Record] {
        let Some(first) = self.records.iter().position(|record| record.run == accepted) else {
            return &[];
        };
        let after = &self.records[first + 1..];
        let next = after.iter().position(|record| record.accepted.is_some());
        &self.records[first..first + 1 + next.unwrap_or(after.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::{Acceptance, testing::Shape};

    fn record(id: &str, accepted: bool) -> Record {
        let mut record = Record::of(
            &Shape {
                seconds: 1,
                rate: 1,
                ..Shape::default()
            }
            .run(),
        );
        record.run = id.to_owned();
        record.accepted = accepted.then_some(Acceptance {
            at: record.started,
            reason: None,
        });
        record
    }

    fn ids(records: &[Record]) -> Vec<&str> {
        records.iter().map(|record| record.run.as_str()).collect()
    }

    #[test]
    fn a_series_survives_its_text() {
        let series = Series {
            records: vec![record("a", true), record("b", false)],
        };
        let text = series.text("shop").unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(Series::parse(text.as_bytes(), "shop").unwrap(), series);
        assert!(Series::parse(text.as_bytes(), "x").unwrap_err().contains("\"shop\""));
    }

    #[test]
    fn damage_is_told_with_its_line() {
        let text = Series {
            records: vec![record("a", true), record("b", false)],
        }
        .text("shop")
        .unwrap();
        let cut = Series::parse(&text.as_bytes()[..text.len() - 20], "shop").unwrap_err();
        assert!(cut.starts_with("line 3: "), "{cut}");
        assert!(Series::parse(b"", "shop").unwrap_err().starts_with("line 1: "));
        assert!(Series::parse(b"\xff", "shop").is_err());
        let newer = text.replace(SERIES_FORMAT, "loadgate.series/2");
        assert!(
            Series::parse(newer.as_bytes(), "shop")
                .unwrap_err()
                .contains("series/2")
        );
    }

    #[test]
    fn the_set_lies_between_two_accepted_changes() {
        let mut series = Series {
            records: vec![
                record("a", true),
                record("b", false),
                record("c", true),
                record("d", false),
            ],
        };
        assert_eq!(ids(series.since("a")), ["a", "b"]);
        assert_eq!(ids(series.since("c")), ["c", "d"]);
        assert!(series.since("x").is_empty());
        series.push(record("b", false));
        assert_eq!(ids(&series.records), ["a", "c", "d", "b"]);
        assert_eq!(ids(series.since("a")), ["a"]);
    }

    #[test]
    fn a_series_without_end_loses_its_oldest_runs() {
        let template = record("r", false);
        let named = |n: usize| Record {
            run: format!("r{n}"),
            ..template.clone()
        };
        let records = (0..MOST_RECORDS + 5).map(named).collect();
        let text = Series { records }.text("shop").unwrap();
        let kept = Series::parse(text.as_bytes(), "shop").unwrap().records;
        assert_eq!((kept.len(), kept[0].run.as_str()), (MOST_RECORDS, "r5"));
        let mut wide = record("wide", false);
        wide.commit = Some("x".repeat(LARGEST_SERIES as usize / 3));
        let records = ["a", "b", "c", "d"].map(|id| Record {
            run: id.into(),
            ..wide.clone()
        });
        let text = Series {
            records: records.to_vec(),
        }
        .text("shop")
        .unwrap();
        assert!((text.len() as u64) <= LARGEST_SERIES);
        let kept = Series::parse(text.as_bytes(), "shop").unwrap().records;
        assert_eq!(ids(&kept), ["c", "d"]);
    }
}
