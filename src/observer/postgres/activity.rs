//! What happens in one database while load runs: who waits for what, what the server's
//! counters gain, what disturbs the load.
//!
//! The server may die and come back: both are noted, and nothing here fails of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_postgres::{Config, Row, Statement};

use super::{NAME, answer, column, connect, views::Views};
use crate::{
    run::{self, Event},
    target::PostgresConnection,
    workload::Tls,
};

/// Between two looks at the sessions.
const TICK: Duration = Duration::from_millis(100);
/// Counters are read at every tenth look: older servers write files for it.
const TICKS_PER_TOTALS: u64 = 10;
/// Between two tries to reach a server that was lost.
const RETRY: Duration = Duration::from_millis(250);
/// A server that takes longer while load runs counts as one that cannot be asked.
const ASK_WITHIN: Duration = Duration::from_secs(1);
/// At the end nobody waits as long.
const LAST_WITHIN: Duration = Duration::from_millis(500);

/// Sessions report what they did when they end, or later. Where all have ended the counters are
/// complete; else where they rest for so long.
const REST: Duration = Duration::from_millis(600);
/// Between two looks whether they have.
const LAST_TICK: Duration = Duration::from_millis(20);

/// Told where sessions outlast the load.
const STAY_OPEN: &str = "sessions stay open after the load, as those of a pool do, and tell late what they did last: \
                         it may be missing in what counters gained";

/// Told where the server is gone.
const LOST: &str = "the server could not be asked at the end: what its counters gained last is missing";

/// What a server can fill a run with.
const MOST_EVENTS: usize = 1000;
const MOST_WAITS: usize = 500;

/// A watch over one database, until it is stopped or dropped.
#[derive(Debug)]
pub struct Activity {
    /// How long counters that come late are waited for.
    stop: oneshot::Sender<Duration>,
    watch: JoinHandle<run::Activity>,
}

impl Activity {
    /// Watches from now on, ten times a second, on a connection of its own: to the database
    /// that `config` names, or else to `database` itself, where what is asked is counted too.
    ///
    /// # Errors
    /// When the server cannot be asked now.
    pub async fn start(config: &Config, tls: &Tls, database: &str) -> Result<Self, String> {
        let place = Place {
            config: config.clone(),
            tls: tls.clone(),
            database: database.to_owned(),
        };
        let server = Server::open(&place).await?;
        let mut watcher = Watcher {
            place,
            began: Instant::now(),
            previous: server.totals().await?,
            server: Some(server),
            vacuums: BTreeSet::new(),
            seen: run::Activity::default(),
        };
        // Counters that never gain anything are known to be 0.
        watcher.count(watcher.previous.clone());
        let (stop, stopped) = oneshot::channel();
        let watch = tokio::spawn(watcher.watch(stopped));
        Ok(Self { stop, watch })
    }

    /// Ends the watch and gives what was seen, at once where the server is gone.
    ///
    /// End the sessions of the load before: counters are complete when all have ended. For sessions
    /// that stay open it waits until the counters rest, no longer than `patience` (and half a second
    /// where the server does not answer). From server 15 on they keep what they did last to
    /// themselves for 10 s; that it may be missing is told.
    pub async fn stop(self, patience: Duration) -> run::Activity {
        // Should the watch have ended, nobody is there to hear it.
        let _ = self.stop.send(patience);
        self.watch.await.unwrap_or_else(|_| run::Activity {
            unavailable: Some("the watch over the database ended before its time".to_owned()),
            ..run::Activity::default()
        })
    }
}

/// How to get to the server.
struct Place {
    config: Config,
    tls: Tls,
    database: String,
}

/// A server that can be asked.
struct Server {
    connection: PostgresConnection,
    database: String,
    role: String,
    sessions: Statement,
    totals: Statement,
}

/// Values of counters, by view and name.
type Totals = BTreeMap<(String, String), i64>;

