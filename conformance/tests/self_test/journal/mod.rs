//! A backend that keeps a file, for the cases about opening again, killing, locking and damage;
//! right as it stands, and wrong in one of several ways.

mod harness;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use annals_conformance::Suite;
use annals_core::{
    BackendError, Batch, BatchId, CleanupPlan, Durability, ErrorKind, Guarantees,
    PersistenceBackend, PersistenceError, Query, QueryParams, RawRow, Row, RowStream, StoredValue,
    Value, async_trait,
};
use futures::stream;
use serde_json::json;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::shelf::Shelf;
use crate::subject::Subject;
use harness::JournalHarness;

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Answers Ok and writes when it is closed or dropped.
    AcknowledgesEarly,
    /// Answers Ok and writes when it is closed, but not when it is dropped.
    WritesOnlyAtClose,
    /// A large batch is written ten rows at a time, the id with the last of them.
    WritesBatchesInPieces,
    /// The id of a large batch is written first, and then its rows.
    NotesIdsFirst,
    /// Claims streams, and copies the whole result for each.
    StreamsACopy,
    /// Claims streams, and copies one record after the other.
    StreamsRecordByRecord,
    /// As `OpensTwice`, and claims that this is right.
    ClaimsManyProcesses,
    /// `close` answers Ok to stores that still wait, and forgets them.
    ForgetsWhoWaits,
    /// Rows at one time come back in reverse when it is opened again.
    ReversesEqualsWhenOpened,
    /// The numbers of batches are not kept in the file.
    ForgetsBatchIds,
    /// Goes on as if nothing had happened when a sync fails.
    IgnoresFailedSyncs,
    /// Keeps in memory what found no room in the file, and says that it was not applied.
    KeepsWhatItRefuses,
    /// The file only grows.
    NeverShrinks,
    /// What is no JSON is `null`.
    ReadsDamageAsNull,
    /// Any number of processes write to the file, each with its own idea of what is in it.
    OpensTwice,
    /// Waits for the lock on the executor's thread.
    BlocksWhileLocked,
    /// Takes a value as large as the limit for too large.
    LimitIsExclusive,
}

/// The suite on a journal.
pub(crate) fn journal(name: &str, flaw: Flaw, breaks: &'static [&'static str]) -> Subject {
    let random_finds = matches!(flaw, Flaw::ForgetsBatchIds | Flaw::ReversesEqualsWhenOpened);
    let suite = Suite::new(JournalHarness(name.to_owned(), flaw));
    Subject { random_finds, ..Subject::new(suite, breaks) }
}

/// What all handles of one store share in this process, where the file itself cannot say it.
#[derive(Default, Clone)]
struct Outside {
    gate: Arc<Gate<()>>,
    syncs_fail: Arc<Mutex<bool>>,
    is_full: Arc<Mutex<bool>>,
}

fn outside<T>(location: &str, read: impl FnOnce(&Outside) -> T) -> T {
    static PLACES: LazyLock<Mutex<HashMap<String, Outside>>> = LazyLock::new(Mutex::default);
    read(PLACES.lock().unwrap().entry(location.to_owned()).or_default())
}

struct Journal {
    flaw: Flaw,
    max_value_bytes: usize,
    gate: Arc<Gate<()>>,
    syncs_fail: Arc<Mutex<bool>>,
    is_full: Arc<Mutex<bool>>,
    state: Mutex<State>,
}

struct State {
    shelf: Shelf,
    writers: HashMap<u128, u64>,
    /// What was answered and is not in the file: nothing, unless there is a flaw.
    unwritten: String,
    /// How many rows were removed.
    gone: u64,
    file: File,
    closed: bool,
}

