//! SQLite in this process, on its own bounded threads.
//!
//! Each thread has a connection and takes jobs from one queue; start and end
//! are stamped on the thread that does the work, so waiting for a thread is
//! part of the response time and not of the service time. A job that nobody
//! waits for any more is interrupted, or never begun.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use rusqlite::{
    Connection, ErrorCode, InterruptHandle, OpenFlags,
    types::{ToSqlOutput, ValueRef},
};
use serde_json::Value as Json;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    Answer, Operation, Reply, TargetError,
    answer::Row,
    fan_out::{self, Together},
};
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{ForEach, Request, Statement, Step, Target, Value, Values},
};

/// No more threads than this, whatever the number of sessions: SQLite has one writer at a time.
const MOST_THREADS: usize = 8;

/// How long a statement waits for another connection's lock; half the step's
/// timeout if that is less, so that the lock is told and not the timeout.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file and the threads that work on it.
#[derive(Debug, Clone)]
pub struct Connector {
    name: String,
    path: String,
    jobs: mpsc::Sender<Job>,
}

enum Job {
    /// To be done on any of the threads.
    Perform(Work),
    /// Whether these statements prepare: the first that does not, and why.
    Check(Vec<usize>, oneshot::Sender<Result<(), (String, String)>>),
}

/// An operation on its way to a thread.
struct Work {
    calls: Calls,
    keep: bool,
    /// How long to wait for another connection's lock.
    patience: Duration,
    state: Arc<Mutex<State>>,
    done: oneshot::Sender<Done>,
}

/// Statements to be performed one after the other.
struct Calls {
    /// Index of each statement, with its parameters.
    calls: Vec<(usize, Vec<Value>)>,
    transaction: bool,
    /// Whether the answer is that of all together; else that of the last.
    together: bool,
}

/// How far an operation is.
enum State {
    Waiting,
    Running(InterruptHandle),
    Over,
    /// Nobody waits for it any more.
    Abandoned,
}

/// Held by who waits for an operation; dropped before its end, the operation is stopped.
struct Claim(Arc<Mutex<State>>);

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        // While the state is locked the thread cannot go on to another operation.
        if let State::Running(statement) = &*state {
            statement.interrupt();
        }
        *state = State::Abandoned;
    }
}

/// A thread that panicked while holding a lock leaves what is behind it usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Done {
    start: Instant,
    end: Instant,
    /// Those that ended.
    transactions: u32,
    result: Result<Answer, (ErrorClass, String)>,
}

impl Connector {
    /// Opens the file once per thread. The database must exist: a typo must not create one.
    pub(super) fn bind(
        target: &Target,
        path: &str,
        statements: &Arc<[String]>,
        sessions: usize,
    ) -> Result<Self, TargetError> {
        let unreachable = |reason: String| TargetError::Unreachable {
            target: target.name.clone(),
            address: path.to_owned(),
            reason,
        };
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..sessions.clamp(1, MOST_THREADS) {
            let connection = open(Path::new(path)).map_err(|error| unreachable(error.to_string()))?;
            let (queue, statements) = (Arc::clone(&queue), Arc::clone(statements));
            thread::Builder::new()
                .name(format!("sqlite-{number}"))
                .spawn(move || serve(&connection, &statements, &queue))
                .map_err(|error| unreachable(error.to_string()))?;
        }
        Ok(Self {
            name: target.name.clone(),
            path: path.to_owned(),
            jobs,
        })
    }

    pub(super) fn address(&self) -> String {
        self.path.clone()
    }

    /// The file was opened when the connector was bound.
    pub(super) fn version() -> String {
        format!("SQLite {}", rusqlite::version())
    }

