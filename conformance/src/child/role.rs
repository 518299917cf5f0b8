//! What children do.

use std::fs;
use std::sync::Arc;

use annals_core::{Aggregate, Batch, BatchId, PersistenceBackend, QueryExt, QueryParams, Row};
use futures::StreamExt;
use futures::future::try_join_all;
use serde_json::json;

use super::{Role, tell};
use crate::harness::{BoxError, HarnessResult};
use crate::suite::Suite;

/// A child that nobody kills stops by itself after so many rows.
const MOST_ROWS: u64 = 200_000;

/// The record that [`Role::Share`] shares with its parent, which has a row in it from the start.
pub(crate) const SHARED: &str = "shared";

/// A record that [`Role::Share`] begins.
pub(crate) const OTHER: &str = "other";

/// How many rows [`Role::Share`] stores to each of the two, with the values and at 10, 11, 12, …
pub(crate) const SHARED_ROWS: u64 = 40;

/// The value for which [`Role::Share`] waits in the shared record.
pub(crate) const ANSWER: &str = "from the parent";

/// When a row of the [`Role::Write`] is stored: always four at the same time.
pub(crate) fn written_at(index: u64) -> u64 {
    index / 4
}

/// The batches that a writer of [`Role::Write`] stores: the rows from `first` on.
pub(crate) fn batch(writer: usize, first: u64, rows: usize) -> HarnessResult<Batch> {
    let record = format!("w{writer}");
    let rows: Result<Vec<Row>, _> = (first..first + rows as u64)
        .map(|index| Row::new(&record, &json!(index), written_at(index)))
        .collect();
    let id = BatchId { writer: writer as u128 + 1, number: first + 1 };
    Ok(Batch::new(rows?).with_id(id))
}

pub(super) async fn act(suite: &Suite, location: &str, role: Role) -> HarnessResult<()> {
    match role {
        Role::Write { writers, batch } => {
            let backend = open(suite, location).await?;
            let tasks = (0..writers).map(|writer| {
                let task = tokio::spawn(write(backend.clone(), writer, batch, writers == 1));
                async { task.await? }
            });
            try_join_all(tasks).await?;
            Ok(())
        }
        Role::Open { record } => {
            match open_and_store(suite, location, &record).await {
                Ok(backend) => {
                    tell("opened");
                    // Until the end of the input ends the process.
                    std::future::pending::<()>().await;
                    drop(backend);
                }
                Err(error) => tell(&format!("refused {}", error.to_string().replace('\n', "\\n"))),
            }
            Ok(())
        }
        Role::Share => {
            let backend = open(suite, location).await?;
            share(&*backend).await?;
            std::future::pending().await
        }
        Role::Measure { records } => {
            let backend = open(suite, location).await?;
            measure(&*backend, &records, false).await
        }
        Role::MeasureAggregate { records } => {
            let backend = open(suite, location).await?;
            measure(&*backend, &records, true).await
        }
    }
}

async fn open(suite: &Suite, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
    let backend = suite.harness.open(location).await?;
    backend.initialize().await?;
    Ok(backend)
}

async fn open_and_store(
    suite: &Suite,
    location: &str,
    record: &str,
) -> HarnessResult<Arc<dyn PersistenceBackend>> {
    let backend = open(suite, location).await?;
    backend.store(record, &json!(record), 1).await?;
    Ok(backend)
}

async fn write(
    backend: Arc<dyn PersistenceBackend>,
    writer: usize,
    rows: usize,
    alone: bool,
) -> HarnessResult<()> {
    let record = format!("w{writer}");
    let mut stored = 0;
    while stored < MOST_ROWS {
        if rows == 0 {
            backend.store(&record, &json!(stored), written_at(stored)).await?;
            stored += 1;
        } else {
            let batch = batch(writer, stored, rows)?;
            if alone {
                tell(&format!("send {writer} {stored}"));
            }
            backend.store_batch(&batch).await?;
            stored += rows as u64;
        }
        tell(&format!("ack {writer} {stored}"));
    }
    Ok(())
}

async fn share(backend: &dyn PersistenceBackend) -> HarnessResult<()> {
    let row = |record: &str, i: u64| Row::new(record, &json!(i), 10 + i);
    for i in 0..SHARED_ROWS / 2 {
        backend.store(SHARED, &json!(i), 10 + i).await?;
    }
    let mut rows = Vec::new();
    for i in 0..SHARED_ROWS {
        rows.push(row(OTHER, i)?);
        if i >= SHARED_ROWS / 2 {
            rows.push(row(SHARED, i)?);
        }
    }
    backend.store_batch(&Batch::new(rows)).await?;
    tell("stored");
    // The parent loses its patience before this does.
    while backend.query(SHARED, QueryParams::latest(1)).await?.iter().all(|r| r.value != ANSWER) {}
    tell("seen");
    while !backend.query("*", QueryParams::latest(1)).await?.is_empty() {}
    for record in [SHARED, OTHER] {
        backend.store(record, &json!("again"), 3_000).await?;
    }
    tell("stored again");
    Ok(())
}

async fn measure(
    backend: &dyn PersistenceBackend,
    records: &[(String, u64)],
    aggregates: bool,
) -> HarnessResult<()> {
    /// A store that needs memory for each row of a record must not have had it before.
    const WINDOW: u64 = 200;
    // The engine's caches fill up here.
    for (record, rows) in records {
        for first in (0..*rows).step_by(WINDOW as usize) {
            let window = QueryParams::range(first, first + WINDOW - 1);
            read(backend, record, window, |_| Ok(())).await?;
        }
    }
    let before = resident("VmRSS:")?;
    if aggregates {
        // The kernel starts to record the peak anew.
        fs::write("/proc/self/clear_refs", "5")?;
        let buckets = backend.aggregate("*", &Aggregate::new()).await?;
        if buckets.len() != records.len() {
            return Err(format!("{} buckets of {} records", buckets.len(), records.len()).into());
        }
        tell(&format!("growth {}", resident("VmHWM:")?.saturating_sub(before)));
        return Ok(());
    }
    let mut most = before;
    read(backend, "*", QueryParams::default(), |row| {
        if row % 200 == 0 {
            most = most.max(resident("VmRSS:")?);
        }
        Ok(())
    })
    .await?;
    tell(&format!("growth {}", most - before));
    Ok(())
}

async fn read(
    backend: &dyn PersistenceBackend,
    pattern: &str,
    params: QueryParams,
    mut each: impl FnMut(u64) -> HarnessResult<()>,
) -> HarnessResult<()> {
    let mut rows = backend.query_stream(pattern, params).await?;
    let mut number = 0;
    while let Some(row) = rows.next().await {
        row?;
        each(number)?;
        number += 1;
    }
    Ok(())
}

/// The memory of this process that is in use (`VmRSS:`) or was at the most (`VmHWM:`), in bytes.
fn resident(field: &str) -> HarnessResult<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field));
    let number = kilobytes.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok());
    let kilobytes: u64 =
        number.ok_or_else(|| BoxError::from(format!("no {field} in /proc/self/status")))?;
    Ok(kilobytes * 1_024)
}
