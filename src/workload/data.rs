//! The `[data]` of a scenario → generators; CSV files are read here, bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use rand_distr::Zipf;

use super::{
    Load,
    compile::Compiler,
    generator::{Draw, Generator, purpose},
    value::Value,
};
use crate::{
    run::{hash, read_bounded},
    scenario::{self, At, Bounds, RandomString, RandomTime, Scalar, Sequence},
};

/// A larger CSV file is refused: 256 MiB.
const LARGEST_CSV: u64 = 256 << 20;

/// A text is repeated so often at most.
const MOST_TIMES: i64 = 1_000_000;

/// The longest text made by repeating one: 16 MiB.
const LONGEST_REPEAT: usize = 16 << 20;

/// Beyond this a Zipf distribution gives its first value only.
const MOST_SKEW: f64 = 20.0;

/// All data variables.
#[derive(Debug, Default)]
pub(super) struct DataSet {
    /// By the name used in templates: `user`, `users.email`.
    pub(super) draws: BTreeMap<String, Draw>,
    /// Names of data with problems: they are known, only not usable.
    pub(super) broken: BTreeSet<String>,
    /// SHA-256 of each file, by the name of its data item.
    pub(super) file_hashes: BTreeMap<String, String>,
}

/// Compiles all data; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, data: &BTreeMap<String, At<scenario::Data>>) -> DataSet {
    let mut set = DataSet::default();
    for (name, written) in data {
        if !is_name(name) {
            let title = format!("\"{name}\" is no usable name");
            compiler.problem(written, title, "use letters, digits, `_` and `-`", None);
        }
        if let (Some(order), None) = (&written.value.order, &written.value.csv) {
            let label = "it is for a CSV file, with `csv`";
            compiler.problem(order, "`order` does not belong here", label, None);
        }
        if item(compiler, name, written, &mut set).is_none() {
            set.broken.insert(name.clone());
        }
    }
    set
}

/// Values by stage belong to stages of the load, each to one.
pub(super) fn check_stages(compiler: &mut Compiler<'_>, data: &BTreeMap<String, At<scenario::Data>>, load: &Load) {
    let stages = load.profile.lasting_stages().count();
    for written in data.values() {
        let Some(values) = &written.value.by_stage else {
            continue;
        };
        if stages == 0 {
            let help = Some("write load.stages = [{ … }, …], or give the data a `constant`".into());
            compiler.problem(
                values,
                "values of stages that there are not",
                "the load has no `stages`",
                help,
            );
        } else if values.value.len() != stages {
            let label = format!("{} values for {stages} stages that last", values.value.len());
            compiler.problem(values, "not a value for each stage", label, None);
        }
        if let Some(array) = &written.value.array {
            compiler.problem(
                array,
                "`array` does not belong here",
                "a value of a stage is one value",
                None,
            );
        }
    }
}

/// Whether templates can use a name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

