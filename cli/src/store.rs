//! Opening a history, and sending batches to it.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals::{Batch, ErrorKind, Outcome, PersistenceBackend, PersistenceError};
use backon::{BackoffBuilder, ExponentialBuilder};
use same_file::is_same_file;

use crate::failure::Failure;

/// Opens the store, creating what is missing.
pub(crate) async fn open(url: &str) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    must_be_of_its_engine(url)?;
    annals::connect(url).await.map_err(|error| refusal(error, url))
}

/// Whether there was no space.
pub(crate) fn lacks_space(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Full)
}

/// The failure to open a store, with its place.
pub(crate) fn refusal(error: PersistenceError, url: &str) -> Failure {
    match Failure::from(error) {
        Failure::Failed(message) => Failure::Failed(with_place(message, url)),
        usage => usage,
    }
}

/// The engine whose file this is, by its first bytes.
pub(crate) fn engine_of(path: &Path) -> Option<&'static str> {
    let mut begin = [0; 9];
    File::open(path).and_then(|mut file| file.read_exact(&mut begin)).ok()?;
    match &begin {
        b"SQLite fo" => Some("sqlite"),
        b"redb\x1a\n\xa9\r\n" => Some("redb"),
        _ => None,
    }
}

/// Refuses a file of the engine that the URL does not name: it would be called damaged.
fn must_be_of_its_engine(url: &str) -> Result<(), Failure> {
    let Some(path) = file(url)? else { return Ok(()) };
    let Some(engine) = engine_of(&path) else { return Ok(()) };
    match url.split_once(':') {
        Some((named, path)) if named != engine => Err(Failure::Failed(format!(
            "{} is a file of the other engine; write {}",
            shown(url),
            shown(&format!("{engine}:{path}"))
        ))),
        _ => Ok(()),
    }
}

/// Adds the file or the server to a message that does not name it.
fn with_place(message: String, url: &str) -> String {
    let shown = shown(url);
    let place = match shown.split_once("://") {
        Some((_, server)) => server.split('/').next(),
        None => shown.split_once(':').map(|(_, path)| path),
    };
    match place.is_none_or(|place| message.contains(place)) {
        true => message,
        false => format!("{message} ({shown})"),
    }
}

/// Opens an existing store to ask it.
pub(crate) async fn open_to_read(url: &str) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    open_one_of(url, to_read(url)?).await
}

/// Opens an existing store to forward what it has. What was forwarded is noted there, if that is allowed.
pub(crate) async fn open_to_forward(url: &str) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    open_one_of(url, writable_first(url)?).await
}

async fn open_one_of(url: &str, ways: Ways) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    must_exist(url)?;
    match (annals::connect(&without_creating(&ways.0)).await, ways.1) {
        (Err(error), Some(otherwise)) if may_open_otherwise(&error) => {
            annals::connect(&without_creating(&otherwise)).await
        }
        (opened, _) => opened,
    }
    .map_err(|error| refusal(error, url))
}

/// The URL with which a store is opened, and the one for when [it cannot be](may_open_otherwise).
pub(crate) type Ways = (String, Option<String>);

/// Whether the other way may open a file: there was no space to write, or a file of an older version has to
/// be converted, which writes.
pub(crate) fn may_open_otherwise(error: &PersistenceError) -> bool {
    use ErrorKind::{Full, Permission};
    matches!(error, PersistenceError::Backend(error) if matches!(error.kind(), Full | Permission))
}

/// How a command that only asks opens a store.
///
/// redb changes a file when it opens it for writing, and excludes every other program. A SQLite file is opened
/// for writing: without a log, a read-only query fails if a program changes the file meanwhile.
pub(crate) fn to_read(url: &str) -> Result<Ways, Failure> {
    if url.starts_with("redb:") { read_only_first(url) } else { writable_first(url) }
}

/// How a file is opened in which nothing may be changed.
pub(crate) fn read_only_first(url: &str) -> Result<Ways, Failure> {
    Ok(match writable_first(url)? {
        (writable, Some(read_only)) => (read_only, Some(writable)),
        ways => ways,
    })
}

/// How a store is opened for writing, where that is allowed. Elsewhere it is read and has no trace of it.
fn writable_first(url: &str) -> Result<Ways, Failure> {
    let Some(path) = file(url)? else { return Ok((url.to_owned(), None)) };
    Ok(match may_write(&path, url.starts_with("sqlite:")) {
        true => (url.to_owned(), Some(read_only(url))),
        false => (read_only(url), None),
    })
}

/// The URL with which nothing of a file is changed, unless the URL says how to open it.
pub(crate) fn read_only(url: &str) -> String {
    let says_how = url.split(['?', '&']).skip(1).any(|option| option.starts_with("mode="));
    if says_how { url.to_owned() } else { with_option(url, "mode=ro") }
}

/// Whether a file, and its log in the same folder, may be written without being in the way of its owner.
#[cfg(unix)]
fn may_write(path: &Path, has_log: bool) -> bool {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{Access, access};
    let may = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    // A log belongs to whoever makes it. Only root gives it to the owner of the file.
    let user = rustix::process::geteuid();
    let is_ours = std::fs::metadata(path).is_ok_and(|file| file.uid() == user.as_raw());
    let Ok(file) = path.canonicalize() else { return true };
    may(path) && (!has_log || ((is_ours || user.is_root()) && file.parent().is_none_or(may)))
}

