//! What a single client counted before the load: exact figures that need no quiet machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::metric::Counter;

/// The counts of all steps of all variants, taken twice.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Census {
    /// Passes of each flow in one taking.
    pub passes: u64,
    /// One per step that was counted.
    pub steps: Vec<StepCensus>,
    /// What could not be counted, and why.
    pub notes: Vec<String>,
}

/// The counts of one step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StepCensus {
    /// Index into [`super::Run::steps`].
    pub step: usize,
    /// Operations of one taking.
    pub operations: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Over all operations.
    pub counts: BTreeMap<Counter, Count>,
    /// Why one of them is not known, where its kind of step has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uncounted: BTreeMap<Counter, String>,
    /// What its databases executed for it, the most frequent first.
    pub statements: Vec<StatementCensus>,
    /// How its databases performed its own statements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<StatementPlan>,
    /// How its queries grow with the records it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

/// A figure counted twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// In the first taking, over all operations.
    pub first: u64,
    /// In the second.
    pub second: u64,
}

impl Count {
    /// Whether both takings agree: then it is a fact, not a sample.
    pub fn is_exact(self) -> bool {
        self.first == self.second
    }
}

/// What one statement cost, as its server counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatementCensus {
    /// Name of the target.
    pub target: String,
    /// As the server normalised it, shortened.
    pub sql: String,
    /// Executions per operation.
    pub calls: f64,
    /// Rows per execution.
    pub rows: f64,
    /// Buffers, hit and read, per execution.
    pub buffers: f64,
}

/// The plan of a statement of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StatementPlan {
    /// The statement as written.
    pub sql: String,
    /// How it was performed for the values of the first pass.
    pub plan: Plan,
}

/// The same operation about few and about many records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Growth {
    /// The two numbers of records.
    pub records: [u64; 2],
    /// Queries per operation at each.
    pub queries: [f64; 2],
}

impl Growth {
    /// Queries more per record more: 3 is three for every record, 0 is none.
    pub fn slope(&self) -> f64 {
        let [few, many] = self.records.map(|records| records as f64);
        (self.queries[1] - self.queries[0]) / (many - few).max(1.0)
    }
}

impl Census {
    /// Of these steps only, by their places among them.
    pub(super) fn of(&self, own: &[usize]) -> Self {
        let steps = self.steps.iter().filter_map(|census| {
            let step = own.iter().position(|own| *own == census.step)?;
            Some(StepCensus { step, ..census.clone() })
        });
        Self {
            passes: self.passes,
            steps: steps.collect(),
            notes: self.notes.clone(),
        }
    }

    /// The step with that index.
    pub fn step(&self, index: usize) -> Option<&StepCensus> {
        self.steps.iter().find(|census| census.step == index)
    }
}
