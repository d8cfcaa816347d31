//! Every operation as a line of CSV, where somebody asks for it.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::sample::{Outcome, Sample};

/// The columns. Times are seconds since the begin of the measured window; of variants, of all load.
const HEADER: [&str; 7] = ["due_s", "start_s", "end_s", "variant", "step", "outcome", "error"];

/// A file of samples, in the order in which threads hand them over.
#[derive(Debug)]
pub struct SampleLog {
    file: Mutex<Writing>,
    /// Variant and step, by index.
    steps: Vec<[String; 2]>,
}

#[derive(Debug)]
struct Writing {
    csv: csv::Writer<File>,
    /// Why it was given up.
    failed: Option<csv::Error>,
}

impl SampleLog {
    /// An empty file for these steps, each with its variant.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, steps: Vec<[String; 2]>) -> io::Result<Self> {
        let mut csv = csv::Writer::from_path(path)?;
        csv.write_record(HEADER)?;
        csv.flush()?;
        Ok(Self {
            file: Mutex::new(Writing { csv, failed: None }),
            steps,
        })
    }

    pub(super) fn write(&self, samples: &[Sample]) {
        let mut file = self.lock();
        if file.failed.is_none() {
            file.failed = samples
                .iter()
                .try_for_each(|sample| self.line(&mut file.csv, sample))
                .err();
        }
    }

    fn line(&self, csv: &mut csv::Writer<File>, sample: &Sample) -> Result<(), csv::Error> {
        let seconds = |time: Duration| format!("{:.9}", time.as_secs_f64());
        let [variant, step] = self
            .steps
            .get(sample.step)
            .map_or(["", ""], |names| names.each_ref().map(String::as_str));
        let (outcome, error) = match sample.outcome {
            Outcome::Completed => ("completed", String::new()),
            Outcome::Failed(class) => ("failed", class.to_string()),
            Outcome::Unfinished => ("unfinished", String::new()),
        };
        let [due, start, end] = [sample.due, sample.start, sample.end].map(seconds);
        csv.write_record([&due, &start, &end, variant, step, outcome, &error])
    }

    /// Writes what is left; why not all is there, if it is not.
    pub fn finish(&self) -> Option<String> {
        let mut file = self.lock();
        let flushed = file.csv.flush().err().map(|error| error.to_string());
        file.failed.take().map(|error| error.to_string()).or(flushed)
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
