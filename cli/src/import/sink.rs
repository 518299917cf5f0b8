//! Stores batches in order, and knows at any time how many rows are stored.

use std::sync::Arc;

use annals::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, Row};

use super::read::{BadLine, Numbered, RowBatch};
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
    /// Lines that were skipped and are not reported yet.
    pub(super) left_out: Vec<BadLine>,
}

impl Sink {
    pub(super) fn new(store: Arc<dyn PersistenceBackend>, ids: Ids, skip_invalid: bool) -> Self {
        let maybe_there = matches!(ids, Ids::Content { .. });
        Self { store, ids, maybe_there, skip_invalid, stored: 0, there: 0, left_out: Vec::new() }
    }

    /// Stores a batch, up to its first line that cannot be stored unless such lines are skipped.
    ///
    /// # Errors
    /// The line, or why the store failed.
    pub(super) async fn store(&mut self, batch: RowBatch) -> Result<(), Refusal> {
        let RowBatch { mut rows, mut marks, bad, .. } = batch;
        let mut stop = None;
        if self.skip_invalid {
            self.left_out.extend(bad.into_iter().map(|(_, bad)| bad));
        } else if let Some((before, bad)) = bad.into_iter().next() {
            stop = Some((before, bad));
        }
        let mut from = self.already_there(&marks).await?;
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
                Err((_, error)) => return Err(Refusal::Store(error)),
            }
        }
        match stop {
            Some((_, bad)) => Err(Refusal::Line(bad)),
            None => Ok(()),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use annals::{
        BackendError, ErrorKind, JsonText, MemoryBackend, QueryParams, RecordName, StoredValue,
        Value, async_trait,
    };

    use super::*;

    fn batch(texts: &[&str]) -> RowBatch {
        let row = |(index, text): (usize, &&str)| Numbered {
            line: index as u64 + 1,
            row: Row {
                record: RecordName::new("r").unwrap(),
                value: JsonText::from_text(*text, usize::MAX).unwrap(),
                stored_at: index as u64,
            },
        };
        let rows: Vec<_> = texts.iter().enumerate().map(row).collect();
        let marks = (1..=rows.len()).map(|end| (end, end as u128)).collect();
        RowBatch { rows, marks, ..RowBatch::default() }
    }

    fn random_ids() -> Ids {
        Ids::Random { writer: 7, batches: 0 }
    }

    async fn values(backend: &dyn PersistenceBackend) -> Vec<Value> {
        let mut rows = backend.query("r", QueryParams::default()).await.unwrap();
        rows.reverse();
        rows.into_iter().map(|row| row.value).collect()
    }

    /// A backend with three methods that fails as its script says, one entry per call of `store`.
    struct Plain {
        history: MemoryBackend,
        script: Mutex<Vec<Option<PersistenceError>>>,
    }

    #[async_trait]
    impl PersistenceBackend for Plain {
        async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
            let scripted = self.script.lock().unwrap().pop().flatten();
            match scripted {
                Some(error) => Err(error),
                None => self.history.store(name, value, at).await,
            }
        }

        async fn query(
            &self,
            pattern: &str,
            params: QueryParams,
        ) -> Result<Vec<StoredValue>, PersistenceError> {
            self.history.query(pattern, params).await
        }

        async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
            self.history.cleanup(older_than).await
        }
    }

    fn plain(mut script: Vec<Option<PersistenceError>>) -> (Arc<Plain>, Sink) {
        script.reverse();
        let plain = Arc::new(Plain { history: MemoryBackend::new(), script: script.into() });
        (plain.clone(), Sink::new(plain, random_ids(), false))
    }

    fn busy(outcome: Outcome) -> Option<PersistenceError> {
        let error = BackendError::new("test", "store", ErrorKind::Busy, "later");
        Some(error.with_outcome(outcome).into())
    }

    fn too_large() -> Option<PersistenceError> {
        Some(PersistenceError::ValueTooLarge { size: 9, limit: 8 })
    }

    #[tokio::test]
    async fn an_atomic_backend_that_refuses_a_row_gets_those_before_it() {
        let backend = Arc::new(MemoryBackend::new().with_max_value_bytes(3));
        for (skip_invalid, stored) in [(false, vec![1, 2]), (true, vec![1, 2, 4])] {
            backend.cleanup(u64::MAX).await.unwrap();
            let ids = Ids::Random { writer: u128::from(skip_invalid), batches: 0 };
            let mut sink = Sink::new(backend.clone(), ids, skip_invalid);
            let result = sink.store(batch(&["1", "2", "33333", "4"])).await;
            match (skip_invalid, &result) {
                (false, Err(Refusal::Line(BadLine { line: 3, .. }))) => {}
                (true, Ok(())) => assert_eq!(sink.left_out[0].line, 3),
                _ => panic!("{result:?}"),
            }
            assert_eq!(sink.stored, stored.len() as u64);
            assert_eq!(values(&*backend).await, stored);
        }
    }

    #[tokio::test]
    async fn a_backend_without_atomic_batches_may_fail_at_any_row() {
        for bad in 0..3 {
            let mut script = vec![None; bad];
            script.push(too_large());
            let (backend, mut sink) = plain(script);
            let result = sink.store(batch(&["0", "1", "2"])).await;
            let Err(Refusal::Line(BadLine { line, .. })) = result else {
                panic!("{bad}: {result:?}")
            };
            assert_eq!((line, sink.stored), (bad as u64 + 1, bad as u64));
            assert_eq!(values(&*backend).await, (0..bad).map(Value::from).collect::<Vec<_>>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_retried_and_stores_each_row_once() {
        for script in [
            vec![busy(Outcome::NotApplied), busy(Outcome::NotApplied)],
            vec![None, busy(Outcome::NotApplied)],
            vec![None, None, busy(Outcome::NotApplied), busy(Outcome::NotApplied)],
        ] {
            let (backend, mut sink) = plain(script);
            sink.store(batch(&["0", "1", "2"])).await.unwrap();
            assert_eq!(sink.stored, 3);
            assert_eq!(values(&*backend).await, [0, 1, 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rows_that_may_be_stored_are_not_sent_again_to_a_backend_that_ignores_ids() {
        for before in 0..2 {
            let mut script = vec![None; before];
            script.push(busy(Outcome::Unknown));
            let (backend, mut sink) = plain(script);
            let result = sink.store(batch(&["0", "1", "2"])).await;
            assert!(matches!(result, Err(Refusal::Store(_))), "{result:?}");
            assert_eq!(sink.stored, before as u64);
            assert_eq!(values(&*backend).await.len(), before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end() {
        let (_, mut sink) = plain(vec![busy(Outcome::NotApplied); 1000]);
        let result = sink.store(batch(&["0"])).await;
        assert!(matches!(result, Err(Refusal::Store(_))), "{result:?}");
        assert_eq!(sink.stored, 0);
    }

    /// Both endings of an import that stopped in the middle of a batch.
    #[tokio::test]
    async fn a_resumed_import_finds_the_line_before_which_it_stopped() {
        let backend = Arc::new(MemoryBackend::new());
        for stopped in 0..=4 {
            backend.cleanup(u64::MAX).await.unwrap();
            let mut whole = batch(&["0", "1", "2", "3"]);
            // Each round has digests of its own.
            whole.marks.iter_mut().for_each(|(_, digest)| *digest += 100 * (stopped + 1));
            let part = || RowBatch {
                rows: batch(&["0", "1", "2", "3"]).rows,
                marks: whole.marks.clone(),
                bad: match stopped {
                    4 => Vec::new(),
                    _ => vec![(stopped as usize, BadLine { line: 9, why: String::new() })],
                },
                empty: 0,
            };
            let mut first = Sink::new(backend.clone(), Ids::Content { resume: false }, false);
            assert_eq!(first.store(part()).await.is_ok(), stopped == 4);
            let mut second = Sink::new(backend.clone(), Ids::Content { resume: true }, false);
            second.store(whole).await.unwrap();
            assert_eq!((second.there, second.stored), (stopped as u64, 4 - stopped as u64));
            assert_eq!(values(&*backend).await, [0, 1, 2, 3]);
        }
    }
}
