//! What comes back: answers to their end, and rows as they came. What was asked
//! is not known here.

use std::sync::Arc;

use super::{
    failure::{Failure, Refusal},
    message::{self, Column},
    stopwatch::Stopwatch,
    wire::{Head, LONGEST_MESSAGE, Wire, too_large},
};
use crate::target::answer::Row;

/// Reads an answer to its end; an error that stands in it is put aside until then.
pub(super) async fn answer(
    wire: &mut Wire,
    stopwatch: &mut Stopwatch,
    keep: bool,
    mut take: impl FnMut(u8, &[u8]) -> Result<(), Failure>,
    refused: &mut Option<Failure>,
) -> Result<u64, Failure> {
    let mut rows = 0;
    while let Some(head) = next(wire, stopwatch, refused).await? {
        let row = head.tag == b'D';
        rows += u64::from(row);
        if row && !keep {
            wire.skip(head).await?;
        } else {
            take(head.tag, wire.body(head).await?)?;
        }
    }
    Ok(rows)
}

/// The next message of an answer, whose body is still to be read; `None` at its end. Errors are put
/// aside, the first of them, and news are passed over.
pub(super) async fn next(
    wire: &mut Wire,
    stopwatch: &mut Stopwatch,
    refused: &mut Option<Failure>,
) -> Result<Option<Head>, Failure> {
    loop {
        let head = wire.head().await?;
        stopwatch.is_answered();
        match head.tag {
            b'Z' => {
                // "I": idle; "T" and "E": in a transaction, in a failed one.
                let in_transaction = wire.body(head).await?.first().is_some_and(|status| *status != b'I');
                wire.answered(in_transaction);
                return Ok(None);
            }
            b'E' => {
                let Refusal { failure, fatal } = Refusal::read(wire.body(head).await?);
                refused.get_or_insert(failure);
                if fatal {
                    wire.lose();
                    return Ok(None);
                }
            }
            _ if head.is_news() => wire.skip(head).await?,
            _ => return Ok(Some(head)),
        }
    }
}

pub(super) fn described(body: &[u8]) -> Result<Arc<[Column]>, Failure> {
    let columns = message::columns(body).ok_or_else(|| Failure::malformed("description of rows"))?;
    Ok(columns.into())
}

/// As many values as there are columns.
pub(super) fn row_cells<'a>(columns: &[Column], row: &'a [u8]) -> Result<Vec<Option<&'a [u8]>>, Failure> {
    message::cells(row)
        .filter(|cells| cells.len() == columns.len())
        .ok_or_else(|| Failure::malformed("row"))
}

pub(super) fn text_row(columns: &[Column], row: &[u8]) -> Result<Row, Failure> {
    let text = |cell: Option<&[u8]>| cell.map(|text| String::from_utf8_lossy(text).into_owned()).into();
    let cells = row_cells(columns, row)?.into_iter().map(text);
    Ok(columns.iter().map(|column| column.name.clone()).zip(cells).collect())
}

/// Rows as they came, read once the types of their columns are known.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub(super) size: usize,
}

impl Kept {
    pub(super) fn push(&mut self, row: &[u8]) -> Result<(), Failure> {
        self.grow(row)?;
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Counts a row that is kept elsewhere.
    pub(super) fn grow(&mut self, row: &[u8]) -> Result<(), Failure> {
        self.size += row.len();
        if self.size > LONGEST_MESSAGE {
            return Err(too_large("what the rows hold"));
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }
}
