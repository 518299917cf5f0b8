//! What a backend claims of itself.

use serde::Serialize;

/// What an acknowledged row survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Durability {
    /// Nothing is claimed: the row may be gone with the process.
    #[default]
    Volatile,
    /// The end of the process, `kill -9` too, but not the loss of power: the newest rows may then
    /// be missing, older ones not.
    Process,
    /// The loss of power as well: the row was synced to the medium before it was acknowledged.
    PowerLoss,
}

impl Durability {
    /// One word for tables: `volatile`, `process` or `power-loss`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Process => "process",
            Self::PowerLoss => "power-loss",
        }
    }
}

/// What a backend guarantees beyond the three required methods.
///
/// The default claims nothing, which is what a backend with the three methods alone can claim.
/// The conformance suite tests what is claimed, and that the rest refuses or degrades as
/// documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Guarantees {
    /// What an acknowledged row survives.
    pub durability: Durability,
    /// `store_batch` stores all rows or none. Otherwise it may break off with
    /// [`PartialBatch`](crate::PersistenceError::PartialBatch).
    pub atomic_batches: bool,
    /// A batch with an id is stored once, however often it is sent. Otherwise the id is ignored.
    pub idempotent_batches: bool,
    /// One query sees one state of the store, however long its stream is read.
    pub snapshot_queries: bool,
    /// `query_stream` needs memory for a page, not for the whole result.
    pub streamed_queries: bool,
    /// `cleanup_plan` takes any plan. Otherwise all that is not a plain cut-off is refused with
    /// [`Unsupported`](crate::PersistenceError::Unsupported).
    pub selective_cleanup: bool,
    /// `erase` and `correct` work. Otherwise they are refused with
    /// [`Unsupported`](crate::PersistenceError::Unsupported).
    pub erasure: bool,
    /// Several processes may have the same store open at once.
    pub many_processes: bool,
    /// A follower gets every row that arrives, whatever its time. Otherwise it does not see rows that
    /// are older than one of their record that was delivered. A cursor of another history is refused.
    pub complete_follow: bool,
}

impl Guarantees {
    /// Sets [`durability`](Self::durability).
    #[must_use]
    pub const fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets [`atomic_batches`](Self::atomic_batches).
    #[must_use]
    pub const fn with_atomic_batches(mut self, claimed: bool) -> Self {
        self.atomic_batches = claimed;
        self
    }

    /// Sets [`idempotent_batches`](Self::idempotent_batches).
    #[must_use]
    pub const fn with_idempotent_batches(mut self, claimed: bool) -> Self {
        self.idempotent_batches = claimed;
        self
    }

    /// Sets [`snapshot_queries`](Self::snapshot_queries).
    #[must_use]
    pub const fn with_snapshot_queries(mut self, claimed: bool) -> Self {
        self.snapshot_queries = claimed;
        self
    }

    /// Sets [`streamed_queries`](Self::streamed_queries).
    #[must_use]
    pub const fn with_streamed_queries(mut self, claimed: bool) -> Self {
        self.streamed_queries = claimed;
        self
    }

    /// Sets [`selective_cleanup`](Self::selective_cleanup).
    #[must_use]
    pub const fn with_selective_cleanup(mut self, claimed: bool) -> Self {
        self.selective_cleanup = claimed;
        self
    }

    /// Sets [`erasure`](Self::erasure).
    #[must_use]
    pub const fn with_erasure(mut self, claimed: bool) -> Self {
        self.erasure = claimed;
        self
    }

    /// Sets [`many_processes`](Self::many_processes).
    #[must_use]
    pub const fn with_many_processes(mut self, claimed: bool) -> Self {
        self.many_processes = claimed;
        self
    }

    /// Sets [`complete_follow`](Self::complete_follow).
    #[must_use]
    pub const fn with_complete_follow(mut self, claimed: bool) -> Self {
        self.complete_follow = claimed;
        self
    }
}
