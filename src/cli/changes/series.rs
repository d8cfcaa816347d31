//! Reads a series from CSV, and says where the file is wrong. Knows nothing of what is made of it.

use std::{
    io::{self, Read as _},
    path::Path,
};

use crate::run;

/// A larger file is refused: 64 MiB.
const LARGEST: u64 = 64 << 20;

/// More rows are refused: a run an hour for 28 years. The worst of them take some seconds.
const MOST_ROWS: usize = 250_000;

/// The longest text of a file that is repeated in a message, in characters.
const QUOTED: usize = 40;

/// Two columns of the file, equally long.
#[derive(Debug, PartialEq)]
pub(super) struct Series {
    pub(super) indices: Vec<String>,
    /// All finite.
    pub(super) values: Vec<f64>,
}

/// The series in a file, or in what is handed in where the file is called `-`.
pub(super) fn read(file: &Path) -> Result<Series, String> {
    if file != Path::new("-") {
        let bytes = run::read_bounded(file, LARGEST).map_err(|error| error.to_string())?;
        return parse(&bytes).map_err(|problem| format!("{}: {problem}", file.display()));
    }
    let mut bytes = Vec::new();
    let given = io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes);
    given.map_err(|error| format!("standard input: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!(
            "standard input: larger than {LARGEST} bytes, so it is not read"
        ));
    }
    parse(&bytes).map_err(|problem| format!("standard input: {problem}"))
}

/// The problem names the line, not the file.
fn parse(bytes: &[u8]) -> Result<Series, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|error| unreadable(bytes, &error))?.clone();
    let columns = [column(&header, "index")?, column(&header, "value")?];
    let mut series = Series {
        indices: Vec::new(),
        values: Vec::new(),
    };
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(bytes, &error))?;
        let [index, value] = columns.map(|column| record.get(column).unwrap_or_default().trim());
        let row = row(index, value).map_err(|problem| {
            let line = record.position().map_or(0, |position| line(bytes, position.byte()));
            format!("line {line}: {problem}")
        })?;
        series.indices.push(row.0);
        series.values.push(row.1);
        if series.values.len() > MOST_ROWS {
            return Err(format!(
                "more than {MOST_ROWS} rows; give fewer, the latest for instance"
            ));
        }
    }
    if series.values.is_empty() {
        return Err("line 1: there is no row after the header; give one for every run".into());
    }
    Ok(series)
}

/// Where the column of that name is.
fn column(header: &csv::StringRecord, name: &str) -> Result<usize, String> {
    let mut found = header.iter().enumerate().filter(|(_, column)| column.trim() == name);
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => Err(format!("line 1: two columns are called \"{name}\"; rename one")),
        (None, _) => Err(format!(
            "line 1: no column is called \"{name}\"; the first line must name the columns, as in index,value"
        )),
    }
}

fn row(index: &str, value: &str) -> Result<(String, f64), String> {
    if index.is_empty() {
        return Err("the index is missing; say which run or point this is".into());
    }
    if value.is_empty() {
        return Err("the value is missing; leave the row out, or give it a number".into());
    }
    let shown: String = value.chars().flat_map(char::escape_debug).take(QUOTED).collect();
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((index.to_owned(), number)),
        Ok(_) => Err(format!(
            "the value {shown} is not finite; leave the row out, or give it a number"
        )),
        Err(_) => Err(format!(
            "the value \"{shown}\" is no number; write it as in 1234.5, without a unit or a decimal comma"
        )),
    }
}

fn unreadable(bytes: &[u8], error: &csv::Error) -> String {
    let line = error.position().map_or(1, |position| line(bytes, position.byte()));
    let mend = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "this is not UTF-8; save the file in that encoding".into(),
        _ => format!("{error}; write it as comma-separated values"),
    };
    format!("line {line}: {mend}")
}

/// The line of the record whose position is `byte`; the reader's own count is off after CRLF and empty lines.
fn line(bytes: &[u8], byte: u64) -> usize {
    let from = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
    let blank = bytes[from..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    1 + bytes[..from + blank].iter().filter(|byte| **byte == b'\n').count()
}
