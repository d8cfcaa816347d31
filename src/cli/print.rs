//! The terminal: what it can show, and writing to it.

use std::io::{self, IsTerminal as _, Write as _};

use super::exit::Failure;

/// stdout and stderr with what they can show.
#[derive(Debug)]
pub(super) struct Console {
    /// Whether stdout shows colours.
    pub(super) out_colour: bool,
    /// Whether stderr shows colours.
    pub(super) err_colour: bool,
    /// Columns of stdout.
    pub(super) width: u16,
    /// Whether stderr is a terminal.
    pub(super) live: bool,
}

impl Console {
    pub(super) fn new() -> Self {
        let colour = |choice| choice != anstream::ColorChoice::Never;
        Self {
            out_colour: colour(anstream::AutoStream::choice(&io::stdout())),
            err_colour: colour(anstream::AutoStream::choice(&io::stderr())),
            width: width(),
            live: io::stderr().is_terminal(),
        }
    }

    /// The result, to stdout. A reader that has gone away is no failure of ours.
    pub(super) fn result(&self, text: &str) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes());
        if !text.ends_with('\n') {
            let _ = out.write_all(b"\n");
        }
        let _ = out.flush();
    }

    /// Anything else, to stderr.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
    }

    /// Why the program ends.
    pub(super) fn failure(&self, failure: &Failure) {
        if failure.message.starts_with("error") {
            self.note(&failure.message);
        } else {
            self.note(&format!("error: {}", failure.message));
        }
    }
}

/// Columns of the terminal; where there is none, what fits on paper and in logs.
fn width() -> u16 {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) {
        return size.ws_col.clamp(60, 160);
    }
    100
}
