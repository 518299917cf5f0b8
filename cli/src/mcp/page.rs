//! A page of an answer, read from where the page before ended.
//!
//! A backend has no way to begin in the middle of an answer. But it can begin at a record and at a
//! time: the records that are meant come first, by their newest rows, and then one record after
//! the other is asked from the time on where the page before ended. So a page costs about the same
//! whether it is the first or the thousandth.

use annals::{
    Grammar, Order, Pattern, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
};
use futures_util::StreamExt;
use serde_json::value::RawValue;

use super::cursor::Position;
use super::results::{ValuePage, ValueRow};

/// The most bytes of rows in one answer, unless a single row takes more.
pub(super) const MAX_PAGE_BYTES: usize = 64 << 10;

/// A question that is answered with rows.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) pattern: String,
    pub(super) grammar: Grammar,
    pub(super) window: (Option<u64>, Option<u64>),
    /// The newest so many of each record; only with the newest first.
    pub(super) latest: Option<u64>,
    pub(super) order: Order,
    /// Whether a server reads the pattern, in a grammar of its own.
    pub(super) by_server: bool,
}

/// Reads the rows after `after`, and says where the page ended if there are more.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    question: &Question,
    after: Option<Position>,
    rows: usize,
) -> Result<(ValuePage, Option<Position>), PersistenceError> {
    let mut page = Page { page: ValuePage::default(), bytes: 0, rows, last: after };
    for record in records(store, question, page.last.as_ref(), rows).await? {
        if page.fill(store, question, &record).await? {
            return Ok((page.page, page.last));
        }
    }
    Ok((page.page, None))
}

/// The records from the position on, as many as a page can need: each has a row, but the first may
/// have none left after the position, and the last only tells that there are more.
async fn records(
    store: &dyn PersistenceBackend,
    question: &Question,
    after: Option<&Position>,
    rows: usize,
) -> Result<Vec<String>, PersistenceError> {
    let Question { pattern, grammar, .. } = question;
    let exact = if question.by_server {
        !pattern.is_empty() && !pattern.contains(['*', '#'])
    } else {
        Pattern::new(pattern, *grammar)?.exact().is_some()
    };
    if exact {
        return Ok(vec![pattern.clone()]);
    }
    let params = question.params(Some(1)).with_grammar(*grammar);
    let mut heads = store.query_stream(pattern, params).await?;
    let mut records = Vec::new();
    while let Some(head) = heads.next().await.transpose()?
        && records.len() < rows + 2
    {
        if after.is_none_or(|after| *head.record >= *after.record) {
            records.push(head.record.to_string());
        }
    }
    Ok(records)
}

impl Question {
    fn params(&self, limit: Option<u64>) -> QueryParams {
        let (start_time, end_time) = self.window;
        let limit_per_record = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        // Names are literal in this grammar.
        QueryParams::default()
            .with_limit_per_record(limit_per_record)
            .with_start_time(start_time)
            .with_end_time(end_time)
            .with_order(self.order)
            .with_grammar(Grammar::Glob)
    }

    /// What is left of one record, and how many of its first rows were given already.
    fn rest(&self, done: Option<&Position>, room: usize) -> Option<(QueryParams, u64)> {
        let given = done.map_or(0, |done| done.of_record);
        let skip = done.map_or(0, |done| done.at_this_time);
        let left = self.latest.map(|latest| latest.saturating_sub(given));
        if left == Some(0) {
            return None;
        }
        // One more than there is room for tells that there are more. A limit means the newest
        // rows: it cannot be set where the oldest come first.
        let wanted = left.unwrap_or(u64::MAX).min(room as u64 + 1).saturating_add(skip);
        let mut params = self.params((self.order == Order::NewestFirst).then_some(wanted));
        if let Some(done) = done {
            match self.order {
                Order::NewestFirst => params.end_time = Some(done.stored_at),
                Order::OldestFirst => params.start_time = Some(done.stored_at),
            }
        }
        Some((params, skip))
    }
}

struct Page {
    page: ValuePage,
    bytes: usize,
    rows: usize,
    /// The last row given, in this page or the one before.
    last: Option<Position>,
}

impl Page {
    /// Adds rows of a record, and says whether there was one too many.
    async fn fill(
        &mut self,
        store: &dyn PersistenceBackend,
        question: &Question,
        record: &str,
    ) -> Result<bool, PersistenceError> {
        let done = self.last.as_ref().filter(|last| last.record == record).cloned();
        let room = self.rows - self.page.rows.len();
        let Some((params, mut skip)) = question.rest(done.as_ref(), room) else { return Ok(false) };
        let mut rows = store.stream_typed::<Box<RawValue>>(record, params).await?;
        while let Some(row) = rows.next().await.transpose()? {
            let given = done.as_ref().is_some_and(|done| done.stored_at == row.stored_at);
            if given && skip > 0 {
                skip -= 1;
                continue;
            }
            let (row, bytes) = ValueRow::new(&row.record, &row.value, row.stored_at);
            let full = self.page.rows.len() == self.rows || self.bytes + bytes > MAX_PAGE_BYTES;
            // A page has at least one row, or it would never end.
            if full && !self.page.rows.is_empty() {
                self.page.unreadable += rows.skipped();
                return Ok(true);
            }
            self.bytes += bytes;
            self.note(question, &row);
            self.page.rows.push(row);
        }
        self.page.unreadable += rows.skipped();
        Ok(false)
    }

    fn note(&mut self, question: &Question, row: &ValueRow) {
        let before = self.last.take().filter(|last| last.record == row.record);
        let same_time = before.as_ref().filter(|before| before.stored_at == row.stored_at);
        self.last = Some(Position {
            record: row.record.clone(),
            stored_at: row.stored_at,
            at_this_time: same_time.map_or(0, |before| before.at_this_time) + 1,
            of_record: before.map_or(0, |before| before.of_record) + 1,
            window: question.window,
        });
    }
}
