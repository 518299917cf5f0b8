//! A long history at rest: daily count, mean, minimum and maximum of all records, the latest 5 of each, and the
//! bytes that were written over its life.

use std::time::{Duration, Instant};

use annals::{Aggregate, PersistenceBackend, QueryExt, Value};

use annals_embedded::Tuning;

use crate::places::{Place, must_hold};
use crate::report::{Report, Samples};
use crate::{Failure, Options, aggregate, process};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let Options { records, .. } = *options;
    let rows = 100 * options.rows;
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        let place = Place::new(engine)?;
        let before = process::written_bytes()?;
        let history = place.open().await?;
        aggregate::fill(&*history, rows, records, aggregate::INTERVAL).await?;
        must_hold(&*history, rows).await?;
        history.close().await?;
        place.bring_to_rest(engine, Tuning::default()).await?;
        let written = process::written_bytes()? - before;
        let history = place.open().await?;
        let question = Aggregate::every(Duration::from_secs(86_400)).member("celsius");
        let (mut daily, mut latest) = (Samples::default(), Samples::default());
        let mut used = Samples::default();
        for _ in 0..options.rounds {
            let (begun, before) = (Instant::now(), process::processor_nanoseconds()?);
            let count: u64 =
                history.aggregate("*", &question).await?.iter().map(|bucket| bucket.count).sum();
            daily.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            used.0.push((process::processor_nanoseconds()? - before) as f64 / 1e6);
            if count != rows {
                return Err(format!("{rows} rows were stored and {count} counted").into());
            }
            let begun = Instant::now();
            let found = history.query_latest::<Value>("*", 5).await?.len() as u64;
            latest.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            if found != 5 * records {
                return Err(format!("{found} rows are the latest 5 of {records} records").into());
            }
        }
        history.close().await?;
        let per_row = |bytes: u64| Samples(vec![bytes as f64 / rows as f64]);
        let what = |what| format!("{engine}, {rows} rows of {records} records at rest: {what}");
        report.add(what("daily buckets"), daily, "ms");
        report.add(what("daily buckets, processor time"), used, "ms");
        report.add(what("latest 5"), latest, "ms");
        report.add(what("size"), per_row(place.bytes()?), "bytes/row");
        report.add(what("written over its life"), per_row(written), "bytes/row");
    }
    Ok(())
}
