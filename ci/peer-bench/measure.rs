//! The measurement: CPU per operation as a slope, two contenders in turns.
//!
//! A run has a start and an end that cost the same however long it is, so the
//! cost is (CPU of a long run − CPU of a short run) / (operations of the one −
//! operations of the other). Knows nothing of the tools but their command lines.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::resource::{UsageWho, getrusage};

use super::{
    Failed,
    output::{Done, Read},
};

/// Set by an interrupt: measure nothing more.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The core of those who make load.
const CLIENT_CORE: &str = "0";

/// One way to make load.
pub(crate) struct Contender {
    /// In tables and pictures.
    pub(crate) name: String,
    /// Its command line for so many seconds.
    pub(crate) line: Box<dyn Fn(u32) -> Vec<String>>,
    /// Reads what it prints.
    pub(crate) read: Read,
    /// Operations per second that it is asked for, where it has not to do as many as it can.
    pub(crate) asked: Option<u64>,
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) pairs: u32,
    pub(crate) long: u32,
    pub(crate) short: u32,
}

/// What one contender cost in one pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Microseconds of CPU per operation.
    pub(crate) cpu_us: f64,
    /// Operations per second in the long run.
    pub(crate) per_s: f64,
}

/// Two contenders, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) ours: Cost,
    pub(crate) theirs: Cost,
}

/// All pairs of two contenders.
#[derive(Debug, Clone)]
pub(crate) struct Duel {
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// Their command lines for the long run.
    pub(crate) lines: [Vec<String>; 2],
    pub(crate) pairs: Vec<Pair>,
    /// Which of its own checks loadgate said were broken: once per run.
    pub(crate) doubts: Vec<String>,
    /// The throughput that was asked of us, where it was.
    pub(crate) asked: Option<u64>,
}

impl Duel {
    /// A figure over the pairs.
    pub(crate) fn spread(&self, of: impl Fn(&Pair) -> f64) -> Spread {
        Spread::of(self.pairs.iter().map(of).collect())
    }

    /// Our CPU per operation over theirs.
    pub(crate) fn cpu_ratio(&self) -> Spread {
        self.spread(|pair| pair.ours.cpu_us / pair.theirs.cpu_us)
    }

    /// Our throughput over theirs.
    pub(crate) fn rate_ratio(&self) -> Spread {
        self.spread(|pair| pair.ours.per_s / pair.theirs.per_s)
    }
}

/// The middle of several values, and how far they go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

/// One run: what it did, and the CPU seconds that it took, system and user.
#[derive(Debug, Clone, PartialEq)]
struct Measured {
    done: Done,
    cpu_s: f64,
}

/// The additional CPU per additional operation.
fn slope_us(short: &Measured, long: &Measured) -> Result<f64, Failed> {
    let operations = long.done.operations as f64 - short.done.operations as f64;
    let cpu_s = long.cpu_s - short.cpu_s;
    if operations > 0.0 && cpu_s > 0.0 {
        return Ok(cpu_s / operations * 1e6);
    }
    Err(format!(
        "the long run did {operations} operations more than the short one and took {cpu_s:.3} s CPU more: no cost follows"
    )
    .into())
}

