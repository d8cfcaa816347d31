//! Values that flow through a pass: drawn from data, saved from answers, bound to statements.

use std::{fmt, sync::Arc};

use serde_json::Value as Json;

use super::{Variable, Workload};
use crate::scenario::Scalar;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL, JSON null.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text; shared, so that a row of a large file is not copied per use.
    Text(Arc<str>),
}

impl Value {
    /// Appends it as plain text; null is the empty text.
    pub fn write_text(&self, out: &mut impl fmt::Write) {
        // Writing to memory cannot fail.
        let _ = match self {
            Self::Null => Ok(()),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Float(value) => write!(out, "{value}"),
            Self::Text(text) => out.write_str(text),
        };
    }

    /// Appends it as JSON.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(text) => write_json_string(text, out, true),
            Self::Float(value) if !value.is_finite() => out.push_str("null"),
            other => other.write_text(out),
        }
    }

    /// Whether it is the same value; a number is the same however it is written.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(integer), Self::Float(float)) | (Self::Float(float), Self::Int(integer)) => {
                // As the integer's own type, which has more digits.
                float.fract() == 0.0 && float.abs() < 9e18 && *float as i64 == *integer
            }
            _ => self == other,
        }
    }

    /// The value found in JSON; containers become their JSON text.
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Json::String(text) => Self::Text(text.as_str().into()),
            container => Self::Text(container.to_string().into()),
        }
    }
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Self::Bool(*value),
            Scalar::Int(value) => Self::Int(*value),
            Scalar::Float(value) => Self::Float(*value),
            Scalar::Text(text) => Self::Text(text.as_str().into()),
        }
    }
}

/// Appends JSON-escaped text, with or without the quotes around it.
pub(super) fn write_json_string(text: &str, out: &mut String, quotes: bool) {
    let quoted = Json::from(text).to_string();
    out.push_str(if quotes { &quoted } else { &quoted[1..quoted.len() - 1] });
}

/// The values of one pass: a cell per variable, filled when first asked for.
///
/// What is drawn depends only on the seed and the number of the draw, never on
/// which session performs the pass or when.
#[derive(Debug)]
pub struct Values<'w> {
    workload: &'w Workload,
    draw: u64,
    /// The stage of the load, from 0.
    stage: usize,
    cells: Vec<Option<Value>>,
}

impl<'w> Values<'w> {
    /// The cells for one session, to be reused from pass to pass.
    pub fn new(workload: &'w Workload) -> Self {
        Self {
            workload,
            draw: 0,
            stage: 0,
            cells: vec![None; workload.variables.len()],
        }
    }

    /// Begins pass number `pass`: forgets all values but the globals (those that setup saved). Its stage is the first.
    pub fn begin(&mut self, pass: u64, globals: &[Option<Value>]) {
        self.draw = pass.wrapping_mul(self.workload.draws_per_pass);
        self.stage = 0;
        self.cells.fill(None);
        for (cell, global) in self.cells.iter_mut().zip(globals) {
            cell.clone_from(global);
        }
    }

    /// The pass is due in that stage of the load, from 0.
    pub fn set_stage(&mut self, stage: usize) {
        self.stage = stage;
    }

    /// The number of the draw under way: distinct for all passes and all rounds in them.
    pub fn draw(&self) -> u64 {
        self.draw
    }

    /// The seed of all that is drawn.
    pub fn seed(&self) -> u64 {
        self.workload.seed
    }

    /// Draws data anew, for the next round of a `repeat`; saved values stay.
    pub fn redraw(&mut self) {
        self.forget_drawn(self.draw + 1);
    }

    /// Goes back to an earlier draw of the same pass, so that what is done again is done with the same data.
    pub fn rewind(&mut self, draw: u64) {
        if draw != self.draw {
            self.forget_drawn(draw);
        }
    }

    fn forget_drawn(&mut self, draw: u64) {
        self.draw = draw;
        for (cell, variable) in self.cells.iter_mut().zip(&self.workload.variables) {
            if matches!(variable, Variable::Drawn(_)) {
                *cell = None;
            }
        }
    }

    /// The value of a variable; null when nothing was saved under it.
    pub fn get(&mut self, variable: usize) -> &Value {
        const NULL: &Value = &Value::Null;
        if let (None, Variable::Drawn(draw)) = (&self.cells[variable], &self.workload.variables[variable]) {
            self.cells[variable] = Some(draw.value(self.workload.seed, self.draw, self.stage));
        }
        self.cells[variable].as_ref().unwrap_or(NULL)
    }

    /// Saves a value under a variable.
    pub fn save(&mut self, variable: usize, value: Value) {
        self.cells[variable] = Some(value);
    }

    /// What was saved, by variable, to become the globals of later passes.
    pub fn saved(&self) -> Vec<Option<Value>> {
        let saved = |(cell, variable): (&Option<Value>, &Variable)| {
            cell.clone().filter(|_| matches!(variable, Variable::Saved))
        };
        self.cells.iter().zip(&self.workload.variables).map(saved).collect()
    }
}
