//! A statement, and another one for every row of its answer: one after the other
//! as programs do that do not know better, or pipelined.

use std::slice;

use super::{
    connection::Connection,
    failure::Failure,
    pipeline::Sent,
    script::Script,
    wire::{LONGEST_MESSAGE, too_large},
};
use crate::{
    sample::ErrorClass,
    target::{Reply, answer::Row, fan_out},
    workload::{ForEach, Protocol, Values},
};

impl Connection {
    /// Performs both; the answer is all rows of the second together.
    pub(super) async fn fan_out(
        &mut self,
        request: &ForEach,
        script: &mut Script,
        values: &mut Values<'_>,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let first = slice::from_ref(&request.statements[0]);
        self.all(first, script, true, reply).await?;
        let rows = std::mem::take(&mut reply.answer).rows;
        fan_out::check(&rows).map_err(|reason| Failure::new(ErrorClass::TooLarge, reason))?;
        if self.shared.protocol == Protocol::Pipelined {
            self.each_in_one_go(request, &rows, script, values, keep, reply).await
        } else {
            self.each_alone(request, &rows, script, values, keep, reply).await
        }
    }

    async fn each_alone(
        &mut self,
        request: &ForEach,
        rows: &[Row],
        script: &mut Script,
        values: &mut Values<'_>,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let each = &request.statements[1];
        let mut together = fan_out::Together::default();
        for row in rows {
            bind(request, row, values)?;
            script.begin();
            script.add(self.shared.protocol, &self.shared.statements, each, values)?;
            self.all(slice::from_ref(each), script, keep, reply).await?;
            together.add(std::mem::take(&mut reply.answer));
            if together.bytes() > LONGEST_MESSAGE as u64 {
                return Err(too_large("what the rows hold"));
            }
        }
        reply.answer = together.into_answer();
        Ok(())
    }

    async fn each_in_one_go(
        &mut self,
        request: &ForEach,
        rows: &[Row],
        script: &mut Script,
        values: &mut Values<'_>,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let each = &request.statements[1];
        script.begin();
        for row in rows {
            bind(request, row, values)?;
            script.add(self.shared.protocol, &self.shared.statements, each, values)?;
        }
        let sent = Sent::all_together(rows.len());
        self.in_one_go(slice::from_ref(each), sent, script, keep, reply).await
    }
}

fn bind(request: &ForEach, row: &Row, values: &mut Values<'_>) -> Result<(), Failure> {
    fan_out::bind(request, row, values).map_err(|reason| Failure::new(ErrorClass::Extraction, reason))
}
