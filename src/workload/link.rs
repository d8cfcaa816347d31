//! The `link` of a target → what lies between its clients and its server, in numbers.

use std::time::Duration;

use super::{
    Kind, Load,
    compile::{Compiler, place},
    profile::End,
};
use crate::{
    scenario::{self, At, Scenario},
    units,
};

/// A longer delay is a fault, and there is a kind of fault for that.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// A way to a server that can be long, narrow and faulty, and that counts what passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Round trip that it adds.
    pub delay: Duration,
    /// What making a connection takes longer, beside one round trip.
    pub connect_delay: Duration,
    /// A round trip takes up to so much longer.
    pub jitter: Duration,
    /// Bytes per second each way, all connections together.
    pub bandwidth: Option<u64>,
    /// Whether PostgreSQL's protocol is read and counted.
    pub tap: bool,
    /// What goes wrong, in the order of the scenario.
    pub faults: Vec<Fault>,
}

/// Something that goes wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Since the begin of the measured window.
    pub at: Duration,
    /// How long; nothing for a reset.
    pub lasting: Duration,
    /// What.
    pub kind: FaultKind,
}

/// What can go wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Connections are reset, and no new ones are made.
    Refuse,
    /// What is sent is lost; nothing is closed.
    Blackhole,
    /// Connections are reset at that moment.
    Reset,
    /// The round trip is another.
    Delay(Duration),
}

impl FaultKind {
    /// `refuse`, `blackhole`, `reset`, `delay`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Blackhole => "blackhole",
            Self::Reset => "reset",
            Self::Delay(_) => "delay",
        }
    }
}

impl Link {
    /// What decides the work beside the kind of the target, for its fingerprint; nothing where it only counts.
    pub(super) fn words(&self) -> Option<String> {
        let Self {
            delay,
            connect_delay,
            jitter,
            bandwidth,
            faults,
            ..
        } = self;
        let times = [("delay", delay), ("connect delay", connect_delay), ("jitter", jitter)];
        let set = times.into_iter().filter(|(_, time)| !time.is_zero());
        let mut words: Vec<String> = set.map(|(name, time)| format!("{name} {time:?}")).collect();
        words.extend(bandwidth.map(|bytes| format!("bandwidth {bytes}")));
        words.extend(faults.iter().map(|fault| format!("{fault:?}")));
        (!words.is_empty()).then(|| format!("link {}", words.join(", ")))
    }
}

/// Compiles the link of a target; problems go to the compiler.
pub(super) fn compile(compiler: &mut Compiler<'_>, kind: &Kind, written: &At<scenario::Link>) -> Link {
    let scenario::Link {
        delay,
        connect_delay,
        jitter,
        bandwidth,
        tap,
        fault,
    } = &written.value;
    let postgres = matches!(kind, Kind::Postgres(_));
    compiler.misplaced([("tap", place(tap), postgres, "PostgreSQL, whose protocol it reads")]);
    one_server(compiler, kind, written);
    Link {
        delay: self::delay(compiler, delay.as_ref()),
        connect_delay: self::delay(compiler, connect_delay.as_ref()),
        jitter: self::delay(compiler, jitter.as_ref()),
        bandwidth: bandwidth
            .as_ref()
            .and_then(|at| compiler.quantity(at, "bandwidth", parse_bandwidth)),
        tap: postgres && tap.as_ref().is_none_or(|tap| tap.value),
        faults: fault.iter().filter_map(|fault| self::fault(compiler, fault)).collect(),
    }
}

/// A link has one other end.
fn one_server(compiler: &mut Compiler<'_>, kind: &Kind, written: &At<scenario::Link>) {
    let Kind::Postgres(postgres) = kind else { return };
    let config = postgres.connection.replace("{port}", "1").parse();
    let hosts = config.map_or(0, |config: tokio_postgres::Config| {
        config.get_hosts().len().max(config.get_hostaddrs().len())
    });
    if hosts > 1 {
        let help = Some("name one of them in `postgres`".into());
        compiler.problem(
            written,
            "a link to several servers",
            "the address names more than one",
            help,
        );
    }
}

fn delay(compiler: &mut Compiler<'_>, at: Option<&At<String>>) -> Duration {
    let delay = at.and_then(|at| compiler.quantity(at, "delay", parse_delay));
    delay.unwrap_or_default()
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text)? {
        delay if delay > LONGEST_DELAY => Err("longer than 60s; what never arrives is a `blackhole`".into()),
        delay => Ok(delay),
    }
}

/// `10 MB/s`.
fn parse_bandwidth(text: &str) -> Result<u64, String> {
    let wrong = || "bytes per second are written like \"10 MB/s\"".to_owned();
    let (size, per) = text.split_once('/').ok_or_else(wrong)?;
    if per.trim() != "s" {
        return Err(wrong());
    }
    match units::parse_size(size)? {
        0 => Err("nothing would pass; that is a `blackhole`".into()),
        bytes => Ok(bytes),
    }
}

fn fault(compiler: &mut Compiler<'_>, written: &At<scenario::Fault>) -> Option<Fault> {
    let scenario::Fault {
        at,
        lasting,
        kind,
        delay,
    } = &written.value;
    let kinds = [
        ("refuse", FaultKind::Refuse),
        ("blackhole", FaultKind::Blackhole),
        ("reset", FaultKind::Reset),
    ];
    let example = || Some("write { at = \"5s\", for = \"5s\", kind = \"blackhole\" }".to_owned());
    let kind = match (kind, delay) {
        (Some(kind), None) => compiler.word(Some(kind), &kinds, FaultKind::Refuse),
        (None, Some(at)) => FaultKind::Delay(self::delay(compiler, Some(at))),
        _ => {
            let label = "exactly one of `kind`, `delay`";
            compiler.problem(written, "not a fault", label, example());
            return None;
        }
    };
    let Some(at) = at else {
        compiler.problem(written, "a fault without a time", "`at` is missing", example());
        return None;
    };
    let at = compiler.quantity(at, "duration", units::parse_duration)?;
    let lasting = match (lasting, kind) {
        (None, FaultKind::Reset) => Duration::ZERO,
        (Some(lasting), FaultKind::Reset) => {
            let help = Some("a `refuse` lasts".into());
            compiler.problem(lasting, "a reset has no length", "it happens at that moment", help);
            return None;
        }
        (Some(lasting), _) => compiler.quantity(lasting, "duration", units::parse_duration)?,
        (None, _) => {
            compiler.problem(written, "a fault without a length", "`for` is missing", example());
            return None;
        }
    };
    Some(Fault { at, lasting, kind })
}

/// Faults that would never come, as the load ends before them.
pub(super) fn in_time(compiler: &mut Compiler<'_>, scenario: &Scenario, load: &Load) {
    let End::After(length) = load.end else { return };
    let links = scenario.target.values().filter_map(|target| target.value.link.as_ref());
    for at in links
        .flat_map(|link| &link.value.fault)
        .filter_map(|fault| fault.value.at.as_ref())
    {
        if let Ok(begin) = units::parse_duration(&at.value)
            && begin >= length
        {
            let label = format!("the load ends after {}", units::format_duration(length));
            compiler.problem(at, "a fault that never comes", label, None);
        }
    }
}
