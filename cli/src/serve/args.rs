//! The options of `annals serve`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use annals::RetentionPolicy;
use annals_server::{Access, Config, HeaderValue, Tls, Tokens};
use clap::Parser;
use clap::builder::RangedU64ValueParser;

use crate::failure::Failure;
use crate::moment::{Moment, duration};

/// Serve the history over HTTP until Ctrl-C
///
/// A page for people at /, an interface for programs under /v1, and metrics at /metrics. Without
/// --tokens only this machine can connect. Most options can be set by an environment
/// variable as well.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The IP address and port to listen on
    #[arg(long, env = "ANNALS_LISTEN", value_name = "ADDRESS:PORT")]
    #[arg(default_value = "127.0.0.1:8086")]
    pub(super) listen: SocketAddr,

    /// The file of tokens, made by `annals token new` and read again when it changes
    #[arg(long, env = "ANNALS_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,

    /// Let everybody who can connect read and write, for example behind a gateway that decides who can
    #[arg(long, env = "ANNALS_NO_AUTHENTICATION", conflicts_with = "tokens")]
    no_authentication: bool,

    /// The certificate for TLS with its chain, as a PEM file, read again when it changes
    #[arg(long, env = "ANNALS_TLS_CERTIFICATE", value_name = "FILE")]
    #[arg(requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// The key of the certificate, as a PEM file
    #[arg(long, env = "ANNALS_TLS_KEY", value_name = "FILE")]
    #[arg(requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Believe the Forwarded header of this peer; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    trust_proxy: Vec<IpAddr>,

    /// Let pages of this origin use the interface (CORS); may be given several times
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    cors_origin: Vec<HeaderValue>,

    /// Check the settings and end
    #[arg(long)]
    pub(super) check: bool,

    /// Record this machine's metrics as well, once a second
    #[arg(long, value_name = "SOURCE", value_enum)]
    pub(super) collect: Option<Source>,

    /// How long rows are kept, such as 90d. With `forever` nothing is deleted
    #[arg(long, env = "ANNALS_RETENTION", value_name = "DURATION")]
    #[arg(default_value = "forever", value_parser = forever_or_duration)]
    retention: Lasting,

    /// Deletes rows that `annals forward` has still to send if they are older than this; without it
    /// they stay until they are sent
    #[arg(long, env = "ANNALS_FORWARD_LIMIT", value_name = "DURATION", value_parser = duration)]
    forward_limit: Option<Duration>,

    /// The time from the end of one sweep to the next
    #[arg(long, env = "ANNALS_SWEEP_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "1h", value_parser = duration)]
    sweep_interval: Duration,

    /// The memory of all requests together, in MiB; the engine's caches come on top
    #[arg(long, env = "ANNALS_MEMORY", value_name = "MIB")]
    #[arg(default_value_t = 256, value_parser = from_1_to(1 << 20))]
    memory: usize,

    /// The largest request body, in bytes
    #[arg(long, env = "ANNALS_BODY_LIMIT", value_name = "BYTES")]
    #[arg(default_value_t = 8 << 20, value_parser = from_1_to(1 << 30))]
    body_limit: usize,

    /// The number of rows that may be queued after an answer of 202
    #[arg(long, env = "ANNALS_QUEUE_ROWS", value_name = "ROWS")]
    #[arg(default_value_t = 65_536, value_parser = from_1_to(100_000_000))]
    queue_rows: usize,

    /// The number of batches that are stored at once
    #[arg(long, env = "ANNALS_MAX_WRITES", value_name = "BATCHES")]
    #[arg(default_value_t = 64, value_parser = from_1_to(10_000))]
    max_writes: usize,

    /// The number of connections that are open at once
    #[arg(long, env = "ANNALS_MAX_CONNECTIONS", value_name = "CONNECTIONS")]
    #[arg(default_value_t = 512, value_parser = from_1_to(100_000))]
    max_connections: usize,

    /// The earliest time that a row may have, in Unix milliseconds or RFC 3339
    ///
    /// The default keeps out seconds that are taken for milliseconds, which lie in January 1970. To store
    /// what is older, say 1970-01-01T00:00:00Z.
    #[arg(long, env = "ANNALS_EARLIEST", value_name = "TIME")]
    #[arg(default_value = "1990-01-01T00:00:00Z", value_parser = time)]
    earliest: u64,

    /// How far in the future a row may lie, or `forever`
    #[arg(long, env = "ANNALS_MAX_FUTURE", value_name = "DURATION")]
    #[arg(default_value = "1d", value_parser = forever_or_duration)]
    max_future: Lasting,

    /// The time for the head of a request, for storing a batch, and until an answer begins
    #[arg(long, env = "ANNALS_REQUEST_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = duration)]
    request_timeout: Duration,

    /// How long a client may take nothing of its answer
    #[arg(long, env = "ANNALS_STALL_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "30s", value_parser = duration)]
    stall_timeout: Duration,

    /// How long requests are still accepted after the signal to stop, while /readyz fails
    #[arg(long, env = "ANNALS_DRAIN_DELAY", value_name = "DURATION")]
    #[arg(default_value = "0s", value_parser = annals::duration::parse)]
    drain_delay: Duration,

    /// The time from the signal to the end of the process
    #[arg(long, env = "ANNALS_GRACE_PERIOD", value_name = "DURATION")]
    #[arg(default_value = "25s", value_parser = annals::duration::parse)]
    grace_period: Duration,
}

