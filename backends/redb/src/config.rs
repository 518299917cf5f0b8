//! Settings of a redb file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use annals_core::{BackendError, Durability, ErrorKind, Guarantees, PersistenceError};
use annals_embedded::{EmbeddedConfig, Tuning, parse_bytes, parse_url};

use crate::ENGINE;

/// Where the file is and how it is used.
///
/// ```
/// # use annals_redb::RedbConfig;
/// # use annals_core::Durability;
/// let config = RedbConfig::new("history.redb").with_durability(Durability::Volatile);
/// assert_eq!(config, RedbConfig::from_url("redb:history.redb?durability=volatile")?);
/// # Ok::<(), annals_core::PersistenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedbConfig {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    pub(crate) cache_bytes: usize,
    pub(crate) shared: EmbeddedConfig,
}

impl RedbConfig {
    /// The defaults: full durability, values up to 16 MiB, 32 MiB of page cache.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            durability: Durability::PowerLoss,
            cache_bytes: 32 << 20,
            shared: EmbeddedConfig::default(),
        }
    }

    /// Reads `redb:path?option=value&…`. The options are `durability` (`power-loss` or
    /// `volatile`), `cache_bytes`, `max_value_bytes`, `queue_capacity`, `readers` and
    /// `snapshot_timeout_ms`.
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
                _ if config.shared.set(ENGINE, &option, &value)? => {}
                _ => {
                    return Err(refused(format!(
                        "there is no option \"{option}\"; there are durability, cache_bytes, \
                         max_value_bytes, queue_capacity, readers and snapshot_timeout_ms"
                    )));
                }
            }
        }
        Ok(config)
    }

    /// What an acknowledged row survives: [`Durability::PowerLoss`] syncs at every commit. With
    /// [`Durability::Volatile`] a commit is written when the writer runs out of work, or after 64
    /// transactions at the latest: what was acknowledged since may be lost with the process,
    /// nothing before it. redb knows no level between the two; [`Durability::Process`] is read as
    /// `PowerLoss`.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = match durability {
            Durability::Volatile => Durability::Volatile,
            _ => Durability::PowerLoss,
        };
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

    /// The page cache in bytes.
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How long a stream may keep its snapshot while nobody asks for its next page (of up to 8,192
    /// rows or 512 KiB); without a limit by default. While it is held no page of what was
    /// there can be used again. A
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
            .with_many_processes(false)
    }
}

fn parse_durability(value: &str) -> Result<Durability, PersistenceError> {
    match value {
        "power-loss" => Ok(Durability::PowerLoss),
        "volatile" => Ok(Durability::Volatile),
        _ => Err(refused(format!(
            "the option durability is either power-loss or volatile, not \"{value}\""
        ))),
    }
}

fn refused(message: String) -> PersistenceError {
    BackendError::new(ENGINE, "open", ErrorKind::Config, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read_and_every_mistake_named() {
        let config = RedbConfig::from_url(
            "redb:a.redb?durability=volatile&cache_bytes=1&max_value_bytes=3&queue_capacity=4\
             &readers=5&snapshot_timeout_ms=6",
        )
        .unwrap();
        assert_eq!((config.durability, config.cache_bytes), (Durability::Volatile, 1));
        let shared = EmbeddedConfig {
            max_value_bytes: 3,
            queue_capacity: 4,
            readers: 5,
            snapshot_timeout: Some(Duration::from_millis(6)),
            ..EmbeddedConfig::default()
        };
        assert_eq!(config.shared, shared);
        for (url, named) in [
            ("redb:a?durability=process", "durability"),
            ("redb:a?cache_bytes=big", "cache_bytes"),
            ("redb:a?busy_timeout_ms=1", "busy_timeout_ms"),
            ("redb:", "no file"),
        ] {
            let error = RedbConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
