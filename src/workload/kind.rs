//! The kinds of step, as the keys that choose them.

use hyper::Method;

use crate::scenario::{self, At};

/// A name made from a request or a statement is no longer than this.
const DEFAULT_NAME: usize = 80;

/// What makes a step of one kind: the key that stands there, with its value.
pub(super) enum Kind<'s> {
    Http(&'static str, Method, &'s At<String>),
    Sql(&'s At<String>),
    Transaction(&'s At<Vec<At<scenario::Statement>>>),
    Statements(&'s At<Vec<At<scenario::Statement>>>),
    Copy(&'s At<scenario::CopyIn>),
    Pause(&'s At<scenario::Wait>),
    Repeat(&'s At<i64>),
}

/// The keys of all kinds, for messages.
pub(super) const KINDS: &str =
    "get, post, put, patch, delete, head, options, sql, transaction, statements, copy, pause, repeat";

impl<'s> Kind<'s> {
    /// All kinds that a step has; it should be one.
    pub(super) fn all(step: &'s scenario::Step) -> Vec<Self> {
        let http = [
            ("get", Method::GET, &step.get),
            ("post", Method::POST, &step.post),
            ("put", Method::PUT, &step.put),
            ("patch", Method::PATCH, &step.patch),
            ("delete", Method::DELETE, &step.delete),
            ("head", Method::HEAD, &step.head),
            ("options", Method::OPTIONS, &step.options),
        ];
        http.into_iter()
            .filter_map(|(key, method, path)| Some(Self::Http(key, method, path.as_ref()?)))
            .chain(step.sql.as_ref().map(Self::Sql))
            .chain(step.transaction.as_ref().map(Self::Transaction))
            .chain(step.statements.as_ref().map(Self::Statements))
            .chain(step.copy.as_ref().map(Self::Copy))
            .chain(step.pause.as_ref().map(Self::Pause))
            .chain(step.repeat.as_ref().map(Self::Repeat))
            .collect()
    }

    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Http(key, ..) => key,
            Self::Sql(_) => "sql",
            Self::Transaction(_) => "transaction",
            Self::Statements(_) => "statements",
            Self::Copy(_) => "copy",
            Self::Pause(_) => "pause",
            Self::Repeat(_) => "repeat",
        }
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self, Self::Http(..))
    }

    /// Whether it is an operation, and not only an arrangement of others.
    pub(super) fn is_operation(&self) -> bool {
        !matches!(self, Self::Pause(_) | Self::Repeat(_))
    }

    /// What a step without a name is called: its request line or the start of its SQL.
    pub(super) fn default_name(&self) -> String {
        let name = match self {
            Self::Http(_, method, path) => format!("{method} {}", path.value),
            Self::Sql(sql) => sql.value.split_whitespace().collect::<Vec<_>>().join(" "),
            other => other.key().to_owned(),
        };
        name.chars().take(DEFAULT_NAME).collect()
    }
}
