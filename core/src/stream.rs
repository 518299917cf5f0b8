//! Rows on their way out, page by page.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::PersistenceError;
use crate::json::PlainValue;
use crate::page::PageRows;
use crate::query::{RawRow, StoredValue, TypedRow};

/// After so many warnings about rows that were skipped, one query only counts them.
const WARNINGS_PER_QUERY: u64 = 100;

pub(crate) type Pages = Pin<Box<dyn Stream<Item = Result<Vec<PageRows>, PersistenceError>> + Send>>;

/// The rows of one query in their order, fetched page by page while they are read.
///
/// Memory is bounded by a page where the backend's `guarantees().streamed_queries` says so. A
/// reader that stops reading holds a snapshot but stops nobody's writes; dropping the stream frees
/// it. Dropping a pending `next` loses nothing: the next call goes on where it was.
pub struct RowStream {
    pages: stream::Fuse<Pages>,
    page: std::vec::IntoIter<PageRows>,
    /// The rows at hand.
    rows: Option<PageRows>,
}

impl RowStream {
    /// A stream over pages of rows. It ends after the first error.
    pub fn from_pages(
        pages: impl Stream<Item = Result<Vec<RawRow>, PersistenceError>> + Send + 'static,
    ) -> Self {
        Self::from_page_rows(pages.map_ok(|rows| rows.into_iter().map(PageRows::from).collect()))
    }

    /// A stream over pages of rows whose values need not be text. It ends after the first error.
    pub fn from_page_rows(
        pages: impl Stream<Item = Result<Vec<PageRows>, PersistenceError>> + Send + 'static,
    ) -> Self {
        let pages: Pages = Box::pin(pages);
        Self { pages: pages.fuse(), page: Vec::new().into_iter(), rows: None }
    }

    /// A stream over rows that are in memory already.
    pub fn from_rows(rows: Vec<RawRow>) -> Self {
        let page: Vec<PageRows> = rows.into_iter().map(PageRows::from).collect();
        Self { page: page.into_iter(), ..Self::from_pages(stream::empty()) }
    }

    /// The rows as pages: those at hand first.
    pub(crate) fn into_pages(self) -> Pages {
        let Self { pages, page, rows } = self;
        let at_hand: Vec<PageRows> = rows.into_iter().chain(page).collect();
        if at_hand.is_empty() {
            return Box::pin(pages);
        }
        Box::pin(stream::iter([Ok(at_hand)]).chain(pages))
    }

    /// Reads every row as `T`, straight from where it is stored: its text or, if the backend has them,
    /// its columns. The values are those that `serde_json` makes of the text.
    pub fn typed<T: DeserializeOwned>(self) -> TypedStream<T> {
        let read = |rows: &mut PageRows| {
            let (stored_at, value) = rows.read_next()?;
            Some((stored_at, value.map_err(|error| Misfit(error).to_string())))
        };
        TypedStream { rows: self, skipped: 0, read: Box::new(read) }
    }

    /// Reads every row with `read`: for values of an older shape, which it turns into the current
    /// one. A row for which it fails is skipped, as one that does not deserialize is.
    ///
    /// ```
    /// # use annals_core::{MemoryBackend, PersistenceBackend, QueryParams};
    /// # use futures::TryStreamExt;
    /// # use serde_json::json;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// # let history = MemoryBackend::new();
    /// #[derive(serde::Deserialize)]
    /// #[serde(untagged)]
    /// enum Temperature {
    ///     V2 { celsius: f64 },
    ///     V1 { fahrenheit: f64 },
    /// }
    ///
    /// history.store("attic", &json!({"fahrenheit": 212}), 1).await?;
    /// history.store("attic", &json!({"celsius": 21.5}), 2).await?;
    /// let rows = history.query_stream("attic", QueryParams::default()).await?;
    /// let rows = rows.typed_with(|row| match serde_json::from_str(&row.json)? {
    ///     Temperature::V2 { celsius } => Ok::<f64, serde_json::Error>(celsius),
    ///     Temperature::V1 { fahrenheit } => Ok((fahrenheit - 32.0) / 1.8),
    /// });
    /// let celsius: Vec<f64> = rows.map_ok(|row| row.value).try_collect().await?;
    /// assert_eq!(celsius, [21.5, 100.0]);
    /// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
    /// ```
    pub fn typed_with<T, E: fmt::Display>(
        self,
        mut read: impl FnMut(&RawRow) -> Result<T, E> + Send + 'static,
    ) -> TypedStream<T> {
        let read = move |rows: &mut PageRows| {
            let row = rows.next()?;
            Some((row.stored_at, read(&row).map_err(|error| error.to_string())))
        };
        TypedStream { rows: self, skipped: 0, read: Box::new(read) }
    }

