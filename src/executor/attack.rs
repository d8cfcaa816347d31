//! Goose, whose users are our virtual users.
//!
//! Goose starts, ramps, holds and stops the users. A Goose transaction leases
//! a virtual user on its worker for some milliseconds, in which that performs
//! passes of our flows on its own sessions; so Goose's cost disappears, and
//! samples are recorded on the thread that drives the sockets. Goose's own
//! metrics, telnet and logs stay off. Its killswitch and its signal handler are
//! global: one attack at a time, and our handler comes first (see `cli::interrupt`).
//!
//! Read in its source, so mind: a test plan is counted in whole seconds and
//! looked at twice a second; a step of it in which neither users nor time
//! change never ends; and it prints a line on stdout, whatever it was told.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use goose::{
    GooseAttack,
    client::GooseClientBuilder,
    config::{GooseConfiguration, GooseDefault, GooseDefaultType},
    goose::{GooseUser, Scenario, Transaction, TransactionFunction},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::worker::WorkerError;

/// What a Goose user asks of the worker that performs for it; answered when done.
#[derive(Debug)]
pub(super) enum Wish {
    /// Perform passes for the length of a lease.
    Perform(oneshot::Sender<()>),
    /// The user ends; another may take its place later.
    Leave(oneshot::Sender<()>),
}

/// Goose and its users.
#[derive(Debug)]
pub(super) struct Attack {
    /// How many users there are at once, at most; they are counted from 0.
    seats: Arc<Seats>,
    plan: UserPlan,
    over: CancellationToken,
    running: Option<JoinHandle<Result<(), String>>>,
    quiet: Option<QuietStdout>,
}

/// How the number of users changes.
#[derive(Debug, Clone)]
pub(super) struct UserPlan {
    /// At the beginning.
    pub(super) users: usize,
    /// Time over which these are started.
    pub(super) ramp: Duration,
    /// Time before the window.
    pub(super) warm_up: Duration,
    /// Users at the end of each stage of the window, and its length.
    pub(super) stages: Vec<(usize, Duration)>,
}

impl UserPlan {
    /// From the first user to the begin of the window.
    fn lead(&self) -> Duration {
        self.ramp.max(self.warm_up)
    }

    /// In Goose's words, where the number changes: so many users after so many seconds, step by step.
    fn test_plan(&self) -> Option<String> {
        let held = (self.users, self.lead().saturating_sub(self.ramp));
        let mut before = 0;
        let mut steps = Vec::new();
        for (users, time) in [(self.users, self.ramp), held].iter().chain(&self.stages) {
            // Goose would never leave a step in which neither users nor time change.
            if *users != before || !time.is_zero() {
                steps.push(format!("{users},{}s", time.as_secs()));
            }
            before = *users;
        }
        (!self.stages.is_empty()).then(|| steps.join(";"))
    }

    /// How many users start per second.
    fn increase_rate(&self) -> f64 {
        if self.ramp.is_zero() {
            100_000.0
        } else {
            (self.users as f64 / self.ramp.as_secs_f64()).max(0.001)
        }
    }
}

/// The virtual users that Goose's users take up and give back. Goose counts
/// its users on and on; a virtual user is there as long as its sessions are.
#[derive(Debug)]
struct Seats {
    wishes: Vec<mpsc::Sender<Wish>>,
    free: Mutex<BTreeSet<usize>>,
    /// How many have been taken so far.
    taken: watch::Sender<usize>,
}

/// The seat a Goose user has taken.
#[derive(Debug, Clone, Copy)]
struct Seat(usize);

impl Seats {
    fn take(&self) -> Option<Seat> {
        let seat = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_first()?;
        self.taken.send_modify(|taken| *taken += 1);
        Some(Seat(seat))
    }

    fn give_back(&self, seat: Seat) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).insert(seat.0);
    }

    /// Hands in a wish and waits until it is granted; false when nobody grants any more.
    async fn wish(&self, seat: Seat, wish: impl FnOnce(oneshot::Sender<()>) -> Wish) -> bool {
        let (done, granted) = oneshot::channel();
        self.wishes[seat.0].send(wish(done)).await.is_ok() && granted.await.is_ok()
    }
}

impl Attack {
    /// Makes the channels between Goose's users and the workers, one per session; starts nothing.
    pub(super) fn new(plan: UserPlan, sessions: usize, over: CancellationToken) -> (Self, Vec<mpsc::Receiver<Wish>>) {
        let (wishes, lessees) = (0..sessions).map(|_| mpsc::channel(1)).unzip();
        let seats = Seats {
            wishes,
            free: Mutex::new((0..sessions).collect()),
            taken: watch::Sender::new(0),
        };
        let attack = Self {
            seats: Arc::new(seats),
            plan,
            over,
            running: None,
            quiet: None,
        };
        (attack, lessees)
    }

