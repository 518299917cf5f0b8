//! Queries: order, pages, readers that stop reading.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use annals_core::{
    Batch, Grammar, Order, PersistenceBackend, PersistenceError, Query, QueryExt, QueryParams,
    RawRow, Row,
};
use annals_postgres::PostgresBackend;
use common::{Place, batch, row};
use futures::StreamExt;
use serde_json::json;

async fn raw(backend: &PostgresBackend, pattern: &str, params: QueryParams) -> Vec<RawRow> {
    let stream = backend.query_stream(pattern, params).await.unwrap();
    stream.map(Result::unwrap).collect().await
}

/// Over every combination of bounds, limit and order.
async fn every_kind_of_query_agrees_with_the_reference() {
    let place = Place::new();
    let backend = place.backend();
    let reference = annals_core::MemoryBackend::new();
    let mut rows = Vec::new();
    for i in 0..600_i64 {
        let record = ["a", "B", "a::x", "a::Y", "é", "a\u{10ffff}", "b%", "b_"][i as usize % 8];
        rows.push(row(record, i, (i * 37 % 50) as u64));
    }
    rows.push(row("a", -1, i64::MAX as u64));
    let batch = Batch::new(rows);
    backend.store_batch(&batch).await.unwrap();
    reference.store_batch(&batch).await.unwrap();
    for pattern in ["*", "a*", "a", "a::*", "*::*", "b%", "b*", "é*", "*Y", "zzz", "a\u{10ffff}*"]
    {
        for limit in [None, Some(0), Some(1), Some(7), Some(1_000_000)] {
            for (start, end) in [
                (None, None),
                (Some(10), Some(20)),
                (Some(20), Some(10)),
                (Some(0), Some(u64::MAX)),
                (None, Some(0)),
                (Some(49), None),
            ] {
                for order in [Order::NewestFirst, Order::OldestFirst] {
                    let params = QueryParams::default()
                        .with_limit_per_record(limit)
                        .with_start_time(start)
                        .with_end_time(end)
                        .with_order(order);
                    let expected = reference.query(pattern, params).await.unwrap();
                    let found = backend.query(pattern, params).await.unwrap();
                    assert_eq!(found, expected, "{pattern} {params:?}");
                }
            }
        }
        let expected = reference.records(pattern, Grammar::Glob).await.unwrap();
        assert_eq!(backend.records(pattern, Grammar::Glob).await.unwrap(), expected, "{pattern}");
    }
}

async fn a_hundred_thousand_records_are_read_in_order() {
    let place = Place::new();
    let backend = place.backend();
    backend.store_batch(&batch(100_000, 100_000)).await.unwrap();
    let rows = raw(&backend, "*", QueryParams::latest(1)).await;
    assert_eq!(rows.len(), 100_000);
    assert!(rows.is_sorted_by(|a, b| a.record < b.record));
    assert_eq!(raw(&backend, "*99999", QueryParams::latest(1)).await.len(), 1);
    assert_eq!(backend.records("*", Grammar::Glob).await.unwrap().len(), 100_000);
}

async fn a_stream_sees_the_moment_it_was_opened() {
    let place = Place::new();
    let backend = place.backend();
    backend.store_batch(&batch(3, 9000)).await.unwrap();
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    backend.store_batch(&batch(4, 4000)).await.unwrap();
    backend.cleanup(100).await.unwrap();
    let mut count = 0;
    while let Some(row) = stream.next().await {
        assert_ne!(&*row.unwrap().record, "r3");
        count += 1;
    }
    assert_eq!(count, 9000);
}

