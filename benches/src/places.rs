//! Fresh stores to measure on, and the rows that go into them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::redb::{RedbBackend, RedbConfig};
use annals::sqlite::{SqliteBackend, SqliteConfig};
use annals::{Batch, PersistenceBackend, QueryExt, Row, Value};
use annals_embedded::Tuning;
use annals_test_postgres::{Extension, Locale, TestServer};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::Failure;

/// The first row's time, in Unix milliseconds; one row a millisecond.
const EPOCH: u64 = 1_740_000_000_000;

/// An empty place for a store, gone when it is dropped.
pub(crate) struct Place {
    pub(crate) url: String,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(engine: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let url = match engine {
            "postgres" => schema(&TestServer::get()?.database(Locale::C)?, &folder),
            engine => format!("{engine}:{}", folder.path().join("history").display()),
        };
        Ok(Self { url, folder })
    }

    /// In a schema with options of the URL, in a database with an extension.
    pub(crate) fn on_postgres(
        extension: Option<Extension>,
        options: &str,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let server = TestServer::get()?;
        let database = match extension {
            Some(extension) => server.database_with(extension)?,
            None => server.database(Locale::C)?,
        };
        let url = format!("{}&{options}", schema(&database, &folder));
        Ok(Self { url, folder })
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn PersistenceBackend>, Failure> {
        Ok(annals::connect(&self.url).await?)
    }

    /// A file of its own beside the store's, for the engine by hand.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn sqlite(&self, tuning: Tuning) -> Result<SqliteBackend, Failure> {
        let config = SqliteConfig::from_url(&self.url)?;
        Ok(SqliteBackend::open(config.with_tuning(tuning))?)
    }

    pub(crate) fn redb(&self, tuning: Tuning) -> Result<RedbBackend, Failure> {
        let config = RedbConfig::from_url(&self.url)?;
        Ok(RedbBackend::open(config.with_tuning(tuning))?)
    }

    /// Brings all rows to rest.
    pub(crate) async fn bring_to_rest(&self, engine: &str, tuning: Tuning) -> Result<(), Failure> {
        match engine {
            "sqlite" => {
                let history = self.sqlite(tuning)?;
                history.bring_to_rest(|_| {}).await?;
                history.close().await?;
            }
            "redb" => {
                let history = self.redb(tuning)?;
                history.bring_to_rest(|_| {}).await?;
                history.close().await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes of all files of the store.
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        bytes_in(self.folder.path())
    }
}

fn bytes_in(folder: &Path) -> Result<u64, Failure> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// The URL with a schema of its own.
fn schema(database: &str, folder: &TempDir) -> String {
    let separator = if database.contains('?') { '&' } else { '?' };
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
    let schema = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{database}{separator}schema=bench_{schema}")
}

/// What is stored: 44 to 46 bytes of JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    n: u64,
    unit: String,
    value: f64,
}

/// The value of the row with this number. Its digits are spread (by a multiplication, as Fibonacci
/// hashing does), so that nothing can compress them away.
pub(crate) fn sample(at: u64) -> Sample {
    let spread = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let value = 10.0 + (spread % 200_000) as f64 / 10_000.0;
    Sample { n: 1_000_000 + at % 1_000_000, unit: "percent".to_owned(), value }
}

/// The same as a value.
pub(crate) fn value(at: u64) -> Value {
    serde_json::to_value(sample(at)).unwrap_or_default()
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

/// Fails unless the newest value of the record of row `at`, which must be its last, is that row's.
pub(crate) async fn must_end_with(
    history: &dyn PersistenceBackend,
    at: u64,
    records: u64,
) -> Result<(), Failure> {
    let newest: Vec<Sample> = history.query_latest(&record(at, records), 1).await?;
    if newest == [sample(at)] {
        Ok(())
    } else {
        Err(format!("row {at} was stored, and {newest:?} came back").into())
    }
}
