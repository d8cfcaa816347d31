//! What an operation sends, written before its clock starts: one message or
//! chain of messages per statement, as the protocol of the target has it.

use bytes::BytesMut;
use postgres_protocol::{
    IsNull,
    message::frontend::{self, BindError},
};

use super::{
    failure::Failure,
    values::{write_literal, write_parameter},
};
use crate::{
    sample::ErrorClass,
    workload::{Protocol, Statement, Template, Values, split_sql},
};

/// Results in binary form, where the protocol lets us choose.
const BINARY: i16 = 1;

/// A statement of the target.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) text: String,
    /// What it is called on every connection that has prepared it.
    pub(super) name: String,
    /// The text between its placeholders, and their indices, for the simple protocol.
    pieces: (Vec<String>, Vec<usize>),
}

impl Sql {
    pub(super) fn new(index: usize, text: &str) -> Self {
        let (texts, indices) = split_sql(text);
        Self {
            text: text.to_owned(),
            name: format!("s{index}"),
            pieces: (texts.into_iter().map(str::to_owned).collect(), indices),
        }
    }

    fn with_literals(&self, parameters: &[Template], values: &mut Values<'_>) -> String {
        let drawn: Vec<_> = parameters.iter().map(|template| template.value(values)).collect();
        let (texts, indices) = &self.pieces;
        let mut query = String::new();
        for (number, text) in texts.iter().enumerate() {
            query.push_str(text);
            if let Some(value) = indices.get(number).and_then(|index| drawn.get(*index)) {
                write_literal(value, &mut query);
            }
        }
        query
    }
}

/// What one operation sends; its memory is used again by the next.
#[derive(Debug, Default)]
pub(super) struct Script {
    bytes: BytesMut,
    /// Where the messages of each statement end.
    ends: Vec<usize>,
    /// Why what follows could not be written.
    refused: Option<Failure>,
}

impl Script {
    /// Writes what these statements send, with the values of this operation.
    pub(super) fn write(&mut self, protocol: Protocol, all: &[Sql], statements: &[Statement], values: &mut Values<'_>) {
        self.bytes.clear();
        self.ends.clear();
        self.refused = None;
        for Statement {
            index,
            parameters,
            redraw,
        } in statements
        {
            if *redraw {
                values.redraw();
            }
            let written = match protocol {
                Protocol::Prepared => bound(&all[*index].name, parameters, values, &mut self.bytes),
                Protocol::Extended => extended(&all[*index], parameters, values, &mut self.bytes),
                Protocol::Simple => simple(&all[*index], parameters, values, &mut self.bytes),
            };
            match written {
                Ok(()) => self.ends.push(self.bytes.len()),
                Err(failure) => {
                    self.refused = Some(failure);
                    return;
                }
            }
        }
    }

    /// The messages of one statement; a failure where they could not be written.
    pub(super) fn messages(&mut self, number: usize) -> Result<&[u8], Failure> {
        let begin = number.checked_sub(1).and_then(|before| self.ends.get(before));
        match self.ends.get(number) {
            Some(end) => Ok(&self.bytes[begin.copied().unwrap_or(0)..*end]),
            None => Err(self
                .refused
                .take()
                .unwrap_or_else(|| Failure::new(ErrorClass::Parameter, "not written"))),
        }
    }
}

/// Runs what is prepared under a name.
fn bound(name: &str, parameters: &[Template], values: &mut Values<'_>, out: &mut BytesMut) -> Result<(), Failure> {
    bind(name, parameters, values, out)?;
    execute(out)
}

/// Parses, describes and runs in one go, without a name.
fn extended(sql: &Sql, parameters: &[Template], values: &mut Values<'_>, out: &mut BytesMut) -> Result<(), Failure> {
    // The server finds out the types.
    frontend::parse("", &sql.text, [], out).map_err(unwritable)?;
    bind("", parameters, values, out)?;
    frontend::describe(b'P', "", out).map_err(unwritable)?;
    execute(out)
}

fn bind(name: &str, parameters: &[Template], values: &mut Values<'_>, out: &mut BytesMut) -> Result<(), Failure> {
    let parameters = parameters.iter().enumerate();
    let mut at = 0;
    let write = |(number, template): (usize, &Template), out: &mut BytesMut| {
        at = number;
        let null = write_parameter(&template.value(values), out)?;
        Ok(if null { IsNull::Yes } else { IsNull::No })
    };
    // No formats: all parameters are text.
    frontend::bind("", name, [], parameters, write, [BINARY], out).map_err(|error| match error {
        BindError::Conversion(reason) => Failure::new(
            ErrorClass::Parameter,
            format_args!("error serializing parameter {at}: {reason}"),
        ),
        BindError::Serialization(error) => unwritable(error),
    })
}

/// All rows at once, then the end of the exchange.
fn execute(out: &mut BytesMut) -> Result<(), Failure> {
    frontend::execute("", 0, out).map_err(unwritable)?;
    frontend::sync(out);
    Ok(())
}

fn simple(sql: &Sql, parameters: &[Template], values: &mut Values<'_>, out: &mut BytesMut) -> Result<(), Failure> {
    frontend::query(&sql.with_literals(parameters, values), out).map_err(unwritable)
}

/// A statement with its parameters written into it, as the simple protocol sends it.
pub fn with_literals(sql: &str, parameters: &[Template], values: &mut Values<'_>) -> String {
    Sql::new(0, sql).with_literals(parameters, values)
}

/// Text with a zero byte, or more than a message can hold.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` wants it")]
pub(super) fn unwritable(error: std::io::Error) -> Failure {
    Failure::protocol(format_args!("error encoding message to server: {error}"))
}
