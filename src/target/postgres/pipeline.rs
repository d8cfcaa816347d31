//! Statements sent in one go and answered in one: one round trip, however many
//! they are. What is sent is in the script; this reads what comes back.

use super::{
    connection::Connection,
    failure::Failure,
    message,
    received::{Kept, next},
    script::Script,
};
use crate::{target::Reply, workload::Statement};

/// What was sent in one go, as far as its answer depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Statements of the step.
    queries: usize,
    /// How often the server says that it is done.
    answers: usize,
    /// How many commands end before the first whose rows are the answer.
    before: usize,
    /// How many, from there on, are the answer together.
    answering: usize,
}

impl Sent {
    /// Between BEGIN and COMMIT; what a transaction answers is what its last statement answers.
    pub(super) fn transaction(statements: &[Statement]) -> Self {
        Self {
            queries: statements.len(),
            answers: 2,
            // BEGIN stands before them.
            before: statements.len(),
            answering: 1,
        }
    }

    /// Each a transaction of its own, the last of which is the answer.
    pub(super) fn one_by_one(statements: usize) -> Self {
        Self {
            queries: statements,
            answers: statements,
            before: statements.saturating_sub(1),
            answering: 1,
        }
    }

    /// The same, all of which are the answer.
    pub(super) fn all_together(statements: usize) -> Self {
        Self {
            before: 0,
            answering: statements,
            ..Self::one_by_one(statements)
        }
    }
}

impl Connection {
    /// Sends the script and reads all answers. After a failure the server passes over the rest of a
    /// transaction and rolls it back; statements that are transactions of their own go on.
    pub(super) async fn in_one_go(
        &mut self,
        statements: &[Statement],
        sent: Sent,
        script: &mut Script,
        keep: bool,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        for statement in statements {
            self.prepare_where_needed(statement.index, reply).await?;
        }
        let messages = script.all()?;
        reply.queries += u32::try_from(sent.queries).unwrap_or(u32::MAX);
        reply.round_trips += 1;
        self.stopwatch.sends();
        self.wire.send_ahead(messages, sent.answers)?;
        let mut refused = None;
        let read = self.read_answers(sent, keep, reply, &mut refused).await;
        if let Some(refused) = refused {
            // What came after an error came of it.
            return Err(refused);
        }
        let kept = read?;
        match statements.last() {
            Some(last) if keep => self.read_kept(&self.columns(last.index), &kept, reply).await,
            _ => Ok(()),
        }
    }

    async fn read_answers(
        &mut self,
        sent: Sent,
        keep: bool,
        reply: &mut Reply,
        refused: &mut Option<Failure>,
    ) -> Result<Kept, Failure> {
        let answering = sent.before..sent.before + sent.answering;
        let mut kept = Kept::default();
        let mut ended = 0;
        while self.wire.is_answering() {
            while let Some(head) = next(&mut self.wire, &mut self.stopwatch, refused).await? {
                let wanted = answering.contains(&ended);
                match head.tag {
                    b'D' => {
                        reply.answer.row_count += u64::from(wanted);
                        if wanted && keep {
                            kept.push(self.wire.body(head).await?)?;
                        } else {
                            self.wire.skip(head).await?;
                        }
                    }
                    b'C' | b'I' => {
                        let affected = message::affected(self.wire.body(head).await?);
                        reply.answer.affected += if wanted { affected } else { 0 };
                        ended += 1;
                    }
                    // Parsed, bound.
                    b'1' | b'2' => self.wire.skip(head).await?,
                    tag => return Err(Failure::unexpected(tag)),
                }
            }
            let lost = !self.wire.is_usable() && !self.wire.is_answering();
            reply.transactions += u32::from(!lost && !self.wire.is_in_transaction());
        }
        Ok(kept)
    }
}
