//! A page of rows, read from where the previous page ended.
//!
//! A backend cannot start in the middle of an answer, but at a record and a time. The matching records
//! come first, by their newest rows. Then one record after the other is read from the time on where
//! the previous page ended. So the first page costs about as much as the thousandth.

use annals::{
    Grammar, Order, Pattern, PersistenceBackend, PersistenceError, Predicate, QueryParams,
};
use futures::StreamExt;
use serde_json::value::RawValue;

use super::cursor::Position;
use super::results::{ValuePage, ValueRow};
use crate::query;

/// The most bytes of rows in one answer, unless a single row takes more.
pub(super) const MAX_PAGE_BYTES: usize = 64 << 10;

/// Which records a question is about.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) pattern: String,
    pub(super) grammar: Grammar,
    /// Whether a server reads the pattern, in its own grammar.
    pub(super) by_server: bool,
}

/// A question that is answered with rows.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) selection: Selection,
    /// Which rows, if not all of them.
    pub(super) filter: Option<Predicate>,
    pub(super) window: (Option<u64>, Option<u64>),
    /// The newest rows of each record; only with the newest first.
    pub(super) latest: Option<u64>,
    pub(super) order: Order,
}

/// Reads the rows after `after`. Also returns where the page ended if there are more.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    question: &Question,
    after: Option<Position>,
    rows: usize,
) -> Result<(ValuePage, Option<Position>), PersistenceError> {
    let first = after.as_ref().map(|after| after.record.clone());
    let mut page = Page { page: ValuePage::default(), bytes: 0, rows, last: after };
    let newest = question.params(Some(1));
    // Each record has a row. But the first may have none after the position, and the last only
    // shows that there are more.
    let filter = question.filter.as_ref();
    let names = question.selection.records(store, newest, filter, first.as_deref(), rows + 2);
    let records = names.await?;
    for record in records {
        if page.fill(store, question, &record).await? {
            return Ok((page.page, page.last));
        }
    }
    Ok((page.page, None))
}

impl Selection {
    /// The names of the matching records from `first` on, at most `most` of them. `newest` asks for
    /// one row of each.
    pub(super) async fn records(
        &self,
        store: &dyn PersistenceBackend,
        newest: QueryParams,
        filter: Option<&Predicate>,
        first: Option<&str>,
        most: usize,
    ) -> Result<Vec<String>, PersistenceError> {
        let exact = if self.by_server {
            !self.pattern.is_empty() && !self.pattern.contains(['*', '#'])
        } else {
            Pattern::new(&self.pattern, self.grammar)?.exact().is_some()
        };
        if exact {
            return Ok(vec![self.pattern.clone()]);
        }
        let newest = newest.with_grammar(self.grammar);
        let mut newest = query::rows(store, &self.pattern, newest, filter).await?;
        let mut records = Vec::new();
        while let Some(row) = newest.next().await.transpose()?
            && records.len() < most
        {
            if first.is_none_or(|first| *row.record >= *first) {
                records.push(row.record.to_string());
            }
        }
        Ok(records)
    }
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

    /// The query for the rest of one record, and how many of its first rows to skip.
    fn rest(&self, done: Option<&Position>, room: usize) -> Option<(QueryParams, u64)> {
        let returned = done.map_or(0, |done| done.of_record);
        let skip = done.map_or(0, |done| done.at_this_time);
        let left = self.latest.map(|latest| latest.saturating_sub(returned));
        if left == Some(0) {
            return None;
        }
        // One row more than fits shows that there are more. A limit selects the newest rows, so it
        // cannot be set when the oldest come first.
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
    /// The last row returned, in this page or the previous one.
    last: Option<Position>,
}

impl Page {
    /// Adds rows of a record. Returns whether there are more than fit.
    async fn fill(
        &mut self,
        store: &dyn PersistenceBackend,
        question: &Question,
        record: &str,
    ) -> Result<bool, PersistenceError> {
        let done = self.last.as_ref().filter(|last| last.record == record).cloned();
        let room = self.rows - self.page.rows.len();
        let Some((params, mut skip)) = question.rest(done.as_ref(), room) else { return Ok(false) };
        let rows = query::rows(store, record, params, question.filter.as_ref()).await?;
        let mut rows = rows.typed::<Box<RawValue>>();
        while let Some(row) = rows.next().await.transpose()? {
            let returned = done.as_ref().is_some_and(|done| done.stored_at == row.stored_at);
            if returned && skip > 0 {
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
