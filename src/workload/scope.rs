//! The names that templates may use, where a step stands: data, and what was saved before it.

use std::collections::BTreeSet;

use super::{Variable, data::DataSet};

/// All variables found so far, and which of them are known here.
pub(super) struct Scope<'d> {
    data: &'d DataSet,
    variables: Vec<Variable>,
    /// Their names, by the same index.
    names: Vec<String>,
    saved: BTreeSet<String>,
}

impl<'d> Scope<'d> {
    pub(super) fn new(data: &'d DataSet) -> Self {
        Self {
            data,
            variables: Vec::new(),
            names: Vec::new(),
            saved: BTreeSet::new(),
        }
    }

    /// The index of a variable, if it is known here.
    pub(super) fn find(&mut self, name: &str) -> Option<usize> {
        if let Some(draw) = self.data.draws.get(name) {
            return Some(self.index(name, Variable::Drawn(draw.clone())));
        }
        // The problem lies in the data, not in its use.
        let broken = name
            .split('.')
            .next()
            .is_some_and(|item| self.data.broken.contains(item));
        (broken || self.saved.contains(name)).then(|| self.index(name, Variable::Saved))
    }

    /// Makes a name known from here on; `None` when data has it.
    pub(super) fn save(&mut self, name: &str) -> Option<usize> {
        if self.data.draws.contains_key(name) || self.data.broken.contains(name) {
            return None;
        }
        self.saved.insert(name.to_owned());
        Some(self.index(name, Variable::Saved))
    }

    /// Makes a name that was saved unknown again.
    pub(super) fn forget(&mut self, name: &str) {
        self.saved.remove(name);
    }

    /// What was saved so far.
    pub(super) fn saved(&self) -> BTreeSet<String> {
        self.saved.clone()
    }

    /// Forgets what was saved, but for these.
    pub(super) fn forget_all_but(&mut self, saved: &BTreeSet<String>) {
        self.saved.clone_from(saved);
    }

    /// The names known here.
    pub(super) fn known(&self) -> Vec<&str> {
        self.data.draws.keys().chain(&self.saved).map(String::as_str).collect()
    }

    /// All variables and their names.
    pub(super) fn into_variables(self) -> (Vec<Variable>, Vec<String>) {
        (self.variables, self.names)
    }

    fn index(&mut self, name: &str, variable: Variable) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.variables.push(variable);
            self.names.len() - 1
        })
    }
}
