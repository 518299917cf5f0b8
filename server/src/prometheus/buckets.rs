//! The buckets of the selected records, one record after the other.
//!
//! Where most of the records that a pattern matches are selected, one aggregate answers for all of
//! them; otherwise each is asked for by its name.

use std::pin::Pin;
use std::sync::Arc;

use annals_core::{
    Aggregate, Bucket, BucketStream, PersistenceBackend, PersistenceError, QueryExt,
};
use futures::stream::{self, Stream, StreamExt};

/// How many records are asked for at once, by their names.
const CONCURRENT: usize = 4;
/// How many aggregates over all records are read side by side.
const MAX_STREAMS: usize = 2;

type Answers = Result<(Arc<str>, Vec<Vec<Bucket>>), PersistenceError>;

/// Yields, for each of `records` in their order, the buckets of all `asked` aggregates.
pub(super) struct Buckets(Source);

enum Source {
    ByName(Pin<Box<dyn Stream<Item = Answers> + Send>>),
    ByPattern { streams: Vec<Paged>, records: std::vec::IntoIter<Arc<str>> },
}

impl Buckets {
    /// Asks. `pattern` matches `seen` records, `records` among them, which are in byte order.
    pub(super) async fn ask(
        history: &Arc<dyn PersistenceBackend>,
        pattern: &str,
        seen: usize,
        records: Vec<Arc<str>>,
        asked: Vec<Aggregate>,
    ) -> Result<Self, PersistenceError> {
        if records.len() > 1 && records.len() * 2 >= seen && asked.len() <= MAX_STREAMS {
            let mut streams = Vec::with_capacity(asked.len());
            for aggregate in &asked {
                let buckets = history.aggregate_stream(pattern, aggregate).await?;
                streams.push(Paged { buckets, page: Vec::new().into_iter() });
            }
            return Ok(Self(Source::ByPattern { streams, records: records.into_iter() }));
        }
        let (history, asked) = (history.clone(), Arc::new(asked));
        let answers = stream::iter(records).map(move |record| {
            let (history, asked) = (history.clone(), asked.clone());
            async move {
                let mut answers = Vec::with_capacity(asked.len());
                for aggregate in asked.iter() {
                    answers.push(history.aggregate(&record, aggregate).await?);
                }
                Ok((record, answers))
            }
        });
        Ok(Self(Source::ByName(Box::pin(answers.buffered(CONCURRENT)))))
    }

    /// The next record and its buckets.
    pub(super) async fn next(&mut self) -> Option<Answers> {
        let (streams, records) = match &mut self.0 {
            Source::ByName(answers) => return answers.next().await,
            Source::ByPattern { streams, records } => (streams, records),
        };
        let record = records.next()?;
        let mut answers = Vec::with_capacity(streams.len());
        for stream in streams {
            match stream.take(&record).await {
                Ok(buckets) => answers.push(buckets),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok((record, answers)))
    }
}

/// Buckets that come in pages.
struct Paged {
    buckets: BucketStream,
    page: std::vec::IntoIter<Bucket>,
}

impl Paged {
    /// The buckets of one record; those of records before it are passed over.
    async fn take(&mut self, record: &str) -> Result<Vec<Bucket>, PersistenceError> {
        let mut taken = Vec::new();
        loop {
            let ahead = self.page.as_slice();
            let before = ahead.partition_point(|bucket| *bucket.record < *record);
            let due = ahead.partition_point(|bucket| *bucket.record <= *record);
            if before == 0 && due == ahead.len() && taken.is_empty() {
                // A large record has pages of its own, which need not be copied.
                taken = std::mem::take(&mut self.page).collect();
            } else {
                self.page.by_ref().take(before).for_each(drop);
                taken.extend(self.page.by_ref().take(due - before));
            }
            if self.page.len() > 0 {
                return Ok(taken);
            }
            match self.buckets.next_page().await {
                Some(page) => self.page = page?.into_iter(),
                None => return Ok(taken),
            }
        }
    }
}
