//! A rollback that a database of the user's is owed, from the begin of a variant's setup on.
//!
//! Normally teardown performs it and tells what went wrong. Where a run ends before there
//! is anything to tear down (another setup failed, an interrupt during the census), dropping
//! it performs it, as the last resort. Knows neither variants nor what the SQL does.

use std::{path::PathBuf, thread, time::Duration};

use tokio::time::timeout;

use crate::{
    lab::{postgres::Databases, sqlite},
    workload::Script,
};

/// All of it together may take this long; locks of others may be in its way.
const BOUND: Duration = Duration::from_secs(60);

/// A rollback that is still to be performed.
pub(super) struct Owed {
    place: Place,
    statements: Vec<Script>,
}

/// Where it is to be performed.
#[derive(Clone)]
pub(super) enum Place {
    /// A database of that name on a server.
    Server(Box<Databases>, String),
    /// A file.
    File(PathBuf),
}

impl Owed {
    pub(super) fn new(place: Place, rollback: &Script) -> Self {
        // Each by itself: of a setup that was cut off some things are not there to be taken back.
        let alone = |statement: &_| Script {
            path: rollback.path.clone(),
            statements: vec![Clone::clone(statement)],
        };
        Self {
            place,
            statements: rollback.statements.iter().map(alone).collect(),
        }
    }

    /// Somebody else performs it now.
    pub(super) fn taken_over(mut self) {
        self.statements.clear();
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let statements = std::mem::take(&mut self.statements);
        if statements.is_empty() {
            return;
        }
        let place = self.place.clone();
        last_resort(async move {
            let _ = timeout(BOUND, perform(&place, &statements)).await;
        });
    }
}

async fn perform(place: &Place, statements: &[Script]) {
    for statement in statements {
        let _ = match place {
            Place::File(path) => sqlite::execute(path, statement),
            Place::Server(databases, name) => databases.execute_script(name, statement).await,
        };
    }
}

/// Does at once what a run still owes when it ends without its teardown: the runtime may be about
/// to end too, so on a thread of its own.
pub(super) fn last_resort(work: impl Future<Output = ()> + Send + 'static) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(work);
        }
    };
    let _ = thread::spawn(work).join();
}
