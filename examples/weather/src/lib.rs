//! Shared by the programs of both AimDB lines: the cities, their weather, and the command line.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// The cities.
pub const CITIES: [&str; 3] = ["vienna", "graz", "linz"];

/// How long history is kept.
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// A measurement, and the forecast for that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Measured, in degrees Celsius.
    pub celsius: f64,
    /// Forecast, in degrees Celsius.
    pub forecast: f64,
}

/// The accuracy of a forecast: 1 is perfect, 0 is off by ten degrees or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// From 0 to 1.
    pub value: f64,
}

impl Accuracy {
    /// The accuracy of one forecast.
    pub fn of(temperature: &Temperature) -> Self {
        let off = (temperature.celsius - temperature.forecast).abs();
        Self { value: ((100.0 - 10.0 * off).max(0.0)).round() / 100.0 }
    }
}

/// A station. Every measurement is one minute after the one before.
pub struct Station {
    /// Measurements so far.
    minute: u32,
    /// The city's mean temperature.
    mean: f64,
}

impl Station {
    /// The station of one of the [`CITIES`].
    pub fn of(city: &str) -> Self {
        let place = CITIES.iter().position(|known| *known == city).unwrap_or_default();
        Self { minute: 0, mean: 12.0 - place as f64 }
    }

    /// The next measurement.
    pub fn measure(&mut self) -> Temperature {
        let day = f64::from(self.minute) / 1_440.0 * std::f64::consts::TAU;
        self.minute += 1;
        let celsius = self.mean + 6.0 * day.sin() + 0.5 * (17.0 * day).cos();
        let forecast = self.mean + 6.0 * (day + 0.1).sin();
        Temperature { celsius: round(celsius), forecast: round(forecast) }
    }
}

/// Rounds to one decimal place, like a thermometer.
fn round(celsius: f64) -> f64 {
    (celsius * 10.0).round() / 10.0
}

/// The command line: `[HISTORY [SOCKET [MILLISECONDS]]]`.
pub struct Settings {
    /// The SQLite file.
    pub history: PathBuf,
    /// The path of the AimX socket.
    pub socket: String,
    /// The time between two measurements.
    pub every: Duration,
}

impl Settings {
    /// Reads the command line.
    ///
    /// # Errors
    /// If the time is not a number.
    pub fn from_args() -> Result<Self, std::num::ParseIntError> {
        let mut args = env::args().skip(1);
        let history = args.next().unwrap_or_else(|| "./data/weather.db".to_owned()).into();
        let socket = args.next().unwrap_or_else(|| "/tmp/weather.sock".to_owned());
        let every = args.next().map_or(Ok(1_000), |millis| millis.parse())?;
        Ok(Self { history, socket, every: Duration::from_millis(every) })
    }
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub async fn termination() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}
