//! The simulated weather: what three stations measure, as a function of time.

use serde::{Deserialize, Serialize};

/// The cities, each with a station.
pub const CITIES: [&str; 3] = ["vienna", "graz", "linz"];

/// A measurement, and the forecast for that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Measured, in degrees Celsius.
    pub celsius: f64,
    /// Forecast, in degrees Celsius.
    pub forecast: f64,
}

impl Temperature {
    /// What the station of one of the [`CITIES`] measures in a minute.
    pub fn measured_in(city: &str, minute: u64) -> Self {
        let place = CITIES.iter().position(|known| *known == city).unwrap_or_default();
        let mean = 12.0 - place as f64;
        let day = (minute % 1_440) as f64 / 1_440.0 * std::f64::consts::TAU;
        let celsius = mean + 6.0 * day.sin() + 0.5 * (17.0 * day).cos();
        let forecast = mean + 6.0 * (day + 0.1).sin();
        // Thermometers show one decimal place.
        let round = |celsius: f64| (celsius * 10.0).round() / 10.0;
        Self { celsius: round(celsius), forecast: round(forecast) }
    }
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