fn failed(
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> PersistenceError {
    BackendError::new("journal", operation, ErrorKind::Io, error.to_string())
        .with_source(error)
        .into()
}

fn line(rows: &[RawRow], writer: Option<(u128, u64)>) -> String {
    let rows: Vec<Value> =
        rows.iter().map(|row| json!([&*row.record, row.stored_at, &*row.json])).collect();
    let writer = writer.map(|(writer, number)| (writer.to_string(), number));
    json!({ "rows": rows, "writer": writer }).to_string() + "\n"
}

impl Journal {
    fn open(path: &str, flaw: Flaw, max_value_bytes: usize) -> Result<Self, PersistenceError> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let file = file.map_err(|error| failed("open", error))?;
        let shared = matches!(flaw, Flaw::OpensTwice | Flaw::ClaimsManyProcesses);
        if !shared && file.try_lock().is_err() {
            let message = "another process has it open";
            return Err(BackendError::new("journal", "open", ErrorKind::Busy, message).into());
        }
        let text = fs::read_to_string(path).map_err(|error| failed("open", error))?;
        // The last line is cut short when the process was killed while it wrote.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(|error| failed("open", error))?;
        let mut shelf = Shelf::default();
        let mut writers = HashMap::new();
        let mut lines: Vec<&str> = text[..whole].lines().collect();
        if flaw == Flaw::ReversesEqualsWhenOpened {
            lines.reverse();
        }
        for line in lines {
            let line: Value = serde_json::from_str(line.trim_start_matches('\0'))?;
            for row in line["rows"].as_array().into_iter().flatten() {
                let text = |i: usize| Arc::from(row[i].as_str().unwrap_or_default());
                let stored_at = row[1].as_u64().unwrap_or_default();
                shelf.insert(RawRow::new(text(0), text(2), stored_at));
            }
            let writer = line["writer"][0].as_str().and_then(|writer| writer.parse().ok());
            if let (Some(writer), Some(number)) = (writer, line["writer"][1].as_u64()) {
                let last = writers.entry(writer).or_insert(number);
                *last = number.max(*last);
            }
        }
        if flaw == Flaw::ForgetsBatchIds {
            writers.clear();
        }
        let state =
            State { shelf, writers, unwritten: String::new(), gone: 0, file, closed: false };
        let Outside { gate, syncs_fail, is_full } = outside(path, Outside::clone);
        let state = Mutex::new(state);
        Ok(Self { flaw, max_value_bytes, gate, syncs_fail, is_full, state })
    }

    async fn enter(&self) -> OwnedMutexGuard<()> {
        if self.flaw == Flaw::BlocksWhileLocked {
            loop {
                match self.gate.clone().try_lock_owned() {
                    Ok(guard) => return guard,
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            }
        }
        self.gate.clone().lock_owned().await
    }

    async fn append(
        &self,
        rows: Vec<RawRow>,
        id: Option<(u128, u64)>,
    ) -> Result<(), PersistenceError> {
        let _entered = self.enter().await;
        if self.flaw == Flaw::ForgetsWhoWaits {
            // As if each row waited for the next commit.
            tokio::task::yield_now().await;
        }
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        if state.closed && self.flaw == Flaw::ForgetsWhoWaits {
            return Ok(());
        }
        if state.closed {
            return Err(PersistenceError::BackendShutdown);
        }
        if *self.syncs_fail.lock().unwrap() {
            if self.flaw == Flaw::IgnoresFailedSyncs {
                return Ok(());
            }
            return Err(failed("store", std::io::Error::other("the sync failed")));
        }
        if *self.is_full.lock().unwrap() {
            if self.flaw == Flaw::KeepsWhatItRefuses {
                rows.into_iter().for_each(|row| state.shelf.insert(row));
            }
            let message = "there is no space";
            return Err(BackendError::new("journal", "store", ErrorKind::Full, message).into());
        }
        if let Some((writer, number)) = id {
            if state.writers.get(&writer).is_some_and(|last| number <= *last) {
                return Ok(());
            }
            state.writers.insert(writer, number);
        }
        type Piece<'a> = (&'a [RawRow], Option<(u128, u64)>);
        let pieces: Vec<Piece<'_>> = match self.flaw {
            Flaw::WritesBatchesInPieces if rows.len() > 1_000 => {
                rows.chunks(10).map(|rows| (rows, None)).chain([(&[][..], id)]).collect()
            }
            Flaw::NotesIdsFirst if rows.len() > 1_000 => vec![(&[], id), (&rows, None)],
            _ => vec![(&rows, id)],
        };
        for (rows, id) in pieces {
            let line = line(rows, id);
            match self.flaw {
                Flaw::AcknowledgesEarly | Flaw::WritesOnlyAtClose => state.unwritten += &line,
                _ => state.file.write_all(line.as_bytes()).map_err(|e| failed("store", e))?,
            }
        }
        rows.into_iter().for_each(|row| state.shelf.insert(row));
        Ok(())
    }

    fn sweep(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        let mut state = self.state.lock().unwrap();
        if state.closed {
            return Err(PersistenceError::BackendShutdown);
        }
        let removed = state.shelf.sweep(plan);
        if removed > 0 {
            state.unwritten.clear();
            // In place, which no process here is killed in the middle of: those only store.
            let mut text = String::new();
            for (writer, number) in &state.writers {
                text += &line(&[], Some((*writer, *number)));
            }
            for row in &state.shelf.0 {
                text += &line(std::slice::from_ref(row), None);
            }
            if self.flaw == Flaw::NeverShrinks {
                state.gone += removed;
            }
            state.file.set_len(0).map_err(|error| failed("cleanup", error))?;
            state.file.write_all(text.as_bytes()).map_err(|error| failed("cleanup", error))?;
            // A hole, which takes no room on the disk.
            let size = text.len() as u64 + 600 * state.gone;
            state.file.set_len(size).map_err(|error| failed("cleanup", error))?;
        }
        Ok(removed)
    }

    fn write_rest(&self) {
        let mut state = self.state.lock().unwrap();
        let rest = std::mem::take(&mut state.unwritten);
        state.file.write_all(rest.as_bytes()).unwrap();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.flaw == Flaw::AcknowledgesEarly {
            self.write_rest();
        }
    }
}

