//! The pools of all variants while a load lasts: opened before it, tended beside it, emptied
//! after it, all on the one thread that drives it.

use tokio::task::JoinHandle;

use super::Plan;
use crate::target::{ConnectionPool, Connector};

/// The pools that a load uses, open.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Vec<(ConnectionPool, JoinHandle<()>)>,
}

fn all(plan: &Plan) -> impl Iterator<Item = &ConnectionPool> {
    let connectors = plan.variants.iter().flat_map(|variant| variant.connectors.iter());
    connectors.flat_map(Connector::pools)
}

/// Whether sessions share connections.
pub(super) fn are_used(plan: &Plan) -> bool {
    all(plan).next().is_some()
}

impl Pools {
    /// Makes the connections that are to be there before the load; not for an interrupted run.
    pub(super) async fn open(plan: &Plan) -> Self {
        let opening = async {
            for pool in all(plan) {
                pool.open().await;
            }
        };
        tokio::select! {
            () = opening => {}
            () = plan.interrupt.stop.cancelled() => {}
        }
        let tended = all(plan).map(|pool| (pool.clone(), tokio::spawn(pool.tend())));
        Self {
            pools: tended.collect(),
        }
    }

    /// Closes all connections; no session may be left that has one.
    pub(super) async fn close(self) {
        for (pool, tending) in self.pools {
            // It may be holding connections.
            tending.abort();
            let _ = tending.await;
            pool.empty();
        }
    }
}
