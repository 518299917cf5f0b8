//! Backends that erase and correct what they should not.

use std::collections::BTreeSet;
use std::sync::Mutex;

use annals_core::{
    Batch, Erasure, Grammar, Guarantees, MAX_TIMESTAMP, MemoryBackend, Pattern, PersistenceBackend,
    QueryParams, RecordSummary, Row, Value, async_trait,
};

use crate::twist::{Result, Twist, select};

/// Erases something else.
pub(crate) struct Erases(pub(crate) fn(Erasure) -> Erasure);

#[async_trait]
impl Twist for Erases {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        inner.erase(&(self.0)(erasure.clone())).await
    }
}

/// `stored_at < end`.
pub(crate) fn short_of_the_end(erasure: Erasure) -> Erasure {
    match erasure.end_time {
        Some(end @ 1..=MAX_TIMESTAMP) => erasure.with_end_time(end - 1),
        _ => erasure,
    }
}

pub(crate) fn whatever_the_filter(erasure: Erasure) -> Erasure {
    erasure.with_where(None)
}

/// Answers with the number of records.
pub(crate) struct CountsRecords;

#[async_trait]
impl Twist for CountsRecords {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let before = inner.records("*", Grammar::Glob).await?;
        let removed = inner.erase(erasure).await?;
        let after = inner.records("*", Grammar::Glob).await?;
        let is_changed = |one: &&RecordSummary| !after.contains(one);
        Ok(removed.min(before.iter().filter(is_changed).count() as u64))
    }
}

/// One step, and no more.
pub(crate) struct ErasesAThousand;

#[async_trait]
impl Twist for ErasesAThousand {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        const STEP: usize = 20_000;
        let rows = select(inner, "*", QueryParams::default()).await?;
        match rows.get(STEP) {
            // The oldest of the last records stay.
            Some(row) => {
                inner.erase(&erasure.clone().with_start_time(row.stored_at.max(101))).await
            }
            None => inner.erase(erasure).await,
        }
    }
}

pub(crate) struct ErasesUnclaimed;

#[async_trait]
impl Twist for ErasesUnclaimed {
    fn claims(&self, claims: Guarantees) -> Guarantees {
        claims.with_erasure(false)
    }
}

/// A record after the other, with other tasks in between.
pub(crate) struct ErasesRecordByRecord;

#[async_trait]
impl Twist for ErasesRecordByRecord {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let mut removed = 0;
        for record in inner.records("*", Grammar::Glob).await? {
            if erasure.pattern.matches(&record.record) {
                let mut one = erasure.clone();
                one.pattern = Pattern::new(&record.record, Grammar::Glob)?;
                removed += inner.erase(&one).await?;
                for _ in 0..2_000 {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(removed)
    }
}

/// Counts first, and erases later.
pub(crate) struct ErasesLater;

#[async_trait]
impl Twist for ErasesLater {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let params = QueryParams::default()
            .with_start_time(erasure.start_time)
            .with_end_time(erasure.end_time);
        let mut rows = Vec::new();
        if erasure.window().is_some() {
            let params = params.with_grammar(erasure.pattern.grammar());
            rows = select(inner, erasure.pattern.as_str(), params).await?;
        }
        rows.retain(|row| erasure.takes(&row.json));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let before = inner.records("*", Grammar::Glob).await?.len();
        inner.erase(erasure).await?;
        Ok(if before == 0 { 0 } else { rows.len() as u64 })
    }
}

/// Takes a batch again once its rows are gone.
#[derive(Default)]
pub(crate) struct ForgetsErasedIds(Mutex<bool>);

#[async_trait]
impl Twist for ForgetsErasedIds {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let erased = inner.erase(erasure).await?;
        *self.0.lock().unwrap() |= erased > 0;
        Ok(erased)
    }

    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let is_forgotten = *self.0.lock().unwrap();
        match batch.id() {
            Some(id) if is_forgotten && inner.has_batch(id).await? => {
                inner.store_batch(&Batch::new(batch.rows().to_vec())).await
            }
            _ => inner.store_batch(batch).await,
        }
    }
}

/// Keeps the names of records that lost their last row.
#[derive(Default)]
pub(crate) struct ListsErasedRecords(Mutex<BTreeSet<String>>);

#[async_trait]
impl Twist for ListsErasedRecords {
    async fn erase(&self, inner: &MemoryBackend, erasure: &Erasure) -> Result<u64> {
        let before = inner.records("*", Grammar::Glob).await?;
        let erased = inner.erase(erasure).await?;
        self.0.lock().unwrap().extend(before.into_iter().map(|record| record.record));
        Ok(erased)
    }

    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let mut records = inner.records(pattern, grammar).await?;
        let pattern = Pattern::new(pattern, grammar)?;
        for name in self.0.lock().unwrap().iter().filter(|name| pattern.matches(name)) {
            if !records.iter().any(|record| record.record == *name) {
                records.push(RecordSummary::new(name.as_str(), 0, 0, 0));
            }
        }
        records.sort_by(|one, other| one.record.cmp(&other.record));
        Ok(records)
    }
}

/// What becomes of the rows at a time, given the new value and whether there is a row.
type Change = fn(&mut Vec<Row>, Row);

/// Corrects in another way.
pub(crate) struct Corrects(pub(crate) Change);

#[async_trait]
impl Twist for Corrects {
    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        let (record, at) = (row.record.as_str(), row.stored_at);
        let oldest_first = QueryParams::range(at, at).with_order(annals_core::Order::OldestFirst);
        let mut rows = Vec::new();
        for there in select(inner, record, oldest_first).await? {
            let value: Value = serde_json::from_str(&there.json)?;
            rows.push(Row::new(record, &value, at)?);
        }
        let found = !rows.is_empty();
        (self.0)(&mut rows, row.clone());
        let pattern = Pattern::new(record, Grammar::Glob)?;
        inner.erase(&Erasure::new(pattern).with_start_time(at).with_end_time(at)).await?;
        inner.store_batch(&Batch::new(rows)).await?;
        Ok(found)
    }
}

#[expect(clippy::ptr_arg, reason = "it is a `Change`, and others add rows")]
pub(crate) fn the_first(rows: &mut Vec<Row>, row: Row) {
    if let Some(first) = rows.first_mut() {
        *first = row;
    }
}

pub(crate) fn by_adding(rows: &mut Vec<Row>, row: Row) {
    if !rows.is_empty() {
        rows.push(row);
    }
}

pub(crate) fn what_is_not_there(rows: &mut Vec<Row>, row: Row) {
    rows.pop();
    rows.push(row);
}

/// For a moment there is no value.
pub(crate) struct ErasesBeforeItCorrects;

#[async_trait]
impl Twist for ErasesBeforeItCorrects {
    async fn correct(&self, inner: &MemoryBackend, row: &Row) -> Result<bool> {
        let (record, at) = (row.record.as_str(), row.stored_at);
        let mut rows = select(inner, record, QueryParams::range(at, at)).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        rows.reverse();
        rows.pop();
        let pattern = Pattern::new(record, Grammar::Glob)?;
        inner.erase(&Erasure::new(pattern).with_start_time(at).with_end_time(at)).await?;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let others = rows.iter().map(|there| {
            let value: Value = serde_json::from_str(&there.json)?;
            Row::new(record, &value, at)
        });
        let mut all: Vec<Row> = others.collect::<Result<_>>()?;
        all.push(row.clone());
        inner.store_batch(&Batch::new(all)).await?;
        Ok(true)
    }
}
