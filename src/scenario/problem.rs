//! Problems in a scenario, each with its place, a label and how to mend it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::Text;

/// No more than this many are shown; the rest is counted.
const SHOWN: usize = 40;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its place in the text (bytes).
    pub span: Range<usize>,
    /// What is wrong, in a few words.
    pub title: String,
    /// Written at the place.
    pub label: String,
    /// How to mend it.
    pub help: Option<String>,
}

/// All problems found so far.
#[derive(Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    /// Places of values that were left out of what later stages see.
    pruned: Vec<Range<usize>>,
}

impl Problems {
    /// Adds one.
    pub fn add(
        &mut self,
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.list.push(Problem {
            span,
            title: title.into(),
            label: label.into(),
            help,
        });
    }

    /// Adds one and remembers that later stages will not see the value there.
    pub(super) fn add_pruned(&mut self, span: Range<usize>, title: String, label: String, help: Option<String>) {
        self.pruned.push(span.clone());
        self.add(span, title, label, help);
    }

    /// Adds "something is missing here", unless a value there was left out for another reason.
    pub fn add_missing(
        &mut self,
        within: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let damaged = self
            .pruned
            .iter()
            .any(|pruned| within.start <= pruned.start && pruned.end <= within.end);
        if !damaged {
            // A table's place is all of its text; its first line is enough to find it.
            self.add(within, title, label, help);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the text.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|problem| (problem.span.start, problem.span.end));
        sorted
    }

    /// As the user reads them: an excerpt of the text under each title.
    pub fn render(&self, text: &Text, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in self.sorted().into_iter().take(SHOWN) {
            out.push_str(&renderer.render(&problem.groups(text)));
            out.push_str("\n\n");
        }
        if self.list.len() > SHOWN {
            out.push_str(&format!("… and {} more\n\n", self.list.len() - SHOWN));
        }
        let count = self.list.len();
        out.push_str(&format!(
            "{}: {count} problem{}\n",
            text.path,
            if count == 1 { "" } else { "s" }
        ));
        out
    }
}

impl Problem {
    fn groups<'a>(&'a self, text: &'a Text) -> Vec<Group<'a>> {
        let span = first_line(&text.toml, &self.span);
        let snippet = Snippet::source(&text.toml)
            .path(&text.path)
            .annotation(AnnotationKind::Primary.span(span).label(&self.label));
        let mut group = Level::ERROR.primary_title(self.title.as_str()).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        vec![group]
    }
}

/// The part of a place that lies in its first line, never outside the text.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let cut = text[start..end].find('\n').map_or(end, |at| start + at);
    start..cut
}