#[async_trait]
impl PersistenceBackend for Journal {
    async fn store(&self, name: &str, value: &Value, at: u64) -> Result<(), PersistenceError> {
        let limit = self.max_value_bytes - usize::from(self.flaw == Flaw::LimitIsExclusive);
        let row = Row::with_limit(name, value, at, limit).map_err(|error| match error {
            PersistenceError::ValueTooLarge { size, .. } => {
                PersistenceError::ValueTooLarge { size, limit: self.max_value_bytes }
            }
            other => other,
        })?;
        self.append(vec![raw(&row)], None).await
    }

    async fn query(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.query_stream(pattern, params).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.sweep(&CleanupPlan::older_than(older_than))
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.sweep(plan)
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        batch.validate(self.max_value_bytes)?;
        let id = batch.id().map(|id| (id.writer, id.number));
        self.append(batch.rows().iter().map(raw).collect(), id).await
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool, PersistenceError> {
        let state = self.state.lock().unwrap();
        Ok(state.writers.get(&id.writer).is_some_and(|last| id.number <= *last))
    }

    async fn query_stream(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let query = Query::new(pattern, &params)?;
        let state = self.state.lock().unwrap();
        if state.closed {
            return Err(PersistenceError::BackendShutdown);
        }
        let mut rows = state.shelf.select(&query);
        if self.flaw == Flaw::ReadsDamageAsNull {
            for row in &mut rows {
                if serde_json::from_str::<Value>(&row.json).is_err() {
                    row.json = "null".into();
                }
            }
        }
        let copy = |row: &RawRow| {
            RawRow::new(row.record.clone(), row.json.to_string().into(), row.stored_at)
        };
        match self.flaw {
            Flaw::StreamsACopy => rows = rows.iter().map(copy).collect(),
            Flaw::StreamsRecordByRecord => {
                let records: Vec<Vec<RawRow>> =
                    rows.chunk_by(|a, b| a.record == b.record).map(<[_]>::to_vec).collect();
                let pages =
                    records.into_iter().map(move |rows| Ok(rows.iter().map(copy).collect()));
                return Ok(RowStream::from_pages(stream::iter(pages)));
            }
            _ => {}
        }
        Ok(RowStream::from_rows(rows))
    }

    async fn close(&self) -> Result<(), PersistenceError> {
        self.write_rest();
        self.state.lock().unwrap().closed = true;
        Ok(())
    }

    fn guarantees(&self) -> Guarantees {
        let streams = matches!(self.flaw, Flaw::StreamsACopy | Flaw::StreamsRecordByRecord);
        Guarantees::default()
            .with_durability(Durability::Process)
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(true)
            .with_selective_cleanup(true)
            .with_streamed_queries(streams)
            .with_many_processes(self.flaw == Flaw::ClaimsManyProcesses)
    }
}

fn raw(row: &Row) -> RawRow {
    let (record, json) = (row.record.clone().into_shared(), row.value.clone().into_shared());
    RawRow::new(record, json, row.stored_at)
}
