//! Conversations as PostgreSQL's documentation describes them, and bytes that are none.

use proptest::prelude::*;

use super::*;

/// A message of either side.
fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 4) as u32;
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
}

fn first(code: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() + 8) as u32;
    [length.to_be_bytes().as_slice(), code.to_be_bytes().as_slice(), body].concat()
}

fn messages(tags: &[u8]) -> Vec<u8> {
    tags.iter().flat_map(|tag| message(*tag, b"")).collect()
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

/// Who says what.
enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

use Said::{Client, Server};

/// A client that has logged in.
fn logged_in() -> Vec<Said> {
    vec![
        Client(first(SSL, b"")),
        Server(b"N".to_vec()),
        Client(first(3 << 16, b"user\0app\0\0")),
        Server(message(b'R', &[0, 0, 0, 10])),
        Client(message(b'p', b"SCRAM-SHA-256")),
        Server(
            [
                message(b'R', &[0; 4]),
                message(b'S', b"a\0b\0"),
                message(b'K', &[7; 8]),
                ready(),
            ]
            .concat(),
        ),
    ]
}

/// Counts a conversation that comes in pieces of that size.
fn counted(said: &[Said], piece: usize) -> Wire {
    let mut tap = Tap::new();
    for said in said {
        match said {
            Client(bytes) => bytes.chunks(piece).for_each(|bytes| tap.client_said(bytes)),
            Server(bytes) => bytes.chunks(piece).for_each(|bytes| tap.server_said(bytes)),
        }
    }
    tap.counts()
}

#[track_caller]
fn counts(more: Vec<Said>) -> Wire {
    let mut said = logged_in();
    said.extend(more);
    let whole = counted(&said, usize::MAX);
    for piece in 1..9 {
        assert_eq!(counted(&said, piece), whole, "in pieces of {piece}");
    }
    assert_eq!((whole.logins, whole.encrypted, whole.unreadable), (1, 0, 0));
    whole
}

#[test]
fn a_login_is_no_round_trip_and_no_query() {
    let wire = counts(vec![]);
    assert_eq!((wire.queries, wire.control, wire.round_trips), (0, 0, 0));
    assert_eq!(wire.messages.get("Password"), Some(&1));
}

#[test]
fn statements_are_counted_where_they_are_complete() {
    let wire = counts(vec![
        // Several in one message.
        Client(message(b'Q', b"BEGIN; SELECT 1; SELECT 2; COMMIT\0")),
        Server(
            [
                complete("BEGIN"),
                complete("SELECT 1"),
                complete("SELECT 1"),
                complete("COMMIT"),
                ready(),
            ]
            .concat(),
        ),
        // Prepared, then executed.
        Client(messages(b"PDS")),
        Server([messages(b"1tn"), ready()].concat()),
        Client(messages(b"BES")),
        Server([messages(b"2D"), complete("INSERT 0 1"), ready()].concat()),
        // Two in one go, of which the first fails and the second is skipped.
        Client(messages(b"BEBES")),
        Server([message(b'E', b"SERROR\0\0"), ready()].concat()),
        // Fetched in parts.
        Client(messages(b"BEH")),
        Server(messages(b"2Ds")),
        Client(messages(b"ES")),
        Server([messages(b"D"), complete("SELECT 2"), ready()].concat()),
        // Nothing at all.
        Client(message(b'Q', b"\0")),
        Server([messages(b"I"), ready()].concat()),
        Client(messages(b"X")),
    ]);
    assert_eq!((wire.queries, wire.control, wire.errors), (4, 2, 1));
    assert_eq!(wire.round_trips, 7);
    let named: Vec<(&str, u64)> = wire
        .messages
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        named,
        [
            ("Bind", 4),
            ("Describe", 1),
            ("Execute", 5),
            ("Flush", 1),
            ("Parse", 1),
            ("Password", 1),
            ("Query", 2),
            ("Sync", 4),
            ("Terminate", 1)
        ]
    );
}

#[test]
fn copies_and_what_is_told_unasked() {
    let wire = counts(vec![
        Client(message(b'Q', b"COPY t FROM STDIN\0")),
        Server(message(b'G', &[0; 3])),
        Client([message(b'd', &[b'x'; 70_000]), message(b'd', b"y"), messages(b"c")].concat()),
        // A notice comes while rows are still sent.
        Server(message(b'N', b"\0")),
        Client(messages(b"")),
        Server([complete("COPY 2"), ready()].concat()),
        Server(message(b'A', &[0; 9])),
    ]);
    assert_eq!((wire.queries, wire.round_trips), (1, 2));
    assert_eq!(wire.messages.get("CopyData"), Some(&2));
}

#[test]
fn control_is_told_by_its_tag() {
    for control in [
        "BEGIN",
        "START TRANSACTION",
        "SET",
        "SET CONSTRAINTS",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "PREPARE",
    ] {
        assert!(is_control(control.as_bytes()), "{control}");
    }
    for query in ["SELECT 5", "INSERT 0 1", "CREATE TABLE", "COPY 3", "SETTLE", ""] {
        assert!(!is_control(query.as_bytes()), "{query}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let encrypted = [
        Client(first(SSL, b"")),
        Server(b"S\x16\x03".to_vec()),
        Client(vec![0x16; 50]),
    ];
    let gss = [Client(first(GSS, b"")), Server(b"G".to_vec()), Client(vec![0; 50])];
    let direct = [Client(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec())];
    for said in [&encrypted[..], &gss, &direct] {
        let wire = counted(said, 3);
        assert_eq!((wire.encrypted, wire.unreadable), (1, 0));
    }
    let http = [
        Client(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Server(b"HTTP/1.1 200".to_vec()),
    ];
    let short = [Client(vec![0, 0, 0, 7, 0, 3, 0, 0])];
    for said in [&http[..], &short] {
        let wire = counted(said, 3);
        assert_eq!((wire.encrypted, wire.unreadable), (0, 1));
    }
    let mut broken = logged_in();
    broken.push(Server(vec![b'D', 0xff, 0xff, 0xff, 0xff]));
    broken.push(Server(ready()));
    assert_eq!(counted(&broken, 2).unreadable, 1);
    let cancel = [Client(first(CANCEL, &[1; 8]))];
    let wire = counted(&cancel, 5);
    assert_eq!((wire.cancels, wire.unreadable), (1, 0));
}

proptest! {
    /// Whatever comes, in whatever pieces, is counted alike and never ends in a panic.
    #[test]
    fn arbitrary_bytes_are_borne(
        said in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..12),
        after_login in any::<bool>(),
        piece in 1_usize..20,
    ) {
        let mut all = if after_login { logged_in() } else { Vec::new() };
        all.extend(said.into_iter().map(|(client, bytes)| if client { Client(bytes) } else { Server(bytes) }));
        prop_assert_eq!(counted(&all, piece), counted(&all, usize::MAX));
    }
}
