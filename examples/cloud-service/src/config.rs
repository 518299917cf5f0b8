//! All settings, from the environment.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use annals::postgres::PostgresConfig;
use jiff::{Span, SpanRelativeTo};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::level_filters::LevelFilter;

const DATABASE_URL: &str = "ANNALS_DATABASE_URL";
const PASSWORD_FILE: &str = "ANNALS_DATABASE_PASSWORD_FILE";
const LISTEN: &str = "ANNALS_LISTEN";
const RETENTION: &str = "ANNALS_RETENTION";
const SWEEP_INTERVAL: &str = "ANNALS_SWEEP_INTERVAL";
const QUEUE_ROWS: &str = "ANNALS_QUEUE_ROWS";
const QUEUE_BYTES: &str = "ANNALS_QUEUE_BYTES";
const MAX_WRITES: &str = "ANNALS_MAX_WRITES";
const BODY_LIMIT: &str = "ANNALS_BODY_LIMIT";
const REQUEST_TIMEOUT: &str = "ANNALS_REQUEST_TIMEOUT";
const DRAIN_DELAY: &str = "ANNALS_DRAIN_DELAY";
const GRACE_PERIOD: &str = "ANNALS_GRACE_PERIOD";
const LOG: &str = "ANNALS_LOG";

/// Every variable that is read.
pub const VARIABLES: [&str; 13] = [
    DATABASE_URL,
    PASSWORD_FILE,
    LISTEN,
    RETENTION,
    SWEEP_INTERVAL,
    QUEUE_ROWS,
    QUEUE_BYTES,
    MAX_WRITES,
    BODY_LIMIT,
    REQUEST_TIMEOUT,
    DRAIN_DELAY,
    GRACE_PERIOD,
    LOG,
];

/// The settings of one replica. `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the database.
    pub database: PostgresConfig,
    /// Where to listen.
    pub listen: SocketAddr,
    /// How long rows are kept; `None`: forever, and this replica never sweeps.
    pub retention: Option<Duration>,
    /// The time from one sweep to the next.
    pub sweep_interval: Duration,
    /// How many rows that were answered with 202 may wait to be stored.
    pub queue_rows: usize,
    /// How many bytes of JSON they may have.
    pub queue_bytes: usize,
    /// How many writing requests there may be at once.
    pub max_writes: usize,
    /// The largest body of a request, in bytes.
    pub body_limit: usize,
    /// The longest time for a request, its body included, and for a reader to take a piece of a
    /// streamed answer.
    pub request_timeout: Duration,
    /// How long requests are still taken after the signal, while the replica says that it is not
    /// ready.
    pub drain_delay: Duration,
    /// The time from the signal to the end.
    pub grace_period: Duration,
    /// What is logged.
    pub log: LevelFilter,
}

