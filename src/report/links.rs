//! What passed the links between clients and targets, as a table.

use super::{
    text::{lines, table},
    words::{self, SENTENCE, UNKNOWN, printable},
};
use crate::{
    run::{Link, LinkFault, Run, Wire},
    units,
};

/// Faults of one link that are told.
const MOST_FAULTS: usize = 20;

/// The columns of figures.
pub(super) const FIGURES: [&str; 6] = ["connections", "refused", "queries", "round trips", "sent", "received"];

/// One link.
pub(super) struct LinkRow {
    /// `db`, `after: db`.
    pub(super) target: String,
    /// What it does to what passes, in words.
    pub(super) what: String,
    /// As [`FIGURES`].
    pub(super) figures: [String; 6],
    /// What went wrong, each with its time.
    pub(super) faults: Vec<String>,
    /// What could not be read.
    pub(super) note: Option<String>,
}

/// All links of a run.
pub(super) fn rows(run: &Run) -> Vec<LinkRow> {
    run.links.iter().map(row).collect()
}

/// The table for a terminal; nothing without links.
pub(super) fn block(run: &Run, width: u16) -> Option<String> {
    let rows = rows(run);
    let mut header = vec!["link", "adds"];
    header.extend(FIGURES);
    let columns = 2..header.len();
    let mut table = table(width, &header, columns);
    let mut more = String::new();
    for LinkRow {
        target,
        what,
        figures,
        faults,
        note,
    } in &rows
    {
        table.add_row([target, what].into_iter().chain(figures));
        more.extend(faults.iter().map(|fault| format!("\n fault   {target}: {fault}")));
        more.extend(note.iter().map(|note| format!("\n note    {target}: {note}")));
    }
    (!rows.is_empty()).then(|| lines(&table) + &more)
}

fn row(link: &Link) -> LinkRow {
    let read = link
        .wire
        .as_ref()
        .filter(|wire| wire.logins > 0 || unread(wire).is_none());
    let wire = |figure: fn(&Wire) -> u64| read.map_or_else(|| UNKNOWN.to_owned(), |wire| words::count(figure(wire)));
    let traffic = &link.traffic;
    let mut faults: Vec<String> = link.faults.iter().take(MOST_FAULTS).map(fault).collect();
    let more = link.faults.len().saturating_sub(MOST_FAULTS);
    faults.extend((more > 0).then(|| format!("and {} more", words::count(more as u64))));
    LinkRow {
        target: words::label(link.variant.as_deref(), &link.target),
        what: what(link),
        figures: [
            words::count(traffic.connections),
            words::count(traffic.refused),
            wire(|wire| wire.queries),
            wire(|wire| wire.round_trips),
            size(traffic.sent_bytes),
            size(traffic.received_bytes),
        ],
        faults,
        note: link.wire.as_ref().and_then(unread),
    }
}

fn unread(wire: &Wire) -> Option<String> {
    let connections = |count| words::counted(count, "connection", "connections");
    match (wire.encrypted, wire.unreadable) {
        (0, 0) => None,
        (0, other) => Some(format!(
            "{} could not be read: not PostgreSQL's protocol",
            connections(other)
        )),
        (encrypted, _) => Some(format!("{} could not be read: encrypted", connections(encrypted))),
    }
}

fn what(link: &Link) -> String {
    let times = [
        ("", link.delay_s),
        ("to connect ", link.connect_delay_s),
        ("jitter ", link.jitter_s),
    ];
    let set = times.into_iter().filter(|(_, time)| *time > 0.0);
    let mut parts: Vec<String> = set
        .map(|(name, time)| format!("{name}{}", words::seconds(time)))
        .collect();
    parts.extend(link.bandwidth.map(|bytes| format!("at most {}/s", size(bytes))));
    if parts.is_empty() {
        "nothing".to_owned()
    } else {
        parts.join(", ")
    }
}

fn fault(fault: &LinkFault) -> String {
    let LinkFault {
        kind,
        at_s,
        for_s,
        delay_s,
    } = fault;
    let mut text = format!("{} at {}", printable(kind, SENTENCE), words::seconds(*at_s));
    if *for_s > 0.0 {
        text.push_str(&format!(" for {}", words::seconds(*for_s)));
    }
    if let Some(delay) = delay_s {
        text.push_str(&format!(": a round trip of {}", words::seconds(*delay)));
    }
    text
}

/// `12.3 MB`.
fn size(bytes: u64) -> String {
    let (scale, unit) = match bytes {
        0..1000 => (1.0, "B"),
        1000..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        _ => (1e9, "GB"),
    };
    format!("{} {unit}", units::significant(bytes as f64 / scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Traffic;

    #[test]
    fn a_link_is_told_in_words() {
        let link = Link {
            target: "db".into(),
            delay_s: 0.025,
            bandwidth: Some(10_000_000),
            faults: vec![LinkFault {
                kind: "blackhole".into(),
                at_s: 5.0,
                for_s: 2.0,
                delay_s: None,
            }],
            traffic: Traffic {
                connections: 2,
                refused: 1,
                sent_bytes: 1500,
                received_bytes: 12,
            },
            wire: Some(Wire {
                encrypted: 1,
                ..Wire::default()
            }),
            ..Link::default()
        };
        let row = row(&link);
        assert_eq!(row.what, "25 ms, at most 10 MB/s");
        assert_eq!(row.figures, ["2", "1", UNKNOWN, UNKNOWN, "1.5 kB", "12 B"]);
        assert_eq!(row.faults, ["blackhole at 5 s for 2 s"]);
        assert_eq!(row.note.as_deref(), Some("1 connection could not be read: encrypted"));
        assert_eq!(what(&Link::default()), "nothing");
    }
}
