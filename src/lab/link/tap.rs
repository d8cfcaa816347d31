//! Reads along what a client and a PostgreSQL server say to each other, and counts.
//!
//! It sees the bytes of both ways as they come, in pieces of any size, changes
//! nothing and keeps nothing but the head of a message and a few bytes of it: so
//! its memory is bounded whatever a peer sends. What it cannot read (TLS, another
//! protocol) it says, and looks at no further. The messages are those of
//! PostgreSQL's documentation, "Frontend/Backend Protocol".
//!
//! A *query* is counted when the server says that a statement is complete: as
//! pg_stat_statements does, so that what fails, is skipped after an error or is
//! fetched in parts is counted alike, and several statements in one message each.

use crate::run::Wire;

/// Of a message so many bytes are looked at: the begin of a command's name.
const LOOKED_AT: usize = 16;

/// Type and length, which counts itself but not the type.
const HEAD: usize = 1 + 4;

/// Length and code of what a client says first.
const FIRST_HEAD: usize = 4 + 4;

/// A longer first message is none of PostgreSQL's, which refuses it too.
const LONGEST_FIRST: usize = 10_000;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// What clients may say, once they have begun.
const CLIENT: &[(u8, &str)] = &[
    (b'B', "Bind"),
    (b'C', "Close"),
    (b'D', "Describe"),
    (b'E', "Execute"),
    (b'F', "FunctionCall"),
    (b'H', "Flush"),
    (b'P', "Parse"),
    (b'Q', "Query"),
    (b'S', "Sync"),
    (b'X', "Terminate"),
    (b'c', "CopyDone"),
    (b'd', "CopyData"),
    (b'f', "CopyFail"),
    (b'p', "Password"),
];

/// What servers may say.
const SERVER: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";

/// Words that begin the tag of a statement that asks for nothing.
const CONTROL: &[&[u8]] = &[
    b"BEGIN",
    b"COMMIT",
    b"DEALLOCATE",
    b"DISCARD",
    b"PREPARE",
    b"RELEASE",
    b"RESET",
    b"ROLLBACK",
    b"SAVEPOINT",
    b"SET",
    b"START",
];

/// One connection, read along.
#[derive(Debug)]
pub(super) struct Tap {
    phase: Phase,
    client: Reader,
    server: Reader,
    /// Whether the server has spoken since the client last did.
    server_spoke: bool,
    messages: [u64; CLIENT.len()],
    counts: Wire,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The client has not yet said what it wants.
    First,
    /// It has asked for encryption, and the server's one byte is to come.
    Asked,
    /// It logs in.
    Login,
    /// It asks, and the server answers.
    Session,
    /// Nothing more can be read, or is to be.
    Closed,
}

/// Cuts bytes into messages.
#[derive(Debug, Default)]
struct Reader {
    head: [u8; FIRST_HEAD],
    have: usize,
    /// Of the body, still to come.
    rest: usize,
    begin: [u8; LOOKED_AT],
    begun: usize,
}

/// What a reader came upon.
enum Found {
    /// A head whose message begins.
    Head,
    /// The end of a message.
    End,
    /// More is to come.
    Nothing,
}

