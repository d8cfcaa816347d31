//! A link: a proxy of TCP and Unix sockets between clients and a server, in this
//! process, that can be long, narrow and faulty, and counts what passes.
//!
//! It runs on a thread of its own, which wakes up when it asked to: a delay is
//! kept to some tens of microseconds, and load on other threads does not lengthen
//! it. Of every round trip it takes a little itself, as each message is received
//! and sent once more; scenarios/README.md says how much.
//!
//! Knows bytes, and by its tap the frames of PostgreSQL's protocol; nothing of
//! scenarios, targets and load. The moments of faults are told from the begin of
//! a window that somebody else calls.

mod passage;
mod schedule;
mod socket;
mod tally;
mod tap;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener},
    runtime::{Builder, Handle},
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

pub use self::socket::Upstream;
use self::{
    passage::{Way, carry},
    schedule::{Condition, next_change},
    socket::Listener,
    tally::Tally,
};
use super::RunDirectory;
use crate::{
    pacer::{Pacer, prompt_thread},
    run::{self, LinkFault, Wire},
    target::Via,
    workload::{self, Fault, FaultKind},
};

/// Of the path of a Unix socket, in bytes.
const LONGEST_PATH: usize = 107;

/// Clients look for a socket of this name in a directory (PostgreSQL documentation, `unix_socket_directories`).
const SOCKET: &str = ".s.PGSQL.5432";

/// After a connection that could not be accepted: the process has no more descriptors, or the like.
const PAUSE: Duration = Duration::from_millis(10);

/// A link with its doors; it ends with all its connections when dropped.
#[derive(Debug)]
pub struct Link {
    course: Arc<Course>,
    runtime: Handle,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// Of sockets whose path would be too long elsewhere.
    directories: Vec<RunDirectory>,
}

/// Tells a link of the window of load, from anywhere.
#[derive(Debug, Clone)]
pub struct Switch {
    course: Arc<Course>,
    runtime: Handle,
}

/// What all connections of a link share.
#[derive(Debug)]
struct Course {
    connect_delay: Duration,
    delay: Duration,
    jitter: Duration,
    bandwidth: Option<u64>,
    tap: bool,
    faults: Vec<Fault>,
    seed: u64,
    condition: watch::Sender<Condition>,
    tally: Tally,
    /// When each way has passed what it was given, where the link is narrow.
    free: [Mutex<Instant>; 2],
    /// Faults that have begun.
    begun: Mutex<Vec<Fault>>,
    /// What changes the condition as time goes by.
    conductor: Mutex<Option<AbortHandle>>,
}

impl Link {
    /// A link without a door; chance in it is a function of the seed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn open(spec: &workload::Link, seed: u64) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        let thread = thread::Builder::new().name("link".into()).spawn(move || {
            prompt_thread();
            runtime.block_on(ended.cancelled());
        })?;
        let now = Instant::now();
        Ok(Self {
            course: Arc::new(Course {
                connect_delay: spec.connect_delay,
                delay: spec.delay,
                jitter: spec.jitter,
                bandwidth: spec.bandwidth,
                tap: spec.tap,
                faults: spec.faults.clone(),
                seed,
                condition: watch::Sender::new(Condition::sound(spec.delay)),
                tally: Tally::default(),
                free: [Mutex::new(now), Mutex::new(now)],
                begun: Mutex::default(),
                conductor: Mutex::default(),
            }),
            runtime: handle,
            end,
            thread: Some(thread),
            directories: Vec::new(),
        })
    }

    /// A way in that leads to that server, of its kind: 127.0.0.1, or a socket in `directory`,
    /// which only this user can enter.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn door(&mut self, upstream: Upstream, directory: &Path) -> io::Result<Via> {
        let _runtime = self.runtime.enter();
        let (listener, via) = match &upstream {
            Upstream::Tcp(_) => {
                let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                (Listener::Tcp(TcpListener::from_std(listener)?), Via::Tcp(address))
            }
            Upstream::Unix(_) => {
                let path = self.socket_path(directory)?;
                (Listener::Unix(UnixListener::bind(&path)?), Via::Unix(path))
            }
        };
        let course = Arc::clone(&self.course);
        self.runtime.spawn(welcome(listener, Arc::new(upstream), course));
        Ok(via)
    }

    fn socket_path(&mut self, directory: &Path) -> io::Result<PathBuf> {
        let place = directory.join(format!("link-{}", ulid::Ulid::new()));
        let path = place.join(SOCKET);
        if path.as_os_str().len() <= LONGEST_PATH {
            std::fs::create_dir(&place)?;
            return Ok(path);
        }
        let short = RunDirectory::new_in(Path::new("/tmp"))?;
        let path = short.path().join(SOCKET);
        self.directories.push(short);
        Ok(path)
    }

    /// Tells it of the window of load.
    pub fn switch(&self) -> Switch {
        Switch {
            course: Arc::clone(&self.course),
            runtime: self.runtime.clone(),
        }
    }

    /// Whether it reads what is said.
    pub fn is_tapped(&self) -> bool {
        self.course.tap
    }

    /// What was said so far.
    pub fn wire(&self) -> Wire {
        self.course.tally.wire()
    }

    /// What passed so far and what went wrong; nobody's target.
    pub fn sum(&self) -> run::Link {
        let course = &self.course;
        let mut sum = course.tally.sum();
        sum.keep_busiest();
        if course.tap {
            sum.wire.get_or_insert_default();
        }
        run::Link {
            delay_s: course.delay.as_secs_f64(),
            connect_delay_s: course.connect_delay.as_secs_f64(),
            jitter_s: course.jitter.as_secs_f64(),
            bandwidth: course.bandwidth,
            faults: held(&course.begun).iter().map(told).collect(),
            ..sum
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say; with it all connections end.
            let _ = thread.join();
        }
    }
}

