//! The databases of one variant as their servers count what is executed in them.

use std::collections::BTreeMap;

use super::{
    Tally,
    sessions::{Counted, ServiceSessions},
    tapped::Tapped,
};
use crate::{
    metric::Counter,
    observer::postgres::{Reading, Statements, is_transaction_control},
    run::{StatementCensus, StatementCounts},
    trial::stage::Stage,
    workload::{Kind, Pooler, Request, Step, Workload},
};

/// The databases of one variant that can be asked.
pub(super) struct Observed<'s> {
    databases: Vec<Watched>,
    services: ServiceSessions,
    tapped: Tapped<'s>,
    notes: Vec<String>,
}

/// One database and how far it had counted.
struct Watched {
    /// Index of the target.
    target: usize,
    /// Indices of the poolers before it.
    poolers: Vec<usize>,
    name: String,
    statements: Statements,
    before: Option<Reading>,
    /// Statements that begin and end transactions, by what is known so far.
    control: BTreeMap<i64, bool>,
}

/// What was seen of one operation.
pub(super) struct Seen {
    /// What was executed; `None` where no database could be asked.
    pub(super) executed: Option<Vec<Executed>>,
    /// What is counted besides, where it can be.
    pub(super) counted: Vec<Counted>,
}

/// What one operation made a database execute.
pub(super) struct Executed {
    /// Index of the target.
    pub(super) target: usize,
    /// The server's number for the statement.
    pub(super) id: i64,
    pub(super) counts: StatementCounts,
    /// Whether it begins or ends a transaction, and so is no query.
    pub(super) control: bool,
}

