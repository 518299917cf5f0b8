//! Making connections: which host, by which password, with TLS or without.

mod asked;
mod hosts;
mod password;
mod role;
mod tls;
mod verifiers;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use annals_core::{ErrorKind, PersistenceError};
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::SslMode as DriverMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error;
use hosts::Host;
use tls::Handshakes;

pub(crate) use asked::AskedTls;
pub(crate) use password::Passwords;
pub(crate) use role::{Role, Target};
pub use tls::SslMode;
pub(crate) use tls::{Roots, Tls};

/// A server, or several hosts of which one will do, and how to get in.
#[derive(Clone)]
pub(crate) struct Server {
    /// Its modes of TLS, session attributes and connection limit are not used: the fields beside
    /// it say more than the driver can.
    pub(crate) driver: Config,
    pub(crate) tls: AskedTls,
    pub(crate) passwords: Passwords,
    pub(crate) target: Target,
}

impl Server {
    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), PersistenceError> {
        if self.driver.get_hosts().is_empty() && self.driver.get_hostaddrs().is_empty() {
            return Err(error::config("no host: write postgres://user:password@host/database"));
        }
        if !Host::fit(&self.driver) {
            let message = "with several hosts there is one port for all or one for each";
            return Err(error::config(message));
        }
        self.tls.resolve().map(drop)
    }
}

impl From<Config> for Server {
    /// The driver's modes of TLS are less than ours; it knows no files.
    fn from(driver: Config) -> Self {
        let mode = match driver.get_ssl_mode() {
            DriverMode::Disable => SslMode::Disable,
            DriverMode::Require => SslMode::Require,
            _ => SslMode::Prefer,
        };
        let target = driver.get_target_session_attrs().into();
        let tls = AskedTls { mode: Some(mode), ..AskedTls::default() };
        Self { driver, tls, passwords: Passwords::default(), target }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = &self.driver;
        // The driver's own `Debug` hides the password too, but not `options`, where people put
        // what they should not.
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

/// Why no connection was made. It says so without any secret.
#[derive(Debug)]
pub(crate) struct ConnectError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) source: Option<Box<tokio_postgres::Error>>,
}

impl ConnectError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Whether it passes by itself.
    fn passes(&self) -> bool {
        use ErrorKind::{Busy, Connection, Full, Timeout};
        matches!(self.kind, Busy | Connection | Full | Timeout)
    }
}

/// A connection, and the task that drives it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    driven: JoinHandle<()>,
    tls: Option<MakeRustlsConnect>,
}

impl Connection {
    /// Asks the server to stop what it does for this connection; over another one, and in vain if
    /// the server is gone, when there is nothing to stop either.
    pub(crate) fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let token = self.client.cancel_token();
        let tls = self.tls.clone();
        async move {
            let _ = match tls {
                Some(tls) => token.cancel_query(tls).await,
                None => token.cancel_query(NoTls).await,
            };
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closes the socket even if the server has stopped reading from it.
        self.driven.abort();
    }
}

/// Makes connections to one server for a pool.
pub(crate) struct Connector {
    server: Server,
    tls: Tls,
    handshakes: Handshakes,
    /// To look up a name, or to connect and log in: for each address. The driver limits only how
    /// long one may take to accept; one that hangs later would use up the time of those after it.
    limit: Duration,
}

impl Connector {
    pub(crate) fn new(server: Server, limit: Duration) -> Result<Self, PersistenceError> {
        let tls = server.tls.resolve()?;
        let handshakes = Handshakes::new(tls.clone());
        Ok(Self { server, tls, handshakes, limit })
    }

    /// Tries every address of a host.
    async fn host(&self, host: &Host, role: Role) -> Result<Connection, ConnectError> {
        let mut config = host.config(&self.server.driver);
        if let Some(password) = self.server.passwords.find(&config)? {
            config.password(password);
        }
        let addresses = timeout(self.limit, host.addresses()).await;
        let addresses = addresses.map_err(|_| too_slow())??;
        let shuffled = hosts::shuffled(&self.server.driver, addresses);
        let mut failed = ConnectError::new(ErrorKind::Connection, "it has no address");
        for address in shuffled {
            let mut config = config.clone();
            if let Some(address) = address {
                config.hostaddr(address);
            }
            let entered = timeout(self.limit, self.enter(host, &mut config, role)).await;
            match entered.unwrap_or_else(|_| Err(too_slow())) {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Connects to one address, logs in and looks at what role it plays.
    async fn enter(
        &self,
        host: &Host,
        config: &mut Config,
        role: Role,
    ) -> Result<Connection, ConnectError> {
        let mode = if host.is_local() { SslMode::Disable } else { self.tls.mode };
        let connection = match mode {
            SslMode::Disable => self.plain(config).await?,
            SslMode::Prefer => match self.encrypted(config, DriverMode::Prefer).await {
                Err(error) if tls::may_go_without(&error) => self.plain(config).await?,
                result => result?,
            },
            _ => self.encrypted(config, DriverMode::Require).await?,
        };
        role.check(&connection.client).await?;
        Ok(connection)
    }

    async fn plain(&self, config: &mut Config) -> Result<Connection, ConnectError> {
        config.ssl_mode(DriverMode::Disable);
        let (client, connection) = config.connect(NoTls).await.map_err(error::connecting)?;
        Ok(Connection { client, driven: tokio::spawn(drive(connection)), tls: None })
    }

    async fn encrypted(
        &self,
        config: &mut Config,
        mode: DriverMode,
    ) -> Result<Connection, ConnectError> {
        config.ssl_mode(mode);
        let tls = self.handshakes.connector(config.get_ssl_negotiation())?;
        let connected = config.connect(tls.clone()).await;
        let (client, connection) = connected.map_err(|error| self.tls.explain(error))?;
        Ok(Connection { client, driven: tokio::spawn(drive(connection)), tls: Some(tls) })
    }
}

async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended");
    }
}

fn too_slow() -> ConnectError {
    let message = "the server did not let us in within `connect_timeout`";
    ConnectError::new(ErrorKind::Timeout, message)
}

impl managed::Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    /// Tries every host in turn, for each role that is wanted.
    async fn create(&self) -> Result<Connection, ConnectError> {
        let driver = &self.server.driver;
        let hosts = hosts::shuffled(driver, Host::all(driver));
        let mut failed: Vec<(String, ConnectError)> = Vec::new();
        for role in self.server.target.roles() {
            failed.clear();
            for host in &hosts {
                match self.host(host, *role).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => failed.push((host.to_string(), error)),
                }
            }
        }
        Err(together(failed))
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        match connection.client.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}

/// One error of all: what passes by itself wins, because then another attempt may help.
fn together(mut failed: Vec<(String, ConnectError)>) -> ConnectError {
    let several = failed.len() > 1;
    let all: Vec<_> =
        failed.iter().map(|(host, error)| format!("{host}: {}", error.message)).collect();
    let first = failed.iter().position(|(_, error)| error.passes()).unwrap_or(0);
    if first >= failed.len() {
        return ConnectError::new(ErrorKind::Config, "there is no host to connect to");
    }
    let (_, mut error) = failed.swap_remove(first);
    if several {
        error.message = format!("none of the hosts will do: {}", all.join("; "));
    }
    error
}