    pub(super) async fn check_statements(&self, statements: &[usize]) -> Result<(), TargetError> {
        let (answer, result) = oneshot::channel();
        // The threads live as long as the sender.
        let _ = self.jobs.send(Job::Check(statements.to_vec(), answer));
        match result.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((sql, reason))) => Err(TargetError::Statement {
                target: self.name.clone(),
                sql,
                reason,
            }),
            Err(_) => Err(TargetError::Unreachable {
                target: self.name.clone(),
                address: self.address(),
                reason: "its threads are gone".into(),
            }),
        }
    }

    pub(super) fn session(&self) -> Session {
        Session {
            jobs: self.jobs.clone(),
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(1024);
    Ok(connection)
}

/// One thread: takes jobs until the connector and all sessions are gone.
fn serve(connection: &Connection, statements: &[String], queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = lock(queue).recv();
        match job {
            Ok(Job::Perform(work)) => perform(connection, statements, work),
            Ok(Job::Check(wanted, answer)) => {
                let refused = wanted.iter().map(|index| &statements[*index]).find_map(|sql| {
                    connection
                        .prepare_cached(sql)
                        .err()
                        .map(|error| (sql.clone(), error.to_string()))
                });
                let _ = answer.send(refused.map_or(Ok(()), Err));
            }
            Err(_) => return,
        }
    }
}

fn perform(connection: &Connection, statements: &[String], work: Work) {
    {
        let mut state = lock(&work.state);
        if matches!(*state, State::Abandoned) {
            return;
        }
        *state = State::Running(connection.get_interrupt_handle());
    }
    let start = Instant::now();
    let mut transactions = 0;
    let result = execute(connection, statements, &work, &mut transactions);
    let end = Instant::now();
    *lock(&work.state) = State::Over;
    // The other end may have given up waiting.
    let _ = work.done.send(Done {
        start,
        end,
        transactions,
        result,
    });
}

fn execute(
    connection: &Connection,
    statements: &[String],
    work: &Work,
    transactions: &mut u32,
) -> Result<Answer, (ErrorClass, String)> {
    let mut answer = Answer::default();
    let mut together = Together::default();
    let mut run = |answer: &mut Answer| {
        connection.busy_timeout(work.patience)?;
        if work.calls.transaction {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        }
        for (index, parameters) in &work.calls.calls {
            // Between two statements there is nothing that could be interrupted.
            if matches!(*lock(&work.state), State::Abandoned) {
                return Err(interrupted());
            }
            let done = call(connection, &statements[*index], parameters, work.keep, answer);
            *transactions += u32::from(connection.is_autocommit());
            done?;
            if work.calls.together {
                together.add(std::mem::take(answer));
            }
        }
        if work.calls.together {
            *answer = std::mem::take(&mut together).into_answer();
        }
        if work.calls.transaction {
            connection.prepare_cached("COMMIT")?.execute([])?;
            *transactions += 1;
        }
        Ok(())
    };
    let result: rusqlite::Result<()> = run(&mut answer);
    if result.is_err() && !connection.is_autocommit() {
        // Should the rollback fail too, the first error is the one to report.
        let _ = connection.execute_batch("ROLLBACK");
        *transactions += 1;
    }
    result.map(|()| answer).map_err(|error| classify(&error))
}

fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT), None)
}

fn call(
    connection: &Connection,
    sql: &str,
    parameters: &[Value],
    keep: bool,
    answer: &mut Answer,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let reads_only = statement.readonly();
    let names: Vec<String> = if keep {
        statement.column_names().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let mut rows = statement.query(rusqlite::params_from_iter(parameters.iter().map(Bound)))?;
    // What a transaction answers is what its last statement answers.
    answer.rows.clear();
    answer.row_count = 0;
    while let Some(row) = rows.next()? {
        answer.row_count += 1;
        if keep {
            let cells = names
                .iter()
                .enumerate()
                .map(|(at, name)| Ok((name.clone(), json(row.get_ref(at)?))));
            answer.rows.push(cells.collect::<rusqlite::Result<Row>>()?);
        }
    }
    answer.affected = if reads_only { 0 } else { connection.changes() };
    Ok(())
}

/// A value as a parameter.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Float(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(value) => value.into(),
        ValueRef::Real(value) => value.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => format!("\\x{}", hex::encode(bytes)).into(),
    }
}

fn classify(error: &rusqlite::Error) -> (ErrorClass, String) {
    let class = match error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => {
            ErrorClass::Timeout
        }
        rusqlite::Error::SqliteFailure(failure, _) => ErrorClass::Sqlite(failure.extended_code),
        rusqlite::Error::SqlInputError { error, .. } => ErrorClass::Sqlite(error.extended_code),
        _ => ErrorClass::Parameter,
    };
    (class, error.to_string())
}

