//! HTTP/1.1 and HTTP/2 on hyper's client connections: one per session, kept
//! alive, never retried behind the caller's back.
//!
//! `connection` makes them, `session` performs requests on them, `body`
//! receives answers, `decode` unpacks those that somebody reads, `cookies` keeps
//! what a session knows of its user.

mod body;
mod connection;
mod cookies;
mod decode;
mod session;

use std::{fmt::Display, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::TryFutureExt as _;
use hyper::{
    Uri,
    header::HeaderValue,
    http::uri::{Authority, Scheme},
};
use rustls::{ClientConfig, pki_types::ServerName};
use url::Url;

pub(super) use self::session::Session;
use super::{TargetError, Via, in_time, tls};
use crate::{
    sample::{ErrorClass, Phases},
    workload::{HttpTarget, Target},
};

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
    /// For the header `host`.
    host: HeaderValue,
    /// For HTTP/2, whose requests name them each time.
    origin: Option<(Scheme, Authority)>,
    /// As it is named in requests; redirects and cookies go by it.
    url: Url,
    /// As it is connected to.
    connected_url: Url,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    connect_timeout: Option<Duration>,
    cookies: bool,
}

/// Why an operation failed.
#[derive(Debug)]
struct Failure {
    class: ErrorClass,
    reason: String,
}

impl Failure {
    fn new(class: ErrorClass, reason: impl Display) -> Self {
        Self {
            class,
            reason: reason.to_string(),
        }
    }
}

impl Connector {
    /// Resolves the address once; later connections go to what was found.
    pub(super) async fn bind(
        target: &Target,
        http: &HttpTarget,
        base: &str,
        via: Option<&Via>,
    ) -> Result<Self, TargetError> {
        let setting = |reason: String| TargetError::Setting {
            target: target.name.clone(),
            reason,
        };
        let unusable = |error: &dyn Display| setting(format!("{base}: {error}"));
        let uri: Uri = base.parse().map_err(|error| unusable(&error))?;
        let authority = uri
            .authority()
            .ok_or_else(|| setting(format!("{base} names no host")))?;
        let secure = uri.scheme_str() == Some("https");
        let host = bare(authority.host());
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let addresses = match via {
            Some(Via::Tcp(address)) => Ok(vec![*address]),
            _ => tokio::net::lookup_host((host, port)).await.map(Iterator::collect),
        };
        let addresses = addresses.map_err(|error| TargetError::Unreachable {
            target: target.name.clone(),
            address: base.to_owned(),
            reason: error.to_string(),
        })?;
        let named = http.host.as_ref().unwrap_or(authority);
        let tls = if secure {
            let host = bare(named.host()).to_owned();
            let name = ServerName::try_from(host).map_err(|error| setting(format!("{named}: {error}")))?;
            Some((tls::config(&http.tls, http.http2).map_err(setting)?, name))
        } else {
            None
        };
        let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
        let url = |authority: &Authority| Url::parse(&format!("{scheme}://{authority}/"));
        let shared = Shared {
            name: target.name.clone(),
            base: base.to_owned(),
            addresses,
            host: HeaderValue::from_str(named.as_str()).map_err(|error| unusable(&error))?,
            url: url(named).map_err(|error| unusable(&error))?,
            connected_url: url(authority).map_err(|error| unusable(&error))?,
            origin: http.http2.then(|| (scheme.clone(), named.clone())),
            tls,
            connect_timeout: http.connect_timeout,
            cookies: http.cookies,
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
        let mut phases = Phases::default();
        let connect = self.shared.connect(&mut phases).map_err(|failure| failure.reason);
        let connected = in_time(connect).await;
        connected.map(|_| None).map_err(|reason| self.unreachable(reason))
    }

    fn unreachable(&self, reason: String) -> TargetError {
        TargetError::Unreachable {
            target: self.shared.name.clone(),
            address: self.address(),
            reason,
        }
    }

    pub(super) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.shared))
    }
}

/// A host without the brackets that an IPv6 address has in a URL.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}
