//! The buckets of the selected records, one record after the other.
//!
//! Where most of the records that a pattern matches are selected, one aggregate answers for all of
//! them; otherwise each is asked for by its name.

use std::cmp::Ordering;
use std::sync::Arc;

use annals_core::aggregate::BucketColumns;
use annals_core::{Aggregate, BucketStream, PersistenceBackend, PersistenceError};
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many records are asked for at once, by their names.
const CONCURRENT: usize = 4;
/// How many aggregates over all records are read side by side.
const MAX_STREAMS: usize = 2;
/// How many records are read while the one before is written.
const AHEAD: usize = 4;

/// A record and the answers of all aggregates; `None` for those without buckets.
type Answers = Result<(Arc<str>, Vec<Option<BucketColumns>>), PersistenceError>;

/// Yields, for each of some records in their order, the buckets of several aggregates.
pub(super) struct Buckets {
    answers: mpsc::Receiver<Answers>,
    /// Reads, and ends when this is dropped.
    reading: JoinSet<()>,
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
        let (sender, answers) = mpsc::channel(AHEAD);
        let mut reading = JoinSet::new();
        if records.len() > 1 && records.len() * 2 >= seen && asked.len() <= MAX_STREAMS {
            let mut streams = Vec::with_capacity(asked.len());
            for aggregate in &asked {
                let buckets = history.aggregate_stream(pattern, aggregate).await?;
                streams.push(ByRecord { buckets, next: None });
            }
            reading.spawn(pass_on(by_pattern(streams, records), sender));
        } else {
            reading.spawn(pass_on(by_name(history.clone(), asked, records), sender));
        }
        Ok(Self { answers, reading })
    }

    /// The next record and its buckets.
    pub(super) async fn next(&mut self) -> Option<Answers> {
        if let Some(next) = self.answers.recv().await {
            return Some(next);
        }
        match self.reading.join_next().await {
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime shuts down.
            Some(Err(_)) => Some(Err(PersistenceError::BackendShutdown)),
            Some(Ok(())) | None => None,
        }
    }
}

/// Reads until the end, the first error, or nobody takes more.
async fn pass_on(answers: impl Stream<Item = Answers>, to: mpsc::Sender<Answers>) {
    let mut answers = std::pin::pin!(answers);
    while let Some(next) = answers.next().await {
        let is_last = next.is_err();
        if to.send(next).await.is_err() || is_last {
            return;
        }
    }
}

fn by_name(
    history: Arc<dyn PersistenceBackend>,
    asked: Vec<Aggregate>,
    records: Vec<Arc<str>>,
) -> impl Stream<Item = Answers> {
    let asked = Arc::new(asked);
    let answers = stream::iter(records).map(move |record| {
        let (history, asked) = (history.clone(), asked.clone());
        async move {
            let mut answers = Vec::with_capacity(asked.len());
            for aggregate in asked.iter() {
                let buckets = history.aggregate_stream(&record, aggregate).await?;
                answers.push(ByRecord { buckets, next: None }.take(&record).await?);
            }
            Ok((record, answers))
        }
    });
    answers.buffered(CONCURRENT)
}

fn by_pattern(streams: Vec<ByRecord>, records: Vec<Arc<str>>) -> impl Stream<Item = Answers> {
    stream::unfold((streams, records.into_iter()), |(mut streams, mut records)| async {
        let record = records.next()?;
        let mut answers = Vec::with_capacity(streams.len());
        for stream in &mut streams {
            match stream.take(&record).await {
                Ok(buckets) => answers.push(buckets),
                Err(error) => return Some((Err(error), (streams, records))),
            }
        }
        Some((Ok((record, answers)), (streams, records)))
    })
}

/// Buckets that come record by record.
struct ByRecord {
    buckets: BucketStream,
    /// The record that was met behind the one that was asked for.
    next: Option<BucketColumns>,
}

impl ByRecord {
    /// The buckets of one record; those of records before it are passed over.
    async fn take(&mut self, record: &str) -> Result<Option<BucketColumns>, PersistenceError> {
        let mut taken: Option<BucketColumns> = None;
        loop {
            let next = match self.next.take() {
                Some(next) => next,
                None => match self.buckets.next_columns().await.transpose()? {
                    Some(next) => next,
                    None => return Ok(taken),
                },
            };
            match (**next.record()).cmp(record) {
                Ordering::Less => {}
                Ordering::Equal => match &mut taken {
                    Some(taken) => taken.append(next),
                    None => taken = Some(next),
                },
                Ordering::Greater => {
                    self.next = Some(next);
                    return Ok(taken);
                }
            }
        }
    }
}
