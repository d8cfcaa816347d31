//! A demo that a test talks to over HTTP.

use reqwest::{Client, Method};
use serde_json::Value;
use tokio::task::JoinHandle;

use super::*;

/// A demo on a free port that the test talks to.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) base: String,
    stop: CancellationToken,
    served: JoinHandle<Result<(), DemoError>>,
}

/// Status, statements and body of an answer.
pub(super) type Answer = (u16, u32, Value);

impl Running {
    pub(super) async fn start(faults: Faults) -> Self {
        Self::start_on(None, faults).await
    }

    pub(super) async fn start_on(database: Option<Storage>, faults: Faults) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let demo = Demo::bind(Options {
            listen,
            database,
            faults,
        })
        .await
        .unwrap();
        let stop = CancellationToken::new();
        let base = format!("http://{}", demo.address());
        let client = Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .build()
            .unwrap();
        Self {
            client,
            base,
            served: tokio::spawn(demo.run(stop.clone().cancelled_owned())),
            stop,
        }
    }

    pub(super) async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let statements = response.headers()[STATEMENTS_HEADER].to_str().unwrap().parse().unwrap();
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (status, statements, body)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Method::POST, path, body.to_string()).await
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
    }
}

pub(super) fn error((status, statements, body): Answer) -> String {
    format!("{status} after {statements}: {}", body["error"].as_str().unwrap())
}
