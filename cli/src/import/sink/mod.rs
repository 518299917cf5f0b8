//! Stores batches in order, and knows at any time how many rows are stored.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use annals::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, Row};

use crate::import::read::{BadLine, Numbered, RowBatch};
use crate::store::send;

/// Why rows were not stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A line can never be stored. All rows before it are stored, and none after it.
    Line(BadLine),
    /// The first row of the file is already stored.
    Known,
    /// The store failed.
    Store(PersistenceError),
}

/// How batches are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// By the digest of what was read, so that the store recognizes them. `resume` says whether
    /// stored batches are expected.
    Content { resume: bool },
    /// At random: the same rows can be stored again.
    Random { writer: u128, batches: u64 },
}

/// Stores batches.
pub(super) struct Sink {
    store: Arc<dyn PersistenceBackend>,
    ids: Ids,
    /// Whether the next batch may be stored already.
    maybe_there: bool,
    skip_invalid: bool,
    /// The number of rows that this import has certainly stored.
    pub(super) stored: u64,
    /// The number of rows that an earlier import has stored.
    pub(super) there: u64,
    /// The first line of which nothing is stored; `None` if only a part of it is.
    pub(super) next_line: Option<u64>,
    /// Lines that were skipped and are not reported yet.
    pub(super) left_out: Vec<BadLine>,
}

impl Sink {
    pub(super) fn new(store: Arc<dyn PersistenceBackend>, ids: Ids, skip_invalid: bool) -> Self {
        let maybe_there = matches!(ids, Ids::Content { .. });
        let (stored, there, next_line, left_out) = (0, 0, Some(1), Vec::new());
        Self { store, ids, maybe_there, skip_invalid, stored, there, next_line, left_out }
    }

