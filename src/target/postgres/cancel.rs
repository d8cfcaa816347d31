//! Asking a server to give up what it does for a connection that was cut off.
//!
//! That takes a connection of its own (PostgreSQL documentation, "Canceling
//! Requests in Progress"). It is made on the runtime of the run and not on the
//! thread that drives load: beside the load, and alive when the load is over.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::TaskTracker;

use super::{Shared, endpoint::Endpoint, wire::Wire};

/// How long may be spent on asking.
const CANCEL_WITHIN: Duration = Duration::from_secs(5);

/// What the server needs to know whose statement to give up, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) endpoint: Endpoint,
    pub(super) process: i32,
    pub(super) secret: i32,
}

/// The requests under way.
#[derive(Debug)]
pub(super) struct Cancels {
    runtime: Handle,
    under_way: TaskTracker,
}

impl Cancels {
    /// Requests will be made on that runtime.
    pub(super) fn on(runtime: Handle) -> Self {
        Self {
            runtime,
            under_way: TaskTracker::new(),
        }
    }

    /// Begins to ask; nobody waits for it here.
    pub(super) fn request(&self, shared: Arc<Shared>, key: Key) {
        let asked = async move {
            // Where it fails, nobody is left who could do better.
            let _ = timeout(CANCEL_WITHIN, ask(&shared, &key)).await;
        };
        self.under_way.spawn_on(asked, &self.runtime);
    }

    /// Waits until all requests have been heard, or their time is over.
    pub(super) async fn settled(&self) {
        self.under_way.close();
        let _ = timeout(CANCEL_WITHIN, self.under_way.wait()).await;
    }
}

async fn ask(shared: &Shared, key: &Key) -> std::io::Result<()> {
    let Ok(opened) = key.endpoint.open(shared).await else {
        return Ok(());
    };
    let mut request = BytesMut::new();
    frontend::cancel_request(key.process, key.secret, &mut request);
    Wire::new(opened.stream).send_last(&request).await
}
