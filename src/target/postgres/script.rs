//! What an operation sends, written before its clock starts: one message or
//! chain of messages per statement, as the protocol of the target has it.

use bytes::BytesMut;
use postgres_protocol::{
    IsNull,
    message::frontend::{self, BindError},
};

use super::{
    failure::Failure,
    values::{write_copied, write_literal, write_parameter},
};
use crate::{
    sample::ErrorClass,
    workload::{CopyIn, Protocol, Request, Statement, Template, Value, Values, split_sql},
};

/// Rows of a COPY that go into one message, in bytes; a longer row has one of its own.
const COPIED_AT_ONCE: usize = 64 << 10;

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
    /// Writes what an operation sends first, with its values; of a fan-out that is its first statement.
    pub(super) fn write(&mut self, protocol: Protocol, all: &[Sql], request: &Request, values: &mut Values<'_>) {
        self.begin();
        let written = match request {
            Request::Http(_) => Ok(()),
            Request::Copy(copy) => self.add_copy(&all[copy.statement.index].text, copy, values),
            Request::Transaction(statements) if protocol == Protocol::Pipelined => {
                self.add_transaction(all, statements, values)
            }
            Request::ForEach(fan_out) => self.add(protocol, all, &fan_out.statements[0], values),
            request => {
                let mut statements = request.statements().iter();
                statements.try_for_each(|statement| self.add(protocol, all, statement, values))
            }
        };
        self.refused = written.err();
    }

    /// Empties it, to be written by [`Script::add`].
    pub(super) fn begin(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.refused = None;
    }

    /// Writes one statement more, with an answer of its own.
    pub(super) fn add(
        &mut self,
        protocol: Protocol,
        all: &[Sql],
        statement: &Statement,
        values: &mut Values<'_>,
    ) -> Result<(), Failure> {
        let Statement {
            index,
            parameters,
            redraw,
        } = statement;
        if *redraw {
            values.redraw();
        }
        let (sql, out) = (&all[*index], &mut self.bytes);
        match protocol {
            Protocol::Prepared | Protocol::Pipelined => bound(&sql.name, parameters, values, out),
            Protocol::Extended => extended(sql, parameters, values, out),
            Protocol::Simple => simple(sql, parameters, values, out),
        }?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// BEGIN, the statements, COMMIT. The server passes over what follows a failure until the first
    /// Sync; the COMMIT behind it then ends the transaction by rolling it back.
    fn add_transaction(
        &mut self,
        all: &[Sql],
        statements: &[Statement],
        values: &mut Values<'_>,
    ) -> Result<(), Failure> {
        let out = &mut self.bytes;
        command("BEGIN", values, out)?;
        for statement in statements {
            if statement.redraw {
                values.redraw();
            }
            bind(&all[statement.index].name, &statement.parameters, values, out)?;
            frontend::execute("", 0, out).map_err(unwritable)?;
        }
        frontend::sync(out);
        command("COMMIT", values, out)?;
        frontend::sync(out);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The command, and apart from it the rows with their end.
    fn add_copy(&mut self, command: &str, copy: &CopyIn, values: &mut Values<'_>) -> Result<(), Failure> {
        frontend::query(command, &mut self.bytes).map_err(unwritable)?;
        self.ends.push(self.bytes.len());
        let mut rows = String::new();
        for number in 0..copy.times {
            if number > 0 {
                values.redraw();
            }
            let row: Vec<Value> = copy
                .statement
                .parameters
                .iter()
                .map(|value| value.value(values))
                .collect();
            write_copied(&row, &mut rows).map_err(|reason| {
                let place = format_args!("row {}: {reason}", number + 1);
                Failure::new(ErrorClass::Parameter, place)
            })?;
            if rows.len() >= COPIED_AT_ONCE {
                copied(&mut rows, &mut self.bytes)?;
            }
        }
        copied(&mut rows, &mut self.bytes)?;
        frontend::copy_done(&mut self.bytes);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// All messages; a failure where some could not be written.
    pub(super) fn all(&mut self) -> Result<&[u8], Failure> {
        match self.refused.take() {
            None => Ok(&self.bytes),
            Some(failure) => Err(failure),
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

/// A message with the rows so far.
fn copied(rows: &mut String, out: &mut BytesMut) -> Result<(), Failure> {
    if !rows.is_empty() {
        frontend::CopyData::new(rows.as_bytes()).map_err(unwritable)?.write(out);
        rows.clear();
    }
    Ok(())
}

/// Parses and runs a command that has no parameters and answers nothing, without an end of the exchange.
fn command(sql: &str, values: &mut Values<'_>, out: &mut BytesMut) -> Result<(), Failure> {
    frontend::parse("", sql, [], out).map_err(unwritable)?;
    bind("", &[], values, out)?;
    frontend::execute("", 0, out).map_err(unwritable)
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