    /// Lets Goose start the users. Without a ramp, returns when all of the
    /// beginning are there; with one, when the first is. Returns the time from
    /// then to the begin of the window.
    pub(super) async fn start(&mut self) -> Result<Duration, WorkerError> {
        let attack = self
            .configure()
            .map_err(|error| WorkerError::Goose(error.to_string()))?;
        if !self.plan.stages.is_empty() {
            self.quiet = QuietStdout::new().ok();
        }
        let running = self.running.insert(tokio::spawn(async move {
            attack.execute().await.map(drop).map_err(|error| error.to_string())
        }));
        let wanted = if self.plan.ramp.is_zero() { self.plan.users } else { 1 };
        let mut taken = self.seats.taken.subscribe();
        tokio::select! {
            all = taken.wait_for(|taken| *taken >= wanted) => all.map(|_| self.plan.lead()).map_err(|_| WorkerError::Died),
            ended = running => {
                let reason = ended.map_or_else(|error| Some(error.to_string()), Result::err);
                Err(WorkerError::Goose(reason.unwrap_or_else(|| "Goose ended at once".into())))
            }
        }
    }

    fn configure(&self) -> Result<GooseAttack, goose::GooseError> {
        let mut configuration = GooseConfiguration::default();
        // Goose insists on a host; its client is never used.
        configuration.host = Some("http://127.0.0.1:9".into());
        let test_plan = self.plan.test_plan();
        if test_plan.is_none() {
            configuration.users = Some(self.plan.users);
            configuration.increase_rate = Some(format!("{:.3}", self.plan.increase_rate()));
        }
        configuration.quiet = 3;
        configuration.no_metrics = true;
        configuration.no_print_metrics = true;
        configuration.no_telnet = true;
        silence();
        // The client is never used; but one that checks certificates cannot
        // even be made on a machine without certificate authorities.
        let client = GooseClientBuilder::new().accept_invalid_certs(true).without_cookies();
        let scenario = Scenario::new("loadgate")
            .register_transaction(Transaction::new(self.arrival()).set_on_start())
            .register_transaction(Transaction::new(self.performance()))
            .register_transaction(Transaction::new(self.departure()).set_on_stop());
        let mut attack = GooseAttack::initialize_with_config(configuration)?;
        if let Some(test_plan) = test_plan {
            attack = *attack.set_default(GooseDefault::TestPlan, test_plan.as_str())?;
        }
        Ok(attack
            .set_client_builder_without_cookies(client)?
            .register_scenario(scenario))
    }

    fn arrival(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        Arc::new(move |user: &mut GooseUser| {
            if let Some(seat) = seats.take() {
                user.set_session_data(seat);
            }
            Box::pin(async { Ok(()) })
        })
    }

    /// Leases the user's worker; once all is over, waits to be stopped.
    fn performance(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        let over = self.over.clone();
        Arc::new(move |user: &mut GooseUser| {
            // Goose does not wait for those it ends: their seats may become free only now.
            if user.get_session_data::<Seat>().is_none()
                && let Some(seat) = seats.take()
            {
                user.set_session_data(seat);
            }
            let seat = user.get_session_data::<Seat>().copied();
            let (seats, over) = (Arc::clone(&seats), over.clone());
            Box::pin(async move {
                match seat {
                    Some(seat) if !over.is_cancelled() && seats.wish(seat, Wish::Perform).await => {}
                    _ => sleep(Duration::from_millis(10)).await,
                }
                Ok(())
            })
        })
    }

    fn departure(&self) -> TransactionFunction {
        let seats = Arc::clone(&self.seats);
        Arc::new(move |user: &mut GooseUser| {
            let seat = user.get_session_data::<Seat>().copied();
            let seats = Arc::clone(&seats);
            Box::pin(async move {
                if let Some(seat) = seat {
                    seats.wish(seat, Wish::Leave).await;
                    seats.give_back(seat);
                }
                Ok(())
            })
        })
    }

    /// Ends the attack; Goose looks at its killswitch twice a second.
    pub(super) async fn stop(mut self) {
        self.over.cancel();
        if let Some(running) = self.running.take() {
            goose::trigger_killswitch("the load is over");
            let abort = running.abort_handle();
            if timeout(Duration::from_secs(3), running).await.is_err() {
                abort.abort();
            }
        }
    }
}

/// Keeps stdout free while it lives: Goose prints a line when the users of a test
/// plan are there, whatever it was told, and stdout is for the result.
#[derive(Debug)]
struct QuietStdout(OwnedFd);

impl QuietStdout {
    fn new() -> io::Result<Self> {
        io::stdout().flush()?;
        let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        Ok(Self(kept))
    }
}

impl Drop for QuietStdout {
    fn drop(&mut self) {
        // Should it fail there is no place left to say so.
        let _ = rustix::stdio::dup2_stdout(&self.0);
    }
}

/// Takes the place of the logger that Goose would install.
fn silence() {
    struct Silent;
    impl log::Log for Silent {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    // Fails where a logger is set already, which then is not Goose's either.
    let _ = log::set_logger(&Silent);
}
