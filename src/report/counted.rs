//! What was counted before the load, and how variants answered, as tables.

use super::words::{self, NAME, SENTENCE, UNKNOWN, printable};
use crate::{
    metric::{Counter, METRICS, Measure},
    run::{Run, StatementCensus},
    units,
};

/// Counters of all steps, a column per variant.
pub(super) struct Counted {
    /// How it was counted, in words.
    pub(super) how: String,
    /// Names of the variants; one column without a name where there are none.
    pub(super) columns: Vec<String>,
    /// One per step and counter.
    pub(super) rows: Vec<CountedRow>,
    /// What the databases executed.
    pub(super) statements: Vec<StatementRow>,
    /// What could not be counted.
    pub(super) notes: Vec<String>,
}

/// One counter of one step.
pub(super) struct CountedRow {
    /// Name of the step.
    pub(super) step: String,
    /// `queries per operation`.
    pub(super) counter: &'static str,
    /// By column.
    pub(super) values: Vec<String>,
    /// Whether the values differ, which is what a reader looks for.
    pub(super) differs: bool,
}

/// One statement of one step.
pub(super) struct StatementRow {
    /// Step, with its variant.
    pub(super) step: String,
    /// As its server normalised it.
    pub(super) sql: String,
    /// Executions per operation, rows and buffers per execution.
    pub(super) figures: [String; 3],
}

/// What the census of a run found, if there was one.
pub(super) fn counted(run: &Run) -> Option<Counted> {
    let census = run.census.as_ref()?;
    let views: Vec<Run> = match run.variants.len() {
        0 => vec![run.clone()],
        several => (0..several).filter_map(|index| run.of_variant(index)).collect(),
    };
    let mut names: Vec<&str> = Vec::new();
    for step in &run.steps {
        if !names.contains(&step.name.as_str()) {
            names.push(&step.name);
        }
    }
    let mut rows = Vec::new();
    for name in names {
        for metric in METRICS {
            if let Measure::Counter(counter) = metric.measure {
                rows.extend(row(&views, name, counter, metric.title));
            }
        }
    }
    let statements = census.steps.iter().flat_map(|step| {
        let label = run.steps.get(step.step).map_or_else(String::new, |step| step.label());
        step.statements
            .iter()
            .map(move |statement| statement_row(&label, statement))
    });
    Some(Counted {
        how: format!(
            "one client, {} of each flow, taken twice on fresh instances; ~ where the takings differ",
            words::counted(census.passes, "pass", "passes")
        ),
        columns: match run.variants.as_slice() {
            [] => vec!["per operation".to_owned()],
            variants => variants.iter().map(|variant| printable(&variant.name, NAME)).collect(),
        },
        rows,
        statements: statements.collect(),
        notes: census.notes.iter().map(|note| printable(note, SENTENCE)).collect(),
    })
}

/// Nothing where no variant has any of it.
fn row(views: &[Run], step: &str, counter: Counter, title: &'static str) -> Option<CountedRow> {
    let counts: Vec<Option<[f64; 2]>> = views.iter().map(|view| view.count(Some(step), counter)).collect();
    counts.iter().flatten().find(|[_, high]| *high > 0.0)?;
    let value = |count: &Option<[f64; 2]>| match count {
        None => UNKNOWN.to_owned(),
        Some([low, high]) if low == high => units::format_count(*low),
        Some([low, high]) => format!("~{}", units::format_count(f64::midpoint(*low, *high))),
    };
    Some(CountedRow {
        step: printable(step, NAME),
        counter: title,
        differs: counts.windows(2).any(|pair| pair[0] != pair[1]),
        values: counts.iter().map(value).collect(),
    })
}

fn statement_row(step: &str, statement: &StatementCensus) -> StatementRow {
    StatementRow {
        step: printable(step, NAME),
        sql: printable(&statement.sql, SENTENCE),
        figures: [statement.calls, statement.rows, statement.buffers].map(units::format_count),
    }
}

/// An input on which a variant answered otherwise, as shown.
pub(super) struct DifferenceRow {
    /// Variant and step.
    pub(super) step: String,
    /// What was asked.
    pub(super) input: String,
    /// The two answers.
    pub(super) answers: [String; 2],
}

/// How the answers of the variants compared, if there are several.
pub(super) fn differences(run: &Run) -> Option<(String, Vec<DifferenceRow>)> {
    let equivalence = run.equivalence.as_ref()?;
    let said = match equivalence.differences.len() {
        0 => format!(
            "{} compared: all the same",
            words::counted(equivalence.compared, "answer", "answers")
        ),
        _ => format!(
            "of {} compared some differ",
            words::counted(equivalence.compared, "answer", "answers")
        ),
    };
    let rows = equivalence.differences.iter().map(|difference| DifferenceRow {
        step: printable(&format!("{}: {}", difference.variant, difference.step), NAME),
        input: printable(&difference.input, SENTENCE),
        answers: [&difference.reference, &difference.candidate].map(|answer| printable(answer, SENTENCE)),
    });
    Some((said, rows.collect()))
}