#[cfg(not(unix))]
fn may_write(path: &Path, _has_log: bool) -> bool {
    std::fs::metadata(path).is_ok_and(|file| !file.permissions().readonly())
}

/// Opens an existing store: a misspelt path in a query must not create an empty file.
pub(crate) async fn open_existing(url: &str) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    must_exist(url)?;
    open(&without_creating(url)).await
}

/// Refuses the URL of a file that is not there.
pub(crate) fn must_exist(url: &str) -> Result<(), Failure> {
    match file(url)? {
        Some(path) => match path.try_exists() {
            Ok(true) => must_be_of_its_engine(url),
            Ok(false) => Err(Failure::Failed(format!(
                "there is no history at {}; `annals collect` or `annals import` starts one, or name \
                 another with --backend",
                path.display()
            ))),
            Err(error) => Err(Failure::Failed(format!("{}: {error}", path.display()))),
        },
        None => Ok(()),
    }
}

/// Nor must a query turn an existing database without a history into one.
fn without_creating(url: &str) -> String {
    let can_say_so = ["sqlite:", "redb:", "postgres://", "postgresql://"];
    match can_say_so.iter().any(|scheme| url.starts_with(scheme)) && !url.contains("create=") {
        true => with_option(url, "create=false"),
        false => url.to_owned(),
    }
}

fn with_option(url: &str, option: &str) -> String {
    format!("{url}{}{option}", if url.contains('?') { '&' } else { '?' })
}

/// The file in a URL, if there is one.
pub(crate) fn file(url: &str) -> Result<Option<PathBuf>, Failure> {
    match url.split_once(':') {
        #[cfg(feature = "sqlite")]
        Some(("sqlite", _)) => {
            Ok(Some(annals::sqlite::SqliteConfig::from_url(url)?.path().to_owned()))
        }
        #[cfg(feature = "redb")]
        Some(("redb", _)) => Ok(Some(annals::redb::RedbConfig::from_url(url)?.path().to_owned())),
        _ => Ok(None),
    }
}

/// Whether two URLs name one history, as far as that can be told: files by whatever path or link.
pub(crate) fn is_same(one: &str, other: &str) -> Result<bool, Failure> {
    Ok(one == other
        || match (file(one)?, file(other)?) {
            // What cannot be opened is reported when it is.
            (Some(a), Some(b)) => is_same_file(a, b).unwrap_or(false),
            _ => false,
        })
}

/// The URL without user, password and options, for messages.
pub(crate) fn shown(url: &str) -> String {
    let (url, _) = url.split_once('?').unwrap_or((url, ""));
    match url.split_once("://") {
        Some((scheme, rest)) if scheme.starts_with("postgres") => {
            let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
            // The last @: a password may contain an unencoded one.
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}/{database}")
        }
        _ => url.to_owned(),
    }
}

/// The number of retries while the store is busy or unreachable: with these delays, about half a
/// minute.
const RETRIES: usize = 10;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Sends a batch, and retries while that may help and cannot store it twice.
pub(crate) async fn send(
    store: &dyn PersistenceBackend,
    batch: &Batch,
) -> Result<(), PersistenceError> {
    let once = store.guarantees().idempotent_batches;
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .with_max_times(RETRIES)
        .build();
    loop {
        let error = match store.store_batch(batch).await {
            Ok(()) => return Ok(()),
            Err(error @ PersistenceError::PartialBatch { .. }) => return Err(error),
            Err(error) => error,
        };
        let safe = once || error.outcome() == Outcome::NotApplied;
        match delays.next() {
            Some(delay) if safe && error.is_retryable() => {
                tracing::warn!(%error, "trying again in {delay:?}");
                tokio::time::sleep(delay).await;
            }
            _ => return Err(error),
        }
    }
}

/// A number for a writer of batches: unique, not unpredictable.
pub(crate) fn new_writer() -> u128 {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    random() << 64 | random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_place_once() {
        let said = |message: &str, url| with_place(message.to_owned(), url);
        assert_eq!(said("no space", "sqlite:a/h.db?x=1"), "no space (sqlite:a/h.db)");
        assert_eq!(said("a/h.db: no space", "sqlite:a/h.db"), "a/h.db: no space");
        let server = "postgres://me:pw@db:5432/plant?sslmode=require";
        assert_eq!(said("refused", server), "refused (postgres://db:5432/plant)");
        assert_eq!(said("db:5432 refuses", server), "db:5432 refuses");
        assert_eq!(said("closed", "memory:"), "closed");
    }

    #[test]
    fn a_shown_url_has_no_secrets() {
        for (url, expected) in [
            ("sqlite:history.db?durability=process", "sqlite:history.db"),
            ("postgres://me:pass@word@host:5432/db?password=x", "postgres://host:5432/db"),
            ("postgresql://a,b/db", "postgresql://a,b/db"),
            ("postgres://me:pw@host", "postgres://host/"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }
}
