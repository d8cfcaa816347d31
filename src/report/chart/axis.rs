//! Scales and their ticks: 1-2-5 steps, logarithms, percentiles, time.
//!
//! Pure arithmetic between values and pixels; knows nothing of drawing.

use crate::units::{self, Unit};

/// How values map to a stretch of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Evenly.
    Linear {
        /// Value at the start.
        low: f64,
        /// Value at the end.
        high: f64,
    },
    /// By their logarithm; `low` is above 0.
    Log {
        /// Value at the start.
        low: f64,
        /// Value at the end.
        high: f64,
    },
}

impl Scale {
    /// The value at the end.
    pub(super) fn high(self) -> f64 {
        match self {
            Self::Linear { high, .. } | Self::Log { high, .. } => high,
        }
    }

    /// Where a value lies between the start (0) and the end (1); values outside stick to the border.
    pub(super) fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// The value it stands at.
    pub(super) value: f64,
    /// What is written there.
    pub(super) label: String,
}

/// A scale with its ticks and the name of its unit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// How values map.
    pub(super) scale: Scale,
    /// In order of value.
    pub(super) ticks: Vec<Tick>,
    /// What the values are.
    pub(super) title: String,
}

impl Axis {
    /// Lets its low end stand for nothing at all, as no logarithm does: below the smallest value that is there
    /// it has no other tick.
    pub(super) fn begin_at_nothing(&mut self, smallest: f64) {
        self.ticks.retain(|tick| tick.value >= smallest);
        let nothing = Tick {
            value: f64::MIN_POSITIVE,
            label: "0".into(),
        };
        self.ticks.insert(0, nothing);
    }
}

