//! What passed a link: of every connection by itself, and in all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::{held, passage::Way, tap::Tap};
use crate::run::{self, LinkConnection, Traffic, Wire};

/// The books of a link.
#[derive(Debug, Default)]
pub(super) struct Tally {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Connections so far; each has a number.
    opened: u64,
    open: BTreeMap<u64, Arc<Mutex<Entries>>>,
    /// Of connections that are over.
    closed: run::Link,
}

/// What is counted of one connection while it lasts.
#[derive(Debug)]
pub(super) struct Account {
    /// Of all connections of the link, from 0.
    pub(super) number: u64,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug)]
struct Entries {
    sent: u64,
    received: u64,
    tap: Option<Tap>,
}

impl Tally {
    /// Begins to count a connection.
    pub(super) fn open(&self, tapped: bool) -> Account {
        let entries = Arc::new(Mutex::new(Entries {
            sent: 0,
            received: 0,
            tap: tapped.then(Tap::new),
        }));
        let mut books = held(&self.books);
        let number = books.opened;
        books.opened += 1;
        books.open.insert(number, Arc::clone(&entries));
        Account { number, entries }
    }

    /// Ends a connection; `refused` where it never came to the server.
    pub(super) fn close(&self, account: Account, refused: bool) {
        let mut books = held(&self.books);
        books.open.remove(&account.number);
        books.closed.traffic.refused += u64::from(refused);
        let of_one = held(&account.entries).of_one();
        books.closed.add(of_one);
    }

    /// All that was counted so far.
    pub(super) fn sum(&self) -> run::Link {
        let books = held(&self.books);
        let mut sum = books.closed.clone();
        for entries in books.open.values() {
            sum.add(held(entries).of_one());
        }
        sum
    }

    /// What was said so far.
    pub(super) fn wire(&self) -> Wire {
        let books = held(&self.books);
        let mut sum = books.closed.wire.clone().unwrap_or_default();
        for entries in books.open.values() {
            if let Some(tap) = &held(entries).tap {
                sum.add(&tap.counts());
            }
        }
        sum
    }
}

impl Account {
    /// Counts what came.
    pub(super) fn note(&self, way: Way, bytes: &[u8]) {
        let Entries { sent, received, tap } = &mut *held(&self.entries);
        match way {
            Way::ToServer => {
                *sent += bytes.len() as u64;
                tap.iter_mut().for_each(|tap| tap.client_said(bytes));
            }
            Way::ToClient => {
                *received += bytes.len() as u64;
                tap.iter_mut().for_each(|tap| tap.server_said(bytes));
            }
        }
    }
}

impl Entries {
    fn of_one(&self) -> run::Link {
        let wire = self.tap.as_ref().map(Tap::counts);
        let connection = wire.as_ref().map(|wire| LinkConnection {
            queries: wire.queries,
            round_trips: wire.round_trips,
            messages: self.tap.as_ref().map_or(0, Tap::messages),
            sent_bytes: self.sent,
            received_bytes: self.received,
        });
        run::Link {
            traffic: Traffic {
                connections: 1,
                refused: 0,
                sent_bytes: self.sent,
                received_bytes: self.received,
            },
            wire,
            connections: connection.into_iter().collect(),
            ..run::Link::default()
        }
    }
}
