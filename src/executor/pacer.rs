//! Waiting until an exact moment. tokio's timers tick at one millisecond, which
//! would show in every latency; a timerfd does not.
//!
//! An expiry interrupts the processor, which a virtual machine pays dearly for:
//! 20 µs and more have been measured. A thread that is awake needs none to see
//! that a moment has come, so a [`Pacer::of_thread`] sets its timer only when
//! the thread is about to sleep.

use tokio::time::{Instant, sleep_until};

/// Makes the calling thread wake up when it asked to: no timer slack (the kernel
/// may delay a wake-up by 50 µs otherwise), and before others where that is
/// allowed. A generator that uses little CPU disturbs nobody by being prompt.
pub(super) fn prompt_thread() {
    #[cfg(target_os = "linux")]
    {
        // Where either is refused the send lag will show it.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let _ = rustix::process::setpriority_process(None, -10);
    }
}

/// To be called when a runtime's thread is about to sleep: sets what
/// [`Pacer::of_thread`] waits for.
pub(super) fn before_sleep() {
    #[cfg(target_os = "linux")]
    alarm::before_sleep();
}

/// A precise timer of one task; falls back to tokio's where there is no timerfd.
#[derive(Debug)]
pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<Timer>,
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
enum Timer {
    OfTask(timerfd::Timer),
    OfThread,
}

impl Pacer {
    /// A precise timer. Needs a running tokio runtime.
    pub fn precise() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd::Timer::new().ok().map(Timer::OfTask),
        }
    }

    /// The precise timer of a task that is polled whenever its thread has done something,
    /// on a runtime whose threads call [`before_sleep`]. One per thread.
    pub(super) fn of_thread() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: alarm::start().ok().map(|()| Timer::OfThread),
        }
    }

    /// tokio's timer: obeys a paused clock, ticks at one millisecond.
    pub fn coarse() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: None,
        }
    }

    /// Returns at that moment, or at once if it has passed.
    pub async fn until(&mut self, moment: Instant) {
        let wait = moment.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return;
        }
        #[cfg(target_os = "linux")]
        {
            let slept = match &mut self.timer {
                Some(Timer::OfTask(timer)) => timer.sleep(wait).await.is_ok(),
                Some(Timer::OfThread) => alarm::until(moment).await.is_ok(),
                None => false,
            };
            if slept {
                return;
            }
        }
        sleep_until(moment).await;
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use std::{
        cell::RefCell,
        future::poll_fn,
        io,
        task::{Context, Poll, Waker, ready},
        time::Duration,
    };

    use tokio::time::Instant;

    use super::timerfd;

    /// The alarm does not ring sooner after what was last waited for: at a high rate a
    /// wake-up for each arrival would cost more than what it is for. It shows in the
    /// send lag, unless something else wakes the thread.
    const SHORTEST_SLEEP: Duration = Duration::from_micros(100);

    thread_local! {
        static OF_THREAD: RefCell<Option<Alarm>> = const { RefCell::new(None) };
    }

    /// A timer that is set when its thread is about to sleep.
    struct Alarm {
        timer: timerfd::Timer,
        /// What is waited for, and by whom.
        wanted: Option<(Instant, Waker)>,
        /// When the timer rings, if it is set.
        set_for: Option<Instant>,
        /// When the last wait was over.
        rested: Instant,
    }

    /// Gives the thread its alarm.
    pub(super) fn start() -> io::Result<()> {
        OF_THREAD.set(Some(Alarm {
            timer: timerfd::Timer::new()?,
            wanted: None,
            set_for: None,
            rested: Instant::now(),
        }));
        Ok(())
    }

    pub(super) async fn until(moment: Instant) -> io::Result<()> {
        poll_fn(|context| {
            OF_THREAD.with_borrow_mut(|alarm| match alarm {
                Some(alarm) => alarm.poll(moment, context),
                None => Poll::Ready(Err(io::ErrorKind::NotFound.into())),
            })
        })
        .await
    }

    pub(super) fn before_sleep() {
        OF_THREAD.with_borrow_mut(|alarm| {
            if let Some(alarm) = alarm {
                alarm.set();
            }
        });
    }

    impl Alarm {
        fn poll(&mut self, moment: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            loop {
                let now = Instant::now();
                if now >= moment {
                    self.rested = now;
                    self.wanted = None;
                    return Poll::Ready(Ok(()));
                }
                self.wanted = Some((moment, context.waker().clone()));
                let rung = ready!(self.timer.poll_rung(context));
                self.set_for = None;
                if rung.is_err() {
                    return Poll::Ready(rung);
                }
            }
        }

        fn set(&mut self) {
            let Some((moment, waker)) = &self.wanted else { return };
            let moment = (*moment).max(self.rested + SHORTEST_SLEEP);
            if self.set_for == Some(moment) {
                return;
            }
            let wait = moment.saturating_duration_since(Instant::now());
            // Without a wait the timer would never ring.
            if wait.is_zero() || self.timer.set(wait).is_err() {
                waker.wake_by_ref();
            } else {
                self.set_for = Some(moment);
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    use std::{
        io,
        os::fd::OwnedFd,
        task::{Context, Poll, ready},
        time::Duration,
    };

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::{Interest, unix::AsyncFd};

    /// See timerfd_create(2).
    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let fd = timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
            )?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe; an OwnedFd cannot be closed behind its back"
            )]
            AsyncFd::with_interest(fd, Interest::READABLE).map(Self)
        }

        pub(super) async fn sleep(&mut self, wait: Duration) -> io::Result<()> {
            self.set(wait)?;
            std::future::poll_fn(|context| self.poll_rung(context)).await
        }

        /// Makes it ring after that time, and forget a ring that nobody heard.
        pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: wait.as_secs() as i64,
                    tv_nsec: i64::from(wait.subsec_nanos()),
                },
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }

        /// Ready once for each ring.
        pub(super) fn poll_rung(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            loop {
                let mut ready = ready!(self.0.poll_read_ready(context))?;
                let mut expirations = [0; 8];
                match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut expirations).map_err(io::Error::from)) {
                    Ok(read) => {
                        // Read once, it has nothing more: the next wait need not try.
                        ready.clear_ready();
                        return Poll::Ready(read.map(|_| ()));
                    }
                    Err(_would_block) => {}
                }
            }
        }
    }
}
