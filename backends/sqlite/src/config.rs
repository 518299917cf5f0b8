//! Options of a SQLite file.

use std::path::Path;
use std::time::Duration;

use annals_core::{Durability, Guarantees, Result};
use annals_embedded::{EmbeddedConfig, choose, timeout};

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
    pub(crate) shared: EmbeddedConfig,
    pub(crate) busy_timeout: Duration,
    pub(crate) vfs: Option<String>,
}

annals_embedded::shared_options!(SqliteConfig);

impl SqliteConfig {
    /// The defaults: every acknowledged row survives the loss of power, values of up to 16 MiB, a page
    /// cache of 16 MiB for the writer (readers have their own), a busy timeout of five seconds.
    pub fn new(path: impl AsRef<Path>) -> Self {
        // Blocks are written once. Only names are looked up again.
        let shared = EmbeddedConfig::new(path, 16 << 20);
        Self { shared, busy_timeout: Duration::from_secs(5), vfs: None }
    }

    /// Reads `sqlite:path?option=value&…`. The options are `durability` (`power-loss` or `process`),
    /// `busy_timeout` (`500ms`, `5s`), `mode` (`rw` or `ro`), `create` (`true` or `false`),
    /// `cache_bytes`, `max_value_bytes`, `queue_capacity`, `readers` and `snapshot_timeout`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config) names what is wrong.
    pub fn from_url(url: &str) -> Result<Self> {
        let own = "durability, busy_timeout";
        EmbeddedConfig::from_url(ENGINE, url, Self::new, own, |config, option, value| {
            match option {
                "durability" => {
                    let levels =
                        [("power-loss", Durability::PowerLoss), ("process", Durability::Process)];
                    config.shared.durability = choose(ENGINE, option, value, &levels)?;
                }
                // The second name is that of older releases.
                "busy_timeout" | "busy_timeout_ms" => {
                    let timeout = timeout(ENGINE, option, value)?;
                    *config = config.clone().with_busy_timeout(timeout);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// What an acknowledged row survives. [`Durability::PowerLoss`] syncs at every commit.
    /// [`Durability::Process`] syncs only at checkpoints: a loss of power may take the newest rows,
    /// but never the order or the file. [`Durability::Volatile`] is treated as `Process`.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.shared.durability = durability.max(Durability::Process);
        self
    }

    /// How long a transaction waits for another process that has locked the file. Only the writer's
    /// thread waits. redb has no such option, because there the lock is held until the process ends.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        // SQLite counts milliseconds in an `int`.
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
        self
    }

    /// Opens the file through one of SQLite's file systems (<https://sqlite.org/vfs.html>) that the
    /// program has registered.
    #[must_use]
    pub fn with_vfs(mut self, name: impl Into<String>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    pub(crate) fn guarantees(&self) -> Guarantees {
        Guarantees::default()
            .with_durability(self.shared.durability)
            .with_atomic_batches(true)
            .with_idempotent_batches(true)
            .with_snapshot_queries(true)
            .with_streamed_queries(true)
            .with_selective_cleanup(true)
            .with_erasure(true)
            .with_many_processes(true)
            .with_complete_follow(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read_and_every_mistake_named() {
        let url = "sqlite:a.db?durability=process&busy_timeout=2ms&readers=5&create=false\
                   &cache_bytes=1&max_value_bytes=3&queue_capacity=4&snapshot_timeout_ms=6";
        let set = SqliteConfig::new("a.db")
            .with_durability(Durability::Volatile)
            .with_busy_timeout(Duration::from_millis(2))
            .with_readers(5)
            .with_create(false)
            .with_cache_bytes(1)
            .with_max_value_bytes(3)
            .with_queue_capacity(4)
            .with_snapshot_timeout(Duration::from_millis(6));
        assert_eq!(set.path(), Path::new("a.db"));
        assert_eq!(SqliteConfig::from_url(url).unwrap(), set);
        for (url, named) in [
            ("sqlite:a.db?durability=volatile", "power-loss or process"),
            ("sqlite:a.db?busy_timeout_ms=0", "busy_timeout_ms"),
            ("sqlite:a.db?nonsense=1", "busy_timeout"),
        ] {
            let error = SqliteConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
