//! The latest 5 of every record, over a history and over one ten times as long.

use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, Value};

use crate::places::{Place, fill, must_hold};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let Options { rows, records, .. } = *options;
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 0, rows, records).await?;
        must_hold(&*history, rows).await?;
        let short = measure(&*history, options).await?;
        fill(&*history, rows, 10 * rows, records).await?;
        must_hold(&*history, 10 * rows).await?;
        let long = measure(&*history, options).await?;
        history.close().await?;
        let what = format!("{engine}: latest 5 of {records} records");
        report.add(format!("{what}, {rows} rows"), short.clone(), "ms");
        let with = format!("that of {rows} rows");
        report.compare(format!("{what}, {} rows", 10 * rows), long, "ms", &with, &short);
    }
    Ok(())
}

async fn measure(history: &dyn PersistenceBackend, options: &Options) -> Result<Samples, Failure> {
    let mut milliseconds = Vec::new();
    for _ in 0..options.rounds.max(5) {
        let begun = Instant::now();
        let latest: Vec<Value> = history.query_latest("accuracy::*", 5).await?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1_000.0);
        if latest.len() as u64 != 5 * options.records {
            return Err(format!("{} values came back", latest.len()).into());
        }
    }
    Ok(Samples(milliseconds))
}
