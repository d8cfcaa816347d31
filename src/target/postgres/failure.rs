//! How something on PostgreSQL failed: its class, and the reason in the
//! server's own words where it gave one.

use std::{fmt::Display, io};

use super::message::Fields;
use crate::sample::ErrorClass;

/// How an operation or a connection failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, message: impl Display) -> Self {
        Self {
            class,
            message: message.to_string(),
        }
    }

    /// The server sent what the protocol does not allow there.
    pub(super) fn protocol(what: impl Display) -> Self {
        Self::new(ErrorClass::Protocol, format_args!("unexpected answer: {what}"))
    }

    /// A message that stands at the wrong place, or that loadgate does not take part in.
    pub(super) fn unexpected(tag: u8) -> Self {
        match tag {
            b'G' | b'H' | b'W' => {
                Self::protocol("the statement is a COPY; rows are copied in by a step with `copy`, nothing else is")
            }
            _ => Self::protocol(format_args!("a message of type '{}'", tag.escape_ascii())),
        }
    }

    /// A message whose content does not fit its type.
    pub(super) fn malformed(what: &str) -> Self {
        Self::protocol(format_args!("a malformed {what}"))
    }

    /// The server closed the connection and did not say why.
    pub(super) fn closed() -> Self {
        Self::new(ErrorClass::Disconnected, "connection closed")
    }

    /// The connection broke.
    pub(super) fn broken(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            // TLS that ended without its closing alert.
            return Self::closed();
        }
        Self::new(
            ErrorClass::Disconnected,
            format_args!("error communicating with the server: {error}"),
        )
    }

    /// While a connection is made, its loss means that there is none.
    pub(super) fn in_connecting(self) -> Self {
        match self.class {
            ErrorClass::Disconnected => Self {
                class: ErrorClass::Connect,
                ..self
            },
            _ => self,
        }
    }
}

/// What an ErrorResponse says.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// Whether the server ends the connection over it.
    pub(super) fatal: bool,
}

impl Refusal {
    /// Reads the fields of an ErrorResponse (PostgreSQL documentation, "Error and Notice Message Fields").
    pub(super) fn read(body: &[u8]) -> Self {
        let (mut code, mut message, mut severity) = (None, None, None);
        let mut fields = Fields(body);
        while let Some(kind) = fields.byte().filter(|kind| *kind != 0) {
            let Some(text) = fields.text() else { break };
            match kind {
                b'C' => code = Some(text),
                b'M' => message = Some(text),
                // Not translated; servers before 9.6 have only `S`.
                b'V' => severity = Some(text),
                b'S' => severity = severity.or(Some(text)),
                _ => {}
            }
        }
        let failure = match (code, message) {
            (Some(code), Some(message)) => Failure {
                class: code.try_into().map_or(ErrorClass::Protocol, ErrorClass::SqlState),
                message: format!(
                    "{} (SQLSTATE {})",
                    String::from_utf8_lossy(message),
                    String::from_utf8_lossy(code)
                ),
            },
            _ => Failure::malformed("error"),
        };
        Self {
            failure,
            fatal: matches!(severity, Some(b"FATAL" | b"PANIC")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_server_keep_their_words_and_their_code() {
        let refusal = Refusal::read(b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0");
        assert!(refusal.fatal);
        assert_eq!(refusal.failure.class, ErrorClass::SqlState(*b"57P01"));
        assert_eq!(refusal.failure.message, "terminating connection (SQLSTATE 57P01)");
        // The severity is translated, its plain form is not.
        assert!(!Refusal::read(b"SFATALE\0VERROR\0C42P01\0Mx\0\0").fatal);
    }

    #[test]
    fn errors_that_are_none_break_the_protocol() {
        for body in [&b""[..], b"\0", b"M", b"Mno code\0\0", b"C1\0Mx\0\0", b"C42P01"] {
            assert_eq!(Refusal::read(body).failure.class, ErrorClass::Protocol, "{body:?}");
        }
    }
}