impl Switch {
    /// The window begins now, that long after the begin of the timeline of faults.
    pub fn begin(&self, before: Duration) {
        let course = Arc::clone(&self.course);
        let conducted = self
            .runtime
            .spawn(async move { conduct(&course, Instant::now(), before).await });
        self.conducted_by(Some(conducted.abort_handle()));
    }

    /// The window is over: nothing goes wrong any more.
    pub fn end(&self) {
        self.conducted_by(None);
        let sound = Condition::sound(self.course.delay);
        self.course.condition.send_modify(|condition| {
            *condition = Condition {
                resets: condition.resets,
                ..sound
            };
        });
    }

    fn conducted_by(&self, conductor: Option<AbortHandle>) {
        if let Some(before) = std::mem::replace(&mut *held(&self.course.conductor), conductor) {
            before.abort();
        }
    }
}

impl Course {
    /// When so many bytes have passed, if they begin now or when those before them have.
    fn through(&self, way: Way, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(bandwidth) = self.bandwidth else { return now };
        let mut free = held(&self.free[usize::from(way == Way::ToClient)]);
        *free = (*free).max(now) + Duration::from_secs_f64(bytes as f64 / bandwidth as f64);
        *free
    }
}

/// Accepts clients, each with a task of its own.
async fn welcome(listener: Listener, upstream: Arc<Upstream>, course: Arc<Course>) {
    loop {
        match listener.accept().await {
            Ok(client) => {
                tokio::spawn(carry(client, Arc::clone(&upstream), Arc::clone(&course)));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Lets faults begin and end at their moments, `began` being that of `before` on their timeline.
async fn conduct(course: &Course, began: Instant, before: Duration) {
    let mut pacer = Pacer::precise();
    let earlier = course.condition.borrow().resets;
    let past = course.faults.iter().filter(|fault| fault.at < before);
    // Those of earlier windows are not repeated.
    let past = past.filter(|fault| fault.kind == FaultKind::Reset).count();
    let mut now = before;
    loop {
        let condition = Condition::at(&course.faults, now, course.delay);
        course.condition.send_replace(Condition {
            resets: earlier + condition.resets - past,
            ..condition
        });
        {
            let mut begun = held(&course.begun);
            let new = course
                .faults
                .iter()
                .filter(|fault| fault.at <= now && fault.at + fault.lasting >= before);
            for fault in new {
                if !begun.contains(fault) {
                    begun.push(*fault);
                }
            }
        }
        let Some(next) = next_change(&course.faults, now) else {
            return;
        };
        pacer.until(began + (next - before)).await;
        now = next;
    }
}

fn told(fault: &Fault) -> LinkFault {
    LinkFault {
        kind: fault.kind.name().into(),
        at_s: fault.at.as_secs_f64(),
        for_s: fault.lasting.as_secs_f64(),
        delay_s: match fault.kind {
            FaultKind::Delay(delay) => Some(delay.as_secs_f64()),
            _ => None,
        },
    }
}

/// What is guarded here is whole at any time.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
