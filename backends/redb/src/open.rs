//! Opening a file: creating it, the check that it is a history, and conversion of earlier versions.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use annals_core::{BackendError, ErrorKind, PersistenceError, Result};
use annals_embedded::{NewFile, State, Tuning, adopt, check_new_name, contain};
use redb::{Database, DatabaseError, ReadableTable, StorageBackend, TableHandle, WriteTransaction};

use crate::config::RedbConfig;
use crate::error::{commit_failed, failed, refused};
use crate::read_only::ReadOnlyFile;
use crate::schema::{
    BLOCKS, HEAD, META, RECORDS, RUN_INDEXES, RUNS, SCHEMA_VERSION, VERSION, WRITERS,
};
use crate::shared::Shared;
use crate::tables::RedbTables;
use crate::write::RedbTransaction;
use crate::{ENGINE, v1, v2, v3};

/// Opens or creates the file and its tables.
pub(crate) fn open(config: &RedbConfig) -> Result<Database> {
    if config.shared.path.as_os_str().is_empty() {
        return Err(refused(ErrorKind::Config, "the path is empty".to_owned()));
    }
    if let Some(folder) =
        config.shared.path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).map_err(|error| {
            let message = format!("cannot create the folder {}: {error}", folder.display());
            BackendError::new(ENGINE, "open", ErrorKind::Permission, message).with_source(error)
        })?;
    }
    let path = &config.shared.path;
    if !fs::metadata(path).is_ok_and(|file| file.len() > 0 || !file.is_file()) {
        if !config.shared.create {
            let message = format!("{} does not exist, or is empty", path.display());
            return Err(refused(ErrorKind::Permission, message));
        }
        create(path)?;
    }
    let mut builder = Database::builder();
    builder.set_cache_size(config.shared.cache_bytes);
    builder.set_check_integrity_on_open(config.verify);
    contain(ENGINE, "open", || match builder.open(path) {
        Err(error @ DatabaseError::DatabaseAlreadyOpen) => Err(locked(path, error)),
        opened => prepared(opened, config),
    })
}

/// Opens a file that is only read. What redb writes meanwhile, to repair the file of a program that was
/// killed, stays in memory.
pub(crate) fn open_read_only(config: &RedbConfig) -> Result<Database> {
    let path = &config.shared.path;
    let file = ReadOnlyFile::open(path).map_err(|error| failed("open")(redb::Error::Io(error)))?;
    let mut builder = Database::builder();
    builder.set_cache_size(config.shared.cache_bytes);
    builder.set_check_integrity_on_open(config.verify);
    contain(ENGINE, "open", || {
        let database = match builder.create_with_backend(file) {
            Err(error @ DatabaseError::DatabaseAlreadyOpen) => return Err(locked(path, error)),
            opened => opened.map_err(failed("open"))?,
        };
        let transaction = database.begin_write().map_err(failed("open"))?;
        match look(&transaction)? {
            Found::Ready => transaction.abort().map_err(failed("open"))?,
            Found::Nothing => {
                let message = format!("{} is not a history of annals", path.display());
                return Err(refused(ErrorKind::Corrupt, message));
            }
            Found::Version1 | Found::Version2 | Found::Version3 => {
                let message = "an earlier release wrote the file; open it for writing once, which \
                               converts it";
                return Err(refused(ErrorKind::Permission, message.to_owned()));
            }
        }
        Ok(database)
    })
}

/// Keeps others from writing to a file while it is copied, for as long as the result lives.
pub(crate) fn hold(path: &Path) -> Result<Option<Database>> {
    let file = ReadOnlyFile::open(path).map_err(|error| failed("copy")(redb::Error::Io(error)))?;
    contain(ENGINE, "copy", || match Database::builder().create_with_backend(file) {
        Err(error @ DatabaseError::DatabaseAlreadyOpen) => Err(locked(path, error)),
        // What is wrong with a file shows when its copy is verified.
        opened => Ok(opened.ok()),
    })
}

fn locked(path: &Path, error: DatabaseError) -> PersistenceError {
    let holder = if Shared::is_open_here(path) {
        "by this process; use a clone of that backend"
    } else {
        "by another process; redb allows one at a time"
    };
    let message = format!("{} is already open, {holder}", path.display());
    BackendError::new(ENGINE, "open", ErrorKind::Busy, message).with_source(error).into()
}

/// Creates a file at once: a process that is killed while redb lays out a new file leaves one that
/// nobody can open.
fn create(path: &Path) -> Result<()> {
    check_new_name(ENGINE, path)?;
    let unfinished = NewFile::beside(ENGINE, path)?;
    Database::create(unfinished.path())
        .and_then(Database::close)
        .map_err(failed("open"))
        .and_then(|()| put_in_place(unfinished.path(), path))
}

