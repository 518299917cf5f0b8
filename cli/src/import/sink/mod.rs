//! Stores batches in order, and knows at any time how many rows are stored.

mod progress;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use annals::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, Row};

use crate::import::read::{BadLine, Numbered, RowBatch};
use crate::store::send;
use progress::{Progress, number};

/// Why rows were not stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A line can never be stored. All rows before it are stored, and none after it.
    Line(BadLine),
    /// The file was imported before.
    Known,
    /// What was imported of the file is not what it has now. The line is the last that was imported,
    /// if the file still has it.
    Changed { last_line: Option<u64> },
    /// The store does not know the file, but has this row of it.
    There { line: u64 },
    /// The store failed.
    Store(PersistenceError),
}

/// How batches are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    /// By what was read, so that the store recognizes it. `resume` says whether stored rows are
    /// expected.
    Content { resume: bool },
    /// At random: the same rows can be stored again.
    Random { writer: u128, batches: u64 },
}

/// Stores batches.
pub(super) struct Sink {
    store: Arc<dyn PersistenceBackend>,
    ids: Ids,
    progress: Progress,
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
        let (stored, there, next_line, left_out) = (0, 0, Some(1), Vec::new());
        let progress = Progress::Unknown;
        Self { store, ids, progress, skip_invalid, stored, there, next_line, left_out }
    }

    /// Whether the same import with `--resume` recognizes what this one has stored.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self.ids, Ids::Content { .. })
    }

    /// Stores a batch, up to its first line that cannot be stored unless such lines are skipped.
    ///
    /// # Errors
    /// The line, or why the store failed.
    pub(super) async fn store(&mut self, mut batch: RowBatch) -> Result<(), Refusal> {
        let from = self.pass_over(&mut batch).await?;
        self.store_from(batch, from, false).await
    }

    /// Stores batches as one: all of their rows or none.
    ///
    /// # Errors
    /// The line, or why the store failed.
    pub(super) async fn store_whole(&mut self, batches: Vec<RowBatch>) -> Result<(), Refusal> {
        let (mut whole, mut from) = (RowBatch::default(), 0);
        for mut batch in batches {
            from += self.pass_over(&mut batch).await?;
            let (rows, lines) = (whole.rows.len(), whole.marks.len());
            whole.rows.extend(batch.rows);
            whole.marks.extend(batch.marks.into_iter().map(|(end, mark)| (rows + end, mark)));
            whole.bad.extend(batch.bad.into_iter().map(|(index, bad)| (lines + index, bad)));
            whole.last_line = batch.last_line;
        }
        self.store_from(whole, from, true).await
    }

    /// The input has ended.
    ///
    /// # Errors
    /// It is shorter than what was imported of it before.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        match self.progress {
            Progress::Stored { .. } => Err(Refusal::Changed { last_line: None }),
            Progress::Unknown | Progress::Beyond { .. } => Ok(()),
        }
    }

    /// The number of rows of a batch that an earlier import has stored. The lines that it has skipped
    /// are taken out.
    async fn pass_over(&mut self, batch: &mut RowBatch) -> Result<usize, Refusal> {
        let (Ids::Content { resume }, Some(file)) = (self.ids, batch.file) else { return Ok(0) };
        if matches!(self.progress, Progress::Unknown) {
            self.progress = Progress::find(&*self.store, file, batch, resume).await?;
        }
        let passed = self.progress.pass_over(batch)?;
        self.there += passed as u64;
        Ok(passed)
    }

    /// Stores the rows of a batch from `from` on. If it is stored as a `whole`, a line that cannot be
    /// stored leaves nothing of it behind.
    async fn store_from(
        &mut self,
        batch: RowBatch,
        mut from: usize,
        whole: bool,
    ) -> Result<(), Refusal> {
        let RowBatch { mut rows, mut marks, bad, last_line, before, .. } = batch;
        let first = from;
        // The line that ends it: the index of its mark.
        let mut stop = None;
        if self.skip_invalid {
            self.left_out.extend(bad.into_iter().map(|(_, bad)| bad));
        } else {
            stop = bad.into_iter().next();
        }
        loop {
            let lines = stop.as_ref().map_or(marks.len(), |(index, _)| *index);
            let number = match lines.checked_sub(1).and_then(|last| marks.get(last)) {
                Some((end, digest)) => {
                    rows.truncate(*end);
                    number(before + lines as u64, *digest)
                }
                None => {
                    rows.clear();
                    0
                }
            };
            match self.send(&rows, &mut from, number).await {
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
                        let rows_before = rows.partition_point(|other| other.line < bad.line);
                        stop = Some((marks.partition_point(|(end, _)| *end <= rows_before), bad));
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

    /// Sends rows from `from` on. Backends with atomic batches name the row that they refuse; others
    /// may fail part-way, and `from` advances.
    async fn send(
        &mut self,
        rows: &[Numbered],
        from: &mut usize,
        number: u64,
    ) -> Result<(), (usize, PersistenceError)> {
        while *from < rows.len() {
            let error = match self.send_once(&rows[*from..], number).await {
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
    async fn send_once(&mut self, rows: &[Numbered], number: u64) -> Result<(), PersistenceError> {
        let id = match &mut self.ids {
            Ids::Content { .. } => BatchId { writer: self.progress.file(), number },
            Ids::Random { writer, batches } => {
                *batches += 1;
                BatchId { writer: *writer, number: *batches }
            }
        };
        let rows: Vec<Row> = rows.iter().map(|numbered| numbered.row.clone()).collect();
        send(&*self.store, &Batch::new(rows).with_id(id)).await
    }
}
