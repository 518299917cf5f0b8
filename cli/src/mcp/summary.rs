//! The summary of one record: an aggregate of its numbers, and its first and last row.

use annals::{
    Aggregate, Bucket, Function, Order, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
};
use futures::StreamExt;
use serde_json::value::RawValue;

use super::results::{Numbers, Summary, ValueRow};

/// Reads one record within the window. `member` is the place of the number in a value.
pub(super) async fn read(
    store: &dyn PersistenceBackend,
    record: &str,
    member: &str,
    params: QueryParams,
) -> Result<Summary, PersistenceError> {
    let mut aggregate =
        Aggregate::new().member(member).functions([Function::Mean, Function::Min, Function::Max]);
    if let Some(start_time) = params.start_time {
        aggregate = aggregate.start_time(start_time);
    }
    if let Some(end_time) = params.end_time {
        aggregate = aggregate.end_time(end_time);
    }
    let mut buckets = store.aggregate(record, &aggregate).await?;
    // A server may read a name as a pattern and answer with other records.
    buckets.retain(|bucket| *bucket.record == *record);
    let empty = Summary { record: record.to_owned(), ..Summary::default() };
    let Some(bucket) = buckets.pop() else { return Ok(empty) };
    let newest = params.with_limit_per_record(1);
    Ok(Summary {
        count: bucket.count + bucket.skipped,
        without_number: bucket.skipped,
        numbers: numbers(&bucket),
        first: first_row(store, record, params.with_order(Order::OldestFirst)).await?,
        last: first_row(store, record, newest).await?,
        ..empty
    })
}

fn numbers(bucket: &Bucket) -> Option<Numbers> {
    let (min, max) = (bucket.min()?, bucket.max()?);
    let mean = bucket.mean().filter(|mean| mean.is_finite());
    Some(Numbers { count: bucket.count, min, max, mean })
}

/// The first row of an answer.
async fn first_row(
    store: &dyn PersistenceBackend,
    record: &str,
    params: QueryParams,
) -> Result<Option<ValueRow>, PersistenceError> {
    let mut rows = store.stream_typed::<Box<RawValue>>(record, params).await?;
    while let Some(row) = rows.next().await.transpose()? {
        if *row.record == *record {
            return Ok(Some(ValueRow::new(record, &row.value, row.stored_at).0));
        }
    }
    Ok(None)
}
