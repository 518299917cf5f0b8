//! A page of buckets, read from where the previous page ended.
//!
//! A page reads the records from the last one on, and all buckets of that one again: some functions
//! depend on the rows before a bucket.

use annals::aggregate::Plan;
use annals::{Aggregate, Grammar, Order, PersistenceBackend, PersistenceError, QueryParams};
use futures::StreamExt;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::page::{MAX_PAGE_BYTES, Selection};
use super::results::{BucketPage, BucketRow};

/// About the size of a bucket in an answer, without the name of its record.
const BUCKET_BYTES: usize = 300;

/// A question that is answered with buckets.
pub(super) struct Question {
    pub(super) selection: Selection,
    pub(super) aggregate: Aggregate,
    /// The zone of the times in the answer; `None` is UTC.
    pub(super) zone: Option<TimeZone>,
    pub(super) order: Order,
    /// Whether all matching records are one series.
    pub(super) merge: bool,
}

/// The last bucket of a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BucketPosition {
    record: String,
    start: i64,
    /// The times that the first page was asked with: an age such as `24h` is another time now.
    pub(super) window: (Option<u64>, Option<u64>),
    pub(super) now: u64,
}

/// Reads the buckets after `after`; the position is there if there are more.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    question: &Question,
    mut after: Option<BucketPosition>,
    limit: usize,
    (window, now): ((Option<u64>, Option<u64>), u64),
) -> Result<(BucketPage, Option<BucketPosition>), PersistenceError> {
    let Question { selection, aggregate, zone, order, merge } = question;
    // A wrong question is refused even if there is no record.
    Plan::new(&selection.pattern, aggregate)?;
    let first = after.as_ref().map(|after| after.record.clone());
    let newest = QueryParams::latest(1);
    // Names are literal in the glob grammar. A merged series is named like its pattern.
    let (names, grammar) = match merge {
        true => (vec![selection.pattern.clone()], selection.grammar),
        false => {
            let all = selection.records(store, newest, None, first.as_deref(), usize::MAX);
            (all.await?, Grammar::Glob)
        }
    };
    let (mut page, mut bytes) = (BucketPage::default(), 0);
    for name in names {
        let one = aggregate.clone().grammar(grammar);
        let mut buckets = store.aggregate_stream(&name, &one).await?;
        while let Some(bucket) = buckets.next().await.transpose()? {
            let is_done = after.as_ref().is_some_and(|after| {
                after.record == name
                    && match order {
                        Order::OldestFirst => bucket.start <= after.start,
                        Order::NewestFirst => bucket.start >= after.start,
                    }
            });
            if is_done || *bucket.record != *name {
                continue;
            }
            bytes += BUCKET_BYTES + name.len();
            let full = page.buckets.len() == limit || bytes > MAX_PAGE_BYTES;
            if full && !page.buckets.is_empty() {
                return Ok((page, after));
            }
            after = Some(BucketPosition { record: name.clone(), start: bucket.start, window, now });
            page.buckets.push(BucketRow::new(&bucket, zone.as_ref().unwrap_or(&TimeZone::UTC)));
        }
    }
    Ok((page, None))
}
