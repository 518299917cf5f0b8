//! The sweeps themselves: at the start, at each interval, and when asked.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::FutureExt;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::RetentionPolicy;
use crate::backend::PersistenceBackend;
use crate::cleanup::{CleanupPlan, Swept};
use crate::clock::{Clock, SystemClock};
use crate::error::PersistenceError;
use crate::forwarder::{Backlog, Unforwarded};
use crate::log;
use crate::panic::backend_panicked;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How soon a failed sweep is tried again at first.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// What the sweeps of a [`Retention`] did so far.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct RetentionStats {
    /// Sweeps that went through.
    pub sweeps: u64,
    /// Rows they removed, and those removed before a sweep failed or was left to another process.
    pub removed: u64,
    /// Sweeps that were left to another process, which was at it.
    pub left_to_others: u64,
    /// Sweeps that failed.
    pub failures: u64,
    /// The last failure, even if a sweep has gone through since.
    #[serde(serialize_with = "crate::error::as_text")]
    pub last_error: Option<PersistenceError>,
    /// When a sweep last went through, in Unix milliseconds.
    pub last_success_ms: Option<u64>,
}

/// Sweeps a backend by a [`RetentionPolicy`]: once at the start and once at each interval.
///
/// A sweep that fails is logged as an error, counted in [`stats`](Self::stats), and tried again
/// after a second, then after two, and so on up to the interval. Neither errors nor panics of the
/// backend end the loop; only a backend that was closed does.
///
/// Of many processes that do this to one store, one sweeps at a time, if the backend can tell; the
/// others come back after the same delays as after a failure, until a sweep of their own goes
/// through. So the work is taken over from one that dies.
///
/// # Forwarders
/// What a [`Forwarder`](crate::Forwarder) of this store has still to send stays: of the records that it
/// forwards, rows at the `stored_at` of the oldest such row or later. This holds however long its
/// destination is away, unless [`forward_limit`](RetentionPolicy::forward_limit) says how far it may fall
/// behind. [`forget_forwarder`](crate::forget_forwarder) ends it. A row that has expired when it arrives,
/// while a sweep runs, may go.
///
/// # The clock
/// A sweep believes the wall clock. One that is far ahead makes every row look old, and they go;
/// within a process nothing tells that from a machine that slept.
/// [`keep_newest`](RetentionPolicy::keep_newest) bounds the damage, and a machine without a
/// battery-backed clock should start this only when the time is known. A clock that is behind
/// removes nothing it should not.
///
/// Clones share their statistics, and never sweep at the same time.
///
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use annals_core::{MemoryBackend, PersistenceBackend, Retention, RetentionPolicy};
/// # use serde_json::json;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), annals_core::PersistenceError> {
/// let backend = Arc::new(MemoryBackend::new());
/// backend.store("temperature", &json!(21.5), 1_000).await?;
/// let month = Duration::from_secs(30 * 24 * 3600);
/// let retention = Retention::new(backend, RetentionPolicy::new().keep_all(month))?.spawn();
/// retention.sweep_now().await?;
/// assert_eq!(retention.stats().removed, 1);
/// retention.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Retention {
    shared: Arc<Shared>,
    interval: Duration,
    initial_sweep: bool,
    clock: Arc<dyn Clock>,
}

/// What to do when another process is sweeping.
#[derive(Clone, Copy)]
enum Contention {
    Skip,
    Wait,
}

struct Shared {
    backend: Arc<dyn PersistenceBackend>,
    policy: RetentionPolicy,
    stats: Mutex<RetentionStats>,
    /// Held during a sweep.
    sweeping: tokio::sync::Mutex<Backlog>,
}

