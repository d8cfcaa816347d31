//! SQLite behind a few threads of its own: several that read, one that writes.
//!
//! SQLite has one writer at a time and blocks its caller; so statements run on
//! threads that own their connections, and one writer means that requests queue
//! in order instead of retrying against each other's locks. This module counts
//! statements and knows nothing of what they ask.

use std::{
    cell::Cell,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, Params, Row};
use tokio::sync::{mpsc, oneshot};

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that may wait for one lane before senders wait too.
const QUEUE: usize = 1024;

/// Which threads a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Any of the reading threads.
    Read,
    /// The one writing thread.
    Write,
}

enum Job {
    Work(Box<dyn FnOnce(&Connection) + Send>),
    Stop,
}

/// The threads and the queues that lead to them.
pub(super) struct Database {
    readers: mpsc::Sender<Job>,
    writer: mpsc::Sender<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    reader_count: usize,
}

impl Database {
    /// Starts the threads with connections to a database that exists.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub(super) fn start(path: &Path) -> rusqlite::Result<Self> {
        let reader_count = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        let mut threads = Vec::new();
        let readers = lane(path, reader_count, &mut threads)?;
        let writer = lane(path, 1, &mut threads)?;
        Ok(Self {
            readers,
            writer,
            threads: Mutex::new(threads),
            reader_count,
        })
    }

    /// Runs the work on a thread of that lane; `None` when the threads have stopped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        // Nobody waits for the answer when the client has gone; the work is done all the same.
        let job = Job::Work(Box::new(move |connection| {
            drop(answer.send(work(connection)));
        }));
        self.sender(lane).send(job).await.ok()?;
        answered.await.ok()
    }

    /// Lets the queued work finish and ends the threads, so that SQLite tidies its files.
    pub(super) async fn stop(&self) {
        for lane in std::iter::repeat_n(Lane::Read, self.reader_count).chain([Lane::Write]) {
            // A lane whose threads are gone needs no stopping.
            let _ = self.sender(lane).send(Job::Stop).await;
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _ = joined.await;
    }

    fn sender(&self, lane: Lane) -> &mpsc::Sender<Job> {
        match lane {
            Lane::Read => &self.readers,
            Lane::Write => &self.writer,
        }
    }
}

/// Opens a database without changing anything in it: it may not be ours.
///
/// # Errors
/// When the file cannot be opened.
pub(super) fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_untouched(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn lane(path: &Path, count: usize, threads: &mut Vec<JoinHandle<()>>) -> rusqlite::Result<mpsc::Sender<Job>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..count {
        let (connection, receiver) = (open(path)?, Arc::clone(&receiver));
        threads.push(thread::spawn(move || work_off(&connection, &receiver)));
    }
    Ok(sender)
}

/// Takes jobs until told to stop. The lock is held while waiting, never while working.
fn work_off(connection: &Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job::Work(work)) = job else { return };
        work(connection);
        if !connection.is_autocommit() {
            // A transaction whose end failed must not swallow the next request.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

/// A connection that counts the statements executed on it.
pub(super) struct Statements<'c> {
    connection: &'c Connection,
    executed: Cell<u32>,
}

impl<'c> Statements<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            executed: Cell::new(0),
        }
    }

    /// How many statements were executed so far.
    pub(super) fn executed(&self) -> u32 {
        self.executed.get()
    }

    /// Executes a statement that gives no rows and returns how many rows it changed.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.count();
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// Executes a statement and reads its rows.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.count();
        self.connection.prepare_cached(sql)?.query_map(params, read)?.collect()
    }

    /// The id of the row inserted last.
    pub(super) fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }

    fn count(&self) {
        self.executed.set(self.executed.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_queued_before_a_stop_is_done_and_later_work_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::start(&directory.path().join("test.db")).unwrap();
        let made = database
            .run(Lane::Write, |c| c.execute_batch("CREATE TABLE t (x INTEGER)").is_ok())
            .await;
        assert_eq!(made, Some(true));
        database.stop().await;
        assert_eq!(database.run(Lane::Write, |_| ()).await, None);
        assert!(
            !directory.path().join("test.db-wal").exists(),
            "the last connection folds the log into the file"
        );
    }

    #[tokio::test]
    async fn a_transaction_left_open_does_not_reach_the_next_request() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::start(&directory.path().join("test.db")).unwrap();
        database
            .run(Lane::Write, |c| {
                c.execute_batch("BEGIN; CREATE TABLE t (x INTEGER)").unwrap();
            })
            .await;
        let tables = database.run(Lane::Write, |c| {
            c.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        });
        assert_eq!(tables.await, Some(Ok(0_i64)));
    }
}
