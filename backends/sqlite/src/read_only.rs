//! Reading a file without a trace: nothing is created, changed or locked against others.
//!
//! What lies beside the file tells how it can be read:
//!
//! | beside the file | who uses it | how it is read |
//! |---|---|---|
//! | `-wal` and `-shm` | a program, or one that was killed | through both, under SQLite's read lock |
//! | `-wal` alone | nobody: it was copied, or is on a read-only medium | with an index of the log in memory |
//! | no log | nobody: it was closed | by itself |
//!
//! In the last two cases no lock keeps a program away that opens the file later. So after each read
//! the file is [looked at](Unchanged), and what was read from a changed one is refused.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};
use annals_embedded::beside;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::ENGINE;
use crate::config::SqliteConfig;
use crate::error::{failed, refused};
use crate::schema::{refuse_other_files, refuse_other_names};
use crate::tables::SqliteTables;
use crate::unchanged::Unchanged;

/// SQLite's file system without locks.
const WITHOUT_LOCKS: &str = if cfg!(windows) { "win32-none" } else { "unix-none" };

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Shared,
    WithLog,
    Alone,
}

/// Opens a file for reading, as it is used at this moment. A program that opens or closes it meanwhile makes
/// or removes its log, and the attempt may fail: then it is read as it is used now.
pub(crate) fn open(config: &SqliteConfig) -> Result<SqliteTables> {
    let deadline = Instant::now() + config.busy_timeout;
    loop {
        let path = fs::canonicalize(&config.shared.path).unwrap_or_default();
        let log = Unchanged::now(["-wal", "-shm"].map(|end| beside(&path, end)).to_vec());
        match try_open(config) {
            Err(_) if log.check().is_err() && Instant::now() < deadline => {}
            opened => return opened,
        }
    }
}

fn try_open(config: &SqliteConfig) -> Result<SqliteTables> {
    let given = &config.shared.path;
    // SQLite's log lies beside the file to which a link leads.
    let path = fs::canonicalize(given).map_err(|error| unreadable(given, &error))?;
    let file = fs::metadata(&path).map_err(|error| unreadable(given, &error))?;
    if !file.is_file() {
        return Err(unreadable(given, &io::ErrorKind::IsADirectory.into()));
    }
    if file.len() == 0 {
        return Err(refused(ErrorKind::Corrupt, format!("{} is empty", given.display())));
    }
    refuse_other_names(given)?;
    let [log, index, journal] = ["-wal", "-shm", "-journal"].map(|end| beside(&path, end));
    let len = |path: &Path| fs::metadata(path).ok().map(|file| file.len());
    if len(&journal).is_some_and(|len| len > 0) {
        let message = format!(
            "{} is there: a program was killed while it wrote; open the history for writing once",
            journal.display()
        );
        return Err(refused(ErrorKind::Permission, message));
    }
    let access = match (len(&log), len(&index)) {
        (Some(_), Some(_)) => Access::Shared,
        (Some(1..), None) => Access::WithLog,
        _ => Access::Alone,
    };
    let unchanged = match access {
        Access::Shared => None,
        Access::WithLog => Some(Unchanged::now(vec![path.clone(), log])),
        Access::Alone => Some(Unchanged::now(vec![path.clone()])),
    };
    let connection = connect(config, &path, access)?;
    let tables = SqliteTables { connection, unchanged };
    refuse_other_files(&tables.connection).map_err(|error| explained(error, access, &path))?;
    tables.check_unchanged()?;
    Ok(tables)
}

fn connect(config: &SqliteConfig, path: &Path, access: Access) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let uri = uri(path, access);
    let own = config.vfs.as_deref();
    let opened = match own.or((access == Access::WithLog).then_some(WITHOUT_LOCKS)) {
        Some(vfs) => Connection::open_with_flags_and_vfs(uri, flags, vfs),
        None => Connection::open_with_flags(uri, flags),
    };
    let failed = failed("open");
    let connection = opened.map_err(failed)?;
    connection.busy_timeout(config.busy_timeout).map_err(failed)?;
    // SQLite would copy the log into the file if it may write to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    if access == Access::WithLog {
        // Before the first read: SQLite then keeps the log's index in memory.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
    }
    Ok(connection)
}

/// The path in a form that SQLite takes options with.
fn uri(path: &Path, access: Access) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri.push_str("?mode=ro");
    match access {
        Access::Shared => uri.push_str("&readonly_shm=1"),
        Access::WithLog => {}
        Access::Alone => uri.push_str("&immutable=1"),
    }
    uri
}

fn unreadable(path: &Path, error: &io::Error) -> PersistenceError {
    refused(ErrorKind::Permission, format!("{}: {error}", path.display()))
}

/// Says which files have to be readable.
fn explained(error: PersistenceError, access: Access, path: &Path) -> PersistenceError {
    match &error {
        PersistenceError::Backend(found)
            if found.kind() == ErrorKind::Permission && access != Access::Alone =>
        {
            let message = format!(
                "{} cannot be read with its log; -wal and -shm beside it must be readable as well \
                 ({error})",
                path.display()
            );
            BackendError::new(ENGINE, "open", ErrorKind::Permission, message)
                .with_source(error.clone())
                .into()
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_a_path_is_one_of_the_path() {
        let uri = uri(Path::new("/a b/file:x?y#z%41.db"), Access::Alone);
        assert_eq!(uri, "file:/a%20b/file%3Ax%3Fy%23z%2541.db?mode=ro&immutable=1");
    }
}
