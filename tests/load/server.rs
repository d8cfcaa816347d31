//! Servers that behave and servers that do not, in the test's own process.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::certificates::Authority;

const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;

/// A server on a port of its own; lives as long as the test program.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `serve` with each connection and its number, from 0, on a thread of its own.
    /// What `serve` reads with [`Connection::request`] is counted.
    pub(crate) fn start(serve: impl Fn(Connection<TcpStream>, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counter, serve) = (Arc::clone(&requests), Arc::new(serve));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                stream.set_nodelay(true).unwrap();
                let connection = Connection {
                    stream,
                    requests: Arc::clone(&counter),
                };
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(connection, number));
            }
        });
        Self { port, requests }
    }

    /// Answers every request with what `answer` makes of its path.
    pub(crate) fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::start(move |mut connection, _| {
            while let Some(path) = connection.request() {
                connection.send(answer(&path).as_bytes());
            }
        })
    }

    /// The same behind TLS.
    pub(crate) fn secure(config: Arc<ServerConfig>) -> Self {
        Self::start(move |connection, _| {
            let mut connection = connection.secured(&config);
            while connection.request().is_some() {
                connection.send(ok("hello").as_bytes());
            }
        })
    }

    /// How many requests it read to their end.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}

/// One accepted connection.
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    requests: Arc<AtomicUsize>,
}

impl<S: Read + Write> Connection<S> {
    /// The path of the next request, which must have no body; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        self.requests.fetch_add(1, SeqCst);
        let head = String::from_utf8(head).unwrap();
        head.split(' ').nth(1).map(str::to_owned)
    }

    /// The stream of the next HTTP/2 request, whose settings are answered on the
    /// way; `None` at the end of the connection.
    pub(crate) fn stream(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).ok()?;
            if head == *b"PRI * HTT" {
                self.stream.read_exact(&mut [0; 24 - 9]).ok()?;
                self.frame(SETTINGS, 0, &[]);
                continue;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            self.stream.read_exact(&mut vec![0; length as usize]).ok()?;
            if head[3] == HEADERS {
                self.requests.fetch_add(1, SeqCst);
                return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            }
        }
    }

    /// Sends a frame of HTTP/2 without flags.
    pub(crate) fn frame(&mut self, kind: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.send(&frame);
    }

    /// Sends as much as the other end takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Connection<TcpStream> {
    pub(crate) fn secured(self, config: &Arc<ServerConfig>) -> Connection<StreamOwned<ServerConnection, TcpStream>> {
        let session = ServerConnection::new(Arc::clone(config)).unwrap();
        Connection {
            stream: StreamOwned::new(session, self.stream),
            requests: self.requests,
        }
    }

    /// Closes with a reset: the request is there and will never be read.
    pub(crate) fn reset(self) {
        let _ = self.stream.peek(&mut [0]);
    }

    /// Keeps the connection open and silent until the other end gives up.
    pub(crate) fn hang(mut self) {
        while self.stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    }
}

/// A complete answer that keeps the connection.
pub(crate) fn ok(body: &str) -> String {
    answer("200 OK", body)
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A certificate for 127.0.0.1 by an authority of its own: the server's side, and the authority as PEM.
pub(crate) fn certificate() -> (Arc<ServerConfig>, String) {
    let authority = Authority::new();
    (authority.server(&["127.0.0.1"], &[], false), authority.pem)
}
