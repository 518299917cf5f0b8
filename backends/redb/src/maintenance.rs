//! What an operator does with a file: check, salvage, compact, back up and restore it.

use std::fs;
use std::path::Path;

use annals_core::{BackendError, ErrorKind, PersistenceBackend, RawRow, Result};
use annals_embedded::{NewFile, Report, contain};
use blocking::unblock;
use redb::{
    CompactionError, Database, DatabaseError, Key, ReadTransaction, ReadableDatabase,
    ReadableTable, TableDefinition, Value, WriteTransaction,
};

use crate::error::{commit_failed, failed};
use crate::open::{hold, open, renew_identity};
use crate::schema::{BLOCKS, HEAD, META, RECORDS, RUN_INDEXES, RUNS, WRITERS};
use crate::{ENGINE, RedbBackend, RedbConfig, salvage};

impl RedbBackend {
    /// Tells what is wrong with the file. With `deep`, every block is read and redb's own check runs,
    /// which reads the whole file; without it, everything but the blocks of runs is read.
    ///
    /// # Errors
    /// If the file cannot be read at all. Damage is no error.
    pub async fn check(&self, deep: bool) -> Result<Report> {
        let mut report = self.store.check(deep).await?;
        if deep {
            let shared = self.shared.clone();
            let own = unblock(move || {
                contain(ENGINE, "check", || {
                    shared.with_mut(|database| match database.check_integrity() {
                        // Somebody reads: the file was opened and is in use.
                        Err(DatabaseError::TransactionInProgress) => Ok(true),
                        checked => checked.map_err(failed("check")),
                    })
                })
            });
            match own.await {
                Ok(true) => {}
                Ok(false) => {
                    report.add("redb's own check", "it found and repaired damage", Some(0))
                }
                Err(error) => report.add("redb's own check", error, Some(0)),
            }
        }
        Ok(report)
    }

    /// Reads every row that can be read, whatever else is damaged. `visit` gets the rows of one block
    /// after the other, on a thread that may block; equal times come in order of arrival. Rows whose name
    /// is lost have the name `lost+found::` and a number.
    ///
    /// # Errors
    /// If the file cannot be read at all, and the error of `visit`.
    pub async fn salvage(
        &self,
        visit: impl FnMut(Vec<RawRow>) -> Result<()> + Send + 'static,
    ) -> Result<Report> {
        self.store.salvage(visit).await
    }

    /// As [`salvage`](Self::salvage), from a file that cannot be opened, because its end is missing, say.
    /// The file is not changed.
    ///
    /// # Errors
    /// If nothing can be read, and the error of `visit`.
    pub async fn salvage_file(
        path: impl AsRef<Path>,
        mut visit: impl FnMut(Vec<RawRow>) -> Result<()> + Send + 'static,
    ) -> Result<Report> {
        let path = path.as_ref().to_owned();
        unblock(move || contain(ENGINE, "salvage", || salvage::salvage(&path, &mut visit))).await
    }

    /// Writes the file anew, without what was removed from it, and gives its space back to the file
    /// system. Needs as much free space as the content takes. Stores and queries wait meanwhile.
    ///
    /// On your own storage, the content is moved to its beginning instead, and bytes of removed rows may
    /// remain.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while a stream is open; redb's error.
    pub async fn compact(&self) -> Result<()> {
        self.store.must_be_writable("compact")?;
        let (shared, file) = (self.shared.clone(), self.file.clone());
        unblock(move || {
            shared.check("compact")?;
            shared.exchange(|database| match database.compact() {
                Ok(_) => contain(ENGINE, "compact", || {
                    file.as_ref().map(|file| rewritten(database, file)).transpose()
                }),
                Err(CompactionError::TransactionInProgress) => {
                    let message = "a stream is open; drop it and try again";
                    Err(BackendError::new(ENGINE, "compact", ErrorKind::Busy, message).into())
                }
                Err(error) => Err(commit_failed("compact", error)),
            })
        })
        .await
    }

