//! The census: a single client performs each flow a few times, alone, and everything is counted.
//!
//! It is taken twice, each time on fresh instances: what both takings agree on
//! is a fact that no noise can touch. On the way the answers of the variants are
//! kept for `equivalence`.

mod observed;
mod plans;
mod sessions;
mod tapped;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::observed::{Observed, Seen};
use super::{
    Setting, TrialError,
    epochs::set_up_all,
    equivalence::{self, Given},
    servers::Servers,
    stage::Stage,
};
use crate::{
    metric::Counter,
    run::{self, Count, Growth, StatementCensus, StatementCounts, StatementPlan, StepCensus},
    sample::Outcome,
    target::{self, Reply, Session as _, Sessions},
    workload::{Action, Request, Step, Values, Workload},
};

/// Passes of each flow before anything is counted: PostgreSQL plans the first five
/// executions of a prepared statement each by itself, and catalogues are read once.
const WARM_UP_PASSES: u64 = 10;

/// Passes at each of two sizes.
const GROWTH_PASSES: u64 = 3;

/// The purposes of the numbers of passes, see [`Workload::aside_pass`]; each taking has its own.
const WARMING_UP: [u64; 2] = [1, 2];
const COUNTING: [u64; 2] = [3, 4];
const GROWING: [u64; 2] = [5, 6];

/// Statements that are listed for a step.
const LISTED: usize = 20;

/// A statement's text is cut at so many characters.
const LONGEST_TEXT: usize = 1000;

/// What a census found out.
pub(super) struct Taken {
    pub(super) census: run::Census,
    /// Where there are several variants.
    pub(super) equivalence: Option<run::Equivalence>,
    /// The mean length of an operation of the slowest variant.
    pub(super) operation: Option<Duration>,
    /// What went wrong around it.
    pub(super) incidents: Vec<String>,
    /// What is no longer as it was on databases that outlast the run.
    pub(super) left_behind: Vec<String>,
}

/// What was counted of one step of one variant in one taking.
#[derive(Default)]
struct Tally {
    operations: u64,
    failed: u64,
    counts: BTreeMap<Counter, u64>,
    /// Why a counter is not known.
    uncounted: BTreeMap<Counter, String>,
    /// By target and statement.
    statements: BTreeMap<(usize, i64), StatementCounts>,
}

/// One taking of one variant.
struct Taking {
    /// By index of the measured step.
    tallies: Vec<Tally>,
    answers: Vec<Given>,
    spent: Duration,
}

/// Takes the census of all variants, twice.
///
/// # Errors
/// When an instance cannot be set up.
pub(super) async fn take(workload: &Arc<Workload>, servers: &Servers, setting: &Setting) -> Result<Taken, TrialError> {
    let mut takings: Vec<Vec<Taking>> = Vec::new();
    let (mut notes, mut incidents, mut left_behind) = (Vec::new(), Vec::new(), Vec::new());
    let mut details = Vec::new();
    for taking in 0..2 {
        // Numbered apart from the epochs, whose order of chance is theirs.
        let stages = set_up_all(workload, servers, setting, u32::MAX - taking).await?;
        let mut taken = Vec::new();
        for stage in &stages {
            let mut client = Client::new(stage).await;
            let counted = client.taking(taking as usize).await;
            if taking == 1 {
                details.push(client.details(&counted).await);
                notes.extend(client.notes());
            }
            taken.push(counted);
        }
        takings.push(taken);
        for stage in stages {
            let gone = stage.tear_down().await;
            incidents.extend(gone.incidents);
            left_behind.extend(gone.left_behind);
        }
    }
    let (second, first) = (takings.pop().unwrap_or_default(), takings.pop().unwrap_or_default());
    let equivalence = (!workload.others.is_empty()).then(|| {
        let answers = first.iter().map(|taking| taking.answers.as_slice());
        let again = second.first().map_or(&[][..], |taking| &taking.answers);
        equivalence::compare(workload, &answers.collect::<Vec<_>>(), again)
    });
    let steps = steps(&first, &second, details);
    notes.extend(steps.iter().flat_map(|step| step.uncounted.values().cloned()));
    let mut told = BTreeSet::new();
    notes.retain(|note| told.insert(note.clone()));
    Ok(Taken {
        operation: first.iter().filter_map(mean).max(),
        census: run::Census {
            passes: workload.trial.census,
            steps,
            notes,
        },
        equivalence,
        incidents,
        left_behind,
    })
}

/// The single client of one variant.
struct Client<'s> {
    stage: &'s Stage,
    sessions: Sessions,
    observed: Observed<'s>,
    reply: Reply,
    notes: Vec<String>,
}

