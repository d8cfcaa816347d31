//! The keys of an HTTP target → what speaks to it, and what its steps inherit.

use std::{path::PathBuf, time::Duration};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
    http::uri::Authority,
};

use super::{AuthText, HttpTarget, Tls};
use crate::{
    scenario::{self, At},
    workload::{compile::Compiler, secrets::is_secret_header},
};

/// More redirects in a row than this lead nowhere.
pub(super) const MOST_REDIRECTS: i64 = 100;

/// What requests have from their target unless their step says otherwise.
#[derive(Debug, Default)]
pub(in crate::workload) struct Inherited {
    pub(super) auth: Option<AuthText>,
    /// Whether a step would send it, and whether one can.
    pub(super) auth_wanted: bool,
    pub(super) auth_used: bool,
    pub(in crate::workload) redirects: u32,
    pub(in crate::workload) compression: bool,
    pub(super) first_byte_timeout: Option<Duration>,
}

/// Compiles an HTTP target; problems go to the compiler.
pub(in crate::workload) fn compile(
    compiler: &mut Compiler<'_>,
    at: &At<String>,
    written: &scenario::Target,
) -> Option<(HttpTarget, Inherited)> {
    let headers = written
        .headers
        .iter()
        .filter_map(|(name, value)| header(compiler, name, value))
        .collect();
    let inherited = Inherited {
        auth: written.auth.as_ref().and_then(|auth| AuthText::read(compiler, auth)),
        redirects: redirects(compiler, written.redirects.as_ref(), 0),
        compression: is_on(&written.compression),
        first_byte_timeout: phase_timeout(compiler, written.first_byte_timeout.as_ref()),
        ..Inherited::default()
    };
    let tls = Tls {
        ca: compiler.file(written.ca.as_ref()),
        identity: identity(compiler, written),
        insecure: written.insecure.unwrap_or(false),
    };
    let host = written.host.as_ref().and_then(|at| host(compiler, at));
    let connect_timeout = phase_timeout(compiler, written.connect_timeout.as_ref());
    let base = compiler.resolve(at)?.trim_end_matches('/').to_owned();
    compiler.secrets.add_password_of(&base);
    let prefix = check_url(&base, written.start.is_some()).unwrap_or_else(|reason| {
        let help = Some("write for example http = \"http://127.0.0.1:8080\"".into());
        compiler.problem(at, "not a base URL", reason, help);
        String::new()
    });
    let target = HttpTarget {
        base,
        prefix,
        headers,
        host,
        http2: is_on(&written.http2),
        cookies: written.cookies.as_ref().is_none_or(|at| at.value),
        connect_timeout,
        tls,
    };
    Some((target, inherited))
}

fn is_on(key: &Option<At<bool>>) -> bool {
    key.as_ref().is_some_and(|at| at.value)
}

/// How many redirects to follow.
pub(super) fn redirects(compiler: &mut Compiler<'_>, at: Option<&At<i64>>, default: u32) -> u32 {
    compiler.integer(at, "`redirects`", 0..=MOST_REDIRECTS, i64::from(default)) as u32
}

/// A timeout that is there only where it is written.
pub(super) fn phase_timeout(compiler: &mut Compiler<'_>, at: Option<&At<String>>) -> Option<Duration> {
    at.map(|at| compiler.timeout(Some(at), Duration::MAX))
}

/// The path of a base URL, or what is wrong with it.
fn check_url(base: &str, managed: bool) -> Result<String, String> {
    if base.contains("{port}") && !managed {
        return Err("`{port}` is the port of a managed process; add `start`".into());
    }
    // Any port stands for the one that is chosen later.
    let uri: Uri = base
        .replace("{port}", "1")
        .parse()
        .map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("it must start with http:// or https://".into()),
    }
    let authority = uri.authority().map_or("", Authority::as_str);
    if authority.contains('@') {
        return Err(
            "credentials do not belong into the URL; use auth = { basic = { user = \"…\", password = \"…\" } }".into(),
        );
    }
    if uri.query().is_some() {
        return Err("a base URL has no query; put it into the steps".into());
    }
    let path = base.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    if path.is_some_and(|(_, path)| path.contains("{port}")) {
        return Err("`{port}` belongs behind the host, not into the path".into());
    }
    Ok(uri.path().trim_end_matches('/').to_owned())
}

fn host(compiler: &mut Compiler<'_>, at: &At<String>) -> Option<Authority> {
    let text = compiler.resolve(at)?;
    match Authority::try_from(text.as_str()) {
        Ok(authority) if !text.contains('@') && !authority.host().is_empty() => Some(authority),
        _ => {
            let label = "write it without scheme and path, as in \"shop.example\" or \"shop.example:8443\"";
            compiler.problem(at, "not a host", label, None);
            None
        }
    }
}

fn header(compiler: &mut Compiler<'_>, name: &str, at: &At<String>) -> Option<(HeaderName, HeaderValue)> {
    let value = compiler.resolve(at)?;
    if is_secret_header(name) {
        compiler.secrets.add_header(&value);
    }
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => Some((name, value)),
        _ => {
            compiler.problem(
                at,
                format!("not a header: {name}"),
                "name or value has characters that HTTP does not allow",
                None,
            );
            None
        }
    }
}

/// Certificate and key, which need each other.
fn identity(compiler: &mut Compiler<'_>, written: &scenario::Target) -> Option<(PathBuf, PathBuf)> {
    let (present, missing) = match (&written.cert, &written.key) {
        (Some(cert), Some(key)) => {
            let (cert, key) = (compiler.file(Some(cert)), compiler.file(Some(key)));
            return cert.zip(key);
        }
        (Some(cert), None) => (cert, "key"),
        (None, Some(key)) => (key, "cert"),
        (None, None) => return None,
    };
    let title = "half of a client certificate";
    let label = format!("`cert` and `key` need each other; `{missing}` is missing");
    compiler.problems.add_missing(present.span(), title, label, None);
    None
}
