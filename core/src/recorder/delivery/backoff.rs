//! When the backend may be called again after it failed, and for how long a closing recorder goes on.

use std::sync::Arc;

use backon::ExponentialBackoff;
use tokio::time::Instant;

use crate::error::PersistenceError;
use crate::log::RateLimitedLog;
use crate::recorder::queue::{Queue, Stage};

/// An error after which the worker cannot continue.
pub(super) struct Fatal(pub(super) PersistenceError);

pub(super) struct Backoff {
    queue: Arc<Queue>,
    outage: Option<Outage>,
    /// While closing: since when nothing was resolved.
    draining: Option<Instant>,
    failing: RateLimitedLog,
}

/// From the first failure to the next success.
struct Outage {
    since: Instant,
    delays: ExponentialBackoff,
    /// No call before then.
    until: Instant,
}

impl Backoff {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue, outage: None, draining: None, failing: RateLimitedLog::default() }
    }

    /// Notes a failure and when to try again; true when it has gone on for too long.
    pub(super) fn failed(&mut self, error: &PersistenceError) -> bool {
        let now = Instant::now();
        let retry = self.queue.config.retry;
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            delays: retry.delays(),
            until: now,
        });
        let delay = outage.delays.next().unwrap_or(retry.max_delay);
        outage.until = now + delay;
        if let Some(failures) = self.failing.count(1, now.into_std()) {
            tracing::warn!(%error, failures, ?delay, "values cannot be stored: they wait");
        }
        retry.give_up_after.is_some_and(|limit| now.duration_since(outage.since) >= limit)
    }

    pub(super) fn recovered(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::info!(after = ?outage.since.elapsed(), "the backend answers again");
        }
    }

    /// A row was resolved: a closing recorder waits anew.
    pub(super) fn progressed(&mut self) {
        if self.draining.is_some() {
            self.draining = Some(Instant::now());
        }
    }

    /// Waits until the backend may be called again. Closing cuts the wait short, once, and begins
    /// with small delays again: there is not much time left.
    pub(super) async fn wait(&mut self) -> Result<(), Fatal> {
        let Some(outage) = &mut self.outage else { return Ok(()) };
        let until = outage.until;
        if self.draining.is_some() {
            return self.unless_drained(tokio::time::sleep_until(until)).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = self.queue.reached(Stage::Closing) => {
                outage.delays = self.queue.config.retry.delays();
                self.draining = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Runs `work` to its end, or until the recorder is closing and nothing was resolved for as
    /// long as it may take.
    pub(super) async fn unless_drained<F: Future>(&mut self, work: F) -> Result<F::Output, Fatal> {
        let mut work = std::pin::pin!(work);
        let since = match self.draining {
            Some(since) => since,
            None => {
                tokio::select! {
                    biased;
                    output = &mut work => return Ok(output),
                    () = self.queue.reached(Stage::Closing) => {}
                }
                *self.draining.insert(Instant::now())
            }
        };
        let timeout = self.queue.config.drain_timeout;
        let Some(deadline) = since.checked_add(timeout) else { return Ok(work.await) };
        tokio::time::timeout_at(deadline, work).await.map_err(|_| {
            let message = format!("nothing was stored for {timeout:?} while closing");
            Fatal(self.queue.timed_out(message))
        })
    }
}
