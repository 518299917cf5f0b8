//! AimDB's own SQLite backend under the loads of `annals-benches`, one JSON line each.
//!
//! `annals-bench-peer-aimdb store CALLERS SECONDS` | `latest ROWS RECORDS`

use std::sync::Arc;
use std::time::{Duration, Instant};

use aimdb_persistence::backend::{PersistenceBackend, QueryParams};
use aimdb_persistence_sqlite::SqliteBackend;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> Result<u64, Failure> {
        Ok(arguments.get(at).ok_or("an argument is missing")?.parse()?)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let answer = match arguments.first().map(String::as_str) {
        Some("store") => runtime.block_on(store(number(1)?, number(2)?))?,
        Some("latest") => runtime.block_on(latest(number(1)?, number(2)?))?,
        _ => return Err("store CALLERS SECONDS, or latest ROWS RECORDS".into()),
    };
    println!("{answer}");
    Ok(())
}

/// The same value as in `annals-benches`.
fn value(at: u64) -> Value {
    let spread = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = 10.0 + (spread % 200_000) as f64 / 10_000.0;
    json!({ "n": 1_000_000 + at % 1_000_000, "unit": "percent", "value": value })
}

async fn store(callers: u64, seconds: u64) -> Result<Value, Failure> {
    let folder = tempfile::tempdir()?;
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db"))?);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let mut stored = 0_u64;
                while Instant::now() < end {
                    let at = stored * callers + caller;
                    let record = format!("accuracy::{:04}", at % 1_000);
                    backend.store(&record, &value(at), 1_740_000_000_000 + at).await?;
                    stored += 1;
                }
                Ok::<u64, aimdb_persistence::error::PersistenceError>(stored)
            })
        })
        .collect();
    let mut rows = 0;
    for task in tasks {
        rows += task.await??;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    // Every row can be found, or the figure counts for nothing.
    let found = backend
        .query("*", QueryParams { limit_per_record: None, start_time: Some(0), end_time: None })
        .await?
        .len() as u64;
    if found != rows {
        return Err(format!("{rows} rows were stored and {found} were found").into());
    }
    Ok(json!({ "rows_per_second": rows as f64 / elapsed }))
}

async fn latest(rows: u64, records: u64) -> Result<Value, Failure> {
    let folder = tempfile::tempdir()?;
    let backend = Arc::new(SqliteBackend::new(folder.path().join("history.db"))?);
    let window = 256;
    for first in (0..rows).step_by(window as usize) {
        let stores = (first..(first + window).min(rows)).map(|at| {
            let backend = backend.clone();
            async move {
                let record = format!("accuracy::{:04}", at % records);
                backend.store(&record, &value(at), 1_740_000_000_000 + at).await
            }
        });
        futures_util::future::try_join_all(stores).await?;
    }
    let mut milliseconds = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let params =
            QueryParams { limit_per_record: Some(5), start_time: None, end_time: None };
        let found = backend.query("*", params).await?.len() as u64;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1_000.0);
        if found != 5 * records {
            return Err(format!("{found} rows came back").into());
        }
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(json!({ "milliseconds": milliseconds[2] }))
}
