//! SQLite by hand: the same schema, the same durability, as many rows per commit as are asked for.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::Failure;
use crate::places::{record, time, value};

/// Rows a second of one connection that commits every `batch` rows, with 1,000 records.
pub(crate) fn sqlite(batch: u64, seconds: u64) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let connection = Connection::open(folder.path().join("raw.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 4000;
         CREATE TABLE records (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
         CREATE TABLE history (record_id INTEGER NOT NULL, stored_at INTEGER NOT NULL, seq INTEGER \
         NOT NULL, value TEXT NOT NULL, PRIMARY KEY (record_id, stored_at, seq)) STRICT, WITHOUT \
         ROWID;",
    )?;
    for at in 0..1_000 {
        connection.execute("INSERT INTO records (name) VALUES (?1)", [record(at, 1_000)])?;
    }
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let mut rows = 0;
    while Instant::now() < end {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        {
            let mut insert = connection.prepare_cached(
                "INSERT INTO history (record_id, stored_at, seq, value) VALUES (?1, ?2, 0, ?3)",
            )?;
            for at in rows..rows + batch {
                insert.execute(params![1 + at % 1_000, time(at), value(at).to_string()])?;
            }
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        rows += batch;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let found: u64 = connection.query_row("SELECT count(*) FROM history", [], |row| row.get(0))?;
    if found != rows {
        return Err(format!("{rows} rows were stored by hand and {found} were found").into());
    }
    Ok(rows as f64 / elapsed)
}
