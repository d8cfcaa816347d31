//! The terminal: what it can show, and writing to it.

use std::io::{self, IsTerminal as _, Write as _};

use serde_json::{Map, Value, json};

use super::{args::LogFormat, exit::Failure};

/// stdout and stderr with what they can show.
#[derive(Debug)]
pub(super) struct Console {
    /// Whether stdout shows colours.
    pub(super) out_colour: bool,
    /// Whether stderr shows colours.
    pub(super) err_colour: bool,
    /// Columns of stdout.
    pub(super) width: u16,
    /// Whether stderr is a terminal on which progress may be drawn.
    pub(super) live: bool,
    /// Whether nothing is wanted but the result and errors.
    pub(super) quiet: bool,
    /// How everything but the result is told.
    pub(super) log: LogFormat,
}

impl Console {
    pub(super) fn new(quiet: bool, log: LogFormat) -> Self {
        let colour = |choice| choice != anstream::ColorChoice::Never;
        Self {
            out_colour: colour(anstream::AutoStream::choice(&io::stdout())),
            err_colour: log == LogFormat::Text && colour(anstream::AutoStream::choice(&io::stderr())),
            width: width(),
            live: !quiet && log == LogFormat::Text && io::stderr().is_terminal(),
            quiet,
            log,
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
        if !self.quiet {
            self.tell("info", text);
        }
    }

    /// What did not go as it should and is no failure, to stderr.
    pub(super) fn warning(&self, text: &str) {
        match self.log {
            LogFormat::Text => self.tell("warning", &format!("warning: {text}")),
            LogFormat::Json => self.tell("warning", text),
        }
    }

    /// Why the program ends.
    pub(super) fn failure(&self, failure: &Failure) {
        match self.log {
            LogFormat::Text if failure.message.starts_with("error") => self.tell("error", &failure.message),
            LogFormat::Text => self.tell("error", &format!("error: {}", failure.message)),
            LogFormat::Json => self.tell("error", &failure.message),
        }
    }

    /// Commands to whoever reads stderr, as they are.
    pub(super) fn commands(&self, text: &str) {
        let _ = write!(io::stderr().lock(), "{text}");
    }

    /// A line of a structured log; nothing in the other.
    pub(super) fn event(&self, name: &str, fields: Value) {
        if let (LogFormat::Json, Value::Object(fields), false) = (self.log, fields, self.quiet) {
            line("info", name, fields);
        }
    }

    fn tell(&self, level: &str, text: &str) {
        match self.log {
            LogFormat::Text => {
                let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
            }
            LogFormat::Json => {
                let message = Map::from_iter([("message".to_owned(), json!(text.trim_end()))]);
                line(level, "message", message);
            }
        }
    }
}

/// `{"time":"…","level":"info","event":"progress",…}`.
fn line(level: &str, event: &str, fields: Map<String, Value>) {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let head = [("time", json!(time)), ("level", json!(level)), ("event", json!(event))];
    let head = head.into_iter().map(|(name, value)| (name.to_owned(), value));
    let line = Value::Object(head.chain(fields).collect());
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Columns of the terminal; where there is none, what fits on paper and in logs.
fn width() -> u16 {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout()) {
        return size.ws_col.clamp(60, 160);
    }
    100
}