fn put_in_place(unfinished: &Path, path: &Path) -> Result<()> {
    let failed = |error: io::Error| failed("open")(redb::Error::Io(error));
    if path.exists() {
        // Empty, as programs leave a file to reserve its name.
        return fs::rename(unfinished, path).map_err(failed);
    }
    match fs::hard_link(unfinished, path) {
        // Another process was faster, and may have stored rows.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // Not every file system supports links.
        Err(_) => fs::rename(unfinished, path).map_err(failed)?,
        Ok(()) => {}
    }
    // The new name has to survive the loss of power, too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

/// Opens or creates a history on the user's own storage.
pub(crate) fn open_on(storage: impl StorageBackend, config: &RedbConfig) -> Result<Database> {
    let mut builder = Database::builder();
    prepared(builder.set_cache_size(config.shared.cache_bytes).create_with_backend(storage), config)
}

fn prepared(opened: Result<Database, DatabaseError>, config: &RedbConfig) -> Result<Database> {
    let database = opened.map_err(failed("open"))?;
    prepare(&database, &config.shared.tuning)?;
    Ok(database)
}

/// What is in a file that is opened.
enum Found {
    Nothing,
    Version1,
    Version2,
    Version3,
    Ready,
}

/// Creates or converts the tables, in one transaction.
fn prepare(database: &Database, tuning: &Tuning) -> Result<()> {
    let transaction = database.begin_write().map_err(failed("open"))?;
    let found = look(&transaction)?;
    let mut state = State::FIRST;
    match found {
        Found::Nothing => {}
        Found::Version1 => state.next_record = v3::take(&transaction, v3::NEXT_RECORD)?,
        Found::Version2 | Found::Version3 => state = v3::next_ids(&transaction)?,
        Found::Ready => return identify(transaction),
    }
    state.identify();
    {
        let mut meta = transaction.open_table(META).map_err(failed("open"))?;
        meta.insert(SCHEMA_VERSION, VERSION).map_err(failed("open"))?;
        transaction.open_table(RECORDS).map_err(failed("open"))?;
        transaction.open_table(HEAD).map_err(failed("open"))?;
        transaction.open_table(RUNS).map_err(failed("open"))?;
        transaction.open_table(RUN_INDEXES).map_err(failed("open"))?;
        transaction.open_table(BLOCKS).map_err(failed("open"))?;
        transaction.open_table(WRITERS).map_err(failed("open"))?;
    }
    if matches!(found, Found::Version1 | Found::Version2) {
        v2::convert_names(&transaction, &mut state)?;
    }
    if matches!(found, Found::Version2 | Found::Version3) {
        v3::move_runs(&transaction)?;
    }
    let mut transaction = RedbTransaction::with(transaction, state);
    if !matches!(found, Found::Nothing) {
        adopt(&mut transaction)?;
    }
    if matches!(found, Found::Version1) {
        v1::convert(database, &mut transaction, tuning)?;
    }
    commit(transaction, "open")
}

/// Gives an identity to a history that an earlier release wrote. A damaged file can be opened without
/// one, to be salvaged.
fn identify(transaction: WriteTransaction) -> Result<()> {
    let tables = RedbTables(transaction);
    let state = State::of(ENGINE, &tables);
    let RedbTables(transaction) = tables;
    match state {
        Ok(mut state) if state.history == 0 => {
            state.identify();
            commit(RedbTransaction::with(transaction, state), "open")
        }
        _ => transaction.abort().map_err(failed("open")),
    }
}

/// Gives a copy another identity than the history it was made from.
pub(crate) fn renew_identity(config: &RedbConfig) -> Result<()> {
    let database = open(config)?;
    let transaction = database.begin_write().map_err(failed("copy"))?;
    let mut transaction = RedbTransaction::begin(transaction)?;
    annals_embedded::Transaction::state(&mut transaction).renew_identity();
    commit(transaction, "copy")?;
    database.close().map_err(failed("copy"))
}

fn commit(transaction: RedbTransaction, operation: &'static str) -> Result<()> {
    transaction.finish()?.0.commit().map_err(|error| commit_failed(operation, error))
}

/// Finds out what is there, and refuses a file with tables of another program.
fn look(transaction: &WriteTransaction) -> Result<Found> {
    let mut tables = Vec::new();
    for table in transaction.list_tables().map_err(failed("open"))? {
        tables.push(table.name().to_owned());
    }
    if tables.is_empty() {
        return Ok(Found::Nothing);
    }
    if !tables.iter().any(|table| table == META.name()) {
        let message = format!("the file has tables of another program ({})", tables.join(", "));
        return Err(refused(ErrorKind::Corrupt, message));
    }
    let meta = transaction.open_table(META).map_err(failed("open"))?;
    let version = meta.get(SCHEMA_VERSION).map_err(failed("open"))?.map(|version| version.value());
    match version {
        Some(VERSION) => Ok(Found::Ready),
        Some(1) => Ok(Found::Version1),
        Some(2) => Ok(Found::Version2),
        Some(3) => Ok(Found::Version3),
        Some(newer) if newer > VERSION => {
            let message = format!(
                "the file has schema version {newer} and this program knows {VERSION}; use a newer \
                 annals"
            );
            Err(refused(ErrorKind::NewerSchema, message))
        }
        _ => Err(refused(ErrorKind::Corrupt, "the file has no schema version".to_owned())),
    }
}
