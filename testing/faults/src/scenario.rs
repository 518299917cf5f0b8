//! A store's life: it is opened, written, flushed, merged, erased from, corrected, cleaned up and closed.

use std::sync::Arc;

use annals_core::{
    Batch, BatchId, Erasure, Grammar, Order, Outcome, Pattern, PersistenceBackend,
    PersistenceError, QueryParams, Row, StoredValue,
};
use annals_embedded::Tuning;
use annals_embedded::format::Layout;
use futures::future::join_all;
use serde_json::json;

use crate::ledger::{Ledger, Sent};
use crate::medium::Medium;

/// Opens the store again.
pub(crate) type Open<'a> = dyn Fn() -> Result<Arc<dyn PersistenceBackend>, PersistenceError> + 'a;

const RECORDS: [&str; 4] = ["a", "a::b", "b", "c"];
const WRITER: u128 = 77;
const OPENINGS: u64 = 3;
const STEPS: u64 = 16;

/// One more than an opening may take, since two faults in a row do not occur.
const TRIES: usize = 3;

/// So small that the store flushes and merges all the time.
pub fn tiny() -> Tuning {
    Tuning {
        flush_rows: 12,
        flush_bytes: 800,
        flush_blocks: 5,
        tier_rows: [20, 60, 150],
        tier_bytes: [2 << 10, 6 << 10, 15 << 10],
        merged_runs: 3,
        split_rows: 20,
        layout: Layout {
            block_rows: 6,
            block_text: 200,
            fresh_rows: 2,
            fresh_from: 3,
            rest_rows: 12,
            rest_text: 400,
            // So small a block gains nothing, and is to be torn as well.
            rest_percent: usize::MAX,
            statistics_rows: 3,
        },
        ..Tuning::default()
    }
}

/// As [`tiny`], with larger final runs: a store that lives long has few, and each process reads them all when it
/// cleans up.
pub fn tiny_for_long() -> Tuning {
    Tuning { tier_rows: [20, 600, 20_000], tier_bytes: [2 << 10, 60 << 10, 2 << 20], ..tiny() }
}

/// A life in progress.
pub(crate) struct Life<'a> {
    open: &'a Open<'a>,
    medium: &'a Medium,
    ledger: Ledger,
    number: u64,
    batch: u64,
    /// The writer must not continue: the outcome of its last batch is unknown.
    blocked: bool,
}

impl<'a> Life<'a> {
    /// The life of a new store.
    pub(crate) fn new(medium: &'a Medium, open: &'a Open<'a>) -> Self {
        Self { open, medium, ledger: Ledger::default(), number: 0, batch: 0, blocked: false }
    }

    /// Plays it, as far as the medium lets it.
    ///
    /// # Errors
    /// What the store did wrong.
    pub(crate) async fn play(&mut self) -> Result<(), String> {
        for opening in 0..OPENINGS {
            let Some(store) = self.opened()? else { return Ok(()) };
            for step in 0..STEPS {
                // The sender loses power too.
                if !self.medium.is_down() {
                    self.step(&*store, opening * STEPS + step).await;
                }
            }
            if !self.medium.is_down() {
                self.erase_and_correct(&*store, 1_000 + opening * 60).await?;
            }
            if !self.medium.is_down() {
                let older_than = [1_010, 1_060, 1_100][opening as usize];
                let cleaned = store.cleanup(older_than).await;
                self.ledger.cleaned(older_than, &cleaned)?;
            }
            // One that fails while it reads says nothing.
            if let Ok(rows) = everything(&*store).await {
                self.ledger.check(&rows)?;
            }
            // Whatever it answers: it must be possible to open it again.
            drop(store.close().await);
        }
        Ok(())
    }

