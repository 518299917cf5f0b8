//! Store and forward: copies what arrives in one history to another, each row once.
//!
//! Enters: pages of a follower of the source. Leaves: batches with ids. A batch is everything that
//! arrived in the source from one number to another, and the second is the batch's own number. Before
//! it is sent, that number is written down in the source ([`Progress`]), so that after a crash the same
//! rows are sent again under the same id, which the destination then knows or does not.

mod backlog;
mod cut;
mod error;
mod progress;
mod resume;
mod stats;

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backend::PersistenceBackend;
use crate::batch::{Batch, Row};
use crate::clock::{Clock, SystemClock};
use crate::error::{ErrorKind, Outcome, PersistenceError};
use crate::follow::{Cursor, FollowParams, Origin, Position};
use crate::pattern::Grammar;

use cut::Cut;
use progress::{Progress, Skipped};

pub(crate) use backlog::Backlog;
pub use backlog::{Unforwarded, forget_forwarder, unforwarded};
pub use error::ForwardError;
pub use progress::forward_record;
pub use stats::ForwardStats;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Copies what arrives in a source to a destination: in order per record, each row once, late rows too,
/// whichever end is killed or unreachable and for how long.
///
/// The source has to number what arrives ([`complete_follow`](crate::Guarantees::complete_follow)) and
/// to know batches again, the destination to know batches again and to store them whole. Both keep
/// their own rows: nothing is removed from the source.
///
/// The source keeps a record, [`forward_record`], with a row that identifies it; it is not copied.
/// [`Retention`](crate::Retention) removes nothing that is still to be forwarded;
/// [`forget_forwarder`] ends that.
///
/// Let one forwarder of a name run at a time: two would both send what arrives. (`annals forward` locks the
/// files that it reads.)
///
/// A source that was restored from a backup goes on where the destination is, without a gap and without
/// a double. If it was put back by other means, such as `cp` or a dump, and the destination has more of
/// it than it knows, forwarding ends with [`ForwardError::PutBack`].
///
/// ```
/// # use annals_core::{Forwarder, MemoryBackend, PersistenceBackend, StoreExt};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
/// edge.put_at("attic", &21.5, 1_740_081_234_000).await?;
/// let forwarder = Forwarder::new(edge.clone(), cloud.clone());
/// forwarder.run_once().await?;
/// assert_eq!(cloud.query("attic", Default::default()).await?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Forwarder<S, D> {
    source: S,
    destination: D,
    name: String,
    pattern: String,
    grammar: Grammar,
    batch_rows: usize,
    batch_bytes: usize,
    rows_per_second: Option<u32>,
    from_time: Option<u64>,
    stats: watch::Sender<ForwardStats>,
}

impl<S: PersistenceBackend, D: PersistenceBackend> Forwarder<S, D> {
    /// Forwards all records under the name `default`.
    pub fn new(source: S, destination: D) -> Self {
        Self {
            source,
            destination,
            name: "default".to_owned(),
            pattern: "*".to_owned(),
            grammar: Grammar::Glob,
            batch_rows: 16_384,
            batch_bytes: usize::MAX,
            rows_per_second: None,
            from_time: None,
            stats: watch::Sender::default(),
        }
    }

    /// Sets the name under which the source keeps the progress. Each destination of a source needs its
    /// own.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Forwards the records that match.
    #[must_use]
    pub fn with_pattern(mut self, pattern: impl Into<String>, grammar: Grammar) -> Self {
        (self.pattern, self.grammar) = (pattern.into(), grammar);
        self
    }

