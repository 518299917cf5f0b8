//! What a question costs: plans that seek, and rows that do not travel.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use annals_core::{
    Aggregate, Batch, Bucket, Fill, Function, Order, PersistenceBackend, QueryExt, QueryParams, Row,
};
use common::observed::Observed;
use common::{Place, batch, row};

const HOUR: u64 = 3_600_000;
const START: u64 = 1_700_000_000_000 / HOUR * HOUR;
const ROWS: u64 = 20_000;
const BUCKETS: u64 = 10;

/// What `docs/postgres.md` says that the server computes.
const COMPUTED: [&str; 20] = [
    "count",
    "skipped",
    "sum",
    "mean",
    "min",
    "min_at",
    "max",
    "max_at",
    "first",
    "first_at",
    "last",
    "last_at",
    "delta",
    "median",
    "p99.9",
    "increase",
    "rate",
    "time_weighted_mean",
    "integral",
    "covered_ms",
];

async fn store(observed: &Observed, rows: impl Iterator<Item = Row>) {
    let rows: Vec<Row> = rows.collect();
    for rows in rows.chunks(5_000) {
        observed.backend.store_batch(&Batch::new(rows)).await.unwrap();
    }
}

fn hourly(functions: &str) -> Aggregate {
    let functions = Function::parse_list(functions).unwrap();
    let now = START + BUCKETS * HOUR;
    Aggregate::every(Duration::from_secs(3_600)).now(now).functions(functions)
}

/// 20,000 rows in ten buckets: what travels is of the order of the buckets.
async fn no_row_travels_for_what_the_server_computes() -> Result<(), String> {
    let observed = Observed::new(&Place::new()).await?;
    let records = ["a", "b"];
    let values = |i: u64| {
        let record = records[i as usize % records.len()];
        row(record, (i * 7_919 % 4_001) as i64, START + i * BUCKETS * HOUR / ROWS)
    };
    store(&observed, (0..ROWS).map(values)).await;
    for function in COMPUTED {
        let whole = hourly(function);
        let cut = hourly(function).range(START + HOUR / 2, START + (2 * BUCKETS - 1) * HOUR / 2);
        for question in [whole, cut] {
            let asked = observed.backend.aggregate("*", &question);
            let (answer, cost) = observed.watch(asked).await;
            let answer: Vec<Bucket> = answer.unwrap();
            assert_eq!(answer.len() as u64, 2 * BUCKETS, "{function}");
            let function = Function::parse_list(function).unwrap().remove(0);
            let all = answer.iter().all(|bucket| bucket.value(&function).is_some());
            assert!(all, "{function:?}: {answer:?}");
            assert!(cost.rows >= 2 * BUCKETS, "{function:?}: nothing was counted");
            assert!(cost.rows <= 3 * BUCKETS, "{function:?}: {} rows travelled", cost.rows);
        }
    }
    let merged = hourly("count,skipped,sum,mean,min,min_at,max,max_at,first,last").merge(true);
    let (answer, cost) = observed.watch(observed.backend.aggregate("*", &merged)).await;
    assert_eq!(answer.unwrap().len() as u64, BUCKETS);
    assert!(cost.rows <= 3 * BUCKETS, "{} rows travelled for merged records", cost.rows);
    // What needs the samples shows that they are counted.
    let (answer, cost) = observed.watch(observed.backend.aggregate("*", &hourly("stddev"))).await;
    assert_eq!(answer.unwrap().len() as u64, 2 * BUCKETS);
    assert!(cost.rows >= ROWS, "only {} of the samples were counted", cost.rows);
    Ok(())
}

const RECORDS: u64 = 10;
/// A window of 100 rows, ten of each record, in the middle of a partition of a second.
const WINDOW: (u64, u64) = (3_100, 3_199);
const IN_WINDOW: f64 = 100.0;

/// A row a millisecond, of one record after the other.
async fn observed(options: &'static str) -> Result<Observed, String> {
    let observed = Observed::new(&Place::with_options(options)).await?;
    let of_record = |i: u64| row(&format!("r{}", i % RECORDS), 1, i);
    store(&observed, (0..ROWS).map(of_record)).await;
    Ok(observed)
}