/// Measures all pairs, the order reversed from each to the next: A B B A A B …
pub(crate) fn duel(
    ours: &Contender,
    theirs: &Contender,
    extent: Extent,
    directory: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<Duel, Failed> {
    let mut duel = Duel {
        ours: ours.name.clone(),
        theirs: theirs.name.clone(),
        lines: [(ours.line)(extent.long), (theirs.line)(extent.long)],
        pairs: Vec::new(),
        doubts: Vec::new(),
        asked: ours.asked,
    };
    for number in 0..extent.pairs {
        let mut cost = |contender: &Contender| cost(contender, extent, directory, &mut duel.doubts);
        let pair = if number.is_multiple_of(2) {
            let ours = cost(ours)?;
            let theirs = cost(theirs)?;
            Pair { ours, theirs }
        } else {
            let theirs = cost(theirs)?;
            let ours = cost(ours)?;
            Pair { ours, theirs }
        };
        say(&format!(
            "{} / {}, pair {} of {}: {:.2} / {:.2} µs CPU per operation, {:.0} / {:.0} per s",
            ours.name,
            theirs.name,
            number + 1,
            extent.pairs,
            pair.ours.cpu_us,
            pair.theirs.cpu_us,
            pair.ours.per_s,
            pair.theirs.per_s
        ));
        duel.pairs.push(pair);
    }
    Ok(duel)
}

fn cost(contender: &Contender, extent: Extent, directory: &Path, doubts: &mut Vec<String>) -> Result<Cost, Failed> {
    let name = |error: Failed| format!("{}: {error}", contender.name);
    let short = run(contender, extent.short, directory).map_err(name)?;
    let long = run(contender, extent.long, directory).map_err(name)?;
    doubts.extend(short.done.doubts.iter().chain(&long.done.doubts).cloned());
    Ok(Cost {
        cpu_us: slope_us(&short, &long).map_err(name)?,
        per_s: long.done.operations as f64 / long.done.seconds,
    })
}

/// Operations per second of one run, where only that is wanted.
pub(crate) fn rate(contender: &Contender, seconds: u32, directory: &Path) -> Result<f64, Failed> {
    let done = run(contender, seconds, directory)?.done;
    Ok(done.operations as f64 / done.seconds)
}

fn run(contender: &Contender, seconds: u32, directory: &Path) -> Result<Measured, Failed> {
    let line = (contender.line)(seconds);
    let mut command = Command::new("taskset");
    command
        .args(["-c", CLIENT_CORE])
        .args(&line)
        .current_dir(directory)
        .stdin(Stdio::null());
    without_postgres_variables(&mut command);
    let before = cpu_of_children()?;
    let output = command.output()?;
    let cpu_s = cpu_of_children()? - before;
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    (contender.read)(&text)
        .map(|done| Measured { done, cpu_s })
        .map_err(|reason| {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            format!("{reason} ({}; {last})", output.status).into()
        })
}

/// What libpq would otherwise take from the caller's environment.
pub(crate) fn without_postgres_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

/// CPU seconds of all children that have ended. Servers have not.
fn cpu_of_children() -> Result<f64, Failed> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(operations: u64, cpu_s: f64) -> Measured {
        Measured {
            done: Done {
                operations,
                seconds: 1.0,
                doubts: Vec::new(),
            },
            cpu_s,
        }
    }

    #[test]
    fn what_starting_costs_is_not_in_the_slope() {
        // 5 µs per operation and 0.3 s whatever it does.
        let (short, long) = (measured(100_000, 0.8), measured(300_000, 1.8));
        assert!((slope_us(&short, &long).unwrap() - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_slope_without_work_is_refused() {
        assert!(slope_us(&measured(300, 0.8), &measured(300, 1.8)).is_err());
        assert!(slope_us(&measured(100, 0.8), &measured(300, 0.8)).is_err());
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        let odd = Spread::of(vec![3.0, 1.0, 10.0]);
        assert_eq!((odd.median, odd.min, odd.max), (3.0, 1.0, 10.0));
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 10.0]).median, 3.0);
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
    }

    #[test]
    fn ratios_are_taken_within_pairs() {
        let cost = |cpu_us, per_s| Cost { cpu_us, per_s };
        let pair = |ours, theirs| Pair { ours, theirs };
        let duel = Duel {
            ours: "a".into(),
            theirs: "b".into(),
            lines: [Vec::new(), Vec::new()],
            // The second pair was on a machine half as fast.
            pairs: vec![
                pair(cost(6.0, 100.0), cost(3.0, 200.0)),
                pair(cost(12.0, 50.0), cost(6.0, 100.0)),
            ],
            doubts: Vec::new(),
            asked: None,
        };
        assert_eq!(
            duel.cpu_ratio(),
            Spread {
                median: 2.0,
                min: 2.0,
                max: 2.0
            }
        );
        assert_eq!(duel.rate_ratio().median, 0.5);
    }

    #[test]
    fn turns_are_reversed_from_pair_to_pair() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let contender = |name: &str| {
            let script = format!(
                "echo {name} >> {}; i=0; while [ $i -lt $1 ]; do i=$((i+1)); done; echo $1",
                log.path().display()
            );
            Contender {
                name: name.into(),
                line: Box::new(move |seconds| {
                    ["sh", "-c", &script, "sh", &(seconds * 100_000).to_string()]
                        .map(str::to_owned)
                        .into()
                }),
                read: |text| {
                    let operations = text.trim().parse().map_err(|_| "no number".to_owned())?;
                    Ok(Done {
                        operations,
                        seconds: 1.0,
                        doubts: vec!["doubt".into()],
                    })
                },
                asked: None,
            }
        };
        let extent = Extent {
            pairs: 2,
            long: 3,
            short: 1,
        };
        let duel = duel(&contender("a"), &contender("b"), extent, Path::new("/"), &mut |_| {}).unwrap();
        let order = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(order.split_whitespace().collect::<String>(), "aabbbbaa");
        assert_eq!((duel.pairs.len(), duel.doubts.len()), (2, 8));
        assert!(duel.pairs.iter().all(|pair| pair.ours.cpu_us > 0.0));
    }
}
