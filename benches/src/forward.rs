//! Forwarding a file to PostgreSQL, against what the recorder stores into that server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::{Forwarder, PersistenceBackend};
use tokio::time::interval;

use crate::places::{Place, fill, must_end_with, must_hold};
use crate::recorder;
use crate::report::{Report, Samples};
use crate::{Failure, Options};

/// What comes in while a forwarder catches up: so many rows, so often.
const INCOMING: u64 = 1_000;
const EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        let (mut forwarded, mut recorded) = (Samples::default(), Samples::default());
        let mut behind = Samples::default();
        for _ in 0..options.rounds {
            let cost = recorder::cost("postgres", options.rows, options.records)?;
            recorded.0.push(1e6 / cost);
            forwarded.0.push(speed(engine, options).await?);
            behind.0.push(catch_up(engine, options).await?);
        }
        let name = |what: &str| format!("{engine} to postgres: {} rows {what}", options.rows);
        let with = "the recorder into that server";
        report.compare(name("forwarded"), forwarded, "rows/s", with, &recorded);
        report.add(format!("{with}, {} rows", options.rows), recorded, "rows/s");
        report.add(name("behind, caught up with 10,000 rows/s coming in"), behind, "s");
    }
    Ok(())
}

struct Ends {
    edge: Arc<dyn PersistenceBackend>,
    cloud: Arc<dyn PersistenceBackend>,
    _places: [Place; 2],
}

impl Ends {
    /// A full source, and an empty destination.
    async fn new(engine: &str, options: &Options) -> Result<Self, Failure> {
        let places = [Place::new(engine)?, Place::new("postgres")?];
        let (edge, cloud) = (places[0].open().await?, places[1].open().await?);
        fill(&*edge, 0, options.rows, options.records).await?;
        Ok(Self { edge, cloud, _places: places })
    }

    fn forwarder(&self) -> Forwarder<Arc<dyn PersistenceBackend>, Arc<dyn PersistenceBackend>> {
        Forwarder::new(self.edge.clone(), self.cloud.clone())
    }

    async fn close(&self) -> Result<(), Failure> {
        self.edge.close().await?;
        Ok(self.cloud.close().await?)
    }
}

/// Rows a second, of a source that nobody writes to.
async fn speed(engine: &str, options: &Options) -> Result<f64, Failure> {
    let ends = Ends::new(engine, options).await?;
    let begun = Instant::now();
    ends.forwarder().run_once().await?;
    let rows_per_second = options.rows as f64 / begun.elapsed().as_secs_f64();
    must_hold(&*ends.cloud, options.rows).await?;
    must_end_with(&*ends.cloud, options.rows - 1, options.records).await?;
    ends.close().await?;
    Ok(rows_per_second)
}

/// Seconds until nothing more is found while rows come in.
async fn catch_up(engine: &str, options: &Options) -> Result<f64, Failure> {
    let ends = Ends::new(engine, options).await?;
    let forwarder = ends.forwarder();
    let mut next = options.rows;
    let incoming = async {
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            if forwarder.stats().caught_up {
                return Ok::<_, Failure>(());
            }
            fill(&*ends.edge, next, next + INCOMING, options.records).await?;
            next += INCOMING;
        }
    };
    let begun = Instant::now();
    tokio::select! {
        stopped = forwarder.run_forever() => stopped?,
        stored = incoming => stored?,
    }
    let seconds = begun.elapsed().as_secs_f64();
    ends.forwarder().run_once().await?;
    must_hold(&*ends.cloud, next).await?;
    ends.close().await?;
    Ok(seconds)
}
