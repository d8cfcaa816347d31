//! The `[data]` of a scenario → generators; CSV files are read here, bounded.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use rand_distr::Zipf;

use super::{
    compile::Compiler,
    generator::{Draw, Generator, purpose},
    value::Value,
};
use crate::{
    run::{hash, read_bounded},
    scenario::{self, At},
};

/// A larger CSV file is refused: 256 MiB.
const LARGEST_CSV: u64 = 256 << 20;

/// All data variables.
#[derive(Debug, Default)]
pub(super) struct DataSet {
    /// By the name used in templates: `user`, `users.email`.
    pub(super) draws: BTreeMap<String, Draw>,
    /// SHA-256 of each file, by the name of its data item.
    pub(super) file_hashes: BTreeMap<String, String>,
}

/// Compiles all data; problems go to the compiler.
pub(super) fn compile(
    compiler: &mut Compiler<'_>,
    data: &BTreeMap<String, At<scenario::Data>>,
    scenario: &Path,
) -> DataSet {
    let mut set = DataSet::default();
    let directory = scenario.parent().unwrap_or(Path::new("")).to_owned();
    for (name, written) in data {
        if !is_name(name) {
            compiler.problem(
                written,
                format!("\"{name}\" is no usable name"),
                "use letters, digits, `_` and `-`",
                None,
            );
        }
        match csv_of(compiler, written) {
            Some(path) => table(compiler, name, written, &directory.join(path), &mut set),
            None => {
                if let Some(generator) = generator(compiler, name, written) {
                    set.draws.insert(
                        name.clone(),
                        Draw {
                            purpose: purpose(name),
                            generator,
                        },
                    );
                }
            }
        }
    }
    set
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

fn csv_of(compiler: &mut Compiler<'_>, written: &At<scenario::Data>) -> Option<PathBuf> {
    if written.value.csv.is_none()
        && let Some(order) = &written.value.order
    {
        compiler.problem(
            order,
            "`order` does not belong here",
            "it is for a CSV file, with `csv`",
            None,
        );
    }
    only_kind(&written.value).filter(|kind| *kind == "csv")?;
    written
        .value
        .csv
        .as_ref()
        .map(|csv| PathBuf::from(compiler.resolve(csv)))
}

/// The single kind that is written, if it is a single one.
fn only_kind(data: &scenario::Data) -> Option<&'static str> {
    match kinds(data).as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

fn kinds(data: &scenario::Data) -> Vec<&'static str> {
    [
        ("constant", data.constant.is_some()),
        ("uniform", data.uniform.is_some()),
        ("zipf", data.zipf.is_some()),
        ("sequence", data.sequence.is_some()),
        ("choice", data.choice.is_some()),
        ("uuid", data.uuid.is_some()),
        ("string", data.string.is_some()),
        ("timestamp", data.timestamp.is_some()),
        ("csv", data.csv.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, present)| present.then_some(kind))
    .collect()
}

fn generator(compiler: &mut Compiler<'_>, name: &str, written: &At<scenario::Data>) -> Option<Generator> {
    let found = kinds(&written.value);
    if found.len() != 1 {
        let title = format!(
            "data \"{name}\" has {} kinds",
            if found.is_empty() {
                "no".into()
            } else {
                found.len().to_string()
            }
        );
        let help =
            Some("exactly one of constant, uniform, zipf, sequence, choice, uuid, string, timestamp, csv".into());
        compiler
            .problems
            .add_missing(written.span(), title, found.join(" and "), help);
        return None;
    }
    match parse(&written.value) {
        Ok(generator) => Some(generator),
        Err(reason) => {
            compiler.problem(written, format!("data \"{name}\" makes no sense"), reason, None);
            None
        }
    }
}