impl Server {
    async fn open(place: &Place) -> Result<Self, String> {
        let Place { config, tls, database } = place;
        let connection = match connect(config, tls, None).await {
            Ok(connection) => connection,
            Err(_) => connect(config, tls, Some(database)).await?,
        };
        let views = Views::look(&connection, database).await?;
        Ok(Self {
            sessions: answer(connection.prepare(&views.sessions(NAME))).await?,
            totals: answer(connection.prepare(&views.totals())).await?,
            database: database.clone(),
            role: views.role,
            connection,
        })
    }

    async fn sessions(&self) -> Result<Vec<Row>, String> {
        answer(self.connection.query(&self.sessions, &[&self.database])).await
    }

    /// Whether any session is still there, and the counters as they were afterwards.
    async fn last(&self) -> Result<(bool, Totals), String> {
        let sessions = self.sessions().await?;
        let mut open = false;
        for row in &sessions {
            open |= column::<&str>(row, 0)? == "open";
        }
        Ok((open, self.totals().await?))
    }

    async fn totals(&self) -> Result<Totals, String> {
        let rows = answer(self.connection.query(&self.totals, &[&self.database])).await?;
        let total = |row: &Row| Ok(((column(row, 0)?, column(row, 1)?), column(row, 2)?));
        rows.iter().map(total).collect()
    }
}

struct Watcher {
    place: Place,
    began: Instant,
    /// `None` while it cannot be asked.
    server: Option<Server>,
    /// The counters as they were read last.
    previous: Totals,
    /// Processes that were seen vacuuming, with what.
    vacuums: BTreeSet<(i64, String)>,
    seen: run::Activity,
}

impl Watcher {
    async fn watch(mut self, stopped: oneshot::Receiver<Duration>) -> run::Activity {
        let patience = tokio::select! {
            stopped = stopped => stopped.unwrap_or_default(),
            () = self.observe() => Duration::ZERO,
        };
        self.finish(patience).await;
        self.seen
    }

    /// Looks until it is dropped.
    async fn observe(&mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 1_u64.. {
            ticks.tick().await;
            if self.server.is_none() {
                self.reopen().await;
            } else if let Err(reason) = self.look(tick.is_multiple_of(TICKS_PER_TOTALS)).await {
                self.lost(&reason);
            }
        }
    }

    /// Tries once, or waits until the next try.
    async fn reopen(&mut self) {
        match within(ASK_WITHIN, Server::open(&self.place)).await {
            Ok(server) => {
                self.server = Some(server);
                self.note("the server can be asked again".to_owned());
            }
            Err(_) => sleep(RETRY - TICK).await,
        }
    }

    fn lost(&mut self, reason: &str) {
        self.server = None;
        self.note(format!("the server cannot be asked: {reason}"));
    }

    async fn look(&mut self, totals: bool) -> Result<(), String> {
        let Some(server) = &self.server else { return Ok(()) };
        let sessions = within(ASK_WITHIN, server.sessions()).await?;
        let totals = if totals {
            Some(within(ASK_WITHIN, server.totals()).await?)
        } else {
            None
        };
        self.seen.samples += 1;
        for row in &sessions {
            self.session(column(row, 0)?, column(row, 1)?, column(row, 2)?);
        }
        if let Some(totals) = totals {
            self.count(totals);
        }
        Ok(())
    }

    /// What one row tells: sessions that wait for something, an autovacuum, sessions out of sight.
    fn session(&mut self, kind: &str, name: &str, number: i64) {
        match kind {
            "wait" => {
                let waits = &mut self.seen.waits;
                if waits.contains_key(name) || waits.len() < MOST_WAITS {
                    *waits.entry(name.to_owned()).or_default() += u64::try_from(number).unwrap_or(0);
                }
            }
            "vacuum" if self.vacuums.len() < MOST_EVENTS && self.vacuums.insert((number, name.to_owned())) => {
                self.note(name.chars().filter(|c| !c.is_control()).collect());
            }
            "hidden" => {
                let role = self.server.as_ref().map_or("", |server| &server.role);
                let mend = format!("sessions of other roles are out of sight: GRANT pg_read_all_stats TO {role}");
                self.seen.unavailable.get_or_insert(mend);
            }
            _ => {}
        }
    }

