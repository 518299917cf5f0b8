//! An AimX server as a read-only backend, for every command that reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::{
    Grammar, Guarantees, Order, PersistenceBackend, PersistenceError, Query, QueryParams, RawRow,
    RecordSummary, RowStream, StoredValue, Value, async_trait,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::address::Address;
use super::client::Client;
use super::walk::{Span, Walk};

const READ_ONLY: PersistenceError =
    PersistenceError::Unsupported("changes: history is read-only over AimX");

/// The history that an AimDB server keeps.
///
/// The server reads patterns, in its own grammar. The one exception is the pattern `#` of
/// [`Grammar::Topic`]: it means every record and is sent as no pattern.
pub(crate) struct AimxBackend {
    client: Arc<Client>,
    closed: AtomicBool,
}

impl AimxBackend {
    pub(crate) fn new(address: Address, token: Option<String>, timeout: Duration) -> Self {
        let client = Arc::new(Client::new(address, token, timeout));
        Self { client, closed: AtomicBool::new(false) }
    }

    fn check_open(&self) -> Result<(), PersistenceError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(PersistenceError::BackendShutdown);
        }
        Ok(())
    }
}

#[async_trait]
impl PersistenceBackend for AimxBackend {
    async fn store(&self, _: &str, _: &Value, _: u64) -> Result<(), PersistenceError> {
        Err(READ_ONLY)
    }

    async fn cleanup(&self, _: u64) -> Result<u64, PersistenceError> {
        Err(READ_ONLY)
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        let rows = self.query_stream(record_pattern, params).await?;
        rows.and_then(|RawRow { record, json, stored_at, .. }| async move {
            let value = serde_json::from_str(&json)?;
            Ok(StoredValue { record_name: record.to_string(), value, stored_at })
        })
        .try_collect()
        .await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        self.check_open()?;
        let every = record_pattern == "#" && params.grammar == Grammar::Topic;
        let name = (!every).then_some(record_pattern);
        // The server interprets the pattern; only the bounds are resolved here.
        let resolved = Query::new(record_pattern, &params.with_grammar(Grammar::Glob))?;
        if resolved.is_empty() {
            return Ok(RowStream::from_rows(Vec::new()));
        }
        let Query { from, to, limit, order, .. } = resolved;
        // Without a wildcard of either grammar it is the name of one record.
        let exact = name.filter(|name| !name.contains(['*', '#']));
        let walks = match exact {
            Some(name) if limit != Some(1) => vec![Walk::new(name.into(), from, to, limit)],
            _ => {
                let heads = self.client.heads(name, from, to).await;
                let heads = heads.map_err(|fault| fault.at(self.client.address()))?;
                if limit == Some(1) {
                    return Ok(RowStream::from_rows(heads));
                }
                // Rows stored from now on are not part of the answer.
                let walk = |head: RawRow| Walk::new(head.record, from, head.stored_at, limit);
                heads.into_iter().map(walk).collect()
            }
        };
        let reader =
            Reader { client: self.client.clone(), walks: walks.into(), spans: Vec::new(), order };
        let pages = stream::try_unfold(reader, |mut reader| async move {
            let page = reader.next_page().await?;
            Ok(page.map(|page| (page, reader)))
        });
        Ok(RowStream::from_pages(pages))
    }

    /// The protocol has no counts: every row is read, a page at a time.
    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let params = QueryParams::default().with_grammar(grammar);
        let mut rows = self.query_stream(record_pattern, params).await?;
        let mut records: Vec<RecordSummary> = Vec::new();
        while let Some(RawRow { record, stored_at, .. }) = rows.next().await.transpose()? {
            match records.last_mut() {
                Some(last) if *last.record == *record => {
                    last.count += 1;
                    last.first = stored_at;
                }
                _ => records.push(RecordSummary::new(record.to_string(), 1, stored_at, stored_at)),
            }
        }
        Ok(records)
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.check_open()?;
        self.client.connect().await.map_err(|fault| fault.at(self.client.address()))
    }

    async fn close(&self) -> Result<(), PersistenceError> {
        self.closed.store(true, Ordering::Relaxed);
        self.client.disconnect().await;
        Ok(())
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees::default().with_streamed_queries(true).with_many_processes(true)
    }
}

/// Reads one record after the other, page by page.
struct Reader {
    client: Arc<Client>,
    walks: VecDeque<Walk>,
    /// The pages of the current record that are still to be read again, for oldest first.
    spans: Vec<Span>,
    order: Order,
}

impl Reader {
    async fn next_page(&mut self) -> Result<Option<Vec<RawRow>>, PersistenceError> {
        let address = self.client.address();
        loop {
            let page = if let Some(span) = self.spans.pop() {
                span.read(&self.client).await.map_err(|fault| fault.at(address))?
            } else if self.order == Order::OldestFirst {
                let Some(walk) = self.walks.pop_front() else { return Ok(None) };
                let walked = walk.find_oldest(&self.client).await;
                let (oldest, spans) = walked.map_err(|fault| fault.at(address))?;
                self.spans = spans;
                oldest
            } else {
                let Some(walk) = self.walks.front_mut() else { return Ok(None) };
                let page = walk.next(&self.client).await.map_err(|fault| fault.at(address))?;
                if page.is_empty() {
                    self.walks.pop_front();
                }
                page
            };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
    }
}