impl Tap {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::First,
            client: Reader::default(),
            server: Reader::default(),
            server_spoke: false,
            messages: [0; CLIENT.len()],
            counts: Wire::default(),
        }
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Wire {
        let named = CLIENT.iter().zip(&self.messages).filter(|(_, count)| **count > 0);
        Wire {
            messages: named.map(|((_, name), count)| ((*name).to_owned(), *count)).collect(),
            ..self.counts.clone()
        }
    }

    /// Messages of the client so far.
    pub(super) fn messages(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// Reads what comes from the client.
    pub(super) fn client_said(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.phase != Phase::Closed {
            let first = matches!(self.phase, Phase::First | Phase::Asked);
            let head = if first { FIRST_HEAD } else { HEAD };
            match self.client.read(&mut bytes, head) {
                Found::Head if first => self.first_begins(),
                Found::Head => self.client_begins(),
                Found::End | Found::Nothing => {}
            }
        }
    }

    /// Reads what comes from the server.
    pub(super) fn server_said(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            match self.phase {
                Phase::Closed => return,
                Phase::First => self.give_up(false),
                Phase::Asked => {
                    bytes = rest;
                    match byte {
                        b'N' => self.phase = Phase::First,
                        b'S' | b'G' => self.give_up(true),
                        // An old server's error, after which it closes.
                        _ => self.give_up(false),
                    }
                }
                Phase::Login | Phase::Session => match self.server.read(&mut bytes, HEAD) {
                    Found::Nothing => {}
                    Found::Head => self.server_begins(),
                    Found::End => self.server_ends(),
                },
            }
        }
    }

    fn first_begins(&mut self) {
        let (length, code) = (number(&self.client.head[..4]), number(&self.client.head[4..]));
        let Some(rest) = (length as usize).checked_sub(FIRST_HEAD) else {
            return self.give_up(false);
        };
        // The first bytes of a TLS handshake, read as a length, are far beyond this.
        if rest > LONGEST_FIRST {
            return self.give_up(self.client.head[0] == 0x16);
        }
        self.client.rest = rest;
        match code {
            CANCEL => {
                self.counts.cancels += 1;
                self.phase = Phase::Closed;
            }
            SSL | GSS if self.phase == Phase::First && rest == 0 => self.phase = Phase::Asked,
            code if code >> 16 == 3 => self.phase = Phase::Login,
            _ => self.give_up(false),
        }
    }

    fn client_begins(&mut self) {
        let tag = self.client.head[0];
        let Some(at) = CLIENT.iter().position(|(known, _)| *known == tag) else {
            return self.give_up(false);
        };
        if !self.client.expect_body() {
            return self.give_up(false);
        }
        self.messages[at] += 1;
        if self.phase == Phase::Session && tag != b'X' && std::mem::take(&mut self.server_spoke) {
            self.counts.round_trips += 1;
        }
    }

    fn server_begins(&mut self) {
        if !SERVER.contains(&self.server.head[0]) || !self.server.expect_body() {
            return self.give_up(false);
        }
        // What is told unasked is no turn of the conversation.
        if !matches!(self.server.head[0], b'N' | b'S' | b'A') {
            self.server_spoke = true;
        }
    }

    fn server_ends(&mut self) {
        match self.server.head[0] {
            b'C' if is_control(self.server.begin()) => self.counts.control += 1,
            b'C' => self.counts.queries += 1,
            b'E' => self.counts.errors += 1,
            b'Z' if self.phase == Phase::Login => {
                self.counts.logins += 1;
                self.phase = Phase::Session;
            }
            _ => {}
        }
    }

    fn give_up(&mut self, encrypted: bool) {
        self.phase = Phase::Closed;
        *(if encrypted {
            &mut self.counts.encrypted
        } else {
            &mut self.counts.unreadable
        }) += 1;
    }
}

impl Reader {
    /// Takes bytes up to the next head or end of a message.
    fn read(&mut self, bytes: &mut &[u8], head: usize) -> Found {
        if self.have < head {
            let (now, later) = bytes.split_at(bytes.len().min(head - self.have));
            self.head[self.have..self.have + now.len()].copy_from_slice(now);
            self.have += now.len();
            *bytes = later;
            if self.have < head {
                return Found::Nothing;
            }
            (self.rest, self.begun) = (0, 0);
            return Found::Head;
        }
        let (now, later) = bytes.split_at(bytes.len().min(self.rest));
        let looked_at = now.len().min(LOOKED_AT - self.begun);
        self.begin[self.begun..self.begun + looked_at].copy_from_slice(&now[..looked_at]);
        self.begun += looked_at;
        self.rest -= now.len();
        *bytes = later;
        if self.rest > 0 {
            return Found::Nothing;
        }
        self.have = 0;
        Found::End
    }

    /// Whether the length in the head of a message makes sense.
    fn expect_body(&mut self) -> bool {
        let length = number(&self.head[1..HEAD]);
        let body = length.checked_sub(4).filter(|_| length <= i32::MAX as u32);
        self.rest = body.unwrap_or(0) as usize;
        body.is_some()
    }

    fn begin(&self) -> &[u8] {
        &self.begin[..self.begun]
    }
}

/// Whether a statement with that tag begins or ends a transaction or sets up a session.
fn is_control(tag: &[u8]) -> bool {
    let word = tag.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
    CONTROL.contains(&word)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
