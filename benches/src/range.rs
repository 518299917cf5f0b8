//! One record read whole, newest first: a tenth of the rows.

use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, QueryParams};
use futures::StreamExt;
use serde_json::value::RawValue;

use crate::places::{Place, Sample, fill, record};
use crate::raw::sqlite::Layout;
use crate::raw::{self, Until};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

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
                    0 => typed(&*history).await?,
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

async fn typed(history: &dyn PersistenceBackend) -> Result<u64, Failure> {
    let rows: Vec<Sample> = history.query_range(&record(0, RECORDS), 0, u64::MAX).await?;
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
