//! One connection through a link: carried both ways, late, slowly, or not at all.
//!
//! What is read is put in line with the moment at which it is due at the other
//! end, and written then: so a round trip takes longer, and not each piece of a
//! long answer. What is in line is bounded; a sender beyond that waits, as for a
//! full window of TCP.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use rand::{Rng, RngExt as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::watch,
    time::Instant,
};

use super::{
    Course,
    schedule::{Condition, Gate},
    socket::{Socket, Upstream},
    tally::Account,
};
use crate::{pacer::Pacer, workload::stream};

/// Read at once.
const CHUNK: usize = 16 << 10;

/// In line each way of a connection: what a link of 1 Gbit/s and 30 ms holds.
const MOST_IN_LINE: usize = 4 << 20;

/// Of a narrow link no more is read at once than passes in this time.
const STEP: Duration = Duration::from_millis(5);

/// The smallest piece, however narrow the link.
const SMALLEST: usize = 256;

/// The stream of random numbers for jitter.
const JITTER: u64 = 0x6a69_7474;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// Carries one connection from its begin to its end.
pub(super) async fn carry(mut client: Box<dyn Socket>, upstream: Arc<Upstream>, course: Arc<Course>) {
    let account = course.tally.open(course.tap);
    let mut condition = course.condition.subscribe();
    let resets = condition.borrow().resets;
    let mut server: Option<Box<dyn Socket>> = None;
    let passage = Passage {
        course: &course,
        account: &account,
        condition: condition.clone(),
        lost: AtomicBool::new(false),
    };
    let cut = async {
        let over = |now: &Condition| now.gate == Gate::Refusing || now.resets != resets;
        // The link itself is gone when this fails; then so is this.
        let _ = condition.wait_for(over).await;
    };
    let refused = tokio::select! {
        biased;
        () = cut => true,
        carried = passage.whole(&mut client, &mut server, &upstream) => !carried,
    };
    if refused {
        client.abort();
        server.iter().for_each(|server| server.abort());
    }
    course.tally.close(account, refused && server.is_none());
}

/// What both ways of a connection have in common.
struct Passage<'c> {
    course: &'c Course,
    account: &'c Account,
    condition: watch::Receiver<Condition>,
    /// Something was swallowed: whatever came after it would make no sense.
    lost: AtomicBool,
}

