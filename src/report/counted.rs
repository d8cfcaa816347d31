//! What was counted before the load, and how variants answered, as tables.

use std::collections::BTreeSet;

use super::words::{self, NAME, SENTENCE, UNKNOWN, printable};
use crate::{
    metric::{Counter, METRICS, Measure},
    run::{Census, Plan, Run, StatementCensus, StatementPlan, Step, StepCensus},
    units,
};

/// A plan's text is shown up to this many characters.
const LONGEST_PLAN: usize = 20_000;

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
    /// How the databases performed the scenario's own statements.
    pub(super) plans: Vec<PlanRow>,
    /// What could not be counted.
    pub(super) notes: Vec<String>,
}

/// The plan of one statement of one step.
pub(super) struct PlanRow {
    /// Step, with its variant.
    pub(super) step: String,
    /// What is worth knowing of it, in words.
    pub(super) summary: String,
    /// What is otherwise than in the reference, in words.
    pub(super) differences: Vec<String>,
    /// As EXPLAIN prints it.
    pub(super) text: String,
}

/// One counter of one step.
#[derive(Clone)]
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

impl Counted {
    /// Of the counters those that differ.
    pub(super) fn differing(&self) -> Self {
        let differing = self.rows.iter().filter(|row| row.differs);
        Self {
            how: self.how.clone(),
            columns: self.columns.clone(),
            rows: differing.cloned().collect(),
            statements: Vec::new(),
            plans: Vec::new(),
            notes: self.notes.clone(),
        }
    }
}

/// What the census of a run found, if there was one.
pub(super) fn counted(run: &Run) -> Option<Counted> {
    let census = run.census.as_ref()?;
    let views: Vec<Run> = match run.variants.len() {
        0 => vec![run.clone()],
        several => (0..several).filter_map(|index| run.of_variant(index)).collect(),
    };
    let mut rows = Vec::new();
    for name in steps_by_name(run) {
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
        plans: plans(run, census),
        notes: census.notes.iter().map(|note| printable(note, SENTENCE)).collect(),
    })
}

/// Names of all steps, each once, in order.
pub(super) fn steps_by_name(run: &Run) -> Vec<&str> {
    let mut known = BTreeSet::new();
    let names = run.steps.iter().map(|step| step.name.as_str());
    names.filter(|name| known.insert(*name)).collect()
}

/// The plans of all steps, each beside that of the same statement in the first variant.
fn plans(run: &Run, census: &Census) -> Vec<PlanRow> {
    let mut rows = Vec::new();
    for counted in &census.steps {
        let Some(step) = run.steps.get(counted.step) else {
            continue;
        };
        let reference = reference(run, census, step);
        for (at, StatementPlan { sql, plan }) in counted.plans.iter().enumerate() {
            let before = reference.and_then(|reference| counterpart(&reference.plans, sql, at, counted.plans.len()));
            let differences = before.map_or_else(Vec::new, |before| before.plan.differences(plan));
            rows.push(PlanRow {
                step: words::label(step.variant.as_deref(), &step.name),
                summary: summary(plan),
                differences: differences.iter().map(|text| printable(text, SENTENCE)).collect(),
                text: words::printable_lines(&plan.lines().join("\n"), LONGEST_PLAN),
            });
        }
    }
    rows
}

/// The plan of the same statement; of another one only where each stands for one of as many.
fn counterpart<'p>(before: &'p [StatementPlan], sql: &str, at: usize, count: usize) -> Option<&'p StatementPlan> {
    let same = before.iter().find(|before| before.sql == sql);
    same.or_else(|| before.get(at).filter(|_| before.len() == count))
}

/// In what the plans of each step differ between two views of runs, in words: `pay: plan: Seq Scan → Index Scan`.
pub(super) fn plan_differences(before: &Run, now: &Run) -> Vec<String> {
    let Some((census, known)) = now.census.as_ref().zip(before.census.as_ref()) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for counted in &census.steps {
        let Some(step) = now.steps.get(counted.step) else {
            continue;
        };
        let same = before.steps.iter().position(|other| other.name == step.name);
        let Some(reference) = same.and_then(|at| known.step(at)) else {
            continue;
        };
        for (at, StatementPlan { sql, plan }) in counted.plans.iter().enumerate() {
            let was = counterpart(&reference.plans, sql, at, counted.plans.len());
            let differences = was.map_or_else(Vec::new, |was| was.plan.differences(plan));
            let name = printable(&step.name, NAME);
            all.extend(
                differences
                    .iter()
                    .map(|text| format!("{name}: {}", printable(text, SENTENCE))),
            );
        }
    }
    all
}

/// The same step of the first variant; none for that itself.
fn reference<'c>(run: &Run, census: &'c Census, step: &Step) -> Option<&'c StepCensus> {
    let first = &run.variants.first()?.name;
    if step.variant.as_ref() == Some(first) {
        return None;
    }
    let same = |other: &Step| other.name == step.name && other.variant.as_ref() == Some(first);
    census.step(run.steps.iter().position(same)?)
}

fn summary(plan: &Plan) -> String {
    let mut parts = vec![
        format!("{} buffers", words::count(plan.buffers())),
        if plan.uses_index() {
            "an index is used"
        } else {
            "no index is used"
        }
        .to_owned(),
    ];
    parts.extend(
        plan.spills()
            .then(|| format!("{} temporary blocks", words::count(plan.temp_blocks()))),
    );
    let fetches = plan.heap_fetches();
    parts.extend(fetches.map(|fetches| words::counted(fetches, "heap fetch", "heap fetches")));
    parts.push(format!(
        "row estimates off by up to {} times",
        units::significant(plan.estimate_error())
    ));
    parts.push(format!("shape {}", printable(&plan.shape, NAME)));
    parts.join(" · ")
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
        step: words::label(Some(&difference.variant), &difference.step),
        input: printable(&difference.input, SENTENCE),
        answers: [&difference.reference, &difference.candidate].map(|answer| printable(answer, SENTENCE)),
    });
    Some((said, rows.collect()))
}
