//! The schemes that [`connect`](crate::connect()) knows: those of this crate's features, and those
//! that a program registers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use annals_core::{
    BackendError, ErrorKind, Guarantees, MemoryBackend, PersistenceBackend, PersistenceError,
    Result,
};

type Opening = Pin<Box<dyn Future<Output = Result<Arc<dyn PersistenceBackend>>> + Send>>;

/// How the URLs of one scheme are opened.
pub(crate) struct Scheme {
    open: Box<dyn Fn(String) -> Opening + Send + Sync>,
    /// Finds what is wrong with a URL without opening it.
    check: fn(&str) -> Result<()>,
    /// What its backends guarantee at least.
    pub(crate) guarantees: Guarantees,
}

/// The schemes by name. Names of this crate stay reserved when their feature is off.
static SCHEMES: LazyLock<RwLock<BTreeMap<String, Arc<Scheme>>>> = LazyLock::new(|| {
    let built_in = [
        ("memory", memory()),
        ("postgres", postgres()),
        ("postgresql", postgres()),
        ("redb", redb()),
        ("sqlite", sqlite()),
    ];
    let schemes = built_in.map(|(name, scheme)| (name.to_owned(), Arc::new(scheme)));
    RwLock::new(BTreeMap::from(schemes))
});

/// Teaches [`connect`](crate::connect()) a URL scheme for the rest of the process.
///
/// `open` gets the whole URL (`mystore:…`) without the option `connect`. Percent-decoding and
/// options are its business. `connect` calls
/// [`initialize`](PersistenceBackend::initialize) on what it returns.
///
/// # Errors
/// [`Backend`](PersistenceError::Backend) of the kind [`Config`](ErrorKind::Config) when the scheme
/// is taken, by this crate or by an earlier call, or is not a URL scheme (a letter, then letters,
/// digits, `+`, `-` and `.`, all lower case).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// annals::register("mystore", |_url| async { Ok(annals::MemoryBackend::new()) })?;
/// let history = annals::connect("mystore:anything").await?;
/// assert!(annals::register("sqlite", |_url| async { Ok(annals::MemoryBackend::new()) }).is_err());
/// # Ok::<(), annals::PersistenceError>(()) }).unwrap();
/// ```
pub fn register<F, Fut, B>(scheme: &str, open: F) -> Result<()>
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<B>> + Send + 'static,
    B: PersistenceBackend + 'static,
{
    register_with_guarantees(scheme, Guarantees::default(), open)
}

/// As [`register`], with what every backend of the scheme guarantees at least:
/// [`connect_lazy`](crate::connect_lazy) claims it before the store is open.
///
/// # Errors
/// As [`register`].
pub fn register_with_guarantees<F, Fut, B>(
    scheme: &str,
    guarantees: Guarantees,
    open: F,
) -> Result<()>
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<B>> + Send + 'static,
    B: PersistenceBackend + 'static,
{
    let refused = |message: String| {
        BackendError::new("annals", "register", ErrorKind::Config, message).into()
    };
    if !is_scheme(scheme) || scheme.contains(|c: char| c.is_ascii_uppercase()) {
        let message = "a scheme is a letter, then letters, digits, +, - and ., in lower case";
        return Err(refused(message.to_owned()));
    }
    let mut schemes = SCHEMES.write().unwrap_or_else(PoisonError::into_inner);
    if schemes.contains_key(scheme) {
        return Err(refused(format!("the scheme {scheme}: is taken")));
    }
    schemes.insert(scheme.to_owned(), Arc::new(Scheme::new(guarantees, |_| Ok(()), open)));
    Ok(())
}

