//! The kinds of body: text, JSON, a form, parts, a file.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::HeaderValue;

use super::{Body, Piece};
use crate::{
    run::hash,
    scenario::{self, At, Part, Scalar},
    workload::{Encoding, Template, steps::Steps},
};

/// A body and what it is.
#[derive(Default)]
pub(super) struct Content {
    pub(super) body: Option<Body>,
    pub(super) content_type: Option<HeaderValue>,
}

impl Content {
    fn new(pieces: Vec<Piece>, content_type: Option<HeaderValue>) -> Self {
        let constants: Option<Vec<Bytes>> = pieces.iter().map(constant).collect();
        let body = match constants {
            Some(constants) => Body::Constant(match constants.as_slice() {
                [only] => only.clone(),
                several => several.concat().into(),
            }),
            None => Body::Rendered(pieces),
        };
        Self {
            body: Some(body),
            content_type,
        }
    }
}

fn constant(piece: &Piece) -> Option<Bytes> {
    match piece {
        Piece::Bytes(bytes) => Some(bytes.clone()),
        Piece::Text(template) => template.as_constant().map(Bytes::from),
    }
}

fn literal(text: String) -> Piece {
    Piece::Bytes(text.into())
}

impl Steps<'_, '_> {
    /// The body of a step; `None` when it has problems.
    pub(super) fn content(&mut self, written: &scenario::Step) -> Option<Content> {
        let named = |name| Some(HeaderValue::from_static(name));
        if let Some(text) = &written.body {
            let text = self.text(text, Encoding::Plain)?;
            Some(Content::new(vec![Piece::Text(text)], None))
        } else if let Some(json) = &written.json {
            let json = self.json(json)?;
            Some(Content::new(vec![Piece::Text(json)], named("application/json")))
        } else if !written.form.is_empty() {
            let form = self.form(&written.form)?;
            let content_type = named("application/x-www-form-urlencoded");
            Some(Content::new(vec![Piece::Text(form)], content_type))
        } else if let Some(parts) = &written.multipart {
            self.multipart(parts)
        } else if let Some(path) = &written.body_file {
            Some(Content::new(vec![Piece::Bytes(self.compiler.body_file(path)?)], None))
        } else {
            Some(Content::default())
        }
    }

    fn form(&mut self, fields: &BTreeMap<String, At<Scalar>>) -> Option<Template> {
        let mut parts = Vec::new();
        for (number, (name, at)) in fields.iter().enumerate() {
            let value = match &at.value {
                Scalar::Text(text) => self.text(&at.with(text.clone()), Encoding::Url),
                other => Some(Template::constant(other.into())),
            };
            let name = Template::literal(name).percent_encode_literals();
            parts.extend((number > 0).then(|| Some(Template::literal("&"))));
            parts.push(Some(Template::concat([name, Template::literal("=")])));
            parts.push(value.map(Template::percent_encode_literals));
        }
        let parts: Option<Vec<_>> = parts.into_iter().collect();
        parts.map(Template::concat)
    }

    fn multipart(&mut self, parts: &At<Vec<At<Part>>>) -> Option<Content> {
        if parts.value.is_empty() {
            self.compiler
                .problems
                .add_missing(parts.span(), "an empty body", "no parts", None);
        }
        let compiled: Vec<_> = parts.value.iter().map(|part| self.part(part)).collect();
        let compiled: Vec<(String, Piece)> = compiled.into_iter().collect::<Option<_>>()?;
        let boundary = boundary(&compiled);
        let mut pieces = Vec::new();
        for (head, content) in compiled {
            pieces.push(literal(format!("--{boundary}\r\n{head}\r\n\r\n")));
            pieces.push(content);
            pieces.push(literal("\r\n".into()));
        }
        pieces.push(literal(format!("--{boundary}--\r\n")));
        let content_type = HeaderValue::try_from(format!("multipart/form-data; boundary={boundary}")).ok();
        Some(Content::new(pieces, content_type))
    }

    /// Head and content of a part.
    fn part(&mut self, at: &At<Part>) -> Option<(String, Piece)> {
        let Part {
            name,
            value,
            file,
            file_name,
            content_type,
        } = &at.value;
        let Some(name) = name else {
            self.compiler
                .problems
                .add_missing(at.span(), "a part without a name", "`name` is missing", None);
            return None;
        };
        let (content, file) = match (value, file) {
            (Some(value), None) => (Piece::Text(self.text(value, Encoding::Plain)?), None),
            (None, Some(path)) => (Piece::Bytes(self.compiler.body_file(path)?), Some(path)),
            _ => {
                let label = "exactly one of `value` and `file`";
                self.compiler.problem(at, "a part without content", label, None);
                return None;
            }
        };
        let name = self.compiler.resolve(name)?;
        let file_name = match (file_name, file) {
            (Some(file_name), _) => Some(self.compiler.resolve(file_name)?),
            (None, Some(path)) => Some(last_component(&self.compiler.resolve(path)?)),
            (None, None) => None,
        };
        let content_type = match (content_type, file) {
            (Some(content_type), _) => Some(self.content_type(content_type)?),
            (None, Some(_)) => Some("application/octet-stream".to_owned()),
            (None, None) => None,
        };
        let mut head = format!("content-disposition: form-data; name=\"{}\"", quoted(&name));
        if let Some(file_name) = file_name {
            head += &format!("; filename=\"{}\"", quoted(&file_name));
        }
        if let Some(content_type) = content_type {
            head += &format!("\r\ncontent-type: {content_type}");
        }
        Some((head, content))
    }

    fn content_type(&mut self, at: &At<String>) -> Option<String> {
        let text = self.compiler.resolve(at)?;
        if HeaderValue::try_from(&text).is_err() {
            let label = "it has characters that HTTP does not allow in a header";
            self.compiler.problem(at, "not a type of content", label, None);
        }
        Some(text)
    }
}

/// The same for the same parts, and not to be found in any.
fn boundary(parts: &[(String, Piece)]) -> String {
    let mut all = String::new();
    for (head, content) in parts {
        all += head;
        match content {
            Piece::Bytes(bytes) => all += &hash(bytes),
            Piece::Text(template) => all += &template.sample(),
        }
    }
    format!("loadgate-{}", &hash(all.as_bytes())[..32])
}

/// As browsers write names between quotes.
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn last_component(path: &str) -> String {
    std::path::Path::new(path)
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
