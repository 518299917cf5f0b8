//! The settings of a replica, from environment variables or options of the same name.

use std::net::SocketAddr;
use std::time::Duration;

use annals::duration;
use annals::postgres::PostgresConfig;
use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tracing::level_filters::LevelFilter;

const DATABASE_URL: &str = "ANNALS_DATABASE_URL";
const GRACE_PERIOD: &str = "ANNALS_GRACE_PERIOD";

/// History over HTTP: one replica of a service in front of a PostgreSQL database.
///
/// Every option can be set by the environment variable in its angle brackets.
#[derive(Clone, Parser)]
#[command(hide_possible_values = true)]
pub struct Config {
    /// The database: postgres://user@host:5432/database. `?password_file=` names a file with the
    /// password
    #[arg(long, env = DATABASE_URL, value_name = DATABASE_URL, hide_env = true)]
    database_url: String,

    /// The IP address and port to listen on
    #[arg(long, env = "ANNALS_LISTEN", value_name = "ANNALS_LISTEN", hide_env = true)]
    #[arg(default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// How long rows are kept, such as 90d. With `forever` this replica never sweeps
    #[arg(long, env = "ANNALS_RETENTION", value_name = "ANNALS_RETENTION", hide_env = true)]
    #[arg(default_value = "forever", value_parser = retention)]
    pub retention: Window,

    /// The time from the end of one sweep to the next
    #[arg(long, env = "ANNALS_SWEEP_INTERVAL", value_name = "ANNALS_SWEEP_INTERVAL")]
    #[arg(hide_env = true, default_value = "1h", value_parser = positive)]
    pub sweep_interval: Duration,

    /// The number of rows that may be queued after an answer of 202
    #[arg(long, env = "ANNALS_QUEUE_ROWS", value_name = "ANNALS_QUEUE_ROWS", hide_env = true)]
    #[arg(default_value_t = 65_536, value_parser = from_1_to(100_000_000))]
    pub queue_rows: usize,

    /// The number of bytes of JSON in that queue
    #[arg(long, env = "ANNALS_QUEUE_BYTES", value_name = "ANNALS_QUEUE_BYTES", hide_env = true)]
    #[arg(default_value_t = 64 << 20, value_parser = from_1_to(1 << 40))]
    pub queue_bytes: usize,

    /// The number of concurrent write requests
    #[arg(long, env = "ANNALS_MAX_WRITES", value_name = "ANNALS_MAX_WRITES", hide_env = true)]
    #[arg(default_value_t = 64, value_parser = from_1_to(10_000))]
    pub max_writes: usize,

    /// The largest request body, in bytes
    #[arg(long, env = "ANNALS_BODY_LIMIT", value_name = "ANNALS_BODY_LIMIT", hide_env = true)]
    #[arg(default_value_t = 8 << 20, value_parser = from_1_to(1 << 30))]
    pub body_limit: usize,

    /// The time limit of a request with its body, and of a client to take a part of a streamed answer
    #[arg(long, env = "ANNALS_REQUEST_TIMEOUT", value_name = "ANNALS_REQUEST_TIMEOUT")]
    #[arg(hide_env = true, default_value = "10s", value_parser = positive)]
    pub request_timeout: Duration,

    /// How long requests are still accepted after the signal, while the replica reports that it is
    /// not ready
    #[arg(long, env = "ANNALS_DRAIN_DELAY", value_name = "ANNALS_DRAIN_DELAY", hide_env = true)]
    #[arg(default_value = "5s", value_parser = duration::parse)]
    pub drain_delay: Duration,

    /// The time from the signal to the end of the process
    #[arg(long, env = GRACE_PERIOD, value_name = GRACE_PERIOD, hide_env = true)]
    #[arg(default_value = "25s", value_parser = duration::parse)]
    pub grace_period: Duration,

    /// What to log: off, error, warn, info, debug or trace
    #[arg(long, env = "ANNALS_LOG", value_name = "ANNALS_LOG", hide_env = true)]
    #[arg(default_value = "info", value_parser = level)]
    pub log: LevelFilter,
}

/// A retention window; `None` is forever.
type Window = Option<Duration>;

impl Config {
    /// Reads the environment and the command line.
    ///
    /// # Errors
    /// An invalid setting, with the name of its variable, or a request for help. A password in the
    /// database's URL is never part of the message.
    pub fn from_env() -> Result<Self, clap::Error> {
        Self::try_parse()?.checked()
    }

    /// Reads `variables`; variables that are not among them come from the environment.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env), and an unknown variable.
    pub fn from_variables<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, clap::Error> {
        let options = variables.into_iter().map(|(variable, value)| {
            let option = variable.strip_prefix("ANNALS_").unwrap_or(variable);
            format!("--{}={value}", option.to_ascii_lowercase().replace('_', "-"))
        });
        let program = std::iter::once("cloud-service".to_owned());
        Self::try_parse_from(program.chain(options))?.checked()
    }

    /// The names of all variables.
    pub fn variables() -> Vec<String> {
        let command = Self::command();
        let variables = command.get_arguments().filter_map(|option| option.get_env());
        variables.map(|variable| variable.to_string_lossy().into_owned()).collect()
    }

    /// How to reach the database.
    ///
    /// # Errors
    /// A URL that is invalid.
    pub fn database(&self) -> Result<PostgresConfig, clap::Error> {
        PostgresConfig::from_url(&self.database_url)
            .map_err(|error| refused(DATABASE_URL, &error.to_string()))
    }

    fn checked(self) -> Result<Self, clap::Error> {
        self.database()?;
        let requests_end = self.drain_delay.saturating_add(self.request_timeout);
        if self.grace_period <= requests_end {
            let reason = format!(
                "must be longer than ANNALS_DRAIN_DELAY and ANNALS_REQUEST_TIMEOUT together \
                 ({requests_end:?}): queued rows are stored in what remains"
            );
            return Err(refused(GRACE_PERIOD, &reason));
        }
        Ok(self)
    }
}

fn refused(variable: &str, reason: &str) -> clap::Error {
    Config::command().error(ErrorKind::ValueValidation, format!("{variable}: {reason}"))
}

fn from_1_to(last: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=last)
}

fn level(text: &str) -> Result<LevelFilter, String> {
    // The empty text parses as `error`.
    let level = text.parse().ok().filter(|_| !text.is_empty());
    level.ok_or_else(|| "not a level".to_owned())
}

fn retention(text: &str) -> Result<Window, String> {
    if text == "forever" { Ok(None) } else { positive(text).map(Some) }
}

fn positive(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests;