impl Scheme {
    fn new<F, Fut, B>(guarantees: Guarantees, check: fn(&str) -> Result<()>, open: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<B>> + Send + 'static,
        B: PersistenceBackend + 'static,
    {
        let open = move |url| -> Opening {
            let opening = open(url);
            Box::pin(async { Ok(Arc::new(opening.await?) as Arc<dyn PersistenceBackend>) })
        };
        Self { open: Box::new(open), check, guarantees }
    }

    /// What the URL alone shows to be wrong.
    pub(crate) fn check(&self, url: &str) -> Result<()> {
        (self.check)(url)
    }

    /// Opens the store and makes it ready.
    pub(crate) async fn open(&self, url: String) -> Result<Arc<dyn PersistenceBackend>> {
        let backend = (self.open)(url).await?;
        backend.initialize().await?;
        Ok(backend)
    }
}

/// The scheme that a URL begins with.
pub(crate) fn of(url: &str) -> Result<Arc<Scheme>> {
    let schemes = SCHEMES.read().unwrap_or_else(PoisonError::into_inner);
    let known = || {
        let built_in = ["memory", "postgres", "postgresql", "redb", "sqlite"];
        let registered = schemes.keys().filter(|name| !built_in.contains(&name.as_str()));
        let names: String = registered.map(|name| format!("{name}:, ")).collect();
        format!("{names}sqlite:history.db, redb:history.redb, postgres://host/database and memory:")
    };
    let found = match url.split_once(':') {
        None => Err(without_scheme(url, &known())),
        Some((name, _)) => schemes.get(name).cloned().ok_or_else(|| unknown(name, &known())),
    };
    found.map_err(PersistenceError::NotConfigured)
}

/// Explains text without a scheme, most likely a file's name. Text that looks like settings
/// (`host=… password=…`) is not repeated.
fn without_scheme(text: &str, known: &str) -> String {
    if text.trim().is_empty() || text.contains(['=', '@']) {
        return format!("the URL has no scheme; known are {known}");
    }
    let scheme = if text.ends_with(".redb") { "redb" } else { "sqlite" };
    format!("\"{}\" is not a URL; for a file write {scheme}:{text}", text.escape_debug())
}

/// Explains an unknown scheme. Text that cannot be a scheme may be a password and is not repeated.
fn unknown(scheme: &str, known: &str) -> String {
    match is_scheme(scheme) {
        true => format!("no backend has {scheme}: URLs; known are {known}"),
        false => format!("the URL has no known scheme; known are {known}"),
    }
}

/// RFC 3986, 3.1, of a length that a person would choose.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn memory() -> Scheme {
    let check = |url: &str| match url {
        "memory:" | "memory://" => Ok(()),
        _ => {
            let message = "memory: takes neither a name nor options; write just memory:";
            Err(PersistenceError::NotConfigured(message.to_owned()))
        }
    };
    let guarantees = MemoryBackend::new().guarantees();
    Scheme::new(guarantees, check, |_| async { Ok(MemoryBackend::new()) })
}

/// What every backend of this crate guarantees, whatever its options are.
#[cfg(any(feature = "sqlite", feature = "redb", feature = "postgres"))]
fn guaranteed(snapshot_queries: bool, many_processes: bool) -> Guarantees {
    let mut guarantees = Guarantees::default();
    guarantees.atomic_batches = true;
    guarantees.idempotent_batches = true;
    guarantees.streamed_queries = true;
    guarantees.selective_cleanup = true;
    guarantees.erasure = true;
    guarantees.snapshot_queries = snapshot_queries;
    guarantees.many_processes = many_processes;
    guarantees
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Scheme {
    use annals_sqlite::{SqliteBackend, SqliteConfig};
    let check = |url: &str| SqliteConfig::from_url(url).map(drop);
    Scheme::new(guaranteed(true, true), check, |url| async move {
        let config = SqliteConfig::from_url(&url)?;
        // Opening may wait for the disk and for other processes.
        blocking::unblock(|| SqliteBackend::open(config)).await
    })
}

#[cfg(feature = "redb")]
fn redb() -> Scheme {
    use annals_redb::{RedbBackend, RedbConfig};
    let check = |url: &str| RedbConfig::from_url(url).map(drop);
    Scheme::new(guaranteed(true, false), check, |url| async move {
        let config = RedbConfig::from_url(&url)?;
        blocking::unblock(|| RedbBackend::open(config)).await
    })
}

#[cfg(feature = "postgres")]
fn postgres() -> Scheme {
    use annals_postgres::{PostgresBackend, PostgresConfig};
    let check = |url: &str| PostgresConfig::from_url(url).map(drop);
    // A query that Citus spreads over several shards does not see one snapshot.
    Scheme::new(guaranteed(false, true), check, |url| async move {
        PostgresBackend::connect(&url).await
    })
}

/// A scheme of this crate whose feature is off.
#[cfg(not(all(feature = "sqlite", feature = "redb", feature = "postgres")))]
fn without_feature(check: fn(&str) -> Result<()>) -> Scheme {
    Scheme::new(Guarantees::default(), check, move |url| async move {
        check(&url).map(|()| MemoryBackend::new())
    })
}

#[cfg(not(all(feature = "sqlite", feature = "redb", feature = "postgres")))]
fn feature_is_off(feature: &str) -> PersistenceError {
    PersistenceError::NotConfigured(format!(
        "{feature}: URLs need the feature `{feature}`, which this build does not have; enable it \
         in Cargo.toml"
    ))
}

#[cfg(not(feature = "sqlite"))]
fn sqlite() -> Scheme {
    without_feature(|_| Err(feature_is_off("sqlite")))
}

#[cfg(not(feature = "redb"))]
fn redb() -> Scheme {
    without_feature(|_| Err(feature_is_off("redb")))
}

#[cfg(not(feature = "postgres"))]
fn postgres() -> Scheme {
    without_feature(|_| Err(feature_is_off("postgres")))
}
