//! Waiting until an exact moment. tokio's timers tick at one millisecond, which
//! would show in every latency; a timerfd does not.

use tokio::time::{Instant, sleep_until};

/// Makes the calling thread wake up when it asked to: no timer slack (the kernel
/// may delay a wake-up by 50 µs otherwise), and before others where that is
/// allowed. A generator that uses little CPU disturbs nobody by being prompt.
pub fn prompt_thread() {
    #[cfg(target_os = "linux")]
    {
        // Where either is refused the send lag will show it.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let _ = rustix::process::setpriority_process(None, -10);
    }
}

/// A precise timer of one task; falls back to tokio's where there is no timerfd.
#[derive(Debug)]
pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<timerfd::Timer>,
}

impl Pacer {
    /// A precise timer. Needs a running tokio runtime.
    pub fn precise() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            timer: timerfd::Timer::new().ok(),
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
        if let Some(timer) = &mut self.timer
            && timer.sleep(wait).await.is_ok()
        {
            return;
        }
        sleep_until(moment).await;
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    use std::{io, os::fd::OwnedFd, time::Duration};

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
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: wait.as_secs() as i64,
                    tv_nsec: i64::from(wait.subsec_nanos()),
                },
            };
            // Setting the timer also forgets an expiry that nobody read.
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            loop {
                let mut ready = self.0.readable().await?;
                let mut expirations = [0; 8];
                match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut expirations).map_err(io::Error::from)) {
                    Ok(read) => {
                        // Read once, it has nothing more: the next sleep need not try.
                        ready.clear_ready();
                        return read.map(|_| ());
                    }
                    Err(_would_block) => {}
                }
            }
        }
    }
}
