//! Ends what takes too long without a timer per operation.
//!
//! A timer of tokio that is made and dropped with each operation costs more than
//! its bookkeeping: where no other timer is due earlier, it wakes the thread's
//! driver by a system call. Here one alarm lives as long as the session; it
//! rings at or before the deadline at hand and is then set anew.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The alarm of one session.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Runs the future until it ends or `limit` has passed since `start`; then `None`.
    pub(super) async fn within<F: Future>(&mut self, start: Instant, limit: Duration, future: F) -> Option<F::Output> {
        let deadline = start + limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline || alarm.is_elapsed() {
            alarm.as_mut().reset(deadline);
        }
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            while alarm.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                // It rang for an earlier operation.
                alarm.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_operation_has_its_own_limit_however_the_alarm_was_set() {
        let mut deadline = Deadline::default();
        for (limit, takes, ends) in [
            (10 * SECOND, SECOND, true),
            // The alarm is set for the first; it must ring earlier for this one,
            (SECOND, 2 * SECOND, false),
            // and later for this one.
            (10 * SECOND, 9 * SECOND, true),
            (10 * SECOND, 11 * SECOND, false),
            (SECOND, Duration::ZERO, true),
        ] {
            let start = Instant::now();
            let ended = deadline.within(start, limit, sleep(takes)).await.is_some();
            assert_eq!(ended, ends, "{limit:?} {takes:?}");
            let spent = start.elapsed();
            // tokio's timers tick at one millisecond.
            assert!(
                spent >= takes.min(limit) && spent <= takes.min(limit) + Duration::from_millis(2),
                "{spent:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_time_left_ends_at_once() {
        let mut deadline = Deadline::default();
        let start = Instant::now();
        sleep(SECOND).await;
        assert!(deadline.within(start, SECOND / 2, pending::<()>()).await.is_none());
        assert_eq!(start.elapsed().as_millis(), 1000);
    }
}
