//! COPY … FROM STDIN (PostgreSQL documentation, "COPY Operations"): the command,
//! then, once the server takes them, the rows and their end.

use super::{connection::Connection, failure::Failure, message, received::next, script::Script};
use crate::target::Reply;

/// Where the command and where the rows are in the script.
const COMMAND: usize = 0;
const ROWS: usize = 1;

impl Connection {
    /// Copies the rows of the script. They wait for the server to take them, as clients do:
    /// two round trips.
    pub(super) async fn copy(&mut self, script: &mut Script, reply: &mut Reply) -> Result<(), Failure> {
        // Nothing is begun that cannot be ended.
        script.messages(ROWS)?;
        reply.queries += 1;
        reply.round_trips += 1;
        self.stopwatch.sends();
        self.wire.send(script.messages(COMMAND)?).await?;
        let mut refused = None;
        let copied = self.copy_rows(script, reply, &mut refused).await;
        self.count_transaction(reply);
        // A connection lost after an error was lost over it.
        refused.map_or(copied, Err)
    }

    async fn copy_rows(
        &mut self,
        script: &mut Script,
        reply: &mut Reply,
        refused: &mut Option<Failure>,
    ) -> Result<(), Failure> {
        while let Some(head) = next(&mut self.wire, &mut self.stopwatch, refused).await? {
            match head.tag {
                b'G' => {
                    self.wire.skip(head).await?;
                    reply.round_trips += 1;
                    self.stopwatch.sends();
                    self.wire.send_ahead(script.messages(ROWS)?, 1)?;
                }
                b'C' => reply.answer.affected = message::affected(self.wire.body(head).await?),
                tag => return Err(Failure::unexpected(tag)),
            }
        }
        Ok(())
    }
}
