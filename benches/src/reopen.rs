//! From opening a store with a long history to its first answer.

use std::time::Instant;

use annals::{QueryExt, Value};

use crate::places::{Place, fill, record};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 0, options.rows, options.records).await?;
        history.close().await?;
        drop(history);
        let mut milliseconds = Samples::default();
        for _ in 0..options.rounds.max(5) {
            let begun = Instant::now();
            let history = place.open().await?;
            let newest: Vec<Value> = history.query_latest(&record(0, options.records), 1).await?;
            milliseconds.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            if newest.len() != 1 {
                return Err("the history is not there".into());
            }
            history.close().await?;
        }
        let what = format!("{engine}: open {} rows, and the latest of one record", options.rows);
        report.add(what, milliseconds, "ms");
    }
    Ok(())
}
