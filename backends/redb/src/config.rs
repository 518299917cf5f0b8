//! Options of a redb file.

use std::path::Path;

use annals_core::{Durability, Guarantees, Result};
use annals_embedded::{EmbeddedConfig, choose};

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
    pub(crate) shared: EmbeddedConfig,
}

annals_embedded::shared_options!(RedbConfig);

impl RedbConfig {
    /// The defaults: every acknowledged row survives the loss of power, values of up to 16 MiB, a page
    /// cache of 32 MiB, which the writer and all readers share.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { shared: EmbeddedConfig::new(path, 32 << 20) }
    }

    /// Reads `redb:path?option=value&…`. The options are `durability` (`power-loss` or `volatile`),
    /// `create` (`true` or `false`), `cache_bytes`, `max_value_bytes`, `queue_capacity`, `readers` and
    /// `snapshot_timeout` (`500ms`, `30s`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config) names what is wrong.
    pub fn from_url(url: &str) -> Result<Self> {
        EmbeddedConfig::from_url(ENGINE, url, Self::new, "durability", |config, option, value| {
            if option != "durability" {
                return Ok(false);
            }
            let levels =
                [("power-loss", Durability::PowerLoss), ("volatile", Durability::Volatile)];
            config.shared.durability = choose(ENGINE, option, value, &levels)?;
            Ok(true)
        })
    }

    /// What an acknowledged row survives. [`Durability::PowerLoss`] syncs at every commit. With
    /// [`Durability::Volatile`] commits are written when the writer has nothing else to do, or after
    /// 64 transactions: rows that were acknowledged since may be lost with the process, and no others.
    /// redb has no level between the two; [`Durability::Process`] is treated as `PowerLoss`.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.shared.durability = durability;
        if durability == Durability::Process {
            self.shared.durability = Durability::PowerLoss;
        }
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read_and_every_mistake_named() {
        let config = RedbConfig::from_url("redb:a?durability=volatile&cache_bytes=1").unwrap();
        let set = RedbConfig::new("a").with_durability(Durability::Volatile).with_cache_bytes(1);
        assert_eq!(config, set);
        for (url, named) in [
            ("redb:a?durability=process", "power-loss or volatile"),
            ("redb:a?busy_timeout_ms=1", "durability, create"),
        ] {
            let error = RedbConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