/// The largest of 1, 2, 5 × 10ⁿ that is not above a value.
fn floor_125(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    steps
        .into_iter()
        .find(|step| *step <= value * (1.0 + 1e-9))
        .unwrap_or(decade)
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below a value.
fn ceil_125(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps
        .into_iter()
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(10.0 * decade)
}

/// Values from zero to at least `highest`, with at most seven ticks.
fn from_zero(highest: f64) -> (Scale, Vec<f64>) {
    // So little that no step can be a part of it is nothing.
    let highest = if highest.is_finite() && highest > 1e-300 {
        highest
    } else {
        1.0
    };
    let step = ceil_125(highest * 1.03 / 6.0);
    let count = (highest * 1.03 / step).ceil() as usize;
    (
        Scale::Linear {
            low: 0.0,
            high: step * count as f64,
        },
        (0..=count).map(|n| step * n as f64).collect(),
    )
}

/// The 1-2-5 values between two of them, thinned to decades where they are many.
fn log_values(low: f64, high: f64) -> Vec<f64> {
    let mut all = vec![low];
    while let Some(last) = all.last().copied().filter(|last| *last < high * (1.0 - 1e-9)) {
        all.push(ceil_125(last * 1.01));
    }
    let decade = |value: &f64| (value.log10() - value.log10().round()).abs() < 1e-6;
    if all.len() > 13 {
        all.into_iter().filter(decade).collect()
    } else {
        all
    }
}

/// An axis of latencies in nanoseconds: logarithmic when the largest is more than
/// twenty times the typical one, otherwise from zero; one unit throughout.
pub(super) fn latency(typical: f64, lowest: f64, highest: f64) -> Axis {
    // Without any value: an empty scale that still looks like one of latencies.
    let highest = if highest > 0.0 { highest } else { 1e6 };
    let logarithmic = lowest > 0.0 && typical > 0.0 && highest / typical > 20.0;
    if logarithmic {
        return latency_by(log_scale(lowest, highest), typical);
    }
    latency_by(from_zero(highest), highest)
}

/// An axis of latencies in nanoseconds that is always logarithmic.
pub(super) fn latency_log(lowest: f64, highest: f64) -> Axis {
    let lowest = lowest.max(1.0);
    latency_by(log_scale(lowest, highest.max(1.01 * lowest)), (lowest * highest).sqrt())
}

fn log_scale(lowest: f64, highest: f64) -> (Scale, Vec<f64>) {
    let (low, high) = (floor_125(lowest), ceil_125(highest));
    (Scale::Log { low, high }, log_values(low, high))
}

/// In the unit that suits a typical latency.
fn latency_by((scale, values): (Scale, Vec<f64>), typical: f64) -> Axis {
    let logarithmic = matches!(scale, Scale::Log { .. });
    let (divisor, unit) = match typical {
        ns if ns < 1e3 => (1.0, "ns"),
        ns if ns < 1e6 => (1e3, "µs"),
        ns if ns < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let ticks = values
        .into_iter()
        .map(|value| Tick {
            value,
            label: tick_label(value / divisor),
        })
        .collect();
    Axis {
        scale,
        ticks,
        title: format!("{unit}{}", if logarithmic { ", log scale" } else { "" }),
    }
}

/// An axis of rates per second, from zero.
pub(super) fn rate(highest: f64) -> Axis {
    number(highest, "flows per second")
}

/// An axis of plain numbers of something, from zero.
pub(super) fn number(highest: f64, title: &str) -> Axis {
    let (scale, values) = from_zero(highest);
    let ticks = values
        .into_iter()
        .map(|value| Tick {
            value,
            label: tick_label(value),
        })
        .collect();
    Axis {
        scale,
        ticks,
        title: title.into(),
    }
}

/// An axis of plain numbers above zero, logarithmic.
pub(super) fn number_log(lowest: f64, highest: f64) -> Axis {
    let lowest = lowest.max(f64::MIN_POSITIVE);
    let (scale, values) = log_scale(lowest, highest.max(2.0 * lowest));
    let label = |value: f64| Tick {
        value,
        label: tick_label(value),
    };
    Axis {
        scale,
        ticks: values.into_iter().map(label).collect(),
        title: String::new(),
    }
}

/// An axis of shares from zero, in per cent.
pub(super) fn share(highest: f64) -> Axis {
    let (scale, values) = from_zero(highest);
    let tick = |value: f64| Tick {
        value,
        label: format!("{} %", tick_label(100.0 * value)),
    };
    Axis {
        scale,
        ticks: values.into_iter().map(tick).collect(),
        title: "share of operations".into(),
    }
}

/// An axis of changes as shares, as far to the worse as to the better.
pub(super) fn change(reach: f64) -> Axis {
    let step = ceil_125(reach / 5.0);
    let count = (reach / step * (1.0 + 1e-9)).floor() as i64;
    let tick = |n: i64| Tick {
        value: step * n as f64,
        label: match n {
            0 => "0".into(),
            n => format!(
                "{}{} %",
                if n > 0 { "+" } else { "−" },
                tick_label(100.0 * step * n.abs() as f64)
            ),
        },
    };
    Axis {
        scale: Scale::Linear {
            low: -reach,
            high: reach,
        },
        ticks: (-count..=count).map(tick).collect(),
        title: String::new(),
    }
}

/// An axis that need not begin at zero, with about five ticks in the unit of a metric.
pub(super) fn between(low: f64, high: f64, unit: Unit) -> Axis {
    let high = if high > low { high } else { low + 1.0 };
    let step = ceil_125((high - low) / 5.0);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    let value = |n: i64| step * n as f64;
    Axis {
        scale: Scale::Linear {
            low: value(first),
            high: value(last),
        },
        ticks: (first..=last)
            .map(|n| Tick {
                value: value(n),
                label: unit.format(value(n)),
            })
            .collect(),
        title: String::new(),
    }
}

/// Seconds since the start of the measured window, labelled in a unit that suits their number.
pub(super) fn time(end_s: f64) -> Axis {
    let end_s = end_s.max(1e-3);
    let (unit_s, name) = match end_s {
        s if s < 600.0 => (1.0, "seconds"),
        s if s < 4.0 * 3600.0 => (60.0, "minutes"),
        _ => (3600.0, "hours"),
    };
    let step = ceil_125(end_s / unit_s / 10.0);
    let count = (end_s / unit_s / step * (1.0 + 1e-9)).floor() as usize;
    let tick = |n: usize| Tick {
        value: step * n as f64 * unit_s,
        label: tick_label(step * n as f64),
    };
    Axis {
        scale: Scale::Linear { low: 0.0, high: end_s },
        ticks: (0..=count).map(tick).collect(),
        title: format!("{name} since the start of the measured window"),
    }
}

/// Percentiles p as 1/(1−p), logarithmic, from 0 % to where one of `count` operations lies beyond.
pub(super) fn percentile(count: u64) -> Axis {
    let high = (count as f64).max(20.0);
    let mut ticks = vec![
        (1.0, "0 %".to_owned()),
        (2.0, "50 %".into()),
        (10.0, "90 %".into()),
        (20.0, "95 %".into()),
    ];
    let nines = (2..=12)
        .map(|n: i32| (10f64.powi(n), nines_label(n)))
        .take_while(|(value, _)| *value <= high);
    ticks.extend(nines);
    Axis {
        scale: Scale::Log { low: 1.0, high },
        ticks: ticks.into_iter().map(|(value, label)| Tick { value, label }).collect(),
        title: "share of operations that were at most this slow".into(),
    }
}

/// `99 %` for 2, `99.9 %` for 3, and so on.
fn nines_label(nines: i32) -> String {
    let digits = (nines - 2).max(0) as usize;
    format!("{:.digits$} %", 100.0 - 100.0 / 10f64.powi(nines))
}

fn tick_label(value: f64) -> String {
    if value == 0.0 {
        "0".into()
    } else {
        units::significant(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_go_in_steps_of_one_two_five() {
        assert_eq!(labels(&rate(180.0)), ["0", "50", "100", "150", "200"]);
        assert_eq!(labels(&rate(0.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]);
        assert_eq!(labels(&time(21.0)), ["0", "5", "10", "15", "20"]);
        assert_eq!(time(7200.0).title, "minutes since the start of the measured window");
    }

    #[test]
    fn an_axis_between_two_values_holds_both() {
        let axis = between(19.3e6, 26.1e6, Unit::Ns);
        assert_eq!(labels(&axis), ["18 ms", "20 ms", "22 ms", "24 ms", "26 ms", "28 ms"]);
        assert_eq!(
            labels(&between(0.0, 0.0, Unit::Count)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
    }

    #[test]
    fn latencies_are_logarithmic_only_where_the_tail_needs_room() {
        let near = latency(20e6, 5e6, 90e6);
        assert_eq!(
            (near.scale, near.title.as_str()),
            (Scale::Linear { low: 0.0, high: 100e6 }, "ms")
        );
        let far = latency(20e6, 1e6, 900e6);
        assert_eq!(far.scale, Scale::Log { low: 1e6, high: 1e9 });
        assert_eq!(
            labels(&far),
            ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1,000"]
        );
        assert_eq!(
            labels(&latency(20e6, 1e3, 9e9)),
            ["0.001", "0.01", "0.1", "1", "10", "100", "1,000", "10,000"]
        );
    }

    #[test]
    fn percentiles_are_spaced_by_how_many_lie_beyond() {
        let axis = percentile(12_000);
        assert_eq!(
            labels(&axis),
            ["0 %", "50 %", "90 %", "95 %", "99 %", "99.9 %", "99.99 %"]
        );
        let decade = axis.scale.share(100.0) - axis.scale.share(10.0);
        assert!((axis.scale.share(1000.0) - axis.scale.share(100.0) - decade).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_a_place_on_a_logarithmic_axis_and_it_is_its_low_end() {
        for highest in [150.0, 40_000.0] {
            let mut axis = number_log(23.2 / 5.0, highest);
            axis.begin_at_nothing(23.2);
            assert_eq!(
                (axis.scale.share(0.0), axis.scale.share(axis.ticks[0].value)),
                (0.0, 0.0)
            );
            assert_eq!(axis.ticks[0].label, "0");
            assert!(axis.ticks[1].value >= 23.2 && axis.ticks.len() > 2, "{axis:?}");
        }
    }

    #[test]
    fn nothing_outside_or_absurd_leaves_the_picture() {
        for scale in [
            Scale::Linear { low: 0.0, high: 0.0 },
            Scale::Log { low: 1.0, high: 1.0 },
            percentile(0).scale,
        ] {
            for value in [-1.0, 0.0, 1e300, f64::NAN, f64::INFINITY] {
                assert!((0.0..=1.0).contains(&scale.share(value)));
            }
        }
        assert!(latency(0.0, 0.0, 0.0).ticks.len() > 1);
        for highest in [5e-324, -1.0, f64::NAN, 1e308] {
            assert!((2..=8).contains(&number(highest, "").ticks.len()), "{highest}");
        }
    }
}