    /// Sets about how many rows a batch has at most. What was stored in one transaction is not divided.
    #[must_use]
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }

    /// Sets about how many bytes of names and JSON a batch has at most. What was stored in one
    /// transaction is not divided.
    #[must_use]
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes.max(1);
        self
    }

    /// Limits the rows that are sent per second, on average, and those of a batch to what is due in a second.
    /// What was stored in one transaction is not divided.
    #[must_use]
    pub fn with_rows_per_second(mut self, rows: impl Into<Option<u32>>) -> Self {
        self.rows_per_second = rows.into().map(|rows| rows.max(1));
        self
    }

    /// Of the rows that are in the source when forwarding begins under this name, forwards those with
    /// this `stored_at` (Unix milliseconds) or a greater one. Of no effect when it goes on, unless it
    /// would end with [`ForwardError::PutBack`]: then it begins anew with these rows, and those that the
    /// destination has already are there twice.
    #[must_use]
    pub fn with_from_time(mut self, stored_at: impl Into<Option<u64>>) -> Self {
        self.from_time = stored_at.into();
        self
    }

    /// What was done so far, and how far the destination is behind.
    pub fn stats(&self) -> ForwardStats {
        self.stats.borrow().clone()
    }

    /// Forwards until both ends agree: everything that had arrived when nothing more was found.
    ///
    /// While an end is busy or unreachable, it is tried again, after a growing delay.
    ///
    /// # Errors
    /// [`ForwardError`]; what was forwarded before stays.
    ///
    /// # Cancel safety
    /// Dropping the future stops forwarding; the next call continues.
    pub async fn run_once(&self) -> Result<ForwardStats, ForwardError> {
        self.run(false).await?;
        Ok(self.stats())
    }

    /// Forwards until it fails for good or is dropped. Needs a tokio runtime with a timer.
    ///
    /// # Errors
    /// [`ForwardError`], when repeating does not help.
    ///
    /// # Cancel safety
    /// As [`run_once`](Self::run_once).
    pub async fn run_forever(&self) -> Result<(), ForwardError> {
        self.run(true).await
    }

    async fn run(&self, wait: bool) -> Result<(), ForwardError> {
        self.check_claims()?;
        let Begun { source, progress, is_new } = self.begin().await?;
        let done = self.go_on(&source, progress, wait).await;
        // A destination that refused all it was sent is no reason for retention to wait.
        let stats = self.stats();
        if let Err(ForwardError::Store(error)) = &done
            && is_refusal(error)
            && is_new
            && (stats.batches, stats.retries) == (0, 0)
            && let Err(error) = forget_forwarder(&self.source, &self.name).await
        {
            tracing::warn!(%error, name = self.name, "retention waits for this forwarder");
        }
        done
    }

    async fn go_on(
        &self,
        source: &Source,
        mut progress: Progress,
        wait: bool,
    ) -> Result<(), ForwardError> {
        if let Some(sent) = progress.unanswered() {
            let rows = self.retried(|| self.exactly(source, &progress, sent)).await?;
            self.deliver(&progress, sent, rows).await?;
            progress.sent_again(sent);
        }
        let begun = Instant::now();
        // The rows that were sent, which take their time at the rate.
        let mut sent = 0_u64;
        let skipped = progress.skipped();
        let mut cursor = source.cursor_at(progress.done())?;
        let bound = progress.bound(progress.done());
        // Waiting begins where nothing more has arrived, which is said then.
        let mut next = Box::pin(self.next(cursor.clone(), false, skipped, bound));
        let mut read = None;
        // A batch that was answered, which is not written down yet.
        let mut answered = None;
        loop {
            let cut = match read.take() {
                Some(cut) => cut,
                None => next.await,
            };
            let Cut { rows, end, cursor: behind, caught_up } = cut?;
            cursor.clone_from(&behind);
            if rows.is_empty() && caught_up {
                if let Some(end) = answered.take() {
                    self.retried(|| progress.intend(&self.source, end)).await?;
                }
                self.stats.send_modify(ForwardStats::caught_up);
                if !wait {
                    return Ok(());
                }
            }
            // The next batch is read while this one is sent.
            let wait = wait && caught_up;
            next = Box::pin(self.next(cursor.clone(), wait, skipped, progress.bound(end)));
            if rows.is_empty() {
                continue;
            }
            self.stats.send_modify(|stats| stats.caught_up = false);
            if let Some(rate) = self.rows_per_second {
                let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            }
            sent += rows.len() as u64;
            let delivered = async {
                self.retried(|| progress.intend(&self.source, end)).await?;
                self.deliver(&progress, end, rows).await
            };
            {
                let mut delivered = std::pin::pin!(delivered);
                loop {
                    tokio::select! {
                        biased;
                        done = &mut delivered => {
                            done?;
                            break;
                        }
                        cut = &mut next, if read.is_none() => read = Some(cut),
                    }
                }
            }
            progress.answered(end);
            answered = Some(end).filter(|_| !caught_up);
            if caught_up {
                self.retried(|| progress.intend(&self.source, end)).await?;
                self.stats.send_modify(ForwardStats::caught_up);
            }
        }
    }

    fn check_claims(&self) -> Result<(), ForwardError> {
        crate::RecordName::new(forward_record(&self.name))?;
        let (from, to) = (self.source.guarantees(), self.destination.guarantees());
        if !(from.complete_follow && from.idempotent_batches) {
            return Err(ForwardError::Source);
        }
        if !(to.atomic_batches && to.idempotent_batches) {
            return Err(ForwardError::Destination);
        }
        Ok(())
    }

    fn params(&self, cursor: Cursor, wait: bool) -> FollowParams {
        // At most what is due in a second.
        let most = self.rows_per_second.map_or(usize::MAX, |rate| rate as usize);
        FollowParams::from(cursor)
            .with_grammar(self.grammar)
            .with_wait(wait)
            .with_page_rows(self.batch_rows.min(most))
    }

    /// The rows of the next batch.
    async fn next(
        &self,
        cursor: Cursor,
        wait: bool,
        skipped: Option<Skipped>,
        bound: Option<u64>,
    ) -> Result<Cut, ForwardError> {
        let params = || self.params(cursor.clone(), wait);
        let limits = cut::Limits { skipped, bound, bytes: self.batch_bytes };
        self.retried(|| cut::next(&self.source, &self.pattern, params(), limits)).await
    }

    /// The rows of a batch that was cut before.
    async fn exactly(
        &self,
        source: &Source,
        progress: &Progress,
        end: u64,
    ) -> Result<Vec<Row>, ForwardError> {
        let params = self.params(source.cursor_at(progress.done())?, false);
        cut::up_to(&self.source, &self.pattern, params, end, progress.skipped()).await
    }

    /// Sends a batch until the destination has it.
    async fn deliver(
        &self,
        progress: &Progress,
        end: u64,
        rows: Vec<Row>,
    ) -> Result<(), ForwardError> {
        let last = rows.iter().map(|row| row.stored_at).max();
        let count = rows.len() as u64;
        let batch = Batch::new(rows).with_id(progress.id(end));
        self.retried(|| self.store(&batch)).await?;
        self.stats.send_modify(|stats| stats.forwarded(count, last, SystemClock.now_ms()));
        Ok(())
    }

    async fn store(&self, batch: &Batch) -> Result<(), ForwardError> {
        Ok(self.destination.store_batch(batch).await?)
    }

    /// Repeats a call while that may help.
    async fn retried<T, F: Future<Output = Result<T, ForwardError>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<T, ForwardError> {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match call().await {
                Err(ForwardError::Store(error)) if may_help(&error) => error,
                result => return result,
            };
            tracing::warn!(%error, name = self.name, "forwarding is interrupted and tried again");
            self.stats.send_modify(|stats| stats.failed(&error));
            tokio::time::sleep(delays.next().unwrap_or(LONGEST_DELAY)).await;
        }
    }
}

/// A batch is sent under an id, so an unknown outcome is no reason to stop.
fn may_help(error: &PersistenceError) -> bool {
    error.is_retryable() || error.outcome() == Outcome::Unknown
}

/// Whether nothing was applied, and nothing will be.
fn is_refusal(error: &PersistenceError) -> bool {
    let is_final = |kind| matches!(kind, ErrorKind::Permission | ErrorKind::Config);
    matches!(error, PersistenceError::Backend(error) if is_final(error.kind()))
}

/// Where forwarding begins or goes on.
struct Begun {
    source: Source,
    progress: Progress,
    /// The source did not know the name.
    is_new: bool,
}

/// What the source says about itself.
struct Source {
    /// The kind of its cursors.
    kind: String,
    history: u64,
    /// The last number.
    last: u64,
    origin: Option<Origin>,
}

impl Source {
    fn cursor_at(&self, arrival: u64) -> Result<Cursor, PersistenceError> {
        Position { history: self.history, arrival, ..Position::default() }.cursor(&self.kind)
    }
}

#[cfg(test)]
mod tests;
