//! A hub for weather stations: all but the database, which is of either AimDB line.

mod weather;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use annals::{Clock, Forwarder, Grammar, ManualClock, PersistenceBackend, SystemClock};
use annals_aimdb::{Persistence, PersistenceOptions};
use annals_server::{Config, Server, serve};
use annals_sqlite::SqliteBackend;
use clap::{Parser, value_parser};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

pub use weather::{Accuracy, CITIES, Temperature};

const MINUTE: u64 = 60_000;

/// The longest time between two rows of a record.
pub const HOUR: Duration = Duration::from_secs(3_600);

const DAY: u64 = 24 * 60 * MINUTE;

/// How long the hub keeps its history. What is not forwarded yet stays.
const KEEP: Duration = Duration::from_millis(3 * DAY);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A hub for weather stations that keeps, serves and forwards their history.
#[derive(Debug, Parser)]
pub struct Settings {
    /// The SQLite file
    #[arg(long, value_name = "FILE", default_value = "./data/weather.db")]
    history: PathBuf,
    /// The path of the AimX socket
    #[arg(long, value_name = "PATH", default_value = "/tmp/weather.sock")]
    pub socket: String,
    /// Serve the history and its page, for example on 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Forward to this history: postgres://…, sqlite:copy.db
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
    /// The milliseconds between two measurements, which are a minute apart in the weather
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    every: u64,
    /// Simulate the week that begins at this time, in Unix seconds, or what is left of it
    #[arg(long, value_name = "TIME", value_parser = value_parser!(u64).range(..4_102_444_800))]
    simulate: Option<u64>,
}

/// The history and what surrounds it.
pub struct Hub {
    /// The backend for `with_persistence_options`.
    pub history: Arc<dyn PersistenceBackend>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// The clock of a simulated week, and its end.
    week: Option<(Arc<ManualClock>, u64)>,
}

impl Hub {
    /// Opens the history. A simulated week goes on at the newest row.
    pub async fn open(settings: Settings) -> Result<Self> {
        let history: Arc<dyn PersistenceBackend> = Arc::new(SqliteBackend::new(&settings.history)?);
        let mut records = history.records("accuracy*", Grammar::Glob).await?;
        let before: u64 = records.iter().map(|record| record.count).sum();
        println!("{before} accuracies in {} from before", settings.history.display());

        records.extend(history.records("temperature*", Grammar::Glob).await?);
        let newest = records.iter().map(|record| record.last).max().unwrap_or_default();
        let week = settings.simulate.map(|seconds| {
            let start = seconds * 1_000;
            (Arc::new(ManualClock::new(start.max(newest))), start + 7 * DAY)
        });
        let clock: Option<Arc<dyn Clock>> = week.as_ref().map(|(clock, _)| clock.clone() as _);
        let clock = clock.unwrap_or(Arc::new(SystemClock));
        Ok(Self { history, settings, clock, week })
    }

    /// The retention and the clock for `with_persistence_options`.
    pub fn options(&self) -> PersistenceOptions {
        PersistenceOptions::new(KEEP).with_clock(Arc::clone(&self.clock))
    }

    /// Hands what the stations measure to `receive`, until Ctrl-C or SIGTERM. Then ends everything in
    /// order.
    pub async fn run(
        self,
        persistence: Persistence,
        receive: impl AsyncFn(&'static str, Temperature, Accuracy) -> Result<()>,
    ) -> Result<()> {
        let (stop_page, stopped) = oneshot::channel::<()>();
        let mut page = None;
        if let Some(address) = self.settings.listen {
            let listener = TcpListener::bind(address).await?;
            println!("the page is on http://{}", listener.local_addr()?);
            let server = Server::new(self.history.clone(), Config::default())?;
            let stopped = async { drop(stopped.await) };
            page = Some(tokio::spawn(serve(listener, server, None, stopped)));
        }
        // It connects when it is needed: the other history may be away.
        let destination = self.settings.forward.as_deref().map(annals::connect_lazy).transpose()?;
        let forwarder =
            destination.as_ref().map(|to| Forwarder::new(self.history.clone(), to.clone()));
        let forwarding = async {
            if let Some(forwarder) = &forwarder
                && let Err(error) = forwarder.run_forever().await
            {
                eprintln!("nothing is forwarded any more: {error}");
            }
            std::future::pending().await
        };
        println!("AimX on {}", self.settings.socket);
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = self.measure(&persistence, receive) => ended?,
            () = forwarding => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminated.recv() => {}
        }

        // No station measures any more. Store, forward, then close what others need.
        persistence.close().await?;
        println!("{} values stored", persistence.stats().total.stored);
        if let (Some(forwarder), Some(destination)) = (&forwarder, &destination) {
            match tokio::time::timeout(Duration::from_secs(10), forwarder.run_once()).await {
                Ok(Ok(all)) => println!("{} rows forwarded, both ends agree", all.rows),
                Ok(Err(error)) => eprintln!("not everything is forwarded: {error}"),
                Err(_) => eprintln!("not everything is forwarded: the next run goes on"),
            }
            destination.close().await?;
        }
        drop(stop_page);
        if let Some(page) = page {
            page.await??;
        }
        Ok(self.history.close().await?)
    }

    /// Lets each station measure, minute by minute.
    async fn measure(
        &self,
        persistence: &Persistence,
        receive: impl AsyncFn(&'static str, Temperature, Accuracy) -> Result<()>,
    ) -> Result<()> {
        let every = Duration::from_millis(self.settings.every);
        let minute = if self.week.is_some() { MINUTE } else { self.settings.every.max(1) };
        loop {
            let now = self.clock.now_ms();
            for city in CITIES {
                let temperature = Temperature::measured_in(city, now / minute);
                let accuracy = Accuracy::of(&temperature);
                receive(city, temperature, accuracy).await?;
            }
            if let Some((clock, end)) = &self.week {
                if now >= *end || (now + MINUTE) % DAY < MINUTE {
                    // The sweeps of `options` are a day of the machine's time apart.
                    persistence.flush().await?;
                    persistence.sweep_now().await?;
                }
                if now >= *end {
                    println!("the week is over");
                    return std::future::pending().await;
                }
                clock.advance(MINUTE);
            }
            match every.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(every).await,
            }
        }
    }
}
