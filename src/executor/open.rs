//! The open model on one thread: arrivals start flows whether or not earlier
//! ones have ended. Who finds no free session waits in a bounded queue; past
//! the bound an arrival is dropped. Nothing is left out of the count.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::pin,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    Interrupt,
    pacer::Pacer,
    pass::{Flight, Performer, Recording},
    schedule::Arrival,
};
use crate::target::Session;

/// After this many arrivals without a wait the sessions get their turn.
const ARRIVALS_PER_TURN: usize = 32;

/// The bounds of one window on one thread.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many arrivals may wait for a session.
    pub queue: usize,
    /// Length of the window.
    pub window: Duration,
    /// How long flows under way may take after it.
    pub drain: Duration,
}

/// Starts every arrival when it is due, until the window ends; then drains.
pub async fn run<S: Session>(
    performers: &mut [Performer<'_, S>],
    arrivals: impl Iterator<Item = Arrival>,
    bounds: Bounds,
    recording: &Recording,
    pacer: &mut Pacer,
    interrupt: &Interrupt,
) {
    let lobby = Lobby::new(bounds.queue);
    let flights: Vec<Cell<Option<Flight>>> = performers.iter().map(|_| Cell::new(None)).collect();
    let mut serving: FuturesUnordered<_> = performers
        .iter_mut()
        .zip(&flights)
        .map(|(performer, flight)| lobby.serve(performer, flight, recording))
        .collect();

    {
        let mut dispatching = pin!(async {
            tokio::select! {
                biased;
                () = interrupt.stop.cancelled() => {}
                () = dispatch(arrivals, &lobby, recording, pacer) => pacer.until(recording.t0 + bounds.window).await,
            }
        });
        loop {
            tokio::select! {
                biased;
                () = &mut dispatching => break,
                // A performer ends only once the lobby is closed.
                Some(()) = serving.next() => {}
            }
        }
    }
    lobby.close(recording);
    tokio::select! {
        () = async { while serving.next().await.is_some() {} } => {}
        () = sleep(bounds.drain) => {}
        () = interrupt.cut.cancelled() => {}
    }
    drop(serving);
    let cut = Instant::now();
    for flight in flights.iter().filter_map(Cell::get) {
        flight.record_unfinished(recording, cut);
    }
}

async fn dispatch(arrivals: impl Iterator<Item = Arrival>, lobby: &Lobby, recording: &Recording, pacer: &mut Pacer) {
    for (count, arrival) in arrivals.enumerate() {
        let due = recording.t0 + arrival.due;
        pacer.until(due).await;
        recording.with(due, |recorder, _| {
            recorder.lag(Instant::now().saturating_duration_since(due));
            recorder.flows(arrival.due).planned += 1;
            recorder.advance(arrival.due);
        });
        lobby.enter(arrival, recording);
        if count % ARRIVALS_PER_TURN == ARRIVALS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
}

/// Where arrivals wait for free performers, and free performers for arrivals.
struct Lobby {
    waiting: RefCell<VecDeque<Arrival>>,
    bound: usize,
    free: Cell<usize>,
    closed: Cell<bool>,
    news: Notify,
}

impl Lobby {
    fn new(bound: usize) -> Self {
        Self {
            waiting: RefCell::default(),
            bound,
            free: Cell::new(0),
            closed: Cell::new(false),
            news: Notify::new(),
        }
    }

    fn enter(&self, arrival: Arrival, recording: &Recording) {
        let mut waiting = self.waiting.borrow_mut();
        // Those that a free performer will take at its next turn do not wait for anything.
        if waiting.len() < self.bound + self.free.get() {
            waiting.push_back(arrival);
            self.news.notify_one();
        } else {
            drop(waiting);
            dropped(&arrival, recording);
        }
    }

    /// Nothing new starts: what still waits is dropped.
    fn close(&self, recording: &Recording) {
        self.closed.set(true);
        for arrival in self.waiting.borrow_mut().drain(..) {
            dropped(&arrival, recording);
        }
        self.news.notify_waiters();
    }

    async fn serve<S: Session>(
        &self,
        performer: &mut Performer<'_, S>,
        flight: &Cell<Option<Flight>>,
        recording: &Recording,
    ) {
        while let Some(arrival) = self.next().await {
            performer
                .pass(arrival.number, recording.t0 + arrival.due, recording, flight)
                .await;
        }
    }

    async fn next(&self) -> Option<Arrival> {
        loop {
            if let Some(arrival) = self.waiting.borrow_mut().pop_front() {
                return Some(arrival);
            }
            if self.closed.get() {
                return None;
            }
            self.free.set(self.free.get() + 1);
            self.news.notified().await;
            self.free.set(self.free.get() - 1);
        }
    }
}

fn dropped(arrival: &Arrival, recording: &Recording) {
    recording.with(recording.t0 + arrival.due, |recorder, _| {
        recorder.flows(arrival.due).dropped += 1
    });
}
