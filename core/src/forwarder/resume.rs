//! Where forwarding begins or goes on.
//!
//! What the source keeps about its progress is compared with what the destination knows. If the source
//! was restored from a backup meanwhile, the destination may have rows that the source does not know to
//! be there, and the numbers of others were given a second time. How far the destination has the rows of
//! the backup is then found out by asking it. Where that is impossible, nothing is forwarded.

use super::error::ForwardError;
use super::progress::{self, Identity, Progress, Shared, Skipped};
use super::{Begun, Forwarder, Source};
use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::follow::{FollowFrom, FollowParams, Position};
use crate::last_number::last_number_within;
use crate::pattern::Grammar;

/// What the destination has, compared with the progress in the source.
#[derive(PartialEq)]
enum Destination {
    Agrees,
    /// It lacks what it had acknowledged: it is another one.
    Lacks,
    /// It has batches of which the source knows nothing.
    HasMore,
}

impl<S: PersistenceBackend, D: PersistenceBackend> Forwarder<S, D> {
    /// Looks at the source, and finds the progress.
    pub(super) async fn begin(&self) -> Result<Begun, ForwardError> {
        let source = self.retried(|| self.look()).await?;
        let topic = self.grammar == Grammar::Topic;
        let Source { history, origin, .. } = source;
        let Some(found) = self.retried(|| progress::find(&self.source, &self.name)).await? else {
            let new = |history| Identity::new(&self.name, &self.pattern, topic, history);
            let progress = self.first(&source, new).await?;
            return Ok(Begun { source, progress, is_new: true });
        };
        if (found.pattern.as_str(), found.topic) != (&self.pattern, topic) {
            let (name, pattern) = (self.name.clone(), found.pattern);
            return Err(ForwardError::AnotherPattern { name, pattern });
        }
        let (progress, destination) = self.compare(&found).await?;
        if destination == Destination::Lacks {
            return Err(ForwardError::AnotherDestination { name: self.name.clone() });
        }
        let is_own = found.is_of(history, origin);
        if is_own && destination == Destination::Agrees {
            return Ok(Begun { source, progress, is_new: false });
        }
        let next = |from| found.next(&self.name, history, from);
        let goes_on = |shared: Vec<Shared>| async {
            let after = next(progress.done()).with_shared(shared).with_skipped(found.skipped());
            let from = self.received(&after).await?;
            Ok::<_, ForwardError>(after.with_from(from))
        };
        let next = match origin {
            // Another restore of the same backup was forwarded further.
            Some(_) if is_own && progress.bound(progress.intended()).is_some() => {
                goes_on(found.shared()).await?
            }
            Some(origin) if !is_own && found.is_of_origin(origin) => {
                goes_on(found.shared_up_to(origin.arrival)).await?
            }
            None if destination == Destination::Agrees => {
                next(self.last_received(&progress).await?).with_skipped(found.skipped())
            }
            _ => next(0).with_skipped(Some(self.anew(&source)?)),
        };
        tracing::warn!(name = self.name, "the source was put back from a copy");
        let progress = self.add(next).await?;
        Ok(Begun { source, progress, is_new: false })
    }

    /// Begins in a source that was not forwarded under this name, as far as it knows.
    async fn first(
        &self,
        source: &Source,
        new: impl Fn(u64) -> Identity,
    ) -> Result<Progress, ForwardError> {
        let identity = new(source.history);
        match source.origin {
            // After the backup it may have been, or from another restore of it.
            Some(origin) if origin.restores == 1 => {
                let shared = new(origin.history).shared_up_to(origin.arrival);
                let identity = identity.with_shared(shared);
                let from = self.received(&identity).await?;
                let skipped = if from == 0 { self.skipped(source) } else { None };
                return self.add(identity.with_from(from).with_skipped(skipped)).await;
            }
            // Which histories came before is not known.
            Some(_) => return self.add(identity.with_skipped(Some(self.anew(source)?))).await,
            None => {}
        }
        let mut identity = identity;
        loop {
            match self.compare(&identity).await?.1 {
                Destination::HasMore => {
                    let next = identity.next(&self.name, source.history, 0);
                    return self.add(next.with_skipped(Some(self.anew(source)?))).await;
                }
                // The forwarder was forgotten, and this is another destination.
                Destination::Lacks => identity = identity.next(&self.name, source.history, 0),
                Destination::Agrees => {
                    return self.add(identity.with_skipped(self.skipped(source))).await;
                }
            }
        }
    }

