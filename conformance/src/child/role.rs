//! What children do.

use std::fs;
use std::sync::Arc;

use annals_core::{Batch, BatchId, PersistenceBackend, QueryParams, Row};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde_json::json;

use super::{Role, tell};
use crate::harness::{BoxError, HarnessResult};
use crate::suite::Suite;

/// A child that nobody kills stops by itself after so many rows.
const MOST_ROWS: u64 = 200_000;

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
                let task = tokio::spawn(write(backend.clone(), writer, batch));
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
        Role::Measure { records } => {
            let backend = open(suite, location).await?;
            measure(&*backend, &records).await
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
) -> HarnessResult<()> {
    let record = format!("w{writer}");
    let mut stored = 0;
    while stored < MOST_ROWS {
        if rows == 0 {
            backend.store(&record, &json!(stored), written_at(stored)).await?;
            stored += 1;
        } else {
            backend.store_batch(&batch(writer, stored, rows)?).await?;
            stored += rows as u64;
        }
        tell(&format!("ack {writer} {stored}"));
    }
    Ok(())
}

async fn measure(backend: &dyn PersistenceBackend, records: &[String]) -> HarnessResult<()> {
    // The engine's caches fill up here, at most one record's rows at a time are in memory.
    for record in records {
        read(backend, record, |_| Ok(())).await?;
    }
    let before = resident()?;
    let mut most = before;
    read(backend, "*", |row| {
        if row % 200 == 0 {
            most = most.max(resident()?);
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
    mut each: impl FnMut(u64) -> HarnessResult<()>,
) -> HarnessResult<()> {
    let mut rows = backend.query_stream(pattern, QueryParams::default()).await?;
    let mut number = 0;
    while let Some(row) = rows.next().await {
        row?;
        each(number)?;
        number += 1;
    }
    Ok(())
}

/// The memory of this process that is in use, in bytes.
fn resident() -> HarnessResult<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = kilobytes.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok());
    let kilobytes: u64 = number.ok_or_else(|| BoxError::from("no VmRSS in /proc/self/status"))?;
    Ok(kilobytes * 1_024)
}
