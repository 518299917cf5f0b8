//! What has arrived since a cursor.

use annals::{FollowParams, FollowStream, PersistenceBackend, PersistenceError};
use futures::StreamExt;
use serde_json::value::RawValue;

use super::page::MAX_PAGE_BYTES;
use super::results::{NewsPage, ValueRow};

/// Reads at most `rows` rows, without waiting for any. The cursor is the store's own.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    pattern: &str,
    params: FollowParams,
    rows: usize,
) -> Result<NewsPage, PersistenceError> {
    let params = params.with_wait(false).with_page_rows(rows + 1);
    let mut stream = FollowStream::new(store, pattern, params);
    let mut page = NewsPage::default();
    let mut bytes = 0;
    let mut cursor = stream.cursor();
    while let Some(row) = stream.next().await.transpose()? {
        match serde_json::from_str::<&RawValue>(&row.json) {
            Ok(value) => {
                let (row, size) = ValueRow::new(&row.record, value, row.stored_at);
                bytes += size;
                // A page has at least one row, or it would never end.
                let full = page.rows.len() == rows || bytes > MAX_PAGE_BYTES;
                if full && !page.rows.is_empty() {
                    page.more = true;
                    break;
                }
                page.rows.push(row);
            }
            Err(_) => page.unreadable += 1,
        }
        cursor = stream.cursor();
    }
    if !page.more {
        // Behind rows of other records, too.
        cursor = stream.cursor();
    }
    page.cursor = cursor.map(String::from).unwrap_or_default();
    Ok(page)
}
