//! The longest wait of a `store` while something large goes on beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals::{PersistenceBackend, QueryParams};
use futures::StreamExt;

use crate::places::{Place, fill, must_hold, record, time, value};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let rows = options.rows;
    for engine in &options.engines {
        let (mut quiet, mut reading, mut sweeping) =
            (Samples::default(), Samples::default(), Samples::default());
        let mut sweeps = Samples::default();
        for _ in 0..options.rounds {
            let place = Place::new(engine)?;
            let history = place.open().await?;
            fill(&*history, 0, rows, options.records).await?;
            let stores = Stores::begin(&history, rows);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (first, longest) = stores.end().await?;
            quiet.0.push(longest);
            let stores = Stores::begin(&history, rows + first);
            let mut stream = history.query_stream("*", QueryParams::default()).await?;
            let mut read = 0;
            while let Some(row) = stream.next().await {
                row?;
                read += 1;
            }
            let (second, longest) = stores.end().await?;
            reading.0.push(longest);
            if read < rows {
                return Err(format!("{rows} rows were stored and {read} were read").into());
            }
            let stores = Stores::begin(&history, rows + first + second);
            let begun = Instant::now();
            let removed = history.cleanup(time(rows / 2)).await?;
            sweeps.0.push(begun.elapsed().as_secs_f64() * 1_000.0);
            let (third, longest) = stores.end().await?;
            sweeping.0.push(longest);
            if removed != rows / 2 {
                return Err(format!("{} rows were to go and {removed} went", rows / 2).into());
            }
            must_hold(&*history, rows - removed + first + second + third).await?;
            history.close().await?;
        }
        let name = |meanwhile: &str| format!("{engine}: longest wait of a store while {meanwhile}");
        report.add(name("nothing else goes on for 1 s"), quiet, "ms");
        report.add(name(&format!("{rows} rows are read")), reading, "ms");
        report.add(name(&format!("{} rows are cleaned up", rows / 2)), sweeping, "ms");
        report.add(format!("{engine}: that cleanup"), sweeps, "ms");
    }
    Ok(())
}

/// A task that stores row after row.
struct Stores {
    enough: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(u64, f64), annals::PersistenceError>>,
}

impl Stores {
    fn begin(history: &Arc<dyn PersistenceBackend>, from: u64) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let (history, seen) = (history.clone(), enough.clone());
        let task = tokio::spawn(async move {
            let (mut stored, mut longest) = (0, 0.0);
            while !seen.load(Ordering::Relaxed) {
                let at = from + stored;
                let (name, value) = (record(at, 1_000), value(at));
                let begun = Instant::now();
                history.store(&name, &value, time(at)).await?;
                longest = f64::max(longest, begun.elapsed().as_secs_f64() * 1_000.0);
                stored += 1;
            }
            Ok((stored, longest))
        });
        Self { enough, task }
    }

    /// How many rows it stored, and the longest wait in milliseconds.
    async fn end(self) -> Result<(u64, f64), Failure> {
        self.enough.store(true, Ordering::Relaxed);
        Ok(self.task.await??)
    }
}