/// A stream that nobody reads occupies its connection and nothing else.
async fn streams_that_nobody_reads_block_nobody() {
    let place = Place::new();
    let backend = PostgresBackend::new(
        place.config().with_pool_size(4).with_wait_timeout(std::time::Duration::from_millis(200)),
    );
    backend.store_batch(&batch(10, 50_000)).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(backend.query_stream("*", QueryParams::default()).await.unwrap());
    }
    let error = backend.query_stream("*", QueryParams::default()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("pool_size"), "{error}");
    // Everything but another stream continues.
    for i in 0..50 {
        backend.store("new", &json!(i), i).await.unwrap();
    }
    let latest = backend.query("new", QueryParams::latest(1)).await.unwrap();
    assert_eq!(latest[0].value, json!(49));
    assert_eq!(backend.records("new", Grammar::Glob).await.unwrap()[0].count, 50);
    assert_eq!(backend.cleanup(100).await.unwrap(), 1050);
    backend.health().await.unwrap();
    // Dropping one frees its connection at once; the others keep their snapshots.
    streams.pop();
    let next = backend.query_stream("new", QueryParams::default()).await.unwrap();
    assert_eq!(next.count().await, 0);
    for stream in streams {
        assert_eq!(stream.count().await, 50_000);
    }
}

/// A page is limited by size as well as by number: 1,000 rows of 1 MiB were once one page.
async fn large_values_make_small_pages() {
    let place = Place::new();
    let backend = place.backend();
    let value = json!("x".repeat(1 << 20));
    let rows: Vec<Row> = (0..150).map(|i| Row::new("big", &value, i).unwrap()).collect();
    for rows in rows.chunks(30) {
        backend.store_batch(&Batch::new(rows)).await.unwrap();
    }
    drop(rows);
    let before = resident_bytes();
    let mut stream = backend.query_stream("big", QueryParams::default()).await.unwrap();
    let mut most = 0;
    let mut count = 0;
    while let Some(row) = stream.next().await {
        assert_eq!(row.unwrap().json.len(), (1 << 20) + 2);
        count += 1;
        most = most.max(resident_bytes());
    }
    assert_eq!(count, 150);
    let grown = most.saturating_sub(before) >> 20;
    assert!(grown < 60, "150 MiB were read with {grown} MiB");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0 kB");
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// A connection that broke while idle is replaced. One that breaks during a query is a retryable error,
/// never a result that ends early.
async fn a_broken_stream_ends_with_an_error() {
    let place = Place::new();
    let backend = place.named_backend();
    backend.store_batch(&batch(10, 50_000)).await.unwrap();
    let mut stream = backend.query_stream("*", QueryParams::default()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let kill = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
                WHERE application_name = $1";
    place.client().await.query_one(kill, &[&place.application()]).await.unwrap();
    let mut last = Ok(());
    let mut count = 0;
    while let Some(row) = stream.next().await {
        count += 1;
        last = row.map(drop);
    }
    assert!(last.unwrap_err().is_retryable(), "after {count} rows");
    assert_eq!(raw(&backend, "*", QueryParams::default()).await.len(), 50_000);
}

async fn rows_that_are_no_longer_json_are_skipped() {
    let place = Place::new();
    let backend = place.backend();
    for i in 0..3 {
        backend.store("a", &json!(i), i).await.unwrap();
    }
    let update = format!("UPDATE {}.history SET value = '{{' WHERE stored_at = 1", place.quoted());
    place.client().await.batch_execute(&update).await.unwrap();
    let rows = backend.query_typed::<i64>("a", QueryParams::default()).await.unwrap();
    assert_eq!(rows.rows.iter().map(|row| row.value).collect::<Vec<_>>(), [2, 0]);
    assert_eq!(rows.skipped, 1);
}

async fn an_invalid_pattern_never_reaches_the_server() {
    let backend = PostgresBackend::new(
        annals_postgres::PostgresConfig::from_url("postgres://a:b@127.0.0.1:1/x").unwrap(),
    );
    let error = backend.query("", QueryParams::default()).await.unwrap_err();
    assert!(matches!(error, PersistenceError::InvalidPattern { .. }));
    assert!(Query::new("*", &QueryParams::latest(0)).unwrap().is_empty());
    assert_eq!(backend.query("*", QueryParams::latest(0)).await.unwrap(), []);
}

annals_test_postgres::server_tests! {
    async every_kind_of_query_agrees_with_the_reference,
    async a_hundred_thousand_records_are_read_in_order,
    async a_stream_sees_the_moment_it_was_opened,
    async streams_that_nobody_reads_block_nobody,
    async large_values_make_small_pages,
    async a_broken_stream_ends_with_an_error,
    async rows_that_are_no_longer_json_are_skipped,
    async an_invalid_pattern_never_reaches_the_server,
}
