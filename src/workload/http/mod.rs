//! HTTP, compiled: what a service is spoken to with, and requests of which all
//! that never changes is made before the load.

mod auth;
mod body;
mod request;
mod target;

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue},
    http::uri::{Authority, PathAndQuery},
};

pub(super) use self::{
    auth::AuthText,
    target::{Inherited, compile as compile_target},
};
use super::{Template, Values};

/// An HTTP service.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    /// Base URL, may hold `{port}`.
    pub base: String,
    /// Path of the base URL, in front of every step's path.
    pub prefix: String,
    /// Sent with every request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What requests and the TLS handshake name instead of the host of the URL.
    pub host: Option<Authority>,
    /// Speak HTTP/2.
    pub http2: bool,
    /// Keep cookies.
    pub cookies: bool,
    /// How long making a connection may take.
    pub connect_timeout: Option<Duration>,
    /// Whom to trust, and who we are.
    pub tls: Tls,
}

/// Whom to trust, and who we are.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Trusted certificate authorities instead of the system's.
    pub ca: Option<PathBuf>,
    /// Files of the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Accept any certificate.
    pub insecure: bool,
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: Path,
    /// All headers; an empty value holds the place of one that is known only when it is sent.
    pub headers: HeaderMap,
    /// Headers with variables in them.
    pub rendered: Vec<(HeaderName, Template)>,
    /// Credentials with variables in them.
    pub credentials: Option<Credentials>,
    /// The header `host` is known only with the address of the target.
    pub wants_host: bool,
    /// Body.
    pub body: Option<Body>,
    /// How many redirects to follow.
    pub redirects: u32,
    /// How long the head of the answer may take.
    pub first_byte_timeout: Option<Duration>,
}

/// Path and query of a request, the target's prefix included.
#[derive(Debug, Clone)]
pub enum Path {
    /// Always the same.
    Constant(PathAndQuery),
    /// With variables.
    Rendered(Template),
}

impl Path {
    /// Appends it with the values of this pass.
    pub fn render(&self, values: &mut Values<'_>, out: &mut String) {
        match self {
            Self::Constant(path) => out.push_str(path.as_str()),
            Self::Rendered(template) => template.render(values, out),
        }
    }
}

/// Body of a request.
#[derive(Debug, Clone)]
pub enum Body {
    /// Always the same.
    Constant(Bytes),
    /// With variables.
    Rendered(Vec<Piece>),
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Of a file.
    Bytes(Bytes),
    /// Text.
    Text(Template),
}

impl Body {
    /// It with the values of this pass.
    pub fn render(&self, values: &mut Values<'_>) -> Bytes {
        match self {
            Self::Constant(bytes) => bytes.clone(),
            Self::Rendered(pieces) => {
                let mut whole = Vec::new();
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
                        Piece::Text(template) => {
                            template.render(values, &mut text);
                            if whole.is_empty() {
                                whole = std::mem::take(&mut text).into_bytes();
                            } else {
                                whole.extend_from_slice(text.as_bytes());
                                text.clear();
                            }
                        }
                    }
                }
                whole.into()
            }
        }
    }
}

/// Credentials with variables in them.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// `user:password`.
    Basic(Template),
    /// A token.
    Bearer(Template),
}

impl Credentials {
    /// What the header `authorization` says, up to the secret.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Basic(_) => "Basic",
            Self::Bearer(_) => "Bearer",
        }
    }

    /// Appends the value of the header `authorization` with the values of this pass.
    pub fn render(&self, values: &mut Values<'_>, out: &mut String) {
        out.push_str(self.scheme());
        out.push(' ');
        match self {
            Self::Basic(template) => {
                let mut plain = String::new();
                template.render(values, &mut plain);
                BASE64_STANDARD.encode_string(plain, out);
            }
            Self::Bearer(template) => template.render(values, out),
        }
    }
}
