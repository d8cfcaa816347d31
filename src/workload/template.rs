//! Text with `{{ variables }}`, compiled to parts before any load.

use super::value::{Value, Values, write_json_string};

/// Text with variables in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(Box<str>),
    Constant(Value),
    Variable { index: usize, encoding: Encoding },
}

/// How a variable is written into the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// Percent-encoded, for paths and queries (RFC 3986: all but unreserved characters).
    Url,
    /// As a JSON value with its own type.
    Json,
    /// Inside a JSON string.
    JsonText,
}

/// Something in a template that is no template.
#[derive(Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// `{{` without `}}`.
    Unclosed,
    /// No variable of that name is known here.
    Unknown(String),
}

impl Template {
    /// Compiles text; `find` gives the index of a variable by its name.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn compile(
        text: &str,
        encoding: Encoding,
        find: &mut dyn FnMut(&str) -> Option<usize>,
    ) -> Result<Self, Vec<TemplateError>> {
        let mut parts = Vec::new();
        let mut errors = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, remaining)) = after.split_once("}}") else {
                errors.push(TemplateError::Unclosed);
                break;
            };
            if !before.is_empty() {
                parts.push(Part::Literal(before.into()));
            }
            match find(name.trim()) {
                Some(index) => parts.push(Part::Variable { index, encoding }),
                None => errors.push(TemplateError::Unknown(name.trim().to_owned())),
            }
            rest = remaining;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        if errors.is_empty() {
            Ok(Self { parts })
        } else {
            Err(errors)
        }
    }

    /// A value that is always the same and keeps its type.
    pub(super) fn constant(value: Value) -> Self {
        Self {
            parts: vec![Part::Constant(value)],
        }
    }

    /// The text with something harmless in place of every variable, to see whether its rest is well-formed.
    pub(super) fn sample(&self) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Constant(value) => value.write_text(&mut out),
                Part::Variable { .. } => out.push('1'),
            }
        }
        out
    }

    /// Text without variables.
    pub fn literal(text: &str) -> Self {
        Self {
            parts: vec![Part::Literal(text.into())],
        }
    }

    /// Joins templates.
    pub(super) fn concat(templates: impl IntoIterator<Item = Self>) -> Self {
        Self {
            parts: templates.into_iter().flat_map(|template| template.parts).collect(),
        }
    }

    /// The same with another encoding of its variables.
    pub(super) fn with_encoding(mut self, wanted: Encoding) -> Self {
        for part in &mut self.parts {
            if let Part::Variable { encoding, .. } = part {
                *encoding = wanted;
            }
        }
        self
    }

    /// The same with its literal parts escaped as the inside of a JSON string.
    pub(super) fn escape_literals(mut self) -> Self {
        for part in &mut self.parts {
            if let Part::Literal(text) = part {
                let mut escaped = String::new();
                write_json_string(text, &mut escaped, false);
                *text = escaped.into();
            }
        }
        self
    }

    /// The same with its literal parts percent-encoded.
    pub(super) fn percent_encode_literals(mut self) -> Self {
        for part in &mut self.parts {
            if let Part::Literal(text) = part {
                let mut encoded = String::new();
                percent_encode(text, &mut encoded);
                *text = encoded.into();
            }
        }
        self
    }

    /// The text, where it is always the same.
    pub(super) fn as_constant(&self) -> Option<String> {
        let varies = |part: &Part| matches!(part, Part::Variable { .. });
        (!self.parts.iter().any(varies)).then(|| self.sample())
    }

    /// Whether it is one variable and nothing else.
    pub(super) fn is_single_variable(&self) -> bool {
        matches!(self.parts.as_slice(), [Part::Variable { .. }])
    }

    /// Appends the text with the values of this pass.
    pub fn render(&self, values: &mut Values<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Constant(value) => value.write_text(out),
                Part::Variable { index, encoding } => write(values.get(*index), *encoding, out),
            }
        }
    }

    /// A single variable or constant with its own type, else the rendered text.
    pub fn value(&self, values: &mut Values<'_>) -> Value {
        match self.parts.as_slice() {
            [Part::Variable { index, .. }] => values.get(*index).clone(),
            [Part::Constant(value)] => value.clone(),
            _ => {
                let mut text = String::new();
                self.render(values, &mut text);
                Value::Text(text.into())
            }
        }
    }
}

fn write(value: &Value, encoding: Encoding, out: &mut String) {
    match encoding {
        Encoding::Plain => value.write_text(out),
        Encoding::Json => value.write_json(out),
        Encoding::Url => {
            let mut text = String::new();
            value.write_text(&mut text);
            percent_encode(&text, out);
        }
        Encoding::JsonText => {
            let mut text = String::new();
            value.write_text(&mut text);
            write_json_string(&text, out, false);
        }
    }
}

fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}
