//! The tables of a history, and the check that a file is one.
//!
//! `records` interns names under ids that are never reused (a cleanup in another process must not take a
//! new record for a removed one). `head` has one block of rows per transaction, `runs` and their `blocks`
//! have all older rows; `annals_embedded::format` encodes the blobs. `writers` has the last batch number
//! of each writer. The last entry of `head` is the state of the store. `docs/file-format.md` describes all of them.

use std::fs;
use std::path::Path;

use annals_core::{ErrorKind, Result};
use rusqlite::Connection;

use crate::aimdb;
use crate::error::{failed, refused};

/// The version in `annals_meta`. A file with a greater one is refused.
pub(crate) const SCHEMA_VERSION: i64 = 5;

/// The oldest version that can be read without being converted.
const OLDEST_READABLE: i64 = 4;

/// No AUTOINCREMENT, which writes a second page with every commit.
pub(crate) const TABLES: &str = "
CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
CREATE TABLE records (name TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE writers (
    writer BLOB PRIMARY KEY,
    number INTEGER NOT NULL,
    block INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE head (number INTEGER PRIMARY KEY, frame BLOB NOT NULL) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    order_head INTEGER NOT NULL,
    order_part INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    text_bytes INTEGER NOT NULL,
    run_index BLOB NOT NULL,
    sealed INTEGER NOT NULL
) STRICT;
";

/// A table with rowids: in one without, SQLite reads whole blocks to compare their keys.
pub(crate) const BLOCKS: &str =
    "CREATE TABLE blocks (id INTEGER PRIMARY KEY, block BLOB NOT NULL) STRICT;";

/// Refuses to read a file that is no history, or one that would have to be converted.
pub(crate) fn refuse_other_files(connection: &Connection) -> Result<()> {
    check_utf8(connection)?;
    let older = || {
        let message = "an earlier release or AimDB wrote the file; open it for writing once, which \
                       converts it";
        refused(ErrorKind::Permission, message.to_owned())
    };
    match version(connection).map_err(failed("open"))? {
        Some(1..OLDEST_READABLE) => Err(older()),
        Some(version) => check_version(version),
        None if aimdb::is_there(connection).map_err(failed("open"))? => Err(older()),
        None => {
            let message = "the file is not a history of annals".to_owned();
            Err(refused(ErrorKind::Corrupt, message))
        }
    }
}

/// Names compare byte by byte only if text is stored as UTF-8, as it is in a new file.
pub(crate) fn check_utf8(connection: &Connection) -> Result<()> {
    let encoding: String =
        connection.query_row("PRAGMA encoding", [], |row| row.get(0)).map_err(failed("open"))?;
    if encoding != "UTF-8" {
        let message = format!("the file stores text as {encoding}, but must store UTF-8");
        return Err(refused(ErrorKind::Config, message));
    }
    Ok(())
}

/// A database of another program is not turned into a history, and one of AimDB only if its other tables
/// are not in the way.
pub(crate) fn refuse_foreign_tables(connection: &Connection, from_aimdb: bool) -> Result<()> {
    let failed = failed("open");
    let ours = ["records", "head", "runs", "blocks", "old_blocks", "writers"];
    let mut select = connection
        .prepare(
            "SELECT lower(name) FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
        )
        .map_err(failed)?;
    let names = select.query_map([], |row| row.get::<_, String>(0)).map_err(failed)?;
    for name in names {
        let name = name.map_err(failed)?;
        if !from_aimdb || ours.contains(&name.as_str()) {
            let message =
                format!("the file has a table \"{name}\" of another program; use another file");
            return Err(refused(ErrorKind::Corrupt, message));
        }
    }
    Ok(())
}

/// Refuses a file that a newer program has converted.
pub(crate) fn check_version(version: i64) -> Result<()> {
    if (OLDEST_READABLE..=SCHEMA_VERSION).contains(&version) {
        return Ok(());
    }
    let message = format!(
        "the file has schema version {version} and this program knows {SCHEMA_VERSION}; use a newer \
         annals"
    );
    Err(refused(ErrorKind::NewerSchema, message))
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    if !exists(connection, "annals_meta")? {
        return Ok(None);
    }
    connection.query_row("SELECT schema_version FROM annals_meta", [], |row| row.get(0)).map(Some)
}

fn exists(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE)",
        [name],
        |row| row.get(0),
    )
}

/// Refuses a file that has a hard link. SQLite names the log after the path, so each name would have its own
/// log, and the log of one name would overwrite rows stored under the other.
#[cfg(unix)]
pub(crate) fn refuse_other_names(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(file) if file.is_file() && file.nlink() > 1 => {
            let message = format!(
                "{} has another name, a hard link, by which others may write to it; remove that name \
                 (`find -inum {}` finds it), or copy the file",
                path.display(),
                file.ino()
            );
            Err(refused(ErrorKind::Config, message))
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn refuse_other_names(_: &Path) -> Result<()> {
    Ok(())
}
