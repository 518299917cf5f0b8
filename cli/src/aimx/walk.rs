//! Reads the history of one record in pages, which the protocol does not have.
//!
//! AimX gives the newest rows of a window. A walk requests a page, returns all of it but the rows of
//! its oldest millisecond, of which there may be more, and ends the next window there. So each page
//! has whole milliseconds: no row comes twice or is missed, whatever is stored meanwhile.

use std::sync::Arc;

use annals::RawRow;

use super::client::{Client, SMALLEST_PAGE};
use super::fault::Fault;

/// The rest of one record, newest first.
pub(crate) struct Walk {
    record: Arc<str>,
    start: u64,
    end: u64,
    left: Option<u64>,
}

/// A page that was read once and will be read again.
pub(crate) struct Span {
    record: Arc<str>,
    rows: u64,
    oldest: u64,
    newest: u64,
}

impl Walk {
    pub(crate) fn new(record: Arc<str>, start: u64, end: u64, limit: Option<u64>) -> Self {
        Self { record, start, end, left: limit }
    }

    /// The next page, newest first. An empty page is the end.
    pub(crate) async fn next(&mut self, client: &Client) -> Result<Vec<RawRow>, Fault> {
        let mut enlarged = None;
        while self.left != Some(0) {
            let wanted = enlarged.unwrap_or(client.page());
            let limit = self.left.map_or(wanted, |left| left.min(wanted));
            let answer = client.window(&self.record, limit, self.start, self.end).await;
            let mut rows = match answer {
                Err(fault) if fault.asks_for_less(client.address()) => {
                    if enlarged.is_some() || limit <= SMALLEST_PAGE {
                        return Err(match fault {
                            Fault::TooLarge => Fault::PageTooLarge,
                            fault => fault,
                        });
                    }
                    client.halve_page(limit);
                    continue;
                }
                answer => answer?,
            };
            let is_last = (rows.len() as u64) < limit || self.left == Some(limit);
            let Some(oldest) = rows.last().map(|row| row.stored_at).filter(|_| !is_last) else {
                self.left = Some(0);
                return Ok(rows);
            };
            let whole = rows.partition_point(|row| row.stored_at > oldest);
            if whole == 0 {
                enlarged = Some(limit.saturating_mul(2));
                continue;
            }
            rows.truncate(whole);
            self.left = self.left.map(|left| left - whole as u64);
            self.end = oldest;
            return Ok(rows);
        }
        Ok(Vec::new())
    }

    /// Reads to the end and returns the oldest page, oldest first, and the spans of the others: the
    /// protocol cannot start with the oldest rows, and a history may not fit in memory.
    pub(crate) async fn find_oldest(
        mut self,
        client: &Client,
    ) -> Result<(Vec<RawRow>, Vec<Span>), Fault> {
        let mut spans = Vec::new();
        let mut oldest = Vec::new();
        loop {
            let page = self.next(client).await?;
            if page.is_empty() {
                break;
            }
            spans.extend(Span::of(&oldest));
            oldest = page;
        }
        oldest.reverse();
        Ok((oldest, spans))
    }
}

impl Span {
    fn of(page: &[RawRow]) -> Option<Self> {
        let (newest, oldest) = (page.first()?, page.last()?);
        Some(Self {
            record: newest.record.clone(),
            rows: page.len() as u64,
            oldest: oldest.stored_at,
            newest: newest.stored_at,
        })
    }

    /// The rows of the page, oldest first; fewer if some were deleted meanwhile.
    pub(crate) async fn read(&self, client: &Client) -> Result<Vec<RawRow>, Fault> {
        let mut rows = client.window(&self.record, self.rows, self.oldest, self.newest).await?;
        rows.reverse();
        Ok(rows)
    }
}
