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
    pub(crate) verify: bool,
}

annals_embedded::shared_options!(RedbConfig);

impl RedbConfig {
    /// The defaults: every acknowledged row survives the loss of power, values of up to 16 MiB, a page
    /// cache of 16 MiB, which the writer and all readers share; the file is verified when it is opened.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { shared: EmbeddedConfig::new(path, 16 << 20), verify: true }
    }

    /// Reads `redb:path?option=value&…`. The options are `durability` (`power-loss` or `volatile`),
    /// `verify` (`open` or `read`), `mode` (`rw` or `ro`), `create` (`true` or `false`), `cache_bytes`,
    /// `max_value_bytes`, `queue_capacity`, `readers` and `snapshot_timeout` (`500ms`, `30s`).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](annals_core::ErrorKind::Config) names what is wrong.
    pub fn from_url(url: &str) -> Result<Self> {
        let own = "durability, verify";
        EmbeddedConfig::from_url(ENGINE, url, Self::new, own, |config, option, value| {
            match option {
                "durability" => {
                    let levels =
                        [("power-loss", Durability::PowerLoss), ("volatile", Durability::Volatile)];
                    config.shared.durability = choose(ENGINE, option, value, &levels)?;
                }
                "verify" => {
                    config.verify =
                        choose(ENGINE, option, value, &[("open", true), ("read", false)])?;
                }
                _ => return Ok(false),
            }
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

    /// Whether the checksum of every page is verified when the file is opened (the default), which reads
    /// the whole file once. Otherwise only what is read is verified: rows are still right or an error, but
    /// redb may panic at a damaged page, and may write over sound pages if the list of free ones is
    /// damaged.
    #[must_use]
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
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
            .with_complete_follow(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_read_and_every_mistake_named() {
        let config =
            RedbConfig::from_url("redb:a?durability=volatile&cache_bytes=1&verify=read").unwrap();
        let set = RedbConfig::new("a")
            .with_durability(Durability::Volatile)
            .with_cache_bytes(1)
            .with_verify(false);
        assert_eq!(config, set);
        for (url, named) in [
            ("redb:a?durability=process", "power-loss or volatile"),
            ("redb:a?busy_timeout_ms=1", "durability, verify, mode, create"),
            ("redb:a?verify=never", "open or read"),
        ] {
            let error = RedbConfig::from_url(url).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