    /// Reads everything into memory as JSON values; rows that do not parse are skipped with a
    /// warning.
    ///
    /// # Errors
    /// The first one of the stream.
    pub async fn into_values(self) -> Result<Vec<StoredValue>, PersistenceError> {
        let mut rows = self.typed::<PlainValue>();
        let mut values = Vec::new();
        while let Some(row) = rows.next().await {
            let TypedRow { record, value: PlainValue(value), stored_at } = row?;
            values.push(StoredValue { record_name: record.as_ref().to_owned(), value, stored_at });
        }
        Ok(values)
    }
}

impl RowStream {
    /// Takes something from the rows at hand, or from the next ones if `take` finds none left.
    fn poll_take<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut PageRows) -> Option<R>,
    ) -> Poll<Option<Result<R, PersistenceError>>> {
        loop {
            if let Some(taken) = self.rows.as_mut().and_then(&mut take) {
                return Poll::Ready(Some(Ok(taken)));
            }
            self.rows = self.page.next();
            if self.rows.is_some() {
                continue;
            }
            match ready!(self.pages.poll_next_unpin(cx)) {
                Some(Ok(page)) => self.page = page.into_iter(),
                Some(Err(error)) => {
                    let none: Pages = Box::pin(stream::empty());
                    self.pages = none.fuse();
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Stream for RowStream {
    type Item = Result<RawRow, PersistenceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_take(cx, PageRows::next)
    }
}

impl fmt::Debug for RowStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_hand =
            self.rows.iter().chain(self.page.as_slice()).map(PageRows::len).sum::<usize>();
        f.debug_struct("RowStream").field("rows_at_hand", &at_hand).finish_non_exhaustive()
    }
}

/// A [`RowStream`] whose values are read as `T`. A row that does not fit is skipped with a warning
/// that names its record and time (from the 100th on it is only counted).
pub struct TypedStream<T> {
    rows: RowStream,
    skipped: u64,
    read: Read<T>,
}

/// Takes the next row and reads it.
type Read<T> = Box<dyn FnMut(&mut PageRows) -> Option<(u64, Result<T, String>)> + Send>;

/// Why serde_json does not read a value.
struct Misfit(serde_json::Error);

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.0.classify() {
            Category::Data => "it does not deserialize as the type asked for",
            Category::Io | Category::Syntax | Category::Eof => "it is not valid JSON any more",
        };
        write!(f, "{problem}: {}", self.0)
    }
}

impl<T> TypedStream<T> {
    /// How many rows were skipped so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn pass_over(&mut self, record: &str, stored_at: u64, error: &str) {
        self.skipped += 1;
        if self.skipped > WARNINGS_PER_QUERY {
            return;
        }
        tracing::warn!(record, stored_at, error, "a stored value was skipped");
        if self.skipped == WARNINGS_PER_QUERY {
            tracing::warn!("further skipped values of this query are counted only");
        }
    }
}

impl<T> Stream for TypedStream<T> {
    type Item = Result<TypedRow<T>, PersistenceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let read = &mut this.read;
            let taken = this.rows.poll_take(cx, |rows| {
                let (stored_at, value) = read(rows)?;
                Some((rows.record().clone(), stored_at, value))
            })?;
            match ready!(taken) {
                Some((record, stored_at, Ok(value))) => {
                    return Poll::Ready(Some(Ok(TypedRow { record, value, stored_at })));
                }
                Some((record, stored_at, Err(error))) => this.pass_over(&record, stored_at, &error),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl<T> fmt::Debug for TypedStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TypedStream");
        shown.field("rows", &self.rows).field("skipped", &self.skipped).finish_non_exhaustive()
    }
}