const EXAMPLES: &str = "\
Examples:
  annals serve --collect host
  annals token new --tokens tokens.json --name grafana --read 'plant1::*'
  annals serve --listen 0.0.0.0:8086 --tokens tokens.json \\
      --tls-certificate cert.pem --tls-key key.pem

Exit codes: 0 every acknowledged row is stored, 1 failed, 2 wrong usage, 3 rows that were answered \
with 202 are not stored.";

/// A duration; `None` is forever.
type Lasting = Option<Duration>;

/// What can be recorded beside serving.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Source {
    /// This machine's metrics
    Host,
}

impl Args {
    /// The server's settings.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let requests_end = self.drain_delay.saturating_add(self.request_timeout);
        if self.grace_period <= requests_end {
            return Err(Failure::Usage(format!(
                "--grace-period must be longer than --drain-delay and --request-timeout together \
                 ({requests_end:?}): queued rows are stored in what remains"
            )));
        }
        let access = match &self.tokens {
            Some(path) => Access::Tokens(
                Tokens::open(path).map_err(|error| Failure::Usage(error.to_string()))?,
            ),
            None if self.no_authentication => Access::Open,
            None => Access::Loopback,
        };
        Ok(Config::default()
            .with_access(access)
            .with_trusted_proxies(self.trust_proxy.clone())
            .with_cors_origins(self.cors_origin.clone())
            .with_retention(self.policy())
            .with_sweep_interval(self.sweep_interval)
            .with_memory(self.memory << 20)
            .with_body_limit(self.body_limit)
            .with_queue_rows(self.queue_rows)
            .with_max_writes(self.max_writes)
            .with_max_connections(self.max_connections)
            .with_earliest(self.earliest)
            .with_max_future(self.max_future)
            .with_request_timeout(self.request_timeout)
            .with_stall_timeout(self.stall_timeout)
            .with_drain_delay(self.drain_delay)
            .with_grace_period(self.grace_period))
    }

    fn policy(&self) -> Option<RetentionPolicy> {
        let policy = RetentionPolicy::new().keep_all(self.retention?);
        Some(match self.forward_limit {
            Some(limit) => policy.forward_limit(limit),
            None => policy,
        })
    }

    /// The certificate, if there is one.
    pub(super) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else {
            return Ok(None);
        };
        Tls::open(certificate, key).map(Some).map_err(|error| Failure::Usage(error.to_string()))
    }
}

fn from_1_to(last: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=last)
}

fn forever_or_duration(text: &str) -> Result<Lasting, String> {
    if text == "forever" { Ok(None) } else { duration(text).map(Some) }
}

fn time(text: &str) -> Result<u64, String> {
    match text.parse::<Moment>()? {
        Moment::Ago(_) => Err("a time is Unix milliseconds or RFC 3339".to_owned()),
        time => Ok(time.at_or_after(0)),
    }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let is_origin = text.contains("://") && !text.ends_with('/');
    let origin = text.parse().ok().filter(|_| is_origin);
    origin.ok_or_else(|| "an origin is a scheme and a host: https://page.example".to_owned())
}