/// What is found out of each step of a variant besides its counts, by index.
#[derive(Default)]
struct Details {
    statements: Vec<Vec<StatementCensus>>,
    plans: Vec<Vec<StatementPlan>>,
    growth: Vec<Option<Growth>>,
}

impl<'s> Client<'s> {
    async fn new(stage: &'s Stage) -> Self {
        Self {
            stage,
            // The first passes connect those that are needed: others would only be in the way
            // of who looks whether a service is connected.
            sessions: Sessions::new(stage.connectors()),
            observed: Observed::connect(stage).await,
            reply: Reply {
                keep: true,
                ..Reply::default()
            },
            notes: Vec::new(),
        }
    }

    /// Warms up, then counts every operation by itself.
    async fn taking(&mut self, number: usize) -> Taking {
        let workload = Arc::clone(&self.stage.workload);
        let mut taking = Taking::new(&workload);
        for pass in 0..WARM_UP_PASSES {
            self.pass(&workload, workload.aside_pass(WARMING_UP[number], pass), None)
                .await;
        }
        // What is written into a store that is not the run's own is there the second time, and
        // when load comes: then each taking does passes that nothing else does.
        let first = if workload.has_stores_of_its_own() || workload.only_reads() {
            0
        } else {
            workload.aside_pass(COUNTING[number], 0)
        };
        for pass in first..first + workload.trial.census {
            self.pass(&workload, pass, Some(&mut taking)).await;
        }
        taking
    }

    /// Every flow once.
    async fn pass(&mut self, workload: &Workload, number: u64, mut taking: Option<&mut Taking>) {
        for flow in &workload.flows {
            let mut values = Values::new(workload);
            values.begin(number, self.stage.globals());
            self.sessions.renew();
            self.actions(&flow.actions, number, &mut values, &mut taking).await;
        }
    }

    /// Whether all went well; pauses are left out, nobody else is there to wait for.
    async fn actions(
        &mut self,
        actions: &[Action],
        pass: u64,
        values: &mut Values<'_>,
        taking: &mut Option<&mut Taking>,
    ) -> bool {
        for action in actions {
            let fine = match action {
                Action::Step(step) => self.step(step, pass, values, taking).await,
                Action::Pause(..) => true,
                Action::Repeat { times, actions } => {
                    let mut fine = true;
                    for _ in 0..*times {
                        values.redraw();
                        fine = fine && Box::pin(self.actions(actions, pass, values, taking)).await;
                    }
                    fine
                }
            };
            if !fine {
                return false;
            }
        }
        true
    }

    async fn step(
        &mut self,
        step: &Step,
        pass: u64,
        values: &mut Values<'_>,
        taking: &mut Option<&mut Taking>,
    ) -> bool {
        let Some(taking) = taking else {
            return target::perform(&mut self.sessions, step, values, &mut self.reply).await == Outcome::Completed;
        };
        self.observed.begin(step).await;
        let outcome = target::perform(&mut self.sessions, step, values, &mut self.reply).await;
        let seen = self.observed.end(step).await;
        taking.spent += self.reply.end - self.reply.start;
        let tally = &mut taking.tallies[step.index];
        tally.operations += 1;
        tally.failed += u64::from(outcome != Outcome::Completed);
        tally.add(step, &self.reply, seen);
        let secrets = &self.stage.workload.secrets;
        taking
            .answers
            .push(Given::new(step, pass, outcome, &self.reply, values, secrets));
        outcome == Outcome::Completed
    }

    async fn details(&mut self, counted: &Taking) -> Details {
        let statements = self.statements(counted).await;
        let growth = self.growth().await;
        let (plans, notes) = plans::plans(self.stage).await;
        self.notes.extend(notes);
        Details {
            statements,
            plans,
            growth,
        }
    }

    fn notes(self) -> Vec<String> {
        let mut notes = self.observed.notes();
        notes.extend(self.notes);
        notes
    }

    /// What the databases executed for each step.
    async fn statements(&self, taking: &Taking) -> Vec<Vec<StatementCensus>> {
        let mut listed = Vec::new();
        for tally in &taking.tallies {
            listed.push(self.observed.listed(tally, LISTED, LONGEST_TEXT).await);
        }
        listed
    }