impl<'s> Observed<'s> {
    /// Connects beside every PostgreSQL database; why one cannot be asked becomes a note.
    pub(super) async fn connect(stage: &'s Stage) -> Self {
        let mut observed = Self {
            databases: Vec::new(),
            services: ServiceSessions::connect(stage).await,
            tapped: Tapped::new(stage.links()),
            notes: Vec::new(),
        };
        let targets = stage.workload.targets.iter().zip(stage.databases()).enumerate();
        for (target, (written, database)) in targets {
            if let Kind::Sqlite { .. } = written.kind {
                let note = format!(
                    "of target \"{}\" only statements are counted: SQLite tells no more",
                    written.name
                );
                observed.notes.push(note);
            }
            let Some((databases, name)) = database.as_ref().and_then(|database| database.on_server()) else {
                continue;
            };
            match Statements::connect(databases.config(), databases.tls(), name).await {
                Ok(statements) => observed.databases.push(Watched {
                    target,
                    poolers: poolers_before(&stage.workload, target),
                    name: written.name.clone(),
                    statements,
                    before: None,
                    control: BTreeMap::new(),
                }),
                Err(why) => observed.notes.push(format!(
                    "what target \"{}\" executes is counted by the client alone: {why}",
                    written.name
                )),
            }
        }
        observed
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// Reads all counters before an operation.
    pub(super) async fn begin(&mut self, step: &Step) {
        for watched in &mut self.databases {
            if !watched.concerns(step) {
                continue;
            }
            match watched.statements.read().await {
                Ok(reading) => watched.before = Some(reading),
                Err(why) => {
                    watched.before = None;
                    self.notes
                        .push(format!("target \"{}\" could not be asked: {why}", watched.name));
                }
            }
        }
        if self.is_asked_by_others(step) {
            self.services.begin().await;
            self.tapped.begin();
        }
    }

    /// What was done since.
    pub(super) async fn end(&mut self, step: &Step) -> Seen {
        let mut counted = match self.is_asked_by_others(step) {
            true => self.services.end().await,
            false => Vec::new(),
        };
        if !matches!(step.request, Request::Http(_)) {
            // Of transactions the client knows itself; sessions are those of the pooler.
            counted.retain(|(counter, _)| *counter == Counter::Sessions);
        }
        // What passed is known now; what is asked below is asked beside the links.
        let passed = match step.request {
            Request::Http(_) => self.tapped.end(),
            _ => Vec::new(),
        };
        let executed = self.executed(step).await;
        self.compare(&passed, executed.as_deref());
        // The servers' own counts first: they know of what does not pass a link.
        let known = |counter| counter == Counter::Queries && executed.is_some();
        counted.extend(passed.into_iter().filter(|(counter, _)| !known(*counter)));
        if self.databases.iter().any(|watched| watched.concerns(step)) {
            counted.push((Counter::Plans, self.plans(step, executed.as_deref())));
        }
        Seen { executed, counted }
    }

    /// Tells where links and servers do not agree: something does not pass the links, or failed.
    fn compare(&mut self, passed: &[Counted], executed: Option<&[Executed]>) {
        let seen = passed.iter().find(|(counter, _)| *counter == Counter::Queries);
        if let (Some((_, Ok(seen))), Some(executed)) = (seen, executed) {
            let queries = executed.iter().filter(|executed| !executed.control);
            let counted: u64 = queries.map(|executed| executed.counts.calls).sum();
            if *seen != counted {
                self.notes.push(format!(
                    "the links saw other queries than the servers counted: {seen} and {counted} in one operation"
                ));
            }
        }
    }

    /// Whether somebody else than this client has the sessions: a service, or a pooler.
    fn is_asked_by_others(&self, step: &Step) -> bool {
        let pooled = || {
            self.databases
                .iter()
                .any(|watched| watched.poolers.contains(&step.target))
        };
        matches!(step.request, Request::Http(_)) || pooled()
    }

    /// `None` where no database could be asked.
    async fn executed(&mut self, step: &Step) -> Option<Vec<Executed>> {
        let mut asked = false;
        let mut all = Vec::new();
        for watched in &mut self.databases {
            if !watched.concerns(step) {
                continue;
            }
            match watched.since().await {
                Ok(executed) => {
                    asked = true;
                    all.extend(executed);
                }
                Err(why) => self
                    .notes
                    .push(format!("target \"{}\" could not be asked: {why}", watched.name)),
            }
        }
        asked.then_some(all)
    }

    /// How many plans were made, or why that is not known.
    fn plans(&self, step: &Step, executed: Option<&[Executed]>) -> Result<u64, String> {
        let mut asked = self.databases.iter().filter(|watched| watched.concerns(step));
        if let Some(silent) = asked.find(|watched| !watched.statements.counts_plans()) {
            return Err(format!(
                "plans in target \"{}\" are not counted: set pg_stat_statements.track_planning = on",
                silent.name
            ));
        }
        let executed = executed.ok_or("plans are not counted: the server could not be asked")?;
        let queries = executed.iter().filter(|executed| !executed.control);
        Ok(queries
            .map(|executed| executed.counts.plans)
            .fold(0, u64::saturating_add))
    }

    /// The statements of a step, the most frequent first.
    pub(super) async fn listed(&self, tally: &Tally, most: usize, longest: usize) -> Vec<StatementCensus> {
        let mut listed = Vec::new();
        for watched in &self.databases {
            let own = tally
                .statements
                .iter()
                .filter(|((target, _), _)| *target == watched.target);
            let own: Vec<(i64, StatementCounts)> = own.map(|((_, id), counts)| (*id, *counts)).collect();
            let ids: Vec<i64> = own.iter().map(|(id, _)| *id).collect();
            let texts = watched.statements.texts(&ids).await.unwrap_or_default();
            for (id, counts) in own {
                let calls = counts.calls.max(1) as f64;
                listed.push(StatementCensus {
                    target: watched.name.clone(),
                    sql: texts
                        .get(&id)
                        .map_or_else(String::new, |text| text.chars().take(longest).collect()),
                    calls: counts.calls as f64 / tally.operations.max(1) as f64,
                    rows: counts.rows as f64 / calls,
                    buffers: counts.buffers as f64 / calls,
                });
            }
        }
        listed.sort_by(|a, b| b.calls.total_cmp(&a.calls));
        listed.truncate(most);
        listed
    }
}

fn poolers_before(workload: &Workload, target: usize) -> Vec<usize> {
    let targets = workload.targets.iter().enumerate();
    let before = |pooler: &Pooler| pooler.before == target;
    targets
        .filter(|(_, other)| other.pooler.as_ref().is_some_and(before))
        .map(|(at, _)| at)
        .collect()
}

impl Watched {
    /// An SQL step works on its own database; what a service works on is for it to know.
    fn concerns(&self, step: &Step) -> bool {
        step.target == self.target || self.poolers.contains(&step.target) || matches!(step.request, Request::Http(_))
    }

    async fn since(&mut self) -> Result<Vec<Executed>, String> {
        let Some(before) = self.before.take() else {
            return Err("it could not be asked before".into());
        };
        let counts = self.statements.read().await?.since(&before)?;
        let unknown: Vec<i64> = counts
            .keys()
            .filter(|id| !self.control.contains_key(id))
            .copied()
            .collect();
        if !unknown.is_empty() {
            let texts = self.statements.texts(&unknown).await?;
            let known = texts.iter().map(|(id, text)| (*id, is_transaction_control(text)));
            self.control.extend(known);
        }
        let executed = counts.into_iter().map(|(id, counts)| Executed {
            target: self.target,
            id,
            counts,
            control: self.control.get(&id).copied().unwrap_or(false),
        });
        Ok(executed.collect())
    }
}