    /// Whether the same import with `--resume` recognizes what this one has stored.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self.ids, Ids::Content { .. })
    }

    /// Stores a batch, up to its first line that cannot be stored unless such lines are skipped.
    ///
    /// # Errors
    /// The line, or why the store failed.
    pub(super) async fn store(&mut self, batch: RowBatch) -> Result<(), Refusal> {
        let from = self.already_there(&batch.marks).await?;
        self.store_from(batch, from, false).await
    }

    /// Stores batches as one: all of their rows or none. The store then knows each of them by its
    /// id, as if they had come one by one.
    ///
    /// # Errors
    /// The line, or why the store failed.
    pub(super) async fn store_whole(&mut self, batches: Vec<RowBatch>) -> Result<(), Refusal> {
        let first = self.first_missing(&batches).await?;
        let mut missing = batches.into_iter();
        self.there +=
            missing.by_ref().take(first).map(|batch| batch.rows.len() as u64).sum::<u64>();
        let (mut whole, mut ends, mut from) = (RowBatch::default(), Vec::new(), 0);
        for (index, batch) in missing.enumerate() {
            if index == 0 {
                from = self.already_there(&batch.marks).await?;
            }
            ends.extend(batch.marks.last().filter(|(end, _)| *end > 0).map(|(_, digest)| *digest));
            let before = whole.rows.len();
            whole.rows.extend(batch.rows);
            whole.marks.extend(batch.marks.into_iter().map(|(end, mark)| (before + end, mark)));
            whole.bad.extend(batch.bad.into_iter().map(|(end, bad)| (before + end, bad)));
            whole.last_line = batch.last_line;
        }
        self.store_from(whole, from, true).await?;
        // The last end is the id of the rows.
        ends.pop();
        if self.is_resumable() {
            for end in ends {
                self.send_once(&[], end).await.map_err(Refusal::Store)?;
            }
        }
        Ok(())
    }

    /// The first batch whose end is not stored.
    async fn first_missing(&self, batches: &[RowBatch]) -> Result<usize, Refusal> {
        if !self.maybe_there {
            return Ok(0);
        }
        for (index, batch) in batches.iter().enumerate().rev() {
            let end = batch.marks.last().filter(|(end, _)| *end > 0);
            let Some(id) = end.map(|(_, digest)| BatchId { writer: *digest, number: 1 }) else {
                continue;
            };
            if self.store.has_batch(id).await.map_err(Refusal::Store)? {
                return match self.ids {
                    Ids::Content { resume: false } => Err(Refusal::Known),
                    _ => Ok(index + 1),
                };
            }
        }
        Ok(0)
    }

    /// Stores the rows of a batch from `from` on. If it is stored as a `whole`, a line that cannot be
    /// stored leaves nothing of it behind.
    async fn store_from(
        &mut self,
        batch: RowBatch,
        mut from: usize,
        whole: bool,
    ) -> Result<(), Refusal> {
        let RowBatch { mut rows, mut marks, bad, last_line, .. } = batch;
        let first = from;
        let mut stop = None;
        if self.skip_invalid {
            self.left_out.extend(bad.into_iter().map(|(_, bad)| bad));
        } else if let Some((before, bad)) = bad.into_iter().next() {
            stop = Some((before, bad));
        }
        loop {
            // A batch that a line stops ends with the line before.
            let end = match &stop {
                Some((before, _)) => marks.iter().find(|(end, _)| end == before),
                None => marks.last(),
            };
            let digest = end.map_or(0, |(_, digest)| *digest);
            if let Some((before, _)) = &stop {
                rows.truncate(*before);
            }
            match self.send(&rows, &mut from, digest).await {
                Ok(()) => break,
                Err((row, error)) if error.is_invalid_input() && row < rows.len() => {
                    let bad = BadLine { line: rows[row].line, why: error.to_string() };
                    if whole && !self.skip_invalid {
                        return Err(Refusal::Line(bad));
                    }
                    if self.skip_invalid {
                        self.left_out.push(bad);
                        rows.remove(row);
                        for (end, _) in &mut marks {
                            *end -= usize::from(*end > row);
                        }
                    } else {
                        // No row of its line is stored, and none after it.
                        let before = rows.partition_point(|other| other.line < bad.line);
                        stop = Some((before, bad));
                    }
                }
                Err((row, error)) => {
                    let line = |row: usize| rows.get(row).map(|row| row.line);
                    // An engine that stores row by row may have stopped within a line.
                    if row > 0 && row != first {
                        self.next_line = line(row).filter(|next| line(row - 1) != Some(*next));
                    }
                    return Err(Refusal::Store(error));
                }
            }
        }
        match stop {
            Some((_, bad)) => {
                self.next_line = Some(bad.line);
                Err(Refusal::Line(bad))
            }
            None => {
                self.next_line = Some(last_line + 1);
                Ok(())
            }
        }
    }

    /// The number of rows of a batch that an earlier import has stored.
    async fn already_there(&mut self, marks: &[(usize, u128)]) -> Result<usize, Refusal> {
        if !self.maybe_there {
            return Ok(0);
        }
        let mut there = None;
        // First the whole batch; then every line before which an import may have stopped.
        for (end, digest) in marks.iter().rev() {
            let id = BatchId { writer: *digest, number: 1 };
            if *end > 0 && self.store.has_batch(id).await.map_err(Refusal::Store)? {
                there = Some(*end);
                break;
            }
        }
        let all = marks.last().map_or(0, |(end, _)| *end);
        match there {
            Some(_) if self.ids == (Ids::Content { resume: false }) => Err(Refusal::Known),
            Some(end) => {
                self.there += end as u64;
                self.maybe_there = end == all;
                Ok(end)
            }
            None => {
                // A batch without rows proves nothing.
                self.maybe_there = all == 0;
                Ok(0)
            }
        }
    }

    /// Sends rows from `from` on. Backends with atomic batches name the row that they refuse; others
    /// may fail part-way, and `from` advances.
    async fn send(
        &mut self,
        rows: &[Numbered],
        from: &mut usize,
        digest: u128,
    ) -> Result<(), (usize, PersistenceError)> {
        while *from < rows.len() {
            let error = match self.send_once(&rows[*from..], digest).await {
                Ok(()) => {
                    self.stored += (rows.len() - *from) as u64;
                    *from = rows.len();
                    break;
                }
                Err(error) => error,
            };
            match error {
                PersistenceError::InvalidRow { index, source } => {
                    return Err((*from + index, *source));
                }
                PersistenceError::PartialBatch { stored, source } => {
                    self.stored += stored as u64;
                    *from += stored;
                    // Sending the rest again shows whether the failure passes.
                    let again = source.is_retryable() && source.outcome() == Outcome::NotApplied;
                    if !again || source.is_invalid_input() {
                        return Err((*from, *source));
                    }
                }
                error => return Err((*from, error)),
            }
        }
        Ok(())
    }

    /// Sends a batch, and retries while that may help and cannot store it twice.
    async fn send_once(&mut self, rows: &[Numbered], digest: u128) -> Result<(), PersistenceError> {
        let id = match &mut self.ids {
            Ids::Content { .. } => BatchId { writer: digest, number: 1 },
            Ids::Random { writer, batches } => {
                *batches += 1;
                BatchId { writer: *writer, number: *batches }
            }
        };
        let rows: Vec<Row> = rows.iter().map(|numbered| numbered.row.clone()).collect();
        send(&*self.store, &Batch::new(rows).with_id(id)).await
    }
}