    fn opened(&self) -> Result<Option<Arc<dyn PersistenceBackend>>, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            match (self.open)() {
                Ok(store) => return Ok(Some(store)),
                Err(_) if self.medium.is_down() => return Ok(None),
                Err(error) => last = error.to_string(),
            }
            // Frees space.
            self.medium.disarm();
        }
        Err(format!("it does not open: {last}"))
    }

    /// Erases some rows, most of which are in runs, and corrects the newest row of another record: it
    /// keeps its number.
    async fn erase_and_correct(
        &mut self,
        store: &dyn PersistenceBackend,
        from: u64,
    ) -> Result<(), String> {
        let (record, window) = (RECORDS[1], (from, from + 40));
        let Ok(pattern) = Pattern::new(record, Grammar::Glob) else { return Ok(()) };
        let erasure = Erasure::new(pattern).with_start_time(window.0).with_end_time(window.1);
        let erased = store.erase(&erasure).await;
        self.ledger.erased(record, window, &erased)?;
        if let Ok(newest) = store.query(RECORDS[2], QueryParams::latest(1)).await
            && let Some(StoredValue { value, stored_at, .. }) = newest.first()
        {
            let right = json!([value[0], "corrected"]);
            let Ok(right) = Row::new(RECORDS[2], &right, *stored_at) else { return Ok(()) };
            match store.correct(&right).await {
                Ok(true) | Err(_) => {}
                Ok(false) => return Err(format!("{value} was not there to be corrected")),
            }
        }
        Ok(())
    }

    async fn step(&mut self, store: &dyn PersistenceBackend, step: u64) {
        match step % 5 {
            // Of several callers at once, who may share a transaction.
            4 => {
                let batches: Vec<Batch> = (0..3).map(|record| self.rows(step, record, 1)).collect();
                let sent: Vec<Sent> = batches.iter().map(|batch| self.note(batch)).collect();
                let answers = join_all(batches.iter().map(|batch| store.store_batch(batch))).await;
                for (sent, answer) in sent.into_iter().zip(&answers) {
                    self.ledger.answered(sent, answer, false);
                }
            }
            1 | 3 if !self.blocked => {
                let id = BatchId { writer: WRITER, number: self.batch + 1 };
                let batch = self.rows(step, step, 2 + step % 3).with_id(id);
                let sent = self.note(&batch);
                let mut answer = store.store_batch(&batch).await;
                self.ledger.answered(sent, &answer, false);
                let applied = |answer: &Result<(), PersistenceError>| match answer {
                    Ok(()) => Some(true),
                    Err(error) => (error.outcome() == Outcome::NotApplied).then_some(false),
                };
                if applied(&answer).is_none() {
                    answer = store.store_batch(&batch).await;
                    self.ledger.answered(sent, &answer, true);
                    self.blocked = answer.is_err();
                }
                if answer.is_ok() {
                    self.batch += 1;
                }
            }
            _ => {
                let batch = self.rows(step, step, 1 + step % 4);
                let sent = self.note(&batch);
                let answer = store.store_batch(&batch).await;
                self.ledger.answered(sent, &answer, false);
            }
        }
    }

    /// Rows whose times mostly grow, sometimes do not, and are often equal.
    fn rows(&mut self, step: u64, record: u64, count: u64) -> Batch {
        let row = |at: u64| {
            let number = self.number + at + 1;
            let stored_at = if number % 7 == 3 { 1_000 + number % 90 } else { 1_000 + step * 4 };
            let record = RECORDS[((record + at / 2) % RECORDS.len() as u64) as usize];
            // Some larger than a block of a run.
            let value = json!([number, "x".repeat((number % 6 * 50) as usize)]);
            Row::new(record, &value, stored_at)
        };
        let rows: Vec<Row> = (0..count).filter_map(|at| row(at).ok()).collect();
        self.number += count;
        Batch::new(rows)
    }

    fn note(&mut self, batch: &Batch) -> Sent {
        let number = |row: &Row| -> Option<u64> {
            let end = row.value.as_str().find(',')?;
            row.value.as_str().get(1..end)?.parse().ok()
        };
        let numbers: Vec<u64> = batch.rows().iter().filter_map(number).collect();
        self.ledger.send(batch, numbers)
    }

    /// Opens what the scenario left, on a medium that works, and checks it; sends again what nobody
    /// knows of, and checks that.
    ///
    /// # Errors
    /// What the store has lost, doubled or brought back.
    pub(crate) async fn check(&mut self) -> Result<(), String> {
        let store = (self.open)().map_err(|error| format!("it does not open: {error}"))?;
        self.check_rows(&*store).await?;
        for (sent, batch) in self.ledger.undecided() {
            self.ledger.sent_late(sent);
            let answer = store.store_batch(&batch).await;
            self.ledger.answered(sent, &answer, true);
            answer.map_err(|error| format!("a second attempt: {error}"))?;
        }
        let batch = self.rows(1_000, 0, 30);
        let sent = self.note(&batch);
        let answer = store.store_batch(&batch).await;
        self.ledger.answered(sent, &answer, false);
        answer.map_err(|error| format!("a new batch: {error}"))?;
        self.check_rows(&*store).await?;
        store.close().await.map_err(|error| format!("closing: {error}"))?;
        let store = (self.open)().map_err(|error| format!("once more: {error}"))?;
        self.check_rows(&*store).await?;
        let cleaned = store.cleanup(u64::MAX).await;
        cleaned.as_ref().map_err(|error| format!("cleaning up: {error}"))?;
        self.ledger.cleaned(u64::MAX, &cleaned)?;
        self.check_rows(&*store).await?;
        store.close().await.map_err(|error| format!("closing: {error}"))
    }

    async fn check_rows(&self, store: &dyn PersistenceBackend) -> Result<(), String> {
        let rows = everything(store).await.map_err(|error| format!("reading: {error}"))?;
        self.ledger.check(&rows)?;
        let listed = store.records("*", Grammar::Glob).await.map_err(|error| error.to_string())?;
        let counts = rows.chunk_by(|a, b| a.record_name == b.record_name).map(|rows| {
            let times = || rows.iter().map(|row| row.stored_at);
            (rows.len() as u64, times().min().unwrap_or(0), times().max().unwrap_or(0))
        });
        let listed = listed.iter().map(|record| (record.count, record.first, record.last));
        if !counts.eq(listed) {
            return Err("the listing is not that of the rows".into());
        }
        let latest = store.query("*", QueryParams::latest(2)).await;
        let latest = latest.map_err(|error| format!("reading the latest: {error}"))?;
        let expected = rows
            .chunk_by(|a, b| a.record_name == b.record_name)
            .flat_map(|rows| rows.iter().rev().take(2));
        if !latest.iter().eq(expected) {
            return Err("the latest rows are others".into());
        }
        Ok(())
    }
}

async fn everything(store: &dyn PersistenceBackend) -> Result<Vec<StoredValue>, PersistenceError> {
    let params = QueryParams::default().with_order(Order::OldestFirst);
    store.query("*", params).await
}
