//! Rows a second through `store`, the call for one row, from many tasks at once.

use std::time::{Duration, Instant};

use crate::places::{Place, must_hold, record, time, value};
use crate::raw::Until;
use crate::raw::sqlite::{Layout, rows_per_second};
use crate::report::{Report, Samples};
use crate::{Failure, Options, peer};

const CALLERS: [u64; 3] = [1, 16, 256];

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    if !options.no_peer {
        peer::build()?;
    }
    for callers in CALLERS {
        let mut ours: Vec<(&str, Samples)> =
            options.engines.iter().map(|engine| (&**engine, Samples::default())).collect();
        let (mut by_hand, mut peers) = (Samples::default(), Samples::default());
        for _ in 0..options.rounds {
            for (engine, samples) in &mut ours {
                samples.0.push(load(engine, callers, options).await?);
            }
            by_hand.0.push(by_hand_once(callers, options)?);
            if !options.no_peer {
                let arguments =
                    ["store".to_owned(), callers.to_string(), options.seconds.to_string()];
                peers.0.push(peer::measure(&arguments, "rows_per_second")?);
            }
        }
        let what = format!("store, {callers} callers");
        for (engine, samples) in ours {
            let name = format!("{engine}: {what}");
            match engine {
                "sqlite" if !options.no_peer => {
                    report.compare(&name, samples.clone(), "rows/s", "AimDB's own", &peers);
                    let with = format!("SQLite by hand, {callers} rows a commit");
                    report.compare(&name, samples, "rows/s", &with, &by_hand);
                }
                _ => report.add(&name, samples, "rows/s"),
            }
        }
        report.add(format!("SQLite by hand, {callers} rows a commit"), by_hand, "rows/s");
        if !options.no_peer {
            report.add(format!("AimDB's own: {what}"), peers, "rows/s");
        }
    }
    Ok(())
}

/// The layout that reads as annals does, with as many rows a commit as there are callers.
fn by_hand_once(callers: u64, options: &Options) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let until = Until::Elapsed(Duration::from_secs(options.seconds));
    let file = folder.path().join("raw.db");
    rows_per_second(&file, Layout::Clustered, callers, options.records, until)
}

async fn load(engine: &str, callers: u64, options: &Options) -> Result<f64, Failure> {
    let place = Place::new(engine)?;
    let history = place.open().await?;
    let records = options.records;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(options.seconds);
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let history = history.clone();
            tokio::spawn(async move {
                let mut stored = 0;
                while Instant::now() < end {
                    let at = stored * callers + caller;
                    history.store(&record(at, records), &value(at), time(at)).await?;
                    stored += 1;
                }
                Ok::<u64, annals::PersistenceError>(stored)
            })
        })
        .collect();
    let mut rows = 0;
    for task in tasks {
        rows += task.await??;
    }
    let elapsed = begun.elapsed().as_secs_f64();
    must_hold(&*history, rows).await?;
    history.close().await?;
    Ok(rows as f64 / elapsed)
}
