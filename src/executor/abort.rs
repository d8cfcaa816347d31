//! Ends a hopeless run early: conditions looked at once for every second that has passed.

use crate::{
    metric::{Better, Measure, Span},
    recorder::{Second, StepSecond},
    run::Latency,
    workload::AbortWhen,
};

/// The conditions of a run, and for how many seconds each has been broken.
#[derive(Debug)]
pub(super) struct Aborts<'w> {
    conditions: Vec<(&'w AbortWhen, u64)>,
}

impl<'w> Aborts<'w> {
    pub(super) fn new(conditions: &'w [AbortWhen]) -> Self {
        Self {
            conditions: conditions.iter().map(|condition| (condition, 0)).collect(),
        }
    }

    /// Whether there is anything to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Looks at the next second; the condition that ends the run, if one does.
    pub(super) fn look(&mut self, second: &Second) -> Option<&'w AbortWhen> {
        for (condition, broken_for) in &mut self.conditions {
            // A second without samples mends nothing; it counts once the condition is broken.
            if let Some(value) = value(condition, second) {
                let broken = match condition.metric.better {
                    Better::Lower => value > condition.limit,
                    Better::Higher => value < condition.limit,
                };
                *broken_for = if broken { *broken_for + 1 } else { 0 };
            } else if *broken_for > 0 {
                *broken_for += 1;
            }
            if *broken_for as f64 >= condition.lasting.as_secs_f64() && *broken_for > 0 {
                return Some(condition);
            }
        }
        None
    }
}

/// The value of the condition's metric in one second.
fn value(condition: &AbortWhen, second: &Second) -> Option<f64> {
    let steps = || {
        let wanted = |index: usize| condition.step.is_none_or(|step| step == index);
        second
            .steps
            .iter()
            .enumerate()
            .filter(move |(index, _)| wanted(*index))
            .map(|(_, step)| step)
    };
    let sum = |count: fn(&StepSecond) -> u64| steps().map(count).sum::<u64>();
    match condition.metric.measure {
        Measure::Latency(span, statistic) => {
            let mut all = Latency::new();
            for step in steps() {
                all.add(match span {
                    Span::ResponseTime => &step.response_time,
                    Span::ServiceTime => &step.service_time,
                });
            }
            all.statistic(statistic)
        }
        Measure::ErrorRate => {
            let (failed, completed) = (sum(|step| step.failed), sum(|step| step.completed));
            (failed + completed > 0).then(|| failed as f64 / (failed + completed) as f64)
        }
        Measure::Throughput => Some(sum(|step| step.completed) as f64),
        // What was due in this second and did not start in it.
        Measure::DroppedRate => {
            let flows = &second.flows;
            (flows.planned > 0).then(|| flows.planned.saturating_sub(flows.sent) as f64 / flows.planned as f64)
        }
        Measure::HighestRate | Measure::CpuPerOperation | Measure::HitRatio | Measure::Counter(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{metric, recorder::FlowCounts};

    fn condition(metric: &str, limit: f64) -> AbortWhen {
        AbortWhen {
            step: None,
            metric: metric::find(metric).unwrap(),
            limit,
            lasting: Duration::from_secs(3),
            text: String::new(),
        }
    }

    fn second(completed: u64, failed: u64, sent: u64) -> Second {
        let mut response_time = Latency::new();
        (0..completed + failed).for_each(|_| response_time.record(5_000_000));
        Second {
            k: 0,
            flows: FlowCounts {
                planned: 100,
                sent,
                ..FlowCounts::default()
            },
            steps: vec![StepSecond {
                completed,
                failed,
                service_time: response_time.clone(),
                response_time,
            }],
        }
    }

    fn ends_after(condition: &AbortWhen, seconds: &[Second]) -> Option<usize> {
        let mut aborts = Aborts::new(std::slice::from_ref(condition));
        seconds.iter().position(|second| aborts.look(second).is_some())
    }

    #[test]
    fn a_condition_must_be_broken_in_every_second_of_its_time() {
        let (bad, good, silent) = (|| second(40, 60, 100), || second(100, 0, 100), || second(0, 0, 100));
        let errors = condition("error_rate", 0.5);
        assert_eq!(ends_after(&errors, &[bad(), bad(), bad(), bad()]), Some(2));
        assert_eq!(ends_after(&errors, &[bad(), bad(), good(), bad(), bad()]), None);
        assert_eq!(ends_after(&errors, &[silent(), bad(), silent(), silent()]), Some(3));
    }

    #[test]
    fn every_kind_of_metric_can_end_a_run() {
        let seconds = || [second(10, 0, 40), second(10, 0, 40), second(10, 0, 40)];
        assert_eq!(ends_after(&condition("p99", 4e6), &seconds()), Some(2));
        assert_eq!(ends_after(&condition("service_max", 6e6), &seconds()), None);
        assert_eq!(ends_after(&condition("throughput", 11.0), &seconds()), Some(2));
        assert_eq!(ends_after(&condition("dropped_rate", 0.5), &seconds()), Some(2));
        let nothing = || [second(0, 0, 0), second(0, 0, 0), second(0, 0, 0)];
        assert_eq!(
            ends_after(&condition("throughput", 1.0), &nothing()),
            Some(2),
            "a target that never answers"
        );
    }
}
