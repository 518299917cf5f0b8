//! Following, as a stream of rows, page after page.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::{StreamExt, stream};

use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::follow::{Cursor, FollowFrom, FollowPage, FollowParams};
use crate::query::RawRow;

type Pages<'a> = Pin<Box<dyn Stream<Item = Result<FollowPage, PersistenceError>> + Send + 'a>>;

/// The rows of a history as they are stored.
///
/// The stream waits for rows and ends only with an error, unless the parameters say not to wait. It
/// holds one page in memory and nothing in the store. To go on after an error or in another process,
/// follow from its [`cursor`](Self::cursor). Dropping a pending `next` loses nothing.
pub struct FollowStream<'a> {
    pages: stream::Fuse<Pages<'a>>,
    page: Option<FollowPage>,
    rows: std::vec::IntoIter<RawRow>,
    /// How many rows of the page were taken, and had been there.
    taken: usize,
    all: usize,
    cursor: Option<Cursor>,
}

impl<'a> FollowStream<'a> {
    /// Follows `backend`: a reference, or an `Arc` for a stream that owns its backend.
    pub fn new<B: PersistenceBackend + 'a>(
        backend: B,
        record_pattern: &str,
        params: FollowParams,
    ) -> Self {
        let cursor = match &params.from {
            FollowFrom::Cursor(cursor) => Some(cursor.clone()),
            _ => None,
        };
        let state = Some((backend, record_pattern.to_owned(), params));
        let pages = stream::try_unfold(state, |state| async move {
            let Some((backend, pattern, mut params)) = state else { return Ok(None) };
            let page = backend.follow_page(&pattern, &params).await?;
            params.from = FollowFrom::Cursor(page.cursor.clone());
            let ends = page.caught_up && !params.wait;
            Ok(Some((page, (!ends).then_some((backend, pattern, params)))))
        });
        let pages: Pages<'a> = Box::pin(pages);
        let rows = Vec::new().into_iter();
        Self { pages: pages.fuse(), page: None, rows, taken: 0, all: 0, cursor }
    }

    /// The place behind the row that was returned last, and behind rows of other records that were
    /// stored since. `None` before there is one: nothing was returned yet, or not all of the newest
    /// rows that [`FollowFrom::Latest`] begins with.
    pub fn cursor(&self) -> Option<Cursor> {
        match &self.page {
            Some(page) if self.taken > 0 => page.cursor_of(self.taken, self.all),
            _ => self.cursor.clone(),
        }
    }

    /// The next rows that are delivered together, without waiting for more; `None` at the end. What
    /// is left of a page that was begun comes first.
    ///
    /// # Errors
    /// As [`follow_page`](PersistenceBackend::follow_page).
    pub async fn next_rows(&mut self) -> Option<Result<Vec<RawRow>, PersistenceError>> {
        while self.rows.len() == 0 {
            match self.pages.next().await? {
                Ok(page) => self.begin(page),
                Err(error) => return Some(Err(error)),
            }
        }
        self.taken = self.all;
        Some(Ok(self.rows.by_ref().collect()))
    }

    fn begin(&mut self, mut page: FollowPage) {
        self.rows = std::mem::take(&mut page.rows).into_iter();
        (self.taken, self.all) = (0, self.rows.len());
        if self.all == 0 {
            self.cursor = Some(page.cursor.clone());
        } else if let Some(before) = self.page.take() {
            self.cursor = Some(before.cursor);
        }
        self.page = Some(page);
    }
}

impl Stream for FollowStream<'_> {
    type Item = Result<RawRow, PersistenceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(row) = self.rows.next() {
                self.taken += 1;
                return Poll::Ready(Some(Ok(row)));
            }
            match ready!(self.pages.poll_next_unpin(cx)) {
                Some(Ok(page)) => self.begin(page),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for FollowStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowStream").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}

/// Following, for every [`PersistenceBackend`].
///
/// ```
/// # use annals_core::{FollowExt, FollowFrom, MemoryBackend, StoreExt};
/// # use futures::StreamExt;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let history = MemoryBackend::new();
/// history.put_at("attic", &21.5, 1_740_081_234_000).await?;
/// let mut rows = history.follow("*", FollowFrom::Latest(1));
/// assert_eq!(&*rows.next().await.unwrap()?.json, "21.5");
///
/// history.put_at("attic", &22.0, 1_740_081_264_000).await?;
/// assert_eq!(&*rows.next().await.unwrap()?.json, "22.0");
/// let cursor = rows.cursor().unwrap();
///
/// history.put_at("attic", &22.5, 1_740_081_294_000).await?;
/// let mut resumed = history.follow("*", FollowFrom::Cursor(cursor));
/// assert_eq!(&*resumed.next().await.unwrap()?.json, "22.5");
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
pub trait FollowExt: PersistenceBackend {
    /// The rows of matching records as they are stored, beginning at `from`: an endless stream. The
    /// pattern is read in the first grammar; [`FollowStream::new`] takes all parameters, and an `Arc`
    /// for a stream that owns its backend.
    fn follow(&self, record_pattern: &str, from: FollowFrom) -> FollowStream<'_> {
        FollowStream::new(self, record_pattern, from.into())
    }
}

impl<B: PersistenceBackend + ?Sized> FollowExt for B {}