/// A variable whose value cannot work. It never quotes the value.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: &'static str,
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.reason)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// The first variable whose value cannot work.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|variable| match std::env::var(variable) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err("it is not UTF-8".to_owned()),
        })
    }

    /// Reads the variables that `look_up` knows.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn read(
        look_up: impl Fn(&str) -> Result<Option<String>, String>,
    ) -> Result<Self, ConfigError> {
        let get = |variable| match look_up(variable) {
            Ok(Some(value)) if value.is_empty() => {
                Err(refused(variable, "it is empty; leave it away for its default"))
            }
            Ok(value) => Ok(value),
            Err(reason) => Err(refused(variable, reason)),
        };
        let number =
            |variable, default, range: std::ops::RangeInclusive<usize>| match get(variable)? {
                None => Ok(default),
                Some(text) => {
                    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
                        refused(
                            variable,
                            format!(
                                "it is a whole number from {} to {}",
                                range.start(),
                                range.end()
                            ),
                        )
                    })
                }
            };
        let time = |variable, default| match get(variable)? {
            None => Ok(default),
            Some(text) => duration(&text).map_err(|reason| refused(variable, reason)),
        };

        let config = Self {
            database: database(get(DATABASE_URL)?, get(PASSWORD_FILE)?)?,
            listen: match get(LISTEN)? {
                None => SocketAddr::from(([0, 0, 0, 0], 8080)),
                Some(text) => text.parse().map_err(|_| {
                    refused(LISTEN, "it is an IP address and a port: 0.0.0.0:8080 or [::]:8080")
                })?,
            },
            retention: match get(RETENTION)?.as_deref() {
                None | Some("forever") => None,
                Some(text) => {
                    let window = duration(text).ok().filter(|window| !window.is_zero());
                    Some(window.ok_or_else(|| {
                        refused(RETENTION, "it is a length of time (24h, 30d), or forever")
                    })?)
                }
            },
            sweep_interval: time(SWEEP_INTERVAL, Duration::from_secs(3600))?,
            queue_rows: number(QUEUE_ROWS, 65_536, 1..=100_000_000)?,
            queue_bytes: number(QUEUE_BYTES, 64 << 20, 1..=1 << 40)?,
            max_writes: number(MAX_WRITES, 64, 1..=10_000)?,
            body_limit: number(BODY_LIMIT, 8 << 20, 1..=1 << 30)?,
            request_timeout: time(REQUEST_TIMEOUT, Duration::from_secs(10))?,
            drain_delay: time(DRAIN_DELAY, Duration::from_secs(5))?,
            grace_period: time(GRACE_PERIOD, Duration::from_secs(25))?,
            log: match get(LOG)? {
                None => LevelFilter::INFO,
                Some(text) => LevelFilter::from_str(&text)
                    .map_err(|_| refused(LOG, "it is off, error, warn, info, debug or trace"))?,
            },
        };
        for (variable, time) in
            [(SWEEP_INTERVAL, config.sweep_interval), (REQUEST_TIMEOUT, config.request_timeout)]
        {
            if time.is_zero() {
                return Err(refused(variable, "it is longer than nothing"));
            }
        }
        let requests_end = config.drain_delay.saturating_add(config.request_timeout);
        if config.grace_period <= requests_end {
            let reason = format!(
                "it is longer than {DRAIN_DELAY} and {REQUEST_TIMEOUT} together ({requests_end:?}): \
                 what is left of it is for storing what waits"
            );
            return Err(refused(GRACE_PERIOD, reason));
        }
        Ok(config)
    }
}

fn refused(variable: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError { variable, reason: reason.into() }
}

fn duration(text: &str) -> Result<Duration, String> {
    let unreadable = || "it is a length of time: 500ms, 30s, 1h30m, 7d".to_owned();
    let span: Span = text.parse().map_err(|_| unreadable())?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length; write days (30d, 365d)".to_owned());
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unreadable())?;
    Duration::try_from(exact).map_err(|_| unreadable())
}

fn database(
    url: Option<String>,
    password_file: Option<String>,
) -> Result<PostgresConfig, ConfigError> {
    let Some(mut url) = url else {
        let reason = "it is missing; it is postgres://user@host:5432/database";
        return Err(refused(DATABASE_URL, reason));
    };
    if let Some(file) = password_file {
        if has_password(&url) {
            let reason = format!("{DATABASE_URL} has a password already; only one of them can be");
            return Err(refused(PASSWORD_FILE, reason));
        }
        let password = std::fs::read_to_string(file)
            .map_err(|error| refused(PASSWORD_FILE, format!("the file cannot be read: {error}")))?;
        // Editors end files with a newline, secrets in files do or do not.
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(refused(PASSWORD_FILE, "the file is empty"));
        }
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("password=");
        url.extend(utf8_percent_encode(password, NON_ALPHANUMERIC));
    }
    PostgresConfig::from_url(&url).map_err(|error| refused(DATABASE_URL, error.to_string()))
}

fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = base.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || query.split('&').any(|option| option.starts_with("password="))
}

#[cfg(test)]
mod tests;
