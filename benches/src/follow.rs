//! How late a row reaches its followers: from its acknowledgement to its delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::{FollowFrom, FollowParams, FollowStream, PersistenceBackend};
use tokio::time::interval;

use crate::places::{Place, fill, time};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

const FOLLOWERS: usize = 10;
/// 50,000 rows a second.
const BATCH: u64 = 500;
const EVERY: Duration = Duration::from_millis(10);

/// What one run showed.
struct Run {
    rows_per_second: f64,
    /// The 99th percentile of all deliveries.
    late_ms: f64,
}

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        // A redb file is open once.
        let handles = if engine == "redb" { &["the same"][..] } else { &["the same", "another"] };
        for handle in handles {
            let (mut late, mut speed) = (Samples::default(), Samples::default());
            for _ in 0..options.rounds {
                let place = Place::new(engine)?;
                let writer = place.open().await?;
                let reader = match *handle {
                    "another" => place.open().await?,
                    _ => writer.clone(),
                };
                let run = measure(&writer, &reader, options).await?;
                late.0.push(run.late_ms);
                speed.0.push(run.rows_per_second);
                reader.close().await?;
                writer.close().await?;
            }
            let name = |what: &str| {
                format!("{engine}: {FOLLOWERS} followers through {handle} handle, {what}")
            };
            report.add(name("99th percentile"), late, "ms");
            report.add(name("stored meanwhile"), speed, "rows/s");
        }
    }
    Ok(())
}

async fn measure(
    writer: &Arc<dyn PersistenceBackend>,
    reader: &Arc<dyn PersistenceBackend>,
    options: &Options,
) -> Result<Run, Failure> {
    let batches = options.seconds * 1_000 / EVERY.as_millis() as u64;
    let rows = batches * BATCH;
    let now = FollowParams::from(FollowFrom::Now).with_wait(false);
    let begin = reader.follow_page("*", &now).await?.cursor;
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|_| {
            let (reader, begin) = (reader.clone(), begin.clone());
            tokio::spawn(async move { delivered(reader, begin.into(), rows).await })
        })
        .collect();
    let mut acknowledged = Vec::new();
    let mut ticks = interval(EVERY);
    let begun = Instant::now();
    for batch in 0..batches {
        ticks.tick().await;
        fill(&**writer, batch * BATCH, (batch + 1) * BATCH, options.records).await?;
        acknowledged.push(Instant::now());
    }
    let rows_per_second = rows as f64 / begun.elapsed().as_secs_f64();
    let mut late = Samples::default();
    for follower in followers {
        for (row, at) in follower.await?? {
            let acknowledged = acknowledged.get((row / BATCH) as usize).ok_or("an unknown row")?;
            late.0.push(at.saturating_duration_since(*acknowledged).as_secs_f64() * 1e3);
        }
    }
    late.0.sort_by(f64::total_cmp);
    let late_ms = late.0.get(late.0.len() * 99 / 100).copied().ok_or("nothing was delivered")?;
    Ok(Run { rows_per_second, late_ms })
}

/// The numbers of all rows, and when each was delivered.
async fn delivered(
    reader: Arc<dyn PersistenceBackend>,
    params: FollowParams,
    rows: u64,
) -> Result<Vec<(u64, Instant)>, Failure> {
    let mut stream = FollowStream::new(reader, "*", params);
    let mut delivered = Vec::new();
    while (delivered.len() as u64) < rows {
        let page = stream.next_rows().await.ok_or("the stream ended")??;
        let at = Instant::now();
        delivered.extend(page.iter().map(|row| (row.stored_at - time(0), at)));
    }
    Ok(delivered)
}
