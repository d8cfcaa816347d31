//! A well-behaved web server in the test's own process: HTTP/1.1 and HTTP/2,
//! with TLS or without. It remembers all that it was asked.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, Response, Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// What an answer is made of.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) version: Version,
    /// `:authority`, or the header `host`.
    pub(crate) host: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) handshake: Option<Handshake>,
}

/// What a client said of itself in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) alpn: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) certified: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

type Answering = dyn Fn(&Seen) -> Answer + Send + Sync;

/// Lives as long as the test program.
pub(crate) struct Web {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Web {
    /// On a port of its own.
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer): (_, Arc<Answering>) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let (log, answer, tls) = (Arc::clone(&log), Arc::clone(&answer), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(stream, None, log, answer).await,
                            Some(config) => {
                                // A client that gives up is its own affair.
                                let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else {
                                    return;
                                };
                                let session = stream.get_ref().1;
                                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                                let handshake = Handshake {
                                    alpn: session.alpn_protocol().map(text),
                                    name: session.server_name().map(str::to_owned),
                                    certified: session.peer_certificates().is_some(),
                                };
                                serve(stream, Some(handshake), log, answer).await;
                            }
                        }
                    });
                }
            });
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Those to paths that begin like this.
    pub(crate) fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.path.starts_with(path))
            .collect()
    }
}

async fn serve<I>(stream: I, handshake: Option<Handshake>, log: Arc<Mutex<Vec<Seen>>>, answer: Arc<Answering>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handshake, log, answer) = (handshake.clone(), Arc::clone(&log), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let host = match head.uri.authority() {
                Some(authority) => authority.to_string(),
                None => head.headers["host"].to_str().unwrap().to_owned(),
            };
            let seen = Seen {
                method: head.method,
                path: head.uri.path_and_query().unwrap().to_string(),
                version: head.version,
                host,
                headers: head.headers,
                body: body
                    .collect()
                    .await
                    .map(http_body_util::Collected::to_bytes)
                    .unwrap_or_default(),
                handshake,
            };
            let answer = answer(&seen);
            log.lock().unwrap().push(seen);
            Ok::<_, Infallible>(answer)
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An answer with a body.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    answer.body(Full::new(body.into())).unwrap()
}
