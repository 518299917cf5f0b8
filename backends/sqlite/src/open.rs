//! Opening a file: its connections, and conversion of earlier versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use annals_core::{BackendError, Durability, ErrorKind, Result};
use annals_embedded::{State, beside, check_new_name, is_full};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::config::SqliteConfig;
use crate::error::{classify, failed, refused};
use crate::schema::{
    BLOCKS, SCHEMA_VERSION, TABLES, check_utf8, check_version, refuse_foreign_tables,
    refuse_other_names, version,
};
use crate::tables::SqliteTables;
use crate::transaction::SqliteTransaction;
use crate::{ENGINE, aimdb, read_only, v1, v2, v3};

/// Older versions have a race between connections that can damage a WAL database
/// (<https://sqlite.org/wal.html>, "The WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;

/// A reader's page cache: 16 MiB, negative because SQLite counts kibibytes so. It is cleared by every
/// commit of another connection, so more would not help.
const READER_CACHE_KIBIBYTES: i64 = -16_384;

/// Blocks of versions 2 to 4, whose key is `(run, number)` without a rowid, stay where they are.
const KEEP_OLD_BLOCKS: &str = "ALTER TABLE blocks RENAME TO old_blocks;";

/// Opens the file for writing and creates or converts its tables.
pub(crate) fn open_writer(config: &SqliteConfig) -> Result<SqliteTables> {
    let version = rusqlite::version_number();
    if version < OLDEST_SQLITE {
        return Err(refused(
            ErrorKind::Config,
            format!("SQLite {} has a WAL bug; 3.51.3 or newer is needed", rusqlite::version()),
        ));
    }
    check_path(&config.shared.path)?;
    // Where a link leads, and also if it is empty, as the log of a history in use may be.
    if config.shared.create && fs::metadata(&config.shared.path).map_or(0, |file| file.len()) == 0 {
        check_new_name(ENGINE, &followed(&config.shared.path))?;
    }
    refuse_orphaned_log(&config.shared.path)?;
    refuse_other_names(&config.shared.path)?;
    // SQLite does not wait while the journal mode is switched, where processes that create one file
    // collide.
    let deadline = Instant::now() + config.busy_timeout;
    loop {
        match try_open_writer(config) {
            Err(error) if error.is_retryable() && !is_full(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

fn try_open_writer(config: &SqliteConfig) -> Result<SqliteTables> {
    let failed = failed("open");
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, config.shared.create);
    let tables = SqliteTables { connection: connect(config, flags)?, unchanged: None };
    let SqliteTables { connection, .. } = &tables;
    // Before the first read: it would leave a log in the folder that the file's owner cannot write.
    if connection.is_readonly("main").map_err(failed)? {
        let message = format!("{} may only be read (mode=ro)", config.shared.path.display());
        return Err(refused(ErrorKind::Permission, message));
    }
    connection.busy_timeout(config.busy_timeout).map_err(failed)?;
    keep_statements(connection).map_err(failed)?;
    check_utf8(connection)?;
    prepare(&tables, config)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(refused(
            ErrorKind::Config,
            format!("the file system does not allow WAL (journal mode stays {mode})"),
        ));
    }
    let synchronous =
        if config.shared.durability == Durability::PowerLoss { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", synchronous).map_err(failed)?;
    // The writer makes checkpoints itself, so that their failures are noticed.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    let kibibytes = i64::try_from(config.shared.cache_bytes >> 10).unwrap_or(i64::MAX).max(64);
    connection.pragma_update(None, "cache_size", -kibibytes).map_err(failed)?;
    Ok(tables)
}

/// Opens a file for reading, after a writer has prepared it.
pub(crate) fn open_reader(config: &SqliteConfig) -> Result<SqliteTables> {
    let tables = if config.shared.read_only {
        read_only::open(config)?
    } else {
        // A read-only connection that comes first cannot create the shared memory file, hence
        // read-write and query_only.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        SqliteTables { connection: connect(config, flags)?, unchanged: None }
    };
    let SqliteTables { connection, .. } = &tables;
    let failed = failed("query");
    connection.busy_timeout(config.busy_timeout).map_err(failed)?;
    keep_statements(connection).map_err(failed)?;
    connection.pragma_update(None, "cache_size", READER_CACHE_KIBIBYTES).map_err(failed)?;
    connection.pragma_update(None, "query_only", true).map_err(failed)?;
    Ok(tables)
}

/// Caches prepared statements. Without the query planner stability guarantee, SQLite prepares a statement
/// again whenever a bound of its range changes: latest 5 of 1,000 records takes 14 ms instead of 4.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(32);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn check_path(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path == Path::new(":memory:") {
        return Err(refused(
            ErrorKind::Config,
            "a SQLite history needs a file; use the memory backend instead".to_owned(),
        ));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            fs::create_dir_all(folder).map_err(|error| {
                let message = format!("cannot create the folder {}: {error}", folder.display());
                BackendError::new(ENGINE, "open", ErrorKind::Permission, message)
                    .with_source(error)
                    .into()
            })
        }
        _ => Ok(()),
    }
}

