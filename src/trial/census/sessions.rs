//! Sessions and transactions of the services under test, as their databases count them.
//!
//! What loadgate's own sessions do it counts itself.

use crate::{
    metric::Counter,
    observer::postgres::{Moment, Totals},
    trial::stage::Stage,
};

/// Told where sessions outlast the operation.
const STAY_OPEN: &str = "sessions stay open, as those of a pool do, and tell of their transactions up to 10 s late";

/// The databases that a service may work on.
pub(super) struct ServiceSessions {
    databases: Vec<Database>,
}

struct Database {
    /// Name of the target.
    target: String,
    /// Or why it cannot be asked.
    totals: Result<Totals, String>,
    before: Option<Moment>,
    /// Whether some session was seen to stay; then none is waited for any more.
    stays: bool,
}

/// A counter, and what it gained or why that is not known.
pub(super) type Counted = (Counter, Result<u64, String>);

impl ServiceSessions {
    /// Connects beside every PostgreSQL database, where the stage has a service at all.
    pub(super) async fn connect(stage: &Stage) -> Self {
        let mut databases = Vec::new();
        for (target, database) in stage.workload.targets.iter().zip(stage.databases()) {
            let Some((server, name)) = database.as_ref().and_then(|database| database.on_server()) else {
                continue;
            };
            databases.push(Database {
                target: target.name.clone(),
                totals: Totals::connect(server.config(), server.tls(), name).await,
                before: None,
                stays: false,
            });
        }
        Self { databases }
    }

    /// Reads all counters before a request.
    pub(super) async fn begin(&mut self) {
        for database in &mut self.databases {
            database.before = database.read().await.ok();
        }
    }

    /// What was counted since, over all databases; nothing where there is none.
    pub(super) async fn end(&mut self) -> Vec<Counted> {
        if self.databases.is_empty() {
            return Vec::new();
        }
        let (mut sessions, mut transactions) = (Ok(0_u64), Ok(0_u64));
        for database in &mut self.databases {
            let [opened, ended] = database.since().await;
            sessions = sum(sessions, opened);
            transactions = sum(transactions, ended);
        }
        vec![(Counter::Sessions, sessions), (Counter::Transactions, transactions)]
    }
}

impl Database {
    async fn read(&mut self) -> Result<Moment, String> {
        let moment = self.totals.as_ref().map_err(String::clone)?.read(!self.stays).await?;
        self.stays |= !moment.is_complete();
        Ok(moment)
    }

    /// Sessions and transactions, or why they are not known.
    async fn since(&mut self) -> [Result<u64, String>; 2] {
        let before = self.before.take();
        let now = self.read().await;
        let gained = now.and_then(|now| {
            let before = before.ok_or("the server could not be asked before")?;
            now.since(&before)
        });
        let uncounted = |what: &str, why: &str| {
            let target = &self.target;
            format!("{what} in target \"{target}\" are not counted: {why}")
        };
        match gained {
            Err(why) => ["sessions", "transactions"].map(|what| Err(uncounted(what, &why))),
            Ok(gained) => {
                let ended = gained.transactions.ok_or_else(|| uncounted("transactions", STAY_OPEN));
                [Ok(gained.sessions), ended]
            }
        }
    }
}

/// Of two figures; the first reason why one is not known.
fn sum(known: Result<u64, String>, more: Result<u64, String>) -> Result<u64, String> {
    Ok(known?.saturating_add(more?))
}
