//! Whether variants answer the same: the same inputs, the answers set beside each other.
//!
//! Rows are compared as a set unless the statement orders them, JSON without
//! regard to the order of its keys. What an answer costs is not asked here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::{
    run::{Difference, Equivalence},
    sample::Outcome,
    target::{Answer, Reply, Row},
    workload::{Kind, Protocol, Request, Secrets, Step, Values, Workload},
};

/// Differences that are kept per step of a variant.
const KEPT: usize = 3;

/// Longer answers are shown shortened, in characters.
const SHOWN: usize = 200;

/// Of what two answers have in common so many characters are shown before they part.
const BEFORE: usize = 60;

/// What one operation was asked and what it answered.
pub(super) struct Given {
    /// Index of the measured step.
    step: usize,
    pass: u64,
    input: String,
    /// As it is compared.
    answer: String,
    /// As it is shown; secrets are masked.
    shown: String,
}

impl Given {
    /// Of an operation that has just been performed; its values are still those it was given.
    pub(super) fn new(
        step: &Step,
        pass: u64,
        outcome: Outcome,
        reply: &Reply,
        values: &mut Values<'_>,
        secrets: &Secrets,
    ) -> Self {
        let [answer, shown] = match outcome {
            Outcome::Failed(class) => {
                let text = format!("{class}: {}", reply.message.as_deref().unwrap_or_default());
                [text.clone(), text]
            }
            Outcome::Completed | Outcome::Unfinished => normalised(&reply.answer, step),
        };
        Self {
            step: step.index,
            pass,
            input: secrets.mask(&input(step, values)),
            shown: secrets.mask(&shown),
            answer,
        }
    }
}

/// Compares the answers of all variants with those of the first; all have the same passes.
///
/// `again` is what the first answered the second time: what changes by itself says nothing of a variant.
pub(super) fn compare(reference: &Workload, answers: &[&[Given]], again: &[Given]) -> Equivalence {
    let mut equivalence = Equivalence::default();
    let Some((expected, others)) = answers.split_first() else {
        return equivalence;
    };
    let fickle = fickle(expected, again);
    for (index, measured) in reference.measured.iter().enumerate() {
        if measured.comparable && fickle.contains(&index) {
            let note = format!(
                "answers to \"{}\" change by themselves, so they are not compared",
                measured.name
            );
            equivalence.notes.push(note);
        }
    }
    for (variant, given) in reference.others.iter().zip(others) {
        for (index, measured) in variant.measured.iter().enumerate() {
            let name = &measured.name;
            let Some(known) = reference.measured.iter().position(|known| known.name == *name) else {
                let variant = variant.variant_name().unwrap_or_default();
                let note = format!("\"{name}\" is a step of \"{variant}\" alone, so its answers are not compared");
                equivalence.notes.push(note);
                continue;
            };
            if !measured.comparable || !reference.measured[known].comparable || fickle.contains(&known) {
                continue;
            }
            if speaks_text(reference, known) != speaks_text(variant, index) {
                let note = format!("answers to \"{name}\" are text in the simple protocol, so they are not compared");
                equivalence.notes.push(note);
                continue;
            }
            let expected = by_pass(expected, known);
            let mut kept = 0;
            for (place, now) in by_pass(given, index) {
                // What only one of them performed is told by its errors.
                let Some(before) = expected.get(&place) else { continue };
                equivalence.compared += 1;
                if before.answer != now.answer && kept < KEPT {
                    kept += 1;
                    let [reference, candidate] = around_the_difference(&before.shown, &now.shown);
                    equivalence.differences.push(Difference {
                        variant: variant.variant_name().unwrap_or_default().to_owned(),
                        step: name.clone(),
                        pass: now.pass,
                        input: shortened(&now.input),
                        reference,
                        candidate,
                    });
                }
            }
        }
    }
    equivalence
}

/// The answers to a step, by pass and by how often the step came before in it.
fn by_pass(all: &[Given], step: usize) -> BTreeMap<(u64, usize), &Given> {
    let mut answers = BTreeMap::new();
    for given in all.iter().filter(|given| given.step == step) {
        let earlier = answers.range((given.pass, 0)..=(given.pass, usize::MAX)).count();
        answers.insert((given.pass, earlier), given);
    }
    answers
}

/// Whether every value of an answer comes as text.
fn speaks_text(workload: &Workload, step: usize) -> bool {
    match &workload.targets[workload.measured[step].target].kind {
        Kind::Postgres(postgres) => postgres.protocol == Protocol::Simple,
        Kind::Http(_) | Kind::Sqlite { .. } => false,
    }
}

/// Steps that gave two answers to the same input.
fn fickle(first: &[Given], again: &[Given]) -> BTreeSet<usize> {
    let pairs = first.iter().zip(again);
    let same_input = pairs.filter(|(one, other)| one.step == other.step && one.pass == other.pass);
    let differing = same_input.filter(|(one, other)| one.input == other.input && one.answer != other.answer);
    differing.map(|(one, _)| one.step).collect()
}

/// What the operation was asked, without what is the same each time.
fn input(step: &Step, values: &mut Values<'_>) -> String {
    let mut text = String::new();
    match &step.request {
        Request::Http(http) => {
            text.push_str(http.method.as_str());
            text.push(' ');
            http.path.render(values, &mut text);
        }
        // What is performed for each row is given by what was answered.
        Request::ForEach(fan_out) => parameters(&fan_out.statements[0].parameters, values, &mut text),
        request => {
            for statement in request.statements() {
                parameters(&statement.parameters, values, &mut text);
            }
        }
    }
    text
}

fn parameters(templates: &[crate::workload::Template], values: &mut Values<'_>, text: &mut String) {
    for (number, template) in (1..).zip(templates) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&format!("${number} = "));
        template.value(values).write_json(text);
    }
}

/// An answer as it is compared, and as it is shown.
fn normalised(answer: &Answer, step: &Step) -> [String; 2] {
    if let Some(status) = answer.status {
        let text = match serde_json::from_slice::<Json>(&answer.body) {
            Ok(mut json) => {
                sort_keys(&mut json);
                format!("{status} {json}")
            }
            Err(_) => format!("{status} {}", String::from_utf8_lossy(&answer.body)),
        };
        return [text.clone(), text];
    }
    if answer.rows.is_empty() {
        let text = format!("no row, {} changed", answer.affected);
        return [text.clone(), text];
    }
    // Compared by position: what a column is called is no part of what it says.
    let values = |row: &Row| Json::Array(row.values().cloned().collect()).to_string();
    let named = |row: &Row| Json::Object(row.clone()).to_string();
    let mut rows: Vec<[String; 2]> = answer.rows.iter().map(|row| [values(row), named(row)]).collect();
    if !step.ordered {
        rows.sort_unstable();
    }
    [0, 1].map(|form| {
        let rows: Vec<&str> = rows.iter().map(|row| row[form].as_str()).collect();
        format!("[{}]", rows.join(","))
    })
}

fn sort_keys(json: &mut Json) {
    match json {
        Json::Object(object) => {
            object.values_mut().for_each(sort_keys);
            object.sort_keys();
        }
        Json::Array(array) => array.iter_mut().for_each(sort_keys),
        _ => {}
    }
}

/// Both from a little before where they part.
fn around_the_difference(one: &str, other: &str) -> [String; 2] {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(BEFORE);
    [one, other].map(|text| match text.char_indices().nth(from) {
        Some((begin, _)) if from > 0 => format!("…{}", shortened(&text[begin..])),
        _ => shortened(text),
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
