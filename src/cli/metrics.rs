//! The figures of a run under way, for Prometheus to fetch (`--metrics-listen`).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use tokio::net::TcpListener;

use super::exit::Failure;
use crate::{executor::Event, recorder::Snapshot};

/// The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is known so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    phase: Phase,
    elapsed: Duration,
    snapshot: Snapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Preparing,
    WarmUp,
    Measuring,
    Draining,
}

impl Phase {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Preparing, "preparing"),
        (Self::WarmUp, "warm_up"),
        (Self::Measuring, "measuring"),
        (Self::Draining, "draining"),
    ];
}

impl Metrics {
    /// Serves them at `/metrics` for as long as the runtime lasts; where it listens.
    pub(super) async fn serve(&self, listen: SocketAddr) -> Result<SocketAddr, Failure> {
        let unusable = |error| Failure::usage(format!("--metrics-listen {listen}: {error}; choose another address"));
        let listener = TcpListener::bind(listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let metrics = self.clone();
        let answer = move || async move { ([(CONTENT_TYPE, TEXT)], metrics.text()) };
        let router = Router::new().route("/metrics", get(answer));
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(address)
    }

    /// Hears of the run.
    pub(super) fn look(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Counting | Event::Epoch(..) | Event::Trying(_) => state.phase = Phase::Preparing,
            Event::WarmUp => state.phase = Phase::WarmUp,
            Event::Began => state.phase = Phase::Measuring,
            Event::Progress { elapsed, snapshot } => {
                state.elapsed = elapsed;
                state.snapshot = snapshot;
            }
            Event::Ended => state.phase = Phase::Draining,
        }
    }

    fn text(&self) -> String {
        let State {
            phase,
            elapsed,
            snapshot,
        } = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (labels, value) in samples {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let operations = [
            ("{outcome=\"completed\"}".to_owned(), snapshot.completed as f64),
            ("{outcome=\"failed\"}".to_owned(), snapshot.failed as f64),
        ];
        family(
            "loadgate_operations_total",
            "counter",
            "Operations that ended in the measured window.",
            &operations,
        );
        let quantiles = [("0.5", snapshot.p50), ("0.99", snapshot.p99), ("1", snapshot.max)];
        let quantiles: Vec<(String, f64)> = quantiles
            .into_iter()
            .filter_map(|(quantile, ns)| Some((format!("{{quantile=\"{quantile}\"}}"), ns? / 1e9)))
            .collect();
        family(
            "loadgate_response_time_seconds",
            "gauge",
            "Response times of all steps so far.",
            &quantiles,
        );
        let elapsed = [(String::new(), elapsed.as_secs_f64())];
        family(
            "loadgate_elapsed_seconds",
            "gauge",
            "How long the window of load has lasted.",
            &elapsed,
        );
        let phases = Phase::ALL.map(|(one, name)| (format!("{{phase=\"{name}\"}}"), f64::from(u8::from(one == phase))));
        family(
            "loadgate_phase",
            "gauge",
            "What the run is doing: 1 for the phase it is in.",
            &phases,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_heard_last() {
        let metrics = Metrics::default();
        assert!(metrics.text().contains("loadgate_phase{phase=\"preparing\"} 1\n"));
        metrics.look(Event::Began);
        metrics.look(Event::Progress {
            elapsed: Duration::from_millis(2500),
            snapshot: Snapshot {
                completed: 12,
                failed: 3,
                p50: Some(2e6),
                p99: None,
                max: Some(5e7),
            },
        });
        let text = metrics.text();
        for line in [
            "loadgate_operations_total{outcome=\"completed\"} 12",
            "loadgate_operations_total{outcome=\"failed\"} 3",
            "loadgate_response_time_seconds{quantile=\"0.5\"} 0.002",
            "loadgate_response_time_seconds{quantile=\"1\"} 0.05",
            "loadgate_elapsed_seconds 2.5",
            "loadgate_phase{phase=\"measuring\"} 1",
            "loadgate_phase{phase=\"preparing\"} 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        assert!(!text.contains("0.99"), "{text}");
    }
}
