//! Queries: one snapshot each, read page by page.

mod names;
mod rows;

use std::sync::Arc;

use annals_core::{
    ErrorKind, Outcome, Pattern, PersistenceError, Query, RawRow, RecordSummary, RowStream,
};
use futures_util::stream;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;

use crate::engine::Engine;
use crate::session::{Parameter, Session};
use crate::worker::Worker;

pub(crate) use names::{NamePages, Named};

/// So many records are counted in one statement.
const SUMMARIES: usize = 200;

/// So many records at once are read to their end from several shards: the coordinator gathers and
/// sorts their rows before it sends the first.
const GATHERED: usize = 50;

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// This backend itself: it takes page after page.
    Prompt,
    /// Somebody who may take his time.
    Stream,
}

/// What the fetching task tells the stream.
enum Message {
    Page(Vec<RawRow>),
    Failed(PersistenceError),
    /// Without it the stream was cut off.
    End,
}

/// Begins a query. When this returns, its snapshot is taken.
pub(crate) async fn open(
    worker: &Arc<Worker>,
    query: Query,
    reader: Reader,
) -> Result<RowStream, PersistenceError> {
    if query.is_empty() {
        worker.check_open()?;
        return Ok(RowStream::from_rows(Vec::new()));
    }
    let (sender, pages) = mpsc::channel(1);
    let (opened, opening) = oneshot::channel();
    worker.spawn(serve(worker.engine().clone(), query, reader, opened, sender))?;
    opening.await.map_err(|_| PersistenceError::BackendShutdown)??;
    // The stream is a handle of the backend too: the task lives on the backend's thread.
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

/// Fetches until the result ends or nobody wants it any more.
async fn serve(
    engine: Arc<Engine>,
    query: Query,
    reader: Reader,
    opened: oneshot::Sender<Result<(), PersistenceError>>,
    pages: mpsc::Sender<Message>,
) {
    let mut opened = Some(opened);
    let fetched = tokio::select! {
        // Dropping `fetch` closes its connection and stops what the server does for it.
        () = pages.closed() => return,
        fetched = fetch(&engine, &query, reader, &mut opened, &pages) => fetched,
    };
    let last = match (fetched, opened) {
        (Ok(()), _) => Message::End,
        (Err(error), Some(opened)) => {
            // Nobody waits any more: the future was dropped, which is allowed.
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
    opened: &mut Option<oneshot::Sender<Result<(), PersistenceError>>>,
    pages: &mpsc::Sender<Message>,
) -> Result<(), PersistenceError> {
    const OPERATION: &str = "query";
    engine.readable().await?;
    let _permit = match reader {
        Reader::Stream => Some(engine.stream_permit(OPERATION).await?),
        Reader::Prompt => None,
    };
    let (session, mut names, first) = begin(engine, OPERATION, &query.pattern).await?;
    if let Some(opened) = opened.take() {
        // If nobody waits, `pages` is closed as well, and that ends the task.
        let _ = opened.send(Ok(()));
    }
    let mut records = first;
    while !records.is_empty() {
        let gathered = engine.config().storage.distribute && query.limit.is_none();
        for some in records.chunks(if gathered { GATHERED } else { records.len() }) {
            rows::fetch(engine, &session, query, some, pages).await?;
        }
        records = names.next(engine, &session).await?;
    }
    session.run(session.client().batch_execute("COMMIT")).await?;
    session.release();
    Ok(())
}

/// Begins a transaction that reads one snapshot, and takes it with the first names. A connection
/// that broke while it lay in the pool is replaced once.
async fn begin(
    engine: &Engine,
    operation: &'static str,
    pattern: &Pattern,
) -> Result<(Session, NamePages, Vec<Named>), PersistenceError> {
    let attempt = || async {
        let session = engine.querier(operation).await?;
        let mut names = NamePages::new(pattern.clone());
        let first = names.begin(engine, &session).await?;
        Ok((session, names, first))
    };
    match attempt().await {
        Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Connection => {
            debug_assert_eq!(
                PersistenceError::Backend(error).outcome(),
                Outcome::NotApplied,
                "nothing is ever committed here"
            );
            attempt().await
        }
        result => result,
    }
}

/// The matching records that have rows, by name.
pub(crate) async fn records(
    engine: Arc<Engine>,
    pattern: Pattern,
) -> Result<Vec<RecordSummary>, PersistenceError> {
    let mut summaries = Vec::new();
    engine.readable().await?;
    if !pattern.can_match() {
        return Ok(summaries);
    }
    let (session, mut names, mut records) = begin(&engine, "records", &pattern).await?;
    let client = session.client();
    while !records.is_empty() {
        for records in records.chunks(SUMMARIES) {
            let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
            let parameters: [Parameter<'_>; 1] = [(&ids, Type::INT8_ARRAY)];
            let rows = client.query_typed(&engine.sql.summaries, &parameters);
            let rows = session.run(rows).await?;
            for row in rows {
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
        records = names.next(&engine, &session).await?;
    }
    session.run(client.batch_execute("COMMIT")).await?;
    session.release();
    summaries.sort_unstable_by(|a, b| a.record.cmp(&b.record));
    Ok(summaries)
}
