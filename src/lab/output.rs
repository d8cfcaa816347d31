//! The last words of a process: its output, drained so that it never blocks, kept within bounds.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::JoinHandle,
};

/// Kept of each of the two streams: 64 KiB.
const KEPT: usize = 64 << 10;
/// Read of a log: its last 16 KiB.
const SHOWN_LOG: u64 = 16 << 10;
/// Lines shown in a message.
const LINES: usize = 20;
/// The longest line shown, in characters.
const LINE: usize = 300;
/// How long the output of a process that has ended may take to arrive.
const ARRIVAL: Duration = Duration::from_millis(500);

/// The tails of standard output and standard error, filled by a task each.
#[derive(Debug)]
pub(super) struct Output {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    tail: Arc<Mutex<VecDeque<u8>>>,
    drain: JoinHandle<()>,
}

impl Output {
    /// Drains both streams from now on.
    pub(super) fn drain(
        stdout: Option<impl AsyncRead + Send + Unpin + 'static>,
        stderr: Option<impl AsyncRead + Send + Unpin + 'static>,
    ) -> Self {
        Self {
            streams: stdout
                .map(Stream::new)
                .into_iter()
                .chain(stderr.map(Stream::new))
                .collect(),
        }
    }

    /// The last lines, standard output before standard error, with secrets masked.
    pub(super) fn last_lines(&self, secrets: &[String]) -> String {
        let texts: Vec<String> = self
            .streams
            .iter()
            .map(Stream::text)
            .filter(|text| !text.is_empty())
            .collect();
        last_lines(&mask(&texts.join("\n"), secrets))
    }

    /// Waits until all output of a process that has ended is here; not long, a child of it may hold the pipe.
    pub(super) async fn settle(&mut self) {
        for stream in self.streams.iter_mut().filter(|stream| !stream.drain.is_finished()) {
            let _ = tokio::time::timeout(ARRIVAL, &mut stream.drain).await;
        }
    }
}

impl Stream {
    fn new(from: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        Self {
            drain: tokio::spawn(drain(from, Arc::clone(&tail))),
            tail,
        }
    }

    fn text(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.drain.abort();
    }
}

async fn drain(mut from: impl AsyncRead + Unpin, tail: Arc<Mutex<VecDeque<u8>>>) {
    let mut chunk = vec![0; 4096];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&chunk[..read]);
        let excess = tail.len().saturating_sub(KEPT);
        tail.drain(..excess);
    }
}

/// The last lines of a text, fit for a message.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().rev().take(LINES).map(printable).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The end of a file that may be long.
///
/// # Errors
/// When it cannot be read.
pub(super) fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_LOG)))?;
    let mut bytes = Vec::new();
    file.take(SHOWN_LOG).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Replaces every secret by asterisks.
pub(super) fn mask(text: &str, secrets: &[String]) -> String {
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// A line fit for a terminal: no control characters, not too long.
fn printable(line: &str) -> String {
    let clean = line.chars().filter(|c| !c.is_control() || *c == '\t');
    format!("  {}", clean.take(LINE).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(stdout: &'static [u8], stderr: &'static [u8], secrets: &[&str]) -> String {
        let mut output = Output::drain(Some(stdout), Some(stderr));
        output.settle().await;
        output.last_lines(&secrets.iter().map(|secret| (*secret).to_owned()).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn the_last_lines_are_shown_clean_and_without_secrets() {
        let shown = said(b"one\ntwo\n", b"\x1b[31mpassword is hunter2\x1b[0m\n", &["hunter2", ""]).await;
        assert_eq!(shown, "  one\n  two\n  [31mpassword is ***[0m");
        assert_eq!(said(b"", b"", &[]).await, "");
    }

    #[tokio::test]
    async fn only_the_tail_is_kept() {
        let long: &'static [u8] = Vec::leak([vec![b'x'; 3 * KEPT], b"\nend".to_vec()].concat());
        let mut output = Output::drain(Some(long), None::<&[u8]>);
        output.settle().await;
        assert_eq!(output.streams[0].tail.lock().unwrap().len(), KEPT);
        assert!(output.last_lines(&[]).ends_with("\n  end"));
    }
}
