//! What can go wrong with baselines, in words.

use std::{io, path::PathBuf};

use super::{LARGEST, LONGEST_NAME};
use crate::run::StoreError;

/// What to do about a baseline that cannot be used.
const MEND: &str = "accept a run again (`loadgate baseline accept RUN`) or delete the file";

/// Why a baseline could not be found, accepted or listed.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The name is none.
    #[error(
        "\"{name}\" cannot name a baseline; use 1 to {LONGEST_NAME} of a-z, 0-9, dot, underscore and hyphen, not starting with a dot"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// The file system refused, or the file is too large.
    #[error("baseline {0}; {MEND}")]
    Unreadable(StoreError),
    /// The file is cut short or no baseline.
    #[error("baseline {path}: not a whole baseline: {reason}; {MEND}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The series is damaged.
    #[error(
        "{path}: not a whole series of runs: {reason}; bring it back from version control, or delete it: \
         the accepted run is kept beside it, and the set begins again"
    )]
    Series {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such place for baselines.
    #[error("--baselines {location}: {reason}")]
    Location {
        /// What was given, without credentials.
        location: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// An object store refused.
    #[error("{path}: {reason}; check the address and the credentials (AWS_…, GOOGLE_…, AZURE_…)")]
    ObjectStore {
        /// The URL of the object.
        path: PathBuf,
        /// What the store said.
        reason: String,
    },
    /// A run cannot be added to nothing.
    #[error("there is no baseline \"{name}\" to add a run to; accept one first (`loadgate baseline accept RUN`)")]
    NothingToAddTo {
        /// Name of the baseline.
        name: String,
    },
    /// The run is not like those of the baseline.
    #[error(
        "run {id} cannot be added: it did other work than the baseline (different: {differences}); \
         if that is meant, accept it (`loadgate baseline accept RUN --reason …`)"
    )]
    OtherWork {
        /// Id of the run.
        id: String,
        /// What differs.
        differences: String,
    },
    /// Another change was accepted, by which the run was not judged.
    #[error("run {id} was not added: another run was accepted meanwhile; try again, it will be judged beside that")]
    Overtaken {
        /// Id of the run.
        id: String,
    },
    /// The run is there already.
    #[error("run {id} is in the series of the baseline already; a run counts once")]
    Known {
        /// Id of the run.
        id: String,
    },
    /// The run is not whole.
    #[error("run {id} cannot be a baseline, it is partial: {reason}; accept a run that was not interrupted")]
    Partial {
        /// Id of the run.
        id: String,
        /// Why it is partial.
        reason: String,
    },
    /// The run measured nothing.
    #[error("run {id} cannot be a baseline: none of its operations completed; accept a run that worked")]
    Empty {
        /// Id of the run.
        id: String,
    },
    /// It could not be written.
    #[error("the baseline was not accepted: {0}; check that the directory can be written")]
    Unwritable(StoreError),
    /// The baseline is larger than would be read again.
    #[error("the baseline was not accepted: run {id} takes {size} bytes, more than {LARGEST}; accept a shorter run")]
    TooLarge {
        /// Id of the run.
        id: String,
        /// Size in bytes.
        size: usize,
    },
    /// The line about the acceptance could not be written.
    #[error("{path}: the baseline was accepted, but not noted here: {source}")]
    Log {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of baselines could not be read.
    #[error("{path}: {source}; give the directory of baselines with --baselines")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
