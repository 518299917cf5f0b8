//! The latest 5 of every record, over a history and over one ten times as long.

use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, Value};

use crate::places::{Place, fill, must_hold};
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
    }
    if !options.no_peer {
        report.add(format!("AimDB's own: latest 5 of {records} records, {rows} rows"), peers, "ms");
    }
    Ok(())
}

/// Milliseconds, five times, once nothing else goes on; fails unless as many rows come back as there must be.
pub(crate) async fn measure(
    history: &dyn PersistenceBackend,
    expected: u64,
) -> Result<Samples, Failure> {
    process::settled().await?;
    let mut milliseconds = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let latest: Vec<Value> = history.query_latest("accuracy::*", 5).await?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1_000.0);
        if latest.len() as u64 != expected {
            return Err(
                format!("{expected} values were to come back, and {} did", latest.len()).into()
            );
        }
    }
    Ok(Samples(milliseconds))
}
