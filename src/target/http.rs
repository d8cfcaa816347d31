//! HTTP/1.1 on hyper's client connections: one per session, kept alive, never
//! retried behind the caller's back.

use std::{fmt::Display, io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Uri,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{Operation, Reply, TargetError, answer, tls};
use crate::{
    sample::{ErrorClass, Outcome},
    workload::{DEFAULT_TIMEOUT, HttpRequest, HttpTarget, Request, Step, Target, Values},
};

/// A body larger than this is an error of class `too large`: 64 MiB.
const LARGEST_BODY: u64 = 64 << 20;

/// An HTTP service with its address resolved.
#[derive(Debug, Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    base: String,
    addresses: Vec<SocketAddr>,
    /// Path of the base URL, in front of every step's path.
    prefix: String,
    headers: HeaderMap,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Why there is no connection.
struct ConnectError {
    class: ErrorClass,
    reason: String,
}

impl ConnectError {
    fn new(class: ErrorClass, reason: &impl Display) -> Self {
        Self {
            class,
            reason: reason.to_string(),
        }
    }
}

impl Connector {
    /// Resolves the address once; later connections go to what was found.
    pub(super) async fn bind(target: &Target, http: &HttpTarget, base: &str) -> Result<Self, TargetError> {
        let setting = |reason: String| TargetError::Setting {
            target: target.name.clone(),
            reason,
        };
        let uri: Uri = base.parse().map_err(|error| setting(format!("{base}: {error}")))?;
        let host = uri
            .host()
            .ok_or_else(|| setting(format!("{base} names no host")))?
            .trim_matches(['[', ']'])
            .to_owned();
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map(Iterator::collect)
            .map_err(|error| TargetError::Unreachable {
                target: target.name.clone(),
                address: base.to_owned(),
                reason: error.to_string(),
            })?;
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|error| setting(format!("{host}: {error}")))?;
            Some((tls::config(http.ca.as_deref(), http.insecure).map_err(setting)?, name))
        } else {
            None
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let headers = default_headers(authority, http).map_err(setting)?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let shared = Shared {
            name: target.name.clone(),
            base: base.to_owned(),
            addresses,
            prefix,
            headers,
            tls,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    pub(super) fn address(&self) -> String {
        self.shared.base.clone()
    }

    /// Connects once; HTTP has no version to ask for without sending a request.
    pub(super) async fn probe(&self) -> Result<Option<String>, TargetError> {
        match timeout(DEFAULT_TIMEOUT, self.shared.connect()).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error)) => Err(self.unreachable(error.reason)),
            Err(_) => Err(self.unreachable(format!("no connection within {} s", DEFAULT_TIMEOUT.as_secs()))),
        }
    }

    fn unreachable(&self, reason: String) -> TargetError {
        TargetError::Unreachable {
            target: self.shared.name.clone(),
            address: self.address(),
            reason,
        }
    }

    pub(super) fn session(&self) -> Session {
        Session {
            shared: Arc::clone(&self.shared),
            connection: None,
            text: String::new(),
        }
    }
}

/// Sent with every request, computed once.
fn default_headers(authority: &str, http: &HttpTarget) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(
        HOST,
        HeaderValue::from_str(authority).map_err(|error| format!("{authority}: {error}"))?,
    );
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("loadgate/", env!("CARGO_PKG_VERSION"))),
    );
    for (name, value) in &http.headers {
        headers.insert(name, value.clone());
    }
    Ok(headers)
}

impl Shared {
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ConnectError> {
        // lookup_host gives at least one address or an error.
        let mut refused = ConnectError::new(ErrorClass::Connect, &"no address");
        for address in &self.addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.handshake(stream).await,
                Err(error) => refused = ConnectError::new(ErrorClass::Connect, &error),
            }
        }
        Err(refused)
    }

    async fn handshake(&self, stream: TcpStream) -> Result<SendRequest<Full<Bytes>>, ConnectError> {
        stream
            .set_nodelay(true)
            .map_err(|error| ConnectError::new(ErrorClass::Connect, &error))?;
        match &self.tls {
            None => http1(stream).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| ConnectError::new(ErrorClass::Tls, &tls::describe(&error)))?;
                http1(stream).await
            }
        }
    }
}

async fn http1<I>(stream: I) -> Result<SendRequest<Full<Bytes>>, ConnectError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::new(ErrorClass::Protocol, &error))?;
    // Its errors reach the request that meets them.
    tokio::spawn(connection);
    Ok(sender)
}

/// One kept-alive connection.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    /// Taken out while in use: an operation that is cut off leaves none behind.
    connection: Option<SendRequest<Full<Bytes>>>,
    text: String,
}

