//! What an operator does with a file: check, salvage, compact, back up and restore it.

use std::path::Path;

use annals_core::{BackendError, ErrorKind, PersistenceBackend, RawRow, Result};
use annals_embedded::{NewFile, Report, contain};
use blocking::unblock;

use crate::config::SqliteConfig;
use crate::error::failed;
use crate::open::{open_reader, renew_identity};
use crate::tables::{SqliteTables, has_old_blocks};
use crate::{ENGINE, SqliteBackend, salvage};

impl SqliteBackend {
    /// Tells what is wrong with the file. With `deep`, every block is read and SQLite's own check runs,
    /// which reads the whole file; without it, everything but the blocks of runs is read, and of these their
    /// keys.
    ///
    /// # Errors
    /// If the file cannot be read at all. Damage is no error.
    pub async fn check(&self, deep: bool) -> Result<Report> {
        let mut report = self.store.check(deep).await?;
        let config = self.config.clone();
        if !deep {
            if let Err(error) = unblock(move || read_keys(&config)).await {
                report.add("the table of blocks", error, None);
            }
        } else {
            match unblock(move || integrity_check(&config)).await {
                Ok(found) => {
                    found.iter().for_each(|what| report.add("SQLite's own check", what, Some(0)));
                }
                Err(error) => report.add("SQLite's own check", error, Some(0)),
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
    /// It is copied into the folder for temporary files and read there.
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

    /// Writes the file anew without free pages and gives their space back to the file system. Needs as
    /// much free space as the content takes. Stores wait meanwhile, queries do not.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if another process writes, [`ErrorKind::Full`] without space.
    pub async fn compact(&self) -> Result<()> {
        self.store.must_be_writable("compact")?;
        let config = self.config.clone();
        unblock(move || {
            let failed = failed("compact");
            let SqliteTables { connection, .. } = open_reader(&config)?;
            connection.pragma_update(None, "query_only", false).map_err(failed)?;
            connection.execute_batch("VACUUM").map_err(failed)?;
            // The new content is in the log. Readers of the old one keep the file from shrinking.
            let busy: bool = connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map_err(failed)?;
            if busy {
                let message = "a reader still uses the old content; the file shrinks at the next compaction, \
                               or when the history is closed";
                return Err(BackendError::new(ENGINE, "compact", ErrorKind::Busy, message).into());
            }
            Ok(())
        })
        .await
    }

    /// The bytes of free pages, which [`compact`](Self::compact) would give back.
    ///
    /// # Errors
    /// SQLite's error.
    pub async fn free_bytes(&self) -> Result<u64> {
        let config = self.config.clone();
        unblock(move || {
            let sql =
                "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
            let SqliteTables { connection, .. } = open_reader(&config)?;
            connection.query_row(sql, [], |row| row.get(0)).map_err(failed("query"))
        })
        .await
    }

    /// Copies one state of the history into a new file, while others store and query, and reads the
    /// copy once to verify it. The copy appears under its name when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `path`; [`ErrorKind::Corrupt`] if the history is
    /// damaged; SQLite's error.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<Report> {
        let new = NewFile::new(ENGINE, path.as_ref())?;
        let (config, place) = (self.config.clone(), absolute(new.path())?);
        unblock(move || {
            let failed = failed("back up");
            let tables = open_reader(&config)?;
            let SqliteTables { connection, .. } = &tables;
            connection.pragma_update(None, "query_only", false).map_err(failed)?;
            connection.execute("VACUUM INTO ?1", [place]).map_err(failed)?;
            tables.check_unchanged()
        })
        .await?;
        let report = verified(&new).await?;
        unblock(|| new.finish()).await?;
        Ok(report)
    }

    /// Copies a backup, or the file of a program that has ended, to a new place and reads the copy once
    /// to verify it. A log beside the source belongs to it and is copied, too.
    ///
    /// The copy is another history: cursors of followers of the one that was backed up are refused by it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a file at `path`; [`ErrorKind::Corrupt`] if the source is
    /// damaged or no history; the system's error.
    pub async fn restore(source: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Report> {
        let new = NewFile::new(ENGINE, path.as_ref())?;
        let (source, copy) = (source.as_ref().to_owned(), new.path().to_owned());
        unblock(move || salvage::copy_with_log(&source, &copy)).await?;
        let report = verified(&new).await?;
        unblock(move || {
            renew_identity(&SqliteConfig::new(new.path()).with_create(false))?;
            new.finish()
        })
        .await?;
        Ok(report)
    }
}

/// Reads a new file, and fails unless it is sound.
async fn verified(new: &NewFile) -> Result<Report> {
    let config = SqliteConfig::new(new.path()).with_create(false);
    let copy = unblock(|| SqliteBackend::open(config)).await?;
    let checked = copy.check(true).await;
    copy.close().await?;
    let report = checked?;
    if let Some(damage) = report.damage.first() {
        let message = format!("the source is damaged, and the copy was removed: {damage}");
        return Err(BackendError::new(ENGINE, "copy", ErrorKind::Corrupt, message).into());
    }
    Ok(report)
}

/// SQLite takes a name that begins with `file:` for a URI. An absolute path does not.
fn absolute(path: &Path) -> Result<String> {
    let refused = |message: String| BackendError::new(ENGINE, "copy", ErrorKind::Config, message);
    let whole = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
    let text = whole.into_os_string().into_string();
    Ok(text.map_err(|path| refused(format!("{} is not UTF-8", path.display())))?)
}

/// Reads the keys of all blocks. A damaged page among them hides blocks, which nothing else would show before
/// they are read.
fn read_keys(config: &SqliteConfig) -> Result<()> {
    let tables = open_reader(config)?;
    let SqliteTables { connection, .. } = &tables;
    let count = |table: &str| {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |_| Ok(()))
    };
    let read = count("blocks").and_then(|()| match has_old_blocks(connection)? {
        true => count("old_blocks"),
        false => Ok(()),
    });
    tables.check_unchanged()?;
    read.map_err(failed("check"))
}

/// What SQLite finds wrong.
fn integrity_check(config: &SqliteConfig) -> Result<Vec<String>> {
    let SqliteTables { connection, .. } = open_reader(config)?;
    let failed = failed("check");
    let mut select = connection.prepare("PRAGMA integrity_check(20)").map_err(failed)?;
    let rows = select.query_map([], |row| row.get(0)).map_err(failed)?;
    let found: Vec<String> = rows.collect::<Result<_, _>>().map_err(failed)?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}
