//! Stores rows in order and counts exactly how many are stored.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use annals::{Batch, BatchId, Outcome, PersistenceBackend, PersistenceError, Row};
use backon::{BackoffBuilder, ExponentialBuilder};

use super::input::{BadLine, Numbered};

/// The number of retries while the store is busy or unreachable. With these delays they take about
/// half a minute.
const RETRIES: usize = 10;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Why not all rows were stored.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A row can never be stored. All rows before it are stored, none after it.
    Row(BadLine),
    /// The store failed.
    Store(PersistenceError),
}

/// Stores rows and counts them.
pub(super) struct Sink {
    store: Arc<dyn PersistenceBackend>,
    writer: u128,
    batches: u64,
    /// The number of rows that are certainly stored.
    pub(super) stored: u64,
}

impl Sink {
    pub(super) fn new(store: Arc<dyn PersistenceBackend>) -> Self {
        // The keys of RandomState are the standard library's only source of randomness; a writer's
        // number has to be unlike every other one, not unguessable.
        let random = || u128::from(RandomState::new().build_hasher().finish());
        Self { store, writer: random() << 64 | random(), batches: 0, stored: 0 }
    }

    /// Stores `rows` in order, up to the first that cannot be stored. The error has the number of rows
    /// processed, the refused one included.
    ///
    /// A backend with atomic batches names the row that it refuses; another may stop anywhere.
    pub(super) async fn store(&mut self, rows: &[Numbered]) -> Result<(), (usize, Refusal)> {
        let mut begin = 0;
        let mut end = rows.len();
        let mut refused = None;
        while begin < end {
            let error = match self.send(&rows[begin..end]).await {
                Ok(()) => break,
                Err(error) => error,
            };
            match error {
                // Nothing of the batch was stored; the rows before the refused one can be.
                PersistenceError::InvalidRow { index, source } if begin + index < end => {
                    end = begin + index;
                    refused = Some(source);
                }
                PersistenceError::PartialBatch { stored, source } => {
                    self.stored += stored as u64;
                    begin += stored;
                    if source.is_invalid_input() && begin < end {
                        return Err(refuse(rows, begin, &source));
                    }
                    // The rest is sent again.
                    if !source.is_retryable() || source.outcome() == Outcome::Unknown {
                        return Err((begin, Refusal::Store(*source)));
                    }
                }
                error if error.is_invalid_input() => return Err(refuse(rows, begin, &error)),
                error => return Err((begin, Refusal::Store(error))),
            }
        }
        self.stored += (end - begin) as u64;
        match refused {
            Some(source) => Err(refuse(rows, end, &source)),
            None => Ok(()),
        }
    }

    /// Sends a batch, with retries while they may help and cannot store it twice.
    async fn send(&mut self, rows: &[Numbered]) -> Result<(), PersistenceError> {
        self.batches += 1;
        let rows: Vec<Row> = rows.iter().map(|numbered| numbered.row.clone()).collect();
        let id = BatchId { writer: self.writer, number: self.batches };
        let batch = Batch::new(rows).with_id(id);
        let once = self.store.guarantees().idempotent_batches;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_max_times(RETRIES)
            .build();
        loop {
            let error = match self.store.store_batch(&batch).await {
                Ok(()) => return Ok(()),
                Err(error @ PersistenceError::PartialBatch { .. }) => return Err(error),
                Err(error) => error,
            };
            let safe = once || error.outcome() == Outcome::NotApplied;
            match delays.next() {
                Some(delay) if safe && error.is_retryable() => {
                    tracing::warn!(%error, "retrying in {delay:?}");
                    tokio::time::sleep(delay).await;
                }
                _ => return Err(error),
            }
        }
    }
}

fn refuse(rows: &[Numbered], index: usize, why: &PersistenceError) -> (usize, Refusal) {
    let bad = BadLine { line: rows[index].line, why: why.to_string() };
    (index + 1, Refusal::Row(bad))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use annals::{
        BackendError, ErrorKind, JsonText, MemoryBackend, QueryParams, RecordName, StoredValue,
        Value, async_trait,
    };

    use super::*;

    fn rows(texts: &[&str]) -> Vec<Numbered> {
        let row = |(index, text): (usize, &&str)| Numbered {
            line: index as u64 + 1,
            row: Row {
                record: RecordName::new("r").unwrap(),
                value: JsonText::from_text(*text, usize::MAX).unwrap(),
                stored_at: index as u64,
            },
        };
        texts.iter().enumerate().map(row).collect()
    }

    async fn values(backend: &dyn PersistenceBackend) -> Vec<Value> {
        let mut rows = backend.query("r", QueryParams::default()).await.unwrap();
        rows.reverse();
        rows.into_iter().map(|row| row.value).collect()
    }

    /// The three methods and nothing else; fails as its script says, one entry a call to `store`.
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
        (plain.clone(), Sink::new(plain))
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
        let mut sink = Sink::new(backend.clone());
        let result = sink.store(&rows(&["1", "2", "33333", "4"])).await;
        let Err((3, Refusal::Row(BadLine { line: 3, .. }))) = result else { panic!("{result:?}") };
        assert_eq!(sink.stored, 2);
        assert_eq!(values(&*backend).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_backend_without_atomic_batches_may_break_off_at_any_row() {
        for bad in 0..3 {
            let mut script = vec![None; bad];
            script.push(too_large());
            let (backend, mut sink) = plain(script);
            let result = sink.store(&rows(&["0", "1", "2"])).await;
            let Err((processed, Refusal::Row(BadLine { line, .. }))) = result else {
                panic!("{bad}: {result:?}")
            };
            assert_eq!((processed, line, sink.stored), (bad + 1, bad as u64 + 1, bad as u64));
            assert_eq!(values(&*backend).await, (0..bad).map(Value::from).collect::<Vec<_>>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retryable_errors_are_retried_and_rows_stored_once() {
        for script in [
            vec![busy(Outcome::NotApplied), busy(Outcome::NotApplied)],
            vec![None, busy(Outcome::NotApplied)],
            vec![None, None, busy(Outcome::NotApplied), busy(Outcome::NotApplied)],
        ] {
            let (backend, mut sink) = plain(script);
            sink.store(&rows(&["0", "1", "2"])).await.unwrap();
            assert_eq!(sink.stored, 3);
            assert_eq!(values(&*backend).await, [0, 1, 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_may_be_stored_is_not_sent_again_without_idempotent_batches() {
        for before in 0..2 {
            let mut script = vec![None; before];
            script.push(busy(Outcome::Unknown));
            let (backend, mut sink) = plain(script);
            let result = sink.store(&rows(&["0", "1", "2"])).await;
            assert!(matches!(result, Err((_, Refusal::Store(_)))), "{result:?}");
            assert_eq!(sink.stored, before as u64);
            assert_eq!(values(&*backend).await.len(), before);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_has_an_end() {
        let (_, mut sink) = plain(vec![busy(Outcome::NotApplied); 1000]);
        let result = sink.store(&rows(&["0"])).await;
        assert!(matches!(result, Err((0, Refusal::Store(_)))), "{result:?}");
        assert_eq!(sink.stored, 0);
    }
}
