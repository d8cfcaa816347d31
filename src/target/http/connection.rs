//! Making connections, and what their errors mean.

use std::{error::Error as _, future::Future, io::ErrorKind, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::Either;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{Failure, Shared};
use crate::{
    sample::{ErrorClass, Phases},
    target::tls,
    units::format_duration,
};

/// The sending end of a connection.
#[derive(Debug)]
pub(super) enum Channel {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Channel {
    /// Whether it still takes a request.
    pub(super) async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// The head of the answer. An error has the request when nothing of it was sent.
    // No `async fn`: hyper takes the request at once, and a future that held it would be large.
    pub(super) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> {
        match self {
            Self::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Self::Http2(sender) => Either::Right(sender.try_send_request(request)),
        }
    }
}

impl Shared {
    /// A new connection; what it took goes to the phases, also when it fails.
    pub(super) async fn connect(&self, phases: &mut Phases) -> Result<Channel, Failure> {
        let Some(limit) = self.connect_timeout else {
            return self.dial(phases).await;
        };
        let before = Instant::now();
        timeout(limit, self.dial(phases)).await.unwrap_or_else(|_| {
            add(&mut phases.connect, before.elapsed());
            let reason = format!("no connection within {}", format_duration(limit));
            Err(Failure::new(ErrorClass::ConnectTimeout, reason))
        })
    }

    async fn dial(&self, phases: &mut Phases) -> Result<Channel, Failure> {
        let before = Instant::now();
        let stream = self.tcp().await;
        add(&mut phases.connect, before.elapsed());
        let stream = stream?;
        match &self.tls {
            None => self.handshake(stream, phases).await,
            Some((config, name)) => {
                let before = Instant::now();
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await;
                add(&mut phases.tls, before.elapsed());
                let stream = stream.map_err(|error| Failure::new(ErrorClass::Tls, tls::describe(&error)))?;
                if self.origin.is_some() && stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
                    let reason = "the server does not offer HTTP/2 (no h2 in its ALPN)";
                    return Err(Failure::new(ErrorClass::Tls, reason));
                }
                self.handshake(stream, phases).await
            }
        }
    }

    async fn tcp(&self) -> Result<TcpStream, Failure> {
        // lookup_host gives at least one address or an error.
        let mut refused = Failure::new(ErrorClass::Connect, "no address");
        for address in &self.addresses {
            match TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            }) {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = Failure::new(ErrorClass::Connect, error),
            }
        }
        Err(refused)
    }

    /// What HTTP itself needs to begin: nothing, or the preface of HTTP/2.
    async fn handshake<I>(&self, stream: I, phases: &mut Phases) -> Result<Channel, Failure>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let broken = |error| Failure::new(ErrorClass::Protocol, error);
        // The errors of a connection reach the request that meets them.
        if self.origin.is_some() {
            let before = Instant::now();
            let made = http2::handshake(TokioExecutor::new(), io).await;
            add(&mut phases.connect, before.elapsed());
            let (sender, connection) = made.map_err(broken)?;
            tokio::spawn(connection);
            Ok(Channel::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(broken)?;
            tokio::spawn(connection);
            Ok(Channel::Http1(sender))
        }
    }
}

fn add(sum: &mut Option<Duration>, part: Duration) {
    *sum = Some(sum.unwrap_or_default() + part);
}

/// What an error of hyper says of the target.
pub(super) fn classify(error: &hyper::Error) -> Failure {
    let source = error.source();
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    if let Some(io) = io.filter(|io| tls::is_at_fault(io)) {
        return Failure::new(ErrorClass::Tls, tls::describe(io));
    }
    let lost =
        error.is_closed() || error.is_canceled() || error.is_incomplete_message() || error.is_body_write_aborted();
    // hyper reports a broken chunk of a body as invalid input or data.
    let broken = |io: &std::io::Error| matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData);
    let cut = io.is_some_and(|io| !broken(io));
    // What the other end calls off is lost; what we call off was no HTTP/2.
    let called_off = source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(h2::Error::is_remote);
    let class = if lost || called_off || (cut && !error.is_parse()) {
        ErrorClass::Disconnected
    } else {
        ErrorClass::Protocol
    };
    let reason = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    Failure { class, reason }
}
