//! A connection that is made, and the exchanges on it: what is sent, and what
//! is made of the answer. How it was made is none of its business.

use std::{collections::HashMap, sync::Arc};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio_postgres::types::{Kind, Type};

use super::{
    Shared,
    cancel::Key,
    failure::Failure,
    message::{self, Column},
    pipeline::Sent,
    received::{Kept, answer, described, row_cells, text_row},
    script::{Script, unwritable},
    stopwatch::Stopwatch,
    values::row_to_json,
    wire::Wire,
};
use crate::{
    target::{Answer, Reply, answer::Row},
    workload::{Protocol, Request, Statement, Values},
};

/// A connection and what was prepared on it.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) wire: Wire,
    /// Lets the server give up what it does for this connection.
    key: Option<Key>,
    /// The columns of what was prepared, by index of the statement.
    prepared: Vec<Option<Arc<[Column]>>>,
    /// The types that this database has beyond those that all have.
    types: HashMap<u32, Type>,
    /// For messages that belong to no operation's script.
    out: BytesMut,
    /// Where the time of the exchanges goes.
    pub(super) stopwatch: Stopwatch,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Cut off in mid-statement. The server would go on with it otherwise, and the
        // connections of what times out would pile up there.
        if let (true, Some(key)) = (self.wire.is_answering(), self.key.take()) {
            self.shared.cancels.request(Arc::clone(&self.shared), key);
        }
    }
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, wire: Wire, key: Option<Key>) -> Self {
        Self {
            prepared: vec![None; shared.statements.len()],
            shared,
            wire,
            key,
            types: HashMap::new(),
            out: BytesMut::new(),
            stopwatch: Stopwatch::default(),
        }
    }

    /// The server's process for it, as the server named it when it let it in.
    pub(super) fn process(&self) -> Option<i32> {
        self.key.as_ref().map(|key| key.process)
    }

    /// Performs an operation; its messages are in the script, but those that depend on an answer.
    pub(super) async fn perform(
        &mut self,
        request: &Request,
        script: &mut Script,
        values: &mut Values<'_>,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let pipelined = self.shared.protocol == Protocol::Pipelined;
        match request {
            Request::Transaction(statements) if pipelined => {
                let sent = Sent::transaction(statements);
                self.in_one_go(statements, sent, script, keep, reply).await
            }
            Request::Statements(statements) if pipelined => {
                let sent = Sent::one_by_one(statements.len());
                self.in_one_go(statements, sent, script, keep, reply).await
            }
            Request::Transaction(statements) => self.transaction(statements, script, keep, reply).await,
            Request::ForEach(fan_out) => self.fan_out(fan_out, script, values, keep, reply).await,
            Request::Copy(_) => self.copy(script, reply).await,
            request => self.all(request.statements(), script, keep, reply).await,
        }
    }

    async fn transaction(
        &mut self,
        statements: &[Statement],
        script: &mut Script,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        self.command("BEGIN", reply).await?;
        let mut result = self.all(statements, script, keep, reply).await;
        if result.is_ok() {
            result = self.command("COMMIT", reply).await;
        }
        if result.is_err() && self.wire.is_usable() {
            // Should the rollback fail too, the first error is the one to report.
            let _ = self.command("ROLLBACK", reply).await;
        }
        result
    }

    /// Statements one after the other, each sent when the one before was answered.
    pub(super) async fn all(
        &mut self,
        statements: &[Statement],
        script: &mut Script,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        for (number, statement) in statements.iter().enumerate() {
            if number > 0 {
                // What a transaction answers is what its last statement answers.
                reply.answer = Answer::default();
            }
            self.prepare_where_needed(statement.index, reply).await?;
            let messages = script.messages(number)?;
            reply.queries += 1;
            reply.round_trips += 1;
            let done = match self.shared.protocol {
                Protocol::Simple => self.simple(messages, keep, reply).await,
                Protocol::Prepared | Protocol::Pipelined | Protocol::Extended => {
                    self.bound(statement.index, messages, keep, reply).await
                }
            };
            self.count_transaction(reply);
            done?;
        }
        Ok(())
    }

    /// Prepares what the protocol wants prepared and this connection does not know yet.
    pub(super) async fn prepare_where_needed(&mut self, index: usize, reply: &mut Reply) -> Result<(), Failure> {
        if self.shared.protocol.prepares() && self.prepared[index].is_none() {
            reply.round_trips += 1;
            self.prepare(index).await?;
        }
        Ok(())
    }

    /// Counts the transaction that ended with the last answer, if one did.
    pub(super) fn count_transaction(&self, reply: &mut Reply) {
        let ended = self.wire.is_usable() && !self.wire.is_in_transaction();
        reply.transactions += u32::from(ended);
    }

    /// Sends messages and reads the answer to its end. Every message that is no row goes to
    /// `take`, and rows where they are kept; how many rows there were.
    async fn exchange(
        &mut self,
        messages: &[u8],
        keep: bool,
        take: impl FnMut(u8, &[u8]) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        self.stopwatch.sends();
        self.wire.send(messages).await?;
        let mut refused = None;
        match answer(&mut self.wire, &mut self.stopwatch, keep, take, &mut refused).await {
            Ok(rows) => refused.map_or(Ok(rows), Err),
            // A connection lost after an error was lost over it.
            Err(failure) => Err(refused.unwrap_or(failure)),
        }
    }

    /// What is prepared, or parsed on the way, with its parameters.
    async fn bound(&mut self, index: usize, messages: &[u8], keep: bool, reply: &mut Reply) -> Result<(), Failure> {
        let mut columns = None;
        let mut kept = Kept::default();
        let mut affected = 0;
        let rows = self
            .exchange(messages, keep, |tag, body| match tag {
                b'D' => kept.push(body),
                b'C' => {
                    affected = message::affected(body);
                    Ok(())
                }
                b'T' if keep => {
                    columns = Some(described(body)?);
                    Ok(())
                }
                // Parsed, bound, described, nothing to describe, an empty statement.
                b'1' | b'2' | b'T' | b'n' | b'I' => Ok(()),
                _ => Err(Failure::unexpected(tag)),
            })
            .await?;
        reply.answer.row_count = rows;
        reply.answer.affected = affected;
        if keep {
            let columns = columns.or_else(|| self.prepared[index].clone()).unwrap_or_default();
            self.read_kept(&columns, &kept, reply).await?;
        }
        Ok(())
    }

    /// The columns of a statement that is prepared.
    pub(super) fn columns(&self, index: usize) -> Arc<[Column]> {
        self.prepared[index].clone().unwrap_or_default()
    }

    /// Makes rows of what came.
    pub(super) async fn read_kept(
        &mut self,
        columns: &[Column],
        kept: &Kept,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        self.learn_types(columns, &mut reply.round_trips).await?;
        let read = self.read_rows(columns, kept);
        if read.is_err() {
            // A server that breaks the protocol is not to be trusted with more.
            self.wire.lose();
        }
        reply.answer.rows = read?;
        reply.answer.body_bytes = kept.size as u64;
        Ok(())
    }

    /// Text with all values in it, perhaps several statements; all answers are text.
    async fn simple(&mut self, messages: &[u8], keep: bool, reply: &mut Reply) -> Result<(), Failure> {
        let mut columns: Arc<[Column]> = Arc::default();
        let mut kept = Kept::default();
        let answer = &mut reply.answer;
        answer.row_count = self
            .exchange(messages, keep, |tag, body| {
                match tag {
                    b'T' if keep => columns = described(body)?,
                    b'D' => {
                        kept.grow(body)?;
                        answer.rows.push(text_row(&columns, body)?);
                    }
                    b'C' => answer.affected = message::affected(body),
                    b'T' | b'I' => {}
                    _ => return Err(Failure::unexpected(tag)),
                }
                Ok(())
            })
            .await?;
        reply.answer.body_bytes = kept.size as u64;
        Ok(())
    }

    /// A statement of our own without an answer.
    async fn command(&mut self, sql: &str, reply: &mut Reply) -> Result<(), Failure> {
        reply.round_trips += 1;
        let done = self.ask(sql).await.map(drop);
        self.count_transaction(reply);
        done
    }

    /// A question of our own: the first row of the answer.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Vec<Option<String>>, Failure> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        frontend::query(sql, &mut out).map_err(unwritable)?;
        let mut first = None;
        let take = |tag: u8, body: &[u8]| {
            if tag == b'D' && first.is_none() {
                let cells = message::cells(body).ok_or_else(|| Failure::malformed("row"))?;
                let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
                first = Some(cells.into_iter().map(|cell| cell.map(text)).collect());
            }
            Ok(())
        };
        let asked = self.exchange(&out, true, take).await;
        self.out = out;
        asked.map(|_| first.unwrap_or_default())
    }

    /// Prepares a statement on this connection.
    pub(super) async fn prepare(&mut self, index: usize) -> Result<(), Failure> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let sql = &self.shared.statements[index];
        // An earlier attempt may have come halfway; to close what is not there is no error.
        frontend::close(b'S', &sql.name, &mut out).map_err(unwritable)?;
        frontend::parse(&sql.name, &sql.text, [], &mut out).map_err(unwritable)?;
        frontend::describe(b'S', &sql.name, &mut out).map_err(unwritable)?;
        frontend::sync(&mut out);
        let mut columns = Arc::default();
        let prepared = self.exchange(&out, true, |tag, body| match tag {
            b'T' => {
                columns = described(body)?;
                Ok(())
            }
            // Closed, parsed, its parameters, no columns.
            b'3' | b'1' | b't' | b'n' => Ok(()),
            _ => Err(Failure::unexpected(tag)),
        });
        let prepared = prepared.await;
        self.out = out;
        prepared?;
        self.prepared[index] = Some(columns);
        Ok(())
    }

    /// Prepares all statements that go to the target. What does not prepare (yet: setup may be about to
    /// create its table) is for the operation that needs it to meet; a lost connection is not.
    pub(super) async fn prepare_all(&mut self) -> Result<(), Failure> {
        for at in 0..self.shared.own.len() {
            let index = self.shared.own[at];
            let mut prepared = self.prepare(index).await;
            if let (Ok(()), Some(columns)) = (&prepared, self.prepared[index].clone()) {
                prepared = self.learn_types(&columns, &mut 0).await;
            }
            if !self.wire.is_usable() {
                return prepared;
            }
        }
        Ok(())
    }

    /// Asks the database for the types that it has of its own.
    async fn learn_types(&mut self, columns: &[Column], round_trips: &mut u32) -> Result<(), Failure> {
        for kind in columns.iter().map(|column| column.kind) {
            if Type::from_oid(kind).is_none() && !self.types.contains_key(&kind) {
                *round_trips += 1;
                // An array of a domain has no elements that could be read as such.
                let found = self
                    .ask(&format!(
                        "SELECT t.typname, t.typtype, t.typelem, e.typname, e.typtype FROM pg_catalog.pg_type t \
                         LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typbasetype = 0 WHERE t.oid = {kind}"
                    ))
                    .await?;
                self.types.insert(kind, own_type(kind, &found));
            }
        }
        Ok(())
    }

    fn read_rows(&self, columns: &[Column], kept: &Kept) -> Result<Vec<Row>, Failure> {
        let known = |kind: u32| Type::from_oid(kind).or_else(|| self.types.get(&kind).cloned());
        let kinds: Vec<Type> = columns
            .iter()
            .map(|column| known(column.kind).unwrap_or(Type::UNKNOWN))
            .collect();
        kept.rows()
            .map(|row| {
                let cells = row_cells(columns, row)?;
                Ok(row_to_json(columns.iter().zip(&kinds).zip(cells)))
            })
            .collect()
    }
}

/// A type by what the catalog says: its name and sort, the type of its elements, their name and sort.
fn own_type(kind: u32, found: &[Option<String>]) -> Type {
    let text = |at: usize| found.get(at).and_then(Option::as_deref);
    let named = |at: usize, kind: u32, sort: Kind| {
        Type::new(text(at).unwrap_or_default().to_owned(), kind, sort, String::new())
    };
    let sort = |at: usize| match text(at) {
        // Its labels are text, whatever they are.
        Some("e") => Kind::Enum(Vec::new()),
        _ => Kind::Simple,
    };
    let element = text(2).and_then(|element| element.parse().ok());
    match (element, text(3)) {
        (Some(element), Some(_)) => {
            let element = Type::from_oid(element).unwrap_or_else(|| named(3, element, sort(4)));
            named(0, kind, Kind::Array(element))
        }
        _ => named(0, kind, sort(1)),
    }
}
