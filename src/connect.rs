//! From a URL to a backend.

use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError, Result};

use crate::lazy::Lazy;
use crate::scheme::{self, Scheme};

/// The option of any URL that says when its store is opened.
const WHEN: &str = "connect";

/// Opens the store that `url` names and makes it ready for use.
///
/// | URL | store |
/// |---|---|
/// | `sqlite:history.db`, `sqlite:./data/history.db`, `sqlite:/var/lib/history.db`, `sqlite:///var/lib/history.db` | a SQLite file |
/// | `redb:history.redb` and the same forms | a redb file |
/// | `postgres://user@host:5432/database`, `postgresql://…` | a PostgreSQL database |
/// | `memory:` | a history in this process, gone with the last handle |
/// | `mystore:…` | a backend that [`register`](crate::register) added |
///
/// A file and its missing parent folders are created. Its path is relative to the current folder
/// unless it begins with `/`; two slashes after the scheme belong to the scheme, so
/// `sqlite://history.db` and `sqlite:history.db` are the same file, as in sqlx. The path is
/// percent-decoded: `%3F` is a question mark in a file's name, `%25` a percent sign.
///
/// Options follow as `?name=value&…` and go to the backend's own settings
/// (`sqlite:history.db?durability=process`). An unknown option is an error. One option works with
/// every URL: `connect=lazy` opens the store at the first call, as [`connect_lazy`] does.
///
/// # Errors
/// [`NotConfigured`](PersistenceError::NotConfigured) when the URL names no backend, or one whose
/// feature is off (the message names the feature); otherwise what the backend reports. No message
/// repeats a password.
///
/// # Cancel safety
/// Dropping the future may leave a store that is created but empty; connecting again completes it.
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
pub async fn connect(url: &str) -> Result<Arc<dyn PersistenceBackend>> {
    let Target { scheme, url, lazy } = Target::new(url)?;
    if lazy {
        return Ok(Arc::new(Lazy::new(scheme, url)));
    }
    scheme.open(url).await
}

/// Returns a backend that opens its store at the first call, for a service that starts before its
/// database does.
///
/// Until the store is open, every call tries to open it and fails with the reason while it cannot;
/// a server that is away is a retryable error, which a [`Recorder`](crate::Recorder) retries while
/// it keeps the values. Concurrent first calls share one attempt. The store stays open from the
/// first success on.
///
/// [`guarantees`](PersistenceBackend::guarantees) are what the scheme declares until the store is
/// open (the durability is [`Volatile`](crate::Durability::Volatile): nothing is promised about a
/// store that nobody has seen), and the store's own from then on. `sqlite:` and `redb:` create a
/// missing file at the first call.
///
/// # Errors
/// Those of [`connect`] that the URL alone shows: an unknown scheme, a feature that is off, an
/// option that does not exist. They are reported here, not at the first call.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use annals::PersistenceBackend;
///
/// let history = annals::connect_lazy("memory:")?; // or annals::connect("memory:?connect=lazy").await
/// history.store("door", &"open".into(), 1_740_081_234_000).await?;
/// # Ok::<(), annals::PersistenceError>(()) }).unwrap();
/// ```
pub fn connect_lazy(url: &str) -> Result<Arc<dyn PersistenceBackend>> {
    let Target { scheme, url, .. } = Target::new(url)?;
    Ok(Arc::new(Lazy::new(scheme, url)))
}

/// What a URL asks for.
struct Target {
    scheme: Arc<Scheme>,
    /// Without the option [`WHEN`].
    url: String,
    lazy: bool,
}

impl Target {
    fn new(url: &str) -> Result<Self> {
        let scheme = scheme::of(url)?;
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let is_when = |option: &&str| option.split('=').next() == Some(WHEN);
        let mut lazy = false;
        for option in options.split('&').filter(is_when) {
            lazy = match option.split_once('=').map(|(_, value)| value) {
                Some("lazy") => true,
                Some("now") => false,
                _ => {
                    let message = "the option connect is either lazy or now (the default)";
                    return Err(PersistenceError::NotConfigured(message.to_owned()));
                }
            };
        }
        let kept: Vec<_> = options.split('&').filter(|o| !o.is_empty() && !is_when(o)).collect();
        let url = match kept.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", kept.join("&")),
        };
        scheme.check(&url)?;
        Ok(Self { scheme, url, lazy })
    }
}

#[cfg(test)]
mod tests;
