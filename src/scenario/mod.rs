//! TOML → [`Scenario`]: what the user wrote, with the place of every value.
//!
//! Loading reports *every* problem at once. The shape of a scenario (which keys
//! exist, which types they have) is known once: in the types of [`file`], from
//! which the JSON Schema is derived, against which the text is checked. What the
//! values *mean* (durations, templates, references between them) is the concern
//! of [`crate::workload`], which adds its problems to the same list.

mod data;
mod file;
mod flow;
mod http;
mod link;
mod load;
mod overlay;
mod overrides;
mod persistence;
mod pool;
mod problem;
mod schema;
mod shape;
mod variant;

use std::{fs::File, io::Read as _, path::Path};

use serde::Deserialize as _;
use toml::{Spanned, de::DeTable};

pub use self::{
    data::*,
    file::*,
    flow::*,
    http::*,
    link::*,
    load::*,
    persistence::*,
    pool::*,
    problem::{Problem, Problems},
    schema::json_schema,
    variant::*,
};

/// A larger scenario is refused: 1 MiB.
pub const LARGEST: u64 = 1 << 20;

/// A scenario as written, and the text it was read from.
#[derive(Debug)]
pub struct Loaded {
    /// What was written.
    pub scenario: Scenario,
    /// The scenario as each of its variants has it, which is alone in it; empty where there are none.
    pub variants: Vec<Scenario>,
    /// Path and text, for problems found later.
    pub text: Text,
    /// The problems found so far; later stages add theirs.
    pub problems: Problems,
}

/// The text of a scenario after `--set`, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The path as the user gave it, or a name for text that came from arguments.
    pub path: String,
    /// The TOML text.
    pub toml: String,
}

/// Why no scenario could be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file system refused.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// The path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than [`LARGEST`].
    #[error("{0}: larger than 1 MiB, which no scenario is; put large data into a CSV file and name it under [data]")]
    TooLarge(String),
    /// Not text.
    #[error("{path}: not UTF-8 text (line {line}); save the file as UTF-8")]
    NotUtf8 {
        /// The path as given.
        path: String,
        /// Line of the first bad byte.
        line: usize,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {argument}: {reason}")]
    Set {
        /// As given.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Loaded {
    /// This scenario and a copy of it, which may have other settings, as variants of these names: of the
    /// first variant, where there are several. The limits are those of this one.
    #[must_use]
    pub fn beside(mut self, copy: Self, names: [&str; 2]) -> Self {
        let first = |loaded: &Self| loaded.variants.first().unwrap_or(&loaded.scenario).clone();
        let sides = [first(&self), first(&copy)];
        let place = At {
            value: (),
            start: 0,
            end: 0,
        };
        // What is absolute says nothing of a difference.
        let relative = |limit: &Option<At<String>>| limit.as_ref().is_some_and(|limit| limit.value.starts_with('+'));
        let threshold: Vec<_> = sides[0]
            .threshold
            .iter()
            .filter(|at| relative(&at.value.warning) || relative(&at.value.critical))
            .cloned()
            .collect();
        let named = |(side, name): (&Scenario, &str)| {
            let written = side.variant.first();
            let variant = Variant {
                name: Some(place.with(name.to_owned())),
                ..written.map_or_else(Variant::default, |written| written.value.clone())
            };
            Scenario {
                variant: vec![place.with(variant)],
                threshold: threshold.clone(),
                ..side.clone()
            }
        };
        self.variants = sides.iter().zip(names).map(named).collect();
        self.scenario.threshold.clone_from(&threshold);
        self.scenario.variant = self
            .variants
            .iter()
            .flat_map(|scenario| scenario.variant.clone())
            .collect();
        self
    }
}

/// Reads a scenario file and applies `--set key=value` to it.
///
/// # Errors
/// When there is no text to look at. Problems *in* the text are in [`Loaded::problems`].
pub fn load(path: &Path, set: &[String]) -> Result<Loaded, LoadError> {
    let name = path.display().to_string();
    let io = |source| LoadError::Io {
        path: name.clone(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > LARGEST {
        return Err(LoadError::TooLarge(name));
    }
    let toml = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        LoadError::NotUtf8 {
            path: name.clone(),
            line,
        }
    })?;
    parse(
        Text {
            path: name.clone(),
            toml,
        },
        set,
    )
}

/// Reads a scenario from text; see [`load`].
///
/// # Errors
/// When a `--set` cannot be applied.
pub fn parse(text: Text, set: &[String]) -> Result<Loaded, LoadError> {
    let mut problems = Problems::default();
    let text = if set.is_empty() || !is_toml(&text.toml) {
        text
    } else {
        Text {
            toml: overrides::apply(&text.toml, set)?,
            ..text
        }
    };
    let (scenario, variants) = read(&text.toml, &mut problems);
    Ok(Loaded {
        scenario,
        variants,
        text,
        problems,
    })
}

fn is_toml(toml: &str) -> bool {
    DeTable::parse(toml).is_ok()
}

/// What is well-formed in the text, as a whole and for each variant; everything else goes into `problems`.
fn read(toml: &str, problems: &mut Problems) -> (Scenario, Vec<Scenario>) {
    let (mut table, errors) = DeTable::parse_recoverable(toml);
    if !errors.is_empty() {
        for error in errors {
            unreadable(&error, "not valid TOML", problems);
        }
        return (Scenario::default(), Vec::new());
    }
    shape::prune(&mut table, problems);
    let variants = overlay::variants(&table).into_iter();
    let variants = variants.map(|variant| deserialized(variant, problems)).collect();
    (deserialized(table, problems), variants)
}

fn deserialized(table: Spanned<DeTable<'_>>, problems: &mut Problems) -> Scenario {
    Scenario::deserialize(toml::de::Deserializer::from(table)).unwrap_or_else(|error| {
        unreadable(&error, "cannot be read", problems);
        Scenario::default()
    })
}

/// Nothing was read, so nothing can be said of what is missing.
fn unreadable(error: &toml::de::Error, title: &str, problems: &mut Problems) {
    problems.damage(None);
    problems.add(error.span().unwrap_or(0..0), title, error.message(), None);
}
