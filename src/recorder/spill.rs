//! Seconds of the timeline that nobody adds to any more, out of the memory: a
//! run of hours keeps no more of them than a run of minutes.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Seek as _, Write as _},
};

use crate::run::StepInterval;

/// One second with what the steps did in it, compressed.
pub(super) type ClosedSecond = (u64, Vec<StepInterval>);

/// Seconds in the order in which they were put away: a temporary file of one
/// JSON document per line, deleted by the system when it is closed. Where no
/// file can be had or written, they stay in memory: nothing is lost.
#[derive(Debug, Default)]
pub(super) struct Spill {
    file: Option<File>,
    /// Bytes of whole lines in it.
    length: u64,
    /// No file could be made, or it is full.
    broken: bool,
    kept: Vec<ClosedSecond>,
}

impl Spill {
    /// Puts a second away.
    pub(super) fn append(&mut self, second: u64, steps: Vec<StepInterval>) {
        let closed = (second, steps);
        if self.broken || self.write(&closed).is_err() {
            self.broken = true;
            self.kept.push(closed);
        }
    }

    fn write(&mut self, closed: &ClosedSecond) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let mut line = serde_json::to_vec(closed)?;
        line.push(b'\n');
        file.write_all(&line)?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// All that was put away. Half a line, left by a full disk, is whole in memory.
    pub(super) fn seconds(&mut self) -> Vec<ClosedSecond> {
        let mut seconds = Vec::new();
        if let Some(file) = &mut self.file
            && file.rewind().is_ok()
        {
            let lines = BufReader::new(Read::take(&mut *file, self.length)).lines();
            seconds.extend(
                lines
                    .map_while(Result::ok)
                    .filter_map(|line| serde_json::from_str(&line).ok()),
            );
            // What is put away next goes behind it.
            self.broken |= file.seek(io::SeekFrom::Start(self.length)).is_err();
        }
        seconds.extend(self.kept.iter().cloned());
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(k: u64) -> ClosedSecond {
        let step = StepInterval {
            step: 3,
            completed: k,
            failed: 1,
            unfinished: 0,
            response_sum_ns: 5,
            response_time: crate::run::Latency::new().encode(),
            service_sum_ns: 4,
            service_time: crate::run::Latency::new().encode(),
            missed: None,
        };
        (k, vec![step])
    }

    fn counts(spill: &mut Spill) -> Vec<(u64, u64)> {
        let seconds = spill.seconds();
        seconds.iter().map(|(k, steps)| (*k, steps[0].completed)).collect()
    }

    #[test]
    fn what_was_put_away_comes_back_in_order() {
        let mut spill = Spill::default();
        for k in [0, 1, 2, 1] {
            let (k, steps) = second(k);
            spill.append(k, steps);
        }
        assert!(spill.kept.is_empty());
        assert_eq!(counts(&mut spill), [(0, 0), (1, 1), (2, 2), (1, 1)]);
        // Reading does not disturb what is put away later.
        let (k, steps) = second(3);
        spill.append(k, steps);
        assert_eq!(counts(&mut spill).last(), Some(&(3, 3)));
    }

    #[test]
    fn what_cannot_be_written_stays_in_memory() {
        let full = File::options().read(true).write(true).open("/dev/full");
        let Ok(full) = full else { return };
        let mut spill = Spill {
            file: Some(full),
            ..Spill::default()
        };
        let (k, steps) = second(7);
        spill.append(k, steps);
        assert!(spill.broken);
        assert_eq!(counts(&mut spill), [(7, 7)]);
    }
}
