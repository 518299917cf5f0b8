//! The latest 5 of every record, over a history and over one ten times as long, and the value of every
//! record at a time in the middle of it.

use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, Value};

use crate::places::{Place, fill, must_hold, time};
use crate::report::{Report, Samples};
use crate::{Failure, Options, peer, process};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let Options { rows, records, .. } = *options;
    let mut peers = Samples::default();
    if !options.no_peer {
        peer::build()?;
        let arguments = ["latest".to_owned(), rows.to_string(), records.to_string()];
        peers.0.push(peer::measure(&arguments, "milliseconds")?);
    }
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 0, rows, records).await?;
        must_hold(&*history, rows).await?;
        let short = measure(&*history, 5 * records).await?;
        fill(&*history, rows, 10 * rows, records).await?;
        must_hold(&*history, 10 * rows).await?;
        let long = measure(&*history, 5 * records).await?;
        let latest =
            milliseconds(records, || history.query_latest::<Value>("accuracy::*", 1)).await?;
        let middle = time(5 * rows);
        let at = milliseconds(records, || history.value_at("accuracy::*", middle)).await?;
        history.close().await?;
        let what = format!("{engine}: latest 5 of {records} records");
        let of_few = format!("{what}, {rows} rows");
        if options.no_peer {
            report.add(of_few, short.clone(), "ms");
        } else {
            report.compare(of_few, short.clone(), "ms", "AimDB's own", &peers);
        }
        let with = format!("that of {rows} rows");
        report.compare(format!("{what}, {} rows", 10 * rows), long, "ms", &with, &short);
        let what =
            format!("{engine}: the values of {records} records at a time, {} rows", 10 * rows);
        report.compare(what, at, "ms", "the latest of each", &latest);
    }
    if !options.no_peer {
        report.add(format!("AimDB's own: latest 5 of {records} records, {rows} rows"), peers, "ms");
    }
    Ok(())
}

/// Milliseconds of the latest 5 of every record.
pub(crate) async fn measure(
    history: &dyn PersistenceBackend,
    expected: u64,
) -> Result<Samples, Failure> {
    milliseconds(expected, || history.query_latest::<Value>("accuracy::*", 5)).await
}

/// Milliseconds, five times, once nothing else goes on; fails unless as many rows come back as there must be.
async fn milliseconds<T, F>(expected: u64, mut ask: impl FnMut() -> F) -> Result<Samples, Failure>
where
    F: Future<Output = annals::Result<Vec<T>>>,
{
    process::settled().await?;
    let mut milliseconds = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let values = ask().await?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1_000.0);
        if values.len() as u64 != expected {
            return Err(
                format!("{expected} values were to come back, and {} did", values.len()).into()
            );
        }
    }
    Ok(Samples(milliseconds))
}
