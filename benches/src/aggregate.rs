//! Hourly count, mean, minimum and maximum of one record and of all, against `annals sql`, a loop by hand
//! over the same rows, and SQL by hand on PostgreSQL; the same once all rows are at rest in columns; and the
//! memory of daily buckets.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use annals::{Aggregate, Batch, Bucket, PersistenceBackend, QueryExt, QueryParams, Row};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;
use tokio_postgres::NoTls;

use crate::places::{Place, must_hold, record};
use crate::report::{Report, Samples};
use crate::{Failure, Options, process};

/// 1 January 2025.
pub(crate) const EPOCH: u64 = 1_735_689_600_000;

const HOUR: u64 = 3_600_000;

/// A record has a row every 30 seconds.
pub(crate) const INTERVAL: u64 = 30_000;

/// One hour of one record, as every way computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hour {
    count: u64,
    mean: f64,
    min: f64,
    max: f64,
}

/// By record and start.
type Hours = BTreeMap<(String, u64), Hour>;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let Options { rows, records, .. } = *options;
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 2 * rows, records, INTERVAL).await?;
        must_hold(&*history, 2 * rows).await?;
        process::settled().await?;
        history.close().await?;
        for (pattern, what) in
            [("accuracy::*", "all records"), (&*record(0, records), "one record")]
        {
            measure(options, report, engine, &place, (pattern, what)).await?;
        }
        if engine != "postgres" {
            at_rest(options, report, engine, &place).await?;
        }
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 10 * rows, records, INTERVAL).await?;
        history.close().await?;
        let child = Command::new(std::env::current_exe()?)
            .args(["--aggregate-and-measure", &place.url])
            .stderr(Stdio::inherit())
            .output()?;
        let kibibytes: f64 = String::from_utf8(child.stdout)?.trim().parse()?;
        let what = format!("{engine}: peak memory, daily buckets of {} rows", 10 * rows);
        report.add(what, Samples(vec![kibibytes / 1_024.0]), "MiB");
    }
    Ok(())
}

/// Milliseconds of every way, in turns. All must agree.
async fn measure(
    options: &Options,
    report: &mut Report,
    engine: &str,
    place: &Place,
    (pattern, what): (&str, &str),
) -> Result<(), Failure> {
    let mut ways = [const { Samples(Vec::new()) }; 4];
    for _ in 0..options.rounds {
        let history = place.open().await?;
        // Whatever is read at first is in memory.
        let mut expected = Some(aggregate(&*history, pattern).await?);
        for (way, samples) in ways.iter_mut().enumerate() {
            let begun = Instant::now();
            let hours = match way {
                0 => aggregate(&*history, pattern).await?,
                1 => by_hand(&*history, pattern).await?,
                2 if engine == "postgres" => sql_by_hand(&place.url, pattern).await?,
                2 => continue,
                _ => {
                    // One process at a time can open redb's file.
                    history.close().await?;
                    annals_sql(&place.url, pattern)?
                }
            };
            samples.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            agree(expected.get_or_insert_with(|| hours.clone()), &hours)?;
        }
    }
    let [aggregated, looped, sql, program] = ways;
    let what = format!("{engine}: hourly buckets of {what}, {} rows", 2 * options.rows);
    report.compare(&what, aggregated.clone(), "ms", "`annals sql`, the same result", &program);
    report.compare(&what, aggregated.clone(), "ms", "a loop by hand over its rows", &looped);
    if !sql.0.is_empty() {
        report.compare(&what, aggregated, "ms", "SQL by hand on the same table", &sql);
    }
    Ok(())
}

