//! Bytes to and from a server: what is sent whole, what is received as
//! messages. Knows their frame and not their meaning.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::failure::{Failure, Refusal};
use crate::{sample::ErrorClass, units::format_size};

/// What a connection receives into. Answers that need no more are read with one system call;
/// rows that nobody keeps go through it, however many they are.
const BUFFER: usize = 16 << 10;

/// A longer message is refused: 64 MiB, as for a body of HTTP.
pub(super) const LONGEST_MESSAGE: usize = 64 << 20;

/// Type and length, which counts itself but not the type.
const HEAD: usize = 1 + 4;

/// A socket, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Ours: all was answered.
    Client,
    /// The server's: it has not yet answered all that was sent.
    Server,
    /// Nobody's: the connection is over.
    Lost,
}

/// The begin of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) tag: u8,
    /// Of the body.
    length: usize,
}

/// A connection as bytes.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    turn: Turn,
    /// How many answers are still to come.
    answers: usize,
    /// What is to be sent while answers are received.
    unsent: BytesMut,
    /// Whether something was sent that TLS may still hold back.
    unflushed: bool,
    /// Whether a transaction was open when the server had answered last.
    in_transaction: bool,
    /// Received, of which `begin..end` is still to be looked at.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            turn: Turn::Client,
            answers: 0,
            unsent: BytesMut::new(),
            unflushed: false,
            in_transaction: false,
            buffer: vec![0; BUFFER],
            begin: 0,
            end: 0,
        }
    }

    /// Whether the next operation can use it, as far as is known without looking.
    pub(super) fn is_usable(&self) -> bool {
        self.turn == Turn::Client
    }

    /// Whether the server is still at work for us.
    pub(super) fn is_answering(&self) -> bool {
        self.turn == Turn::Server
    }

    /// Whether a transaction is open that an earlier statement began.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// An answer has come to its end.
    pub(super) fn answered(&mut self, in_transaction: bool) {
        self.in_transaction = in_transaction;
        self.answers = self.answers.saturating_sub(1);
        if self.answers > 0 {
            return;
        }
        self.turn = Turn::Client;
        if self.begin < self.end && !self.tells_news_only() {
            // More than was asked for: it would be taken for the next answer.
            return;
        }
        if self.buffer.len() > BUFFER && self.begin == self.end {
            // One large row shall not occupy its memory for good.
            self.buffer.truncate(BUFFER);
            self.buffer.shrink_to_fit();
            (self.begin, self.end) = (0, 0);
        }
    }

    /// The server has ended the connection.
    pub(super) fn lose(&mut self) {
        self.turn = Turn::Lost;
    }

    /// Sends messages; the answer is to be received now.
    pub(super) async fn send(&mut self, messages: &[u8]) -> Result<(), Failure> {
        if self.turn == Turn::Lost {
            return Err(Failure::closed());
        }
        self.turn = Turn::Server;
        self.answers = 1;
        let sent = async {
            if !self.unsent.is_empty() {
                // Of rows that were refused before all of them were sent.
                self.stream.write_all(&self.unsent).await?;
                self.unsent.clear();
            }
            self.stream.write_all(messages).await?;
            self.stream.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words().await.unwrap_or_else(|| {
                self.lose();
                Failure::broken(&error)
            })),
        }
    }

    /// Begins to send messages with so many answers. What the server does not take at once goes
    /// out while its answers are received: it may wait for us to read before it reads on.
    pub(super) fn send_ahead(&mut self, messages: &[u8], answers: usize) -> Result<(), Failure> {
        if self.turn == Turn::Lost {
            return Err(Failure::closed());
        }
        self.turn = Turn::Server;
        self.answers = answers;
        self.unsent.extend_from_slice(messages);
        Ok(())
    }

    /// Sends as much as the server takes now. That it takes nothing any more is told when it is read from.
    fn poll_send(&mut self, context: &mut Context<'_>) {
        while !self.unsent.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.unsent) {
                Poll::Ready(Ok(count)) if count > 0 => self.unsent.advance(count),
                Poll::Ready(_) => self.unsent.clear(),
                Poll::Pending => return,
            }
            self.unflushed = true;
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(context).is_ready() {
            self.unflushed = false;
        }
    }

    /// Receives what has come, sending meanwhile; how many bytes.
    async fn read(&mut self) -> io::Result<usize> {
        poll_fn(|context| {
            self.poll_send(context);
            let mut unread = ReadBuf::new(&mut self.buffer[self.end..]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut unread))?;
            Poll::Ready(Ok(unread.filled().len()))
        })
        .await
    }

    /// Why the server closed the connection, if it said so before.
    async fn last_words(&mut self) -> Option<Failure> {
        loop {
            let head = self.head().await.ok()?;
            let body = self.body(head).await.ok()?;
            if head.tag == b'E' {
                let refusal = Refusal::read(body);
                self.lose();
                return Some(refusal.failure);
            }
        }
    }

    /// The head of the next message; then [`Wire::body`] or [`Wire::skip`] must be called.
    pub(super) async fn head(&mut self) -> Result<Head, Failure> {
        self.receive(HEAD).await?;
        let head = Head::read(&self.buffer[self.begin..self.end])?;
        self.begin += HEAD;
        Ok(head)
    }

    /// The body of a message.
    pub(super) async fn body(&mut self, head: Head) -> Result<&[u8], Failure> {
        self.receive(head.length).await?;
        let begin = self.begin;
        self.begin += head.length;
        Ok(&self.buffer[begin..self.begin])
    }

    /// Goes past the body of a message, however long it is.
    pub(super) async fn skip(&mut self, head: Head) -> Result<(), Failure> {
        let mut left = head.length;
        loop {
            let here = left.min(self.end - self.begin);
            self.begin += here;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.receive(1).await?;
        }
    }

    /// Waits until so many bytes are there.
    #[inline]
    async fn receive(&mut self, wanted: usize) -> Result<(), Failure> {
        if self.end - self.begin < wanted {
            self.receive_more(wanted).await?;
        }
        Ok(())
    }

    async fn receive_more(&mut self, wanted: usize) -> Result<(), Failure> {
        while self.end - self.begin < wanted {
            self.make_room(wanted);
            match self.read().await {
                Ok(0) => {
                    self.lose();
                    return Err(Failure::closed());
                }
                Ok(count) => self.end += count,
                Err(error) => {
                    self.lose();
                    return Err(Failure::broken(&error));
                }
            }
        }
        Ok(())
    }

    /// Room for at least one byte. It grows as bytes arrive, not as they are announced.
    fn make_room(&mut self, wanted: usize) {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.end < self.buffer.len() && self.begin + wanted <= self.buffer.len() {
            return;
        }
        if self.begin > 0 {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        } else if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
    }

    /// Whether the server has said nothing since its last answer that ends the connection.
    ///
    /// Costs no system call unless something has arrived.
    pub(super) async fn is_open(&mut self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll_open(context))).await
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> bool {
        self.make_room(HEAD);
        let mut unread = ReadBuf::new(&mut self.buffer[self.end..]);
        match Pin::new(&mut self.stream).poll_read(context, &mut unread) {
            Poll::Pending => self.is_usable(),
            Poll::Ready(Ok(())) if !unread.filled().is_empty() => {
                self.end += unread.filled().len();
                self.is_usable() && self.tells_news_only()
            }
            Poll::Ready(Ok(()) | Err(_)) => {
                self.lose();
                false
            }
        }
    }

    /// Goes past what a server may say unasked; false when it said something else.
    fn tells_news_only(&mut self) -> bool {
        loop {
            let unread = &self.buffer[self.begin..self.end];
            if unread.len() < HEAD {
                return true;
            }
            match Head::read(unread) {
                Ok(head) if !head.is_news() => break,
                // The rest is still to come; the next answer begins with it.
                Ok(head) if unread.len() < HEAD + head.length => return true,
                Ok(head) => self.begin += HEAD + head.length,
                Err(_) => break,
            }
        }
        self.lose();
        false
    }

    /// Sends the one message that needs no answer but the end of the connection.
    pub(super) async fn send_last(mut self, message: &BytesMut) -> io::Result<()> {
        self.stream.write_all(message).await?;
        self.stream.shutdown().await?;
        self.stream.read(&mut self.buffer).await.map(drop)
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let [tag, length @ ..] = bytes.first_chunk::<HEAD>().ok_or_else(Failure::closed)?;
        let length = u32::from_be_bytes(*length) as usize;
        if !is_tag(*tag) {
            return Err(Failure::unexpected(*tag));
        }
        match length.checked_sub(size_of::<u32>()) {
            Some(length) if length <= LONGEST_MESSAGE => Ok(Self { tag: *tag, length }),
            Some(_) if *tag == b'D' => Err(too_large("a row")),
            _ => Err(Failure::protocol(format_args!(
                "a message of type '{}' with a length of {length}",
                tag.escape_ascii()
            ))),
        }
    }

    /// A notice, a parameter's new value, a notification: they come at any time and nobody asked for them.
    pub(super) fn is_news(self) -> bool {
        matches!(self.tag, b'N' | b'S' | b'A')
    }
}

/// Whether a server has messages of that type. What begins with another is not waited for to its end.
fn is_tag(tag: u8) -> bool {
    matches!(
        tag,
        b'1'..=b'3' | b'A' | b'C'..=b'E' | b'G'..=b'I' | b'K' | b'N' | b'R'..=b'T' | b'V' | b'W' | b'Z' | b'c' | b'd' | b'n' | b's' | b't' | b'v'
    )
}

/// An answer that would need more memory than any is given.
pub(super) fn too_large(what: &str) -> Failure {
    let limit = format_size(LONGEST_MESSAGE as u64);
    Failure::new(ErrorClass::TooLarge, format_args!("{what} is larger than {limit}"))
}
