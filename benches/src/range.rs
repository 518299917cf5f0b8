//! One record read whole, newest first: a tenth of the rows.

use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, QueryParams};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::places::{Place, Sample, fill, record};
use crate::raw::sqlite::Layout;
use crate::raw::{self, Until};
use crate::report::{Report, Samples};
use crate::{Failure, Options, aggregate, process};

/// Few, so that each has many rows.
const RECORDS: u64 = 10;

/// Rows a commit of the file by hand.
const BATCH: u64 = 4_096;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let rows = options.rows.div_ceil(RECORDS) * RECORDS;
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 0, rows, RECORDS).await?;
        // As a program finds it that reads what another one wrote.
        history.close().await?;
        let history = place.open().await?;
        let file = place.beside("raw");
        let until = Until::Rows(rows);
        match &**engine {
            "sqlite" => {
                let layout = Layout::Clustered;
                raw::sqlite::rows_per_second(&file, layout, BATCH, RECORDS, until)?;
            }
            "redb" => {
                raw::redb::rows_per_second(&file, BATCH, RECORDS, until)?;
            }
            _ => {}
        }
        let mut ways = [const { Samples(Vec::new()) }; 4];
        let expected = rows / RECORDS;
        for _ in 0..options.rounds.max(5) {
            for (way, samples) in ways.iter_mut().enumerate() {
                let begun = Instant::now();
                let found = match way {
                    0 => typed::<Sample>(&*history).await?,
                    1 => texts(&*history).await?,
                    2 => streamed(&*history).await?,
                    _ => {
                        let speed = match &**engine {
                            "sqlite" => raw::sqlite::scan(&file, 1, expected)?,
                            "redb" => raw::redb::scan(&file, 0, expected)?,
                            _ => continue,
                        };
                        samples.0.push(speed);
                        continue;
                    }
                };
                samples.0.push(found as f64 / begun.elapsed().as_secs_f64());
                if found != expected {
                    return Err(format!("{expected} rows were stored and {found} came back").into());
                }
            }
        }
        history.close().await?;
        at_rest(options, report, engine).await?;
        let [typed, texts, streamed, by_hand] = ways;
        let what = |way| format!("{engine}: {expected} rows of one record, {way}");
        for (way, samples) in [("typed", typed), ("as text", texts), ("streamed", streamed)] {
            if by_hand.0.is_empty() {
                report.add(what(way), samples, "rows/s");
            } else {
                report.compare(
                    what(way),
                    samples,
                    "rows/s",
                    "a scan by hand into the type",
                    &by_hand,
                );
            }
        }
    }
    Ok(())
}

/// So few rows that none comes to rest by itself.
const ROWS_OF_TEXT: u64 = 500_000;

/// A row of [`aggregate::fill`].
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is read and nothing else")]
struct Weather {
    celsius: f64,
    humidity: f64,
    ok: bool,
}

/// One record before and after all rows came to rest.
async fn at_rest(options: &Options, report: &mut Report, engine: &str) -> Result<(), Failure> {
    if engine == "postgres" {
        return Ok(());
    }
    let rows = options.rows.min(ROWS_OF_TEXT) / RECORDS * RECORDS;
    let place = Place::new(engine)?;
    let history = place.open().await?;
    aggregate::fill(&*history, rows, RECORDS, aggregate::INTERVAL).await?;
    history.close().await?;
    let mut forms = Vec::new();
    for is_at_rest in [false, true] {
        if is_at_rest {
            place.bring_to_rest(engine).await?;
        }
        let history = place.open().await?;
        let mut ways = [const { [const { Samples(Vec::new()) }; 2] }; 3];
        for _ in 0..options.rounds.max(5) {
            for (way, [speeds, used]) in ways.iter_mut().enumerate() {
                let (begun, before) = (Instant::now(), process::processor_nanoseconds()?);
                let found = match way {
                    0 => typed::<Weather>(&*history).await?,
                    1 => texts(&*history).await?,
                    _ => streamed(&*history).await?,
                };
                let used_nanoseconds = process::processor_nanoseconds()? - before;
                speeds.0.push(found as f64 / begun.elapsed().as_secs_f64());
                used.0.push(used_nanoseconds as f64 / found as f64);
                if found != rows / RECORDS {
                    return Err(
                        format!("{rows} rows were stored, {found} of a record found").into()
                    );
                }
            }
        }
        history.close().await?;
        forms.push(ways);
    }
    let [text, columns] = &forms[..] else { return Ok(()) };
    let with = "before they came to rest";
    for (way, (text, columns)) in
        ["typed", "as text", "streamed"].into_iter().zip(text.iter().zip(columns))
    {
        let what = format!("{engine}: {} rows of one record at rest, {way}", rows / RECORDS);
        report.compare(&*what, columns[0].clone(), "rows/s", with, &text[0]);
        let what = format!("{what}, processor time of a row");
        report.compare(what, columns[1].clone(), "ns", with, &text[1]);
    }
    Ok(())
}

async fn typed<T: DeserializeOwned + Send>(
    history: &dyn PersistenceBackend,
) -> Result<u64, Failure> {
    let rows: Vec<T> = history.query_range(&record(0, RECORDS), 0, u64::MAX).await?;
    Ok(rows.len() as u64)
}

async fn texts(history: &dyn PersistenceBackend) -> Result<u64, Failure> {
    let record = record(0, RECORDS);
    let rows = history.query_typed::<Box<RawValue>>(&record, QueryParams::default()).await?;
    Ok(rows.rows.len() as u64)
}

async fn streamed(history: &dyn PersistenceBackend) -> Result<u64, Failure> {
    let mut rows =
        history.stream_typed::<Box<RawValue>>(&record(0, RECORDS), QueryParams::default()).await?;
    let mut count = 0;
    while let Some(row) = rows.next().await {
        row?;
        count += 1;
    }
    Ok(count)
}
