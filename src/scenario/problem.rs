//! Problems in a scenario, each with its place, a label and how to mend it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::Text;

/// No more than this many are shown; the rest is counted.
const SHOWN: usize = 40;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its place in the text (bytes); `None` where the file as a whole lacks something.
    pub place: Option<Range<usize>>,
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
    /// Tables and lists (`None`: the scenario itself) from which something was
    /// left out because of a problem, so that later stages see too little there.
    damaged: Vec<Option<Range<usize>>>,
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
            place: Some(span),
            title: title.into(),
            label: label.into(),
            help,
        });
    }

    /// Notes that later stages see too little in the table or list at that place.
    pub(super) fn damage(&mut self, owner: Option<Range<usize>>) {
        self.damaged.push(owner);
    }

    /// Adds "something is missing in this table or list", unless something was
    /// left out of it for a problem of its own: that may be what is missing.
    pub fn add_missing(
        &mut self,
        owner: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        if !self.damaged.contains(&Some(owner.clone())) {
            self.add(owner, title, label, help);
        }
    }

    /// Adds "the scenario as a whole lacks something", unless one of its own keys was left out.
    pub fn add_missing_at_top(&mut self, title: impl Into<String>, label: impl Into<String>, help: Option<String>) {
        if !self.damaged.contains(&None) {
            self.list.push(Problem {
                place: None,
                title: title.into(),
                label: label.into(),
                help,
            });
        }
    }

    /// Adds those of another look at the same text that were not found before.
    pub fn merge(&mut self, others: Self) {
        for problem in others.list {
            if !self.list.contains(&problem) {
                self.list.push(problem);
            }
        }
    }

    /// A copy to look at the text once more with: nothing is found yet, what was left out stays known.
    pub fn fresh(&self) -> Self {
        Self {
            list: Vec::new(),
            damaged: self.damaged.clone(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the text; what concerns the whole of it comes first.
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.place.as_ref().map(|span| (span.start, span.end)));
        sorted
    }

    /// Rewrites every text that the user would read, to mask what must not be shown.
    pub fn rewrite(&mut self, with: impl Fn(&str) -> String) {
        for problem in &mut self.list {
            let Problem { title, label, help, .. } = problem;
            for text in [Some(title), Some(label), help.as_mut()].into_iter().flatten() {
                *text = with(text);
            }
        }
    }

    /// As the user reads them: an excerpt of the text under each title.
    pub fn render(&self, text: &Text, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in self.sorted().into_iter().take(SHOWN) {
            out.push_str(&renderer.render(&[problem.group(text)]));
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
    fn group<'a>(&'a self, text: &'a Text) -> Group<'a> {
        let title = Level::ERROR.primary_title(self.title.as_str());
        let group = match &self.place {
            Some(span) => title.element(
                Snippet::source(&text.toml).path(&text.path).annotation(
                    AnnotationKind::Primary
                        .span(first_line(&text.toml, span))
                        .label(&self.label),
                ),
            ),
            None => title
                .element(Origin::path(&text.path))
                .element(Level::NOTE.message(self.label.as_str())),
        };
        match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

/// The part of a place that lies in its first line, never outside the text or inside a character.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end.max(start));
    let cut = text[start..end].find('\n').map_or(end, |at| start + at);
    start..cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_inside_the_text_and_between_characters() {
        let text = "a = \"é\"\nb";
        assert_eq!(first_line(text, &(0..usize::MAX)), 0..8);
        assert_eq!(first_line(text, &(6..7)), 5..7);
        assert_eq!(first_line(text, &(usize::MAX..usize::MAX)), text.len()..text.len());
        assert_eq!(first_line("", &(3..9)), 0..0);
    }

    #[test]
    fn what_is_missing_is_told_unless_something_was_left_out_there() {
        let mut problems = Problems::default();
        problems.damage(Some(5..9));
        problems.add_missing(5..9, "hidden", "", None);
        problems.add_missing(5..8, "shown", "", None);
        problems.add_missing_at_top("also shown", "", None);
        problems.damage(None);
        problems.add_missing_at_top("hidden too", "", None);
        let titles: Vec<_> = problems.sorted().iter().map(|problem| problem.title.as_str()).collect();
        assert_eq!(titles, ["also shown", "shown"]);
    }

    #[test]
    fn every_problem_is_counted_and_only_so_many_are_shown() {
        let mut problems = Problems::default();
        for at in 0..SHOWN + 2 {
            problems.add(at..at + 1, "odd", "here", None);
        }
        let text = Text {
            path: "x.toml".into(),
            toml: "a\n".repeat(50),
        };
        let shown = problems.render(&text, false);
        assert_eq!(shown.matches("error: odd").count(), SHOWN);
        assert!(shown.ends_with("… and 2 more\n\nx.toml: 42 problems\n"), "{shown}");
    }
}
