//! What both programs have in common: the cities, their weather, and how the program is told what to
//! do.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

/// Where the weather is.
pub const CITIES: [&str; 3] = ["vienna", "graz", "linz"];

/// For how long history is kept.
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a station measured, and what had been forecast for that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Measured, in degrees Celsius.
    pub celsius: f64,
    /// Forecast, in degrees Celsius.
    pub forecast: f64,
}

/// How good a forecast was: 1 is perfect, 0 is ten degrees off or more.
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

/// A station: every call is the next moment of a day with 1,440 of them.
pub struct Station {
    /// Moments so far.
    moment: u32,
    /// The city's mean temperature.
    mean: f64,
}

impl Station {
    /// The station of one of the [`CITIES`].
    pub fn of(city: &str) -> Self {
        let place = CITIES.iter().position(|known| *known == city).unwrap_or_default();
        Self { moment: 0, mean: 12.0 - place as f64 }
    }

    /// The next measurement.
    pub fn measure(&mut self) -> Temperature {
        let day = f64::from(self.moment) / 1_440.0 * std::f64::consts::TAU;
        self.moment += 1;
        let celsius = self.mean + 6.0 * day.sin() + 0.5 * (17.0 * day).cos();
        let forecast = self.mean + 6.0 * (day + 0.1).sin();
        Temperature { celsius: round(celsius), forecast: round(forecast) }
    }
}

/// Thermometers have one digit after the point.
fn round(celsius: f64) -> f64 {
    (celsius * 10.0).round() / 10.0
}

/// What the command line says: `[HISTORY [SOCKET [MILLISECONDS]]]`.
pub struct Settings {
    /// The SQLite file.
    pub history: PathBuf,
    /// Where AimX is served.
    pub socket: String,
    /// The time from one measurement to the next.
    pub every: Duration,
}

impl Settings {
    /// Reads the command line.
    ///
    /// # Errors
    /// When the time is no number.
    pub fn from_args() -> Result<Self, std::num::ParseIntError> {
        let mut args = env::args().skip(1);
        let history = args.next().unwrap_or_else(|| "./data/weather.db".to_owned()).into();
        let socket = args.next().unwrap_or_else(|| "/tmp/weather.sock".to_owned());
        let every = args.next().map_or(Ok(1_000), |millis| millis.parse())?;
        Ok(Self { history, socket, every: Duration::from_millis(every) })
    }
}

/// Waits until the program is told to end, by Ctrl-C or by SIGTERM.
///
/// # Errors
/// When signals cannot be listened to.
pub async fn told_to_end() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}