/// Milliseconds before and after all rows have come to rest, and the bytes of the file.
async fn at_rest(
    options: &Options,
    report: &mut Report,
    engine: &str,
    place: &Place,
) -> Result<(), Failure> {
    let rows = 2 * options.rows;
    let (mut milliseconds, mut bytes) = (Vec::new(), Vec::new());
    let patterns = ["accuracy::*", &*record(0, options.records)];
    for is_at_rest in [false, true] {
        if is_at_rest {
            compact(&place.url)?;
        }
        bytes.push(Samples(vec![place.bytes()? as f64 / rows as f64]));
        let history = place.open().await?;
        for pattern in patterns {
            let mut samples = Samples::default();
            aggregate(&*history, pattern).await?;
            for _ in 0..options.rounds {
                let begun = Instant::now();
                aggregate(&*history, pattern).await?;
                samples.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            }
            milliseconds.push(samples);
        }
        history.close().await?;
    }
    let [all, one, all_at_rest, one_at_rest] = &milliseconds[..] else { return Ok(()) };
    let what = format!("{engine}: hourly buckets of all records at rest, {rows} rows");
    report.compare(what, all_at_rest.clone(), "ms", "before `annals compact`", all);
    let what = format!("{engine}: hourly buckets of one record at rest, {rows} rows");
    report.compare(what, one_at_rest.clone(), "ms", "before `annals compact`", one);
    let what = format!("{engine}: bytes a row at rest, {rows} rows");
    report.compare(what, bytes[1].clone(), "bytes", "before `annals compact`", &bytes[0]);
    Ok(())
}

/// Brings all rows to rest, by the program, built beforehand.
pub(crate) fn compact(url: &str) -> Result<(), Failure> {
    let program = std::env::current_exe()?.with_file_name("annals");
    let compact = Command::new(program).args(["--backend", url, "compact"]).output()?;
    if compact.status.success() { Ok(()) } else { Err("annals compact failed".into()) }
}

/// Rows of `{"celsius":…,"humidity":…,"ok":…}`; a record has one every `interval` milliseconds.
pub(crate) async fn fill(
    history: &dyn PersistenceBackend,
    rows: u64,
    records: u64,
    interval: u64,
) -> Result<(), Failure> {
    for first in (0..rows).step_by(4_096) {
        let row = |at: u64| {
            let spread = spread(at);
            let value = json!({
                "celsius": celsius(at),
                "humidity": 30.0 + (spread / 1_000 % 400) as f64 / 10.0,
                "ok": !spread.is_multiple_of(10),
            });
            Row::new(&record(at, records), &value, EPOCH + at / records * interval)
        };
        let rows = (first..(first + 4_096).min(rows)).map(row).collect::<Result<Vec<_>, _>>()?;
        history.store_batch(&Batch::new(rows)).await?;
    }
    Ok(())
}

fn spread(at: u64) -> u64 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

/// The member `celsius` of a row. Divides at the end, so that the text has at most two decimals.
pub(crate) fn celsius(at: u64) -> f64 {
    (1_500.0 + (spread(at) % 1_000) as f64) / 100.0
}

async fn aggregate(history: &dyn PersistenceBackend, pattern: &str) -> Result<Hours, Failure> {
    let hourly = Aggregate::every(Duration::from_millis(HOUR)).member("celsius");
    let hour = |bucket: &Bucket| {
        let hour = Hour {
            count: bucket.count,
            mean: bucket.mean()?,
            min: bucket.min()?,
            max: bucket.max()?,
        };
        Some(((bucket.record.to_string(), bucket.start.cast_unsigned()), hour))
    };
    let buckets = history.aggregate(pattern, &hourly).await?;
    buckets.iter().map(hour).collect::<Option<_>>().ok_or_else(|| "a bucket is empty".into())
}

