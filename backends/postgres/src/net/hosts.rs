//! Splits a configuration into its hosts.

use std::fmt;
use std::net::IpAddr;

use annals_core::ErrorKind;
use tokio_postgres::Config;
use tokio_postgres::config::{Host as DriverHost, LoadBalanceHosts};

use crate::error::ConnectError;

const DEFAULT_PORT: u16 = 5432;

/// One host: its name, its address, or both.
pub(super) struct Host {
    name: Option<DriverHost>,
    address: Option<IpAddr>,
    port: u16,
}

impl Host {
    /// All hosts, in the order in which they were given.
    pub(super) fn all(driver: &Config) -> Vec<Self> {
        let (names, addresses) = (driver.get_hosts(), driver.get_hostaddrs());
        let ports = driver.get_ports();
        let host = |place| Self {
            name: names.get(place).cloned(),
            address: addresses.get(place).copied(),
            port: ports.get(place).or_else(|| ports.first()).copied().unwrap_or(DEFAULT_PORT),
        };
        (0..names.len().max(addresses.len())).map(host).collect()
    }

    /// Whether this is a socket in the file system.
    pub(super) fn is_local(&self) -> bool {
        !matches!(self.name, Some(DriverHost::Tcp(_)) | None)
    }

    /// The addresses to connect to; `None` stands for what the configuration says already.
    pub(super) async fn addresses(&self) -> Result<Vec<Option<IpAddr>>, ConnectError> {
        if self.address.is_some() {
            return Ok(vec![self.address]);
        }
        let Some(DriverHost::Tcp(name)) = &self.name else { return Ok(vec![None]) };
        // A wrong name cannot be told from one that is unknown for the moment.
        let unknown = |error: std::io::Error| {
            let message = format!("its address was not found: {error}");
            ConnectError::new(ErrorKind::Connection, message)
        };
        let found = tokio::net::lookup_host((&**name, self.port)).await.map_err(unknown)?;
        let mut addresses: Vec<_> = found.map(|address| Some(address.ip())).collect();
        addresses.dedup();
        Ok(addresses)
    }

    /// The configuration for this host alone; the driver cannot remove hosts from one.
    pub(super) fn config(&self, server: &Config) -> Config {
        let mut config = Config::new();
        match &self.name {
            Some(DriverHost::Tcp(name)) => drop(config.host(name)),
            #[cfg(unix)]
            Some(DriverHost::Unix(path)) => drop(config.host_path(path)),
            // The name that the certificate is compared with.
            None => drop(self.address.map(|address| config.host(address.to_string()))),
        }
        config.port(self.port);
        server.get_user().map(|user| config.user(user));
        server.get_password().map(|password| config.password(password));
        server.get_dbname().map(|name| config.dbname(name));
        server.get_options().map(|options| config.options(options));
        server.get_application_name().map(|name| config.application_name(name));
        server.get_connect_timeout().map(|limit| config.connect_timeout(*limit));
        server.get_tcp_user_timeout().map(|limit| config.tcp_user_timeout(*limit));
        server.get_keepalives_interval().map(|interval| config.keepalives_interval(interval));
        server.get_keepalives_retries().map(|retries| config.keepalives_retries(retries));
        config
            .keepalives(server.get_keepalives())
            .keepalives_idle(server.get_keepalives_idle())
            .ssl_negotiation(server.get_ssl_negotiation())
            .channel_binding(server.get_channel_binding());
        config
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.address) {
            (Some(DriverHost::Tcp(name)), _) => write!(f, "{name}:{}", self.port),
            #[cfg(unix)]
            (Some(DriverHost::Unix(path)), _) => write!(f, "{}:{}", path.display(), self.port),
            (None, Some(address)) => write!(f, "{address}:{}", self.port),
            (None, None) => write!(f, "port {}", self.port),
        }
    }
}

/// In the order given, or in random order if `load_balance_hosts` asks for it.
pub(super) fn shuffled<T>(driver: &Config, mut all: Vec<T>) -> Vec<T> {
    if driver.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut all);
    }
    all
}
