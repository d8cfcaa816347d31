//! What a fan-out means on every database: how a row becomes parameters, and how
//! the answers to all rows become one. Who performs the statements is elsewhere.

use super::answer::{Answer, Row};
use crate::workload::{ForEach, Value, Values};

/// For more rows no statement is performed.
const MOST_ROWS: usize = 10_000;

/// Whether there are not too many rows.
///
/// # Errors
/// How many there are.
pub(super) fn check(rows: &[Row]) -> Result<(), String> {
    match rows.len() {
        0..=MOST_ROWS => Ok(()),
        count => Err(format!(
            "{count} rows to perform a statement for; at most {MOST_ROWS} are allowed"
        )),
    }
}

/// Gives the variables of the second statement the values of a row.
///
/// # Errors
/// The column that the row does not have.
pub(super) fn bind(fan_out: &ForEach, row: &Row, values: &mut Values<'_>) -> Result<(), String> {
    for (variable, column) in &fan_out.columns {
        let Some(value) = row.get(&**column) else {
            let known: Vec<&str> = row.keys().map(String::as_str).collect();
            let known = known.join(", ");
            return Err(format!(
                "no column is called \"{column}\", which for_each names; the columns are: {known}"
            ));
        };
        values.save(*variable, Value::from_json(value));
    }
    Ok(())
}

/// The answers to all rows.
#[derive(Debug, Default)]
pub(super) struct Together(Answer);

impl Together {
    pub(super) fn add(&mut self, answer: Answer) {
        self.0.rows.extend(answer.rows);
        self.0.row_count += answer.row_count;
        self.0.affected += answer.affected;
        self.0.body_bytes += answer.body_bytes;
    }

    /// What the rows that are kept hold.
    pub(super) fn bytes(&self) -> u64 {
        self.0.body_bytes
    }

    pub(super) fn into_answer(self) -> Answer {
        self.0
    }
}
