//! The two ends of a link: where it listens, where it leads to, and sockets of either family.

use std::{io, net::SocketAddr, os::fd::AsFd, path::PathBuf, time::Duration};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

/// Where a link leads to.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// The first of these addresses that takes a connection.
    Tcp(Vec<SocketAddr>),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where a link is entered.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One end of a connection.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Lets the peer know of a reset, and not of an orderly end, once this is dropped; where its family has that.
    fn abort(&self);
}

impl Socket for TcpStream {
    fn abort(&self) {
        // Where it is refused, or the connection is over already, the peer sees its end all the same.
        let _ = sockopt::set_socket_linger(self.as_fd(), Some(Duration::ZERO));
    }
}

impl Socket for UnixStream {
    fn abort(&self) {}
}

impl Upstream {
    /// A connection to the server.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Socket>> {
        match self {
            Self::Tcp(addresses) => {
                let stream = TcpStream::connect(addresses.as_slice()).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
        }
    }
}

impl Listener {
    /// The next client.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Socket>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Refused where the client is gone already, which will be met.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}