async fn by_hand(history: &dyn PersistenceBackend, pattern: &str) -> Result<Hours, Failure> {
    #[derive(Deserialize)]
    struct Weather {
        celsius: f64,
    }
    let mut hours: BTreeMap<(std::sync::Arc<str>, u64), Hour> = BTreeMap::new();
    let mut rows = history.query_stream(pattern, QueryParams::default()).await?;
    while let Some(row) = rows.next().await {
        let row = row?;
        let Weather { celsius } = serde_json::from_str(&row.json)?;
        let empty = Hour { count: 0, mean: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        let hour = hours.entry((row.record, row.stored_at / HOUR * HOUR)).or_insert(empty);
        hour.count += 1;
        hour.mean += celsius;
        hour.min = hour.min.min(celsius);
        hour.max = hour.max.max(celsius);
    }
    let mean = |((record, start), hour): ((std::sync::Arc<str>, u64), Hour)| {
        ((record.to_string(), start), Hour { mean: hour.mean / hour.count as f64, ..hour })
    };
    Ok(hours.into_iter().map(mean).collect())
}

/// The program, built beforehand, in a process of its own.
fn annals_sql(url: &str, pattern: &str) -> Result<Hours, Failure> {
    let condition = match pattern.strip_suffix('*') {
        Some(_) => format!("record_name GLOB '{pattern}'"),
        None => format!("record_name = '{pattern}'"),
    };
    let celsius = "CAST(value_json ->> '$.celsius' AS REAL)";
    let sql = format!(
        "SELECT record_name AS record, stored_at / {HOUR} * {HOUR} AS start, count(*) AS count, \
         avg({celsius}) AS mean, min({celsius}) AS min, max({celsius}) AS max \
         FROM record_history WHERE {condition} GROUP BY 1, 2"
    );
    let program = std::env::current_exe()?.with_file_name("annals");
    let run = Command::new(&program)
        .args(["--backend", url, "sql", &sql, "--output", "ndjson"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}; build annals-cli first", program.display()))?;
    if !run.status.success() {
        return Err("annals sql failed".into());
    }
    #[derive(Deserialize)]
    struct Line {
        record: String,
        start: u64,
        count: u64,
        mean: f64,
        min: f64,
        max: f64,
    }
    let mut hours = Hours::new();
    for line in serde_json::Deserializer::from_slice(&run.stdout).into_iter::<Line>() {
        let Line { record, start, count, mean, min, max } = line?;
        hours.insert((record, start), Hour { count, mean, min, max });
    }
    Ok(hours)
}

/// The best SQL by hand: one scan of the table with the numbers of trusted JSON.
async fn sql_by_hand(url: &str, pattern: &str) -> Result<Hours, Failure> {
    let (url, schema) = url.split_once("?schema=").ok_or("a place without a schema")?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let like = pattern.replace('*', "%");
    let sql = format!(
        "SELECT r.name, h.start, h.count, h.mean, h.min, h.max FROM (
             SELECT record_id, stored_at / {HOUR} * {HOUR} AS start, count(*) AS count,
                 avg(celsius) AS mean, min(celsius) AS min, max(celsius) AS max
             FROM (SELECT record_id, stored_at, (value::json ->> 'celsius')::float8 AS celsius
                   FROM \"{schema}\".history WHERE record_id IN
                       (SELECT id FROM \"{schema}\".records WHERE name LIKE '{like}')) AS samples
             GROUP BY 1, 2) AS h
         JOIN \"{schema}\".records AS r ON r.id = h.record_id"
    );
    let hour = |row: tokio_postgres::Row| {
        let (start, count): (i64, i64) = (row.get(1), row.get(2));
        let (mean, min, max) = (row.get(3), row.get(4), row.get(5));
        let hour = Hour { count: count.cast_unsigned(), mean, min, max };
        ((row.get(0), start.cast_unsigned()), hour)
    };
    Ok(client.query(&sql, &[]).await?.into_iter().map(hour).collect())
}

/// Fails unless both have the same hours; means may differ in their last digits.
fn agree(one: &Hours, other: &Hours) -> Result<(), Failure> {
    let same = |a: &Hour, b: &Hour| {
        (a.count, a.min, a.max) == (b.count, b.min, b.max)
            && (a.mean - b.mean).abs() <= 1e-9 * a.mean.abs()
    };
    let all =
        one.keys().eq(other.keys()) && one.values().zip(other.values()).all(|(a, b)| same(a, b));
    if all { Ok(()) } else { Err("two ways do not agree".into()) }
}

/// The child's part: daily buckets of everything, and the memory that took.
#[expect(clippy::print_stdout, reason = "the answer to the parent")]
pub(crate) async fn aggregate_and_measure(url: &str) -> Result<(), Failure> {
    let history = annals::connect(url).await?;
    let daily = Aggregate::every(Duration::from_millis(24 * HOUR)).member("celsius");
    let mut buckets = history.aggregate_stream("*", &daily).await?;
    let mut rows = 0;
    while let Some(bucket) = buckets.next().await {
        rows += bucket?.count;
    }
    if rows == 0 {
        return Err("there were no rows".into());
    }
    println!("{}", process::peak_kibibytes()?);
    Ok(())
}