fn parse(data: &scenario::Data) -> Result<Generator, String> {
    let scenario::Data {
        constant,
        uniform,
        zipf,
        sequence,
        choice,
        uuid,
        string,
        timestamp,
        ..
    } = data;
    if let Some(constant) = constant {
        return Ok(Generator::Constant((&constant.value).into()));
    }
    if let Some(At { value: bounds, .. }) = uniform {
        let (from, to) = ordered(bounds.from, bounds.to)?;
        return Ok(Generator::Uniform { from, to });
    }
    if let Some(At { value: zipf, .. }) = zipf {
        let (from, to) = ordered(zipf.from, zipf.to)?;
        let exponent = zipf.exponent.unwrap_or(1.0);
        let ranks = Zipf::new((to.saturating_sub(from) as f64) + 1.0, exponent)
            .map_err(|_| "the exponent must be above 0".to_owned())?;
        return Ok(Generator::Zipf { from, ranks });
    }
    if let Some(At { value: sequence, .. }) = sequence {
        let from = sequence.from.unwrap_or(1);
        let count = match sequence.to {
            Some(to) if to < from => return Err(format!("`to` ({to}) is below `from` ({from})")),
            Some(to) => Some(to.abs_diff(from).saturating_add(1)),
            None => None,
        };
        return Ok(Generator::Sequence { from, count });
    }
    if let Some(At { value: choice, .. }) = choice {
        return match choice.as_slice() {
            [] => Err("`choice` lists nothing".into()),
            values => Ok(Generator::Choice(values.iter().map(Value::from).collect())),
        };
    }
    if let Some(At { value: uuid, .. }) = uuid {
        return if *uuid {
            Ok(Generator::Uuid)
        } else {
            Err("write uuid = true".into())
        };
    }
    if let Some(At { value: string, .. }) = string {
        return match string.length {
            Some(length @ 1..=1_000_000) => Ok(Generator::Text {
                length: length as usize,
            }),
            _ => Err("`length` must be from 1 to 1,000,000".into()),
        };
    }
    timestamp
        .as_ref()
        .map_or_else(|| Err("no kind".into()), |timestamp| time(&timestamp.value))
}

fn ordered(from: Option<i64>, to: Option<i64>) -> Result<(i64, i64), String> {
    match (from, to) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        (Some(from), Some(to)) => Err(format!("`from` ({from}) is above `to` ({to})")),
        _ => Err("`from` and `to` are both needed".into()),
    }
}

fn time(time: &scenario::RandomTime) -> Result<Generator, String> {
    let read = |text: &Option<String>, key: &str| -> Result<i64, String> {
        let text = text
            .as_ref()
            .ok_or_else(|| format!("`{key}` is needed, as in \"2026-01-01T00:00:00Z\""))?;
        let time: jiff::Timestamp = text.parse().map_err(|error| format!("`{key}`: {error}"))?;
        Ok(time.as_second())
    };
    let (from, to) = ordered(Some(read(&time.from, "from")?), Some(read(&time.to, "to")?))?;
    match time.format.as_deref() {
        None | Some("rfc3339") => Ok(Generator::Time { from, to, unix: false }),
        Some("unix") => Ok(Generator::Time { from, to, unix: true }),
        Some(other) => Err(format!("unknown format \"{other}\"; use \"rfc3339\" or \"unix\"")),
    }
}

/// One draw per column of a CSV file.
fn table(compiler: &mut Compiler<'_>, name: &str, written: &At<scenario::Data>, path: &Path, set: &mut DataSet) {
    let Some(csv) = &written.value.csv else { return };
    let random = compiler.word(
        written.value.order.as_ref(),
        &[("sequential", false), ("random", true)],
        false,
    );
    match read_columns(path) {
        Ok((columns, file_hash)) => {
            set.file_hashes.insert(name.to_owned(), file_hash);
            for (column, rows) in columns {
                let generator = Generator::Column {
                    rows: rows.into(),
                    random,
                };
                set.draws.insert(
                    format!("{name}.{column}"),
                    Draw {
                        purpose: purpose(name),
                        generator,
                    },
                );
            }
        }
        Err(reason) => compiler.problem(csv, "the CSV file cannot be used", reason, None),
    }
}

type Columns = Vec<(String, Vec<Arc<str>>)>;

fn read_columns(path: &Path) -> Result<(Columns, String), String> {
    let bytes = read_bounded(path, LARGEST_CSV).map_err(|error| error.to_string())?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| error.to_string())?;
    let mut columns: Columns = header
        .iter()
        .map(|column| (column.trim().to_owned(), Vec::new()))
        .collect();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        for ((_, rows), field) in columns.iter_mut().zip(&record) {
            rows.push(field.into());
        }
    }
    match columns.first() {
        None => Err(format!(
            "{} is empty; it needs a header line and at least one row",
            path.display()
        )),
        Some((_, rows)) if rows.is_empty() => Err(format!("{} has a header line but no rows", path.display())),
        Some(_) => Ok((columns, hash(&bytes))),
    }
}
