//! Fresh stores to measure on, and the rows that go into them.

use std::sync::Arc;

use annals::{Batch, PersistenceBackend, Row, Value};
use annals_test_postgres::{Locale, TestServer};
use serde_json::json;
use tempfile::TempDir;

use crate::Failure;

/// The first row's time, in Unix milliseconds; one row a millisecond.
const EPOCH: u64 = 1_740_000_000_000;

/// An empty place for a store, gone when it is dropped.
pub(crate) struct Place {
    pub(crate) url: String,
    _folder: TempDir,
}

impl Place {
    pub(crate) fn new(engine: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let url = match engine {
            "postgres" => {
                let database = TestServer::get()?.database(Locale::C)?;
                let separator = if database.contains('?') { '&' } else { '?' };
                let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
                let schema = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                format!("{database}{separator}schema=bench_{schema}")
            }
            engine => format!("{engine}:{}", folder.path().join("history").display()),
        };
        Ok(Self { url, _folder: folder })
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        Ok(annals::connect(&self.url).await?)
    }
}

/// A value of 46 bytes of JSON.
pub(crate) fn value(at: u64) -> Value {
    json!({ "value": 0.94, "unit": "percent", "n": 1_000_000 + at % 1_000_000 })
}

/// The record of the row with this number.
pub(crate) fn record(at: u64, records: u64) -> String {
    format!("accuracy::{:04}", at % records)
}

/// The time of the row with this number.
pub(crate) fn time(at: u64) -> u64 {
    EPOCH + at
}

/// Fills a store in batches of 4,096 rows.
pub(crate) async fn fill(
    history: &dyn PersistenceBackend,
    from: u64,
    to: u64,
    records: u64,
) -> Result<(), Failure> {
    for first in (from..to).step_by(4_096) {
        let rows = (first..(first + 4_096).min(to))
            .map(|at| Row::new(&record(at, records), &value(at), time(at)))
            .collect::<Result<Vec<_>, _>>()?;
        history.store_batch(&Batch::new(rows)).await?;
    }
    Ok(())
}

/// Fails unless the store holds exactly so many rows.
pub(crate) async fn must_hold(history: &dyn PersistenceBackend, rows: u64) -> Result<(), Failure> {
    let found: u64 =
        history.records("*", annals::Grammar::Glob).await?.iter().map(|record| record.count).sum();
    if found == rows {
        Ok(())
    } else {
        Err(format!("{rows} rows were stored and {found} were found").into())
    }
}