    /// Copies one state of the history into a new file, while others store and query, and reads the
    /// copy once to verify it. The copy appears under its name when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `path`; [`ErrorKind::Corrupt`] if the history is
    /// damaged; redb's error.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<Report> {
        let new = NewFile::new(ENGINE, path.as_ref())?;
        let (shared, place) = (self.shared.clone(), new.path().to_owned());
        unblock(move || {
            let read = shared.with(|database| database.begin_read().map_err(failed("back up")))?;
            contain(ENGINE, "back up", || copy(&read, &place))
        })
        .await?;
        let report = verified(&new).await?;
        unblock(|| new.finish()).await?;
        Ok(report)
    }

    /// Copies a backup, or the file of a program that has ended, to a new place and reads the copy once
    /// to verify it.
    ///
    /// The copy is another history: cursors of followers of the one that was backed up are refused by it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `path`; [`ErrorKind::Busy`] if a program has the source
    /// open for writing; [`ErrorKind::Corrupt`] if it is damaged or no history; the system's error.
    pub async fn restore(source: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Report> {
        let new = NewFile::new(ENGINE, path.as_ref())?;
        let (source, place) = (source.as_ref().to_owned(), new.path().to_owned());
        unblock(move || -> Result<()> {
            let _held = hold(&source)?;
            fs::copy(&source, &place).map_err(|error| {
                let message = format!("{} cannot be copied: {error}", source.display());
                BackendError::new(ENGINE, "copy", ErrorKind::Io, message).with_source(error)
            })?;
            Ok(())
        })
        .await?;
        let report = verified(&new).await?;
        unblock(move || {
            renew_identity(&RedbConfig::new(new.path()).with_create(false))?;
            new.finish()
        })
        .await?;
        Ok(report)
    }
}

/// Copies everything into a new file, which takes the place of the old one: redb leaves what was removed
/// in the pages that it does not use.
fn rewritten(database: &Database, config: &RedbConfig) -> Result<Database> {
    let place = fs::canonicalize(config.path())
        .map_err(|error| failed("compact")(redb::Error::Io(error)))?;
    let new = NewFile::beside(ENGINE, &place)?;
    copy(&database.begin_read().map_err(failed("compact"))?, new.path())?;
    new.replace()?;
    open(config)
}

/// Copies all tables of a snapshot.
fn copy(from: &ReadTransaction, place: &Path) -> Result<()> {
    let failed = failed("back up");
    let database = Database::create(place).map_err(failed)?;
    let to = database.begin_write().map_err(crate::error::failed("back up"))?;
    copy_table(from, &to, META)?;
    copy_table(from, &to, RECORDS)?;
    copy_table(from, &to, WRITERS)?;
    copy_table(from, &to, RUNS)?;
    copy_table(from, &to, RUN_INDEXES)?;
    copy_table(from, &to, BLOCKS)?;
    copy_table(from, &to, HEAD)?;
    to.commit().map_err(|error| commit_failed("back up", error))?;
    database.close().map_err(failed)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<()> {
    let from = from.open_table(table).map_err(failed("back up"))?;
    let mut to = to.open_table(table).map_err(failed("back up"))?;
    for entry in from.iter().map_err(failed("back up"))? {
        let (key, value) = entry.map_err(failed("back up"))?;
        to.insert(key.value(), value.value()).map_err(failed("back up"))?;
    }
    Ok(())
}

/// Reads a new file, and fails unless it is sound.
async fn verified(new: &NewFile) -> Result<Report> {
    let config = RedbConfig::new(new.path()).with_create(false);
    let copy = unblock(|| RedbBackend::open(config)).await?;
    let checked = copy.check(true).await;
    copy.close().await?;
    let report = checked?;
    if let Some(damage) = report.damage.first() {
        let message = format!("the source is damaged, and the copy was removed: {damage}");
        return Err(BackendError::new(ENGINE, "copy", ErrorKind::Corrupt, message).into());
    }
    Ok(report)
}
