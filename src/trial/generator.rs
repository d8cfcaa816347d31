//! What the generator itself used, over one window of load or several.

use crate::{executor::Event, observer::ProcessClock, run::Generator};

/// Follows windows of load as they come and go.
#[derive(Default)]
pub(super) struct Watched {
    clock: Option<ProcessClock>,
    windows: Vec<Generator>,
}

impl Watched {
    pub(super) fn look(&mut self, event: Event) {
        match event {
            Event::Began => self.clock = Some(ProcessClock::start()),
            Event::Ended => self.windows.extend(self.clock.take().map(|clock| clock.stop())),
            Event::Counting | Event::Epoch(..) | Event::Trying(_) | Event::WarmUp | Event::Progress { .. } => {}
        }
    }

    /// Of all windows together: sums, averages over time, and the highest counts.
    pub(super) fn generator(&self) -> Generator {
        let Some(last) = self.windows.last() else {
            return Generator::default();
        };
        let wall_s: f64 = self.windows.iter().map(|window| window.wall_s).sum();
        let average = |share: fn(&Generator) -> Option<f64>| {
            let weighted: Option<Vec<f64>> = self
                .windows
                .iter()
                .map(|window| Some(share(window)? * window.wall_s))
                .collect();
            weighted
                .filter(|_| wall_s > 0.0)
                .map(|shares| shares.iter().sum::<f64>() / wall_s)
        };
        Generator {
            cpu_s: self.windows.iter().map(|window| window.cpu_s).sum(),
            wall_s,
            steal_share: average(|window| window.steal_share),
            pressure_share: average(|window| window.pressure_share),
            throttled_share: average(|window| window.throttled_share),
            open_files: self.windows.iter().filter_map(|window| window.open_files).max(),
            ..*last
        }
    }
}
