//! What the commands for operators need of a history in a file.

use std::path::{Path, PathBuf};

#[cfg(feature = "redb")]
use annals::redb::{RedbBackend, RedbConfig};
#[cfg(not(feature = "sqlite"))]
use annals::redb::{Report, remove_unfinished_files};
#[cfg(feature = "sqlite")]
use annals::sqlite::{Report, remove_unfinished_files};
#[cfg(feature = "sqlite")]
use annals::sqlite::{SqliteBackend, SqliteConfig};
use annals::{PersistenceBackend, PersistenceError, RawRow};

use crate::failure::{Failure, stop_at_once};
use crate::output::counted;
use crate::signals::Signals;
use crate::store;

/// Does the same on either engine.
macro_rules! on_either {
    ($store:expr, $open:ident => $work:expr) => {
        match $store {
            #[cfg(feature = "sqlite")]
            FileStore::Sqlite($open) => $work,
            #[cfg(feature = "redb")]
            FileStore::Redb($open) => $work,
        }
    };
}

/// An open file, which may be damaged.
pub(crate) enum FileStore {
    #[cfg(feature = "sqlite")]
    Sqlite(Box<SqliteBackend>),
    #[cfg(feature = "redb")]
    Redb(Box<RedbBackend>),
}

/// Says nothing of panics from here on. An engine panics at a damaged page, which is caught and reported as
/// damage.
pub(crate) fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Ends the program at Ctrl-C, and removes the copy that it is writing.
pub(crate) fn stop_at_ctrl_c() -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    tokio::spawn(async move {
        signals.next().await;
        remove_unfinished_files();
        stop_at_once("stopped")
    });
    Ok(())
}

/// A file to salvage.
pub(crate) enum Damaged {
    Open(FileStore),
    /// It cannot be opened.
    #[cfg(feature = "sqlite")]
    SqliteFile(PathBuf),
    #[cfg(feature = "redb")]
    RedbFile(PathBuf),
}

impl Damaged {
    pub(crate) async fn salvage(
        &self,
        visit: impl FnMut(Vec<RawRow>) -> Result<(), PersistenceError> + Send + 'static,
    ) -> Result<Report, PersistenceError> {
        match self {
            Self::Open(store) => on_either!(store, store => store.salvage(visit).await),
            #[cfg(feature = "sqlite")]
            Self::SqliteFile(path) => SqliteBackend::salvage_file(path, visit).await,
            #[cfg(feature = "redb")]
            Self::RedbFile(path) => RedbBackend::salvage_file(path, visit).await,
        }
    }

    pub(crate) async fn close(&self) {
        if let Self::Open(store) = self {
            // What a damaged file says when it is closed is no news.
            drop(store.close().await);
        }
    }
}

impl FileStore {
    /// Opens the file that a URL names. `otherwise` says what to do with other histories.
    pub(crate) async fn open(url: &str, otherwise: &str) -> Result<Self, Failure> {
        let opened = Self::try_open(url, otherwise, true).await?;
        opened.map_err(|error| store::refusal(error, url))
    }

    /// As [`open`](Self::open), to read it.
    pub(crate) async fn open_to_read(url: &str, otherwise: &str) -> Result<Self, Failure> {
        Self::open_one_of(url, store::to_read(url)?, otherwise, true).await
    }

    /// Opens a file to read it that may be damaged, without verifying it first. Neither the file nor its log
    /// is changed, unless it has to be converted.
    pub(crate) async fn open_damaged(url: &str, otherwise: &str) -> Result<Self, Failure> {
        Self::open_one_of(url, store::read_only_first(url)?, otherwise, false).await
    }

    async fn open_one_of(
        url: &str,
        (first, second): store::Ways,
        otherwise: &str,
        verify: bool,
    ) -> Result<Self, Failure> {
        let opened = match (Self::try_open(&first, otherwise, verify).await?, second) {
            (Err(error), Some(second)) if store::may_open_otherwise(&error) => {
                Self::try_open(&second, otherwise, verify).await?
            }
            (opened, _) => opened,
        };
        opened.map_err(|error| store::refusal(error, url))
    }

