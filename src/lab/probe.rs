//! Whether a process is ready: it answers a request, or takes a connection.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use reqwest::{Client, redirect};
use tokio::net::{TcpStream, UnixStream};

/// The longest that one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// What shows that a process is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// `GET` of this URL is answered with a status from 200 to 399.
    Http(String),
    /// A TCP connection to this address is accepted.
    Tcp(SocketAddr),
    /// A connection to this Unix socket is accepted.
    Unix(PathBuf),
}

/// A probe that can be made again and again.
pub(super) enum Probe {
    Http(Client, String),
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Probe {
    /// # Errors
    /// A sentence, when the HTTP client cannot be made.
    pub(super) fn new(ready: &Ready) -> Result<Self, String> {
        match ready {
            Ready::Tcp(address) => Ok(Self::Tcp(*address)),
            Ready::Unix(path) => Ok(Self::Unix(path.clone())),
            Ready::Http(url) => Ok(Self::Http(client().map_err(|error| error.to_string())?, url.clone())),
        }
    }

    /// Probes once.
    ///
    /// # Errors
    /// A sentence saying what was found instead of readiness.
    pub(super) async fn attempt(&self) -> Result<(), String> {
        match self {
            Self::Http(client, url) => {
                let response = client.get(url).send().await.map_err(|error| innermost(&error))?;
                let status = response.status();
                if status.is_success() || status.is_redirection() {
                    return Ok(());
                }
                Err(format!("GET {url} was answered with {status}"))
            }
            Self::Tcp(address) => match tokio::time::timeout(ATTEMPT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("no connection to {address}: {error}")),
                Err(_) => Err(format!("no connection to {address} within 2 s")),
            },
            Self::Unix(path) => match UnixStream::connect(path).await {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("no connection to {}: {error}", path.display())),
            },
        }
    }
}

fn client() -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(ATTEMPT)
        // It asks a process of our own whether it is up and tells it nothing; and a
        // verifier would need the system's certificates, which a bare machine lacks.
        .tls_danger_accept_invalid_certs(true)
        .build()
}

/// reqwest's own message repeats the URL and hides the cause.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
