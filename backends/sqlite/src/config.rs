//! Settings of a SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_core::{BackendError, Durability, ErrorKind, Guarantees, PersistenceError};
use annals_embedded::{EmbeddedConfig, Tuning, parse_bytes, parse_url};

use crate::ENGINE;

/// Where the file is and how it is used.
///
/// ```
/// # use annals_sqlite::SqliteConfig;
/// # use annals_core::Durability;
/// let config = SqliteConfig::new("history.db").with_durability(Durability::Process);
/// assert_eq!(config, SqliteConfig::from_url("sqlite:history.db?durability=process")?);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) cache_bytes: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) vfs: Option<String>,
    pub(crate) create: bool,
    pub(crate) shared: EmbeddedConfig,
}

impl SqliteConfig {
    /// The defaults: full durability, values up to 16 MiB, 16 MiB of page cache for the writer,
    /// five seconds of patience with other processes.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            durability: Durability::PowerLoss,
            // Blocks are written once; what is looked up again are names.
            cache_bytes: 16 << 20,
            busy_timeout: Duration::from_secs(5),
            vfs: None,
            create: true,
            shared: EmbeddedConfig::default(),
        }
    }

    /// Reads `sqlite:path?option=value&…`. The options are `create` (`true` or `false`),
    /// `durability` (`power-loss` or `process`), `cache_bytes`, `busy_timeout_ms`, `max_value_bytes`,
    /// `queue_capacity`, `readers` and `snapshot_timeout_ms`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] names what is wrong.
    pub fn from_url(url: &str) -> Result<Self, PersistenceError> {
        let (path, options) = parse_url(ENGINE, url)?;
        let mut config = Self::new(path);
        for (option, value) in options {
            match option.as_str() {
                "durability" => config.durability = parse_durability(&value)?,
                "cache_bytes" => config.cache_bytes = parse_bytes(ENGINE, &option, &value)?,
                "busy_timeout_ms" => {
                    let milliseconds = parse_bytes(ENGINE, &option, &value)?;
                    config = config.with_busy_timeout(Duration::from_millis(milliseconds as u64));
                }
                "create" => config.create = parse_create(&value)?,
                _ if config.shared.set(ENGINE, &option, &value)? => {}
                _ => {
                    return Err(refused(format!(
                        "there is no option \"{option}\"; there are create, durability, cache_bytes, \
                         busy_timeout_ms, max_value_bytes, queue_capacity, readers and snapshot_timeout_ms"
                    )));
                }
            }
        }
        Ok(config)
    }

    /// What an acknowledged row survives: [`Durability::PowerLoss`] syncs at every commit,
    /// [`Durability::Process`] only at checkpoints, so that the loss of power may take the newest
    /// rows (never the order or the file). [`Durability::Volatile`] is read as `Process`.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability.max(Durability::Process);
        self
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The largest value taken, in bytes of JSON text.
    #[must_use]
    pub fn with_max_value_bytes(mut self, bytes: usize) -> Self {
        self.shared.max_value_bytes = bytes;
        self
    }

    /// The writer's page cache in bytes.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long a transaction waits for another process that holds the file. Nothing but the
    /// writer's own thread waits meanwhile.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        // SQLite counts milliseconds in an `int`.
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// Whether a history may be made where there is none (the default). Otherwise a file that is
    /// missing, empty or somebody else's is refused and left as it is; a file of AimDB's is
    /// converted all the same.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens the file through another of SQLite's file systems (<https://sqlite.org/vfs.html>),
    /// which the program has registered.
    #[must_use]
    pub fn with_vfs(mut self, name: impl Into<String>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// How long a stream may keep its snapshot while nobody asks for its next page (of up to 8,192
    /// rows or 512 KiB); without a limit by default. While it is held the log cannot begin anew, and
    /// takes up all that is written meanwhile. A
    /// stream that lost its snapshot ends with [`ErrorKind::Timeout`].
    #[must_use]
    pub fn with_snapshot_timeout(mut self, timeout: Duration) -> Self {
        self.shared.snapshot_timeout = Some(timeout);
        self
    }

    /// When the head is folded and runs are merged.
    #[doc(hidden)]
    #[must_use]
    pub fn with_tuning(mut self, tuning: Tuning) -> Self {
        self.shared.tuning = tuning;
        self
    }

    pub(crate) fn guarantees(&self) -> Guarantees {
        Guarantees::default()
            .with_durability(self.durability)
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(true)
            .with_streamed_queries(true)
            .with_selective_cleanup(true)
            .with_many_processes(true)
    }
}

fn parse_durability(value: &str) -> Result<Durability, PersistenceError> {
    match value {
        "power-loss" => Ok(Durability::PowerLoss),
        "process" => Ok(Durability::Process),
        _ => Err(refused(format!(
            "the option durability is either power-loss or process, not \"{value}\""
        ))),
    }
}

fn parse_create(value: &str) -> Result<bool, PersistenceError> {
    value
        .parse()
        .map_err(|_| refused(format!("the option create is either true or false, not \"{value}\"")))
}

fn refused(message: String) -> PersistenceError {
    BackendError::new(ENGINE, "open", ErrorKind::Config, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read_and_every_mistake_named() {
        let config = SqliteConfig::from_url(
            "sqlite:a.db?durability=process&cache_bytes=1&busy_timeout_ms=2&max_value_bytes=3\
             &queue_capacity=4&readers=5&create=false&snapshot_timeout_ms=6",
        )
        .unwrap();
        assert_eq!((config.durability, config.cache_bytes), (Durability::Process, 1));
        assert!(!config.create);
        assert_eq!(config.busy_timeout, Duration::from_millis(2));
        let shared = EmbeddedConfig {
            max_value_bytes: 3,
            queue_capacity: 4,
            readers: 5,
            snapshot_timeout: Some(Duration::from_millis(6)),
            ..EmbeddedConfig::default()
        };
        assert_eq!(config.shared, shared);
        for (url, named) in [
            ("sqlite:a.db?durability=none", "durability"),
            ("sqlite:a.db?cache_bytes=big", "cache_bytes"),
            ("sqlite:a.db?nonsense=1", "nonsense"),
            ("sqlite:a.db?create=no", "create"),
            ("sqlite:", "no file"),
        ] {
            let error = SqliteConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