impl Retention {
    /// Sweeps `backend` by `policy`, from [`spawn`](Self::spawn) or [`run`](Self::run) on.
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) when the policy is more than one window for
    /// all records and the backend does not claim
    /// [`selective_cleanup`](crate::Guarantees::selective_cleanup).
    pub fn new(
        backend: Arc<dyn PersistenceBackend>,
        policy: RetentionPolicy,
    ) -> Result<Self, PersistenceError> {
        if !policy.keeps_everything() && !backend.guarantees().selective_cleanup {
            policy.plan(0).plain_only()?;
        }
        let shared =
            Shared { backend, policy, stats: Mutex::default(), sweeping: Default::default() };
        Ok(Self {
            shared: Arc::new(shared),
            interval: DAY,
            initial_sweep: true,
            clock: Arc::new(SystemClock),
        })
    }

    /// Sets the time from the end of one sweep to the next. Default: 24 hours. Less than a
    /// millisecond counts as one.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets whether the loop begins with a sweep rather than with a wait. Default: true.
    #[must_use]
    pub fn with_initial_sweep(mut self, initial_sweep: bool) -> Self {
        self.initial_sweep = initial_sweep;
        self
    }

    /// Sets the wall clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts [`run`](Self::run) on the current tokio runtime, whose timer must be enabled.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn spawn(self) -> RetentionHandle {
        let task = tokio::spawn(self.clone().run());
        RetentionHandle { retention: self, task }
    }

    /// Sweeps at each interval until the backend is closed. Needs a tokio runtime with a timer.
    ///
    /// # Cancel safety
    /// Dropping the future ends it. A sweep that is being made stops half-way; the next one does
    /// the rest.
    pub async fn run(self) {
        if !self.initial_sweep {
            tokio::time::sleep(self.interval).await;
        }
        let retries = ExponentialBuilder::default()
            .with_min_delay(FIRST_RETRY.min(self.interval))
            .with_max_delay(self.interval)
            .without_max_times();
        let mut delays = retries.build();
        loop {
            let delay = match self.sweep(Contention::Skip).await {
                Ok(Swept { finished: true, .. }) => {
                    delays = retries.build();
                    self.interval
                }
                Ok(Swept { finished: false, .. }) => delays.next().unwrap_or(self.interval),
                Err(error) if is_closed(&error) => {
                    tracing::warn!("retention ends: the backend is closed");
                    return;
                }
                Err(_) => delays.next().unwrap_or(self.interval),
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// Sweeps once, now, and returns how many rows were removed. Waits for a sweep that is being
    /// made.
    ///
    /// # Errors
    /// What the backend reports, which is logged and counted as well. A panic of the backend comes
    /// as [`Backend`](PersistenceError::Backend).
    ///
    /// # Cancel safety
    /// Dropping the future may stop the sweep half-way; the next one does the rest.
    pub async fn sweep_now(&self) -> Result<u64, PersistenceError> {
        self.sweep(Contention::Wait).await.map(|swept| swept.removed)
    }

    async fn sweep(&self, contention: Contention) -> Result<Swept, PersistenceError> {
        let mut backlog = self.shared.sweeping.lock().await;
        let swept = if self.shared.policy.keeps_everything() {
            Ok(Swept { removed: 0, finished: true })
        } else {
            let now_ms = self.clock.now_ms();
            let (policy, backend) = (&self.shared.policy, &self.shared.backend);
            let swept = async {
                let behind = backlog.read(backend).await?;
                let limit = policy.forward_limit_at(now_ms);
                let plan = policy.plan(now_ms);
                report(&plan, &behind, limit);
                let plan = plan.with_unforwarded(&behind, limit);
                match contention {
                    Contention::Skip => backend.sweep(&plan).await,
                    Contention::Wait => {
                        let removed = backend.cleanup_plan(&plan).await?;
                        Ok(Swept { removed, finished: true })
                    }
                }
            };
            // What a panic leaves half-done in the backend is the backend's to answer for; nothing
            // of ours is touched inside.
            AssertUnwindSafe(swept)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(backend_panicked("retention", "cleanup", &*panic)))
        };
        self.keep_account(&swept);
        swept
    }

    /// What the sweeps did so far.
    pub fn stats(&self) -> RetentionStats {
        self.shared.stats().clone()
    }

    fn keep_account(&self, swept: &Result<Swept, PersistenceError>) {
        match swept {
            Ok(Swept { removed, finished: false }) => {
                tracing::debug!(removed, "another process sweeps");
                let mut stats = self.shared.stats();
                stats.left_to_others += 1;
                stats.removed += removed;
            }
            Ok(Swept { removed, finished: true }) => {
                tracing::debug!(removed, "retention swept");
                let now_ms = self.clock.now_ms();
                let mut stats = self.shared.stats();
                stats.sweeps += 1;
                stats.removed += removed;
                stats.last_success_ms = Some(now_ms);
            }
            Err(error) => {
                log::error(format_args!("a retention sweep failed, expired rows remain: {error}"));
                let mut stats = self.shared.stats();
                stats.failures += 1;
                if let PersistenceError::PartialCleanup { removed, .. } = error {
                    stats.removed += removed;
                }
                stats.last_error = Some(error.clone());
            }
        }
    }
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, RetentionStats> {
        // Counters are whole whatever panicked.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("policy", &self.shared.policy)
            .field("interval", &self.interval)
            .field("initial_sweep", &self.initial_sweep)
            .finish_non_exhaustive()
    }
}

/// Tells what waits for a forwarder, and what does not any more.
fn report(plan: &CleanupPlan, behind: &[Unforwarded], limit: u64) {
    let latest = plan.rules.iter().filter_map(|rule| rule.older_than).max().unwrap_or(0);
    for Unforwarded { name, oldest, .. } in behind.iter().filter(|one| one.oldest < latest) {
        if *oldest < limit {
            tracing::warn!(
                forwarder = name,
                oldest,
                limit,
                "rows that were not forwarded go: the forwarder is too far behind"
            );
        } else {
            tracing::warn!(forwarder = name, oldest, "expired rows stay until they are forwarded");
        }
    }
}

/// Before anything was removed, or half-way.
fn is_closed(error: &PersistenceError) -> bool {
    match error {
        PersistenceError::BackendShutdown => true,
        PersistenceError::PartialCleanup { source, .. } => is_closed(source),
        _ => false,
    }
}

/// A [`Retention`] that runs as a task.
///
/// Dropping the handle leaves it running until its runtime ends: a policy that was set up should
/// not lapse because nobody kept the handle.
#[derive(Debug)]
pub struct RetentionHandle {
    retention: Retention,
    task: JoinHandle<()>,
}

impl RetentionHandle {
    /// Sweeps once, now; see [`Retention::sweep_now`].
    ///
    /// # Errors
    /// As [`Retention::sweep_now`].
    pub async fn sweep_now(&self) -> Result<u64, PersistenceError> {
        self.retention.sweep_now().await
    }

    /// What the sweeps did so far.
    pub fn stats(&self) -> RetentionStats {
        self.retention.stats()
    }

    /// Whether the loop has ended, which it does by itself only when the backend was closed.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the loop, and a sweep that is being made with it; returns when it has let go of the
    /// backend.
    ///
    /// # Cancel safety
    /// The loop ends even if the future is dropped.
    pub async fn stop(self) {
        self.task.abort();
        // What it ended with is the abort, or it had ended before.
        let _ended = self.task.await;
    }
}