/// A way to the threads; holds no connection of its own.
#[derive(Debug)]
pub(super) struct Session {
    jobs: mpsc::Sender<Job>,
}

impl Session {
    pub(super) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let Operation { step, values } = operation;
        let calls = Calls::first(step, values);
        reply.begin();
        let deadline = reply.start + step.timeout;
        let keep = reply.keep || step.needs_body();
        let Request::ForEach(fan_out) = &step.request else {
            return self.submit(calls, keep, step, deadline, reply).await;
        };
        let outcome = self.submit(calls, true, step, deadline, reply).await;
        if outcome != Outcome::Completed {
            return outcome;
        }
        let rows = std::mem::take(&mut reply.answer).rows;
        let begun = reply.start;
        let outcome = match Calls::of_rows(fan_out, &rows, values) {
            Ok(calls) if calls.calls.is_empty() => outcome,
            Ok(calls) => self.submit(calls, keep, step, deadline, reply).await,
            Err((class, reason)) => reply.failed(class, reason),
        };
        reply.start = begun;
        outcome
    }

    /// Has a thread perform statements, and waits for their end.
    async fn submit(&mut self, calls: Calls, keep: bool, step: &Step, deadline: Instant, reply: &mut Reply) -> Outcome {
        let (done, ended) = oneshot::channel();
        let claim = Claim(Arc::new(Mutex::new(State::Waiting)));
        reply.queries = reply
            .queries
            .saturating_add(u32::try_from(calls.calls.len()).unwrap_or(u32::MAX));
        let sent = self.jobs.send(Job::Perform(Work {
            calls,
            keep,
            patience: BUSY_TIMEOUT.min(step.timeout / 2),
            state: Arc::clone(&claim.0),
            done,
        }));
        let ended = match sent {
            Ok(()) => timeout_at(deadline, ended).await,
            Err(_) => return reply.failed(ErrorClass::Disconnected, "the SQLite threads are gone"),
        };
        match ended {
            Ok(Ok(Done {
                start,
                end,
                transactions,
                result,
            })) => {
                (reply.start, reply.end) = (start, end);
                reply.transactions += transactions;
                match result {
                    Ok(answer) => {
                        reply.answer = answer;
                        Outcome::Completed
                    }
                    Err((class, message)) => reply.failed(class, message),
                }
            }
            Ok(Err(_)) => reply.failed(ErrorClass::Disconnected, "the SQLite threads are gone"),
            Err(_) => {
                reply.end = Instant::now();
                reply.failed(
                    ErrorClass::Timeout,
                    format!("not done within {}", crate::units::format_duration(step.timeout)),
                )
            }
        }
    }
}

impl Calls {
    /// What an operation performs first; of a fan-out that is its first statement.
    fn first(step: &Step, values: &mut Values<'_>) -> Self {
        let statements = match &step.request {
            Request::ForEach(fan_out) => &fan_out.statements[..1],
            // There is no COPY on SQLite, which compiling a scenario tells.
            Request::Copy(_) => &[],
            request => request.statements(),
        };
        Self {
            calls: statements.iter().map(|statement| call_of(statement, values)).collect(),
            transaction: matches!(step.request, Request::Transaction(_)),
            together: false,
        }
    }

    /// What a fan-out performs for these rows.
    fn of_rows(fan_out: &ForEach, rows: &[Row], values: &mut Values<'_>) -> Result<Self, (ErrorClass, String)> {
        fan_out::check(rows).map_err(|reason| (ErrorClass::TooLarge, reason))?;
        let mut calls = Vec::new();
        for row in rows {
            fan_out::bind(fan_out, row, values).map_err(|reason| (ErrorClass::Extraction, reason))?;
            calls.push(call_of(&fan_out.statements[1], values));
        }
        Ok(Self {
            calls,
            transaction: false,
            together: true,
        })
    }
}

fn call_of(statement: &Statement, values: &mut Values<'_>) -> (usize, Vec<Value>) {
    if statement.redraw {
        values.redraw();
    }
    let parameters = statement.parameters.iter();
    let parameters = parameters.map(|parameter| parameter.value(values)).collect();
    (statement.index, parameters)
}
