//! From a URL to a backend.

use std::sync::Arc;

use annals_core::{MemoryBackend, PersistenceBackend, PersistenceError};

/// Opens the store that `url` names and makes it ready for use.
///
/// | URL | store |
/// |---|---|
/// | `sqlite:history.db`, `sqlite:./data/history.db`, `sqlite:/var/lib/history.db`, `sqlite:///var/lib/history.db` | a SQLite file |
/// | `redb:history.redb` and the same forms | a redb file |
/// | `postgres://user@host:5432/database`, `postgresql://…` | a PostgreSQL database |
/// | `memory:` | a history of this process, gone with the last handle |
///
/// A file and its missing parent folders are created. Its path is relative to the current folder
/// unless it begins with `/`; two slashes after the scheme belong to the scheme, so that
/// `sqlite://history.db` and `sqlite:history.db` are the same file, as sqlx reads them. The path is
/// percent-decoded: `%3F` is a question mark in a file's name, `%25` a percent sign.
///
/// Options follow as `?name=value&…` and go to the backend's own settings
/// (`sqlite:history.db?durability=process`). An unknown option is an error.
///
/// # Errors
/// [`NotConfigured`](PersistenceError::NotConfigured) when the URL names no backend, or one whose
/// feature is off (the message names the feature); otherwise what the backend reports. No message
/// repeats a password.
///
/// # Cancel safety
/// Dropping the future may leave a store that is created but empty; connecting again goes on.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let history = annals::connect("memory:").await?;
/// assert!(history.records("*", Default::default()).await?.is_empty());
///
/// let error = annals::connect("history.db").await.err().unwrap();
/// assert!(error.to_string().contains("sqlite:history.db"));
/// # Ok::<(), annals::PersistenceError>(()) }).unwrap();
/// ```
pub async fn connect(url: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(PersistenceError::NotConfigured(no_scheme(url)));
    };
    let backend: Arc<dyn PersistenceBackend> = match scheme {
        "sqlite" => sqlite(url).await?,
        "redb" => redb(url).await?,
        "postgres" | "postgresql" => postgres(url).await?,
        "memory" if matches!(rest, "" | "//") => Arc::new(MemoryBackend::new()),
        "memory" => {
            let message = "memory: takes neither a name nor options; write just memory:";
            return Err(PersistenceError::NotConfigured(message.to_owned()));
        }
        _ => return Err(PersistenceError::NotConfigured(unknown_scheme(scheme))),
    };
    backend.initialize().await?;
    Ok(backend)
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    let config = annals_sqlite::SqliteConfig::from_url(url)?;
    // Opening may wait for the disk and for other processes.
    let backend = blocking::unblock(|| annals_sqlite::SqliteBackend::open(config)).await?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Err(feature_is_off("sqlite", "sqlite"))
}

#[cfg(feature = "redb")]
async fn redb(url: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    let config = annals_redb::RedbConfig::from_url(url)?;
    let backend = blocking::unblock(|| annals_redb::RedbBackend::open(config)).await?;
    Ok(Arc::new(backend))
}

#[cfg(not(feature = "redb"))]
async fn redb(_: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Err(feature_is_off("redb", "redb"))
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Ok(Arc::new(annals_postgres::PostgresBackend::connect(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
    Err(feature_is_off("postgres", "postgres"))
}

#[cfg(not(all(feature = "sqlite", feature = "redb", feature = "postgres")))]
fn feature_is_off(scheme: &str, feature: &str) -> PersistenceError {
    PersistenceError::NotConfigured(format!(
        "{scheme}: URLs need the feature `{feature}`, which this build was made without; \
         enable it in Cargo.toml"
    ))
}

const KNOWN: &str = "sqlite:history.db, redb:history.redb, postgres://host/database and memory:";

/// What to say of text without a scheme: most likely a file's name. What looks like settings
/// (`host=… password=…`) is not repeated.
fn no_scheme(text: &str) -> String {
    if text.trim().is_empty() || text.contains(['=', '@']) {
        return format!("the URL has no scheme; known are {KNOWN}");
    }
    let scheme = if text.ends_with(".redb") { "redb" } else { "sqlite" };
    format!("\"{}\" is no URL; for a file write {scheme}:{text}", text.escape_debug())
}

/// What to say of a scheme that is none of ours. What cannot be a scheme (RFC 3986, 3.1) is not
/// repeated.
fn unknown_scheme(scheme: &str) -> String {
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.len() <= 32
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if is_scheme {
        format!("no backend knows {scheme}: URLs; known are {KNOWN}")
    } else {
        format!("the URL has no scheme that is known; known are {KNOWN}")
    }
}

#[cfg(test)]
mod tests;