impl Session {
    /// Connects now; a failure is left for the first operation to meet.
    pub(super) async fn connect_ahead(&mut self) {
        if let Ok(Ok(connection)) = timeout(DEFAULT_TIMEOUT, self.shared.connect()).await {
            self.connection = Some(connection);
        }
    }

    pub(super) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
        let Operation { step, values } = operation;
        let Request::Http(http) = &step.request else {
            return Outcome::Failed(ErrorClass::Protocol);
        };
        let request = match self.request(http, values) {
            Ok(request) => request,
            Err(reason) => {
                reply.begin();
                return reply.failed(ErrorClass::Parameter, reason);
            }
        };
        reply.begin();
        let ended = timeout(step.timeout, self.exchange(request, step, reply)).await;
        reply.end = Instant::now();
        match ended {
            Ok(Ok(())) => Outcome::Completed,
            Ok(Err(error)) => reply.failed(error.class, error.reason),
            Err(_) => reply.failed(
                ErrorClass::Timeout,
                format!("no answer within {}", crate::units::format_duration(step.timeout)),
            ),
        }
    }

    fn request(&mut self, http: &HttpRequest, values: &mut Values<'_>) -> Result<hyper::Request<Full<Bytes>>, String> {
        self.text.clear();
        self.text.push_str(&self.shared.prefix);
        http.path.render(values, &mut self.text);
        let uri: Uri = self
            .text
            .parse()
            .map_err(|error| format!("the path \"{}\" is not usable: {error}", self.text))?;
        let body = http.body.as_ref().map_or_else(Bytes::new, |template| {
            let mut body = String::new();
            template.render(values, &mut body);
            body.into()
        });
        let mut request = hyper::Request::new(Full::new(body.clone()));
        *request.method_mut() = http.method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(&self.shared.headers);
        if http.body.is_some() {
            request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        }
        for (name, template) in &http.headers {
            self.text.clear();
            template.render(values, &mut self.text);
            let value = HeaderValue::from_str(&self.text)
                .map_err(|_| format!("the value of header {name} has characters that HTTP does not allow"))?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    async fn exchange(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
        step: &Step,
        reply: &mut Reply,
    ) -> Result<(), ConnectError> {
        let mut connection = self.connection(&mut reply.phases.connect).await?;
        let reused = reply.phases.connect.is_none();
        let answer = match connection.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut refused) => match refused.take_message() {
                // The server had closed the kept connection before anything was
                // written: it never saw the request, so this is no retry.
                Some(request) if reused => {
                    connection = self.connection(&mut reply.phases.connect).await?;
                    connection
                        .send_request(request)
                        .await
                        .map_err(|error| classify(&error))?
                }
                _ => return Err(classify(refused.error())),
            },
        };
        receive(answer, step, reply).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// The kept connection while it lives, else a new one.
    async fn connection(&mut self, took: &mut Option<Duration>) -> Result<SendRequest<Full<Bytes>>, ConnectError> {
        if let Some(mut connection) = self.connection.take()
            && connection.ready().await.is_ok()
        {
            return Ok(connection);
        }
        let before = Instant::now();
        let connection = self.shared.connect().await;
        *took = Some(before.elapsed());
        connection
    }
}

async fn receive(response: hyper::Response<Incoming>, step: &Step, reply: &mut Reply) -> Result<(), ConnectError> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let keep = reply.keep || step.needs_body();
    let explains = !answer::allows_status(step, status);
    let answer = &mut reply.answer;
    answer.status = Some(status);
    if reply.keep {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        answer.headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect();
    }
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| classify(&error))?.into_data() else {
            continue;
        };
        answer.body_bytes += data.len() as u64;
        if answer.body_bytes > LARGEST_BODY {
            return Err(ConnectError::new(
                ErrorClass::TooLarge,
                &"the body is larger than 64 MiB",
            ));
        }
        if keep {
            kept.extend_from_slice(&data);
        } else if explains && kept.len() < answer::KEPT_FOR_MESSAGE {
            kept.extend_from_slice(&data[..data.len().min(answer::KEPT_FOR_MESSAGE)]);
        }
    }
    answer.body = kept.freeze();
    Ok(())
}

fn classify(error: &hyper::Error) -> ConnectError {
    let source = std::error::Error::source(error);
    let lost =
        error.is_closed() || error.is_canceled() || error.is_incomplete_message() || error.is_body_write_aborted();
    // hyper reports a broken chunk of a body as invalid input or data.
    let broken = |io: &std::io::Error| matches!(io.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData);
    let cut = source
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|io| !broken(io));
    let class = if lost || (cut && !error.is_parse()) {
        ErrorClass::Disconnected
    } else {
        ErrorClass::Protocol
    };
    let reason = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    ConnectError { class, reason }
}
