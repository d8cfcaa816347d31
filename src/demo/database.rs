//! The database behind a few threads that own their connections.
//!
//! SQLite has one writer at a time and blocks its caller: several threads read
//! and one writes, so that requests queue in order instead of retrying against
//! each other's locks. PostgreSQL takes all on all: its threads are a pool of
//! connections. This module knows nothing of statements.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::{
    statements::{Connection, Error},
    storage::Storage,
};

/// Connections to PostgreSQL.
const CONNECTIONS: usize = 10;
/// Requests that may wait for one lane before senders wait too.
const QUEUE: usize = 1024;

/// Which threads a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Any of the threads that read.
    Read,
    /// With SQLite the one thread that writes.
    Write,
}

enum Job {
    Work(Box<dyn FnOnce(&Connection) + Send>),
    Stop,
}

/// What leads to so many threads.
struct Queue {
    sender: mpsc::Sender<Job>,
    threads: usize,
}

/// The threads and the queues that lead to them.
pub(super) struct Database {
    read: Queue,
    /// None of its own where readers write too.
    write: Option<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Database {
    /// Starts the threads with connections to a database that exists. Not to be
    /// called where the runtime's own work is done.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub(super) fn start(storage: &Storage, runtime: &Handle) -> Result<Self, Error> {
        let mut threads = Vec::new();
        let mut queue = |count| queue(storage, runtime, count, &mut threads);
        let (read, write) = match storage {
            Storage::File(_) => {
                let readers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
                (queue(readers)?, Some(queue(1)?))
            }
            Storage::Postgres(_) => (queue(CONNECTIONS)?, None),
        };
        Ok(Self {
            read,
            write,
            threads: Mutex::new(threads),
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
        for queue in [Some(&self.read), self.write.as_ref()].into_iter().flatten() {
            for _ in 0..queue.threads {
                // A queue whose threads are gone needs no stopping.
                let _ = queue.sender.send(Job::Stop).await;
            }
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _ = joined.await;
    }

    fn sender(&self, lane: Lane) -> &mpsc::Sender<Job> {
        match (lane, &self.write) {
            (Lane::Write, Some(write)) => &write.sender,
            _ => &self.read.sender,
        }
    }
}

fn queue(storage: &Storage, runtime: &Handle, count: usize, threads: &mut Vec<JoinHandle<()>>) -> Result<Queue, Error> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..count {
        let (connection, receiver) = (storage.connect(runtime)?, Arc::clone(&receiver));
        threads.push(thread::spawn(move || work_off(connection, &receiver)));
    }
    Ok(Queue { sender, threads: count })
}

/// Takes jobs until told to stop. The lock is held while waiting, never while working.
fn work_off(mut connection: Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job::Work(work)) = job else { return };
        if let Connection::Postgres(connection) = &mut connection {
            connection.renew();
        }
        work(&connection);
        tidy(&connection);
    }
}

/// A transaction whose end failed must not swallow the next request. PostgreSQL
/// ends it in any case, or is gone.
fn tidy(connection: &Connection) {
    if let Connection::Sqlite(connection) = connection
        && !connection.is_autocommit()
    {
        let _ = connection.execute_batch("ROLLBACK");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(directory: &tempfile::TempDir) -> Database {
        let storage = Storage::File(directory.path().join("test.db"));
        Database::start(&storage, &Handle::current()).unwrap()
    }

    fn sqlite(connection: &Connection) -> &rusqlite::Connection {
        match connection {
            Connection::Sqlite(connection) => connection,
            Connection::Postgres(_) => panic!("it was started on a file"),
        }
    }

    #[tokio::test]
    async fn work_queued_before_a_stop_is_done_and_later_work_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let database = start(&directory);
        let made = database
            .run(Lane::Write, |c| {
                sqlite(c).execute_batch("CREATE TABLE t (x INTEGER)").is_ok()
            })
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
        let database = start(&directory);
        database
            .run(Lane::Write, |c| {
                sqlite(c).execute_batch("BEGIN; CREATE TABLE t (x INTEGER)").unwrap();
            })
            .await;
        let tables = database.run(Lane::Write, |c| {
            sqlite(c).query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        });
        assert_eq!(tables.await, Some(Ok(0_i64)));
    }
}
