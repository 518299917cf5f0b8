//! SQLite by hand.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, params};

use super::{Until, must_be, write};
use crate::Failure;
use crate::places::{Sample, record, sample, time};

/// How the rows lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In one tree, by record and time.
    Clustered,
    /// In order of arrival, with an index by record and time: the fastest indexed insert.
    Indexed,
}

impl Layout {
    fn schema(self) -> &'static str {
        match self {
            Self::Clustered => {
                "CREATE TABLE history (record_id INTEGER NOT NULL, stored_at INTEGER NOT NULL, seq \
                 INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (record_id, stored_at, seq)) \
                 STRICT, WITHOUT ROWID;"
            }
            Self::Indexed => {
                "CREATE TABLE history (id INTEGER PRIMARY KEY, record_id INTEGER NOT NULL, \
                 stored_at INTEGER NOT NULL, value TEXT NOT NULL) STRICT;
                 CREATE INDEX by_record ON history (record_id, stored_at);"
            }
        }
    }

    fn insert(self) -> &'static str {
        match self {
            Self::Clustered => {
                "INSERT INTO history (record_id, stored_at, seq, value) VALUES (?1, ?2, 0, ?3)"
            }
            Self::Indexed => {
                "INSERT INTO history (record_id, stored_at, value) VALUES (?1, ?2, ?3)"
            }
        }
    }
}

/// Writes rows by one connection that commits every `batch` of them; answers rows a second.
pub(crate) fn rows_per_second(
    file: &Path,
    layout: Layout,
    batch: u64,
    records: u64,
    until: Until,
) -> Result<f64, Failure> {
    let connection = open(file)?;
    connection.execute_batch(layout.schema())?;
    connection.execute_batch(
        "CREATE TABLE records (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT; BEGIN;",
    )?;
    for at in 0..records {
        connection
            .prepare_cached("INSERT INTO records (name) VALUES (?1)")?
            .execute([record(at, records)])?;
    }
    connection.execute_batch("COMMIT")?;
    let (rows, speed) = write(until, batch, |numbers| {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = connection.prepare_cached(layout.insert())?;
        for at in numbers {
            let text = serde_json::to_string(&sample(at))?;
            insert.execute(params![1 + at % records, time(at), text])?;
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    })?;
    let found = connection.query_row("SELECT count(*) FROM history", [], |row| row.get(0))?;
    must_be(found, rows)?;
    Ok(speed)
}

/// A file into which rows are written one by one.
pub(crate) fn for_single_commits(file: &Path) -> Result<Connection, Failure> {
    let connection = open(file)?;
    connection.execute_batch(Layout::Clustered.schema())?;
    Ok(connection)
}

/// Microseconds for a transaction of one row.
pub(crate) fn single_commit(connection: &Connection, at: u64) -> Result<f64, Failure> {
    let begun = Instant::now();
    let text = serde_json::to_string(&sample(at))?;
    let mut insert = connection.prepare_cached(Layout::Clustered.insert())?;
    insert.execute(params![1, time(at), text])?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// Rows a second of reading one record whole, into [`Sample`], newest first.
pub(crate) fn scan(file: &Path, record_id: u64, rows: u64) -> Result<f64, Failure> {
    let connection = open(file)?;
    let mut select = connection.prepare(
        "SELECT stored_at, value FROM history WHERE record_id = ?1 ORDER BY stored_at DESC, seq DESC",
    )?;
    let begun = Instant::now();
    let mut found = Vec::new();
    let mut cursor = select.query([record_id])?;
    while let Some(row) = cursor.next()? {
        found.push(serde_json::from_str::<Sample>(row.get_ref(1)?.as_str()?)?);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    must_be(found.len() as u64, rows)?;
    Ok(rows as f64 / elapsed)
}

fn open(file: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 16000;",
    )?;
    Ok(connection)
}
