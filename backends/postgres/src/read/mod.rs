//! The read path: names that match, then their rows through a cursor, in one snapshot.
//!
//! [`open`] starts a task on the backend's thread that fetches page after page; the stream that it
//! returns receives them through a channel of one page. Nothing is fetched before there is space for
//! it, so a slow reader holds a connection but no memory.

mod names;
mod rows;

use std::sync::Arc;

use annals_core::{
    ErrorKind, Outcome, Pattern, PersistenceError, Query, RawRow, RecordSummary, Result, RowStream,
};
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use crate::engine::Engine;
use crate::layout::Layout;
use crate::net::{Session, int8s};
use crate::worker::Worker;

pub(crate) use names::{NamePages, Named};

/// The number of records that one statement counts.
const SUMMARIES: usize = 200;

/// Who reads a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The backend itself, which takes page after page.
    Prompt,
    /// A caller, who may take any time.
    Stream,
}

/// What the fetching task sends to the stream.
enum Message {
    Page(Vec<RawRow>),
    Failed(PersistenceError),
    /// The result is complete.
    End,
}

/// Begins a query. Its snapshot is taken when this returns.
pub(crate) async fn open(worker: &Arc<Worker>, query: Query, reader: Reader) -> Result<RowStream> {
    if query.is_empty() {
        worker.check_open()?;
        return Ok(RowStream::from_rows(Vec::new()));
    }
    let (sender, pages) = mpsc::channel(1);
    let (opened, opening) = oneshot::channel();
    worker.spawn(serve(worker.engine().clone(), query, reader, opened, sender))?;
    opening.await.map_err(|_| PersistenceError::BackendShutdown)??;
    // The stream counts as a handle: its task runs on the backend's thread.
    let state = Some((pages, worker.clone()));
    Ok(RowStream::from_pages(stream::unfold(state, |state| async {
        let (mut pages, worker) = state?;
        match pages.recv().await {
            Some(Message::Page(page)) => Some((Ok(page), Some((pages, worker)))),
            Some(Message::Failed(error)) => Some((Err(error), None)),
            Some(Message::End) => None,
            None => Some((Err(PersistenceError::BackendShutdown), None)),
        }
    })))
}

/// Fetches until the result ends or its stream is dropped.
async fn serve(
    engine: Arc<Engine>,
    query: Query,
    reader: Reader,
    opened: oneshot::Sender<Result<()>>,
    pages: mpsc::Sender<Message>,
) {
    let mut opened = Some(opened);
    let fetched = tokio::select! {
        // Dropping `fetch` closes its connection and cancels its statement on the server.
        () = pages.closed() => return,
        fetched = fetch(&engine, &query, reader, &mut opened, &pages) => fetched,
    };
    let last = match (fetched, opened) {
        (Ok(()), _) => Message::End,
        (Err(error), Some(opened)) => {
            // The caller may have dropped its future.
            let _ = opened.send(Err(error));
            return;
        }
        (Err(error), None) => Message::Failed(error),
    };
    let _ = pages.send(last).await;
}

async fn fetch(
    engine: &Engine,
    query: &Query,
    reader: Reader,
    opened: &mut Option<oneshot::Sender<Result<()>>>,
    pages: &mpsc::Sender<Message>,
) -> Result<()> {
    const OPERATION: &str = "query";
    let layout = &**engine.schema.readable(&engine.pools).await?;
    let _permit = match reader {
        Reader::Stream => Some(engine.pools.stream_permit(OPERATION).await?),
        Reader::Prompt => None,
    };
    let (session, mut names, first) = begin(engine, layout, OPERATION, &query.pattern).await?;
    if let Some(opened) = opened.take() {
        // If the caller is gone, `pages` is closed as well, which ends the task.
        let _ = opened.send(Ok(()));
    }
    let mut records = first;
    while !records.is_empty() {
        let at_once = if query.limit.is_none() { layout.records_at_once() } else { usize::MAX };
        for some in records.chunks(at_once.min(records.len())) {
            rows::fetch(&engine.schema.sql, layout, &session, query, some, pages).await?;
        }
        records = names.next(&session).await?;
    }
    session.finish().await
}

/// Begins a transaction that reads one snapshot, which the first names take. A connection that broke
/// while it was idle is replaced once.
pub(crate) async fn begin(
    engine: &Engine,
    layout: &dyn Layout,
    operation: &'static str,
    pattern: &Pattern,
) -> Result<(Session, NamePages, Vec<Named>)> {
    let attempt = || async {
        let sql = &engine.schema.sql;
        let session = engine.pools.querier(operation).await?;
        let mut names = NamePages::new(sql, pattern.clone());
        let first = names.begin(&sql.begin_read(&layout.read_lock(sql)), &session).await?;
        Ok((session, names, first))
    };
    match attempt().await {
        Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Connection => {
            debug_assert_eq!(
                PersistenceError::Backend(error).outcome(),
                Outcome::NotApplied,
                "nothing is committed here"
            );
            attempt().await
        }
        result => result,
    }
}

/// The matching records that have rows, in order of name.
pub(crate) async fn records(engine: Arc<Engine>, pattern: Pattern) -> Result<Vec<RecordSummary>> {
    let mut summaries = Vec::new();
    let layout = &**engine.schema.readable(&engine.pools).await?;
    if !pattern.can_match() {
        return Ok(summaries);
    }
    let (session, mut names, mut records) = begin(&engine, layout, "records", &pattern).await?;
    let select = layout.summaries(&engine.schema.sql);
    while !records.is_empty() {
        for records in records.chunks(SUMMARIES) {
            let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
            for row in session.query(&select, &[int8s(&ids)]).await? {
                let place = usize::try_from(row.get::<_, i64>(0)).unwrap_or(0);
                // Records without rows have no times.
                let times = row.get::<_, Option<i64>>(2).zip(row.get::<_, Option<i64>>(3));
                let record = place.checked_sub(1).and_then(|place| records.get(place));
                if let (Some(record), Some((first, last))) = (record, times) {
                    summaries.push(RecordSummary::new(
                        record.name.to_string(),
                        row.get::<_, i64>(1).cast_unsigned(),
                        first.cast_unsigned(),
                        last.cast_unsigned(),
                    ));
                }
            }
        }
        records = names.next(&session).await?;
    }
    session.finish().await?;
    summaries.sort_unstable_by(|a, b| a.record.cmp(&b.record));
    Ok(summaries)
}