/// What makes data of one kind: the key that stands there, with its value.
#[derive(Clone, Copy)]
enum Kind<'d> {
    Constant(&'d At<Scalar>),
    Uniform(&'d At<Bounds>),
    Zipf(&'d At<scenario::Zipf>),
    Sequence(&'d At<Sequence>),
    Choice(&'d At<Vec<Scalar>>),
    ByStage(&'d At<Vec<Scalar>>),
    Repeat(&'d At<String>, Option<&'d At<i64>>),
    Uuid(&'d At<bool>),
    Text(&'d At<RandomString>),
    Time(&'d At<RandomTime>),
    Csv(&'d At<String>),
}

impl<'d> Kind<'d> {
    /// All kinds that an item has, with their keys; it should be one.
    fn all(data: &'d scenario::Data) -> Vec<(&'static str, Self)> {
        [
            ("constant", data.constant.as_ref().map(Self::Constant)),
            ("uniform", data.uniform.as_ref().map(Self::Uniform)),
            ("zipf", data.zipf.as_ref().map(Self::Zipf)),
            ("sequence", data.sequence.as_ref().map(Self::Sequence)),
            ("choice", data.choice.as_ref().map(Self::Choice)),
            ("by_stage", data.by_stage.as_ref().map(Self::ByStage)),
            (
                "repeat",
                data.repeat.as_ref().map(|text| Self::Repeat(text, data.times.as_ref())),
            ),
            ("uuid", data.uuid.as_ref().map(Self::Uuid)),
            ("string", data.string.as_ref().map(Self::Text)),
            ("timestamp", data.timestamp.as_ref().map(Self::Time)),
            ("csv", data.csv.as_ref().map(Self::Csv)),
        ]
        .into_iter()
        .filter_map(|(key, kind)| Some((key, kind?)))
        .collect()
    }
}

const KINDS: &str = "constant, uniform, zipf, sequence, choice, by_stage, repeat, uuid, string, timestamp, csv";

/// Adds one item to the set; `None` when it has problems.
fn item(compiler: &mut Compiler<'_>, name: &str, written: &At<scenario::Data>, set: &mut DataSet) -> Option<()> {
    let mut kinds = Kind::all(&written.value);
    if kinds.len() > 1 {
        let keys: Vec<_> = kinds.iter().map(|(key, _)| format!("`{key}`")).collect();
        let title = format!("data \"{name}\" has several kinds");
        let help = Some("make an item of each".into());
        compiler.problem(written, title, keys.join(" and "), help);
        return None;
    }
    let Some((_, kind)) = kinds.pop() else {
        let title = format!("data \"{name}\" has no kind");
        let help = Some(format!("exactly one of {KINDS}"));
        compiler
            .problems
            .add_missing(written.span(), title, "nothing says what it is", help);
        return None;
    };
    if let (Some(times), None) = (&written.value.times, &written.value.repeat) {
        let label = "it is for a text, with `repeat`";
        compiler.problem(times, "`times` does not belong here", label, None);
    }
    if let Kind::Csv(path) = kind {
        return table(compiler, name, path, written.value.order.as_ref(), set);
    }
    let one = generator(compiler, kind)?;
    let draw = Draw {
        purpose: purpose(name),
        generator: several(compiler, written.value.array.as_ref(), one),
    };
    set.draws.insert(name.to_owned(), draw);
    Some(())
}

/// So many of them in one value, where that is asked for.
fn several(compiler: &mut Compiler<'_>, length: Option<&At<i64>>, of: Generator) -> Generator {
    match length {
        Some(_) => Generator::Array(
            Box::new(of),
            compiler.integer(length, "`array`", 1..=MOST_TIMES, 1) as u64,
        ),
        None => of,
    }
}

fn generator(compiler: &mut Compiler<'_>, kind: Kind<'_>) -> Option<Generator> {
    let (place, generator) = match kind {
        Kind::Constant(at) => return Some(Generator::Constant(scalar(compiler, at, &at.value)?)),
        Kind::Repeat(at, times) => {
            let times = compiler.integer(times, "`times`", 0..=MOST_TIMES, 1) as usize;
            let text = compiler.resolve(at)?;
            (at.span(), repeated(&text, times))
        }
        Kind::Choice(at) => {
            let values: Vec<_> = at.value.iter().map(|value| scalar(compiler, at, value)).collect();
            (at.span(), choice(values.into_iter().collect::<Option<_>>()?))
        }
        Kind::ByStage(at) => {
            let values: Vec<_> = at.value.iter().map(|value| scalar(compiler, at, value)).collect();
            return Some(Generator::ByStage(values.into_iter().collect::<Option<_>>()?));
        }
        Kind::Time(at) => (at.span(), time(compiler, at)?),
        Kind::Uniform(at) => (
            at.span(),
            ordered(at.value.from, at.value.to).map(|(from, to)| Generator::Uniform { from, to }),
        ),
        Kind::Zipf(at) => (at.span(), zipf(&at.value)),
        Kind::Sequence(at) => (at.span(), sequence(&at.value)),
        Kind::Uuid(at) => (
            at.span(),
            if at.value {
                Ok(Generator::Uuid)
            } else {
                Err("write uuid = true".into())
            },
        ),
        Kind::Text(at) => (at.span(), text(&at.value)),
        Kind::Csv(_) => return None,
    };
    if let Err(reason) = &generator {
        let title = "data that makes no sense";
        compiler.problems.add_missing(place, title, reason, None);
    }
    generator.ok()
}

/// A constant with `${…}` filled in.
fn scalar<T>(compiler: &mut Compiler<'_>, at: &At<T>, value: &Scalar) -> Option<Value> {
    match value {
        Scalar::Text(text) => Some(Value::Text(compiler.resolve(&at.with(text.clone()))?.into())),
        other => Some(other.into()),
    }
}

/// A list as long as that is sent in every operation, so it is bounded.
fn repeated(text: &str, times: usize) -> Result<Generator, String> {
    if (text.len() + 1).saturating_mul(times) > LONGEST_REPEAT {
        return Err("`repeat` gives more than 16 MiB".into());
    }
    Ok(Generator::Constant(Value::Text(vec![text; times].join(",").into())))
}

fn choice(values: Vec<Value>) -> Result<Generator, String> {
    if values.is_empty() {
        return Err("`choice` lists nothing".into());
    }
    Ok(Generator::Choice(values))
}

fn zipf(zipf: &scenario::Zipf) -> Result<Generator, String> {
    let (from, to) = ordered(zipf.from, zipf.to)?;
    let exponent = zipf.exponent.unwrap_or(1.0);
    if !(exponent > 0.0 && exponent <= MOST_SKEW) {
        return Err(format!("`exponent` must be above 0 and at most {MOST_SKEW}"));
    }
    let ranks = Zipf::new(to.abs_diff(from) as f64 + 1.0, exponent).map_err(|error| error.to_string())?;
    Ok(Generator::Zipf { from, to, ranks })
}

fn sequence(sequence: &Sequence) -> Result<Generator, String> {
    let from = sequence.from.unwrap_or(1);
    let count = match sequence.to {
        Some(to) if to < from => return Err(format!("`to` ({to}) is below `from` ({from})")),
        Some(to) => Some(to.abs_diff(from).saturating_add(1)),
        None => None,
    };
    Ok(Generator::Sequence { from, count })
}

fn text(string: &RandomString) -> Result<Generator, String> {
    match string.length {
        Some(length @ 1..=1_000_000) => Ok(Generator::Text {
            length: length as usize,
        }),
        _ => Err("`length` must be from 1 to 1,000,000".into()),
    }
}

fn ordered(from: Option<i64>, to: Option<i64>) -> Result<(i64, i64), String> {
    match (from, to) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        (Some(from), Some(to)) => Err(format!("`from` ({from}) is above `to` ({to})")),
        _ => Err("`from` and `to` are both needed".into()),
    }
}

/// `None` when a variable of the environment is missing, which is then among the problems.
fn time(compiler: &mut Compiler<'_>, at: &At<RandomTime>) -> Option<Result<Generator, String>> {
    let mut resolve = |text: &Option<String>| match text {
        Some(text) => compiler.resolve(&at.with(text.clone())).map(Some),
        None => Some(None),
    };
    let (from, to, format) = (
        resolve(&at.value.from),
        resolve(&at.value.to),
        resolve(&at.value.format),
    );
    Some(time_between(from?.as_deref(), to?.as_deref(), format?.as_deref()))
}

fn time_between(from: Option<&str>, to: Option<&str>, format: Option<&str>) -> Result<Generator, String> {
    let read = |text: Option<&str>, key: &str| -> Result<i64, String> {
        let text = text.ok_or_else(|| format!("`{key}` is needed, as in \"2026-01-01T00:00:00Z\""))?;
        let time: jiff::Timestamp = text.parse().map_err(|error| format!("`{key}`: {error}"))?;
        Ok(time.as_second())
    };
    let (from, to) = ordered(Some(read(from, "from")?), Some(read(to, "to")?))?;
    let unix = match format {
        None | Some("rfc3339") => false,
        Some("unix") => true,
        Some(other) => return Err(format!("unknown format \"{other}\"; use \"rfc3339\" or \"unix\"")),
    };
    Ok(Generator::Time { from, to, unix })
}

/// One draw per column of a CSV file.
fn table(
    compiler: &mut Compiler<'_>,
    name: &str,
    csv: &At<String>,
    order: Option<&At<String>>,
    set: &mut DataSet,
) -> Option<()> {
    let random = compiler.word(order, &[("sequential", false), ("random", true)], false);
    let path = compiler.resolve(csv)?;
    let path = compiler.directory.join(path);
    let (columns, file_hash) = read_columns(&path)
        .map_err(|reason| compiler.problem(csv, "the CSV file cannot be used", reason, None))
        .ok()?;
    set.file_hashes.insert(name.to_owned(), file_hash);
    for (column, rows) in columns {
        let draw = Draw {
            purpose: purpose(name),
            generator: Generator::Column {
                rows: rows.into(),
                random,
            },
        };
        set.draws.insert(format!("{name}.{column}"), draw);
    }
    Some(())
}

type Columns = Vec<(String, Vec<Arc<str>>)>;

/// The columns of a CSV file with a header line, and the hash of the file.
fn read_columns(path: &Path) -> Result<(Columns, String), String> {
    let shown = path.display();
    let bytes = read_bounded(path, LARGEST_CSV).map_err(|error| error.to_string())?;
    let unreadable = |error: csv::Error| format!("{shown}: {error}");
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(unreadable)?;
    let names: Vec<String> = header.iter().map(|column| column.trim().to_owned()).collect();
    if names.is_empty() {
        return Err(format!("{shown} is empty; it needs a header line and at least one row"));
    }
    if let Some(nameless) = names.iter().position(String::is_empty) {
        return Err(format!(
            "{shown}: column {} has no name in the header line",
            nameless + 1
        ));
    }
    if let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(format!("{shown}: two columns are called \"{twice}\""));
    }
    let mut columns: Columns = names.into_iter().map(|name| (name, Vec::new())).collect();
    for record in reader.records() {
        let record = record.map_err(unreadable)?;
        for ((_, rows), field) in columns.iter_mut().zip(&record) {
            rows.push(field.into());
        }
    }
    if columns.iter().any(|(_, rows)| rows.is_empty()) {
        return Err(format!("{shown} has a header line but no rows"));
    }
    Ok((columns, hash(&bytes)))
}