    fn count(&mut self, now: Totals) {
        let mut checkpoints = 0_u64;
        for ((view, name), gained) in gained(&self.previous, &now) {
            let counters = match view.as_str() {
                "database" => &mut self.seen.database,
                "wal" => &mut self.seen.wal,
                _ => {
                    checkpoints = checkpoints.saturating_add(u64::try_from(gained).unwrap_or(0));
                    continue;
                }
            };
            let counter = counters.entry(name).or_default();
            *counter = counter.saturating_add(gained);
        }
        self.previous = now;
        self.seen.checkpoints = self.seen.checkpoints.saturating_add(checkpoints);
        match checkpoints {
            0 => {}
            1 => self.note("checkpoint".to_owned()),
            some => self.note(format!("{some} checkpoints")),
        }
    }

    fn note(&mut self, what: String) {
        if self.seen.events.len() < MOST_EVENTS {
            let at_s = self.began.elapsed().as_secs_f64();
            self.seen.events.push(Event { at_s, what });
        }
    }

    /// Reads the counters until they are complete, or rest.
    async fn finish(&mut self, patience: Duration) {
        let began = Instant::now();
        let mut changed = began;
        while let Some(server) = &self.server {
            match within(LAST_WITHIN, server.last()).await {
                Ok((open, totals)) => {
                    if totals != self.previous {
                        changed = Instant::now();
                    }
                    self.count(totals);
                    if !open {
                        return;
                    }
                }
                Err(reason) => self.lost(&reason),
            }
            if changed.elapsed() >= REST || began.elapsed() >= patience {
                break;
            }
            sleep(LAST_TICK).await;
        }
        let missing = if self.server.is_some() { STAY_OPEN } else { LOST };
        self.seen.unavailable.get_or_insert(missing.to_owned());
    }
}

async fn within<T>(limit: Duration, question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answered = timeout(limit, question).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())))
}

/// What counters gained. Where one of a view has shrunk, the view began anew at 0.
fn gained(before: &Totals, now: &Totals) -> Totals {
    let shrunk = |(key, value): (&(String, String), &i64)| before.get(key).is_some_and(|before| value < before);
    let anew: BTreeSet<&str> = now
        .iter()
        .filter(|total| shrunk(*total))
        .map(|((view, _), _)| view.as_str())
        .collect();
    let gain = |(key, value): (&(String, String), &i64)| {
        let begin = before.get(key).filter(|_| !anew.contains(key.0.as_str()));
        (key.clone(), value.saturating_sub(*begin.unwrap_or(&0)))
    };
    now.iter().map(gain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(values: &[(&str, &str, i64)]) -> Totals {
        let total = |(view, name, value): &(&str, &str, i64)| (((*view).to_owned(), (*name).to_owned()), *value);
        values.iter().map(total).collect()
    }

    #[test]
    fn counters_gain_and_begin_anew_with_their_view() {
        let before = totals(&[("database", "a", 10), ("database", "b", 5), ("wal", "a", 7)]);
        let grown = totals(&[("database", "a", 12), ("database", "b", 5), ("wal", "a", 9)]);
        assert_eq!(
            gained(&before, &grown),
            totals(&[("database", "a", 2), ("database", "b", 0), ("wal", "a", 2)])
        );
        let anew = totals(&[("database", "a", 3), ("database", "b", 6), ("wal", "a", 9)]);
        assert_eq!(
            gained(&before, &anew),
            totals(&[("database", "a", 3), ("database", "b", 6), ("wal", "a", 2)])
        );
    }
}