/// Refuses a log whose file is not there: SQLite would delete it, with what a killed program left in it.
fn refuse_orphaned_log(path: &Path) -> Result<()> {
    let len = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    // In this order: SQLite writes a new file before it makes the log.
    let log = beside(&followed(path), "-wal");
    if len(&log) > 0 && len(path) == 0 {
        let message = format!(
            "{} is not there, but {} is, which may have rows of it; put the file back, or move the log away",
            path.display(),
            log.display()
        );
        return Err(refused(ErrorKind::Config, message));
    }
    Ok(())
}

/// Where a path leads: SQLite has the log beside the file, not beside a link to it.
fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many links as Linux follows.
    for _ in 0..40 {
        match (fs::read_link(&path), path.parent()) {
            (Ok(target), Some(folder)) => path = folder.join(target),
            _ => break,
        }
    }
    path
}

fn connect(config: &SqliteConfig, flags: OpenFlags) -> Result<Connection> {
    let (path, vfs) = (&config.shared.path, &config.vfs);
    // SQLite takes a name that begins with `file:` for a URI. An absolute path does not.
    let whole = match std::path::absolute(path) {
        Ok(whole) => whole,
        Err(_) => path.clone(),
    };
    let opened = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(&whole, flags, vfs.as_str()),
        None => Connection::open_with_flags(&whole, flags),
    };
    opened.map_err(|error| {
        let message = format!("{}: {error}", path.display());
        BackendError::new(ENGINE, "open", classify(&error), message).with_source(error).into()
    })
}

/// What is in a file that is opened.
enum Found {
    Nothing,
    /// The table of AimDB's backend.
    Aimdb,
    Version1,
    Version2,
    Version3,
    Version4,
}

/// Creates or converts the tables, in one transaction.
fn prepare(tables: &SqliteTables, config: &SqliteConfig) -> Result<()> {
    let failed = failed("open");
    let SqliteTables { connection, .. } = tables;
    if version(connection).map_err(failed)? == Some(SCHEMA_VERSION) {
        return identify(tables);
    }
    let transaction =
        Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
    // Another process may have been faster, so look again under the lock.
    let found = match version(connection).map_err(failed)? {
        Some(SCHEMA_VERSION) => return Ok(()),
        Some(1) => Found::Version1,
        Some(2) => Found::Version2,
        Some(3) => Found::Version3,
        Some(4) => Found::Version4,
        Some(newer) if newer > SCHEMA_VERSION => return check_version(newer),
        Some(unknown) => {
            let message = format!("the file has schema version {unknown}, which does not exist");
            return Err(refused(ErrorKind::Corrupt, message));
        }
        None if aimdb::is_there(connection).map_err(failed)? => Found::Aimdb,
        None if config.shared.create => Found::Nothing,
        None => {
            let message = "the file is not a history of annals".to_owned();
            return Err(refused(ErrorKind::Corrupt, message));
        }
    };
    match found {
        Found::Version2 | Found::Version3 | Found::Version4 => {
            connection.execute_batch(KEEP_OLD_BLOCKS).map_err(failed)?;
        }
        Found::Nothing | Found::Aimdb => {
            refuse_foreign_tables(connection, matches!(found, Found::Aimdb))?;
        }
        Found::Version1 => {}
    }
    connection.execute_batch(BLOCKS).map_err(failed)?;
    match found {
        Found::Version1 => v1::convert(tables, &config.shared.tuning)?,
        Found::Version2 => v2::convert(tables)?,
        Found::Version3 => v3::convert(tables)?,
        Found::Version4 => {
            let version = "UPDATE annals_meta SET schema_version = ?1";
            connection.execute(version, [SCHEMA_VERSION]).map_err(failed)?;
        }
        Found::Nothing | Found::Aimdb => {
            connection.execute_batch(TABLES).map_err(failed)?;
            let version = "INSERT INTO annals_meta VALUES (?1)";
            connection.execute(version, [SCHEMA_VERSION]).map_err(failed)?;
            SqliteTransaction::with(tables, State::FIRST).finish()?;
            if matches!(found, Found::Aimdb) {
                aimdb::convert(tables, &config.shared.tuning)?;
            }
        }
    }
    change_state(tables, State::identify)?;
    transaction.commit().map_err(failed)
}

/// Gives an identity to a history that an earlier release wrote. A damaged file can be opened without
/// one, to be salvaged.
fn identify(tables: &SqliteTables) -> Result<()> {
    let is_needed = State::of(ENGINE, tables).is_ok_and(|state| state.history == 0);
    let SqliteTables { connection, .. } = tables;
    if !is_needed {
        return Ok(());
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
        .map_err(failed("open"))?;
    change_state(tables, State::identify)?;
    transaction.commit().map_err(failed("open"))
}

/// Gives a copy another identity than the history it was made from.
pub(crate) fn renew_identity(config: &SqliteConfig) -> Result<()> {
    let tables = open_writer(config)?;
    {
        let SqliteTables { connection, .. } = &tables;
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
            .map_err(failed("copy"))?;
        change_state(&tables, State::renew_identity)?;
        transaction.commit().map_err(failed("copy"))?;
    }
    let SqliteTables { connection, .. } = tables;
    connection.close().map_err(|(_, error)| failed("copy")(error))
}

/// Changes the state within the present transaction.
fn change_state(tables: &SqliteTables, change: impl FnOnce(&mut State)) -> Result<()> {
    let mut transaction = SqliteTransaction::begin(tables)?;
    change(annals_embedded::Transaction::state(&mut transaction));
    transaction.finish().map(drop)
}
