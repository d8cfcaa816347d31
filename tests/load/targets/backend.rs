//! The server's end of PostgreSQL's protocol, saying what a test wants it to.

use std::{
    io::Read as _,
    net::TcpStream,
    sync::{Arc, Mutex},
};

use crate::server::{Connection, Server};

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;

/// What every connection gets as its process and its secret.
pub(crate) const KEY: [u8; 8] = [0, 0, 0x30, 0x39, 0xde, 0xad, 0xbe, 0xef];

/// A server of PostgreSQL's protocol that prepares whatever it is given.
pub(crate) struct Backend {
    pub(crate) server: Server,
    /// The keys of all requests to cancel.
    pub(crate) cancelled: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// One connection that has logged in.
pub(crate) struct Client {
    pub(crate) connection: Connection<TcpStream>,
    /// Send what the protocol itself needs byte by byte.
    slow: bool,
}

impl Backend {
    /// Calls `answer` for every statement that is run, with the number of its connection, from 0:
    /// that of the probe, which sees no statement of the load. `None` ends the connection.
    pub(crate) fn start(slow: bool, answer: impl Fn(&mut Client, usize) -> Option<()> + Send + Sync + 'static) -> Self {
        Self::greeting(slow, greeting(), answer)
    }

    /// The same with another answer to the startup.
    pub(crate) fn greeting(
        slow: bool,
        greeting: Vec<u8>,
        answer: impl Fn(&mut Client, usize) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let cancelled = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&cancelled);
        let server = Server::start(move |connection, number| {
            let mut client = Client { connection, slow };
            if client.startup(&greeting, &heard).is_some() {
                while client.exchange(number, &answer).is_some() {}
            }
        });
        Self { server, cancelled }
    }

    /// For the scenario's `postgres` key.
    pub(crate) fn address(&self) -> String {
        format!("postgres://me@127.0.0.1:{}/shop", self.server.port)
    }
}

impl Client {
    fn startup(&mut self, greeting: &[u8], cancelled: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
        loop {
            let body = self.body()?;
            match u32::from_be_bytes(*body.first_chunk()?) {
                SSL_REQUEST => self.send(b"N"),
                CANCEL_REQUEST => {
                    cancelled.lock().unwrap().push(body[4..].to_vec());
                    return None;
                }
                _ => {
                    self.send(greeting);
                    return Some(());
                }
            }
        }
    }

    /// Reads up to the next flush and answers.
    fn exchange(&mut self, number: usize, answer: &impl Fn(&mut Self, usize) -> Option<()>) -> Option<()> {
        let mut kinds = Vec::new();
        loop {
            let mut kind = [0];
            self.connection.stream.read_exact(&mut kind).ok()?;
            let body = self.body()?;
            kinds.push(kind[0]);
            match kind[0] {
                b'Q' if body.starts_with(b"SHOW server_version\0") => {
                    let version = [described(&["server_version"]), row(&[b"0.1"]), done("SHOW")].concat();
                    self.send(&version);
                    return Some(());
                }
                b'S' if kinds.contains(&b'B') => return answer(self, number),
                b'S' => {
                    let prepared = [message(b'3', &[]), message(b'1', &[]), message(b't', &[0, 0])].concat();
                    self.send(&[prepared, described(&["word"]), ready()].concat());
                    return Some(());
                }
                _ => {}
            }
        }
    }

    fn body(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.connection.stream.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_be_bytes(length).checked_sub(4)? as usize];
        self.connection.stream.read_exact(&mut body).ok()?;
        Some(body)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.slow {
            self.connection.send_slowly(bytes);
        } else {
            self.connection.send(bytes);
        }
    }
}

/// A message of that type.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

/// Welcome without a password, with news that nobody asked for.
fn greeting() -> Vec<u8> {
    [
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x000.1\0"),
        message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
        message(b'K', &KEY),
        ready(),
    ]
    .concat()
}

/// Columns of text.
pub(crate) fn described(names: &[&str]) -> Vec<u8> {
    let mut body = u16::try_from(names.len()).unwrap().to_be_bytes().to_vec();
    for name in names {
        body.extend(name.as_bytes());
        body.extend([0; 1 + 4 + 2]);
        body.extend([0, 0, 0, 25]);
        body.extend([0; 2 + 4 + 2]);
    }
    message(b'T', &body)
}

pub(crate) fn row(cells: &[&[u8]]) -> Vec<u8> {
    let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
    for cell in cells {
        body.extend(u32::try_from(cell.len()).unwrap().to_be_bytes());
        body.extend(*cell);
    }
    message(b'D', &body)
}

/// The end of a command and of the answer.
pub(crate) fn done(tag: &str) -> Vec<u8> {
    [message(b'C', format!("{tag}\0").as_bytes()), ready()].concat()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

/// The server ends the connection, and says why.
pub(crate) fn terminated() -> Vec<u8> {
    message(
        b'E',
        b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0",
    )
}
