//! Rows a second through one recorder into PostgreSQL, against COPY by hand into the same table,
//! and through four processes at once.

use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use annals::{Batch, PersistenceBackend, Recorder, RecorderConfig, Row, Value};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::places::{Place, must_hold, record, time, value};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

/// Rows a transaction, which is the recorder's default.
const BATCH: u64 = 4_096;

const PROCESSES: usize = 4;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let (mut recorded, mut by_hand) = (Samples::default(), Samples::default());
    let (mut one, mut four) = (Samples::default(), Samples::default());
    for _ in 0..options.rounds {
        let place = Place::new("postgres")?;
        let rows = load(&place.url, options.seconds, options.records).await?;
        recorded.0.push(per_second(&rows)?);
        by_hand.0.push(raw(options).await?);
        one.0.push(processes(1, options).await?);
        four.0.push(processes(PROCESSES, options).await?);
    }
    let with = format!("COPY by hand, {BATCH} rows a commit");
    report.compare("postgres: one recorder", recorded, "rows/s", &with, &by_hand);
    report.add(with, by_hand, "rows/s");
    let what = format!("postgres: {PROCESSES} processes with a recorder each");
    report.compare(what, four, "rows/s", "one process", &one);
    Ok(())
}

fn per_second(answer: &Value) -> Result<f64, Failure> {
    let rows = answer["rows"].as_f64().ok_or("no number of rows")?;
    let seconds = answer["seconds"].as_f64().ok_or("no time")?;
    Ok(rows / seconds)
}

/// Records as fast as the recorder takes it, and waits until all of it is stored.
async fn load(url: &str, seconds: u64, records: u64) -> Result<Value, Failure> {
    let history = annals::connect(url).await?;
    let names: Vec<String> = (0..records).map(|at| record(at, records)).collect();
    let first = names.iter().map(|name| Row::new(name, &value(0), time(0)));
    history.store_batch(&Batch::new(first.collect::<Result<Vec<_>, _>>()?)).await?;
    let recorder = Recorder::new(history.clone(), RecorderConfig::default());
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let mut rows = 0;
    while Instant::now() < end {
        for name in &names {
            recorder.record_at(name, &value(rows), time(rows)).await?;
            rows += 1;
        }
    }
    recorder.flush().await?;
    let elapsed = begun.elapsed().as_secs_f64();
    let stats = recorder.stats().total;
    recorder.close().await?;
    if stats.stored != rows {
        return Err(format!("{rows} rows were recorded and {} stored", stats.stored).into());
    }
    history.close().await?;
    Ok(serde_json::json!({ "rows": rows, "seconds": elapsed }))
}

/// The child's part.
#[expect(clippy::print_stdout, reason = "the answer to the parent")]
pub(crate) async fn record_and_measure(url: &str, options: &Options) -> Result<(), Failure> {
    println!("{}", load(url, options.seconds, options.records).await?);
    Ok(())
}

/// The sum of what so many processes record into one history at once.
async fn processes(count: usize, options: &Options) -> Result<f64, Failure> {
    let place = Place::new("postgres")?;
    let history = place.open().await?;
    let start = || {
        Command::new(std::env::current_exe()?)
            .args(["--copy-and-measure", &place.url])
            .args(["--seconds", &options.seconds.to_string()])
            .args(["--records", &options.records.to_string()])
            .stdout(Stdio::piped())
            .spawn()
    };
    let children = (0..count).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let (mut total, mut rows) = (0.0, 0);
    for child in children {
        let answer: Value = serde_json::from_slice(&child.wait_with_output()?.stdout)?;
        total += per_second(&answer)?;
        rows += answer["rows"].as_u64().ok_or("no number of rows")? + options.records;
    }
    must_hold(&*history, rows).await?;
    history.close().await?;
    Ok(total)
}

/// COPY by hand into a history that annals made, with the ids known beforehand.
async fn raw(options: &Options) -> Result<f64, Failure> {
    let place = Place::new("postgres")?;
    let history = place.open().await?;
    history.close().await?;
    let (url, schema) = place.url.split_once("?schema=").ok_or("a place without a schema")?;
    let (mut client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let copy = format!("COPY \"{schema}\".history (record_id, stored_at, value) FROM STDIN BINARY");
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let mut rows = 0;
    while Instant::now() < end {
        copy_batch(&mut client, &copy, rows, options.records).await?;
        rows += BATCH;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let count = format!("SELECT count(*) FROM \"{schema}\".history");
    let found: i64 = client.query_one(&count, &[]).await?.get(0);
    match u64::try_from(found) {
        Ok(found) if found == rows => Ok(rows as f64 / elapsed),
        _ => Err(format!("{rows} rows were copied and {found} were found").into()),
    }
}

async fn copy_batch(
    client: &mut Client,
    copy: &str,
    from: u64,
    records: u64,
) -> Result<(), Failure> {
    let transaction = client.transaction().await?;
    let sink = transaction.copy_in(copy).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT8, Type::INT8, Type::TEXT]));
    for at in from..from + BATCH {
        let (id, time) = ((at % records + 1).cast_signed(), time(at).cast_signed());
        writer.as_mut().write(&[&id, &time, &value(at).to_string()]).await?;
    }
    writer.finish().await?;
    Ok(transaction.commit().await?)
}
