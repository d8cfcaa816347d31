//! `auth` of targets and steps → the header `authorization`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::header::{AUTHORIZATION, HeaderValue};

use super::{Credentials, HttpRequest};
use crate::{
    scenario::{self, At},
    workload::{Encoding, Template, compile::Compiler, steps::Steps},
};

/// Credentials as text with templates, `${…}` resolved.
#[derive(Debug, Clone)]
pub(in crate::workload) struct AuthText {
    basic: bool,
    text: At<String>,
}

impl AuthText {
    /// Reads what was written; secrets are noted, problems go to the compiler.
    pub(in crate::workload) fn read(compiler: &mut Compiler<'_>, at: &At<scenario::Auth>) -> Option<Self> {
        let (basic, text) = match (&at.value.basic, &at.value.bearer) {
            (Some(basic), None) => (true, user_and_password(compiler, basic)?),
            (None, Some(token)) => (false, compiler.resolve(token)?),
            _ => {
                let help = Some(
                    "write auth = { basic = { user = \"…\", password = \"…\" } } or auth = { bearer = \"…\" }".into(),
                );
                compiler.problem(at, "not credentials", "exactly one of `basic` and `bearer`", help);
                return None;
            }
        };
        if !text.contains("{{") {
            compiler.secrets.add(&text);
            if basic {
                compiler.secrets.add(&BASE64_STANDARD.encode(&text));
            }
        }
        Some(Self {
            basic,
            text: at.with(text),
        })
    }

    fn credentials(&self, template: Template) -> Credentials {
        if self.basic {
            Credentials::Basic(template)
        } else {
            Credentials::Bearer(template)
        }
    }
}

fn user_and_password(compiler: &mut Compiler<'_>, at: &At<scenario::Basic>) -> Option<String> {
    let (Some(user), Some(password)) = (&at.value.user, &at.value.password) else {
        let label = "`user` and `password` are both needed";
        compiler.problems.add_missing(at.span(), "not credentials", label, None);
        return None;
    };
    let (name, password) = (compiler.resolve(user), compiler.resolve(password));
    let (name, password) = (name?, password?);
    if name.contains(':') {
        compiler.problem(user, "not a user", "the name of a user cannot have `:` in it", None);
    }
    if !password.contains("{{") {
        compiler.secrets.add(&password);
    }
    Some(format!("{name}:{password}"))
}

impl Steps<'_, '_> {
    /// Gives a request the credentials of its step, else those of its target.
    pub(super) fn authorize(
        &mut self,
        request: &mut HttpRequest,
        written: Option<&At<scenario::Auth>>,
        target: Option<usize>,
    ) {
        let credentials = match (written, target) {
            (Some(at), _) => AuthText::read(self.compiler, at).and_then(|auth| {
                let template = self.template(&auth.text, Encoding::Plain)?;
                Some(auth.credentials(template))
            }),
            (None, Some(target)) => self.inherited_credentials(target),
            (None, None) => None,
        };
        let Some(credentials) = credentials else { return };
        let constant = match &credentials {
            Credentials::Basic(text) | Credentials::Bearer(text) => text.as_constant(),
        };
        let value = match (constant, &credentials) {
            (Some(text), Credentials::Basic(_)) => format!("Basic {}", BASE64_STANDARD.encode(text)),
            (Some(text), Credentials::Bearer(_)) => format!("Bearer {text}"),
            (None, _) => {
                request.headers.insert(AUTHORIZATION, HeaderValue::from_static(""));
                request.credentials = Some(credentials);
                return;
            }
        };
        match HeaderValue::try_from(value) {
            Ok(value) => drop(request.headers.insert(AUTHORIZATION, value)),
            Err(_) => self.bad_token(written, target),
        }
    }

    fn bad_token(&mut self, written: Option<&At<scenario::Auth>>, target: Option<usize>) {
        let inherited = target.and_then(|target| self.targets[target].http.auth.as_ref());
        let place = written.map(At::span).or(inherited.map(|auth| auth.text.span()));
        if let Some(place) = place {
            let label = "it has characters that HTTP does not allow in a header";
            self.compiler.problems.add(place, "not credentials", label, None);
        }
    }

    /// The target's credentials; none for a step before which their variables
    /// are not saved, such as the one that logs in.
    fn inherited_credentials(&mut self, target: usize) -> Option<Credentials> {
        let auth = self.targets[target].http.auth.clone()?;
        self.targets[target].http.auth_wanted = true;
        let template = Template::compile(&auth.text.value, Encoding::Plain, &mut |name| self.scope.find(name)).ok()?;
        self.targets[target].http.auth_used = true;
        Some(auth.credentials(template))
    }

    /// Tells of credentials of targets that no step can use.
    pub(in crate::workload) fn check_inherited_credentials(&mut self) {
        for target in 0..self.targets.len() {
            let http = &self.targets[target].http;
            if let (Some(auth), true, false) = (http.auth.clone(), http.auth_wanted, http.auth_used) {
                self.template(&auth.text, Encoding::Plain);
            }
        }
    }
}