/// `present` is the table or partition of the window, `earlier` those in which a value before it may be
/// looked for.
async fn a_window_seeks(
    options: &'static str,
    present: &[&str],
    earlier: &[&str],
) -> Result<(), String> {
    let observed = observed(options).await?;
    let backend = &observed.backend;
    let each = RECORDS as f64;

    let question = Aggregate::new().range(WINDOW.0, WINDOW.1);
    let (buckets, cost) = observed.watch(backend.aggregate("*", &question)).await;
    assert_eq!(buckets.unwrap().iter().map(|bucket| bucket.count).sum::<u64>(), 100);
    // And the first and the last row of each record.
    cost.assert_seeks("aggregate", IN_WINDOW + 2.0 * each);
    assert_eq!(cost.tables(true), present, "aggregate");

    // The last sample before the window, and whether a record has rows at all.
    let held = question.clone().functions([Function::TimeWeightedMean]).fill(Fill::Previous);
    let (buckets, cost) = observed.watch(backend.aggregate("*", &held)).await;
    assert_eq!(buckets.unwrap().len() as u64, RECORDS);
    cost.assert_seeks("time-weighted", IN_WINDOW + 4.0 * each);
    let touched = cost.tables(false);
    assert!(touched.iter().all(|table| earlier.contains(table)), "time-weighted: {touched:?}");

    let samples = question.functions([Function::Stddev]);
    let (buckets, cost) = observed.watch(backend.aggregate("*", &samples)).await;
    assert_eq!(buckets.unwrap().len() as u64, RECORDS);
    cost.assert_seeks("samples", IN_WINDOW);
    assert_eq!(cost.tables(true), present, "samples");

    for order in [Order::NewestFirst, Order::OldestFirst] {
        let range = QueryParams::range(WINDOW.0, WINDOW.1).with_order(order);
        let (rows, cost) = observed.watch(backend.query("*", range)).await;
        assert_eq!(rows.unwrap().len(), 100);
        cost.assert_seeks("range", IN_WINDOW);
        assert_eq!(cost.tables(true), present, "range, {order:?}");

        let newest = range.with_limit_per_record(2);
        let (rows, cost) = observed.watch(backend.query("*", newest)).await;
        assert_eq!(rows.unwrap().len(), 20);
        // Oldest first, the second newest row is found first, and then read on from.
        cost.assert_seeks("newest of a range", 4.0 * each);
        assert_eq!(cost.tables(true), present, "newest of a range, {order:?}");
    }

    let (rows, cost) = observed.watch(backend.value_at("*", WINDOW.1)).await;
    assert_eq!(rows.unwrap().len() as u64, RECORDS);
    cost.assert_seeks("value at a time", each);
    assert_eq!(cost.tables(false), present, "value at a time");
    Ok(())
}

async fn a_window_of_a_plain_table_is_a_seek() -> Result<(), String> {
    a_window_seeks("", &["history"], &["history"]).await
}

async fn a_window_of_partitions_is_a_seek() -> Result<(), String> {
    let present = ["history_3000_4000"];
    // A record's first row tells that it has rows.
    let earlier = ["history_0_1000", "history_3000_4000"];
    a_window_seeks("partition_interval=1s", &present, &earlier).await
}

/// A window of most rows may be read in one pass, and then is: the plans show what they should.
async fn everything_is_read_in_one_pass() -> Result<(), String> {
    for options in ["", "partition_interval=1s"] {
        let place = Place::with_options(options);
        let observed = Observed::new(&place).await?;
        store(&observed, (0..ROWS).map(|i| row(&format!("r{}", i % RECORDS), 1, i))).await;
        place.execute("ANALYZE {s}.history").await;
        for question in [Aggregate::new(), Aggregate::new().range(3_000, 16_999)] {
            let asked = observed.backend.aggregate("*", &question);
            let (buckets, cost) = observed.watch(asked).await;
            assert_eq!(buckets.unwrap().len() as u64, RECORDS);
            let pass = cost.scans.iter().filter(|scan| scan.kind == "Seq Scan");
            let read: f64 = pass.map(|scan| scan.rows).sum();
            assert!(read >= 14_000.0, "{options}: {:#?}", cost.scans);
        }
    }
    Ok(())
}

/// A seek for each of a thousand records, and one row read and sent.
async fn a_value_at_a_time_is_one_seek_for_each_record() -> Result<(), String> {
    let observed = Observed::new(&Place::new()).await?;
    observed.backend.store_batch(&batch(1_000, 50_000)).await.unwrap();
    let (rows, cost) = observed.watch(observed.backend.value_at("*", 20)).await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 1_000);
    assert!(rows.iter().all(|row| row.stored_at == 20));
    cost.assert_seeks("value at a time", 1_000.0);
    // The names as well.
    assert!((2_000..2_100).contains(&cost.rows), "{} rows travelled", cost.rows);
    Ok(())
}

/// Latest N costs what it returns, also on tables without statistics.
async fn latest_n_seeks() -> Result<(), String> {
    let observed = Observed::new(&Place::new()).await?;
    for _ in 0..3 {
        observed.backend.store_batch(&batch(100, 50_000)).await.unwrap();
    }
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let params = QueryParams::latest(5).with_order(order);
        let (rows, cost) = observed.watch(observed.backend.query("*", params)).await;
        assert_eq!(rows.unwrap().len(), 500);
        cost.assert_seeks("latest", 1_000.0);
    }
    Ok(())
}

annals_test_postgres::server_tests! {
    async no_row_travels_for_what_the_server_computes,
    async a_window_of_a_plain_table_is_a_seek,
    async a_window_of_partitions_is_a_seek,
    async everything_is_read_in_one_pass,
    async a_value_at_a_time_is_one_seek_for_each_record,
    async latest_n_seeks,
}
