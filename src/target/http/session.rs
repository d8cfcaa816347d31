//! One user's connection to a service, and how a request is performed on it.

use std::{future::Future, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request as HyperRequest, Uri,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderValue, LOCATION,
        TRANSFER_ENCODING,
    },
    http::uri::{Parts, PathAndQuery},
};
use tokio::time::{Instant, timeout};

use super::{
    Failure, Shared,
    body::{receive, unpack},
    connection::{Channel, classify},
    cookies::Jar,
};
use crate::{
    sample::{ErrorClass, Outcome, Phases},
    target::{Answer, Operation, Reply, deadline::Deadline},
    units::format_duration,
    workload::{Body, DEFAULT_TIMEOUT, HttpRequest, Path, Request, Step, Values},
};

type Outgoing = HyperRequest<Full<Bytes>>;

/// One kept-alive connection and the cookies of its user.
#[derive(Debug)]
pub(in crate::target) struct Session {
    shared: Arc<Shared>,
    /// Taken out while in use: an operation that is cut off leaves none behind.
    channel: Option<Channel>,
    jar: Jar,
    text: String,
    deadline: Deadline,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            channel: None,
            jar: Jar::default(),
            text: String::new(),
            deadline: Deadline::default(),
        }
    }

    /// Connects now; a failure is left for the first operation to meet.
    pub(in crate::target) async fn connect_ahead(&mut self) {
        let mut phases = Phases::default();
        if let Ok(Ok(channel)) = timeout(DEFAULT_TIMEOUT, self.shared.connect(&mut phases)).await {
            self.channel = Some(channel);
        }
    }

    /// The cookies of now are those of every pass to come.
    pub(in crate::target) fn settle(&mut self) {
        self.jar.settle();
    }

    /// The next pass is another user's.
    pub(in crate::target) fn renew(&mut self) {
        self.jar.renew();
    }

    pub(in crate::target) async fn perform(&mut self, operation: Operation<'_, '_>, reply: &mut Reply) -> Outcome {
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
        let start = reply.start;
        let mut deadline = mem::take(&mut self.deadline);
        let ended = deadline
            .within(start, step.timeout, async {
                if http.redirects == 0 {
                    self.exchange(request, start, http, step, reply).await
                } else {
                    Box::pin(self.follow(request, http, step, reply)).await
                }
            })
            .await;
        reply.end = Instant::now();
        self.deadline = deadline;
        let failure = match ended {
            Some(Ok(head)) => {
                reply.phases.body = Some(reply.end - head);
                match unpack(step, reply) {
                    Ok(()) => return Outcome::Completed,
                    Err(failure) => failure,
                }
            }
            Some(Err(failure)) => failure,
            None => Failure::new(
                ErrorClass::Timeout,
                format!("no answer within {}", format_duration(step.timeout)),
            ),
        };
        reply.failed(failure.class, failure.reason)
    }

    fn request(&mut self, http: &HttpRequest, values: &mut Values<'_>) -> Result<Outgoing, String> {
        let path = match &http.path {
            Path::Constant(path) => path.clone(),
            Path::Rendered(template) => {
                self.text.clear();
                template.render(values, &mut self.text);
                self.text
                    .parse()
                    .map_err(|error| format!("the path \"{}\" is not usable: {error}", self.text))?
            }
        };
        let body = http.body.as_ref().map_or_else(Bytes::new, |body| body.render(values));
        let mut headers = http.headers.clone();
        if http.wants_host {
            headers.insert(HOST, self.shared.host.clone());
        }
        if let Some(Body::Rendered(_)) = &http.body
            && let Some(length) = headers.get_mut(CONTENT_LENGTH).filter(|length| length.is_empty())
        {
            *length = body.len().into();
        }
        if let Some(credentials) = &http.credentials {
            self.text.clear();
            credentials.render(values, &mut self.text);
            headers.insert(AUTHORIZATION, header_value(&AUTHORIZATION, &self.text)?);
        }
        for (name, template) in &http.rendered {
            self.text.clear();
            template.render(values, &mut self.text);
            headers.insert(name, header_value(name, &self.text)?);
        }
        let mut request = HyperRequest::new(Full::new(body));
        *request.method_mut() = http.method.clone();
        *request.headers_mut() = headers;
        *request.uri_mut() = self.uri(path)?;
        self.add_cookies(http, &mut request);
        Ok(request)
    }

    /// HTTP/2 says whom it asks in every request.
    fn uri(&self, path: PathAndQuery) -> Result<Uri, String> {
        let Some((scheme, authority)) = &self.shared.origin else {
            return Ok(path.into());
        };
        let mut parts = Parts::default();
        parts.scheme = Some(scheme.clone());
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|error| error.to_string())
    }

    /// A cookie that the step writes itself is the only one.
    fn add_cookies(&self, http: &HttpRequest, request: &mut Outgoing) {
        if let Some(cookies) = self.jar.header(&self.shared.url, request.uri().path())
            && !http.headers.contains_key(COOKIE)
        {
            request.headers_mut().insert(COOKIE, cookies);
        }
    }

    /// Sends a request and receives its answer; when the head of that came.
    async fn exchange(
        &mut self,
        request: Outgoing,
        mut began: Instant,
        http: &HttpRequest,
        step: &Step,
        reply: &mut Reply,
    ) -> Result<Instant, Failure> {
        let path = self.shared.cookies.then(|| request.uri().path_and_query().cloned());
        let (mut channel, reused) = match self.kept_channel().await {
            Some(channel) => (channel, true),
            None => {
                // Boxed, lest every request moves the room that a handshake needs.
                let channel = Box::pin(self.shared.connect(&mut reply.phases)).await?;
                began = Instant::now();
                (channel, false)
            }
        };
        let answer = match within(http.first_byte_timeout, channel.send(request)).await? {
            Ok(answer) => answer,
            Err(mut refused) => match refused.take_message() {
                // The server had closed the kept connection before anything was
                // written: it never saw the request, so this is no retry.
                Some(request) if reused => {
                    channel = Box::pin(self.shared.connect(&mut reply.phases)).await?;
                    began = Instant::now();
                    within(http.first_byte_timeout, channel.send(request))
                        .await?
                        .map_err(|refused| classify(refused.error()))?
                }
                _ => return Err(classify(refused.error())),
            },
        };
        let head = Instant::now();
        reply.phases.first_byte = Some(head - began);
        if let Some(path) = path.flatten() {
            self.jar.keep(answer.headers(), &self.shared.url, path.path());
        }
        receive(answer, step, reply).await?;
        self.channel = Some(channel);
        Ok(head)
    }

    /// The kept connection while it lives.
    async fn kept_channel(&mut self) -> Option<Channel> {
        let mut channel = self.channel.take()?;
        channel.is_open().await.then_some(channel)
    }

    /// The same through redirects.
    async fn follow(
        &mut self,
        mut request: Outgoing,
        http: &HttpRequest,
        step: &Step,
        reply: &mut Reply,
    ) -> Result<Instant, Failure> {
        let mut began = reply.start;
        let mut left = http.redirects;
        loop {
            let again = request.clone();
            let head = self.exchange(request, began, http, step, reply).await?;
            let Some((status, location)) = redirect(&reply.answer) else {
                return Ok(head);
            };
            if left == 0 {
                let reason = format!("more than {} redirects; the last leads to {location}", http.redirects);
                return Err(Failure::new(ErrorClass::Redirect, reason));
            }
            left -= 1;
            request = self.redirected(again, status, &location, http)?;
            began = Instant::now();
        }
    }

    /// The request that a redirect asks for.
    fn redirected(
        &self,
        mut request: Outgoing,
        status: u16,
        location: &str,
        http: &HttpRequest,
    ) -> Result<Outgoing, Failure> {
        let refused = |reason: String| Failure::new(ErrorClass::Redirect, reason);
        let shared = &self.shared;
        let mut here = shared.url.clone();
        here.set_path(request.uri().path());
        here.set_query(request.uri().query());
        let there = here
            .join(location)
            .map_err(|error| refused(format!("a redirect to \"{location}\": {error}")))?;
        if there.origin() != shared.url.origin() && there.origin() != shared.connected_url.origin() {
            return Err(refused(format!("a redirect away from the target, to {location}")));
        }
        let path = there[url::Position::BeforePath..url::Position::AfterQuery]
            .parse()
            .map_err(|error| refused(format!("a redirect to \"{location}\": {error}")))?;
        *request.uri_mut() = self.uri(path).map_err(refused)?;
        if status < 307 {
            if request.method() != Method::HEAD {
                *request.method_mut() = Method::GET;
            }
            *request.body_mut() = Full::default();
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
        }
        if !http.headers.contains_key(COOKIE) {
            request.headers_mut().remove(COOKIE);
        }
        self.add_cookies(http, &mut request);
        Ok(request)
    }
}

/// The head of an answer, within its own time where it has one.
async fn within<T>(limit: Option<Duration>, sending: impl Future<Output = T>) -> Result<T, Failure> {
    let Some(limit) = limit else {
        return Ok(sending.await);
    };
    timeout(limit, sending).await.map_err(|_| {
        let reason = format!("no answer began within {}", format_duration(limit));
        Failure::new(ErrorClass::FirstByteTimeout, reason)
    })
}

/// Where an answer leads to, if it does.
fn redirect(answer: &Answer) -> Option<(u16, String)> {
    let status = answer
        .status
        .filter(|status| [301, 302, 303, 307, 308].contains(status))?;
    let location = answer.headers.get(LOCATION)?;
    Some((status, String::from_utf8_lossy(location.as_bytes()).into_owned()))
}

fn header_value(name: &hyper::header::HeaderName, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text)
        .map_err(|_| format!("the value of header {name} has characters that HTTP does not allow"))
}