    /// As [`open_damaged`](Self::open_damaged); a file that is too damaged to be opened remains one.
    pub(crate) async fn open_to_salvage(url: &str, otherwise: &str) -> Result<Damaged, Failure> {
        store::must_exist(url)?;
        match (Self::open_damaged(url, otherwise).await, store::file(url)?) {
            (Ok(store), _) => Ok(Damaged::Open(store)),
            #[cfg(feature = "sqlite")]
            (Err(Failure::Failed(_)), Some(path)) if url.starts_with("sqlite:") => {
                Ok(Damaged::SqliteFile(path))
            }
            #[cfg(feature = "redb")]
            (Err(Failure::Failed(_)), Some(path)) if url.starts_with("redb:") => {
                Ok(Damaged::RedbFile(path))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    #[cfg_attr(not(feature = "redb"), expect(unused_variables, reason = "redb has a choice"))]
    async fn try_open(
        url: &str,
        otherwise: &str,
        verify: bool,
    ) -> Result<Result<Self, PersistenceError>, Failure> {
        store::must_exist(url)?;
        let url = url.to_owned();
        let opened = match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "sqlite")]
            Some("sqlite") => {
                let config = SqliteConfig::from_url(&url)?.with_create(false);
                tokio::task::spawn_blocking(|| {
                    SqliteBackend::open(config).map(|store| Self::Sqlite(Box::new(store)))
                })
                .await
            }
            #[cfg(feature = "redb")]
            Some("redb") => {
                let config = RedbConfig::from_url(&url)?.with_create(false);
                let config = if verify { config } else { config.with_verify(false) };
                tokio::task::spawn_blocking(|| {
                    RedbBackend::open(config).map(|store| Self::Redb(Box::new(store)))
                })
                .await
            }
            _ => return Err(not_a_file(otherwise)),
        };
        opened.map_err(|error| Failure::Failed(format!("opening failed: {error}")))
    }

    /// Copies a backup to the file that a URL names.
    pub(crate) async fn restore(
        source: &Path,
        url: &str,
        otherwise: &str,
    ) -> Result<Report, Failure> {
        let scheme = url.split_once(':').map(|(scheme, _)| scheme);
        let place = store::file(url)?;
        if let (Some(engine), Some(place)) = (store::engine_of(source), &place)
            && scheme != Some(engine)
        {
            let (source, place) = (source.display(), place.display());
            let why =
                format!("{source} is a file of the other engine; restore it to {engine}:{place}");
            return Err(Failure::Usage(why));
        }
        let restored = match (scheme, place) {
            #[cfg(feature = "sqlite")]
            (Some("sqlite"), Some(place)) => SqliteBackend::restore(source, place).await,
            #[cfg(feature = "redb")]
            (Some("redb"), Some(place)) => RedbBackend::restore(source, place).await,
            _ => return Err(not_a_file(otherwise)),
        };
        let source = source.display().to_string();
        restored.map_err(|error| match Failure::from(error) {
            Failure::Failed(why) if !why.contains(&source) => {
                Failure::Failed(format!("{source}: {why}"))
            }
            failure => failure,
        })
    }

    pub(crate) async fn check(&self, deep: bool) -> Result<Report, PersistenceError> {
        on_either!(self, store => store.check(deep).await)
    }

    pub(crate) async fn compact(&self) -> Result<(), PersistenceError> {
        on_either!(self, store => {
            store.bring_to_rest(|_| {}).await?;
            store.compact().await
        })
    }

    /// The bytes that a compaction would give back. A redb file gives them back by itself when it is closed.
    #[cfg(feature = "sqlite")]
    pub(crate) async fn free_bytes(&self) -> Result<u64, PersistenceError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => store.free_bytes().await,
            #[cfg(feature = "redb")]
            Self::Redb(_) => Ok(0),
        }
    }

    pub(crate) async fn backup(&self, path: &Path) -> Result<Report, PersistenceError> {
        on_either!(self, store => store.backup(path).await)
    }

    pub(crate) async fn close(&self) -> Result<(), PersistenceError> {
        on_either!(self, store => store.close().await)
    }
}

/// How many rows are lost, `more` of them, as the end of a sentence.
pub(crate) fn lost_rows(report: &Report, more: u64) -> String {
    let lost = report.lost_rows() + more;
    match (lost, report.damage.iter().any(|damage| damage.rows.is_none())) {
        (0, false) => String::new(),
        (0, true) => ", an unknown number of rows lost".to_owned(),
        (_, false) => format!(", {} lost", counted(lost, "row")),
        (_, true) => format!(", {} or more lost", counted(lost, "row")),
    }
}

fn not_a_file(otherwise: &str) -> Failure {
    Failure::Usage(format!("only a SQLite or redb file can be named here; {otherwise}"))
}