impl Passage<'_> {
    /// Connects and carries; false where the server took no connection.
    async fn whole(
        &self,
        client: &mut Box<dyn Socket>,
        server: &mut Option<Box<dyn Socket>>,
        upstream: &Upstream,
    ) -> bool {
        let mut pacer = Pacer::precise();
        // The system has told the client already that it is connected: what it sends waits here.
        let handshake = self.condition.borrow().delay + self.course.connect_delay;
        pacer.until(Instant::now() + handshake).await;
        self.until_open(client).await;
        if self.lost.load(Ordering::Relaxed) {
            return true;
        }
        match upstream.connect().await {
            Ok(connected) => {
                self.both_ways(client, server.insert(connected)).await;
                true
            }
            Err(_) => false,
        }
    }

    async fn both_ways(&self, client: &mut Box<dyn Socket>, server: &mut Box<dyn Socket>) {
        let (mut from_client, mut to_client) = split(client);
        let (mut from_server, mut to_server) = split(server);
        let number = self.account.number;
        let _ = tokio::try_join!(
            Line::new(self, Way::ToServer, stream(self.course.seed, JITTER, 2 * number))
                .carry(&mut from_client, &mut to_server),
            Line::new(self, Way::ToClient, stream(self.course.seed, JITTER, 2 * number + 1))
                .carry(&mut from_server, &mut to_client),
        );
        // While nothing passes, no end does either.
        let mut condition = self.condition.clone();
        let _ = condition.wait_for(|now| now.gate != Gate::Swallowing).await;
    }

    /// Waits while nothing passes; what the client says meanwhile is swallowed, and it is left alone with that.
    async fn until_open(&self, client: &mut Box<dyn Socket>) {
        let mut condition = self.condition.clone();
        let mut swallowed = [0; 1024];
        while self.is_closed() || self.lost.load(Ordering::Relaxed) {
            tokio::select! {
                Ok(()) = condition.changed() => {}
                read = client.read(&mut swallowed) => {
                    self.lost.store(true, Ordering::Relaxed);
                    if !matches!(read, Ok(1..)) {
                        let _ = condition.wait_for(|now| now.gate != Gate::Swallowing).await;
                        return;
                    }
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.condition.borrow().gate == Gate::Swallowing
    }

    /// Whether what is to pass now never arrives.
    fn swallows(&self) -> bool {
        if self.is_closed() {
            self.lost.store(true, Ordering::Relaxed);
        }
        self.lost.load(Ordering::Relaxed)
    }
}

/// One way of a connection.
struct Line<'c, R> {
    passage: &'c Passage<'c>,
    way: Way,
    random: R,
    pacer: Option<Pacer>,
    /// What is under way, with the moment at which it arrives.
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// When the last piece arrives: none overtakes another.
    last: Instant,
}

impl<'c, R: Rng> Line<'c, R> {
    fn new(passage: &'c Passage<'c>, way: Way, random: R) -> Self {
        Self {
            passage,
            way,
            random,
            pacer: None,
            pieces: VecDeque::new(),
            bytes: 0,
            last: Instant::now(),
        }
    }

    /// Carries until the sender ends and all has arrived; then the receiver is told of the end.
    async fn carry(
        mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let most = self.passage.course.at_once();
        let mut buffer = BytesMut::new();
        let mut sends = true;
        while sends || !self.pieces.is_empty() {
            let due = self.pieces.front().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = arrival(&mut self.pacer, due), if due.is_some() => {
                    if let Some((_, piece)) = self.pieces.pop_front() {
                        self.bytes -= piece.len();
                        self.deliver(&piece, to).await?;
                    }
                }
                read = receive(from, &mut buffer, most), if sends && self.bytes < MOST_IN_LINE => {
                    sends = read? > 0;
                    let piece = buffer.split().freeze();
                    self.take(piece, to).await?;
                }
            }
        }
        if self.passage.swallows() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        to.shutdown().await
    }

    /// Puts what was read in line, or delivers it where there is nothing to wait for.
    async fn take(&mut self, piece: Bytes, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        self.passage.account.note(self.way, &piece);
        if piece.is_empty() || self.passage.swallows() {
            return Ok(());
        }
        match self.arrives(piece.len()) {
            Some(due) => {
                self.bytes += piece.len();
                self.pieces.push_back((due, piece));
                Ok(())
            }
            None => self.deliver(&piece, to).await,
        }
    }

    /// When so many bytes that were read now arrive; at once without a moment.
    fn arrives(&mut self, bytes: usize) -> Option<Instant> {
        let Passage { course, condition, .. } = self.passage;
        let mut wait = condition.borrow().delay / 2;
        if !course.jitter.is_zero() {
            wait += course.jitter.mul_f64(self.random.random_range(0.0..0.5));
        }
        if wait.is_zero() && course.bandwidth.is_none() && self.pieces.is_empty() {
            return None;
        }
        let through = course.through(self.way, bytes);
        self.last = self.last.max(through + wait);
        Some(self.last)
    }

    async fn deliver(&self, piece: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.passage.swallows() {
            return Ok(());
        }
        to.write_all(piece).await
    }
}

/// Completes when the first in line is due.
async fn arrival(pacer: &mut Option<Pacer>, due: Option<Instant>) {
    if let Some(due) = due {
        pacer.get_or_insert_with(Pacer::precise).until(due).await;
    }
}

/// Reads what is there, up to that many bytes; nothing at the end.
async fn receive(from: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
    buffer.reserve(most);
    from.read_buf(&mut buffer.limit(most)).await
}

impl Course {
    /// How much is read at once: pieces of a narrow link are small, so that connections take turns.
    fn at_once(&self) -> usize {
        let narrow = |bandwidth: u64| (bandwidth as f64 * STEP.as_secs_f64()) as usize;
        self.bandwidth
            .map_or(CHUNK, |bandwidth| narrow(bandwidth).clamp(SMALLEST, CHUNK))
    }
}
