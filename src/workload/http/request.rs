//! HTTP steps → requests, with all that never changes already made.

use std::collections::BTreeMap;

use hyper::{
    HeaderMap, Method,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
    http::uri::PathAndQuery,
};

use super::{Body, HttpRequest, Path, target::phase_timeout, target::redirects};
use crate::{
    scenario::{self, At},
    workload::{Encoding, Kind, Template, secrets::is_secret_header, steps::Steps},
};

const LOADGATE: HeaderValue = HeaderValue::from_static(concat!("loadgate/", env!("CARGO_PKG_VERSION")));

/// Holds the place of a value that is known only when it is sent, so that the map need not grow then.
const LATER: HeaderValue = HeaderValue::from_static("");

impl Steps<'_, '_> {
    /// Compiles an HTTP step; problems go to the compiler.
    pub(in crate::workload) fn http(
        &mut self,
        method: Method,
        path: &At<String>,
        written: &scenario::Step,
        target: Option<usize>,
    ) -> Option<HttpRequest> {
        let path = self.path_and_query(path, target);
        let content = self.content(written);
        let mut request = HttpRequest {
            wants_host: true,
            headers: self.inherited_headers(target),
            method,
            path: path?,
            rendered: Vec::new(),
            credentials: None,
            body: None,
            redirects: self.redirects(written, target),
            first_byte_timeout: self.first_byte_timeout(written, target),
        };
        let content = content?;
        self.authorize(&mut request, written.auth.as_ref(), target);
        if let Some(content_type) = content.content_type {
            request.headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(length) = content_length(&request.method, content.body.as_ref()) {
            request.headers.insert(CONTENT_LENGTH, length);
        }
        request.body = content.body;
        self.headers(&written.headers, &mut request);
        request.wants_host = request.headers.get(HOST).is_some_and(HeaderValue::is_empty);
        Some(request)
    }

    fn path_and_query(&mut self, at: &At<String>, target: Option<usize>) -> Option<Path> {
        let template = self.text(at, Encoding::Url)?;
        let sample = template.sample();
        if !sample.starts_with('/') {
            let help = Some("the address belongs into [target.…] http = \"…\", the path here".into());
            self.compiler.problem(at, "not a path", "a path starts with `/`", help);
        } else if sample.contains('#') || sample.parse::<PathAndQuery>().is_err() {
            let help = Some(
                "write it percent-encoded: a space is %20, `#` is %23; templates are encoded by themselves".into(),
            );
            self.compiler
                .problem(at, "not a path", "it has characters that a path cannot have", help);
        }
        let prefix = match target.map(|target| &self.targets[target].target.kind) {
            Some(Kind::Http(http)) => http.prefix.as_str(),
            _ => "",
        };
        let whole = Template::concat([Template::literal(prefix), template]);
        let constant = whole.as_constant().and_then(|path| path.parse().ok());
        Some(constant.map_or(Path::Rendered(whole), Path::Constant))
    }

    /// What all requests to a target have.
    fn inherited_headers(&self, target: Option<usize>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(compiled) = target.map(|target| &self.targets[target]) else {
            return headers;
        };
        let Kind::Http(http) = &compiled.target.kind else {
            return headers;
        };
        // HTTP/2 has it in `:authority`.
        if !http.http2 {
            headers.insert(HOST, LATER);
        }
        headers.insert(USER_AGENT, LOADGATE);
        if compiled.http.compression {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        }
        for (name, value) in &http.headers {
            headers.insert(name, value.clone());
        }
        headers
    }

    fn redirects(&mut self, written: &scenario::Step, target: Option<usize>) -> u32 {
        let inherited = target.map_or(0, |target| self.targets[target].http.redirects);
        redirects(self.compiler, written.redirects.as_ref(), inherited)
    }

    fn first_byte_timeout(&mut self, written: &scenario::Step, target: Option<usize>) -> Option<std::time::Duration> {
        let inherited = target.and_then(|target| self.targets[target].http.first_byte_timeout);
        phase_timeout(self.compiler, written.first_byte_timeout.as_ref()).or(inherited)
    }

    /// The step's own headers, over all others.
    fn headers(&mut self, written: &BTreeMap<String, At<String>>, request: &mut HttpRequest) {
        for (name, at) in written {
            let Some(template) = self.text(at, Encoding::Plain) else {
                continue;
            };
            let sample = template.sample();
            if is_secret_header(name) && !at.value.contains("{{") {
                self.compiler.secrets.add_header(&sample);
            }
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(&sample)) else {
                self.compiler.problem(
                    at,
                    format!("not a header: {name}"),
                    "name or value has characters that HTTP does not allow",
                    None,
                );
                continue;
            };
            if name == AUTHORIZATION {
                request.credentials = None;
            }
            request.headers.insert(&name, value);
            if template.as_constant().is_none() {
                request.rendered.push((name, template));
            }
        }
    }
}

/// hyper sets the length of a body that is there; this is for those that are not.
fn content_length(method: &Method, body: Option<&Body>) -> Option<HeaderValue> {
    match body {
        Some(Body::Constant(bytes)) => Some(bytes.len().into()),
        Some(Body::Rendered(_)) => Some(LATER),
        None => [Method::POST, Method::PUT, Method::PATCH]
            .contains(method)
            .then(|| HeaderValue::from_static("0")),
    }
}
