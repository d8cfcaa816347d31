//! The line that shows how far a run is; only on a terminal.

use std::{cell::Cell, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::print::Console;
use crate::{
    executor::Event,
    units::{format_ns, group_thousands},
    workload::{End, Workload},
};

/// A progress bar on stderr, or lines of a structured log.
pub(super) struct Progress<'c> {
    console: &'c Console,
    bar: ProgressBar,
    /// The one that lasts, where there are variants.
    epoch: Cell<Option<u32>>,
}

impl<'c> Progress<'c> {
    pub(super) fn new(workload: &Workload, console: &'c Console) -> Self {
        let length = match workload.load.end {
            End::After(duration) => duration.as_secs(),
            End::Passes(passes) => passes,
        };
        let target = if console.live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(length.max(1)), target);
        if let Ok(style) = ProgressStyle::with_template(" {elapsed_precise} {bar:32} {msg}") {
            bar.set_style(style.progress_chars("█░░"));
        }
        bar.set_message("preparing");
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            console,
            bar,
            epoch: Cell::new(None),
        }
    }

    pub(super) fn show(&self, event: Event, end: End) {
        self.log(event);
        match event {
            Event::Trying(rate) => self
                .bar
                .println(format!("trying {}/s", group_thousands(rate.round() as i64))),
            Event::Counting => self.bar.set_message("counting"),
            Event::Epoch(number, of) => {
                self.epoch.set(Some(number));
                self.bar.set_length(u64::from(of));
                self.bar.set_position(u64::from(number - 1));
                self.bar.set_message(format!("epoch {number} of {of}: preparing"));
            }
            Event::WarmUp => self.bar.set_message("warming up"),
            Event::Began if self.epoch.get().is_none() => {
                self.bar.reset();
                self.bar.set_message("measuring");
            }
            Event::Began => {}
            Event::Progress { elapsed, snapshot } => {
                let done = snapshot.completed + snapshot.failed;
                match (end, self.epoch.get()) {
                    // The bar shows epochs.
                    (_, Some(_)) => {}
                    (End::Passes(_), None) => self.bar.set_position(done),
                    (End::After(_), None) => self.bar.set_position(elapsed.as_secs()),
                }
                let epoch = self
                    .epoch
                    .get()
                    .map_or_else(String::new, |epoch| format!("epoch {epoch}  "));
                let left = self.left(end, elapsed);
                let left = left.map_or_else(String::new, |left| format!("{} left  ", clock(left)));
                let time = |ns: Option<f64>| ns.map_or("–".into(), format_ns);
                self.bar.set_message(format!(
                    "{left}{epoch}{} done  errors {}  p50 {}  p99 {}  max {}",
                    group_thousands(done as i64),
                    snapshot.failed,
                    time(snapshot.p50),
                    time(snapshot.p99),
                    time(snapshot.max),
                ));
            }
            Event::Ended => self.bar.set_message("draining"),
        }
    }

    /// How long it takes yet: known where the window has a length, else judged by what was done so far.
    fn left(&self, end: End, elapsed: Duration) -> Option<Duration> {
        match (end, self.epoch.get()) {
            (End::After(window), None) => Some(window.saturating_sub(elapsed)),
            _ => Some(self.bar.eta()).filter(|eta| !eta.is_zero()),
        }
    }

    fn log(&self, event: Event) {
        let micros = |ns: Option<f64>| ns.map(|ns| ns / 1e3);
        let (name, fields) = match event {
            Event::Counting => ("counting", json!({})),
            Event::Epoch(number, of) => ("epoch", json!({ "number": number, "of": of })),
            Event::Trying(rate) => ("trying", json!({ "rate_per_s": rate })),
            Event::WarmUp => ("warm_up", json!({})),
            Event::Began => ("began", json!({})),
            Event::Progress { elapsed, snapshot } => (
                "progress",
                json!({
                    "elapsed_s": elapsed.as_secs_f64(),
                    "completed": snapshot.completed,
                    "failed": snapshot.failed,
                    "p50_us": micros(snapshot.p50),
                    "p99_us": micros(snapshot.p99),
                    "max_us": micros(snapshot.max),
                }),
            ),
            Event::Ended => ("ended", json!({})),
        };
        self.console.event(name, fields);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `1:05`, `2:00:00`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_reads_like_a_clock() {
        let seconds = Duration::from_secs;
        assert_eq!(
            [seconds(0), seconds(65), seconds(7200), Duration::from_millis(1)].map(clock),
            ["0:00", "1:05", "2:00:00", "0:01"]
        );
    }
}
