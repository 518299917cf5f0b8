//! A million expired rows: whole partitions and chunks against as many rows deleted, and the
//! longest wait of a store meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals::PersistenceBackend;
use annals_test_postgres::{Extension, TestServer};

use crate::places::{Place, fill, must_hold, record, time, value};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

/// Rows that stay, for each that goes.
const KEPT: u64 = 10;

/// How many partitions or chunks the rows that go are in.
const PARTS: u64 = 10;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    if !options.engines.iter().any(|engine| engine == "postgres") {
        return Ok(());
    }
    // A row a millisecond, and the first time is no multiple of anything: one more part than that.
    let interval = options.rows.div_ceil(PARTS);
    let mut layouts = vec![
        ("DELETE", None, "timescale=off".to_owned()),
        ("partitions", None, format!("partition_interval={interval}ms")),
    ];
    for (what, extension) in
        [("chunks", Extension::Timescale), ("chunks (Apache)", Extension::TimescaleApache)]
    {
        match TestServer::lacks(extension)? {
            None => layouts.push((
                what,
                Some(extension),
                format!("timescale=require&chunk_interval={interval}ms&compress_after=36500d"),
            )),
            Some(reason) => eprintln!("{what} are left out: {reason}"),
        }
    }
    let mut taken = vec![(Samples::default(), Samples::default()); layouts.len()];
    for _ in 0..options.rounds {
        for (layout, (cost, wait)) in layouts.iter().zip(&mut taken) {
            let place = Place::on_postgres(layout.1, &layout.2)?;
            let (elapsed, longest) = measure(&place, options).await?;
            cost.0.push(elapsed.as_secs_f64() * 1_000.0);
            wait.0.push(longest.as_secs_f64() * 1_000.0);
        }
    }
    let rows = options.rows;
    let deleted = taken[0].0.clone();
    for ((what, ..), (cost, wait)) in layouts.iter().zip(taken) {
        let cleanup = format!("postgres: cleanup of {rows} rows, {what}");
        match *what {
            "DELETE" => report.add(cleanup, cost, "ms"),
            _ => report.compare(cleanup, cost, "ms", "DELETE", &deleted),
        }
        let waited = format!("postgres: longest wait of a store meanwhile, {what}");
        report.add(waited, wait, "ms");
    }
    Ok(())
}

/// How long the cleanup takes, and the longest of the stores that were made meanwhile.
async fn measure(place: &Place, options: &Options) -> Result<(Duration, Duration), Failure> {
    let Options { rows, records, .. } = *options;
    let history = place.open().await?;
    // Whole parts: from the first multiple of the interval on.
    let interval = rows.div_ceil(PARTS);
    let first = interval - time(0) % interval;
    let kept = rows / KEPT;
    fill(&*history, first, first + rows + kept, records).await?;
    must_hold(&*history, rows + kept).await?;
    let done = Arc::new(AtomicBool::new(false));
    let storing = tokio::spawn({
        let (history, done) = (place.open().await?, done.clone());
        async move {
            let (mut longest, mut stored) = (Duration::ZERO, 0);
            while !done.load(Ordering::Relaxed) {
                let at = first + rows + kept + stored;
                let begun = Instant::now();
                history.store(&record(at, records), &value(at), time(at)).await?;
                longest = longest.max(begun.elapsed());
                stored += 1;
            }
            history.close().await?;
            Ok::<_, Failure>((longest, stored))
        }
    });
    let begun = Instant::now();
    let removed = history.cleanup(time(first + rows)).await?;
    let elapsed = begun.elapsed();
    done.store(true, Ordering::Relaxed);
    let (longest, stored) = storing.await??;
    if removed != rows {
        return Err(format!("{rows} rows were expired and {removed} were removed").into());
    }
    must_hold(&*history, kept + stored).await?;
    history.close().await?;
    Ok((elapsed, longest))
}