    /// What is left out of a source that was put back.
    fn anew(&self, source: &Source) -> Result<Skipped, ForwardError> {
        self.skipped(source).ok_or_else(|| ForwardError::PutBack { name: self.name.clone() })
    }

    async fn look(&self) -> Result<Source, ForwardError> {
        let now = FollowParams::from(FollowFrom::Now).with_wait(false);
        let page = self.source.follow_page("*", &now).await?;
        let (kind, Position { history, arrival, .. }) =
            page.cursor.position().ok_or(ForwardError::Source)?;
        Ok(Source { kind: kind.to_owned(), history, last: arrival, origin: page.origin })
    }

    /// What is left out when forwarding begins anew.
    fn skipped(&self, source: &Source) -> Option<Skipped> {
        self.from_time.map(|before| Skipped { before, up_to: source.last })
    }

    async fn read(&self, identity: &Identity) -> Result<Progress, ForwardError> {
        self.retried(|| Progress::read(&self.source, &self.name, identity)).await
    }

    async fn add(&self, identity: Identity) -> Result<Progress, ForwardError> {
        let counts = self.retried(|| progress::add(&self.source, &self.name, &identity)).await?;
        self.read(&counts).await
    }

    /// Reads the progress, and compares the destination with it.
    async fn compare(&self, found: &Identity) -> Result<(Progress, Destination), ForwardError> {
        let progress = self.read(found).await?;
        if let Some(number) = progress.answered_batch()
            && self.has(&progress, number).await? == Some(false)
        {
            return Ok((progress, Destination::Lacks));
        }
        if self.has(&progress, progress.intended() + 1).await? != Some(true) {
            return Ok((progress, Destination::Agrees));
        }
        // Another process may forward at this moment. It writes down in the source what it sends.
        let now = self.read(found).await?;
        match now.intended() > progress.intended() {
            true => Ok((now, Destination::Agrees)),
            false => Ok((now, Destination::HasMore)),
        }
    }

    /// Whether the destination has a batch, if it can tell.
    async fn has(&self, progress: &Progress, number: u64) -> Result<Option<bool>, ForwardError> {
        let id = progress.id(number);
        let known = self
            .retried(|| async { Ok::<_, ForwardError>(self.destination.has_batch(id).await?) })
            .await;
        match known {
            Err(ForwardError::Store(PersistenceError::Unsupported(_))) => Ok(None),
            known => known.map(Some),
        }
    }

    /// The number up to which the destination has the rows of the backups. Up to the last number of a
    /// backup, numbers mean the same rows in all of its restores.
    async fn received(&self, identity: &Identity) -> Result<u64, ForwardError> {
        let progress = self.read(identity).await?;
        let mut received = progress.done();
        for (writer, up_to) in progress.writers_of_backups() {
            let bounds = (received, (*up_to).max(received));
            received = self
                .retried(|| async {
                    Ok(last_number_within(&self.destination, *writer, bounds).await?)
                })
                .await?;
        }
        Ok(received)
    }

    /// The number of the last batch, which the destination may have or not.
    async fn last_received(&self, progress: &Progress) -> Result<u64, ForwardError> {
        match progress.unanswered() {
            Some(number) if self.has(progress, number).await? == Some(true) => Ok(number),
            _ => Ok(progress.done()),
        }
    }
}
