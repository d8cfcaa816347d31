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
    pass::{Flight, Performer, Recording},
    schedule::Arrival,
};
use crate::{pacer::Pacer, target::Session};

/// After this many arrivals without a wait the sessions get their turn.
const ARRIVALS_PER_TURN: usize = 32;

/// Arrivals that are due so soon after a wake-up wait for each other: at a high rate a
/// wake-up for each would cost more than what it is for. It shows in the send lag.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);

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

/// Starts every arrival when it is due, until the window ends; then drains. A place has a
/// performer for each variant; none of them waits for those of another.
pub async fn run<S: Session>(
    places: &mut [Vec<Performer<'_, S>>],
    arrivals: impl Iterator<Item = Arrival>,
    bounds: Bounds,
    recording: &Recording,
    pacer: &mut Pacer,
    interrupt: &Interrupt,
) {
    let variants = places.first().map_or(1, Vec::len);
    let lobbies: Vec<Lobby> = (0..variants).map(|_| Lobby::new(bounds.queue, places.len())).collect();
    let flights: Vec<Cell<Option<Flight>>> = places.iter().flatten().map(|_| Cell::new(None)).collect();
    let mut serving: FuturesUnordered<_> = places
        .iter_mut()
        .flat_map(|performers| performers.iter_mut().zip(&lobbies))
        .zip(&flights)
        .map(|((performer, lobby), flight)| lobby.serve(performer, flight, recording))
        .collect();

    {
        let mut dispatching = pin!(async {
            tokio::select! {
                biased;
                () = interrupt.stop.cancelled() => {}
                () = dispatch(arrivals, &lobbies, recording, pacer) => pacer.until(recording.t0 + bounds.window).await,
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
    lobbies.iter().for_each(|lobby| lobby.close(recording));
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

async fn dispatch(
    arrivals: impl Iterator<Item = Arrival>,
    lobbies: &[Lobby],
    recording: &Recording,
    pacer: &mut Pacer,
) {
    let mut rested = recording.t0;
    let mut turn = 0;
    for (count, arrival) in arrivals.enumerate() {
        let due = recording.t0 + arrival.due;
        if Instant::now() < due {
            pacer.until(due.max(rested + SHORTEST_SLEEP)).await;
            rested = Instant::now();
        }
        recording.with(due, |recorder, at| {
            let interval = at.interval(due);
            recorder.lag(Instant::now().saturating_duration_since(due));
            recorder.flows(interval).planned += 1;
            recorder.advance(interval);
        });
        if arrival.variant != turn {
            // What one variant has not begun in its turn is not done in that of another.
            lobbies[turn].turn_away(recording);
            turn = arrival.variant;
        }
        lobbies[turn].enter(arrival, recording);
        if count % ARRIVALS_PER_TURN == ARRIVALS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
}

/// Where arrivals wait for free performers, and free performers for arrivals.
struct Lobby {
    waiting: RefCell<VecDeque<Arrival>>,
    bound: usize,
    places: usize,
    free: Cell<usize>,
    closed: Cell<bool>,
    news: Notify,
}

impl Lobby {
    fn new(bound: usize, places: usize) -> Self {
        Self {
            waiting: RefCell::default(),
            bound,
            places,
            free: Cell::new(0),
            closed: Cell::new(false),
            news: Notify::new(),
        }
    }

    fn enter(&self, arrival: Arrival, recording: &Recording) {
        let mut waiting = self.waiting.borrow_mut();
        let in_flight = self.places - self.free.get();
        let queue = waiting.len().saturating_sub(self.free.get());
        recording.with(recording.t0 + arrival.due, |recorder, _| {
            recorder.depth(queue, in_flight);
        });
        // Those that a free performer will take at its next turn do not wait for anything.
        if waiting.len() < self.bound + self.free.get() {
            waiting.push_back(arrival);
            self.news.notify_one();
        } else {
            drop(waiting);
            dropped(&arrival, recording);
        }
    }

    /// What still waits is dropped.
    fn turn_away(&self, recording: &Recording) {
        for arrival in self.waiting.borrow_mut().drain(..) {
            dropped(&arrival, recording);
        }
    }

    /// Nothing new starts.
    fn close(&self, recording: &Recording) {
        self.closed.set(true);
        self.turn_away(recording);
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
    let due = recording.t0 + arrival.due;
    recording.with(due, |recorder, at| recorder.flows(at.interval(due)).dropped += 1);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        executor::{Schedule, Variant},
        recorder::{Collector, Recorded},
        run::Model,
        sample::{ErrorClass, Outcome},
        scenario,
        target::{Balancers, Breakers, Operation, Reply},
        workload::{Arrivals, Rates, Workload, compile},
    };

    /// Answers after a millisecond; operations listed in the script take longer or fail.
    #[derive(Default)]
    struct Scripted {
        performed: usize,
        stalls: Vec<(usize, Duration)>,
        failures: Vec<usize>,
    }

    impl Session for Scripted {
        async fn perform(&mut self, _: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
            reply.start = Instant::now();
            let number = self.performed;
            self.performed += 1;
            let stall = self
                .stalls
                .iter()
                .find(|(stalled, _)| *stalled == number)
                .map(|(_, stall)| *stall);
            sleep(stall.unwrap_or(Duration::from_millis(1))).await;
            reply.end = Instant::now();
            if self.failures.contains(&number) {
                Outcome::Failed(ErrorClass::Timeout)
            } else {
                Outcome::Completed
            }
        }
    }

    fn workload() -> Workload {
        let toml = r#"
            name = "trust"
            [target.t]
            http = "http://127.0.0.1:1"
            [load]
            rate = "100/s"
            duration = "5s"
            [[flow]]
            name = "f"
            [[flow.step]]
            name = "s"
            get = "/"
        "#;
        let text = scenario::Text {
            path: "trust.toml".into(),
            toml: toml.into(),
        };
        compile(scenario::parse(text, &[]).unwrap(), &|_| None).unwrap()
    }

    fn bounds(queue: usize) -> Bounds {
        Bounds {
            queue,
            window: Duration::from_secs(5),
            drain: Duration::from_secs(2),
        }
    }

    async fn drive(sessions: Vec<Scripted>, bounds: Bounds, interrupt: &Interrupt) -> Recorded {
        let variant = Variant {
            workload: Arc::new(workload()),
            connectors: Arc::from([]),
            caches: Arc::new(crate::target::Caches::new(&[])),
            globals: Arc::from([]),
            breakers: Breakers::default(),
            balancers: Balancers::default(),
            first_step: 0,
            injection: None,
        };
        let mut performers: Vec<_> = sessions
            .into_iter()
            .map(|session| vec![Performer::new(&variant, Model::Open, session, false)])
            .collect();
        let mut collector = Collector::new(1);
        let recording = Recording::new(Instant::now(), Some(RefCell::new(collector.recorder())));
        let arrivals = Schedule::new(&Rates::constant(100.0), Arrivals::Even, 1, bounds.window);
        run(
            &mut performers,
            arrivals,
            bounds,
            &recording,
            &mut Pacer::coarse(),
            interrupt,
        )
        .await;
        recording.finish();
        collector.receive_all();
        collector.finish()
    }

    fn stalling(number: usize, stall: Duration) -> Scripted {
        Scripted {
            stalls: vec![(number, stall)],
            ..Scripted::default()
        }
    }

    /// How many latencies are above 10 ms; an undisturbed operation takes about one.
    fn slow(latency: &crate::run::Latency) -> u64 {
        latency.hdr.len() - latency.hdr.count_between(0, 10_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn one_stall_of_a_second_delays_a_hundred_arrivals_but_serves_only_one_slowly() {
        let recorded = drive(
            vec![stalling(100, Duration::from_secs(1))],
            bounds(1000),
            &Interrupt::default(),
        )
        .await;
        let step = &recorded.steps[0];
        assert_eq!(step.service_time.completed.count(), 500);
        assert_eq!(slow(&step.service_time.completed), 1);
        // Those due during the stall, and those behind them until the queue is worked off at 1 ms each.
        let slow = slow(&step.response_time.completed);
        assert!((98..=112).contains(&slow), "{slow}");
        assert_eq!(recorded.flows.planned, 500);
        assert_eq!(recorded.flows.completed, 500);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_place_in_the_queue_is_dropped_and_counted() {
        let recorded = drive(
            vec![stalling(100, Duration::from_secs(1))],
            bounds(10),
            &Interrupt::default(),
        )
        .await;
        let flows = recorded.flows;
        assert_eq!(flows.planned, 500);
        assert_eq!(
            flows.planned,
            flows.completed + flows.failed + flows.dropped + flows.unfinished
        );
        // 100 are due during the stall, ten of them wait.
        assert!((88..=91).contains(&flows.dropped), "{flows:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlasts_the_drain_is_unfinished_and_at_least_that_slow() {
        let session = stalling(499, Duration::from_secs(60));
        let recorded = drive(vec![session], bounds(1000), &Interrupt::default()).await;
        let step = &recorded.steps[0];
        assert_eq!((recorded.flows.completed, recorded.flows.unfinished), (499, 1));
        assert_eq!(step.service_time.unfinished.count(), 1);
        assert!(step.service_time.unfinished.max().unwrap() >= 2e9);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_and_sessions_share_the_load() {
        let failing = Scripted {
            failures: vec![3],
            ..Scripted::default()
        };
        let recorded = drive(vec![failing, Scripted::default()], bounds(1000), &Interrupt::default()).await;
        assert_eq!((recorded.flows.completed, recorded.flows.failed), (499, 1));
        assert_eq!(recorded.steps[0].errors[0].class, ErrorClass::Timeout);
        assert_eq!(recorded.intervals.len(), 5);
        assert!(recorded.intervals.iter().all(|interval| interval.planned == 100));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_ends_the_window_and_what_was_due_until_then_is_accounted_for() {
        let interrupt = Interrupt::default();
        let stop = interrupt.stop.clone();
        let stopping = async {
            sleep(Duration::from_millis(2005)).await;
            stop.cancel();
        };
        let (recorded, ()) = tokio::join!(drive(vec![Scripted::default()], bounds(1000), &interrupt), stopping);
        let flows = recorded.flows;
        assert_eq!(flows.planned, 201);
        assert_eq!(
            flows.planned,
            flows.completed + flows.failed + flows.dropped + flows.unfinished
        );
    }
}