    /// Queries per operation of each step at both sizes.
    async fn growth(&mut self) -> Vec<Option<Growth>> {
        let workload = Arc::clone(&self.stage.workload);
        let Some(sizes) = &workload.sizes else {
            return Vec::new();
        };
        let mut queries = Vec::new();
        for (purpose, (_, sized)) in GROWING.into_iter().zip(sizes) {
            let mut taking = Taking::new(sized);
            for pass in 0..GROWTH_PASSES {
                self.pass(sized, workload.aside_pass(purpose, pass), Some(&mut taking))
                    .await;
            }
            queries.push(taking);
        }
        let [(small, _), (large, _)] = sizes;
        let per_operation = |taking: &Taking, step: usize| {
            let tally = &taking.tallies[step];
            let count = tally.counts.get(&Counter::Queries)?;
            (tally.operations > 0).then(|| *count as f64 / tally.operations as f64)
        };
        (0..workload.measured.len())
            .map(|step| {
                Some(Growth {
                    records: [*small, *large],
                    queries: [per_operation(&queries[0], step)?, per_operation(&queries[1], step)?],
                })
            })
            .collect()
    }
}

impl Taking {
    fn new(workload: &Workload) -> Self {
        Self {
            tallies: workload.measured.iter().map(|_| Tally::default()).collect(),
            answers: Vec::new(),
            spent: Duration::ZERO,
        }
    }
}

impl Tally {
    /// What the client knows itself, and what the databases counted, where they could be asked.
    fn add(&mut self, step: &Step, reply: &Reply, seen: Seen) {
        let mut count = |counter, more| *self.counts.entry(counter).or_default() += more;
        let sql = !matches!(step.request, Request::Http(_));
        if sql {
            count(Counter::Transactions, u64::from(reply.transactions));
            // Behind a pooler they are the pooler's, and counted there.
            if !seen.counted.iter().any(|(counter, _)| *counter == Counter::Sessions) {
                count(Counter::Sessions, u64::from(reply.sessions));
            }
        }
        for (counter, counted) in seen.counted {
            match counted {
                Ok(more) => count(counter, more),
                Err(why) => drop(self.uncounted.entry(counter).or_insert(why)),
            }
        }
        // SQLite is in this process: nobody waits for a network.
        if sql && reply.round_trips > 0 {
            count(Counter::RoundTrips, u64::from(reply.round_trips));
        }
        let Some(statements) = seen.executed else {
            if sql {
                count(Counter::Queries, u64::from(reply.queries));
            }
            return;
        };
        let sum = |figure: fn(&StatementCounts) -> u64| {
            let counted = statements.iter().filter(|executed| !executed.control);
            counted.map(|executed| figure(&executed.counts)).sum::<u64>()
        };
        count(Counter::Queries, sum(|counts| counts.calls));
        count(Counter::Rows, sum(|counts| counts.rows));
        count(Counter::Buffers, sum(|counts| counts.buffers));
        count(Counter::TempBlocks, sum(|counts| counts.temp_blocks));
        count(Counter::WalRecords, sum(|counts| counts.wal_records));
        for executed in &statements {
            let key = (executed.target, executed.id);
            self.statements.entry(key).or_default().add(&executed.counts);
        }
    }
}

/// The counts of all steps of all variants, numbered one after the other.
fn steps(first: &[Taking], second: &[Taking], details: Vec<Details>) -> Vec<StepCensus> {
    let mut steps = Vec::new();
    let mut number = 0;
    for ((one, other), details) in first.iter().zip(second).zip(details) {
        let mut statements = details.statements.into_iter();
        let (mut plans, mut growth) = (details.plans.into_iter(), details.growth.into_iter());
        for (tally, again) in one.tallies.iter().zip(&other.tallies) {
            let mut uncounted = again.uncounted.clone();
            uncounted.extend(tally.uncounted.clone());
            let counts = tally.counts.iter().filter_map(|(counter, first)| {
                let second = *again.counts.get(counter).filter(|_| !uncounted.contains_key(counter))?;
                Some((*counter, Count { first: *first, second }))
            });
            steps.push(StepCensus {
                step: number,
                operations: tally.operations,
                failed: tally.failed,
                counts: counts.collect(),
                uncounted,
                statements: statements.next().unwrap_or_default(),
                plans: plans.next().unwrap_or_default(),
                growth: growth.next().flatten(),
            });
            number += 1;
        }
    }
    steps.retain(|step| step.operations > 0);
    steps
}

/// The mean length of an operation.
fn mean(taking: &Taking) -> Option<Duration> {
    let spent = taking.spent;
    let operations: u64 = taking.tallies.iter().map(|tally| tally.operations).sum();
    (operations > 0).then(|| spent / u32::try_from(operations).unwrap_or(u32::MAX))
}
