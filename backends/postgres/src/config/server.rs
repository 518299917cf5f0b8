//! How to reach a server, as far as the driver's own configuration does not say it.

use std::fmt;
use std::path::PathBuf;

use annals_core::Result;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode as DriverMode, TargetSessionAttrs};

use super::tls_options::{SslMode, TlsOptions};
use crate::error;

/// A server, or several hosts of which one is enough, and how to log in.
#[derive(Clone)]
pub(crate) struct Server {
    /// Its TLS mode, session attributes and connect timeout are not used: the fields below say more
    /// than the driver supports.
    pub(crate) driver: Config,
    pub(crate) tls: TlsOptions,
    pub(crate) passwords: Passwords,
    pub(crate) target: Target,
}

impl Server {
    /// Refuses a combination that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let driver = &self.driver;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(error::config("no host: write postgres://user:password@host/database"));
        }
        let (names, addresses) = (driver.get_hosts().len(), driver.get_hostaddrs().len());
        let ports = driver.get_ports().len();
        let hosts_match = names == addresses || names == 0 || addresses == 0;
        if !hosts_match || (ports > 1 && ports != names.max(addresses)) {
            let message = "several hosts take one port for all or one port for each";
            return Err(error::config(message));
        }
        self.tls.resolve().map(drop)
    }
}

impl From<Config> for Server {
    /// The driver has fewer TLS modes, and no files.
    fn from(driver: Config) -> Self {
        let mode = match driver.get_ssl_mode() {
            DriverMode::Disable => SslMode::Disable,
            DriverMode::Require => SslMode::Require,
            _ => SslMode::Prefer,
        };
        let target = driver.get_target_session_attrs().into();
        let tls = TlsOptions { mode: Some(mode), ..TlsOptions::default() };
        Self { driver, tls, passwords: Passwords::default(), target }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = &self.driver;
        // The driver's own `Debug` hides the password, but not `options`, which may contain secrets.
        f.debug_struct("Server")
            .field("hosts", &driver.get_hosts())
            .field("ports", &driver.get_ports())
            .field("user", &driver.get_user())
            .field("password", &driver.get_password().map(|_| "…"))
            .field("database", &driver.get_dbname())
            .field("tls", &self.tls)
            .field("passwords", &self.passwords)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// The configured files, besides the default places.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passwords {
    /// Contains the password and nothing else.
    pub(crate) password_file: Option<PathBuf>,
    /// Lines of `host:port:database:user:password`.
    pub(crate) passfile: Option<PathBuf>,
}

/// The acceptable roles, in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) &'static [Role]);

/// The role that one host must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Any,
    /// Its sessions can write.
    ReadWrite,
    /// Its sessions cannot write, because of its role or its configuration.
    ReadOnly,
    Primary,
    Standby,
}

impl Target {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        Some(Self(match value {
            "any" => &[Role::Any],
            "read-write" => &[Role::ReadWrite],
            "read-only" => &[Role::ReadOnly],
            "primary" => &[Role::Primary],
            "standby" => &[Role::Standby],
            "prefer-standby" => &[Role::Standby, Role::Any],
            _ => return None,
        }))
    }
}

impl From<TargetSessionAttrs> for Target {
    fn from(attrs: TargetSessionAttrs) -> Self {
        Self(match attrs {
            TargetSessionAttrs::ReadWrite => &[Role::ReadWrite],
            TargetSessionAttrs::ReadOnly => &[Role::ReadOnly],
            _ => &[Role::Any],
        })
    }
}
