//! What is still to be forwarded, for retention to wait for it.

use std::collections::HashMap;

use super::cut::skip;
use super::error::ForwardError;
use super::progress::{self, Progress, RECORDS, forward_record};
use crate::backend::PersistenceBackend;
use crate::cleanup::CleanupPlan;
use crate::erasure::Erasure;
use crate::error::{BackendError, ErrorKind, PersistenceError};
use crate::follow::{Cursor, FollowFrom, FollowParams, Position};
use crate::pattern::{Grammar, Pattern};

/// What a forwarder has still to send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unforwarded {
    /// The name of the forwarder.
    pub name: String,
    /// The records that it forwards.
    pub pattern: Pattern,
    /// The smallest `stored_at` of a row that it has still to send, in Unix milliseconds.
    pub oldest: u64,
}

/// What the forwarders of a store have still to send, one item for each that is behind.
///
/// It reads all of these rows, as the forwarders will.
///
/// # Errors
/// What the engine reports; [`ErrorKind::Corrupt`] if what the store keeps about a forwarder cannot be
/// read: then nobody knows what is still to be sent.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn unforwarded<S: PersistenceBackend>(
    source: &S,
) -> Result<Vec<Unforwarded>, PersistenceError> {
    Backlog::default().read(source).await
}

/// Makes a store forget a forwarder: retention does not wait for it any more. Returns whether there was
/// one.
///
/// Forwarding again under this name goes on where it was, in a destination that has what was forwarded,
/// and begins anew in any other. What retention has removed meanwhile is not forwarded.
///
/// # Errors
/// [`InvalidRecordName`](PersistenceError::InvalidRecordName), or as
/// [`erase`](PersistenceBackend::erase).
///
/// # Cancel safety
/// As [`erase`](PersistenceBackend::erase).
pub async fn forget_forwarder<S: PersistenceBackend + ?Sized>(
    source: &S,
    name: &str,
) -> Result<bool, PersistenceError> {
    let record = crate::RecordName::new(forward_record(name))?;
    // A name is a pattern that matches itself.
    let erasure = Erasure::new(Pattern::new(record.as_str(), Grammar::Glob)?);
    Ok(source.erase(&erasure).await? > 0)
}

impl CleanupPlan {
    /// Makes the plan wait for forwarders, but for rows before `limit` (Unix milliseconds).
    #[must_use]
    pub fn with_unforwarded(self, unforwarded: &[Unforwarded], limit: u64) -> Self {
        unforwarded.iter().fold(self, |plan, Unforwarded { pattern, oldest, .. }| {
            plan.with_hold(pattern.clone(), (*oldest).max(limit))
        })
    }
}

/// What is known of the rows that are still to be forwarded. While a forwarder makes no progress, only
/// what has arrived since is read.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// By name.
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    /// The history and the number from which on rows were read.
    from: Position,
    /// Up to where.
    cursor: Cursor,
    oldest: Option<u64>,
}

impl Backlog {
    /// Reads what has arrived.
    pub(crate) async fn read<S: PersistenceBackend>(
        &mut self,
        source: &S,
    ) -> Result<Vec<Unforwarded>, PersistenceError> {
        // Without the claim nothing can be forwarded from there.
        if !source.guarantees().complete_follow {
            return Ok(Vec::new());
        }
        let records = source.records(&format!("{RECORDS}*"), Grammar::Glob).await?;
        let names: Vec<&str> =
            records.iter().filter_map(|record| record.record.strip_prefix(RECORDS)).collect();
        self.known.retain(|name, _| names.contains(&name.as_str()));
        let mut behind = Vec::new();
        for name in names {
            behind.extend(self.of(source, name).await.map_err(unreadable)?);
        }
        Ok(behind)
    }

    async fn of<S: PersistenceBackend>(
        &mut self,
        source: &S,
        name: &str,
    ) -> Result<Option<Unforwarded>, ForwardError> {
        let Some(identity) = progress::find(source, name).await? else { return Ok(None) };
        let grammar = if identity.topic { Grammar::Topic } else { Grammar::Glob };
        let pattern = Pattern::new(&identity.pattern, grammar)?;
        let progress = Progress::read(source, name, &identity).await?;
        let now = FollowParams::from(FollowFrom::Now).with_wait(false);
        let now = source.follow_page("*", &now).await?;
        let (kind, Position { history, .. }) = now.cursor.position().ok_or(ForwardError::Source)?;
        // After a restore numbers up to the last one of the backup mean the same rows.
        let from = Position { history, arrival: progress.done(), ..Position::default() };
        let known = self.known.remove(name).filter(|known| known.from == from);
        let (mut cursor, mut oldest) = match known {
            Some(known) => (known.cursor, known.oldest),
            None => (from.cursor(kind)?, None),
        };
        loop {
            let params = FollowParams::from(cursor).with_grammar(grammar).with_wait(false);
            let mut page = source.follow_page(&identity.pattern, &params).await?;
            skip(&mut page, identity.skipped());
            let rows = page.rows.iter().filter(|row| !row.record.starts_with(RECORDS));
            oldest = rows.map(|row| row.stored_at).chain(oldest).min();
            cursor = page.cursor;
            if page.caught_up {
                break;
            }
        }
        self.known.insert(name.to_owned(), Known { from, cursor, oldest });
        Ok(oldest.map(|oldest| Unforwarded { name: name.to_owned(), pattern, oldest }))
    }
}

