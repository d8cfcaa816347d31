//! The line that shows how far a run is; only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::print::Console;
use crate::{
    executor::Event,
    units::{format_ns, group_thousands},
    workload::{End, Workload},
};

/// A progress bar on stderr.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(workload: &Workload, console: &Console) -> Self {
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
        Self { bar }
    }

    pub(super) fn show(&self, event: Event, end: End) {
        match event {
            Event::Trying(rate) => self
                .bar
                .println(format!("trying {}/s", group_thousands(rate.round() as i64))),
            Event::WarmUp => self.bar.set_message("warming up"),
            Event::Began => {
                self.bar.reset();
                self.bar.set_message("measuring");
            }
            Event::Progress { elapsed, snapshot } => {
                let done = snapshot.completed + snapshot.failed;
                self.bar.set_position(if let End::Passes(_) = end {
                    done
                } else {
                    elapsed.as_secs()
                });
                let time = |ns: Option<f64>| ns.map_or("–".into(), format_ns);
                self.bar.set_message(format!(
                    "{} done  errors {}  p50 {}  p99 {}  max {}",
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

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
