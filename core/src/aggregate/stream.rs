//! Buckets on their way out, and the fold that makes them of any backend's rows.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::{self, StreamExt};

use super::bucket::Bucket;
use super::columns::{BucketColumns, BucketPage};
use super::plan::Plan;
use super::series::Series;
use super::spec::Aggregate;
use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::stream::RowStream;

/// The number of rows after which the fold yields to other tasks.
const ROWS_PER_TURN: usize = 1_024;

/// Buckets in the order of the answer, those of one record or of several at once.
type Pages = Pin<Box<dyn Stream<Item = Result<BucketPage, PersistenceError>> + Send>>;

/// The buckets of one answer in their order: by record, byte by byte, then by start. It ends after
/// the first error.
///
/// Dropping it frees what it holds; dropping a pending `next` loses nothing.
pub struct BucketStream {
    pages: Pages,
    /// The page at hand, in one of its forms.
    page: std::vec::IntoIter<Bucket>,
    columns: std::vec::IntoIter<BucketColumns>,
    failed: bool,
}

impl BucketStream {
    /// A stream over the buckets of one record after the other.
    pub fn new<P: Into<BucketPage>>(
        records: impl Stream<Item = Result<P, PersistenceError>> + Send + 'static,
    ) -> Self {
        let pages = records.map(|page| page.map(Into::into));
        let (page, columns) = (Vec::new().into_iter(), Vec::new().into_iter());
        Self { pages: Box::pin(pages), page, columns, failed: false }
    }

    /// The next buckets, as many as are at hand; `None` at the end. Never an empty page.
    ///
    /// # Errors
    /// Those of the backend; the stream ends after the first one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_page(&mut self) -> Option<Result<Vec<Bucket>, PersistenceError>> {
        let filled = std::future::poll_fn(|cx| self.poll_fill(cx)).await?;
        Some(filled.map(|()| std::mem::take(&mut self.page).collect()))
    }

    /// The next buckets of one record, as many as are at hand, in columns; `None` at the end. Never empty.
    ///
    /// # Errors
    /// As [`next_page`](Self::next_page).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_columns(&mut self) -> Option<Result<BucketColumns, PersistenceError>> {
        loop {
            let ahead = self.page.as_slice();
            let due = ahead.iter().take_while(|bucket| bucket.record == ahead[0].record).count();
            let buckets = self.page.by_ref().take(due).collect();
            let columns = BucketColumns::from_buckets(buckets).or_else(|| self.columns.next());
            if let Some(columns) = columns {
                return Some(Ok(columns));
            }
            if let Err(error) = std::future::poll_fn(|cx| self.poll_page(cx)).await? {
                return Some(Err(error));
            }
        }
    }

    /// Sees to it that there are buckets at hand, one by one.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), PersistenceError>>> {
        while self.page.len() == 0 {
            if let Some(columns) = self.columns.next() {
                self.page = columns.into_buckets().into_iter();
            } else if let Some(Err(error)) = ready!(self.poll_page(cx)) {
                return Poll::Ready(Some(Err(error)));
            } else if self.page.len() == 0 && self.columns.len() == 0 {
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(Ok(())))
    }

    /// Takes the next page that is not empty, when nothing is at hand.
    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), PersistenceError>>> {
        while !self.failed {
            match ready!(self.pages.poll_next_unpin(cx)) {
                Some(Ok(page)) if page.is_empty() => continue,
                Some(Ok(BucketPage::Buckets(buckets))) => self.page = buckets.into_iter(),
                Some(Ok(BucketPage::Columns(records))) => self.columns = records.into_iter(),
                Some(Err(error)) => {
                    self.failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => break,
            }
            return Poll::Ready(Some(Ok(())));
        }
        Poll::Ready(None)
    }

    /// The pages, for those who pass them on.
    pub(crate) fn into_pages(
        self,
    ) -> impl Stream<Item = Result<BucketPage, PersistenceError>> + Send {
        let Self { pages, page, columns, .. } = self;
        let at_hand = [BucketPage::Buckets(page.collect()), BucketPage::Columns(columns.collect())];
        stream::iter(at_hand.map(Ok)).chain(pages)
    }

    /// A stream over buckets that are in memory already.
    pub fn from_buckets(buckets: Vec<Bucket>) -> Self {
        Self { page: buckets.into_iter(), ..Self::new(stream::empty::<Result<BucketPage, _>>()) }
    }

    /// Folds rows into buckets: those that [`Plan::rows`] asks for, by record and oldest first.
    ///
    /// Memory is one record's buckets, or all buckets where records are merged, beside what the
    /// rows' stream holds.
    pub fn fold(plan: Arc<Plan>, rows: RowStream) -> Self {
        let all = plan.merges().then(|| Series::merged(plan.clone()));
        let fold = Fold { plan, rows, current: None, all, ended: false };
        Self::new(stream::try_unfold(fold, |mut fold| async move {
            Ok(fold.next_record().await?.map(|buckets| (buckets, fold)))
        }))
    }
}