/// Without knowing what is still to be forwarded, nothing may be removed.
fn unreadable(error: ForwardError) -> PersistenceError {
    match error {
        ForwardError::Store(error) => error,
        error => {
            let message = format!(
                "nothing is removed, because it is unknown what is still to be forwarded: {error}; \
                 erase that record if nothing is forwarded under this name any more"
            );
            BackendError::new("retention", "cleanup", ErrorKind::Corrupt, message).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::forwarder::Forwarder;
    use crate::memory::MemoryBackend;
    use crate::retention::{Retention, RetentionPolicy};
    use crate::store_ext::StoreExt;

    async fn count(store: &MemoryBackend, record: &str) -> u64 {
        let records = store.records(record, Grammar::Glob).await.unwrap();
        records.iter().map(|record| record.count).sum()
    }

    /// While nothing is forwarded, what was read once is not read again, and what arrives counts.
    #[tokio::test]
    async fn what_arrives_later_is_added() {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        edge.put_at("a", &1, 50).await.unwrap();
        Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.read(&edge).await.unwrap(), []);
        for (at, oldest) in [(40, 40), (60, 40), (30, 30)] {
            edge.put_at("a", &1, at).await.unwrap();
            let behind = backlog.read(&edge).await.unwrap();
            assert_eq!(behind.iter().map(|one| one.oldest).collect::<Vec<_>>(), [oldest]);
            assert_eq!(backlog.known["default"].oldest, Some(oldest));
        }
        Forwarder::new(edge.clone(), cloud.clone()).run_once().await.unwrap();
        assert_eq!(backlog.read(&edge).await.unwrap(), []);
        edge.put_at("a", &1, 70).await.unwrap();
        assert_eq!(backlog.read(&edge).await.unwrap()[0].oldest, 70);
    }

    /// Rows that a forwarder leaves out are not waited for.
    #[tokio::test]
    async fn rows_before_the_begin_are_not_to_be_forwarded() {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        edge.put_at("a", &1, 10).await.unwrap();
        edge.put_at("a", &1, 90).await.unwrap();
        let forwarder = Forwarder::new(edge.clone(), cloud.clone()).with_from_time(80);
        forwarder.begin().await.unwrap();
        assert_eq!(unforwarded(&edge).await.unwrap()[0].oldest, 90);
    }

    /// Nobody knows what is still to be sent, so nothing goes, and the sweep says why.
    #[tokio::test]
    async fn what_cannot_be_read_stops_the_sweep() {
        let edge = MemoryBackend::new();
        edge.put_at("a", &1, 10).await.unwrap();
        edge.put_at(&forward_record("x"), &"?", 253_402_300_799_999).await.unwrap();
        let policy = RetentionPolicy::new().keep_all(Duration::from_millis(1));
        let retention = Retention::new(Arc::new(edge.clone()), policy).unwrap();
        let retention = retention.with_clock(Arc::new(ManualClock::new(1_000)));
        let error = retention.sweep_now().await.unwrap_err();
        assert!(error.to_string().contains("annals.forward.x"), "{error}");
        assert_eq!((count(&edge, "a").await, retention.stats().failures), (1, 1));
        assert!(forget_forwarder(&edge, "x").await.unwrap());
        assert_eq!(retention.sweep_now().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn after_it_was_forgotten_a_forwarder_goes_on_or_begins_anew_elsewhere() {
        let (edge, cloud, other) =
            (MemoryBackend::new(), MemoryBackend::new(), MemoryBackend::new());
        let to = |cloud: &MemoryBackend| Forwarder::new(edge.clone(), cloud.clone());
        edge.put_at("a", &1, 10).await.unwrap();
        to(&cloud).run_once().await.unwrap();
        for (destination, rows) in [(&cloud, 1), (&other, 3), (&other, 1)] {
            assert!(forget_forwarder(&edge, "default").await.unwrap());
            edge.put_at("a", &2, 20).await.unwrap();
            assert_eq!(to(destination).run_once().await.unwrap().rows, rows);
        }
        assert_eq!((count(&cloud, "a").await, count(&other, "a").await), (2, 4));
        assert!(!forget_forwarder(&edge, "another").await.unwrap());
        assert!(forget_forwarder(&edge, "a*").await.is_err());
    }

    /// Transactions stay whole, and each batch but those of one transaction keeps to its size.
    #[tokio::test]
    async fn batches_keep_to_their_size() {
        let (edge, cloud) = (MemoryBackend::new(), MemoryBackend::new());
        for at in 0..10 {
            edge.put_at("a", &"x".repeat(100), at).await.unwrap();
        }
        edge.put_at("a", &"x".repeat(1_000), 10).await.unwrap();
        edge.put_at("a", &1, 11).await.unwrap();
        let forwarder = Forwarder::new(edge.clone(), cloud.clone()).with_batch_bytes(320);
        // Three rows of 103 bytes each; then the one that is too large by itself.
        let stats = forwarder.run_once().await.unwrap();
        assert_eq!((stats.rows, stats.batches), (12, 6));
        assert_eq!(count(&cloud, "a").await, 12);
    }
}
