//! Tests of storing batches.

use std::sync::Mutex;

use annals::{
    BackendError, ErrorKind, JsonText, MemoryBackend, QueryParams, RecordName, StoredValue, Value,
    async_trait,
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
    RowBatch { rows, marks, file: Some(7), ..RowBatch::default() }
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
        let Err(Refusal::Line(BadLine { line, .. })) = result else { panic!("{bad}: {result:?}") };
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
        // Each round has a file of its own.
        whole.file = Some(100 + stopped);
        let part = || RowBatch {
            file: whole.file,
            bad: match stopped {
                4 => Vec::new(),
                _ => vec![(stopped as usize, BadLine { line: 9, why: String::new() })],
            },
            ..batch(&["0", "1", "2", "3"])
        };
        let mut first = Sink::new(backend.clone(), Ids::Content { resume: false }, false);
        assert_eq!(first.store(part()).await.is_ok(), stopped == 4);
        let mut second = Sink::new(backend.clone(), Ids::Content { resume: true }, false);
        second.store(whole).await.unwrap();
        assert_eq!((second.there, second.stored), (stopped as u64, 4 - stopped as u64));
        assert_eq!(values(&*backend).await, [0, 1, 2, 3]);
    }
}

/// Where batches have ids at random, the line is all that a message can name.
#[tokio::test(start_paused = true)]
async fn the_line_to_go_on_at_is_the_first_that_is_not_stored() {
    for (script, next_line, stored) in [
        (vec![], Some(4), 3),
        (vec![busy(Outcome::Unknown)], Some(1), 0),
        (vec![None, busy(Outcome::Unknown)], Some(2), 1),
    ] {
        let (_, mut sink) = plain(script);
        let mut batch = batch(&["0", "1", "2"]);
        batch.last_line = 3;
        let _ends_as_the_script_says = sink.store(batch).await;
        assert_eq!((sink.next_line, sink.stored), (next_line, stored));
    }
    // Two rows of one line, of which one is stored.
    let (_, mut sink) = plain(vec![None, busy(Outcome::Unknown)]);
    let mut batch = batch(&["0", "1", "2"]);
    batch.rows.iter_mut().for_each(|row| row.line = 1);
    assert!(sink.store(batch).await.is_err());
    assert_eq!((sink.next_line, sink.stored), (None, 1));
}

/// A line that was corrected after it was skipped, and lines that are gone, had all rows of their batch
/// stored again.
#[tokio::test]
async fn what_has_changed_since_it_was_stored_is_refused() {
    let resume = |backend: &Arc<MemoryBackend>| {
        Sink::new(backend.clone(), Ids::Content { resume: true }, false)
    };
    let backend = Arc::new(MemoryBackend::new());
    let mut first = Sink::new(backend.clone(), Ids::Content { resume: false }, false);
    first.store(batch(&["0", "1", "2"])).await.unwrap();
    let mut again = Sink::new(backend.clone(), Ids::Content { resume: false }, false);
    assert!(matches!(again.store(batch(&["0", "1", "2"])).await, Err(Refusal::Known)));
    // The digest of the third line differs, and so does that of the second of three.
    for changed in [1, 2] {
        let mut other = batch(&["0", "1", "2"]);
        other.marks[changed..].iter_mut().for_each(|(_, digest)| *digest += 100);
        let result = resume(&backend).store(other).await;
        assert!(matches!(result, Err(Refusal::Changed { last_line: Some(3) })), "{result:?}");
    }
    let mut shorter = resume(&backend);
    shorter.store(batch(&["0", "1"])).await.unwrap();
    assert!(matches!(shorter.end(), Err(Refusal::Changed { last_line: None })));
    // The beginning differs: nothing but the rows themselves tells.
    let mut unknown = batch(&["9", "1", "2"]);
    unknown.file = Some(8);
    let result = resume(&backend).store(unknown).await;
    assert!(matches!(result, Err(Refusal::There { line: 2 })), "{result:?}");
    let mut longer = resume(&backend);
    longer.store(batch(&["0", "1", "2", "3"])).await.unwrap();
    assert_eq!((longer.there, longer.stored), (3, 1));
    longer.end().unwrap();
    assert_eq!(values(&*backend).await, [0, 1, 2, 3]);
}

#[test]
fn the_number_of_a_batch_tells_lines_and_digest() {
    assert_eq!(number(1, u128::MAX), (2 << 27) - 1);
    assert!(number(1, u128::MAX) < number(2, 0));
    assert_ne!(number(5, 1), number(5, 2));
    // More lines than a number has room for are refused by the store.
    assert!(number(1 << 36, 0) > i64::MAX as u64);
}