impl Stream for BucketStream {
    type Item = Result<Bucket, PersistenceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.poll_fill(cx)) {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            _ => Poll::Ready(self.page.next().map(Ok)),
        }
    }
}

impl fmt::Debug for BucketStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStream").finish_non_exhaustive()
    }
}

/// What [`aggregate_stream`](PersistenceBackend::aggregate_stream) does by default: folds the rows
/// of [`query_stream`](PersistenceBackend::query_stream), or of
/// [`query_where`](PersistenceBackend::query_where) if the aggregate has a predicate.
///
/// # Errors
/// As [`aggregate_stream`](PersistenceBackend::aggregate_stream).
pub async fn by_rows<B: PersistenceBackend + ?Sized>(
    backend: &B,
    record_pattern: &str,
    aggregate: &Aggregate,
) -> Result<BucketStream, PersistenceError> {
    let plan = Arc::new(Plan::new(record_pattern, aggregate)?);
    if plan.is_empty() {
        return Ok(BucketStream::from_buckets(Vec::new()));
    }
    let rows = match plan.predicate() {
        Some(predicate) => backend.query_where(record_pattern, plan.rows(), predicate).await?,
        None => backend.query_stream(record_pattern, plan.rows()).await?,
    };
    Ok(BucketStream::fold(plan, rows))
}

struct Fold {
    plan: Arc<Plan>,
    rows: RowStream,
    current: Option<Series>,
    /// All records, where they are merged.
    all: Option<Series>,
    ended: bool,
}

impl Fold {
    async fn next_record(&mut self) -> Result<Option<BucketPage>, PersistenceError> {
        let mut rows = 0;
        while let Some(row) = self.rows.next().await.transpose()? {
            let is_next = self.current.as_ref().is_none_or(|series| *series.record != *row.record);
            let ready = match is_next {
                true => self.current.replace(Series::new(self.plan.clone(), row.record.clone())),
                false => None,
            };
            if let Some(series) = &mut self.current {
                series.row(row.stored_at, &row.json)?;
            }
            if let Some(buckets) = ready.map(|series| self.finish(series)).transpose()?.flatten() {
                return Ok(Some(buckets));
            }
            rows += 1;
            if rows % ROWS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        let last = match self.current.take() {
            Some(series) => self.finish(series)?,
            None => None,
        };
        match self.all.take() {
            Some(all) => all.finish_page().map(Some),
            None => Ok(Some(last.unwrap_or_default())),
        }
    }

    /// The buckets of a record that is complete, unless records are merged.
    fn finish(&mut self, series: Series) -> Result<Option<BucketPage>, PersistenceError> {
        match &mut self.all {
            Some(all) => all.merge(series).map(|()| None),
            None => series.finish_page().map(Some),
        }
    }
}
