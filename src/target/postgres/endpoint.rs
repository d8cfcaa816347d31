//! Where a server is, and an open stream to it: a socket, with TLS where the
//! address and the server agree on it. Knows nothing of what is then said.

#[cfg(unix)]
use std::path::PathBuf;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use rustls::{ClientConfig, pki_types::ServerName};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, SslNegotiation},
};
use tokio_rustls::TlsConnector;

use super::{Shared, channel_binding, failure::Failure, wire::Stream};
use crate::{
    sample::ErrorClass,
    target::{Via, tls},
    units::format_duration,
};

/// One address at which a server may be.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    place: Place,
    /// The name that its certificate must have.
    host: Option<String>,
}

#[derive(Debug, Clone)]
enum Place {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

/// A stream to a server, and what binds a login to its TLS (see [`channel_binding`]).
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    pub(super) binding: Option<Vec<u8>>,
}

/// One of the servers that an address names: its host, or the address of it, and its port.
pub(super) struct Named<'a> {
    host: Option<&'a Host>,
    address: Option<std::net::IpAddr>,
    port: u16,
}

/// The servers that an address names, in its order.
pub(super) fn servers(config: &Config) -> Result<Vec<Named<'_>>, Failure> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let wrong = |reason: &str| Err(Failure::new(ErrorClass::Connect, reason));
    if count == 0 {
        return wrong("the address names no host");
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return wrong("the address has another number of `hostaddr` than of `host`");
    }
    if ports.len() > 1 && ports.len() != count {
        return wrong("the address has another number of `port` than of `host`");
    }
    let named = |at: usize| Named {
        host: hosts.get(at),
        address: addresses.get(at).copied(),
        port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
    };
    Ok((0..count).map(named).collect())
}

impl Named<'_> {
    /// All addresses of the server, or the one that leads there.
    pub(super) async fn endpoints(&self, via: Option<&Via>) -> Result<Vec<Endpoint>, Failure> {
        let name = match self.host {
            Some(Host::Tcp(name)) => Some(name.as_str()),
            _ => None,
        };
        let at = |place: Place| Endpoint {
            place,
            host: name.map(str::to_owned),
        };
        let tcp = |address: SocketAddr| at(Place::Tcp(address));
        match via {
            Some(Via::Tcp(address)) => return Ok(vec![tcp(*address)]),
            Some(Via::Unix(path)) => return Ok(vec![at(Place::Unix(path.clone()))]),
            None => {}
        }
        match (self.address, self.host) {
            (Some(address), _) => Ok(vec![tcp((address, self.port).into())]),
            (None, Some(Host::Tcp(name))) => match lookup_host((name.as_str(), self.port)).await {
                Ok(found) => Ok(found.map(tcp).collect()),
                Err(error) => Err(no_connection(&error)),
            },
            #[cfg(unix)]
            (None, Some(Host::Unix(directory))) => {
                Ok(vec![at(Place::Unix(directory.join(format!(".s.PGSQL.{}", self.port))))])
            }
            (None, None) => Ok(Vec::new()),
        }
    }
}

impl Endpoint {
    /// Connects, and begins TLS as the address wants it.
    pub(super) async fn open(&self, shared: &Shared) -> Result<Opened, Failure> {
        let config = &shared.config;
        let wait = config.get_connect_timeout().copied().unwrap_or(Duration::MAX);
        let too_late = |_| {
            let reason = format!("no connection within {}", format_duration(wait));
            Failure::new(ErrorClass::ConnectTimeout, reason)
        };
        match &self.place {
            Place::Tcp(address) => {
                let connected = timeout(wait, TcpStream::connect(address)).await.map_err(too_late)?;
                let stream = connected.and_then(|stream| configured(stream, config));
                self.negotiate(stream.map_err(|error| no_connection(&error))?, shared)
                    .await
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let connected = timeout(wait, UnixStream::connect(path)).await.map_err(too_late)?;
                let stream = connected.map_err(|error| no_connection(&error))?;
                if config.get_ssl_mode() == SslMode::Require {
                    return Err(Failure::new(ErrorClass::Tls, "a Unix socket has no TLS"));
                }
                Ok(plain(stream))
            }
        }
    }

    /// Asks for TLS where the address wants it (PostgreSQL documentation, "SSL Session Encryption").
    async fn negotiate(&self, mut stream: TcpStream, shared: &Shared) -> Result<Opened, Failure> {
        let (mode, negotiation) = (shared.config.get_ssl_mode(), shared.config.get_ssl_negotiation());
        let failed = |reason: &str| Err(Failure::new(ErrorClass::Tls, reason));
        let Some(tls) = &shared.tls else {
            return Ok(plain(stream));
        };
        if negotiation == SslNegotiation::Postgres {
            let broken = |error| Failure::broken(&error).in_connecting();
            let mut request = BytesMut::new();
            frontend::ssl_request(&mut request);
            stream.write_all(&request).await.map_err(broken)?;
            match (stream.read_u8().await.map_err(broken)?, mode) {
                (b'S', _) => {}
                (_, SslMode::Require) => return failed("the server does not support TLS"),
                _ => return Ok(plain(stream)),
            }
        } else if mode != SslMode::Require {
            return failed("sslnegotiation=direct needs sslmode=require");
        }
        let Some(host) = self.host.clone() else {
            return failed("no host name for the TLS handshake: give `host` beside `hostaddr`");
        };
        handshake(stream, tls, host).await
    }
}

async fn handshake(stream: TcpStream, tls: &Arc<ClientConfig>, host: String) -> Result<Opened, Failure> {
    let name = ServerName::try_from(host).map_err(|error| Failure::new(ErrorClass::Tls, error))?;
    let stream = TlsConnector::from(Arc::clone(tls))
        .connect(name, stream)
        .await
        .map_err(|error| Failure::new(ErrorClass::Tls, tls::describe(&error)))?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let binding = certificates
        .first()
        .and_then(|certificate| channel_binding::of_certificate(certificate));
    Ok(Opened {
        stream: Box::new(stream),
        binding,
    })
}

fn plain(stream: impl Stream + 'static) -> Opened {
    Opened {
        stream: Box::new(stream),
        binding: None,
    }
}

fn no_connection(error: &io::Error) -> Failure {
    Failure::new(ErrorClass::Connect, format_args!("error connecting to server: {error}"))
}

/// A socket as the address wants it.
fn configured(stream: TcpStream, config: &Config) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if let Some(limit) = config.get_tcp_user_timeout() {
        let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&stream, milliseconds)?;
    }
    if config.get_keepalives() {
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, config.get_keepalives_idle())?;
        if let Some(interval) = config.get_keepalives_interval() {
            sockopt::set_tcp_keepintvl(&stream, interval)?;
        }
        if let Some(retries) = config.get_keepalives_retries() {
            sockopt::set_tcp_keepcnt(&stream, retries)?;
        }
    }
    Ok(stream)
}
